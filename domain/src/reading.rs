//! One value of one series at one instant.

use crate::series::SeriesKey;
use crate::time::Timestamp;

/// A reading. Its key is series and time: a later push of the same key wins.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    series: SeriesKey,
    time: Timestamp,
    value: f64,
}

/// Why a value cannot be a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// NaN or an infinity.
    #[error("value is not a finite number")]
    NotFinite,
}

impl Reading {
    /// Puts a reading together.
    ///
    /// # Errors
    /// When the value is NaN or infinite.
    pub fn new(series: SeriesKey, time: Timestamp, value: f64) -> Result<Self, ReadingError> {
        if value.is_finite() { Ok(Self { series, time, value }) } else { Err(ReadingError::NotFinite) }
    }

    /// The series it belongs to.
    #[must_use]
    pub const fn series(&self) -> &SeriesKey {
        &self.series
    }

    /// When it was measured.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// What was measured, in the series' unit; finite.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }
}
