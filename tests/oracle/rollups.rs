//! Rollups against the readings that they follow from: of each window of 15 minutes, of
//! each local day and month how many there are, the least and the greatest, the first and
//! the last, and how much a counter rose. Power is left out, of which a load pushes more
//! than a sensor can deliver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Stored, cassandra, sqlite};

/// Gateway, sensor, metric, unit.
pub(crate) type Series = (String, String, String, String);
/// How the numbers of each series behave, as the store calls it.
pub(crate) type Kinds = BTreeMap<Series, String>;

/// A row of rollups.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rolled {
    pub(crate) series: Series,
    /// `quarter`, `day` or `month`.
    pub(crate) step: String,
    /// Milliseconds UTC.
    pub(crate) start: i64,
    pub(crate) figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    pub(crate) count: i64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) increase: f64,
}

type Key = (Series, &'static str, i64);

const STEPS: [&str; 3] = ["quarter", "day", "month"];
const QUARTER_MS: i64 = 900_000;
/// Over more than this nothing is interpolated.
const GAP_MS: i64 = 40 * 60_000;

/// Fails unless nothing is due any more in a file and each of its rollups is what the
/// readings make, by the calendar of a zone.
pub(crate) fn check_file(path: &Path, zone: &str) {
    assert_eq!(sqlite::due(path), 0, "windows are due still");
    check(&sqlite::kinds(path), sqlite::read(path), sqlite::rolled(path), zone);
}

/// The same of a provider's keyspace.
pub(crate) async fn check_keyspace(nodes: &[&str], provider: &str, zone: &str) {
    let (kinds, readings) = (cassandra::kinds(nodes, provider).await, cassandra::read(nodes, provider).await);
    check(&kinds, readings, cassandra::rolled(nodes, provider).await, zone);
}

fn check(kinds: &Kinds, readings: Vec<Stored>, rolled: Vec<Rolled>, zone: &str) {
    let expected = expected(kinds, readings, &TimeZone::get(zone).unwrap());
    for kind in ["gauge", "counter"] {
        assert!(expected.keys().any(|(series, ..)| kinds[series] == kind), "no {kind} among {kinds:?}");
    }
    for step in STEPS {
        let windows: BTreeSet<i64> = expected.keys().filter(|key| key.1 == step).map(|key| key.2).collect();
        assert!(windows.len() > 1, "readings of one {step} only");
    }
    let faults = faults(kinds, &expected, rolled);
    assert!(faults.is_empty(), "{} rollups are not what readings make: {:?}", faults.len(), &faults[..faults.len().min(5)]);
}

/// Whether rollups of a series are looked at. Gateways of a closed loop are in the zone,
/// and their counters rise all the time; of others the zone is not known.
fn is_looked_at(kinds: &Kinds, series: &Series, step: &str) -> bool {
    let is_of_loop = series.0.starts_with("gw-");
    match kinds.get(series).map(String::as_str) {
        Some("gauge") => series.3 != "W" && (step == "quarter" || is_of_loop),
        Some("counter") => is_of_loop,
        _ => false,
    }
}

/// What readings make.
fn expected(kinds: &Kinds, readings: Vec<Stored>, zone: &TimeZone) -> BTreeMap<Key, Figures> {
    let mut by_series: BTreeMap<Series, Vec<(i64, f64)>> = BTreeMap::new();
    for Stored { gateway, sensor, metric, unit, time, value } in readings {
        by_series.entry((gateway, sensor, metric, unit)).or_default().push((time, value));
    }
    let mut expected = BTreeMap::new();
    for (series, mut readings) in by_series {
        readings.sort_by_key(|(time, _)| *time);
        let is_counter = kinds.get(&series).is_some_and(|kind| kind == "counter");
        for step in STEPS.into_iter().filter(|step| is_looked_at(kinds, &series, step)) {
            let windows = of_readings(&readings, is_counter, |at| beginning(step, at, zone));
            expected.extend(windows.into_iter().map(|(start, figures)| ((series.clone(), step, start), figures)));
        }
    }
    expected
}

/// What differs, is missing, or is there of no readings.
fn faults(kinds: &Kinds, expected: &BTreeMap<Key, Figures>, rolled: Vec<Rolled>) -> Vec<String> {
    let mut found: BTreeMap<Key, Figures> = BTreeMap::new();
    for Rolled { series, step, start, figures } in rolled {
        let step = STEPS.into_iter().find(|known| *known == step).unwrap();
        // Where no reading lies inside there may be time that one lies on either side of.
        if is_looked_at(kinds, &series, step) && (figures.count > 0 || figures.increase != 0.0) {
            found.insert((series, step, start), figures);
        }
    }
    let same = |key: &Key, figures: &Figures| found.get(key).is_some_and(|there| is_same(there, figures));
    let different = expected.iter().filter(|(key, figures)| !same(key, figures));
    let mut faults: Vec<String> =
        different.map(|(key, figures)| format!("{key:?} is {:?} and not {figures:?}", found.get(key))).collect();
    faults.extend(found.keys().filter(|key| !expected.contains_key(*key)).map(|key| format!("{key:?} of no readings")));
    faults
}

/// When the window of an instant begins.
fn beginning(step: &str, at: i64, zone: &TimeZone) -> i64 {
    if step == "quarter" {
        return at.div_euclid(QUARTER_MS) * QUARTER_MS;
    }
    let date = Timestamp::from_millisecond(at).unwrap().to_zoned(zone.clone()).date();
    let date = if step == "month" { date.first_of_month() } else { date };
    date.to_zoned(zone.clone()).unwrap().timestamp().as_millisecond()
}

/// Figures of the windows that readings of one series, in order, lie in, and of those
/// that a counter rose in.
fn of_readings(readings: &[(i64, f64)], is_counter: bool, beginning: impl Fn(i64) -> i64) -> BTreeMap<i64, Figures> {
    let mut windows: BTreeMap<i64, Figures> = BTreeMap::new();
    for (time, value) in readings.iter().copied() {
        let figures =
            windows.entry(beginning(time)).or_insert(Figures { min: value, max: value, first: value, ..Figures::default() });
        (figures.count, figures.last) = (figures.count + 1, value);
        (figures.min, figures.max) = (figures.min.min(value), figures.max.max(value));
    }
    for pair in readings.windows(2).filter(|_| is_counter) {
        let ((from, before), (until, after)) = (pair[0], pair[1]);
        assert!(until - from <= GAP_MS && before < after, "a load's counter rises all the time: {pair:?}");
        // In a straight line, a quarter of an hour at a time, for days begin with one.
        let mut at = from;
        while at < until {
            let end = until.min((at.div_euclid(QUARTER_MS) + 1) * QUARTER_MS);
            let risen = (after - before) * (end - at) as f64 / (until - from) as f64;
            windows.entry(beginning(at)).or_default().increase += risen;
            at = end;
        }
    }
    windows
}

fn is_same(found: &Figures, expected: &Figures) -> bool {
    let close = (found.increase - expected.increase).abs() <= 1e-6 * expected.increase + 1.0;
    close && Figures { increase: 0.0, ..*found } == Figures { increase: 0.0, ..*expected }
}

mod tests {
    use super::*;

    const ZONE: &str = "Australia/Adelaide";
    /// Ten minutes before November there.
    const BEGIN: &str = "2026-10-31T13:20:00Z";

    fn series(metric: &str, unit: &str) -> Series {
        ("gw-1".to_owned(), "s".to_owned(), metric.to_owned(), unit.to_owned())
    }

    /// A gauge and a counter, each five minutes.
    fn readings() -> Vec<Stored> {
        let begin = BEGIN.parse::<Timestamp>().unwrap().as_millisecond();
        let of = |(gateway, sensor, metric, unit): Series, first: f64| {
            (0..8).map(move |number| Stored {
                gateway: gateway.clone(),
                sensor: sensor.clone(),
                metric: metric.clone(),
                unit: unit.clone(),
                time: begin + i64::from(number) * 300_000,
                value: first + f64::from(number) * 30.0,
            })
        };
        of(series("voltage", "V"), 200.0).chain(of(series("energy", "Wh"), 1e6)).collect()
    }

    #[test]
    fn rollups_that_differ_are_missing_or_of_no_readings_are_named() {
        let kinds: Kinds =
            [(series("voltage", "V"), "gauge".to_owned()), (series("energy", "Wh"), "counter".to_owned())].into_iter().collect();
        let expected = expected(&kinds, readings(), &TimeZone::get(ZONE).unwrap());
        let month = |key: &&Key| key.0 == series("energy", "Wh") && key.1 == "month";
        let risen: Vec<f64> = expected.keys().filter(month).map(|key| expected[key].increase).collect();
        // Two of seven steps are October's.
        assert_eq!(risen, [60.0, 150.0]);
        let rolled = |changed: &dyn Fn(usize, &mut Rolled) -> bool| -> Vec<Rolled> {
            let rows = expected.iter().map(|((series, step, start), figures)| Rolled {
                series: series.clone(),
                step: (*step).to_owned(),
                start: *start,
                figures: *figures,
            });
            rows.enumerate().filter_map(|(number, mut row)| changed(number, &mut row).then_some(row)).collect()
        };
        assert_eq!(faults(&kinds, &expected, rolled(&|_, _| true)), Vec::<String>::new());
        for number in 0..expected.len() {
            let missing = rolled(&|other, _| other != number);
            let more = rolled(&|other, row| {
                row.figures.count += i64::from(other == number);
                true
            });
            let elsewhere = rolled(&|other, row| {
                row.start += if other == number { 1 } else { 0 };
                true
            });
            let found = [missing, more, elsewhere].map(|rolled| faults(&kinds, &expected, rolled).len());
            assert_eq!(found, [1, 1, 2], "{number}");
        }
        let doubled = rolled(&|_, row| {
            row.figures.increase *= 2.0;
            true
        });
        assert_eq!(faults(&kinds, &expected, doubled).len(), 7, "three quarters, two days, two months");
    }
}
