//! The table of rollups: its rows, written and read.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, Rollup, RollupFlags, TimeWindow, Timestamp, window_of};
use scylla::value::{CqlTimestamp, MaybeUnset};
use scylla::{DeserializeRow, SerializeRow};

use super::super::slicing::{DAY_MS, Day, day_of};
use super::super::{Database, reading};
use crate::error::StoreError;
use crate::rollup::WindowRollup;
use crate::rollup::series::{Slot, StoredSeries};

/// Rollups in one batch; one is 200 bytes or so.
const BATCH: usize = 100;
/// Days read at once.
const DAYS_AT_ONCE: usize = 8;

/// A row of the table: its partition is gateway, step and period.
#[derive(Debug, SerializeRow)]
pub(crate) struct NewRow<'a> {
    gateway: &'a str,
    step: &'a str,
    period: &'a str,
    sensor: &'a str,
    metric: &'a str,
    unit: &'a str,
    start: CqlTimestamp,
    count: i64,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
    covered_ms: i64,
    positive: f64,
    negative: f64,
    increase: f64,
    flags: i32,
    zone: MaybeUnset<&'a str>,
}

/// Gateway, step, period.
pub(crate) type Place<'a> = (&'a str, &'a str, &'a str);
/// Sensor, metric, unit.
pub(crate) type Name<'a> = (&'a str, &'a str, &'a str);

impl<'a> NewRow<'a> {
    pub(crate) fn new(
        (gateway, step, period): Place<'a>,
        (sensor, metric, unit): Name<'a>,
        start: Timestamp,
        rollup: &Rollup,
        zone: Option<&'a str>,
    ) -> Self {
        Self {
            gateway,
            step,
            period,
            sensor,
            metric,
            unit,
            start: CqlTimestamp(start.as_millis()),
            count: i64::from(rollup.count),
            min: rollup.min,
            max: rollup.max,
            first: rollup.first,
            last: rollup.last,
            covered_ms: i64::from(rollup.covered_ms),
            positive: rollup.positive,
            negative: rollup.negative,
            increase: rollup.increase,
            flags: i32::from(rollup.flags.to_bits()),
            zone: zone.map_or(MaybeUnset::Unset, MaybeUnset::Set),
        }
    }
}

const INSERT: &str = "INSERT INTO @.rollup
    (gateway, step, period, sensor, metric, unit, start, count, min, max, first, last, covered_ms, positive, negative, increase,
     flags, zone)
    VALUES (:gateway, :step, :period, :sensor, :metric, :unit, :start, :count, :min, :max, :first, :last, :covered_ms,
            :positive, :negative, :increase, :flags, :zone)";
const DELETE: &str = "DELETE FROM @.rollup
    WHERE gateway = ? AND step = ? AND period = ? AND sensor = ? AND metric = ? AND unit = ? AND start = ?";

/// Writes rows of one partition.
pub(crate) async fn put(db: &Database, rows: &[NewRow<'_>], timestamp: i64) -> Result<(), StoreError> {
    let insert = db.prepared(INSERT).await?;
    for some in rows.chunks(BATCH) {
        db.batch(vec![insert.clone(); some.len()], some, Some(timestamp)).await?;
    }
    Ok(())
}

/// Deletes a row as it was at a time.
pub(crate) async fn delete(
    db: &Database,
    (gateway, step, period): Place<'_>,
    (sensor, metric, unit): Name<'_>,
    start: Timestamp,
    timestamp: i64,
) -> Result<(), StoreError> {
    let key = (gateway, step, period, sensor, metric, unit, CqlTimestamp(start.as_millis()));
    db.execute_at(DELETE, key, timestamp).await.map(drop)
}

/// What a series is called.
pub(crate) fn name_of(series: &StoredSeries) -> Name<'_> {
    (series.sensor.as_str(), series.record.metric.as_str(), series.record.unit.as_str())
}

/// The step of a window of 15 minutes.
pub(crate) const QUARTER: &str = "quarter";

/// The name of a UTC day, `2026-06-15`.
pub(crate) fn period(day: Day) -> String {
    let date = Timestamp::clamped(day * DAY_MS).to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    date.to_string()
}

#[derive(DeserializeRow)]
pub(crate) struct StoredRow {
    pub(crate) sensor: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) start: CqlTimestamp,
    /// Of local days and months.
    pub(crate) zone: Option<String>,
    count: i64,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
    covered_ms: i64,
    positive: f64,
    negative: f64,
    increase: f64,
    flags: i32,
    /// The cluster's time at which it was computed, µs.
    pub(crate) written: i64,
}

const STORED: &str =
    "SELECT sensor, metric, unit, start, zone, count, min, max, first, last, covered_ms, positive, negative, increase, flags,
    WRITETIME(count) AS written FROM @.rollup WHERE gateway = ? AND step = ? AND period = ?";

/// The rows of a partition, by series and time.
pub(crate) async fn stored(db: &Database, place: Place<'_>) -> Result<Vec<StoredRow>, StoreError> {
    db.all(STORED, place).await
}

/// The stored windows of a period, of each series in time order.
pub(crate) async fn stored_windows(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    period: TimeWindow,
    extent: TimeWindow,
) -> Result<HashMap<Slot, Vec<WindowRollup>>, StoreError> {
    let mut found: HashMap<Slot, Vec<WindowRollup>> = HashMap::new();
    let extent = TimeWindow::between(window_of(extent.from), extent.end());
    let from = window_of(period.from);
    let Some(shared) = TimeWindow { from, until: period.until }.intersect(&extent) else { return Ok(found) };
    let days = day_of(shared.from)..=day_of(shared.end().plus_millis(-1));
    let pages = stream::iter(days).map(|day| async move { stored(db, (gateway.as_str(), QUARTER, &self::period(day))).await });
    let mut pages = std::pin::pin!(pages.buffered(DAYS_AT_ONCE));
    while let Some(rows) = pages.try_next().await? {
        for row in rows {
            let start = Timestamp::clamped(row.start.0);
            if start < from || start >= period.end() {
                continue;
            }
            let name = (row.sensor.as_str(), row.metric.as_str(), row.unit.as_str());
            if let Some(series) = reading::find(series, name) {
                found.entry(series.slot).or_default().push(WindowRollup { start, rollup: rollup_of(&row) });
            }
        }
    }
    Ok(found)
}

/// The newest stored window with readings of each of some series, of those that begin before
/// an instant of its own and not before one of all.
pub(crate) async fn newest_before(
    db: &Database,
    gateway: &GatewayId,
    mut wanted: Vec<(&StoredSeries, Timestamp)>,
    from: Timestamp,
) -> Result<HashMap<Slot, WindowRollup>, StoreError> {
    let mut found = HashMap::new();
    let first = |series: &StoredSeries| series.extent.map_or(Timestamp::MAX, |extent| window_of(extent.first)).max(from);
    let mut until = wanted.iter().map(|(_, before)| *before).max().unwrap_or(Timestamp::MIN);
    // Together, and no further than has to be: whole days are read, of which most are empty.
    loop {
        wanted.retain(|(series, _)| !found.contains_key(&series.slot) && first(series) < until);
        let Some(begin) = wanted.iter().map(|(series, _)| first(series)).min() else { return Ok(found) };
        let within = TimeWindow::between(begin.max(until.plus_millis(-(DAYS_AT_ONCE as i64) * DAY_MS)), until);
        let series: Vec<StoredSeries> = wanted.iter().map(|(series, _)| (*series).clone()).collect();
        let mut stored = stored_windows(db, gateway, &series, within, within).await?;
        for (series, before) in &wanted {
            let windows = stored.remove(&series.slot).unwrap_or_default().into_iter();
            let newest = windows.rev().find(|window| window.start < *before && window.rollup.count > 0);
            found.extend(newest.map(|newest| (series.slot, newest)));
        }
        until = within.from;
    }
}

pub(crate) fn rollup_of(row: &StoredRow) -> Rollup {
    Rollup {
        count: u32::try_from(row.count).unwrap_or(0),
        min: row.min,
        max: row.max,
        first: row.first,
        last: row.last,
        covered_ms: u32::try_from(row.covered_ms).unwrap_or(0),
        positive: row.positive,
        negative: row.negative,
        increase: row.increase,
        flags: RollupFlags::from_bits(u8::try_from(row.flags).unwrap_or(0)),
    }
}
