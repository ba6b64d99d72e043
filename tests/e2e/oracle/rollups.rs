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
    // Gateways of a closed loop are in the zone, and their counters rise all the time.
    let is_of_loop = |series: &Series| series.0.starts_with("gw-");
    let looked_at = |series: &Series, step: &str| match kinds.get(series).map(String::as_str) {
        Some("gauge") => series.3 != "W" && (step == "quarter" || is_of_loop(series)),
        Some("counter") => is_of_loop(series),
        _ => false,
    };
    let mut by_series: BTreeMap<Series, Vec<(i64, f64)>> = BTreeMap::new();
    for Stored { gateway, sensor, metric, unit, time, value } in readings {
        by_series.entry((gateway, sensor, metric, unit)).or_default().push((time, value));
    }
    by_series.retain(|series, _| looked_at(series, "quarter"));
    for kind in ["gauge", "counter"] {
        assert!(by_series.keys().any(|series| kinds[series] == kind), "no {kind} among {kinds:?}");
    }
    let zone = TimeZone::get(zone).unwrap();
    let mut expected: BTreeMap<Key, Figures> = BTreeMap::new();
    for (series, mut readings) in by_series {
        readings.sort_by_key(|(time, _)| *time);
        let is_counter = kinds[&series] == "counter";
        for step in STEPS.into_iter().filter(|step| looked_at(&series, step)) {
            let windows = of_readings(&readings, is_counter, |at| beginning(step, at, &zone));
            expected.extend(windows.into_iter().map(|(start, figures)| ((series.clone(), step, start), figures)));
        }
    }
    for step in STEPS {
        let windows: BTreeSet<i64> = expected.keys().filter(|key| key.1 == step).map(|key| key.2).collect();
        assert!(windows.len() > 1, "readings of one {step} only");
    }

    let mut found: BTreeMap<Key, Figures> = BTreeMap::new();
    for Rolled { series, step, start, figures } in rolled.into_iter().filter(|row| looked_at(&row.series, &row.step)) {
        let step = STEPS.into_iter().find(|known| *known == step).unwrap();
        // Where no reading lies inside there may be time that one lies on either side of.
        if figures.count > 0 || figures.increase != 0.0 {
            found.insert((series, step, start), figures);
        }
    }
    let same = |key: &Key, figures: &Figures| found.get(key).is_some_and(|there| is_same(there, figures));
    let different: Vec<_> = expected.iter().filter(|(key, figures)| !same(key, figures)).collect();
    let shown: Vec<_> = different.iter().take(5).map(|(key, figures)| (key, figures, found.get(*key))).collect();
    assert!(different.is_empty(), "{} are not what their readings make: {shown:?}", different.len());
    let strays: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).take(5).collect();
    assert!(strays.is_empty(), "of no readings: {strays:?}");
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
