//! Rollups against a computation that shares no code with them.

use std::sync::atomic::{AtomicU32, Ordering};

use heliograph_domain::{GatewayId, Kind, MetricName, SensorId, TimeWindow, Timestamp, Unit};
use heliograph_store::{DocumentWrite, ProviderStore, SensorSeen, SeriesChoice, SeriesRollups, SeriesSeen, Value, WindowRollup};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::backend::{ALL, Backend, STAMPS, gateway, minute, on_every_backend, power};

pub(crate) const QUARTER: i64 = 15 * 60_000;
const MAX_GAP: i64 = 40 * 60_000;
const NIGHT: i64 = 3 * 3_600_000;
/// What the store takes for a sensor's most where no rating is known, W.
pub(crate) const MOST: f64 = 1e7;

/// A value for one series at one minute, in the order of arrival.
pub(crate) type Arrival = (usize, i64, f64);

/// Cases of each property.
pub(crate) const fn cases(backend: Backend) -> u32 {
    match backend {
        Backend::Sqlite => 60,
        Backend::Cassandra => 4,
    }
}

/// A gateway that no case before has used.
pub(crate) fn next_gateway() -> GatewayId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    gateway(&format!("gw-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) fn write(gateway: &GatewayId, arrivals: &[Arrival]) -> DocumentWrite {
    let series = Kind::ALL
        .iter()
        .map(|kind| SeriesSeen {
            sensor: 0,
            metric: MetricName::parse(kind.as_str()).unwrap(),
            unit: Unit::parse("Wh").unwrap(),
            kind: Some(*kind),
            quantity: None,
        })
        .collect();
    DocumentWrite {
        gateway: gateway.clone(),
        received: minute(100_000),
        stamp: STAMPS.next(minute(100_000)),
        address: "a:1".into(),
        sensors: vec![SensorSeen { id: SensorId::parse("s").unwrap(), role: None }],
        series,
        values: arrivals.iter().map(|(series, at, value)| Value { series: *series, time: minute(*at), value: *value }).collect(),
        quarantine: None,
    }
}

/// The readings of one series as they should be: the last of each minute.
pub(crate) fn settled(arrivals: &[Arrival], series: usize) -> Vec<(i64, f64)> {
    let mut by_minute = std::collections::BTreeMap::new();
    for (of, at, value) in arrivals {
        if *of == series {
            by_minute.insert(minute(*at).as_millis(), *value);
        }
    }
    by_minute.into_iter().collect()
}

/// All readings that count, by the rule in words: of a counter an impossible rise
/// that is gone at the next reading does not; a fall that is not borne out by the
/// next reading does not, unless it only undoes such a rise or, of a day counter,
/// nothing was heard of it for a night. Of a net counter what
/// goes where it cannot, or to nothing at once, does not until the next reading
/// stays there, and neither does a whole excursion. An interval's energy does not
/// that is more than a day's.
fn without_outliers(kind: Kind, all: &[(i64, f64)], most: f64) -> Vec<(i64, f64)> {
    let within = |change: f64, millis: i64| change <= most * (millis as f64 / 3.6e6 * 1.1 + 0.25);
    let possible = |a: (i64, f64), b: (i64, f64)| within(b.1 - a.1, b.0 - a.0);
    let spike = |i: usize| {
        i > 0
            && i + 1 < all.len()
            && !possible(all[i - 1], all[i])
            && all[i + 1].1 >= all[i - 1].1
            && all[i + 1].1 < all[i].1
            && possible(all[i - 1], all[i + 1])
    };
    let new_day = |i: usize| kind == Kind::DayCounter && all[i].0 - all[i - 1].0 >= NIGHT;
    let dip = |i: usize| {
        i > 0 && all[i].1 < all[i - 1].1 && (i + 1 == all.len() || all[i + 1].1 >= all[i - 1].1) && !spike(i - 1) && !new_day(i)
    };
    let away = |i: usize| {
        let way = (all[i].1 - all[i - 1].1).abs();
        !within(way, all[i].0 - all[i - 1].0) || zeroed(all, i - 1, i, i + 1, most)
    };
    let back =
        |i: usize| i > 0 && i + 1 < all.len() && (all[i + 1].1 - all[i - 1].1).abs() * 10.0 <= (all[i].1 - all[i - 1].1).abs();
    let excursion = |i: usize| back(i) && away(i);
    let counts = |i: &usize| {
        let i = *i;
        match kind {
            Kind::Counter | Kind::DayCounter => !spike(i) && !dip(i),
            Kind::NetCounter => i == 0 || excursion(i - 1) || !(excursion(i) || (i + 1 == all.len() && away(i))),
            Kind::IntervalEnergy => within(all[i].1.abs(), 86_400_000),
            Kind::Gauge => true,
        }
    };
    (0..all.len()).filter(counts).map(|i| all[i]).collect()
}

/// Whether a net counter falls to a hundredth, and that at more than twenty times
/// the pace of just before and of just after `next`.
fn zeroed(all: &[(i64, f64)], from: usize, to: usize, next: usize, most: f64) -> bool {
    let change = |i: usize, j: usize| ((all[j].1 - all[i].1).abs(), (all[j].0 - all[i].0) as f64);
    let pace = |i: usize, j: usize| match change(i, j) {
        (change, millis) if change <= most * (millis / 3.6e6 * 1.1 + 0.25) => change / millis,
        _ => 0.0,
    };
    let before = if from > 0 { pace(from - 1, from) } else { 0.0 };
    let after = if next + 1 < all.len() { pace(next, next + 1) } else { 0.0 };
    let (fall, millis) = change(from, to);
    all[to].1.abs() * 100.0 <= all[from].1.abs() && fall > 20.0 * before.max(after) * millis
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) count: u32,
    pub(crate) covered_ms: i64,
    pub(crate) positive: f64,
    pub(crate) negative: f64,
    pub(crate) increase: f64,
}

/// What a counter rose between two readings that count, by the rule in words: a
/// fall goes on over the end of a usual register if that keeps the pace (times
/// four) of the readings around it, else begins at zero where it is to half at
/// most, else is nothing.
fn rise(kind: Kind, all: &[(i64, f64)], (a, from): (i64, f64), (b, to): (i64, f64), most: f64) -> f64 {
    let possible = |rise: f64, millis: i64| rise.abs() <= most * (millis as f64 / 3.6e6 * 1.1 + 0.25);
    let judged = |rise: f64| if possible(rise, b - a) { rise } else { 0.0 };
    let place = |at: i64| all.iter().position(|(time, _)| *time == at).unwrap();
    if kind == Kind::NetCounter {
        let anew = zeroed(all, place(a), place(b), place(b), most);
        return judged(if anew { to } else { to - from });
    }
    if kind == Kind::DayCounter && b - a >= 86_400_000 {
        return if to < 0.0 { 0.0 } else { judged(to) };
    }
    if to >= from {
        return judged(to - from);
    }
    let pace = |pair: &[(i64, f64)]| {
        let (millis, rise) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        if rise <= most * (millis as f64 / 3.6e6 * 1.1 + 0.25) { rise / millis as f64 } else { 0.0 }
    };
    let before = place(a).checked_sub(1).map_or(0.0, |i| pace(&all[i..i + 2]));
    let after = if place(b) + 1 < all.len() { pace(&all[place(b)..place(b) + 2]) } else { 0.0 };
    let powers = (5..=15).map(|n| 10f64.powi(n));
    let mut ends: Vec<f64> =
        powers.chain([16, 24, 31, 32].iter().flat_map(|n| [1.0, 10.0, 100.0, 1e3].map(|step| 2f64.powi(*n) * step))).collect();
    ends.sort_by(f64::total_cmp);
    let wrapped = ends.into_iter().find(|end| *end > from).map(|end| end - from + to);
    match wrapped {
        Some(rise) if kind == Kind::Counter && to >= 0.0 && rise <= 4.0 * before.max(after) * (b - a) as f64 => judged(rise),
        _ if kind == Kind::Counter && to > from / 2.0 => 0.0,
        _ if to < 0.0 => 0.0,
        _ => judged(to),
    }
}

/// Adds every pair of neighbours to every window in turn.
pub(crate) fn add_up(kind: Kind, readings: &[(i64, f64)], start: i64, end: i64, most: f64) -> Expected {
    let kept = without_outliers(kind, readings, most);
    let mut sum =
        Expected { count: kept.iter().filter(|(at, _)| (start..end).contains(at)).count() as u32, ..Expected::default() };
    if kind == Kind::IntervalEnergy {
        sum.increase = kept.iter().filter(|(at, _)| (start..end).contains(at)).map(|(_, value)| value).sum();
    }
    for pair in kept.windows(2) {
        let ((a, from), (b, to)) = (pair[0], pair[1]);
        let shared = b.min(end) - a.max(start);
        // Only a counter goes on over a reading that does not count.
        let between = readings.iter().any(|(at, _)| a < *at && *at < b);
        let linked = b - a <= MAX_GAP && (kind.accumulates() || !between);
        if linked && shared > 0 {
            sum.covered_ms += shared;
            if kind == Kind::Gauge {
                // One millisecond grid is exact for lines but for crossings,
                // which 4,000 slices bring within the tolerance.
                let slices = 4_000;
                for slice in 0..slices {
                    let at = a.max(start) as f64 + (f64::from(slice) + 0.5) * shared as f64 / f64::from(slices);
                    let value = from + (to - from) * (at - a as f64) / (b - a) as f64;
                    let area = value * shared as f64 / f64::from(slices) / 3.6e6;
                    if value > 0.0 { sum.positive += area } else { sum.negative += area }
                }
            }
        }
        if kind.accumulates() {
            let rise = rise(kind, readings, (a, from), (b, to), most);
            if linked && shared > 0 {
                sum.increase += rise * shared as f64 / (b - a) as f64;
            } else if !linked && (start..end).contains(&b) {
                sum.increase += rise;
            }
        }
    }
    sum
}

fn close(a: f64, b: f64, size: f64) -> bool {
    (a - b).abs() <= 1e-6 * size + 1e-3
}

/// Holds what was found against what is expected of the windows of a day.
pub(crate) fn compare(
    kind: Kind,
    readings: &str,
    expected: impl Fn(i64) -> Expected,
    found: &[WindowRollup],
) -> Result<(), TestCaseError> {
    let first = minute(-360).as_millis();
    let steps = 0..100;
    let outside = |window: &&WindowRollup| !steps.contains(&((window.start.as_millis() - first) / QUARTER));
    prop_assert_eq!(found.iter().find(outside), None);
    for step in steps.clone() {
        let start = first + step * QUARTER;
        let want = expected(start);
        let got = found.iter().find(|window| window.start.as_millis() == start).map(|window| window.rollup);
        let summary = format!("{kind} window {step}: {want:?} != {got:?}\n{readings}");
        match got {
            None => prop_assert!(want.count == 0 && want.covered_ms == 0 && want.increase == 0.0, "{}", summary),
            Some(got) => {
                prop_assert_eq!(got.count, want.count, "{}", &summary);
                prop_assert_eq!(i64::from(got.covered_ms), want.covered_ms, "{}", &summary);
                let size = want.positive - want.negative;
                prop_assert!(
                    close(got.positive, want.positive, size) && close(got.negative, want.negative, size),
                    "{}",
                    &summary
                );
                prop_assert!(close(got.increase, want.increase, want.increase.abs()), "{}", &summary);
            }
        }
    }
    Ok(())
}

/// Readings with repeats, late ones, resets, spikes and gaps, in several documents.
pub(crate) fn arrivals() -> impl Strategy<Value = Vec<Vec<Arrival>>> {
    let value = prop_oneof![
        4 => 0.0..1e6f64,
        2 => Just(0.0),
        2 => -500.0..500.0f64,
        1 => Just(9e9),
        1 => (0u32..100).prop_map(|n| 1e5 - f64::from(n)),
        3 => (0u32..100).prop_map(|n| f64::from(n) * 1000.0),
    ];
    let minute = prop_oneof![0..700i64, (0..46i64).prop_map(|quarter| quarter * 15)];
    let sparse = proptest::collection::vec((0..Kind::ALL.len(), minute, value.clone()), 1..30);
    // Many readings a window, as gateways push them that measure each minute.
    let minutes = (0..Kind::ALL.len(), 0..120i64, proptest::collection::vec(value, 1..40));
    let dense =
        minutes.prop_map(|(series, first, values)| (first..).zip(values).map(|(at, value)| (series, at, value)).collect());
    proptest::collection::vec(prop_oneof![2 => sparse, 1 => dense], 1..8)
}

#[tokio::test]
async fn only_chosen_series_have_windows_and_those_all_of_them() {
    for backend in ALL {
        let store = backend.fresh();
        let gateway = next_gateway();
        let values: Vec<Arrival> =
            (0..Kind::ALL.len()).flat_map(|series| (0..8).map(move |quarter| (series, quarter * 15, quarter as f64))).collect();
        store.document_write(write(&gateway, &values)).await.unwrap();
        let all = store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
        let chosen = |kind: Kind| matches!(kind, Kind::Gauge | Kind::DayCounter);
        let some =
            store.rollup_list_of(&gateway, TimeWindow::ALWAYS, |_, series| matches!(series.kind, Kind::Gauge | Kind::DayCounter));
        let expected: Vec<_> = all
            .into_iter()
            .map(|series| if chosen(series.series.kind) { series } else { SeriesRollups { windows: Vec::new(), ..series } })
            .collect();
        assert_eq!(expected.iter().map(|series| series.windows.len()).sum::<usize>(), 16);
        assert_eq!(some.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn gateways_read_together_are_as_each_alone() {
    for backend in ALL {
        let store = backend.fresh();
        let chosen: SeriesChoice = |_, series| matches!(series.kind, Kind::Gauge | Kind::Counter);
        let mut asked = Vec::new();
        for number in 0..12_i64 {
            let gateway = next_gateway();
            // Some of them are settled already, the others have marks.
            let values = |from: i64| -> Vec<Arrival> {
                (0..Kind::ALL.len())
                    .flat_map(|series| (from..from + 20).map(move |step| (series, step * 7, (step * number) as f64)))
                    .collect()
            };
            store.document_write(write(&gateway, &values(0))).await.unwrap();
            if number % 3 == 0 {
                while store.rollup_settle().await.unwrap() > 0 {}
            }
            store.document_write(write(&gateway, &values(10))).await.unwrap();
            // Each has a period of its own.
            asked.push((gateway, TimeWindow::between(minute(number * 10), minute(210 - number))));
        }
        let nobody = (gateway("gw-nobody"), TimeWindow::ALWAYS);
        let with_nobody = [&asked[..5], &[nobody], &asked[5..]].concat();
        let together = store.rollup_list_of_many(with_nobody, chosen).await.unwrap();
        let mut alone = Vec::new();
        for (gateway, period) in asked {
            let rollups = store.rollup_list_of(&gateway, period, chosen).await.unwrap();
            alone.push((gateway, rollups));
        }
        assert!(alone.iter().all(|(_, rollups)| rollups.iter().any(|series| series.windows.len() > 3)), "{backend:?}");
        assert_eq!(together, alone, "{backend:?}");
        assert_eq!(store.rollup_list_of_many(Vec::new(), chosen).await.unwrap(), []);
    }
}

#[test]
fn many_marks_of_many_gateways_are_settled_before_they_are_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // More windows than one transaction settles.
        let store = Backend::Sqlite.fresh();
        let gateways: Vec<GatewayId> = (0..5).map(|_| next_gateway()).collect();
        for gateway in &gateways {
            let values: Vec<Arrival> = (0..700).map(|quarter| (0, quarter * 15, 1.0)).collect();
            store.document_write(write(gateway, &values)).await.unwrap();
        }
        let asked = gateways.iter().map(|gateway| (gateway.clone(), TimeWindow::ALWAYS)).collect();
        let read = store.rollup_list_of_many(asked, |_, _| true).await.unwrap();
        for (gateway, rollups) in read {
            let windows: usize = rollups.iter().map(|series| series.windows.len()).sum();
            assert_eq!(windows, 700, "{gateway}");
        }
        assert_eq!(store.rollup_settle().await.unwrap(), 0, "nothing is left to settle");
    });
}

#[test]
fn rollups_equal_a_brute_force_computation() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in ALL {
        let store = backend.fresh();
        let cases = cases(*backend);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        runner
            .run(&(arrivals(), any::<bool>()), |(documents, settle_between)| {
                let gateway = next_gateway();
                let found = runtime.block_on(async {
                    for document in &documents {
                        store.document_write(write(&gateway, document)).await.unwrap();
                        if settle_between {
                            while store.rollup_settle().await.unwrap() > 0 {}
                            store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
                        }
                    }
                    store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap()
                });
                let flat: Vec<Arrival> = documents.concat();
                for (series, kind) in Kind::ALL.iter().enumerate() {
                    let windows = found.iter().find(|f| f.series.kind == *kind).map(|f| f.windows.clone()).unwrap_or_default();
                    let readings = settled(&flat, series);
                    let want = |start| add_up(*kind, &readings, start, start + QUARTER, MOST);
                    compare(*kind, &format!("{readings:?}"), want, &windows)?;
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn what_lies_outside_a_window_has_no_part_in_what_is_seen_of_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in ALL {
        let store = backend.fresh();
        let cases = cases(*backend);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        runner
            .run(&(arrivals(), 0..600i64, 1..500i64, any::<bool>()), |(documents, from, length, open)| {
                let visible = TimeWindow { from: minute(from), until: (!open).then(|| minute(from + length)) };
                let inside: Vec<Vec<Arrival>> = documents
                    .iter()
                    .map(|document| document.iter().copied().filter(|(_, at, _)| visible.contains(minute(*at))).collect())
                    .collect();
                let see = |documents: &[Vec<Arrival>], visible| {
                    let gateway = next_gateway();
                    let store = &store;
                    runtime.block_on(async move {
                        // The series of both gateways come in the same order.
                        store.document_write(write(&gateway, &[])).await.unwrap();
                        for document in documents {
                            store.document_write(write(&gateway, document)).await.unwrap();
                        }
                        store.rollup_list(&gateway, TimeWindow::ALWAYS, visible).await.unwrap()
                    })
                };
                // As if nothing but what may be seen had ever been written.
                let (all, only) = (see(&documents, visible), see(&inside, TimeWindow::ALWAYS));
                for (all, only) in all.iter().zip(&only) {
                    prop_assert_eq!(&all.windows, &only.windows, "{}", all.series.kind);
                }
                Ok(())
            })
            .unwrap();
    }
}

async fn energies(store: &ProviderStore, visible: TimeWindow) -> Vec<(Timestamp, f64)> {
    let found = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, visible).await.unwrap();
    found[0].windows.iter().map(|window| (window.start, window.rollup.positive)).collect()
}

#[tokio::test]
async fn reading_rollups_settles_what_has_changed() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 400.0), (15, 400.0), (30, 400.0)])).await.unwrap();
        assert_eq!(energies(&store, TimeWindow::ALWAYS).await, [(minute(0), 100.0), (minute(15), 100.0), (minute(30), 0.0)]);
        store.document_write(power("gw-1", &[(15, 800.0)])).await.unwrap();
        assert_eq!(energies(&store, TimeWindow::ALWAYS).await, [(minute(0), 150.0), (minute(15), 150.0), (minute(30), 0.0)]);
    })
    .await;
}

#[tokio::test]
async fn first_and_latest_say_nothing_of_what_may_not_be_seen() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 1.0), (30, 2.0), (60, 3.0)])).await.unwrap();
        let see = |visible| {
            let store = store.store.clone();
            async move { store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, visible).await.unwrap().remove(0).series }
        };
        let later = see(TimeWindow { from: minute(10), until: None }).await;
        assert_eq!((later.first, later.latest.map(|sample| sample.at)), (Some(minute(10)), Some(minute(60))));
        let earlier = see(TimeWindow::between(minute(0), minute(45))).await;
        assert_eq!((earlier.first, earlier.latest), (Some(minute(0)), None));
        let never = see(TimeWindow::between(minute(-20), minute(-10))).await;
        assert_eq!((never.first, never.latest), (None, None));
    })
    .await;
}

#[tokio::test]
async fn an_owner_sees_a_cut_window_in_part() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &(0..=60).map(|i| (i, 600.0)).collect::<Vec<_>>())).await.unwrap();
        let seen = energies(&store, TimeWindow::between(minute(5), minute(40))).await;
        assert_eq!(seen.len(), 3);
        assert!((seen[0].1 - 100.0).abs() < 1e-9 && (seen[1].1 - 150.0).abs() < 1e-9, "{seen:?}");
        // The reading at minute 40 is outside, so the last minute is not covered.
        assert!((seen[2].1 - 90.0).abs() < 1e-9, "{seen:?}");
    })
    .await;
}

#[tokio::test]
async fn what_settling_leaves_for_a_while_is_counted() {
    on_every_backend(|store| async move {
        assert_eq!(store.rollup_waiting().await.unwrap(), 0);
        store.document_write(power("gw-1", &[(0, 100.0), (20, 100.0)])).await.unwrap();
        while store.rollup_settle().await.unwrap() > 0 {}
        // A mark of a cluster is not old enough yet; a file has none left.
        let waiting = store.rollup_waiting().await.unwrap();
        assert_eq!(waiting > 0, store.url.folder().is_none(), "{waiting}");
    })
    .await;
}
