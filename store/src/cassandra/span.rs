//! Local days and months: sums of the stored windows, kept right by marks of their
//! own (see [`super::mark`]).
//!
//! A row counts where it fits the gateway's calendar as it is now. Where the
//! calendar is about to change, all months of the gateway are marked before; what
//! does not fit any more is deleted when they are settled.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, LocalSpan, Rollup, SpanStep, TimeWindow, Timestamp, ZoneHistory};
use jiff::civil;
use jiff::tz::TimeZone;
use scylla::value::CqlTimestamp;

use super::mark::{self, Mark, Marked, Scope};
use super::rollup::{self, NewRow, name_of, rollup_of};
use super::series::{self, GatewaySeries};
use super::{Database, Entry, reading};
use crate::catalog::{Catalog, Decision};
use crate::error::StoreError;
use crate::rollup::series::{Slot, StoredSeries};
use crate::rollup::span::{spans_of, sum};
use crate::rollup::{SeriesSpans, SpanRollup};

/// Months of one gateway made anew in one call, where its calendar has changed.
const MONTHS_AT_ONCE: usize = 8;
/// Gateways whose months are marked at once.
const GATEWAYS_AT_ONCE: usize = 16;
/// No month is longer.
const MONTH_MS: i64 = 31 * 86_400_000 + 3_600_000;

/// A gateway's sums, to be made anew as of one instant.
struct Sums<'a> {
    db: &'a Database,
    gateway: &'a GatewayId,
    /// The cluster's time before anything of this was read, µs: what was read
    /// later wins over it.
    timestamp: i64,
    known: GatewaySeries,
    history: ZoneHistory,
}

impl<'a> Sums<'a> {
    async fn of(db: &'a Database, gateway: &'a GatewayId) -> Result<Self, StoreError> {
        let timestamp = time(db).await?;
        let known = series::of_gateway(db, gateway).await?;
        let history = db.catalog().await?.zone_history(gateway);
        Ok(Self { db, gateway, timestamp, known, history })
    }

    fn span(&self, step: SpanStep, at: Timestamp) -> LocalSpan {
        self.history.span(step, at)
    }

    /// Makes the local days within a time, which is made of whole ones, anew.
    async fn sum_days(&self, within: TimeWindow) -> Result<(), StoreError> {
        let series = &self.known.series;
        let windows = match self.known.extent() {
            Some(extent) => rollup::stored_windows(self.db, self.gateway, series, within, extent).await?,
            None => std::collections::HashMap::new(),
        };
        let mut sums = Vec::new();
        for (slot, windows) in windows {
            for day in spans_of(&self.history, SpanStep::Day, windows.iter().map(|window| window.start)).into_values() {
                let of_day = windows.iter().filter(|window| day.start <= window.start && window.start < day.end);
                sums.extend(sum(of_day.map(|window| window.rollup)).map(|rollup| (slot, SpanRollup { span: day, rollup })));
            }
        }
        self.replace(SpanStep::Day, within, &sums).await
    }

    /// Makes a local month anew from its days.
    async fn sum_month(&self, month: &LocalSpan) -> Result<(), StoreError> {
        let within = TimeWindow::between(month.start, month.end);
        let mut days: BTreeMap<Slot, Vec<Rollup>> = BTreeMap::new();
        for (slot, day) in self.stored(SpanStep::Day, within).await? {
            if self.fits(SpanStep::Day, &day.span) {
                days.entry(slot).or_default().push(day.rollup);
            }
        }
        let of_series = |(slot, days)| Some((slot, SpanRollup { span: month.clone(), rollup: sum(days)? }));
        let sums: Vec<_> = days.into_iter().filter_map(of_series).collect();
        self.replace(SpanStep::Month, within, &sums).await
    }

    fn fits(&self, step: SpanStep, span: &LocalSpan) -> bool {
        self.history.span(step, span.start) == *span
    }

    /// Writes sums in the place of all that begin within a time.
    async fn replace(&self, step: SpanStep, within: TimeWindow, sums: &[(Slot, SpanRollup)]) -> Result<(), StoreError> {
        let kept: HashSet<(Slot, Timestamp)> = sums.iter().map(|(slot, sum)| (*slot, sum.span.start)).collect();
        for (slot, sum) in self.stored(step, within).await? {
            if !kept.contains(&(slot, sum.span.start))
                && let Some(series) = self.series(slot)
            {
                let period = period(step, sum.span.start);
                let place = (self.gateway.as_str(), step.as_str(), period.as_str());
                rollup::delete(self.db, place, name_of(series), sum.span.start, self.timestamp).await?;
            }
        }
        let mut periods: BTreeMap<String, Vec<&(Slot, SpanRollup)>> = BTreeMap::new();
        for sum in sums {
            periods.entry(period(step, sum.1.span.start)).or_default().push(sum);
        }
        for (period, sums) in &periods {
            let place = (self.gateway.as_str(), step.as_str(), period.as_str());
            let rows = sums.iter().filter_map(|(slot, SpanRollup { span, rollup })| {
                let series = self.series(*slot)?;
                Some(NewRow::new(place, name_of(series), span.start, rollup, Some(span.zone.name())))
            });
            rollup::put(self.db, &rows.collect::<Vec<_>>(), self.timestamp).await?;
        }
        Ok(())
    }

    fn series(&self, slot: Slot) -> Option<&StoredSeries> {
        self.known.series.get(slot as usize)
    }

    /// The sums that begin within a time, whether or not they fit the calendar; of
    /// each series in time order.
    async fn stored(&self, step: SpanStep, within: TimeWindow) -> Result<Vec<(Slot, SpanRollup)>, StoreError> {
        let mut found = Vec::new();
        for period in periods(step, within) {
            let place = (self.gateway.as_str(), step.as_str(), period.as_str());
            for row in rollup::stored(self.db, place).await? {
                let start = Timestamp::clamped(row.start.0);
                let name = (row.sensor.as_str(), row.metric.as_str(), row.unit.as_str());
                let Some(series) = reading::find(&self.known.series, name).filter(|_| within.contains(start)) else { continue };
                let mut span = self.span(step, start);
                // Of one that does not fit, nobody asks where it ended.
                if span.start != start || row.zone.as_deref() != Some(span.zone.name()) {
                    span = LocalSpan { start, end: start, ..span };
                }
                found.push((series.slot, SpanRollup { span, rollup: rollup_of(&row) }));
            }
        }
        Ok(found)
    }
}

/// The cluster's time, in µs since 1970.
pub(super) async fn time(db: &Database) -> Result<i64, StoreError> {
    let now = "SELECT toTimestamp(now()) FROM @.control WHERE name = 'schema'";
    let row: Option<(CqlTimestamp,)> = db.row(now, ()).await?;
    let (now,) = row.ok_or_else(|| StoreError::Damaged("the keyspace has no schema version".to_owned()))?;
    Ok(now.0.saturating_mul(1000))
}

/// The partition of a sum: of days a UTC month, of months a UTC year.
pub(super) fn period(step: SpanStep, start: Timestamp) -> String {
    let date = utc_date(start);
    match step {
        SpanStep::Day => date.strftime("%Y-%m").to_string(),
        SpanStep::Month => date.strftime("%Y").to_string(),
    }
}

fn periods(step: SpanStep, within: TimeWindow) -> BTreeSet<String> {
    months(within).into_iter().map(|month| period(step, month)).collect()
}

fn utc_date(at: Timestamp) -> civil::Date {
    at.to_jiff().to_zoned(TimeZone::UTC).date()
}

/// Where the UTC months begin that share something with a time.
fn months(within: TimeWindow) -> Vec<Timestamp> {
    let mut months = Vec::new();
    let mut date = utc_date(within.from).first_of_month();
    while let Some(start) = start_of(date).filter(|start| *start < within.end()) {
        months.push(start);
        match date.checked_add(jiff::Span::new().months(1)) {
            Ok(next) => date = next,
            Err(_) => break,
        }
    }
    months
}

fn start_of(date: civil::Date) -> Option<Timestamp> {
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

/// The whole spans that share something with a time.
fn hull(history: &ZoneHistory, step: SpanStep, within: TimeWindow) -> TimeWindow {
    let (first, last) = (history.span(step, within.from), history.span(step, within.end().plus_millis(-1)));
    TimeWindow::between(first.start, last.end)
}

/// A UTC month.
fn utc_month(start: Timestamp) -> TimeWindow {
    let next = utc_date(start).checked_add(jiff::Span::new().months(1)).ok().and_then(start_of);
    TimeWindow::between(start, next.unwrap_or(Timestamp::MAX))
}

/// Marks the local days of windows that were written.
pub(super) async fn mark_days(
    db: &Database,
    gateway: &GatewayId,
    windows: &BTreeSet<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let history = db.catalog().await?.zone_history(gateway);
    let days = spans_of(&history, SpanStep::Day, windows.iter().copied());
    mark_all(db, gateway, Scope::LocalDay, days.into_keys(), now).await
}

async fn mark_all(
    db: &Database,
    gateway: &GatewayId,
    scope: Scope,
    starts: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    mark::set_places(db, gateway, starts.map(|start| (start, scope)).collect(), now).await
}

/// Settles complete marks of sums of a gateway; answers those that may be cleared.
pub(super) async fn settle(
    db: &Database,
    gateway: &GatewayId,
    mut marks: Vec<Mark>,
    now: Timestamp,
) -> Result<Vec<Mark>, StoreError> {
    let mut calendars = 0;
    marks.retain(|mark| {
        calendars += usize::from(mark.scope == Scope::Calendar);
        mark.scope != Scope::Calendar || calendars <= MONTHS_AT_ONCE
    });
    if marks.is_empty() {
        return Ok(marks);
    }
    let sums = Sums::of(db, gateway).await?;
    let wanted = Wanted::of(&sums.history, &marks);
    let mut months = BTreeSet::new();
    for days in wanted.days() {
        sums.sum_days(days).await?;
        months.extend(sums.history.spans(SpanStep::Month, days).into_iter().map(|month| month.start));
    }
    mark_all(db, gateway, Scope::LocalMonth, months.into_iter(), now).await?;
    for month in &wanted.months {
        sums.sum_month(&sums.span(SpanStep::Month, *month)).await?;
    }
    Ok(marks)
}

/// What marks ask for.
#[derive(Default)]
struct Wanted {
    /// Where days begin.
    days: BTreeMap<Timestamp, LocalSpan>,
    /// Times whose days are all to be made anew.
    stretches: Vec<TimeWindow>,
    /// Windows in months that are to be made anew for themselves.
    months: BTreeSet<Timestamp>,
}

impl Wanted {
    fn of(history: &ZoneHistory, marks: &[Mark]) -> Self {
        let mut wanted = Self::default();
        for mark in marks {
            match mark.scope {
                Scope::Window | Scope::Day => {}
                Scope::LocalDay => wanted.add_windows(history, [mark.start]),
                Scope::LocalMonth => drop(wanted.months.insert(mark.start)),
                Scope::Calendar => wanted.stretches.push(hull(history, SpanStep::Day, utc_month(mark.start))),
            }
        }
        wanted
    }

    fn add_windows(&mut self, history: &ZoneHistory, windows: impl IntoIterator<Item = Timestamp>) {
        self.days.extend(spans_of(history, SpanStep::Day, windows));
    }

    /// What is to be made anew, in stretches of whole days, each with few others.
    fn days(&self) -> Vec<TimeWindow> {
        let mut stretches: Vec<TimeWindow> = self.stretches.clone();
        let mut run: Option<TimeWindow> = None;
        for day in self.days.values() {
            run = match run {
                Some(run) if run.end() == day.start && day.end.millis_since(run.from) <= MONTH_MS => {
                    Some(TimeWindow::between(run.from, day.end))
                }
                run => {
                    stretches.extend(run);
                    Some(TimeWindow::between(day.start, day.end))
                }
            };
        }
        stretches.extend(run);
        stretches
    }
}

/// The local days or months of a gateway that begin within a time, made anew where
/// anything is marked. Marks stay for who clears them.
pub(crate) async fn list(
    db: &Database,
    gateway: &GatewayId,
    step: SpanStep,
    within: TimeWindow,
    now: Timestamp,
) -> Result<Vec<SeriesSpans>, StoreError> {
    db.require_gateway(gateway).await?;
    let Marked { marks, read_at } = mark::of_gateway(db, gateway).await?;
    let windows = Box::pin(rollup::settle_windows(db, gateway, &marks, read_at, now)).await?;
    let sums = Sums::of(db, gateway).await?;
    let mut wanted = Wanted::of(&sums.history, &marks);
    wanted.add_windows(&sums.history, windows);
    let mut months: BTreeMap<Timestamp, LocalSpan> = BTreeMap::new();
    for days in wanted.days() {
        sums.sum_days(days).await?;
        months.extend(sums.history.spans(SpanStep::Month, days).into_iter().map(|month| (month.start, month)));
    }
    months.extend(spans_of(&sums.history, SpanStep::Month, wanted.months.iter().copied()));
    for month in months.values() {
        sums.sum_month(month).await?;
    }
    sums.list(step, within).await
}

impl Sums<'_> {
    async fn list(self, step: SpanStep, within: TimeWindow) -> Result<Vec<SeriesSpans>, StoreError> {
        let mut spans: BTreeMap<Slot, Vec<SpanRollup>> = BTreeMap::new();
        let whole = self.known.extent().map(|extent| TimeWindow::between(extent.from.plus_millis(-MONTH_MS), extent.end()));
        if let Some(within) = whole.and_then(|whole| whole.intersect(&within)) {
            for (slot, sum) in self.stored(step, within).await? {
                if self.fits(step, &sum.span) {
                    spans.entry(slot).or_default().push(sum);
                }
            }
        }
        let of_series = |series: StoredSeries| {
            let spans = spans.remove(&series.slot).unwrap_or_default();
            SeriesSpans { sensor: series.sensor, series: series.record, spans }
        };
        Ok(self.known.series.into_iter().map(of_series).collect())
    }
}

/// Marks all that there is of a gateway to be summed up anew.
async fn mark_calendar(db: &Database, gateway: &GatewayId, now: Timestamp) -> Result<(), StoreError> {
    let Some(extent) = series::of_gateway(db, gateway).await?.extent() else { return Ok(()) };
    mark_extent(db, gateway, extent, now).await
}

/// The same of a gateway whose readings lie within a time.
pub(super) async fn mark_extent(
    db: &Database,
    gateway: &GatewayId,
    extent: TimeWindow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let all = TimeWindow::between(extent.from.plus_millis(-MONTH_MS), extent.end());
    mark_all(db, gateway, Scope::Calendar, months(all).into_iter(), now).await
}

impl Database {
    /// Changes the catalog; what that does to the calendars of gateways is marked
    /// before, as readings are.
    pub(crate) async fn change_calendar(
        &self,
        entry: Entry,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        let before = self.catalog().await?;
        let mut after = (*before).clone();
        decide(&before)?.into_iter().for_each(|change| after.apply(change));
        let moved: Vec<GatewayId> =
            after.gateways.keys().filter(|id| before.zone_history(id) != after.zone_history(id)).cloned().collect();
        let now = self.inner.clock.now();
        let marking = stream::iter(moved).map(|gateway| {
            let db = self.clone();
            async move { mark_calendar(&db, &gateway, now).await }
        });
        marking.buffer_unordered(GATEWAYS_AT_ONCE).try_collect::<()>().await?;
        self.catalog_change(Some(entry), decide).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::Timing;
    use super::super::trial;
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn sums_lie_in_the_utc_month_or_year_in_which_they_begin() {
        let evening = at("2025-12-31T18:30:00Z");
        assert_eq!([SpanStep::Day, SpanStep::Month].map(|step| period(step, evening)), ["2025-12", "2025"]);
        let within = TimeWindow::between(evening, at("2026-02-01T00:00:00Z"));
        assert_eq!(periods(SpanStep::Day, within).into_iter().collect::<Vec<_>>(), ["2025-12", "2026-01"]);
        assert_eq!(periods(SpanStep::Month, within).into_iter().collect::<Vec<_>>(), ["2025", "2026"]);
    }

    #[tokio::test]
    async fn an_older_sum_neither_writes_over_a_newer_one_nor_removes_it() {
        let [db]: [Database; 1] = trial::openings(Timing::default()).await;
        let gateway = GatewayId::parse("gw-1").unwrap();
        let insert = "INSERT INTO @.series (gateway, sensor, metric, unit, kind, quantity, chosen)
            VALUES ('gw-1', 'meter', 'energy', 'Wh', 'counter', 'other', false)";
        db.execute(insert, ()).await.unwrap();
        let mut sums = Vec::new();
        for _ in 0..3 {
            sums.push(Sums::of(&db, &gateway).await.unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let day = sums[0].span(SpanStep::Day, at("2026-06-15T12:00:00Z"));
        let within = TimeWindow::between(day.start, day.end);
        let of = |count| {
            let (zero, flags) = (0.0, heliograph_domain::RollupFlags::from_bits(0));
            let (min, max, first, last, positive, negative, increase) = (zero, zero, zero, zero, zero, zero, zero);
            let rollup = Rollup { count, min, max, first, last, covered_ms: 0, positive, negative, increase, flags };
            vec![(0, SpanRollup { span: day.clone(), rollup })]
        };
        let stored = async || -> Vec<u32> {
            sums[2].stored(SpanStep::Day, within).await.unwrap().iter().map(|(_, sum)| sum.rollup.count).collect()
        };
        sums[1].replace(SpanStep::Day, within, &of(2)).await.unwrap();
        sums[0].replace(SpanStep::Day, within, &of(1)).await.unwrap();
        assert_eq!(stored().await, [2]);
        sums[0].replace(SpanStep::Day, within, &[]).await.unwrap();
        assert_eq!(stored().await, [2]);
        sums[2].replace(SpanStep::Day, within, &[]).await.unwrap();
        sums[1].replace(SpanStep::Day, within, &of(2)).await.unwrap();
        assert_eq!(stored().await, [0; 0]);
        trial::remove(&db).await;
    }

    #[test]
    fn days_that_follow_each_other_are_read_together() {
        let history = ZoneHistory::new(&heliograph_domain::Zone::parse("Asia/Kolkata").unwrap(), &[]);
        let mut wanted = Wanted::default();
        let windows = ["2026-06-01T00:00:00Z", "2026-06-01T18:30:00Z", "2026-06-04T00:00:00Z"].map(at);
        wanted.add_windows(&history, windows);
        let expected = [("2026-05-31T18:30:00Z", "2026-06-02T18:30:00Z"), ("2026-06-03T18:30:00Z", "2026-06-04T18:30:00Z")];
        assert_eq!(wanted.days(), expected.map(|(from, until)| TimeWindow::between(at(from), at(until))));
    }
}
