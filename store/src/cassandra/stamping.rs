//! The write timestamps of what is written without a condition and without one of
//! its own.
//!
//! A node would give a timestamp to each attempt. So that all attempts of a write
//! carry the same one, it is asked for before the first: a node's clock tells it, in
//! microseconds that it tells nobody else. No clock of this machine has a part in it,
//! which may be wrong by a year, and whose writes would then lose against those of
//! other processes, or shadow them. Within a process stamps rise strictly, whichever
//! node tells them.
//!
//! What is conditional has the timestamp of its ballot. The two never meet in a row:
//! sessions, mails, the catalog and, in `control`, leases, the lock, the schema's
//! version and the counter of readings are written under conditions alone; signs of
//! mails, the quarantine, the trail and the other names in `control` without any. In
//! `series` a condition guards what is set, and each other column has timestamps of
//! its own kind.

use scylla::value::CqlTimeuuid;
use uuid::Uuid;

use super::Database;
use crate::error::StoreError;

/// Whether a statement gets a stamp: it writes, under no condition and with no
/// timestamp of its own.
pub(super) fn takes_stamp(cql: &str) -> bool {
    !cql.trim_start().starts_with("SELECT") && !is_conditional(cql) && !cql.contains(" TIMESTAMP ?")
}

/// Whether a statement is decided anew each time it is sent.
pub(super) fn is_conditional(cql: &str) -> bool {
    cql.contains(" IF ")
}

impl Database {
    /// A write timestamp of now, in microseconds, above all that this process was
    /// given before.
    pub(super) async fn stamp(&self) -> Result<i64, StoreError> {
        // Boxed: what asks is itself a part of what is asked with.
        let now: Option<(CqlTimeuuid,)> = Box::pin(self.row("SELECT now() FROM system.local", ())).await?;
        let told = now.and_then(|(now,)| micros(now.into()));
        let told = told.ok_or_else(|| StoreError::Damaged("a node does not tell the time".to_owned()))?;
        Ok(self.inner.stamps.at_least(told).as_micros())
    }
}

/// Microseconds since 1970.
fn micros(told: Uuid) -> Option<i64> {
    let (seconds, nanos) = told.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_writes_take_a_stamp_and_no_others() {
        for plain in [
            "INSERT INTO @.outbox (part, place, mail, due) VALUES (?, ?, ?, ?) USING TTL ?",
            "UPDATE @.control SET value = ? WHERE name = ?",
            "DELETE FROM @.quarantine WHERE part = ?",
        ] {
            assert!(takes_stamp(plain), "{plain}");
        }
        for other in [
            "SELECT value FROM @.control WHERE name = ?",
            "INSERT INTO @.control (name, value) VALUES ('data', 1) IF NOT EXISTS",
            "UPDATE @.session USING TTL ? SET kind = ? WHERE digest = ? IF EXISTS",
            "INSERT INTO @.reading (gateway) VALUES (?) USING TTL ? AND TIMESTAMP ?",
            "DELETE FROM @.mark USING TIMESTAMP ? WHERE shard = ?",
        ] {
            assert!(!takes_stamp(other), "{other}");
        }
    }
}
