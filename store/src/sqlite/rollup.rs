//! Marks into rollups, and rollups back out within what somebody may see.

use std::collections::{BTreeSet, HashMap};

use heliograph_domain::{
    GatewayId, Rollup, RollupFlags, RollupRule, Sample, SensorId, SensorRole, TimeWindow, Timestamp, WINDOW_MS, affected_windows,
    roll_up, roll_up_span, window_of,
};
use rusqlite::{Connection, params};

use super::frame::{self, Extent, Slot};
use super::sensor::StoredSeries;
use super::{Batch, gateway, sensor};
use crate::error::StoreError;
use crate::rollup::{SeriesRollups, WindowRollup};

/// Windows of series settled in one transaction: other writers wait meanwhile.
const WORK_AT_ONCE: usize = 8_000;
/// Gateways settled in one transaction.
const GATEWAYS_AT_ONCE: usize = 200;
/// Marks further apart than this are settled apart, so that the frames between
/// them need not be read.
const APART_MS: i64 = 6 * 3_600_000;

pub(crate) fn is_dirty(connection: &Connection, id: &GatewayId) -> Result<bool, StoreError> {
    let number = gateway::number(connection, id)?;
    Ok(connection.prepare_cached("SELECT 1 FROM dirty WHERE gateway = ?1")?.exists([number])?)
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
        let (done, cost) = settle_gateway(batch, number, work)?;
        settled += done;
        work = work.saturating_sub(cost);
        if work == 0 {
            break;
        }
    }
    Ok(settled)
}

/// Settles marks of a gateway, at least one and beyond that as many as `work`
/// windows of its series allow; answers how many, and what they cost.
fn settle_gateway(batch: &mut Batch<'_>, number: i64, work: usize) -> Result<(usize, usize), StoreError> {
    let series = sensor::series(batch.connection, number)?;
    let limit = (work / series.len().max(1)).max(1);
    let marks: Vec<Timestamp> = batch
        .connection
        .prepare_cached("SELECT start FROM dirty WHERE gateway = ?1 ORDER BY start LIMIT ?2")?
        .query_map(params![number, limit], |row| row.get(0).map(Timestamp::clamped))?
        .collect::<Result<_, _>>()?;
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Ok((0, 0)) };
    for run in marks.chunk_by(|a, b| b.millis_since(*a) <= APART_MS) {
        settle_run(batch.connection, number, &series, run)?;
    }
    batch.connection.prepare_cached("DELETE FROM dirty WHERE gateway = ?1 AND start BETWEEN ?2 AND ?3")?.execute(params![
        number,
        first.as_millis(),
        last.as_millis()
    ])?;
    batch.data_changed();
    Ok((marks.len(), marks.len() * series.len().max(1)))
}

fn settle_run(connection: &Connection, number: i64, series: &[StoredSeries], marks: &[Timestamp]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Ok(()) };
    let samples = samples_around(connection, number, series, *first, last.plus_millis(WINDOW_MS))?;
    let mut delete = connection.prepare_cached("DELETE FROM rollup WHERE gateway = ?1 AND slot = ?2 AND start = ?3")?;
    for series in series {
        // A series without readings there has no part in why it was marked.
        let Some(samples) = samples.get(&series.slot) else { continue };
        let windows: BTreeSet<Timestamp> =
            marks.iter().flat_map(|mark| affected_windows(&series.rule, *mark, near(samples, &series.rule, *mark))).collect();
        for start in windows {
            match roll_up(&series.rule, start, near(samples, &series.rule, start)) {
                Some(rollup) => save(connection, number, series.slot, start, &rollup)?,
                None => drop(delete.execute(params![number, series.slot, start.as_millis()])?),
            }
        }
    }
    Ok(())
}

/// The samples of a window and enough on either side of it.
fn near<'a>(samples: &'a [Sample], rule: &RollupRule, start: Timestamp) -> &'a [Sample] {
    let end = start.plus_millis(WINDOW_MS);
    let margin = rule.context() + 1;
    let from = samples.partition_point(|sample| sample.at < start).saturating_sub(margin);
    let until = (samples.partition_point(|sample| sample.at < end) + margin).min(samples.len());
    samples.get(from..until).unwrap_or_default()
}

type Samples = HashMap<Slot, Vec<Sample>>;

/// All samples between two instants and, of each series that has some there,
/// enough before and after that every affected window can be rolled up: the
/// windows reach one context away, and need one context more.
fn samples_around(
    connection: &Connection,
    number: i64,
    series: &[StoredSeries],
    from: Timestamp,
    until: Timestamp,
) -> Result<Samples, StoreError> {
    let mut samples = Samples::new();
    let mut inside = connection
        .prepare_cached("SELECT time, data FROM frame WHERE gateway = ?1 AND time >= ?2 AND time < ?3 ORDER BY time")?;
    let mut rows = inside.query(params![number, from.as_millis(), until.as_millis()])?;
    while let Some(row) = rows.next()? {
        let at = Timestamp::clamped(row.get(0)?);
        for (slot, value) in frame::unpack(row.get_ref(1)?.as_blob().map_err(super::damaged)?)? {
            samples.entry(slot).or_default().push(Sample { at, value });
        }
    }
    let touched: Vec<&StoredSeries> = series.iter().filter(|series| samples.contains_key(&series.slot)).collect();
    let before = reach(
        connection,
        "SELECT time, data FROM frame WHERE gateway = ?1 AND time < ?2 ORDER BY time DESC",
        number,
        from,
        &touched,
        |extent, walked_to| walked_to <= extent.first,
    )?;
    let after = reach(
        connection,
        "SELECT time, data FROM frame WHERE gateway = ?1 AND time >= ?2 ORDER BY time",
        number,
        until,
        &touched,
        |extent, walked_to| walked_to > extent.last,
    )?;
    for (slot, mut found) in before {
        found.reverse();
        if let Some(inside) = samples.get_mut(&slot) {
            found.append(inside);
            *inside = found;
        }
    }
    for (slot, mut found) in after {
        if let Some(inside) = samples.get_mut(&slot) {
            inside.append(&mut found);
        }
    }
    Ok(samples)
}

/// Walks frames away from an instant until each series has its context twice
/// over, or can have no more.
fn reach(
    connection: &Connection,
    sql: &str,
    number: i64,
    from: Timestamp,
    series: &[&StoredSeries],
    beyond: impl Fn(&Extent, Timestamp) -> bool,
) -> Result<Samples, StoreError> {
    let mut found = Samples::new();
    let exhausted = |series: &StoredSeries, walked_to: Timestamp| series.extent.is_some_and(|extent| beyond(&extent, walked_to));
    // Between readings that are not linked nothing passes but what a counter rose:
    // of others only the nearest links count, with room for the windows at both
    // their ends. What lies further away must not be among the samples at all.
    let too_far = |series: &StoredSeries, at: Timestamp| {
        let links = 3 * series.rule.max_gap_ms + 2 * WINDOW_MS;
        !series.rule.kind.accumulates() && at.millis_since(from).abs() > links
    };
    let mut open: Vec<&StoredSeries> = series.iter().copied().filter(|series| !exhausted(series, from)).collect();
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(params![number, from.as_millis()])?;
    while !open.is_empty() {
        let Some(row) = rows.next()? else { break };
        let at = Timestamp::clamped(row.get(0)?);
        let data = row.get_ref(1)?.as_blob().map_err(super::damaged)?;
        let mut failure = None;
        open.retain(|series| {
            if too_far(series, at) {
                return false;
            }
            let samples = found.entry(series.slot).or_default();
            match frame::find(data, series.slot) {
                Ok(Some(value)) => samples.push(Sample { at, value }),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
            samples.len() < 2 * (series.rule.context() + 1) && !exhausted(series, at)
        });
        if let Some(error) = failure {
            return Err(error);
        }
    }
    Ok(found)
}

fn save(connection: &Connection, number: i64, slot: Slot, start: Timestamp, rollup: &Rollup) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rollup (gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            number,
            slot,
            start.as_millis(),
            rollup.count,
            rollup.min,
            rollup.max,
            rollup.first,
            rollup.last,
            rollup.covered_ms,
            rollup.positive,
            rollup.negative,
            rollup.increase,
            flags_to_bits(rollup.flags),
        ])?;
    Ok(())
}

fn flags_to_bits(flags: RollupFlags) -> u8 {
    u8::from(flags.estimated) | u8::from(flags.reset) << 1 | u8::from(flags.implausible) << 2
}

fn flags_from_bits(bits: u8) -> RollupFlags {
    RollupFlags { estimated: bits & 1 != 0, reset: bits & 2 != 0, implausible: bits & 4 != 0 }
}

/// The rollups of a period as they look to somebody who sees `visible` only.
pub(crate) fn list(
    connection: &Connection,
    id: &GatewayId,
    period: TimeWindow,
    visible: TimeWindow,
) -> Result<Vec<SeriesRollups>, StoreError> {
    let number = gateway::number(connection, id)?;
    let names: HashMap<SensorId, (String, SensorRole, Option<f64>)> = sensor::list(connection, id)?
        .into_iter()
        .map(|sensor| (sensor.id.clone(), (sensor.name().to_owned(), sensor.role, sensor.rated_w)))
        .collect();
    let mut all = Vec::new();
    for mut series in sensor::series(connection, number)? {
        series.record.latest = series.record.latest.filter(|sample| visible.contains(sample.at));
        series.record.first = series.record.first.map(|first| first.max(visible.from)).filter(|first| visible.contains(*first));
        let windows = match period.intersect(&visible) {
            Some(shared) => windows(connection, number, &series, shared, visible)?,
            None => Vec::new(),
        };
        let (sensor_name, role, rated_w) =
            names.get(&series.sensor).cloned().unwrap_or_else(|| (series.sensor.to_string(), SensorRole::Other, None));
        all.push(SeriesRollups { sensor: series.sensor, sensor_name, role, rated_w, series: series.record, windows });
    }
    Ok(all)
}

fn windows(
    connection: &Connection,
    number: i64,
    series: &StoredSeries,
    shared: TimeWindow,
    visible: TimeWindow,
) -> Result<Vec<WindowRollup>, StoreError> {
    let stored = stored_windows(connection, number, series.slot, shared)?;
    if visible == TimeWindow::ALWAYS {
        return Ok(stored);
    }
    let edges = Edges::of(connection, number, series, visible)?;
    let mut windows: Vec<WindowRollup> = stored.into_iter().filter(|window| !edges.contain(window.start)).collect();
    windows.extend(
        edges
            .windows
            .into_iter()
            .filter(|window| shared.from < window.start.plus_millis(WINDOW_MS) && window.start < shared.end()),
    );
    windows.sort_by_key(|window| window.start);
    Ok(windows)
}

fn stored_windows(connection: &Connection, number: i64, slot: Slot, period: TimeWindow) -> Result<Vec<WindowRollup>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT start, count, min, max, first, last, covered_ms, positive, negative, increase, flags FROM rollup
         WHERE gateway = ?1 AND slot = ?2 AND start >= ?3 AND start < ?4 ORDER BY start",
    )?;
    let from = window_of(period.from).as_millis();
    let rows = query.query_map(params![number, slot, from, period.end().as_millis()], |row| {
        Ok(WindowRollup {
            start: Timestamp::clamped(row.get(0)?),
            rollup: Rollup {
                count: row.get(1)?,
                min: row.get(2)?,
                max: row.get(3)?,
                first: row.get(4)?,
                last: row.get(5)?,
                covered_ms: row.get(6)?,
                positive: row.get(7)?,
                negative: row.get(8)?,
                increase: row.get(9)?,
                flags: flags_from_bits(row.get(10)?),
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The windows at either end of what may be seen, rolled up from the visible
/// readings alone: what happened outside must not show in them.
struct Edges {
    begin_until: Timestamp,
    end_from: Timestamp,
    windows: Vec<WindowRollup>,
}

impl Edges {
    fn of(connection: &Connection, number: i64, series: &StoredSeries, visible: TimeWindow) -> Result<Self, StoreError> {
        let head = visible_samples(connection, number, series, visible, End::First)?;
        let tail = match visible.until {
            Some(_) => visible_samples(connection, number, series, visible, End::Last)?,
            None => EndSamples { samples: Vec::new(), boundary: None },
        };
        let begin_until = head.boundary.map_or(visible.end(), |start| start.plus_millis(WINDOW_MS));
        let end_from = tail.boundary.map_or(Timestamp::MAX, |start| start.max(begin_until));
        let mut windows = Self::roll(series, visible, visible.from, begin_until.min(visible.end()), &head.samples);
        windows.extend(Self::roll(series, visible, end_from, visible.end(), &tail.samples));
        Ok(Self { begin_until, end_from, windows })
    }

    fn contain(&self, start: Timestamp) -> bool {
        start < self.begin_until || start >= self.end_from
    }

    fn roll(
        series: &StoredSeries,
        visible: TimeWindow,
        from: Timestamp,
        until: Timestamp,
        samples: &[Sample],
    ) -> Vec<WindowRollup> {
        let starts: BTreeSet<Timestamp> = samples
            .iter()
            .flat_map(|sample| (-3..=3).map(|step| window_of(sample.at).plus_millis(step * WINDOW_MS)))
            .filter(|start| start.plus_millis(WINDOW_MS) > from && *start < until)
            .collect();
        starts
            .into_iter()
            .filter_map(|start| {
                let (begin, end) = (start.max(visible.from), start.plus_millis(WINDOW_MS).min(visible.end()));
                roll_up_span(&series.rule, begin, end, samples).map(|rollup| WindowRollup { start, rollup })
            })
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    First,
    Last,
}

/// The visible samples of a series at one end of what may be seen, in time order.
struct EndSamples {
    samples: Vec<Sample>,
    /// The window furthest from the end that a reading outside of it could have
    /// had a part in; `None` where there are no samples.
    boundary: Option<Timestamp>,
}

/// Reads from one end inwards: so many samples as a reading outside can have an
/// influence over, all others of the windows up to there, and their context.
fn visible_samples(
    connection: &Connection,
    number: i64,
    series: &StoredSeries,
    visible: TimeWindow,
    end: End,
) -> Result<EndSamples, StoreError> {
    let mut found = EndSamples { samples: Vec::new(), boundary: None };
    let Some(extent) = series.extent else { return Ok(found) };
    let order = if end == End::First { "ASC" } else { "DESC" };
    let mut query = connection.prepare_cached(&format!(
        "SELECT time, data FROM frame WHERE gateway = ?1 AND time >= ?2 AND time < ?3 ORDER BY time {order}"
    ))?;
    let from = visible.from.max(extent.first).as_millis();
    let until = visible.end().min(extent.last.plus_millis(1)).as_millis();
    let mut rows = query.query(params![number, from, until])?;
    let context = series.rule.context() + 1;
    let mut beyond = 0;
    while beyond <= context {
        let Some(row) = rows.next()? else { break };
        let at = Timestamp::clamped(row.get(0)?);
        let Some(value) = frame::find(row.get_ref(1)?.as_blob().map_err(super::damaged)?, series.slot)? else { continue };
        if found.samples.len() <= context {
            found.boundary = Some(window_of(at));
        } else if found.boundary != Some(window_of(at)) {
            beyond += 1;
        }
        found.samples.push(Sample { at, value });
    }
    if end == End::Last {
        found.samples.reverse();
    }
    Ok(found)
}
