//! The audit trail in the cluster. New entries come into being in the catalog, with
//! the change that they tell of; the change after copies them here. The newest stays
//! there as the head. What stands here once is never written again, so that whatever
//! becomes of it is found.

use std::collections::BTreeSet;
use std::ops::Range;

use heliograph_domain::Timestamp;
use scylla::value::CqlTimestamp;

use super::{Database, at};
use crate::archive::tables::Cell;
use crate::archive::trail;
use crate::audit::{AuditFault, AuditHash, AuditHead, AuditRow, AuditVerdict, AuditWalk};
use crate::catalog::archive::or_null;
use crate::catalog::{Catalog, month_of};
use crate::error::StoreError;

/// Entries that are checked at a time.
const PAGE: usize = 1_000;

/// A row, of which anybody may have taken away what is not its key.
type Columns = (i64, Option<CqlTimestamp>, Option<String>, Option<String>, Option<String>, Option<String>, Option<Vec<u8>>);

/// A month that rows stand in, and the numbers of the first and the last of them.
#[derive(Debug)]
struct Extent {
    month: String,
    first: u64,
    last: u64,
}

impl Database {
    /// Copies what the catalog holds of the trail to where it stays, in the order of
    /// its numbers. A row that is there stays as it is.
    pub(super) async fn complete_trail(&self, catalog: &Catalog) -> Result<(), StoreError> {
        let (Some(head), Some(first)) = (catalog.trail_to_copy(), catalog.trail.keys().next()) else { return Ok(()) };
        let months: BTreeSet<String> = catalog.trail.values().map(|row| month_of_entry(catalog, row)).collect();
        for month in months {
            let cql = "SELECT seq FROM @.audit WHERE year_month = ? AND seq >= ? AND seq <= ?";
            let there: Vec<(i64,)> = self.all(cql, (&month, number(*first), number(head.seq))).await?;
            let there: BTreeSet<i64> = there.into_iter().map(|(seq,)| seq).collect();
            for row in catalog.trail.values().filter(|row| !there.contains(&number(row.seq))) {
                if month_of_entry(catalog, row) == month {
                    self.trail_put(&month, row).await?;
                }
            }
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
        let mut entries: Vec<AuditRow> = Vec::new();
        for (month, numbers) in months(&catalog) {
            let rows = self.trail_rows(month, numbers.start.max(from)..numbers.end, limit - entries.len()).await?;
            entries.extend(rows.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?);
        }
        // Those that no change has followed stand in the catalog alone.
        let (next, room) = (entries.last().map_or(from, |entry| entry.seq + 1), limit - entries.len());
        entries.extend(catalog.trail.range(next..).take(room).map(|(_, entry)| entry.clone()));
        Ok(entries)
    }

    /// The months that entries stand in with the numbers to look for there, also
    /// where somebody took a month away from the catalog.
    pub(crate) async fn trail_months(&self, catalog: &Catalog) -> Result<Vec<(String, Range<u64>)>, StoreError> {
        let extents = self.trail_extents().await?;
        let mut begins: Vec<(u64, String)> = Vec::new();
        for extent in &extents {
            let known = catalog.trail_months.get(&extent.month).copied();
            let inside = |other: &Extent| other.month != extent.month && (other.first..=other.last).contains(&extent.first);
            let first = if extents.iter().any(inside) { known } else { Some(known.unwrap_or(u64::MAX).min(extent.first)) };
            begins.extend(first.map(|first| (first, extent.month.clone())));
        }
        begins.sort();
        let ends: Vec<u64> = begins.iter().skip(1).map(|(first, _)| *first).chain([u64::MAX]).collect();
        Ok(begins.into_iter().zip(ends).map(|((first, month), end)| (month, first..end)).collect())
    }

    /// Entries of a month in the order of their numbers; what somebody took out of
    /// one is empty.
    pub(crate) async fn trail_found(&self, month: &str, numbers: Range<u64>, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        Ok(self.trail_rows(month, numbers, limit).await?.into_iter().map(as_found).collect())
    }

    /// Walks the trail as it stands, and changes nothing of it.
    pub(crate) async fn audit_verify(&self, noted: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
        // An entry is in the catalog before it is here: those of all rows that stand
        // here by now are in what is read of the catalog next.
        let extents = self.trail_extents().await?;
        let catalog = self.stored_catalog().await?;
        let mut walk = AuditWalk::new(noted);
        self.walk_trail(&catalog, &mut walk).await?;
        if catalog.trail_to_copy().is_some() {
            catalog.trail.range(walk.next_seq()..).for_each(|(_, row)| walk.step_waiting(row));
        }
        if let Err(fault) = belong(&extents, &catalog) {
            walk.fail(fault);
        }
        if let Some(stray) = catalog.trail_stray() {
            walk.fail(AuditFault::Added(stray));
        }
        Ok(walk.end(catalog.trail_head()))
    }

    /// Walks what stands here up to the head in the catalog.
    async fn walk_trail(&self, catalog: &Catalog, walk: &mut AuditWalk) -> Result<(), StoreError> {
        for (month, numbers) in of_head(catalog) {
            let mut from = numbers.start;
            while from < numbers.end {
                let rows = self.trail_rows(month, from..numbers.end, PAGE).await?;
                let Some(last) = rows.last() else { break };
                from = unsigned(last.0) + 1;
                rows.into_iter().for_each(|row| check(row, catalog, walk));
            }
        }
        Ok(())
    }

    /// Rows of a month in the order of their numbers, as they stand there.
    async fn trail_rows(&self, month: &str, numbers: Range<u64>, limit: usize) -> Result<Vec<Columns>, StoreError> {
        if numbers.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let cql = "SELECT seq, at, actor, action, object, detail, hash FROM @.audit
            WHERE year_month = ? AND seq >= ? AND seq < ? LIMIT ?";
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        self.all(cql, (month, number(numbers.start), number(numbers.end), limit)).await
    }

    /// All months that rows stand in, whether the catalog knows them or not.
    async fn trail_extents(&self) -> Result<Vec<Extent>, StoreError> {
        let months: Vec<(String,)> = self.all("SELECT DISTINCT year_month FROM @.audit", ()).await?;
        let mut extents = Vec::new();
        for (month,) in months {
            let first = self.row::<(i64,)>("SELECT seq FROM @.audit WHERE year_month = ? LIMIT 1", (&month,)).await?;
            let last = "SELECT seq FROM @.audit WHERE year_month = ? ORDER BY seq DESC LIMIT 1";
            let last = self.row::<(i64,)>(last, (&month,)).await?;
            if let (Some((first,)), Some((last,))) = (first, last) {
                extents.push(Extent { month, first: unsigned(first), last: unsigned(last) });
            }
        }
        Ok(extents)
    }
}

/// The months of the trail and the numbers that belong to each.
fn months(catalog: &Catalog) -> impl Iterator<Item = (&String, Range<u64>)> {
    let ends = catalog.trail_months.values().copied().skip(1).chain([u64::MAX]);
    catalog.trail_months.iter().zip(ends).map(|((month, first), end)| (month, *first..end))
}

/// The same up to the head.
fn of_head(catalog: &Catalog) -> impl Iterator<Item = (&String, Range<u64>)> {
    let end = catalog.trail_head().map_or(0, |head| head.seq.saturating_add(1));
    months(catalog).map(move |(month, numbers)| (month, numbers.start..numbers.end.min(end)))
}

/// The month that an entry stands in. Where somebody has taken the months away from
/// the catalog it is the entry's own, so that changes go on; the trail says for ever
/// after that they were.
fn month_of_entry(catalog: &Catalog, row: &AuditRow) -> String {
    let known = months(catalog).filter(|(_, numbers)| numbers.start <= row.seq).last();
    known.map_or_else(|| month_of(row.at), |(month, _)| month.clone())
}

/// Checks a row after the one before, and against what the catalog keeps of it.
fn check(row: Columns, catalog: &Catalog, walk: &mut AuditWalk) {
    let seq = unsigned(row.0);
    match entry(row) {
        Ok(row) => walk.step_with(&row, catalog.trail.get(&seq)),
        // What is not there, or of another length, was not written so.
        Err(_) => walk.unreadable(seq),
    }
}

/// Finds a row that stands where no entry does.
fn belong(extents: &[Extent], catalog: &Catalog) -> Result<(), AuditFault> {
    if catalog.trail.is_empty() {
        return if extents.is_empty() { Ok(()) } else { Err(AuditFault::NoHead) };
    }
    for extent in extents {
        let numbers = of_head(catalog).find(|(month, _)| **month == extent.month).map_or(0..0, |(_, numbers)| numbers);
        if let Some(stray) = [extent.first, extent.last].into_iter().find(|seq| !numbers.contains(seq)) {
            return Err(AuditFault::Added(stray));
        }
    }
    Ok(())
}

/// A number as a column holds it.
fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The number in a column; no entry has one below 1.
fn unsigned(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

/// An entry, however much of it is there.
fn as_found((seq, when, actor, action, object, detail, hash): Columns) -> AuditRow {
    let [actor, action, object, detail] = [actor, action, object, detail].map(|text| or_null(text, Cell::Text));
    let (when, hash) = (or_null(when, |at| Cell::Int(at.0)), or_null(hash, Cell::Bytes));
    trail::readable(&[Cell::Int(seq), when, actor, action, object, detail, hash])
}

fn entry((seq, when, actor, action, object, detail, hash): Columns) -> Result<AuditRow, StoreError> {
    let missing = |column: &str| StoreError::Damaged(format!("entry {seq} of the audit trail has no {column}"));
    let hash = hash.and_then(|hash| hash.try_into().ok()).ok_or_else(|| missing("hash"))?;
    Ok(AuditRow {
        seq: unsigned(seq),
        at: Timestamp::clamped(when.ok_or_else(|| missing("time"))?.0),
        actor: actor.ok_or_else(|| missing("actor"))?,
        action: action.ok_or_else(|| missing("action"))?,
        object: object.ok_or_else(|| missing("object"))?,
        detail: detail.ok_or_else(|| missing("detail"))?,
        hash: AuditHash(hash),
    })
}
