//! The write timestamps of what is written without a condition and without one of
//! its own.
//!
//! A node would give a timestamp to each attempt. So that all attempts of a write
//! carry the same one, it is asked for before the first: a node's clock tells it, in
//! microseconds that it tells nobody else. No clock of this machine has a part in it,
//! which may be wrong by a year, and whose writes would then lose against those of
//! other processes, or shadow them. Within a process stamps rise strictly, whichever
//! node tells them. A node that is far ahead of what was told before is passed over
//! while others can be asked: what it tells would hold for all later writes.
//!
//! What is conditional has the timestamp of its ballot. The two never meet in a row:
//! sessions, mails, the catalog and, in `control`, leases, the lock, the schema's
//! version and the counter of readings are written under conditions alone; signs of
//! mails, the quarantine, the trail and the other names in `control` without any. In
//! `series` a condition guards what is set, and each other column has timestamps of
//! its own kind; a restore writes what is set without one, below every ballot.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// How far nodes' clocks may be apart: more than the protocol of marks allows them.
const APART: Duration = Duration::from_secs(30);
/// How many times nodes are asked where one is further ahead: by chance another answers.
pub(super) const ASKED: usize = 5;

/// The last time that a node told, in microseconds, and when that was.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Option<(i64, Instant)>>);

impl Told {
    /// Takes a time, if the last one and what has passed since make it probable.
    fn take(&self, told: i64, at: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_probable = last.is_none_or(|(last, then)| {
            let passed = at.saturating_duration_since(then) + APART;
            told <= last.saturating_add(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX))
        });
        if is_probable && last.is_none_or(|(last, _)| told > last) {
            *last = Some((told, at));
        }
        is_probable
    }

    /// Takes a time that all tell who were asked.
    fn insist(&self, told: i64, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((told, at));
    }
}

impl Database {
    /// A write timestamp of now, in microseconds, above all that this process was
    /// given before.
    pub(super) async fn stamp(&self) -> Result<i64, StoreError> {
        let mut least = i64::MAX;
        for _ in 0..ASKED {
            let told = self.told().await?;
            if self.inner.told.take(told, Instant::now()) {
                return Ok(self.inner.stamps.at_least(told).as_micros());
            }
            least = least.min(told);
        }
        tracing::warn!("the nodes' clocks have gone ahead of what they told before");
        self.inner.told.insist(least, Instant::now());
        Ok(self.inner.stamps.at_least(least).as_micros())
    }

    /// The time that a node tells, in microseconds.
    pub(super) async fn told(&self) -> Result<i64, StoreError> {
        // Boxed: what asks is itself a part of what is asked with.
        let now: Option<(CqlTimeuuid,)> = Box::pin(self.row("SELECT now() FROM system.local", ())).await?;
        let told = now.and_then(|(now,)| micros(now.into()));
        told.ok_or_else(|| StoreError::Damaged("a node does not tell the time".to_owned()))
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

    #[test]
    fn a_time_far_ahead_of_the_last_one_is_taken_only_where_all_tell_it() {
        let (told, at) = (Told::default(), Instant::now());
        let later = |seconds: u64| at + Duration::from_secs(seconds);
        let year = 365 * 86_400_000_000;
        assert!(told.take(1_000, at));
        assert!(told.take(0, later(1)), "nodes differ a little");
        assert!(told.take(40_000_000, later(11)));
        assert!(!told.take(year, later(12)));
        assert!(told.take(42_000_000, later(13)), "the last one that was taken counts");
        told.insist(year, later(14));
        assert!(told.take(year + 1, later(15)));
        assert!(told.take(60_000_000, later(16)), "whoever is behind is never in the way");
    }
}
