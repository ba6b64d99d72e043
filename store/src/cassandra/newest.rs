//! What a killed process had not said of the latest readings.
//!
//! A process writes what is latest a little after its readings (see
//! [`super::pulse`]). Where it was killed in between, whoever settles the marks of
//! those readings makes up for that: it reads them anyway.

use std::collections::HashMap;

use heliograph_domain::{GatewayId, Sample, TimePolicy, Timestamp};

use super::Database;
use super::mark::Mark;
use super::series::{self, Name};
use crate::error::StoreError;
use crate::rollup::series::{FrameValues, Slot, StoredSeries};
use crate::stamp::WriteStamp;

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

    /// Writes those that are later than what is known as the latest.
    pub(super) async fn save(self, db: &Database, gateway: &GatewayId, series: &[StoredSeries]) -> Result<(), StoreError> {
        let mut rows: Vec<(Name, i64, Sample)> = Vec::new();
        for (slot, sample) in self.by_slot {
            let Some(series) = series.get(slot as usize) else { continue };
            // Corrections hide what is stored. A row that is there already wins.
            let is_known = series.corrections.is_none() && series.record.latest.is_some_and(|latest| latest.at >= sample.at);
            if !is_known {
                rows.push((series::name_of(series), series::latest_timestamp(sample.at, WriteStamp::at(sample.at)), sample));
            }
        }
        let Some(pushed) = self.pushed.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let rows: Vec<_> = rows.iter().map(|(name, stamp, sample)| (name, *stamp, *sample)).collect();
        series::write_latest(db, gateway, (pushed, None), &rows).await
    }
}
