//! When documents were taken in and stored, and when they could not be: what nobody
//! took in is no silence of a gateway.

use serde::{Deserialize, Serialize};

use crate::time::{TimeWindow, Timestamp};

/// When some process took documents in last, and when none did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// When one said so last.
    pub seen: Timestamp,
    /// When none did, in order; only of late.
    pub gaps: Vec<TimeWindow>,
}

impl Intake {
    /// How often a process says that it takes documents in, ms.
    pub const EVERY_MS: i64 = 60_000;
    /// After this long without a word nothing is taken in.
    pub const AWAY_AFTER_MS: i64 = 4 * Self::EVERY_MS;
    /// Gaps kept at most.
    const KEPT: usize = 100;
    /// For how long, ms.
    const KEPT_MS: i64 = 40 * 86_400_000;

    /// As it is when a process says for the first time that it takes documents in. Of the
    /// time before nobody knows whether any did: an archive may bring gateways that were
    /// heard long ago.
    #[must_use]
    pub fn begun(now: Timestamp) -> Self {
        Self::since(now, now)
    }

    /// As it is where whoever writes history says that documents were taken in from an
    /// instant on until now.
    #[must_use]
    pub fn since(from: Timestamp, now: Timestamp) -> Self {
        Self { seen: now, gaps: vec![TimeWindow::between(Timestamp::MIN, from)] }
    }

    /// As it is when a process says so again. A clock that goes back counts for nothing,
    /// unless it had been far ahead.
    #[must_use]
    pub fn again(mut self, now: Timestamp) -> Self {
        if self.seen > now && self.seen.millis_since(now) < Self::AWAY_AFTER_MS {
            return self;
        }
        self.gaps.extend(self.open_gap(now));
        // What a clock that was ahead said of times to come is not so.
        self.gaps.iter_mut().for_each(|gap| gap.until = Some(gap.end().min(now)));
        self.gaps.retain(|gap| now.millis_since(gap.end()) < Self::KEPT_MS);
        let excess = self.gaps.len().saturating_sub(Self::KEPT);
        self.gaps.drain(..excess);
        Self { seen: now, ..self }
    }

    /// Whether nothing is taken in now.
    #[must_use]
    pub fn is_away(&self, now: Timestamp) -> bool {
        self.open_gap(now).is_some()
    }

    /// When nothing was taken in, up to now; the first one is the time of which nobody
    /// knows.
    pub fn gaps(&self, now: Timestamp) -> impl Iterator<Item = TimeWindow> {
        self.gaps.iter().copied().chain(self.open_gap(now))
    }

    fn open_gap(&self, now: Timestamp) -> Option<TimeWindow> {
        (now.millis_since(self.seen) >= Self::AWAY_AFTER_MS).then(|| TimeWindow::between(self.seen, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(minute * 60_000)
    }

    #[test]
    fn what_lies_between_two_words_far_apart_is_a_gap() {
        let intake = (1..=10).fold(Intake::begun(minute(0)), |intake, at| intake.again(minute(at)));
        let before = TimeWindow::between(Timestamp::MIN, minute(0));
        assert_eq!(intake.gaps, [before], "of the time before the first word nobody knows");
        assert!(!intake.is_away(minute(13)));
        assert!(intake.is_away(minute(14)));
        assert_eq!(intake.gaps(minute(30)).collect::<Vec<_>>(), [before, TimeWindow::between(minute(10), minute(30))]);
        let back = intake.again(minute(70)).again(minute(71));
        assert_eq!(back.gaps(minute(72)).collect::<Vec<_>>(), [before, TimeWindow::between(minute(10), minute(70))]);
    }

    #[test]
    fn a_clock_that_was_ahead_makes_no_gap_and_keeps_nobody_from_speaking() {
        let ahead = Intake::begun(minute(1_000));
        assert_eq!(ahead.clone().again(minute(999)).seen, minute(1_000));
        let back = ahead.again(minute(10));
        assert_eq!((back.seen, back.gaps), (minute(10), vec![TimeWindow::between(Timestamp::MIN, minute(10))]));
    }

    #[test]
    fn gaps_are_kept_for_a_while_only() {
        let mut intake = Intake::begun(minute(0));
        for hour in 1..=300 {
            intake = intake.again(minute(hour * 60));
        }
        assert_eq!(intake.gaps.len(), 100);
        let late = intake.again(minute(300 * 60 + 1)).again(minute(60 * 24 * 60));
        assert_eq!(late.gaps.len(), 1, "only the one that has just ended");
    }
}
