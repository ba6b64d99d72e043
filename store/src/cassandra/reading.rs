//! Readings: a row each, in a partition a gateway, UTC day and slice of the day.

use std::cmp::Ordering;

use futures_util::TryStreamExt as _;
use heliograph_domain::{GatewayId, MetricName, SensorId, TimeWindow, Timestamp, Unit};
use scylla::value::{CqlDate, CqlTimestamp};

use super::slicing::Partition;
use super::{Database, Rows, series};
use crate::error::StoreError;
use crate::reading::{ReadingPage, ReadingRow};
use crate::rollup::gather::{Order, Walk};
use crate::rollup::series::{FrameValues, Slot, StoredSeries};
use crate::stamp::WriteStamp;

/// Time, sensor, metric, unit, value.
pub(super) type Row = (CqlTimestamp, String, String, String, f64);

const FORWARDS: &str = "SELECT time, sensor, metric, unit, value FROM @.reading
    WHERE gateway = ? AND day = ? AND bucket = ? AND time >= ? AND time < ?";
const BACKWARDS: &str = "SELECT time, sensor, metric, unit, value FROM @.reading
    WHERE gateway = ? AND day = ? AND bucket = ? AND time >= ? AND time < ?
    ORDER BY time DESC, sensor DESC, metric DESC, unit DESC";

/// Gateway, day, bucket, time, sensor, metric, unit.
pub(super) type Key<'a> = (&'a str, CqlDate, i16, CqlTimestamp, &'a str, &'a str, &'a str);

/// A reading, if it is there, and the stamp that it was written with.
pub(super) async fn written(db: &Database, key: Key<'_>) -> Result<Option<(f64, WriteStamp)>, StoreError> {
    let cql = "SELECT value, WRITETIME(value) FROM @.reading
        WHERE gateway = ? AND day = ? AND bucket = ? AND time = ? AND sensor = ? AND metric = ? AND unit = ?";
    let found: Option<(f64, i64)> = db.row(cql, key).await?;
    Ok(found.map(|(value, stamp)| (value, WriteStamp::of_micros(stamp))))
}

/// The partitions of a walk.
pub(super) async fn partitions(db: &Database, gateway: &GatewayId, walk: &Walk) -> Result<Vec<Partition>, StoreError> {
    Ok(db.slicing(gateway).await?.partitions(walk))
}

/// The rows of a partition in the order of their keys, page by page.
pub(super) async fn of_partition(db: Database, gateway: GatewayId, partition: Partition) -> Result<Rows<Row>, StoreError> {
    let all = "SELECT time, sensor, metric, unit, value FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ?";
    db.stream(all, (gateway.as_str(), partition.date(), partition.bucket)).await
}

/// Shows the rows of a walk to `take`, until it says false.
async fn rows(
    db: &Database,
    gateway: &GatewayId,
    walk: &Walk,
    mut take: impl FnMut(Row) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let slicing = db.slicing(gateway).await?;
    let cql = if walk.order == Order::Forwards { FORWARDS } else { BACKWARDS };
    let [from, until] = [walk.window.from, walk.window.end()].map(|time| CqlTimestamp(time.as_millis()));
    for partition in slicing.partitions(walk) {
        let mut rows = db.stream(cql, (gateway.as_str(), partition.date(), partition.bucket, from, until)).await?;
        while let Some(row) = rows.try_next().await? {
            if !take(row)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Shows the frames of a walk to `take`, until it wants no more. `series` are
/// those of the gateway in the order of their slots, which is that of their names.
pub(crate) async fn walk(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    walk: Walk,
    mut take: impl FnMut(Timestamp, &FrameValues) -> bool,
) -> Result<(), StoreError> {
    let mut at = None;
    let mut frame: Vec<(Slot, f64)> = Vec::new();
    let mut wanted = true;
    rows(db, gateway, &walk, |(time, sensor, metric, unit, value)| {
        let time = Timestamp::clamped(time.0);
        if let Some(before) = at.filter(|at| *at != time) {
            frame.sort_unstable_by_key(|(slot, _)| *slot);
            wanted = take(before, &frame);
            frame.clear();
        }
        at = Some(time);
        // What is not among the series, or had no reading when these were read, was
        // registered a moment ago: its mark is still to be settled. How far its readings
        // reach is not known either, and nobody walks to the beginning of time for them.
        let name = (sensor.as_str(), metric.as_str(), unit.as_str());
        if let Some(series) = find(series, name).filter(|series| series.extent.is_some()) {
            frame.push((series.slot, value));
        }
        Ok(wanted)
    })
    .await?;
    if let Some(at) = at.filter(|_| wanted) {
        frame.sort_unstable_by_key(|(slot, _)| *slot);
        take(at, &frame);
    }
    Ok(())
}

pub(crate) fn find<'a>(series: &'a [StoredSeries], name: (&str, &str, &str)) -> Option<&'a StoredSeries> {
    let compare = |series: &StoredSeries| -> Ordering {
        (series.sensor.as_str(), series.record.metric.as_str(), series.record.unit.as_str()).cmp(&name)
    };
    series.binary_search_by(compare).ok().and_then(|place| series.get(place))
}

pub(crate) async fn page(
    db: &Database,
    gateway: &GatewayId,
    window: TimeWindow,
    limit: usize,
) -> Result<ReadingPage, StoreError> {
    db.require_gateway(gateway).await?;
    let mut page = ReadingPage { rows: Vec::new(), next: None };
    let known = series::of_gateway(db, gateway).await?;
    let Some(window) = known.extent().and_then(|extent| extent.intersect(&window)) else { return Ok(page) };
    let mut at = None;
    rows(db, gateway, &Walk { window, order: Order::Forwards }, |(time, sensor, metric, unit, value)| {
        let time = Timestamp::clamped(time.0);
        if page.rows.len() >= limit && at != Some(time) {
            page.next = Some(time);
            return Ok(false);
        }
        at = Some(time);
        let (sensor, metric, unit) = (SensorId::parse(&sensor)?, MetricName::parse(&metric)?, Unit::parse(&unit)?);
        page.rows.push(ReadingRow { sensor, metric, unit, time, value });
        Ok(true)
    })
    .await?;
    Ok(page)
}
