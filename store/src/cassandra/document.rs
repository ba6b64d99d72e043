//! Documents into marks, extents, readings and latest values, in that order.
//!
//! Nothing is locked: see [`super::mark`] for what that rests on. All readings of
//! a document carry its stamp as their write timestamp, so that writing it again,
//! in whole or in part, changes nothing, and of two pushes of a key the later one
//! wins in whatever order they are written.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{Timestamp, WINDOW_MS};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlDate, CqlTimestamp};
use tokio::sync::Semaphore;

use super::mark::{Marks, Timing};
use super::pulse::Pulse;
use super::series::{Known, Name, Touched};
use super::slicing::{Growth, Partition, day_of};
use super::{Database, mark, series};
use crate::document::DocumentWrite;
use crate::error::StoreError;

/// Documents written at once; more wait for their turn.
const DOCUMENTS_AT_ONCE: usize = 512;
/// Batches of one document written at once.
const BATCHES_AT_ONCE: usize = 4;
/// A batch is cut before it has more rows, or more bytes as the cluster counts them.
const BATCH_ROWS: usize = 200;
const BATCH_BYTES: usize = 24 * 1024;
/// What a row has besides its names, about.
const ROW_BYTES: usize = 72;
/// The cluster takes no later expiry (2038-01-19): what is kept longer is kept
/// until the retention job removes it.
const LAST_EXPIRY_MS: i64 = 2_147_483_647_000;

/// What one opening of the store needs to write documents.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) marks: Marks,
    pub(crate) known: Known,
    pub(crate) pulse: Pulse,
    pub(crate) growth: Growth,
    permits: Semaphore,
}

impl Writing {
    pub(crate) fn new(timing: Timing) -> Self {
        let (known, pulse, growth) = (Known::default(), Pulse::default(), Growth::default());
        Self { marks: Marks::new(timing), known, pulse, growth, permits: Semaphore::new(DOCUMENTS_AT_ONCE) }
    }
}

/// Writes a document within the protocol's deadline, waiting for a turn included.
pub(crate) async fn write(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    in_time(db, document, now).await?;
    db.writing().pulse.pushed(db, &document.gateway);
    Ok(())
}

/// Writes a document that may be there already, and counts it if it was not.
pub(crate) async fn write_again(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    let was_there = is_there(db, document).await?;
    in_time(db, document, now).await?;
    if !was_there {
        db.writing().pulse.pushed(db, &document.gateway);
    }
    Ok(())
}

/// Whether a document was written before, by its last reading: that one, or a
/// later push of it.
async fn is_there(db: &Database, document: &DocumentWrite) -> Result<bool, StoreError> {
    let names = series::names(document)?;
    let last = document.values.last().and_then(|value| Some((value.time, names.get(value.series)?)));
    let Some((time, (sensor, metric, unit))) = last else { return Ok(false) };
    let gateway = document.gateway.as_str();
    let partition = db.slicing(&document.gateway).await?.partition(time);
    let key = (gateway, partition.date(), partition.bucket, CqlTimestamp(time.as_millis()), sensor, metric, unit);
    let stamp = "SELECT WRITETIME(value) FROM @.reading
        WHERE gateway = ? AND day = ? AND bucket = ? AND time = ? AND sensor = ? AND metric = ? AND unit = ?";
    let stamp: Option<(i64,)> = db.row(stamp, key).await?;
    Ok(stamp.is_some_and(|(stamp,)| stamp >= document.stamp.as_micros()))
}

async fn in_time(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    let writing = db.writing();
    let turn = async {
        let _turn = writing.permits.acquire().await.map_err(|_| StoreError::Unavailable("it is closed".to_owned()))?;
        write_all(db, document, now).await
    };
    let deadline = writing.marks.timing.deadline;
    let late = |_| StoreError::Unavailable(format!("a document was not written within {} s", deadline.as_secs()));
    tokio::time::timeout(deadline, turn).await.map_err(late)?
}

async fn write_all(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    let names = series::names(document)?;
    series::register(db, document, &names).await?;
    let values = distinct(document, &names);
    let touched = touched(document, &names);
    let times = values.keys().map(|(time, _)| *time);
    tokio::try_join!(
        mark::set(db, &document.gateway, times, document.received),
        series::extend(db, &document.gateway, &touched),
    )?;
    tokio::try_join!(
        write_readings(db, document, &values, now),
        series::latest(db, document, &touched),
        keep_refused(db, document),
    )?;
    Ok(())
}

async fn keep_refused(db: &Database, document: &DocumentWrite) -> Result<(), StoreError> {
    match &document.quarantine {
        Some(refused) => db.quarantine_add(refused).await,
        None => Ok(()),
    }
}

type Values<'a> = BTreeMap<(Timestamp, &'a Name), f64>;

/// The values by instant and series, the last of equal keys only: in one batch
/// all have one timestamp, and none would be the later one.
fn distinct<'a>(document: &DocumentWrite, names: &'a [Name]) -> Values<'a> {
    let named = document.values.iter().filter_map(|value| Some(((value.time, names.get(value.series)?), value.value)));
    named.collect()
}

fn touched<'a>(document: &DocumentWrite, names: &'a [Name]) -> Vec<(&'a Name, Touched)> {
    let mut found: HashMap<&Name, Option<Touched>> = HashMap::new();
    for value in &document.values {
        if let Some(name) = names.get(value.series) {
            Touched::add(found.entry(name).or_default(), value.time, value.value, document.received);
        }
    }
    found.into_iter().filter_map(|(name, touched)| Some((name, touched?))).collect()
}

type Row<'a> = (&'a str, CqlDate, i16, CqlTimestamp, &'a str, &'a str, &'a str, f64, i32);

async fn write_readings(db: &Database, document: &DocumentWrite, values: &Values<'_>, now: Timestamp) -> Result<(), StoreError> {
    let slicing = db.slicing(&document.gateway).await?;
    let lifetime = db.lifetime_ms().await?;
    let mut partitions: BTreeMap<Partition, Vec<Row<'_>>> = BTreeMap::new();
    for ((time, (sensor, metric, unit)), value) in values {
        let Some(ttl) = ttl_seconds(lifetime, *time, now) else { continue };
        let partition = slicing.partition(*time);
        let at = CqlTimestamp(time.as_millis());
        let row = (
            document.gateway.as_str(),
            partition.date(),
            partition.bucket,
            at,
            sensor.as_str(),
            metric.as_str(),
            unit.as_str(),
            *value,
            ttl,
        );
        partitions.entry(partition).or_default().push(row);
    }
    let statement = db
        .prepared(
            "INSERT INTO @.reading (gateway, day, bucket, time, sensor, metric, unit, value)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?",
        )
        .await?;
    let stamp = document.stamp.as_micros();
    let mut batches: Vec<BoxFuture<'_, Result<(), StoreError>>> = Vec::new();
    for rows in partitions.values().flat_map(|rows| cut(rows)) {
        batches.push(write_batch(db, &statement, rows, stamp).boxed());
    }
    stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE).try_collect::<()>().await?;
    let today = values.keys().filter(|(time, _)| day_of(*time) == day_of(document.received)).count();
    db.note_growth(&document.gateway, &slicing, document.received, today as u64).await;
    Ok(())
}

async fn write_batch(db: &Database, insert: &PreparedStatement, rows: &[Row<'_>], stamp: i64) -> Result<(), StoreError> {
    db.batch(vec![insert.clone(); rows.len()], rows, Some(stamp)).await.map(drop)
}

/// How long a reading is kept from now, 0: for ever; `None` if it is too old already.
pub(super) fn ttl_seconds(lifetime_ms: Option<i64>, time: Timestamp, now: Timestamp) -> Option<i32> {
    let Some(lifetime) = lifetime_ms else { return Some(0) };
    let expiry = time.plus_millis(lifetime);
    let left = expiry.millis_since(now);
    if left <= 0 {
        return None;
    }
    if expiry.as_millis() >= LAST_EXPIRY_MS { Some(0) } else { i32::try_from(left / 1000 + 1).ok() }
}

/// Cuts the rows of a partition into batches that the cluster takes.
fn cut<'a, 'b>(rows: &'b [Row<'a>]) -> Vec<&'b [Row<'a>]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (place, row) in rows.iter().enumerate() {
        let size = row_bytes(row.4.len() + row.5.len() + row.6.len());
        if place > from && (place - from >= BATCH_ROWS || bytes + size > BATCH_BYTES) {
            batches.extend(rows.get(from..place));
            (from, bytes) = (place, 0);
        }
        bytes += size;
    }
    batches.extend(rows.get(from..).filter(|rest| !rest.is_empty()));
    batches
}

const fn row_bytes(names: usize) -> usize {
    ROW_BYTES + names
}

/// Whether a document is one batch on one partition, however its gateway's days
/// are cut: such a one is whole or not there.
pub(crate) fn is_atomic(document: &DocumentWrite) -> bool {
    let bytes = |series: usize| {
        let series = document.series.get(series)?;
        let sensor = document.sensors.get(series.sensor)?;
        Some(row_bytes(sensor.id.as_str().len() + series.metric.as_str().len() + series.unit.as_str().len()))
    };
    let slice = |time: Timestamp| time.as_millis().div_euclid(WINDOW_MS);
    let mut slices = document.values.iter().map(|value| slice(value.time));
    let first = slices.next();
    slices.all(|slice| Some(slice) == first)
        && document.values.len() <= BATCH_ROWS
        && document.values.iter().filter_map(|value| bytes(value.series)).sum::<usize>() <= BATCH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, name: &str) -> Vec<Row<'_>> {
        (0..count).map(|i| ("gw", CqlDate(0), 0, CqlTimestamp(i as i64), name, "m", "W", 0.0, 0)).collect()
    }

    #[test]
    fn batches_stay_below_the_clusters_limits_and_hold_every_row_once() {
        let long = "n".repeat(400);
        for (count, name) in [(0, "s"), (1, "s"), (200, "s"), (201, "s"), (1999, "s"), (300, long.as_str())] {
            let rows = rows(count, name);
            let batches = cut(&rows);
            assert!(batches.iter().all(|batch| !batch.is_empty() && batch.len() <= BATCH_ROWS));
            assert!(batches.iter().all(|batch| batch.len() * row_bytes(name.len() + 2) <= BATCH_BYTES));
            assert_eq!(batches.concat(), rows);
        }
    }

    #[test]
    fn a_reading_lives_for_what_is_left_of_its_time() {
        let at = |hours: i64| Timestamp::clamped(1_800_000_000_000 + hours * 3_600_000);
        let day = Some(86_400_000);
        assert_eq!(ttl_seconds(None, at(-1000), at(0)), Some(0));
        assert_eq!(ttl_seconds(day, at(-23), at(0)), Some(3601));
        assert_eq!(ttl_seconds(day, at(-24), at(0)), None);
        assert_eq!(ttl_seconds(Some(40 * 365 * 86_400_000), at(0), at(0)), Some(0));
    }
}
