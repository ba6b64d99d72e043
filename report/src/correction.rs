//! What a correction would change, before anybody makes it.
//!
//! The readings around it are corrected and rolled up twice, by the rules that reports
//! follow, and nothing is written. That is bounded: of a long time only the first days
//! are looked at, and of a mass of readings nothing is said.
//!
//! What a counter rises while nothing counts shows at its next reading, however much
//! later that is. So the days of the readings around the time are compared too.

mod near;

use std::collections::BTreeSet;

use heliograph_domain::{Correction, Kind, RollupRule, Sample, SeriesCorrections, SeriesKey, TimeWindow, Timestamp, Zone};
use heliograph_store::{ProviderStore, StoreError};
use jiff::{ToSpan as _, civil};

use near::{Near, Side};

const DAY_MS: i64 = 86_400_000;
/// Local days that are looked at.
const DAYS: usize = 31;
/// Readings of the gateway, of whatever series, that are read at most.
const READINGS: usize = 100_000;
const PAGE: usize = 10_000;

/// What figures of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayFigure {
    /// What it rose, or the sum of intervals, in its unit.
    Rise,
    /// Its power over time, Wh.
    Energy,
    /// Its mean, in its unit.
    Mean,
}

/// A local day of a series without a correction and with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrectedDay {
    /// The day.
    pub day: civil::Date,
    /// Its figure as it is, if anything is known of the day.
    pub before: Option<f64>,
    /// The same with the correction.
    pub after: Option<f64>,
}

/// What a correction would change.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrectionPreview {
    /// What the figures are.
    pub figure: DayFigure,
    /// The days that change, in order.
    pub days: Vec<CorrectedDay>,
    /// The first day that was not looked at, where the correction goes on for longer.
    pub until: Option<civil::Date>,
}

/// What `new` would change of its series in a zone's days; `None` where there are too
/// many readings to say at fair cost.
///
/// # Errors
/// [`StoreError::NotFound`] where there is no such series; when the store cannot be read.
pub async fn correction_preview(
    store: &ProviderStore,
    new: &Correction,
    zone: &Zone,
    now: Timestamp,
) -> Result<Option<CorrectionPreview>, StoreError> {
    let key = &new.series;
    let sensors = store.sensor_list(&key.gateway).await?;
    let sensor = sensors.iter().find(|sensor| sensor.id == key.sensor).ok_or(StoreError::NotFound("series"))?;
    let is_it = |series: &&heliograph_store::SeriesRecord| series.metric == key.metric && series.unit == key.unit;
    let series = sensor.series.iter().find(is_it).ok_or(StoreError::NotFound("series"))?;
    let rule = RollupRule::of_series(series.kind, &key.unit, sensor.rated_w);
    let all = store.correction_list().await?;
    let known = || all.iter().filter(|known| known.series == *key);
    let (before, after) = (SeriesCorrections::of(known()), SeriesCorrections::of(known().chain([new])));
    let touched = before.touched(new);
    let figure = figure(&rule, key);
    let Some(reach) = reach(store, key, &rule, &touched, zone, now).await? else {
        return Ok(Some(CorrectionPreview { figure, days: Vec::new(), until: None }));
    };
    let Reach { days, until, pieces } = reach;
    let wanted = whole(&pieces);
    let sources =
        |corrections: &SeriesCorrections| pieces.iter().flat_map(|piece| corrections.sources(*piece)).collect::<Vec<_>>();
    let Some(raw) = read(store, key, [sources(&before), sources(&after)].concat(), now).await? else { return Ok(None) };
    let rolled = |corrections: &SeriesCorrections| -> Vec<Option<f64>> {
        let samples = corrections.apply(rule.kind, wanted, &raw);
        days.iter().map(|(_, window)| day_figure(&rule, corrections, *window, &samples, figure)).collect()
    };
    let compared = days.iter().zip(rolled(&before).into_iter().zip(rolled(&after)));
    let changed = compared.filter_map(|((day, _), (before, after))| {
        let differs = match (before, after) {
            (Some(before), Some(after)) => (before - after).abs() > 1e-6 * before.abs().max(after.abs()),
            (before, after) => before != after,
        };
        differs.then_some(CorrectedDay { day: *day, before, after })
    });
    Ok(Some(CorrectionPreview { figure, days: changed.collect(), until }))
}

fn figure(rule: &RollupRule, key: &SeriesKey) -> DayFigure {
    match rule.kind {
        kind if kind.accumulates() || kind == Kind::IntervalEnergy => DayFigure::Rise,
        _ if key.unit.as_str() == "W" => DayFigure::Energy,
        _ => DayFigure::Mean,
    }
}

type Day = (civil::Date, TimeWindow);

/// How far a change reaches.
struct Reach {
    /// The local days whose figures can change, in order.
    days: Vec<Day>,
    /// The first that is left out.
    until: Option<civil::Date>,
    /// The times of all readings that these days follow from.
    pieces: Vec<TimeWindow>,
}

/// `None` where it reaches nothing that has been.
async fn reach(
    store: &ProviderStore,
    key: &SeriesKey,
    rule: &RollupRule,
    touched: &[TimeWindow],
    zone: &Zone,
    now: Timestamp,
) -> Result<Option<Reach>, StoreError> {
    let (Some(first), Some(last)) = (touched.first(), touched.last()) else { return Ok(None) };
    // What is no counter reaches as far as readings are linked.
    let (linked, margin) = if rule.kind.accumulates() { (0, 0) } else { (rule.max_gap_ms, DAY_MS) };
    let time = TimeWindow::between(first.from.plus_millis(-linked), last.end().plus_millis(linked));
    let (days, until) = days(time, zone, now);
    let (Some((_, first)), Some((_, last))) = (days.first(), days.last()) else { return Ok(None) };
    let core = TimeWindow::between(first.from.plus_millis(-margin), last.end().plus_millis(margin));
    if !rule.kind.accumulates() {
        return Ok(Some(Reach { days, until, pieces: vec![core] }));
    }
    let earlier = Near::find(store, key, rule, zone, Side::Before(core.from)).await?;
    let later = Near::find(store, key, rule, zone, Side::After(core.end())).await?;
    // Of what goes on beyond the last day, the next days are among those left out.
    let shown_later = if until.is_some() { BTreeSet::new() } else { later.days };
    let mut all: BTreeSet<civil::Date> = days.into_iter().map(|(day, _)| day).collect();
    all.extend(earlier.days.into_iter().chain(shown_later));
    let days = all.into_iter().map(|day| (day, local_day(day, zone))).collect();
    let pieces = earlier.windows.into_iter().chain([core]).chain(later.windows).collect();
    Ok(Some(Reach { days, until, pieces }))
}

fn local_day(day: civil::Date, zone: &Zone) -> TimeWindow {
    TimeWindow::between(zone.start_of_day(day), zone.start_of_day(day.saturating_add(1.day())))
}

/// From the beginning of the first to the end of the last.
fn whole(pieces: &[TimeWindow]) -> TimeWindow {
    let from = pieces.iter().map(|piece| piece.from).min().unwrap_or(Timestamp::MIN);
    TimeWindow::between(from, pieces.iter().map(TimeWindow::end).max().unwrap_or(from))
}

/// The local days of a time that has been; and the first that is left out.
fn days(time: TimeWindow, zone: &Zone, now: Timestamp) -> (Vec<Day>, Option<civil::Date>) {
    let end = time.end().min(now);
    let mut day = zone.civil(time.from).date();
    let mut days = Vec::new();
    while zone.start_of_day(day) < end {
        if days.len() == DAYS {
            return (days, Some(day));
        }
        let next = day.saturating_add(1.day());
        if next <= day {
            break;
        }
        days.push((day, local_day(day, zone)));
        day = next;
    }
    (days, None)
}

/// The readings of a series in windows, in order; `None` where there are too many.
async fn read(
    store: &ProviderStore,
    key: &SeriesKey,
    windows: Vec<TimeWindow>,
    now: Timestamp,
) -> Result<Option<Vec<Sample>>, StoreError> {
    let (mut samples, mut left) = (Vec::new(), READINGS);
    for window in together(windows, now) {
        let mut from = Some(window.from);
        while let Some(begin) = from {
            let page = store.reading_page(&key.gateway, TimeWindow { from: begin, ..window }, PAGE).await?;
            let Some(rest) = left.checked_sub(page.rows.len()) else { return Ok(None) };
            left = rest;
            let own = page.rows.iter().filter(|row| row.sensor == key.sensor && row.metric == key.metric && row.unit == key.unit);
            samples.extend(own.map(|row| Sample { at: row.time, value: row.value }));
            from = page.next;
        }
    }
    Ok(Some(samples))
}

/// Windows in order and apart, up to a day from now.
fn together(mut windows: Vec<TimeWindow>, now: Timestamp) -> Vec<TimeWindow> {
    windows.sort_by_key(|window| window.from);
    let latest = now.plus_millis(DAY_MS);
    let mut apart: Vec<TimeWindow> = Vec::new();
    for window in windows {
        let (from, end) = (window.from, window.end().min(latest));
        match apart.last_mut() {
            Some(last) if from <= last.end() => *last = TimeWindow::between(last.from, last.end().max(end)),
            _ if from < end => apart.push(TimeWindow::between(from, end)),
            _ => {}
        }
    }
    apart
}

fn day_figure(
    rule: &RollupRule,
    corrections: &SeriesCorrections,
    day: TimeWindow,
    samples: &[Sample],
    figure: DayFigure,
) -> Option<f64> {
    // Two meters that are swapped have a reading each at one instant.
    let context = 2 * (rule.context() + 1);
    let first = samples.partition_point(|sample| sample.at < day.from).saturating_sub(context);
    let last = samples.partition_point(|sample| sample.at < day.end()).saturating_add(context).min(samples.len());
    let near = samples.get(first..last).unwrap_or_default();
    let rollup = corrections.roll_up_span(rule, day.from, day.end(), near)?;
    let integral = rollup.positive + rollup.negative;
    match figure {
        DayFigure::Rise => Some(rollup.increase),
        DayFigure::Energy => Some(integral),
        DayFigure::Mean => (rollup.covered_ms > 0).then(|| integral / (f64::from(rollup.covered_ms) / 3_600_000.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::clamped(hour * 3_600_000)
    }

    #[test]
    fn a_change_reaches_its_local_days() {
        let dates = |time: TimeWindow, now| {
            let (days, until) = days(time, &Zone::utc(), at(now));
            (days.into_iter().map(|(day, _)| day.day()).collect::<Vec<_>>(), until.map(|day| day.to_string()))
        };
        assert_eq!(dates(TimeWindow::between(at(12), at(25)), 1000), (vec![1, 2], None));
        assert_eq!(dates(TimeWindow::between(at(12), at(25)), 20), (vec![1], None), "nothing is known of what is ahead");
        assert_eq!(dates(TimeWindow::between(at(30), at(31)), 20), (Vec::new(), None));
        let (days, until) = dates(TimeWindow { from: at(0), until: None }, 24 * 40);
        assert_eq!((days.len(), until.as_deref()), (31, Some("1970-02-01")));
    }

    #[test]
    fn what_is_read_is_read_once() {
        let windows =
            vec![TimeWindow::between(at(5), at(9)), TimeWindow::between(at(0), at(6)), TimeWindow { from: at(90), until: None }];
        assert_eq!(together(windows, at(80)), [TimeWindow::between(at(0), at(9)), TimeWindow::between(at(90), at(104))]);
    }
}
