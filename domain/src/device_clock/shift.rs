//! By how much the times of a gateway are moved, and since when.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::ParseError;
use crate::time::Timestamp;

/// What is added to times: whole milliseconds, up to a hundred years either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct ClockShift(i64);

impl ClockShift {
    const LIMIT_MS: i64 = 36_525 * 86_400_000;

    /// So many milliseconds.
    ///
    /// # Errors
    /// When it is more than a hundred years.
    pub fn from_millis(millis: i64) -> Result<Self, ParseError> {
        if (-Self::LIMIT_MS..=Self::LIMIT_MS).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(ParseError::new("correction", "moves times by more than a hundred years"))
        }
    }

    /// Parses `-1h`, `+1h30m`, `90s`, `0s`.
    ///
    /// # Errors
    /// When the text is nothing of the kind, or more than a hundred years.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("correction", format!("{text:?} is no time such as -1h, +1h30m or 90s"));
        let span: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
        i64::try_from(span.as_millis()).map_err(|_| wrong()).and_then(Self::from_millis)
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whether it moves nothing.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// As it parses: `-1h`, `+1h30m`, `0s`.
impl fmt::Display for ClockShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        f.write_str(if self.0 < 0 { "-" } else { "+" })?;
        let mut rest = self.0.unsigned_abs();
        for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl TryFrom<i64> for ClockShift {
    type Error = ParseError;
    fn try_from(millis: i64) -> Result<Self, ParseError> {
        Self::from_millis(millis)
    }
}

impl From<ClockShift> for i64 {
    fn from(shift: ClockShift) -> Self {
        shift.0
    }
}

/// What is added to the times of what arrives from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockCorrection {
    /// The first instant of arrival.
    pub from: Timestamp,
    /// What is added; nothing takes an earlier one back.
    pub shift: ClockShift,
}

/// The corrections of a gateway's clock, each from an instant on, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockCorrections(Vec<ClockCorrection>);

impl ClockCorrections {
    /// Corrections kept of a gateway: what arrived before the first of them counts as
    /// not corrected.
    pub const KEPT: usize = 32;

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[ClockCorrection] {
        &self.0
    }

    /// What is added to the times of what arrived at an instant.
    #[must_use]
    pub fn at(&self, received: Timestamp) -> ClockShift {
        self.0.iter().rev().find(|of| of.from <= received).map(|of| of.shift).unwrap_or_default()
    }

    /// What is added to what arrives now and later, and since when.
    #[must_use]
    pub fn last(&self) -> Option<ClockCorrection> {
        self.0.last().copied()
    }

    /// These with one more, from an instant on that is no earlier than the last one's.
    #[must_use]
    pub fn with(&self, new: ClockCorrection) -> Self {
        let from = self.last().map_or(new.from, |last| last.from.max(new.from));
        let mut all: Vec<ClockCorrection> = self.0.iter().copied().filter(|of| of.from < from).collect();
        all.push(ClockCorrection { from, ..new });
        let excess = all.len().saturating_sub(Self::KEPT);
        all.drain(..excess);
        Self(all)
    }
}
