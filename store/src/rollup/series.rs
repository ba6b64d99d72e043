//! What every backend knows of a series when it works on its readings.

use heliograph_domain::{RollupRule, SensorId, Timestamp};

use crate::sensor::SeriesRecord;

/// A short name for one series of a gateway, good for one call at least.
pub(crate) type Slot = u32;

/// All values of a gateway at one instant, sorted by slot, each slot once.
pub(crate) type FrameValues = [(Slot, f64)];

/// From where to where a series has readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    /// The earliest reading.
    pub(crate) first: Timestamp,
    /// The last reading, however far ahead.
    pub(crate) last: Timestamp,
}

/// A series with what the store needs to work on it.
#[derive(Debug, Clone)]
pub(crate) struct StoredSeries {
    pub(crate) slot: Slot,
    pub(crate) sensor: SensorId,
    pub(crate) record: SeriesRecord,
    pub(crate) extent: Option<Extent>,
    pub(crate) rule: RollupRule,
}

/// The value of one series in a frame.
pub(super) fn value_of(values: &FrameValues, slot: Slot) -> Option<f64> {
    let place = values.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
    values.get(place).map(|(_, value)| *value)
}
