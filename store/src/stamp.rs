//! In which order documents were taken, however they reach the store.

use std::sync::atomic::{AtomicI64, Ordering};

use heliograph_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// A document's place in the order of arrival, in microseconds since 1970. Where
/// documents are not written in the order in which they came (from a spool, by
/// several processes), the higher stamp is the later push of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriteStamp(i64);

impl WriteStamp {
    /// The first stamp of a document that arrived at an instant.
    #[must_use]
    pub const fn at(received: Timestamp) -> Self {
        Self(received.as_millis().saturating_mul(1000))
    }

    /// A later stamp of a document that arrived at an instant, so many microseconds
    /// after the first one.
    #[must_use]
    pub const fn within(received: Timestamp, micros: u16) -> Self {
        Self(Self::at(received).0.saturating_add(micros as i64))
    }

    /// A stamp that was given before.
    pub(crate) const fn of_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// Hands out stamps that rise strictly, even where the clock stands or goes back.
#[derive(Debug)]
pub struct Stamps(AtomicI64);

impl Stamps {
    /// Begins where the first document's clock stands.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// The stamp of a document that arrived at an instant: no earlier than that,
    /// and after all that were handed out before.
    pub fn next(&self, received: Timestamp) -> WriteStamp {
        self.at_least(WriteStamp::at(received).0)
    }

    /// Begins anew: what was handed out was by a clock that was wrong, and is not to be
    /// gone on from once it is right.
    pub fn begin_anew(&self) {
        self.0.store(i64::MIN, Ordering::Relaxed);
    }

    /// The same for a clock that tells microseconds.
    pub(crate) fn at_least(&self, earliest: i64) -> WriteStamp {
        let rise = |last: i64| last.saturating_add(1).max(earliest);
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(rise(last)));
        WriteStamp(rise(last.unwrap_or_else(|last| last)))
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_while_the_clock_stands_or_goes_back() {
        let stamps = Stamps::new();
        let at = Timestamp::clamped;
        let given = [5, 5, 5, 4, 6].map(|millis| stamps.next(at(millis)).as_micros());
        assert_eq!(given, [5_000, 5_001, 5_002, 5_003, 6_000]);
        assert_eq!(WriteStamp::at(at(5)).as_micros(), 5_000);
        stamps.begin_anew();
        assert_eq!(stamps.next(at(3)).as_micros(), 3_000);
    }
}
