//! What every backend knows of a series when it works on its readings.

use heliograph_domain::{Correction, RollupRule, SensorId, SeriesCorrections, Timestamp};

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
    /// What people have changed about its readings; `None` where nobody ever has.
    pub(crate) corrections: Option<SeriesCorrections>,
}

impl StoredSeries {
    /// Takes what belongs to it of the corrections of its gateway, whether they
    /// still count or were taken back, and shows its latest and first reading
    /// as they leave them.
    pub(crate) fn corrected_by(mut self, corrections: &[Correction]) -> Self {
        let (sensor, record) = (&self.sensor, &mut self.record);
        let own = |correction: &&Correction| {
            let key = &correction.series;
            key.sensor == *sensor && key.metric == record.metric && key.unit == record.unit
        };
        let own: Vec<&Correction> = corrections.iter().filter(own).collect();
        if own.is_empty() {
            return self;
        }
        let all = SeriesCorrections::of(own);
        record.latest = record.latest.and_then(|sample| all.apply_to_one(record.kind, sample));
        record.heard = record.heard.map(|at| all.last_left(at));
        let readings = self.extent.map(|extent| (extent.first, extent.last));
        record.first = all.extent(record.kind, readings).map(|(first, _)| first);
        self.corrections = Some(all);
        self
    }

    /// What is done to its readings.
    pub(crate) fn corrections(&self) -> &SeriesCorrections {
        self.corrections.as_ref().unwrap_or(const { &SeriesCorrections::NONE })
    }
}

/// The value of one series in a frame.
pub(super) fn value_of(values: &FrameValues, slot: Slot) -> Option<f64> {
    let place = values.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
    values.get(place).map(|(_, value)| *value)
}
