//! Change counters and leases.

use std::sync::atomic::Ordering;
use std::time::Duration;

use heliograph_domain::Timestamp;
use scylla::value::{CqlTimestamp, CqlValue};

use super::conditional::{applied, conditional};
use super::{Database, at};
use crate::change::{LONGEST_LEASE_MS, Versions};
use crate::error::StoreError;

/// A process says no oftener than this that readings have changed.
const DATA_INTERVAL: Duration = Duration::from_millis(500);

impl Database {
    pub(crate) async fn versions(&self) -> Result<Versions, StoreError> {
        let data = self.row::<(Option<i64>,)>("SELECT value FROM @.control WHERE name = 'data'", ());
        let (config, data) = tokio::try_join!(self.catalog_version(), data)?;
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(Versions { config: count(config), data: count(data.and_then(|(value,)| value).unwrap_or_default()) })
    }

    /// Says soon that readings have changed: panels look again. Whoever asks gets
    /// no answer, for nothing is lost when it fails.
    pub(crate) fn data_changed(&self) {
        if self.inner.data_changed.swap(true, Ordering::AcqRel) {
            return;
        }
        let db = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(DATA_INTERVAL).await;
            db.inner.data_changed.store(false, Ordering::Release);
            if let Err(error) = db.count_data().await {
                tracing::debug!(%error, "the change of readings is not announced");
            }
        });
    }

    /// Raises the counter of readings, which no two processes raise to the same.
    async fn count_data(&self) -> Result<(), StoreError> {
        let first = "INSERT INTO @.control (name, value) VALUES ('data', 1) IF NOT EXISTS";
        let next = "UPDATE @.control SET value = ? WHERE name = 'data' IF value = ?";
        let (done, mut there) = conditional(self.execute(first, ()).await?)?;
        if matches!(done, Some(CqlValue::Boolean(true))) {
            return Ok(());
        }
        for _ in 0..5 {
            let Some(CqlValue::BigInt(value)) = there.remove("value") else { break };
            let (done, now) = conditional(self.execute(next, (value + 1, value)).await?)?;
            if matches!(done, Some(CqlValue::Boolean(true))) {
                break;
            }
            // Another process has just announced a change: ours may be later.
            there = now;
        }
        Ok(())
    }

    pub(crate) async fn lease_take(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let name = format!("lease:{name}");
        let runs = now.as_millis() + 1..=now.plus_millis(LONGEST_LEASE_MS).as_millis();
        let found = self
            .row::<(Option<String>, Option<CqlTimestamp>)>("SELECT holder, until FROM @.control WHERE name = ?", (&name,))
            .await?;
        match found {
            Some((Some(other), Some(end))) if other != holder && runs.contains(&end.0) => Ok(false),
            Some((Some(other), Some(end))) => {
                let cql = "UPDATE @.control SET holder = ?, until = ? WHERE name = ? IF holder = ? AND until = ?";
                applied(self.execute(cql, (holder, at(until), &name, other, end)).await?)
            }
            _ => {
                let cql = "INSERT INTO @.control (name, holder, until) VALUES (?, ?, ?) IF NOT EXISTS";
                applied(self.execute(cql, (&name, holder, at(until))).await?)
            }
        }
    }

    pub(crate) async fn lease_release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let cql = "DELETE FROM @.control WHERE name = ? IF holder = ?";
        self.execute(cql, (format!("lease:{name}"), holder)).await.map(drop)
    }
}
