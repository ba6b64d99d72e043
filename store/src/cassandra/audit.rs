//! The audit trail in the cluster. New entries come into being in the catalog,
//! with the change that they tell of, and are copied here from there; the newest
//! stays there as the head.

use heliograph_domain::Timestamp;
use scylla::value::CqlTimestamp;

use super::{Database, at};
use crate::audit::{AuditHash, AuditHead, AuditRow, AuditVerdict, AuditWalk};
use crate::catalog::Catalog;
use crate::error::StoreError;

/// Entries that are checked at a time.
const PAGE: usize = 1_000;

type Columns = (i64, CqlTimestamp, String, String, String, String, Vec<u8>);

impl Database {
    /// Copies what the catalog holds of the trail to where it stays. Doing so again
    /// changes nothing.
    pub(super) async fn complete_trail(&self, catalog: &Catalog) -> Result<(), StoreError> {
        for row in catalog.trail.values() {
            self.trail_put(&month_of_entry(catalog, row.seq), row).await?;
        }
        Ok(())
    }

    /// Writes an entry where it stays.
    pub(crate) async fn trail_put(&self, month: &str, row: &AuditRow) -> Result<(), StoreError> {
        let cql =
            "INSERT INTO @.audit (year_month, seq, at, actor, action, object, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let AuditRow { seq, at: when, actor, action, object, detail, hash } = row;
        self.execute(cql, (month, *seq as i64, at(*when), actor, action, object, detail, &hash.0[..])).await.map(drop)
    }

    pub(crate) async fn audit_list(&self, from: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let catalog = self.catalog().await?;
        self.complete_trail(&catalog).await?;
        let cql = "SELECT seq, at, actor, action, object, detail, hash FROM @.audit WHERE year_month = ? AND seq >= ? LIMIT ?";
        let mut entries: Vec<AuditRow> = Vec::new();
        let mut months = catalog.trail_months.iter().peekable();
        while let Some((month, _)) = months.next() {
            let over = months.peek().is_some_and(|(_, first)| **first <= from);
            let wanted = limit.saturating_sub(entries.len());
            if over || wanted == 0 {
                continue;
            }
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
            let rows: Vec<Columns> = self.all(cql, (month, from, wanted)).await?;
            entries.extend(rows.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(entries)
    }

    pub(crate) async fn audit_verify(&self, noted: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
        let (mut walk, mut next, mut outcome) = (AuditWalk::new(noted), 1, Ok(()));
        while outcome.is_ok() {
            let page = self.audit_list(next, PAGE).await?;
            let Some(last) = page.last() else { break };
            next = last.seq + 1;
            outcome = page.iter().try_for_each(|row| walk.step(row));
        }
        // The head is read last: an entry that was written meanwhile shows as one
        // that is missing only if it was not walked, so it is walked now.
        let stored = self.catalog().await?.trail_head();
        if outcome.is_ok() && stored.is_some_and(|head| head.seq >= next) {
            outcome = self
                .audit_list(next, PAGE)
                .await?
                .iter()
                .filter(|row| stored.is_some_and(|head| row.seq <= head.seq))
                .try_for_each(|row| walk.step(row));
        }
        Ok(walk.end(outcome, stored))
    }
}

/// The month that an entry stands in.
fn month_of_entry(catalog: &Catalog, seq: u64) -> String {
    let before = catalog.trail_months.iter().filter(|(_, first)| **first <= seq);
    before.map(|(month, _)| month.clone()).next_back().unwrap_or_default()
}

fn entry((seq, when, actor, action, object, detail, hash): Columns) -> Result<AuditRow, StoreError> {
    let hash = hash.try_into().map_err(|_| StoreError::Damaged(format!("entry {seq} of the audit trail has no hash")))?;
    let seq = u64::try_from(seq).map_err(|_| StoreError::Damaged(format!("the audit trail has an entry {seq}")))?;
    Ok(AuditRow { seq, at: Timestamp::clamped(when.0), actor, action, object, detail, hash: AuditHash(hash) })
}
