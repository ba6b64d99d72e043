//! Which times a reading may carry.

use crate::quarantine::RefusalCode;
use crate::time::Timestamp;

/// How far from the receive time a reading's own time may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePolicy {
    /// Milliseconds into the future; later readings are refused.
    pub max_ahead_ms: i64,
    /// Milliseconds into the past, the retention; older readings are refused.
    /// `None`: everything is kept for ever.
    pub max_age_ms: Option<i64>,
}

impl TimePolicy {
    /// A reading further ahead than this never becomes the latest one.
    pub const LATEST_AHEAD_MS: i64 = 5 * 60_000;

    /// Judges a reading's time.
    ///
    /// # Errors
    /// With the reason when it has to be refused.
    pub fn check(&self, time: Timestamp, received: Timestamp) -> Result<(), RefusalCode> {
        let ahead = time.millis_since(received);
        if ahead > self.max_ahead_ms {
            return Err(RefusalCode::TimeInFuture);
        }
        self.check_age(time, received)
    }

    /// Judges by its age alone; for a document that arrived a while ago.
    ///
    /// # Errors
    /// With the reason when it has to be refused.
    pub fn check_age(&self, time: Timestamp, now: Timestamp) -> Result<(), RefusalCode> {
        let age = now.millis_since(time);
        if self.max_age_ms.is_some_and(|most| age > most) { Err(RefusalCode::TimeTooOld) } else { Ok(()) }
    }
}

impl Default for TimePolicy {
    fn default() -> Self {
        Self { max_ahead_ms: 24 * 3_600_000, max_age_ms: None }
    }
}
