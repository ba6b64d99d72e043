//! Marks into rollups, and rollups back out within what somebody may see.

use std::collections::HashMap;

use heliograph_domain::{GatewayId, Rollup, RollupFlags, TimeWindow, Timestamp, window_of};
use rusqlite::{Connection, OptionalExtension as _, Row, Statement, params};

use super::{Batch, frame, gateway, quarter, retention, sensor, span};
use crate::error::StoreError;
use crate::retention::kept_from;
use crate::rollup::edges::{EdgeGathering, Edges};
use crate::rollup::gather::{Order, Samples, Walk, Walked};
use crate::rollup::series::{FrameValues, Slot, StoredSeries};
use crate::rollup::settle::{Portion, SettledSeries};
use crate::rollup::{SeriesChoice, SeriesRollups, Sight, WindowRollup, settle, view};

/// Windows of series settled in one transaction: other writers wait meanwhile.
const WORK_AT_ONCE: usize = 2_000;
/// Values that are read in the time in which a window is written.
const VALUES_A_WINDOW: usize = 8;
/// Gateways settled in one transaction.
const GATEWAYS_AT_ONCE: usize = 200;

pub(crate) fn is_dirty(connection: &Connection, id: &GatewayId) -> Result<bool, StoreError> {
    let number = gateway::number(connection, id)?;
    Ok(connection.prepare_cached("SELECT 1 FROM dirty WHERE gateway = ?1")?.exists([number])?)
}

/// Those of some gateways that have marks, by their numbers.
pub(crate) fn dirty_of(connection: &Connection, gateways: &[GatewayId]) -> Result<Vec<i64>, StoreError> {
    let mut marked = connection.prepare_cached("SELECT 1 FROM dirty WHERE gateway = ?1")?;
    let mut dirty = Vec::new();
    for id in gateways {
        let Some(number) = gateway::find_number(connection, id)? else { continue };
        if marked.exists([number])? {
            dirty.push(number);
        }
    }
    Ok(dirty)
}

/// Settles marks of some gateways, as many as one transaction may; answers which of
/// them may have some left.
pub(crate) fn settle_some(batch: &mut Batch<'_>, mut numbers: Vec<i64>) -> Result<Vec<i64>, StoreError> {
    let mut work = WORK_AT_ONCE;
    while let Some(number) = numbers.pop() {
        let (settled, cost) = settle_gateway(batch, number, work)?;
        if settled > 0 {
            numbers.push(number);
        }
        work = work.saturating_sub(cost);
        if work == 0 {
            break;
        }
    }
    Ok(numbers)
}

/// Settles marks of one gateway, or of whichever have some, in no fixed order so
/// that none waits for all others. Runs inside the writer's transaction, so that
/// no reading can change between being rolled up and its mark being cleared.
pub(crate) fn settle(batch: &mut Batch<'_>, only: Option<&GatewayId>) -> Result<usize, StoreError> {
    let numbers = match only {
        Some(id) => vec![gateway::number(batch.connection, id)?],
        None => batch
            .connection
            .prepare_cached("SELECT gateway FROM dirty GROUP BY gateway ORDER BY random() LIMIT ?1")?
            .query_map([GATEWAYS_AT_ONCE], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    let (mut work, mut settled) = (WORK_AT_ONCE, 0);
    for number in numbers {
        let (done, cost) = match settle_gateway(batch, number, work) {
            // What is damaged keeps its marks, and keeps nobody else's.
            Err(error @ StoreError::Damaged(_)) if only.is_none() => {
                tracing::error!(%error, "rollups of a gateway cannot be settled");
                continue;
            }
            settled => settled?,
        };
        settled += done;
        work = work.saturating_sub(cost);
        if work == 0 {
            break;
        }
    }
    Ok(settled)
}

/// Settles some marks of a gateway.
pub(crate) fn settle_number(batch: &mut Batch<'_>, number: i64) -> Result<usize, StoreError> {
    settle_gateway(batch, number, WORK_AT_ONCE).map(|(settled, _)| settled)
}

/// Settles marks of a gateway, at least one and beyond that as many as `work`
/// windows of its series allow; answers how many, and what they cost in windows.
fn settle_gateway(batch: &mut Batch<'_>, number: i64, work: usize) -> Result<(usize, usize), StoreError> {
    let series = sensor::series(batch.connection, number)?;
    let limit = (work / series.len().max(1)).max(1);
    let mut marks: Vec<Timestamp> = batch
        .connection
        .prepare_cached("SELECT start FROM dirty WHERE gateway = ?1 ORDER BY start LIMIT ?2")?
        .query_map(params![number, limit], |row| row.get(0).map(Timestamp::clamped))?
        .collect::<Result<_, _>>()?;
    let sealed = retention::sealed(batch.connection)?;
    let mut values = 0;
    let settled = loop {
        let open = marks.get(marks.partition_point(|mark| *mark < sealed)..).unwrap_or_default();
        match settle_marks(batch.connection, number, &series, (open, sealed), &mut values)? {
            Some(settled) => break settled,
            // The others keep their marks: who writes waits for no more than was asked for.
            None => marks.truncate(marks.len().div_ceil(4)),
        }
    };
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Ok((0, 0)) };
    span::follow(batch.connection, number, &settled)?;
    batch.connection.prepare_cached("DELETE FROM dirty WHERE gateway = ?1 AND start BETWEEN ?2 AND ?3")?.execute(params![
        number,
        first.as_millis(),
        last.as_millis()
    ])?;
    batch.data_changed();
    Ok((marks.len(), marks.len() * series.len().max(1) + values / VALUES_A_WINDOW))
}

/// Settles marks that are not sealed; answers what has become of their windows, and
/// counts the values that are read. `None`: these are several marks, and more than is
/// settled at once.
fn settle_marks(
    connection: &Connection,
    number: i64,
    series: &[StoredSeries],
    (marks, sealed): (&[Timestamp], Timestamp),
    values: &mut usize,
) -> Result<Option<Vec<SettledSeries>>, StoreError> {
    let mut settled = Vec::new();
    for run in settle::runs(series, marks) {
        let mut portions = vec![Portion::new(series, &run)];
        while let Some(portion) = portions.pop() {
            let mut gathering = portion.gathering();
            *values += gather(connection, number, &mut gathering)?;
            if !gathering.is_full() {
                settled.extend(settle_portion(connection, number, portion, gathering.finish(), sealed)?);
            } else if marks.len() > 1 {
                return Ok(None);
            } else {
                portions.extend(portion.halves());
            }
        }
    }
    Ok(Some(settled))
}

/// Settles what has been gathered; sealed windows that follow from it too stay as they
/// are.
fn settle_portion(
    connection: &Connection,
    number: i64,
    portion: Portion<'_>,
    mut samples: Samples,
    sealed: Timestamp,
) -> Result<Vec<SettledSeries>, StoreError> {
    for bereft in settle::bereft(portion, &samples, kept_from(sealed)) {
        if let Some(newest) = newest_before(connection, number, bereft.series.slot, bereft.before)? {
            bereft.make_good(&mut samples, &newest);
        }
    }
    let mut all = settle::settle(portion.series, portion.run, &samples, kept_from(sealed));
    for settled in &mut all {
        for start in settled.cut_off.clone() {
            let stored = stored_windows(connection, number, settled.slot, TimeWindow::between(start, start.plus_millis(1)))?;
            stored.iter().for_each(|stored| settled.let_stand(stored));
        }
    }
    for settled in &all {
        for (start, rollup) in settled.windows.iter().filter(|(start, _)| *start >= sealed) {
            match rollup {
                Some(rollup) => save(connection, number, settled.slot, *start, rollup)?,
                None => remove(connection, number, settled.slot, *start)?,
            }
        }
    }
    quarter::lay_over(connection, number, &all, sealed)?;
    Ok(all)
}

/// The newest stored window with readings of a series that begins before an instant.
fn newest_before(
    connection: &Connection,
    number: i64,
    slot: Slot,
    before: Timestamp,
) -> Result<Option<WindowRollup>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT start, count, min, max, first, last, covered_ms, positive, negative, increase, flags
         FROM rollup WHERE gateway = ?1 AND slot = ?2 AND start < ?3 AND count > 0 ORDER BY start DESC LIMIT 1",
    )?;
    let window = |row: &Row<'_>| Ok(WindowRollup { start: Timestamp::clamped(row.get(0)?), rollup: read(row, 1)? });
    Ok(query.query_row(params![number, slot, before.as_millis()], window).optional()?)
}

/// Walks for as long as something is wanted; answers how many values it met.
fn gather(connection: &Connection, number: i64, gathering: &mut impl Walked) -> Result<usize, StoreError> {
    let mut met = 0;
    while let Some(next) = gathering.need() {
        walk(connection, number, next, |at, values| {
            met += values.len();
            gathering.take(at, values)
        })?;
        gathering.walked();
    }
    Ok(met)
}

/// Shows the frames of a walk to `take`, until it wants no more.
fn walk(
    connection: &Connection,
    number: i64,
    walk: Walk,
    mut take: impl FnMut(Timestamp, &FrameValues) -> bool,
) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(match walk.order {
        Order::Forwards => "SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time >= ?2 AND time < ?3 ORDER BY time",
        Order::Backwards => {
            "SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time >= ?2 AND time < ?3 ORDER BY time DESC"
        }
    })?;
    let mut rows = query.query(params![number, walk.window.from.as_millis(), walk.window.end().as_millis()])?;
    while let Some(row) = rows.next()? {
        let (at, data) = frame::checked(number, row)?;
        if !take(at, &frame::unpack(data)?) {
            break;
        }
    }
    Ok(())
}

fn save(connection: &Connection, number: i64, slot: Slot, start: Timestamp, rollup: &Rollup) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO rollup (gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase,
         flags, packed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1)",
    )?;
    statement.raw_bind_parameter(1, number)?;
    statement.raw_bind_parameter(2, slot)?;
    statement.raw_bind_parameter(3, start.as_millis())?;
    bind(&mut statement, 4, rollup)?;
    statement.raw_execute()?;
    Ok(())
}

fn remove(connection: &Connection, number: i64, slot: Slot, start: Timestamp) -> Result<(), StoreError> {
    let row = params![number, slot, start.as_millis()];
    // The row itself says that whoever removes it knows of packed ones.
    let known = "UPDATE rollup SET packed = 0 WHERE gateway = ?1 AND slot = ?2 AND start = ?3";
    if connection.prepare_cached(known)?.execute(row)? > 0 {
        let remove = "DELETE FROM rollup WHERE gateway = ?1 AND slot = ?2 AND start = ?3";
        connection.prepare_cached(remove)?.execute(row)?;
    }
    Ok(())
}

/// Gives the figures of a rollup to ten parameters of a statement: `count, min, max,
/// first, last, covered_ms, positive, negative, increase, flags`.
pub(super) fn bind(statement: &mut Statement<'_>, from: usize, rollup: &Rollup) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(from, rollup.count)?;
    statement.raw_bind_parameter(from + 5, rollup.covered_ms)?;
    statement.raw_bind_parameter(from + 9, rollup.flags.to_bits())?;
    let figures = [
        (1, rollup.min),
        (2, rollup.max),
        (3, rollup.first),
        (4, rollup.last),
        (6, rollup.positive),
        (7, rollup.negative),
        (8, rollup.increase),
    ];
    figures.into_iter().try_for_each(|(place, value)| statement.raw_bind_parameter(from + place, value))
}

/// The rollup in ten columns of a row, in the order of [`bind`].
pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Rollup> {
    Ok(Rollup {
        count: row.get(from)?,
        min: row.get(from + 1)?,
        max: row.get(from + 2)?,
        first: row.get(from + 3)?,
        last: row.get(from + 4)?,
        covered_ms: row.get(from + 5)?,
        positive: row.get(from + 6)?,
        negative: row.get(from + 7)?,
        increase: row.get(from + 8)?,
        flags: RollupFlags::from_bits(row.get(from + 9)?),
    })
}

/// The rollups of a period as they look to somebody who sees `visible` only.
pub(crate) fn list(
    connection: &Connection,
    id: &GatewayId,
    (period, sight): (TimeWindow, Sight),
    chosen: SeriesChoice,
) -> Result<Vec<SeriesRollups>, StoreError> {
    let _one_moment = connection.unchecked_transaction()?;
    let number = gateway::number(connection, id)?;
    let (sensors, series) = (sensor::without_series(connection, number)?, sensor::series(connection, number)?);
    let shared = period.intersect(&sight.part);
    let stored = match shared {
        Some(shared) => all_windows(connection, number, &view::chosen(&sensors, &series, chosen), shared)?,
        None => HashMap::new(),
    };
    let mut edges = match shared {
        Some(_) if sight != Sight::ALWAYS => Some(edges(connection, number, &series, sight)?),
        _ => None,
    };
    for (series, edges) in series.iter().zip(edges.iter_mut().flatten()) {
        let Some(first) = stored.get(&series.slot).and_then(|stored| edges.rises_from_afar(stored)) else { continue };
        edges.begin_with(series, first, newest_before(connection, number, series.slot, first)?.as_ref());
    }
    Ok(view::assemble(&sensors, series, stored, edges, shared, sight.part))
}

/// The rollups of several gateways, each over a period of its own, as they look to
/// somebody who sees everything.
pub(crate) fn list_many(
    connection: &Connection,
    asked: &[(GatewayId, TimeWindow)],
    chosen: SeriesChoice,
) -> Result<Vec<(GatewayId, Vec<SeriesRollups>)>, StoreError> {
    let mut found = Vec::with_capacity(asked.len());
    for (id, period) in asked {
        match list(connection, id, (*period, Sight::ALWAYS), chosen) {
            Ok(rollups) => found.push((id.clone(), rollups)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn all_windows(
    connection: &Connection,
    number: i64,
    series: &[StoredSeries],
    period: TimeWindow,
) -> Result<HashMap<Slot, Vec<WindowRollup>>, StoreError> {
    if let Some(windows) = quarter::windows(connection, number, series, period)? {
        return Ok(windows);
    }
    series.iter().map(|series| Ok((series.slot, stored_windows(connection, number, series.slot, period)?))).collect()
}

fn edges(connection: &Connection, number: i64, series: &[StoredSeries], sight: Sight) -> Result<Vec<Edges>, StoreError> {
    let mut gathering = EdgeGathering::new(series, sight, retention::sealed(connection)?);
    gather(connection, number, &mut gathering)?;
    Ok(gathering.finish())
}

pub(super) fn stored_windows(
    connection: &Connection,
    number: i64,
    slot: Slot,
    period: TimeWindow,
) -> Result<Vec<WindowRollup>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT start, count, min, max, first, last, covered_ms, positive, negative, increase, flags FROM rollup
         WHERE gateway = ?1 AND slot = ?2 AND start >= ?3 AND start < ?4 ORDER BY start",
    )?;
    let from = window_of(period.from).as_millis();
    let rows = query.query_map(params![number, slot, from, period.end().as_millis()], |row| {
        Ok(WindowRollup { start: Timestamp::clamped(row.get(0)?), rollup: read(row, 1)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
