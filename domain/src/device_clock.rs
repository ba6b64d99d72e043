//! How wrong the clock of a gateway is, told from when what it measured arrives, and
//! by how much its times are moved.
//!
//! The newest time of a document cannot be later than its sending, so that what lies
//! between it and the receive time, its *lag*, is a delay less what the clock is
//! ahead. Delays only ever add: the least of many lags is what the clock is wrong by,
//! and what was sent late says nothing. So lags that lie close together at the lower
//! end are looked for; those of history, which change with every document, lie
//! nowhere close together.

mod shape;
mod shift;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, Zone};
pub use shape::ClockShape;
pub use shift::{ClockCorrection, ClockCorrections, ClockShift};

/// When something arrived, beside the newest time in it that the gateway's own clock
/// said, without any correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSample {
    /// When it arrived.
    pub received: Timestamp,
    /// Milliseconds from its newest time to then; negative where the clock is ahead.
    pub lag_ms: i64,
}

/// The latest samples of a gateway, in the order of their arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSamples(Vec<ClockSample>);

impl ClockSamples {
    /// Samples kept of a gateway.
    pub const KEPT: usize = 32;
    /// Samples that have to agree before the clock is known.
    pub const NEEDED: usize = 5;
    /// Of what arrives within this time one sample is made, of the least lag.
    pub const INTERVAL_MS: i64 = 60_000;
    /// Lags that lie closer together than this agree.
    const AGREE_MS: i64 = 2 * 60_000;
    /// The latest samples, from which the clock is told.
    const RECENT: usize = 15;

    /// The samples.
    #[must_use]
    pub fn list(&self) -> &[ClockSample] {
        &self.0
    }

    /// Takes further samples, in any order; the latest ones stay.
    pub fn add(&mut self, samples: impl IntoIterator<Item = ClockSample>) {
        self.0.extend(samples);
        self.0.sort_by_key(|sample| (sample.received, sample.lag_ms));
        self.0.dedup_by_key(|sample| sample.received);
        let excess = self.0.len().saturating_sub(Self::KEPT);
        self.0.drain(..excess);
    }

    /// What they say of a clock; the zone is that of the gateway's location.
    #[must_use]
    pub fn judge(&self, zone: &Zone) -> ClockState {
        let known = self.0.len();
        let recent = self.0.get(known.saturating_sub(Self::RECENT)..).unwrap_or_default();
        // What lately disagreed may be history: then what was known before holds.
        let group = recent.len().checked_sub(Self::NEEDED).and_then(|before| lowest_group(recent, recent.get(before)?.received));
        if let Some(group) = group.or_else(|| lowest_group(&self.0, Timestamp::MIN)) {
            return ClockState::Known(ClockEstimate::of(&group, zone));
        }
        let lags = || recent.iter().map(|sample| sample.lag_ms);
        match (lags().min(), lags().max()) {
            (Some(least_ms), Some(most_ms)) if known >= 2 * Self::NEEDED => ClockState::Unsteady { least_ms, most_ms },
            _ => ClockState::Unknown { samples: known },
        }
    }
}

/// The samples of the least lags that agree and of which one is no older than `fresh`:
/// after a clock was set right its lags are greater, and the old ones no longer come.
fn lowest_group(samples: &[ClockSample], fresh: Timestamp) -> Option<Vec<ClockSample>> {
    let mut sorted = samples.to_vec();
    sorted.sort_by_key(|sample| sample.lag_ms);
    let group_from = |(first, least): (usize, &ClockSample)| {
        let agreeing = sorted.iter().skip(first).take_while(|sample| sample.lag_ms - least.lag_ms <= ClockSamples::AGREE_MS);
        let group: Vec<ClockSample> = agreeing.copied().collect();
        let counts = group.len() >= ClockSamples::NEEDED && group.iter().any(|sample| sample.received >= fresh);
        counts.then_some(group)
    };
    sorted.iter().enumerate().find_map(group_from)
}

/// What is known of a gateway's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockState {
    /// Nothing yet: too few samples.
    Unknown {
        /// How many there are.
        samples: usize,
    },
    /// Nothing: what arrives is now older and now newer, as history is.
    Unsteady {
        /// The least lag of late, in milliseconds.
        least_ms: i64,
        /// The greatest.
        most_ms: i64,
    },
    /// This much.
    Known(ClockEstimate),
}

/// By how much a clock is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockEstimate {
    /// Milliseconds that it is ahead, at the least: what arrives may be as much older.
    /// Negative: behind, or what it measures arrives that much later.
    pub ahead_ms: i64,
    /// How far the samples that say so lie apart, in milliseconds.
    pub within_ms: i64,
    /// How many say so.
    pub samples: usize,
    /// When the latest of them arrived.
    pub at: Timestamp,
    /// What this looks like.
    pub shape: ClockShape,
}

impl ClockEstimate {
    fn of(group: &[ClockSample], zone: &Zone) -> Self {
        let lags = || group.iter().map(|sample| sample.lag_ms);
        let (least, most) = (lags().min().unwrap_or(0), lags().max().unwrap_or(0));
        let at = group.iter().map(|sample| sample.received).max().unwrap_or(Timestamp::MIN);
        let ahead_ms = least.saturating_neg();
        let shape = ClockShape::of(ahead_ms, zone, at);
        Self { ahead_ms, within_ms: most - least, samples: group.len(), at, shape }
    }

    /// Whether a shift sets its times right, but for a delay that any push may have.
    #[must_use]
    pub fn is_right_with(&self, shift: ClockShift) -> bool {
        ClockShape::Right.fits(self.ahead_ms.saturating_add(shift.as_millis()))
    }

    /// What would set its times right: of a shape exactly, else to the second. Nothing
    /// where the clock is right or further off than can be corrected.
    #[must_use]
    pub fn correction(&self) -> ClockShift {
        let ahead_ms = self.shape.ahead_ms().unwrap_or_else(|| (self.ahead_ms + 500).div_euclid(1000) * 1000);
        ClockShift::from_millis(-ahead_ms).unwrap_or_default()
    }
}

impl ClockEstimate {
    /// By how much it is wrong, and what that looks like, in words.
    #[must_use]
    pub fn size(&self) -> String {
        if self.shape == ClockShape::Right {
            return "right".to_owned();
        }
        // Seconds say enough.
        let size = ClockShift::from_millis(self.ahead_ms / 1000 * 1000).unwrap_or_default().to_string();
        let (size, side) = (size.trim_start_matches(['+', '-']), if self.ahead_ms < 0 { "behind" } else { "ahead" });
        format!("{size} {side}, as if {}", self.shape)
    }

    /// What to know before it is corrected.
    #[must_use]
    pub fn caveats(&self, zone: &Zone) -> Vec<&'static str> {
        let mut caveats = Vec::new();
        if self.ahead_ms < 0 {
            caveats.push("a gateway that sends what it measured later than it could looks the same: look at its clock first");
        }
        if self.shape.follows_seasons(zone, self.at) {
            caveats.push("this changes with summer time, and a correction does not: look again when the clocks change");
        }
        caveats
    }
}

/// As people are told of it.
impl fmt::Display for ClockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { samples } => {
                write!(f, "not known yet: {samples} of {} times that are needed were seen", ClockSamples::NEEDED)
            }
            Self::Unsteady { least_ms, most_ms } => {
                let [least, most] = [least_ms, most_ms].map(|ms| ClockShift::from_millis(*ms).unwrap_or_default());
                write!(f, "not known: what arrives is between {least} and {most} old, as history is")
            }
            Self::Known(estimate) => estimate.fmt(f),
        }
    }
}

impl fmt::Display for ClockEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = (self.within_ms + 999) / 1000;
        write!(f, "{}, by {} times within {within} s, the last of {}", self.size(), self.samples, self.at)
    }
}

#[cfg(test)]
mod tests;
