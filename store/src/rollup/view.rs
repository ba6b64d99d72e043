//! A gateway's rollups put together for whoever asked.

use std::collections::HashMap;

use heliograph_domain::{SensorId, SensorRole, TimeWindow};

use super::edges::Edges;
use super::series::{Slot, StoredSeries};
use super::{SeriesChoice, SeriesRollups, WindowRollup};
use crate::sensor::SensorRecord;

/// The series of which windows are wanted.
pub(crate) fn chosen(sensors: &[SensorRecord], series: &[StoredSeries], wanted: SeriesChoice) -> Vec<StoredSeries> {
    let role = |id: &SensorId| sensors.iter().find(|sensor| sensor.id == *id).map_or(SensorRole::Other, |sensor| sensor.role);
    series.iter().filter(|series| wanted(role(&series.sensor), &series.record)).cloned().collect()
}

/// Puts stored windows and edges together. `edges` are in the order of the
/// series; without any, everything may be seen.
pub(crate) fn assemble(
    sensors: &[SensorRecord],
    series: Vec<StoredSeries>,
    mut stored: HashMap<Slot, Vec<WindowRollup>>,
    edges: Option<Vec<Edges>>,
    shared: Option<TimeWindow>,
    visible: TimeWindow,
) -> Vec<SeriesRollups> {
    let mut edges = edges.unwrap_or_default().into_iter();
    series
        .into_iter()
        .map(|series| {
            let stored = stored.remove(&series.slot).unwrap_or_default();
            let windows = match (shared, edges.next()) {
                (None, _) => Vec::new(),
                (Some(_), None) => stored,
                (Some(shared), Some(edges)) => edges.lay_over(stored, shared),
            };
            one(sensors, series, windows, visible)
        })
        .collect()
}

fn one(sensors: &[SensorRecord], series: StoredSeries, windows: Vec<WindowRollup>, visible: TimeWindow) -> SeriesRollups {
    let sensor = sensors.iter().find(|sensor| sensor.id == series.sensor);
    let mut record = series.record;
    record.latest = record.latest.filter(|sample| visible.contains(sample.at));
    record.heard = record.heard.filter(|at| visible.contains(*at));
    record.first = record.first.map(|first| first.max(visible.from)).filter(|first| visible.contains(*first));
    SeriesRollups {
        sensor_name: sensor.map_or_else(|| series.sensor.to_string(), |sensor| sensor.name().to_owned()),
        role: sensor.map_or(SensorRole::Other, |sensor| sensor.role),
        rated_w: sensor.and_then(|sensor| sensor.rated_w),
        sensor: series.sensor,
        series: record,
        windows,
    }
}
