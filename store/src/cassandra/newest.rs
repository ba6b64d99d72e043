//! What a killed process had not said of the latest readings.
//!
//! A process writes what is latest a little after its readings (see
//! [`super::pulse`]). Where it was killed in between, whoever settles the marks of
//! those readings makes up for that: it reads them anyway.

use std::collections::HashMap;

use heliograph_domain::{GatewayId, Sample, TimePolicy, Timestamp};
use scylla::value::CqlTimestamp;

use super::mark::Mark;
use super::series::{self, Name};
use super::{Database, reading};
use crate::error::StoreError;
use crate::rollup::series::{FrameValues, Slot, StoredSeries};

/// The latest readings among those that complete marks were set for.
pub(super) struct Newest {
    /// When the last of the readings came, about.
    pushed: Option<Timestamp>,
    by_slot: HashMap<Slot, Sample>,
}

impl Newest {
    pub(super) fn of(marks: &[Mark]) -> Self {
        let complete = marks.iter().filter(|mark| mark.complete);
        Self { pushed: complete.filter_map(Mark::pushed).max(), by_slot: HashMap::new() }
    }

    pub(super) fn take(&mut self, at: Timestamp, values: &FrameValues) {
        if self.pushed.is_none_or(|pushed| at > pushed.plus_millis(TimePolicy::LATEST_AHEAD_MS)) {
            return;
        }
        for (slot, value) in values {
            let sample = Sample { at, value: *value };
            let known = self.by_slot.entry(*slot).or_insert(sample);
            if known.at < at {
                *known = sample;
            }
        }
    }

    /// Writes those that are not known as the latest, each as it stands there by now
    /// and as whoever pushed it would have.
    pub(super) async fn save(self, db: &Database, gateway: &GatewayId, series: &[StoredSeries]) -> Result<(), StoreError> {
        let Some(pushed) = self.pushed else { return Ok(()) };
        let slicing = db.slicing(gateway).await?;
        let mut rows: Vec<(Name, i64, Sample)> = Vec::new();
        for (slot, sample) in self.by_slot {
            let Some(series) = series.get(slot as usize).filter(|series| !knows(series, sample)) else { continue };
            let (name, at, partition) = (series::name_of(series), sample.at, slicing.partition(sample.at));
            let (time, (sensor, metric, unit)) = (CqlTimestamp(at.as_millis()), &name);
            let key =
                (gateway.as_str(), partition.date(), partition.bucket, time, sensor.as_str(), metric.as_str(), unit.as_str());
            if let Some((value, stamp)) = reading::written(db, key).await? {
                rows.push((name, series::latest_timestamp(at, stamp), Sample { at, value }));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|(name, stamp, sample)| (name, *stamp, *sample)).collect();
        series::write_latest(db, gateway, (pushed, None), &rows).await
    }
}

/// Whether what is stored as the latest of a series is a later reading, or this one.
fn knows(series: &StoredSeries, sample: Sample) -> bool {
    // Corrections hide what is stored.
    let stored = series.record.latest.filter(|_| series.corrections.is_none());
    stored.is_some_and(|stored| stored.at > sample.at || stored == sample)
}
