//! Runs of quarters of an hour, by number.

use heliograph_domain::{TimeWindow, Timestamp, WINDOW_MS};

/// A run of quarters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) first: i64,
    pub(crate) len: usize,
}

impl Grid {
    pub(crate) fn over(period: TimeWindow) -> Self {
        let (first, end) = (number(period.from), number(period.end()));
        Self { first, len: usize::try_from(end - first).unwrap_or(0) }
    }

    pub(crate) fn index(self, start: Timestamp) -> Option<usize> {
        usize::try_from(number(start) - self.first).ok().filter(|index| *index < self.len)
    }

    pub(crate) const fn start(self, index: usize) -> Timestamp {
        Timestamp::clamped((self.first + index as i64) * WINDOW_MS)
    }

    pub(crate) fn range(self, window: TimeWindow) -> std::ops::Range<usize> {
        let clip = |time: Timestamp| usize::try_from(number(time) - self.first).unwrap_or(0).min(self.len);
        clip(window.from)..clip(window.end()).max(clip(window.from))
    }
}

/// The number of the quarter that holds an instant.
const fn number(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(WINDOW_MS)
}
