//! Rows of local days and months, sums of the windows' rows.
//!
//! They are written in the transaction of the windows that they follow from.
//! Where the calendar of a gateway changes, all of its spans are made anew, some
//! months at a time: a `respan` record says how far that has come, so that it
//! goes on wherever a process ended.

use std::collections::BTreeMap;

use heliograph_domain::{GatewayId, LocalSpan, LocationId, Rollup, SpanStep, TimeWindow, Timestamp, Zone, ZoneHistory};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::rollup::{self, stored_windows};
use super::{Batch, anew, gateway, sensor, settings};
use crate::error::StoreError;
use crate::rollup::series::Slot;
use crate::rollup::settle::SettledSeries;
use crate::rollup::span::{spans_of, sum};
use crate::rollup::{SeriesSpans, SpanRollup};

pub(super) const RESPAN: &str = "respan";
/// Months of one series made anew in one transaction.
const MONTHS_AT_ONCE: usize = 8;

/// How far the spans of a gateway were made anew.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Respan {
    slot: Slot,
    /// The first window that is still to be looked at; `None`: nothing was done.
    from: Option<Timestamp>,
}

/// In which zone a gateway was when.
pub(crate) fn history(connection: &Connection, number: i64) -> Result<ZoneHistory, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT p.start, p.until, l.zone FROM placement p JOIN location l ON l.id = p.location WHERE p.gateway = ?1",
    )?;
    let mut rows = query.query([number])?;
    let mut placements = Vec::new();
    while let Some(row) = rows.next()? {
        placements.push((super::window(row, 0, 1)?, Zone::parse(&row.get::<_, String>(2)?)?));
    }
    let elsewhere = settings::fetch(connection)?.unwrap_or_default().zone;
    Ok(ZoneHistory::new(&elsewhere, &placements))
}

/// Sums up anew what windows belong to that were just settled.
pub(super) fn follow(connection: &Connection, number: i64, settled: &[SettledSeries]) -> Result<(), StoreError> {
    let mut by_slot: BTreeMap<Slot, Vec<Timestamp>> = BTreeMap::new();
    for series in settled {
        by_slot.entry(series.slot).or_default().extend(series.windows.iter().map(|(start, _)| *start));
    }
    let history = history(connection, number)?;
    for (slot, mut windows) in by_slot {
        windows.sort_unstable();
        let days = spans_of(&history, SpanStep::Day, windows);
        let months = spans_of(&history, SpanStep::Month, days.keys().copied());
        for day in days.values() {
            sum_day(connection, number, slot, day)?;
        }
        for month in months.values() {
            sum_month(connection, number, slot, month)?;
        }
    }
    Ok(())
}

fn sum_day(connection: &Connection, number: i64, slot: Slot, day: &LocalSpan) -> Result<(), StoreError> {
    let windows = stored_windows(connection, number, slot, TimeWindow::between(day.start, day.end))?;
    save(connection, number, slot, SpanStep::Day, day, sum(windows.into_iter().map(|window| window.rollup)))
}

fn sum_month(connection: &Connection, number: i64, slot: Slot, month: &LocalSpan) -> Result<(), StoreError> {
    let days = stored(connection, number, slot, SpanStep::Day, TimeWindow::between(month.start, month.end))?;
    save(connection, number, slot, SpanStep::Month, month, sum(days.into_iter().map(|day| day.rollup)))
}

fn save(
    connection: &Connection,
    number: i64,
    slot: Slot,
    step: SpanStep,
    span: &LocalSpan,
    figures: Option<Rollup>,
) -> Result<(), StoreError> {
    let Some(figures) = figures else {
        connection
            .prepare_cached("DELETE FROM span WHERE gateway = ?1 AND slot = ?2 AND step = ?3 AND start = ?4")?
            .execute(params![number, slot, step.as_str(), span.start.as_millis()])?;
        return Ok(());
    };
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO span (gateway, slot, step, start, until, zone, count, min, max, first, last, covered_ms,
         positive, negative, increase, flags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    statement.raw_bind_parameter(1, number)?;
    statement.raw_bind_parameter(2, slot)?;
    statement.raw_bind_parameter(3, step.as_str())?;
    statement.raw_bind_parameter(4, span.start.as_millis())?;
    statement.raw_bind_parameter(5, span.end.as_millis())?;
    statement.raw_bind_parameter(6, span.zone.name())?;
    rollup::bind(&mut statement, 7, &figures)?;
    statement.raw_execute()?;
    Ok(())
}

pub(super) fn stored(
    connection: &Connection,
    number: i64,
    slot: Slot,
    step: SpanStep,
    within: TimeWindow,
) -> Result<Vec<SpanRollup>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT start, until, zone, count, min, max, first, last, covered_ms, positive, negative, increase, flags FROM span
         WHERE gateway = ?1 AND slot = ?2 AND step = ?3 AND start >= ?4 AND start < ?5 ORDER BY start",
    )?;
    let mut rows = query.query(params![number, slot, step.as_str(), within.from.as_millis(), within.end().as_millis()])?;
    let mut spans = Vec::new();
    while let Some(row) = rows.next()? {
        let span = LocalSpan {
            start: Timestamp::clamped(row.get(0)?),
            end: Timestamp::clamped(row.get(1)?),
            zone: Zone::parse(row.get_ref(2)?.as_str().map_err(super::damaged)?)?,
        };
        spans.push(SpanRollup { span, rollup: rollup::read(row, 3)? });
    }
    Ok(spans)
}

/// The spans of a gateway that begin within a time.
pub(crate) fn list(
    connection: &Connection,
    id: &GatewayId,
    step: SpanStep,
    within: TimeWindow,
) -> Result<Vec<SeriesSpans>, StoreError> {
    let number = gateway::number(connection, id)?;
    let spans = sensor::series(connection, number)?.into_iter().map(|series| {
        let spans = stored(connection, number, series.slot, step, within)?;
        Ok(SeriesSpans { sensor: series.sensor, series: series.record, spans })
    });
    spans.collect()
}

/// Has all spans of a gateway made anew: its calendar is another one.
pub(crate) fn restart(connection: &Connection, number: i64) -> Result<(), StoreError> {
    anew::note(connection, RESPAN, number, &Respan::default())
}

/// As [`restart`], of all gateways that ever were at a location, or of all.
pub(crate) fn restart_all(connection: &Connection, location: Option<LocationId>) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT DISTINCT number FROM gateway LEFT JOIN placement ON gateway = number WHERE ?1 IS NULL OR location = ?1",
    )?;
    let numbers: Vec<i64> = query.query_map([location.map(|id| id.to_string())], |row| row.get(0))?.collect::<Result<_, _>>()?;
    numbers.into_iter().try_for_each(|number| restart(connection, number))
}

/// Whether spans of a gateway are still to be made anew.
pub(crate) fn is_stale(connection: &Connection, id: &GatewayId) -> Result<bool, StoreError> {
    anew::is_due(connection, RESPAN, gateway::number(connection, id)?)
}

/// Makes spans anew, of one gateway or of whichever has to; answers how much it
/// has done, 0 when nothing is left.
pub(crate) fn resume(batch: &mut Batch<'_>, only: Option<&GatewayId>) -> Result<usize, StoreError> {
    let connection = batch.connection;
    let Some((number, mut state)) = anew::next::<Respan>(connection, RESPAN, only)? else { return Ok(0) };
    if state.from.is_none() {
        connection.execute("DELETE FROM span WHERE gateway = ?1", [number])?;
        state = Respan { slot: 0, from: Some(Timestamp::MIN) };
    }
    let history = history(connection, number)?;
    for _ in 0..MONTHS_AT_ONCE {
        let Some(next) = advance(connection, number, state, &history)? else {
            anew::end(connection, RESPAN, number)?;
            batch.data_changed();
            return Ok(1);
        };
        state = next;
    }
    anew::note(connection, RESPAN, number, &state)?;
    Ok(1)
}

/// Makes the next month of a series anew; `None` when there is none left.
fn advance(connection: &Connection, number: i64, state: Respan, history: &ZoneHistory) -> Result<Option<Respan>, StoreError> {
    let from = state.from.unwrap_or(Timestamp::MIN);
    let next: Option<(Slot, i64)> = connection
        .prepare_cached(
            "SELECT slot, start FROM rollup WHERE gateway = ?1 AND (slot, start) >= (?2, ?3) ORDER BY slot, start LIMIT 1",
        )?
        .query_row(params![number, state.slot, from.as_millis()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((slot, start)) = next else { return Ok(None) };
    let month = history.span(SpanStep::Month, Timestamp::clamped(start));
    let within = TimeWindow::between(month.start, month.end);
    let windows = stored_windows(connection, number, slot, within)?;
    for day in spans_of(history, SpanStep::Day, windows.iter().map(|window| window.start)).values() {
        let of_day = windows.iter().filter(|window| day.start <= window.start && window.start < day.end);
        save(connection, number, slot, SpanStep::Day, day, sum(of_day.map(|window| window.rollup)))?;
    }
    sum_month(connection, number, slot, &month)?;
    Ok(Some(Respan { slot, from: Some(month.end) }))
}
