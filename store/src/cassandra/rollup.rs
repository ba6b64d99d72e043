//! Marks into rollups, and rollups back out within what somebody may see. When a
//! mark may be cleared, and why several may settle at once, stands in [`super::mark`].

mod row;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, Rollup, TimeWindow, Timestamp};

use row::{Name, newest_before};

use super::mark::{self, Mark, Marked};
use super::newest::Newest;
use super::series::{self, GatewaySeries};
use super::slicing::{DAY_MS, Day, day_of};
use super::{Database, reading, span};
use crate::error::StoreError;
use crate::retention::kept_from;
use crate::rollup::edges::{EdgeGathering, Edges};
use crate::rollup::gather::Walked;
use crate::rollup::series::{FrameValues, StoredSeries};
use crate::rollup::settle::{self, Portion, SettledSeries};
use crate::rollup::{SeriesChoice, SeriesRollups, Sight, view};

pub(super) use row::{NewRow, QUARTER, StoredRow, delete, name_of, period, put, rollup_of, stored, stored_windows};

/// Windows settled at once: two days.
const WINDOWS_AT_ONCE: usize = 192;
/// Marks settled and cleared at once, of windows or whole days.
const MARKS_AT_ONCE: usize = 32;
/// How far around a period what is marked is settled before somebody reads it. What
/// lies further away can reach into it only where a series has been silent for so
/// long; the worker settles it within a minute.
const NEAR_MS: i64 = 8 * DAY_MS;
/// Gateways settled in one call.
const GATEWAYS_AT_ONCE: usize = 200;
/// Gateways read at once.
const GATEWAYS_READ_AT_ONCE: usize = 16;

/// Settles complete marks of whichever gateways have some; answers how many marks
/// were cleared.
pub(crate) async fn settle(db: &Database, now: Timestamp) -> Result<usize, StoreError> {
    let marks = &db.writing().marks;
    let idle_since = || marks.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
    if idle_since().is_some_and(|since| since.elapsed() < marks.timing.pause) {
        return Ok(0);
    }
    let mut settled = 0;
    let mut gateways = 0;
    // Another place to begin at each time, so that no shard waits for all others.
    let begin = i16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(mark::SHARDS.unsigned_abs())).unwrap_or(0);
    for shard in (0..mark::SHARDS).map(|shard| (shard + begin) % mark::SHARDS) {
        let Marked { marks, read_at } = mark::of_shard(db, shard).await?;
        let complete: Vec<Mark> = marks.into_iter().filter(|mark| mark.complete).collect();
        for of_gateway in complete.chunk_by(|a, b| a.gateway == b.gateway) {
            // Some at a time: what is done is cleared before the rest is begun.
            for some in of_gateway.chunks(MARKS_AT_ONCE) {
                settled += settle_marks(db, some, read_at, now).await?;
            }
            gateways += 1;
        }
        if gateways >= GATEWAYS_AT_ONCE {
            break;
        }
    }
    *idle_since() = (settled == 0).then(Instant::now);
    if settled > 0 {
        db.data_changed();
    }
    Ok(settled)
}

/// How many marks there are.
pub(crate) async fn waiting(db: &Database) -> Result<usize, StoreError> {
    let mut waiting = 0;
    for shard in 0..mark::SHARDS {
        waiting += mark::of_shard(db, shard).await?.marks.len();
    }
    Ok(waiting)
}

/// Settles the marks of a gateway that lie near a period, for somebody who is about
/// to read its rollups, and clears those of them that are complete.
async fn settle_near(db: &Database, gateway: &GatewayId, period: TimeWindow, now: Timestamp) -> Result<(), StoreError> {
    let Marked { mut marks, read_at } = mark::of_gateway(db, gateway).await?;
    marks.retain(Mark::is_of_windows);
    // A correction may move readings from anywhere.
    if !marks.is_empty() && db.recent_catalog().await?.corrections_of(gateway)?.is_empty() {
        let near =
            TimeWindow { from: period.from.plus_millis(-NEAR_MS), until: period.until.map(|end| end.plus_millis(NEAR_MS)) };
        marks.retain(|mark| mark.window().intersect(&near).is_some());
    }
    if marks.iter().any(|mark| mark.complete) {
        return settle_marks(db, &marks, read_at, now).await.map(drop);
    }
    // Boxed: futures that hold one another get too deep for the compiler.
    Box::pin(settle_windows(db, gateway, &marks, read_at, now)).await.map(drop)
}

/// Settles marks of one gateway that were read at `read_at`, and clears those that
/// are complete; answers how many.
pub(super) async fn settle_marks(db: &Database, marks: &[Mark], read_at: i64, now: Timestamp) -> Result<usize, StoreError> {
    let Some(gateway) = marks.first().map(|mark| &mark.gateway) else { return Ok(0) };
    let written = Box::pin(settle_windows(db, gateway, marks, read_at, now)).await?;
    let (of_windows, of_sums): (Vec<Mark>, Vec<Mark>) =
        marks.iter().filter(|mark| mark.complete).cloned().partition(Mark::is_of_windows);
    // Also where marks stay: their windows may be sealed before they are settled again.
    if !written.is_empty() {
        Box::pin(span::mark_days(db, gateway, &written, now)).await?;
    }
    let cleared = [of_windows, Box::pin(span::settle(db, gateway, of_sums, now)).await?].concat();
    mark::clear(db, &cleared).await?;
    Ok(cleared.len())
}

/// Settles the windows that are marked; answers which ones were written.
pub(super) async fn settle_windows(
    db: &Database,
    gateway: &GatewayId,
    marks: &[Mark],
    read_at: i64,
    now: Timestamp,
) -> Result<BTreeSet<Timestamp>, StoreError> {
    let mut written = BTreeSet::new();
    let sealed = db.open_to_marks(now).await?;
    let windows: BTreeSet<Timestamp> = marks.iter().flat_map(Mark::windows).filter(|start| *start >= sealed).collect();
    if windows.is_empty() {
        return Ok(written);
    }
    let windows: Vec<Timestamp> = windows.into_iter().collect();
    let GatewaySeries { series, .. } = series::of_gateway(db, gateway).await?;
    let mut newest = Newest::of(marks);
    let runs = settle::runs(&series, &windows);
    for run in runs.iter().flat_map(|run| run.chunks(WINDOWS_AT_ONCE)) {
        let mut settled = settle_run(db, gateway, &series, (run, kept_from(sealed)), &mut newest).await?;
        let_stand(db, gateway, &series, &mut settled).await?;
        save(db, gateway, &series, &settled, sealed, read_at).await?;
        let starts = settled.iter().flat_map(|series| &series.windows).map(|(start, _)| *start);
        written.extend(starts.filter(|start| *start >= sealed));
    }
    newest.save(db, gateway, &series).await?;
    Ok(written)
}

/// Lets stand what is stored of windows that follow from readings that are gone.
async fn let_stand(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    settled: &mut [SettledSeries],
) -> Result<(), StoreError> {
    for settled in settled {
        let (Some(first), Some(last)) = (settled.cut_off.first(), settled.cut_off.last()) else { continue };
        let own: Vec<StoredSeries> = series.get(settled.slot as usize).cloned().into_iter().collect();
        let within = TimeWindow::between(*first, last.plus_millis(1));
        let stored = stored_windows(db, gateway, &own, within, TimeWindow::ALWAYS).await?;
        let cut_off = stored.into_values().flatten().filter(|window| settled.cut_off.contains(&window.start));
        for window in cut_off.collect::<Vec<_>>() {
            settled.let_stand(&window);
        }
    }
    Ok(())
}

async fn settle_run(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    (run, kept_from): (&[Timestamp], Timestamp),
    newest: &mut Newest,
) -> Result<Vec<SettledSeries>, StoreError> {
    let mut settled = Vec::new();
    let mut portions = vec![Portion::new(series, run)];
    while let Some(portion) = portions.pop() {
        let mut gathering = portion.gathering();
        gather(db, gateway, portion.series, &mut gathering, |at, values| newest.take(at, values)).await?;
        match gathering.is_full() {
            true => portions.extend(portion.halves()),
            false => {
                let mut samples = gathering.finish();
                let bereft = settle::bereft(portion, &samples, kept_from);
                let wanted = bereft.iter().map(|bereft| (bereft.series, bereft.before)).collect();
                let newest = newest_before(db, gateway, wanted, Timestamp::MIN).await?;
                for bereft in bereft {
                    if let Some(newest) = newest.get(&bereft.series.slot) {
                        bereft.make_good(&mut samples, newest);
                    }
                }
                settled.extend(settle::settle(portion.series, portion.run, &samples, kept_from));
            }
        }
    }
    Ok(settled)
}

/// Walks for as long as something is wanted, and shows what is found to `seen` too.
async fn gather(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    gathering: &mut impl Walked,
    mut seen: impl FnMut(Timestamp, &FrameValues),
) -> Result<(), StoreError> {
    while let Some(next) = gathering.need() {
        let take = |at, values: &FrameValues| {
            seen(at, values);
            gathering.take(at, values)
        };
        reading::walk(db, gateway, series, next, take).await?;
        gathering.walked();
    }
    Ok(())
}

/// A window of a series, from when on, and what it has become.
type Window<'a> = (Name<'a>, Timestamp, &'a Rollup);

/// Writes rollups as they are by readings read at `read_at`.
async fn save(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    settled: &[SettledSeries],
    sealed: Timestamp,
    read_at: i64,
) -> Result<(), StoreError> {
    let mut rows: BTreeMap<Day, Vec<Window<'_>>> = BTreeMap::new();
    for settled in settled {
        let Some(series) = series.get(settled.slot as usize) else { continue };
        for (start, rollup) in settled.windows.iter().filter(|(start, _)| *start >= sealed) {
            let day = day_of(*start);
            match rollup {
                Some(rollup) => rows.entry(day).or_default().push((name_of(series), *start, rollup)),
                None => delete(db, (gateway.as_str(), QUARTER, &period(day)), name_of(series), *start, read_at).await?,
            }
        }
    }
    for (day, rows) in rows {
        let period = period(day);
        let place = (gateway.as_str(), QUARTER, period.as_str());
        let row = |(name, start, rollup)| NewRow::new(place, name, start, rollup, None);
        let rows: Vec<NewRow<'_>> = rows.into_iter().map(row).collect();
        put(db, &rows, read_at).await?;
    }
    Ok(())
}

/// The rollups of a period as they look to somebody who sees `visible` only.
pub(crate) async fn list(
    db: &Database,
    gateway: &GatewayId,
    (period, sight): (TimeWindow, Sight),
    chosen: SeriesChoice,
    now: Timestamp,
) -> Result<Vec<SeriesRollups>, StoreError> {
    db.require_gateway(gateway).await?;
    settle_near(db, gateway, period, now).await?;
    let known = series::of_gateway(db, gateway).await?;
    let shared = period.intersect(&sight.part);
    let stored = match (shared, known.extent()) {
        (Some(shared), Some(extent)) => {
            let chosen = view::chosen(&known.sensors, &known.series, chosen);
            stored_windows(db, gateway, &chosen, shared, extent).await?
        }
        _ => HashMap::new(),
    };
    let mut edges = match shared {
        Some(_) if sight != Sight::ALWAYS => Some(edges(db, gateway, &known.series, sight, now).await?),
        _ => None,
    };
    let edged = || known.series.iter().zip(edges.iter().flatten());
    let asked = edged().filter_map(|(series, edges)| Some((series, edges.rises_from_afar(stored.get(&series.slot)?)?)));
    let asked: Vec<(&StoredSeries, Timestamp)> = asked.collect();
    let newest = newest_before(db, gateway, asked.clone(), sight.part.from).await?;
    for (series, first) in asked {
        if let Some(edges) = edges.iter_mut().flatten().nth(series.slot as usize) {
            edges.begin_with(series, first, newest.get(&series.slot));
        }
    }
    Ok(view::assemble(&known.sensors, known.series, stored, edges, shared, sight.part))
}

/// The rollups of several gateways, each over a period of its own, as they look to
/// somebody who sees everything.
pub(crate) async fn list_many(
    db: &Database,
    asked: Vec<(GatewayId, TimeWindow)>,
    chosen: SeriesChoice,
    now: Timestamp,
) -> Result<Vec<(GatewayId, Vec<SeriesRollups>)>, StoreError> {
    let one = |(gateway, period): (GatewayId, TimeWindow)| async move {
        match Box::pin(list(db, &gateway, (period, Sight::ALWAYS), chosen, now)).await {
            Ok(rollups) => Ok(Some((gateway, rollups))),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let found: Vec<Option<_>> = stream::iter(asked).map(one).buffered(GATEWAYS_READ_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn edges(
    db: &Database,
    gateway: &GatewayId,
    series: &[StoredSeries],
    sight: Sight,
    now: Timestamp,
) -> Result<Vec<Edges>, StoreError> {
    let mut gathering = EdgeGathering::new(series, sight, db.sealed(now).await?);
    gather(db, gateway, series, &mut gathering, |_, _| ()).await?;
    Ok(gathering.finish())
}

#[cfg(test)]
mod tests;
