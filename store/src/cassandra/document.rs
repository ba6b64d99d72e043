//! Documents into marks, extents and readings, in that order; what is latest follows
//! a little later (see [`super::pulse`]).
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
use tokio::time::Instant;

use super::mark::{Marks, Timing};
use super::pulse::Pulse;
use super::series::{Known, Name, Touched};
use super::slicing::{Growth, Partition, Slicing, day_of};
use super::{Database, mark, pulse, reading, series};
use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::stamp::WriteStamp;

/// Documents written at once; more wait for their turn.
const DOCUMENTS_AT_ONCE: usize = 512;
/// Batches of one document written at once.
const BATCHES_AT_ONCE: usize = 4;
/// A batch is cut before it has more rows, or more bytes as the cluster counts them.
const BATCH_ROWS: usize = 200;
const BATCH_BYTES: usize = 24 * 1024;
/// Batches that are written in one step: far less than the deadline lets through on
/// a cluster that is merely slow.
const BATCHES_OF_STEP: usize = 32;
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

    /// What was written is not there any more.
    pub(super) fn forget(&self) {
        self.marks.forget();
        self.known.forget();
    }
}

/// Writes a document, in steps if it is long; each is done within the protocol's
/// deadline, the first with the wait for a turn.
pub(crate) async fn write(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    write_as(db, document, now, false).await.map(drop)
}

/// Writes a document that may be there already, and counts it if it was not. The
/// steps that were done before are not done again.
pub(crate) async fn write_again(db: &Database, document: &DocumentWrite, now: Timestamp) -> Result<(), StoreError> {
    write_as(db, document, now, true).await.map(drop)
}

/// Writes a document and counts it; where that is done again, not if it was there
/// already, and answers that: by its last reading, that one or a later push of it.
async fn write_as(db: &Database, document: &DocumentWrite, now: Timestamp, again: bool) -> Result<bool, StoreError> {
    let names = series::names(document)?;
    let values = distinct(document, &names);
    let touched = touched(document, &names);
    let until = Instant::now() + db.writing().marks.timing.deadline;
    let begin = async {
        let turn = db.writing().permits.acquire().await.map_err(|_| StoreError::Unavailable("it is closed".to_owned()))?;
        let slicing = db.slicing(&document.gateway).await?;
        let rows = rows(document, &values, &slicing, db.lifetime_ms().await?, now);
        let was_there = match rows.last() {
            Some((_, last)) if again => stamp_of(db, last).await? >= Some(document.stamp),
            _ => false,
        };
        series::register(db, document, &names).await?;
        Ok((turn, slicing, rows, was_there))
    };
    let (_turn, slicing, rows, was_there) = by(db, until, begin).await?;
    let batches = batches(&rows);
    if batches.len() <= BATCHES_OF_STEP {
        by(db, until, write_at_once(db, document, &touched, &batches)).await?;
    } else {
        by(db, until, series::extend(db, &document.gateway, &touched)).await?;
        write_in_steps(db, document, &batches, again, now).await?;
    }
    let today = values.keys().filter(|(time, _)| day_of(*time) == day_of(document.received)).count();
    db.note_growth(&document.gateway, &slicing, document.received, today as u64);
    db.writing().pulse.pushed(db, document, &touched, !was_there);
    if mark::takes_days(values.keys().map(|(time, _)| *time)) {
        pulse::flush_gateway(db, &document.gateway).await;
    }
    Ok(was_there)
}

async fn by<T>(db: &Database, until: Instant, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let deadline = db.writing().marks.timing.deadline;
    let late = |_| StoreError::Unavailable(format!("a document was not written within {} s", deadline.as_secs()));
    tokio::time::timeout_at(until, work).await.map_err(late)?
}

async fn write_at_once(
    db: &Database,
    document: &DocumentWrite,
    touched: &[(&Name, Touched)],
    batches: &[Batch<'_, '_>],
) -> Result<(), StoreError> {
    tokio::try_join!(
        mark::set(db, &document.gateway, times(batches), document.received),
        series::extend(db, &document.gateway, touched),
    )?;
    tokio::try_join!(write_batches(db, batches, document.stamp), keep_refused(db, document))?;
    Ok(())
}

/// Writes a long document. Each step has marks of its own, as if it were a document.
/// Where it is written again, the steps that were done are left out.
async fn write_in_steps(
    db: &Database,
    document: &DocumentWrite,
    batches: &[Batch<'_, '_>],
    again: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let until = || Instant::now() + db.writing().marks.timing.deadline;
    let steps: Vec<_> = batches.chunks(BATCHES_OF_STEP).collect();
    let done = if again { by(db, until(), steps_done(db, &steps, document.stamp)).await? } else { 0 };
    // Where the oldest readings have expired meanwhile, steps begin elsewhere: of the
    // one that ends where an earlier one was cut short, a part may be missing.
    for step in steps.into_iter().skip(done.saturating_sub(1)) {
        by(db, until(), write_step(db, document, step, now)).await?;
    }
    by(db, until(), keep_refused(db, document)).await
}

/// Writes a step by the settings of its own time: nobody goes by those before for
/// longer than a step may take, however long the document is.
async fn write_step(db: &Database, document: &DocumentWrite, step: &[Batch<'_, '_>], now: Timestamp) -> Result<(), StoreError> {
    let lifetime = db.lifetime_ms().await?;
    let rows: Vec<_> = step.iter().copied().flatten().filter_map(|row| living(row, lifetime, now)).collect();
    let step = batches(&rows);
    let Some((last, others)) = step.split_last() else { return Ok(()) };
    mark::set(db, &document.gateway, times(&step), document.received).await?;
    // The last batch is there only if all are: it is one write.
    write_batches(db, others, document.stamp).await?;
    write_batches(db, std::slice::from_ref(last), document.stamp).await
}

/// How many steps of a document, which are written in their order, were done before.
/// A reading that carries the document's stamp says that of its step; one that
/// another push has overwritten says nothing.
async fn steps_done(db: &Database, steps: &[&[Batch<'_, '_>]], stamp: WriteStamp) -> Result<usize, StoreError> {
    let (mut done, mut beyond) = (0, steps.len());
    while done < beyond {
        let middle = done.midpoint(beyond);
        let last = steps.get(middle).and_then(|step| step.last()).and_then(|batch| batch.last());
        let Some((_, row)) = last else { break };
        if stamp_of(db, row).await? == Some(stamp) { done = middle + 1 } else { beyond = middle }
    }
    Ok(done)
}

/// The stamp that a reading was written with, if it is there.
async fn stamp_of(db: &Database, row: &Row<'_>) -> Result<Option<WriteStamp>, StoreError> {
    let (gateway, date, bucket, time, sensor, metric, unit, ..) = *row;
    let written = reading::written(db, (gateway, date, bucket, time, sensor, metric, unit)).await?;
    Ok(written.map(|(_, stamp)| stamp))
}

async fn keep_refused(db: &Database, document: &DocumentWrite) -> Result<(), StoreError> {
    match &document.quarantine {
        Some(refused) => db.quarantine_add(refused, None).await,
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

/// Gateway, day, bucket, time, sensor, metric, unit, value, seconds to live.
pub(super) type Row<'a> = (&'a str, CqlDate, i16, CqlTimestamp, &'a str, &'a str, &'a str, f64, i32);
/// A row and its instant.
pub(super) type TimedRow<'a> = (Timestamp, Row<'a>);
/// What is written at once, into one partition.
type Batch<'a, 'b> = &'b [TimedRow<'a>];

/// The rows of a document in the order of their keys, and so of their partitions,
/// but for those that are too old to be kept.
fn rows<'a>(
    document: &'a DocumentWrite,
    values: &Values<'a>,
    slicing: &Slicing,
    lifetime: Option<i64>,
    now: Timestamp,
) -> Vec<TimedRow<'a>> {
    let row = |((time, (sensor, metric, unit)), value): (&(Timestamp, &'a Name), &f64)| {
        let ttl = ttl_seconds(lifetime, *time, now)?;
        let Partition { bucket, .. } = slicing.partition(*time);
        let (date, at) = (slicing.partition(*time).date(), CqlTimestamp(time.as_millis()));
        let gateway = document.gateway.as_str();
        Some((*time, (gateway, date, bucket, at, sensor.as_str(), metric.as_str(), unit.as_str(), *value, ttl)))
    };
    values.iter().filter_map(row).collect()
}

/// A row with the time that it is to live by now.
fn living<'a>((time, row): &TimedRow<'a>, lifetime: Option<i64>, now: Timestamp) -> Option<TimedRow<'a>> {
    let mut row = *row;
    row.8 = ttl_seconds(lifetime, *time, now)?;
    Some((*time, row))
}

fn batches<'a, 'b>(rows: &'b [TimedRow<'a>]) -> Vec<Batch<'a, 'b>> {
    rows.chunk_by(|(_, a), (_, b)| (a.1, a.2) == (b.1, b.2)).flat_map(cut).collect()
}

fn times(batches: &[Batch<'_, '_>]) -> impl Iterator<Item = Timestamp> {
    batches.iter().flat_map(|batch| batch.iter().map(|(time, _)| *time))
}

/// Writes rows in the order of their keys, in as many batches as the cluster wants.
pub(super) async fn write_rows(db: &Database, rows: &[TimedRow<'_>], stamp: WriteStamp) -> Result<(), StoreError> {
    write_batches(db, &batches(rows), stamp).await
}

async fn write_batches(db: &Database, batches: &[Batch<'_, '_>], stamp: WriteStamp) -> Result<(), StoreError> {
    let statement = db
        .prepared(
            "INSERT INTO @.reading (gateway, day, bucket, time, sensor, metric, unit, value)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?",
        )
        .await?;
    let mut writes: Vec<BoxFuture<'_, Result<(), StoreError>>> = Vec::new();
    for batch in batches {
        writes.push(write_batch(db, &statement, batch, stamp.as_micros()).boxed());
    }
    stream::iter(writes).buffer_unordered(BATCHES_AT_ONCE).try_collect::<()>().await
}

async fn write_batch(db: &Database, insert: &PreparedStatement, batch: Batch<'_, '_>, stamp: i64) -> Result<(), StoreError> {
    let rows: Vec<&Row<'_>> = batch.iter().map(|(_, row)| row).collect();
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
fn cut<'a, 'b>(rows: &'b [TimedRow<'a>]) -> Vec<Batch<'a, 'b>> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (place, (_, row)) in rows.iter().enumerate() {
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
mod tests;
