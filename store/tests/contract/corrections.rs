//! Corrections, local days and months against computations that share no code
//! with them.

use std::collections::{BTreeMap, BTreeSet};

use heliograph_domain::{
    Correction, CorrectionId, CorrectionKind, CredentialId, GatewayId, KeyDigest, Kind, Location, LocationId, MetricName,
    RollupRule, Sample, SensorId, SeriesCorrections, SeriesKey, SpanStep, TimeWindow, Timestamp, Unit, Zone,
};
use heliograph_store::{
    CorrectionNew, CredentialNew, GatewayCommissioning, ProviderStore, SeriesSpans, StoreError, WindowRollup,
};
use jiff::civil;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::backend::{ALL, gateway, minute, on_every_backend};
use crate::rollups::{Arrival, Expected, MOST, QUARTER, add_up, arrivals, cases, compare, next_gateway, settled, write};

/// A change to a series: which one, from which minute, how long, what.
pub(crate) type Change = (usize, i64, i64, CorrectionKind);

fn key(gateway: &GatewayId, series: usize) -> SeriesKey {
    SeriesKey {
        gateway: gateway.clone(),
        sensor: SensorId::parse("s").unwrap(),
        metric: MetricName::parse(Kind::ALL[series].as_str()).unwrap(),
        unit: Unit::parse("Wh").unwrap(),
    }
}

fn made(gateway: &GatewayId, (series, from, length, kind): Change) -> CorrectionNew {
    let id = CorrectionId::new(Uuid::now_v7());
    let window = TimeWindow::between(minute(from), minute(from + length));
    CorrectionNew { id, series: key(gateway, series), window, kind, reason: "seen on site".to_owned() }
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<(Change, bool)>> {
    let kind = prop_oneof![
        Just(CorrectionKind::Exclude),
        (1..8i32, any::<bool>())
            .prop_map(|(n, falls)| CorrectionKind::Scale { factor: f64::from(if falls { -n } else { n }) / 2.0 }),
        (1..200i64, any::<bool>()).prop_map(|(n, back)| CorrectionKind::Shift { millis: 60_000 * if back { -n } else { n } }),
        (0..50_000i32).prop_map(|value| CorrectionKind::Manual { value: value.into() }),
        (0..50_000i32, 0..50_000i32)
            .prop_map(|(old, new)| CorrectionKind::MeterSwap { last_old: old.into(), first_new: new.into() }),
    ];
    let change = (0..Kind::ALL.len(), 0..700i64, prop_oneof![1..40i64, 40..400i64], kind);
    proptest::collection::vec((change, proptest::bool::weighted(0.3)), 0..7)
}

/// Those that a store takes, and that count in the end.
pub(crate) fn counting(all: &[(Change, bool)]) -> Vec<Change> {
    let swaps = |change: &Change| matches!(change.3, CorrectionKind::MeterSwap { .. });
    let taken = all.iter().filter(|(change, _)| !swaps(change) || Kind::ALL[change.0].accumulates());
    taken.filter(|(_, reverted)| !reverted).map(|(change, _)| *change).collect()
}

/// Writes some documents, makes changes and takes some back, in turns.
pub(crate) async fn fill(
    store: &ProviderStore,
    gateway: &GatewayId,
    documents: &[Vec<Arrival>],
    all: &[(Change, bool)],
    settle_between: bool,
) {
    store.document_write(write(gateway, &[])).await.unwrap();
    for turn in 0..documents.len().max(all.len()) {
        if let Some(document) = documents.get(turn) {
            store.document_write(write(gateway, document)).await.unwrap();
        }
        if settle_between {
            while store.rollup_settle().await.unwrap() > 0 {}
        }
        if let Some((change, reverted)) = all.get(turn) {
            let Ok(correction) = store.correction_create(made(gateway, *change)).await else { continue };
            if settle_between {
                while store.rollup_settle().await.unwrap() > 0 {}
            }
            if *reverted {
                store.correction_revert(correction.id).await.unwrap();
            }
        }
    }
}

/// The readings of a series as the changes leave them, by the rules in words, cut
/// where a meter was swapped.
pub(crate) fn corrected(kind: Kind, readings: &[(i64, f64)], changes: &[Change]) -> Vec<Vec<(i64, f64)>> {
    let span = |change: &Change| minute(change.1).as_millis()..minute(change.1 + change.2).as_millis();
    let mut moved: Vec<(bool, i64, i64, f64)> = readings
        .iter()
        .map(|(at, value)| {
            let shifts = changes.iter().filter(|change| span(change).contains(at));
            let by: i64 = shifts.map(|change| if let CorrectionKind::Shift { millis } = change.3 { millis } else { 0 }).sum();
            (by == 0, *at, at + by, *value)
        })
        .collect();
    // The later of these lies over the earlier: moved ones first, by their own time.
    moved.sort_by_key(|(stays, at, ..)| (*stays, *at));
    let mut left: BTreeMap<i64, f64> = moved.into_iter().map(|(_, _, at, value)| (at, value)).collect();
    left.retain(|at, _| !changes.iter().any(|change| change.3 == CorrectionKind::Exclude && span(change).contains(at)));
    for change in changes {
        let CorrectionKind::Manual { value } = change.3 else { continue };
        left.retain(|at, _| !span(change).contains(at));
        left.insert(span(change).start, value);
        if kind == Kind::Gauge {
            let quarters = span(change).start / QUARTER + 1..=(span(change).end - 1) / QUARTER;
            left.extend(quarters.map(|number| (number * QUARTER, value)));
            left.insert(span(change).end - 1, value);
        }
    }
    let mut meters = vec![Vec::new()];
    let mut swaps = BTreeMap::new();
    for change in changes.iter().filter(|_| kind.accumulates()) {
        if let CorrectionKind::MeterSwap { last_old, first_new } = change.3 {
            swaps.insert(span(change).start, (last_old, first_new));
            left.entry(span(change).start).or_insert(first_new);
        }
    }
    // Of two swaps at once the later one counts, also for the first value.
    for (at, (_, first_new)) in &swaps {
        if !readings_hold(kind, readings, changes, *at) {
            left.insert(*at, *first_new);
        }
    }
    for (at, value) in left {
        if let Some((last_old, _)) = swaps.get(&at) {
            meters.last_mut().unwrap().push((at, *last_old));
            meters.push(Vec::new());
        }
        meters.last_mut().unwrap().push((at, value));
    }
    meters
}

/// Whether there is a reading of an instant without any meter swap.
fn readings_hold(kind: Kind, readings: &[(i64, f64)], changes: &[Change], at: i64) -> bool {
    let others: Vec<Change> =
        changes.iter().filter(|change| !matches!(change.3, CorrectionKind::MeterSwap { .. })).copied().collect();
    corrected(kind, readings, &others).concat().iter().any(|(time, _)| *time == at)
}

/// What is expected of a window, each stretch of it with its own scale.
pub(crate) fn expected(kind: Kind, meters: &[Vec<(i64, f64)>], changes: &[Change], start: i64) -> Expected {
    let scales: Vec<(i64, i64, f64)> = changes
        .iter()
        .filter_map(|change| match change.3 {
            CorrectionKind::Scale { factor } => {
                Some((minute(change.1).as_millis(), minute(change.1 + change.2).as_millis(), factor))
            }
            _ => None,
        })
        .collect();
    let mut cuts: BTreeSet<i64> = scales.iter().flat_map(|(from, until, _)| [*from, *until]).collect();
    cuts.retain(|at| start < *at && *at < start + QUARTER);
    cuts.extend([start, start + QUARTER]);
    let cuts: Vec<i64> = cuts.into_iter().collect();
    let mut sum = Expected::default();
    for part in cuts.windows(2) {
        let factor: f64 =
            scales.iter().filter(|(from, until, _)| (*from..*until).contains(&part[0])).map(|(.., factor)| factor).product();
        for meter in meters {
            let added = add_up(kind, meter, part[0], part[1], MOST / factor.abs());
            sum.count += added.count;
            sum.covered_ms += added.covered_ms;
            sum.increase += factor * added.increase;
            let (plus, minus) = if factor < 0.0 { (added.negative, added.positive) } else { (added.positive, added.negative) };
            sum.positive += factor * plus;
            sum.negative += factor * minus;
        }
    }
    sum
}

#[test]
fn corrected_rollups_equal_a_brute_force_computation() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in ALL {
        let store = backend.fresh();
        let mut runner = TestRunner::new(Config {
            cases: cases(*backend),
            failure_persistence: None,
            max_shrink_iters: 300,
            ..Config::default()
        });
        runner
            .run(&(arrivals(), changes(), any::<bool>()), |(documents, all, settle_between)| {
                let gateway = next_gateway();
                let found = runtime.block_on(async {
                    fill(&store, &gateway, &documents, &all, settle_between).await;
                    store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap()
                });
                let flat: Vec<Arrival> = documents.concat();
                for (series, kind) in Kind::ALL.iter().enumerate() {
                    let windows = found.iter().find(|f| f.series.kind == *kind).map(|f| f.windows.clone()).unwrap_or_default();
                    let changes: Vec<Change> = counting(&all).into_iter().filter(|change| change.0 == series).collect();
                    let meters = corrected(*kind, &settled(&flat, series), &changes);
                    let want = |start| expected(*kind, &meters, &changes, start);
                    compare(*kind, &format!("{meters:?} {changes:?}"), want, &windows)?;
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_part_of_time_is_seen_as_corrected_and_without_the_rest() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in ALL {
        let store = backend.fresh();
        let mut runner = TestRunner::new(Config {
            cases: cases(*backend),
            failure_persistence: None,
            max_shrink_iters: 300,
            ..Config::default()
        });
        runner
            .run(&(arrivals(), changes(), 0..600i64, 1..500i64, any::<bool>()), |(documents, all, from, length, open)| {
                let visible = TimeWindow { from: minute(from), until: (!open).then(|| minute(from + length)) };
                let gateway = next_gateway();
                let (found, corrections) = runtime.block_on(async {
                    fill(&store, &gateway, &documents, &all, false).await;
                    let found = store.rollup_list(&gateway, TimeWindow::ALWAYS, visible).await.unwrap();
                    (found, store.correction_list().await.unwrap())
                });
                for (series, kind) in Kind::ALL.iter().enumerate() {
                    let Some(found) = found.iter().find(|found| found.series.kind == *kind) else { continue };
                    let own =
                        SeriesCorrections::of(corrections.iter().filter(|correction| correction.series == key(&gateway, series)));
                    let raw = settled(&documents.concat(), series);
                    let raw: Vec<Sample> =
                        raw.into_iter().map(|(at, value)| Sample { at: Timestamp::clamped(at), value }).collect();
                    let samples = own.apply(*kind, visible, &raw);
                    let want: Vec<WindowRollup> = (-30..90)
                        .filter_map(|step| {
                            let start = minute(step * 15);
                            let (begin, end) = (start.max(visible.from), start.plus_millis(QUARTER).min(visible.end()));
                            let rollup =
                                own.roll_up_span(&RollupRule::of(*kind), begin, end, &samples).filter(|_| begin < end)?;
                            Some(WindowRollup { start, rollup })
                        })
                        .collect();
                    prop_assert_eq!(&found.windows, &want, "{} {:?}", kind, all);
                }
                Ok(())
            })
            .unwrap();
    }
}

const ZONES: [&str; 4] = ["UTC", "Europe/Madrid", "Asia/Kolkata", "America/St_Johns"];

pub(crate) fn location(number: u128, zone: &str) -> Location {
    let zone = Zone::parse(zone).unwrap();
    Location { id: LocationId::new(Uuid::from_u128(number)), name: "x".into(), zone, position: None, installed_kwp: None }
}

pub(crate) async fn place(store: &ProviderStore, gateway: &GatewayId, number: u128, from: Timestamp) {
    let commissioning = GatewayCommissioning {
        gateway: gateway.clone(),
        label: None,
        location: LocationId::new(Uuid::from_u128(number)),
        from,
        credential: CredentialNew { id: CredentialId::new(Uuid::now_v7()), digest: KeyDigest([7; 32]) },
        at: from,
    };
    store.gateway_commission(commissioning).await.unwrap();
}

/// The windows of a series by the local day or month that each lies in.
fn by_calendar(step: SpanStep, windows: &[WindowRollup], zone_at: impl Fn(Timestamp) -> Zone) -> Vec<(Zone, Vec<WindowRollup>)> {
    let mut groups: Vec<(civil::Date, Zone, Vec<WindowRollup>)> = Vec::new();
    for window in windows {
        let zone = zone_at(window.start);
        let day = zone.civil(window.start).date();
        let date = if step == SpanStep::Month { day.first_of_month() } else { day };
        match groups.last_mut() {
            Some((known, there, group)) if *known == date && *there == zone => group.push(*window),
            _ => groups.push((date, zone, vec![*window])),
        }
    }
    groups.into_iter().map(|(_, zone, group)| (zone, group)).collect()
}

fn same_sums(found: &SeriesSpans, groups: &[(Zone, Vec<WindowRollup>)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.spans.len(), groups.len());
    for (span, (zone, windows)) in found.spans.iter().zip(groups) {
        let sum = |of: fn(&WindowRollup) -> f64| windows.iter().map(of).sum::<f64>();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs())) + 1e-3;
        let rollup = &span.rollup;
        prop_assert_eq!(&span.span.zone, zone);
        prop_assert!(span.span.start <= windows[0].start && windows[windows.len() - 1].start < span.span.end);
        prop_assert_eq!(rollup.count, windows.iter().map(|window| window.rollup.count).sum::<u32>());
        prop_assert_eq!(rollup.covered_ms, windows.iter().map(|window| window.rollup.covered_ms).sum::<u32>());
        prop_assert!(close(rollup.positive, sum(|window| window.rollup.positive)));
        prop_assert!(close(rollup.negative, sum(|window| window.rollup.negative)));
        prop_assert!(close(rollup.increase, sum(|window| window.rollup.increase)));
        prop_assert_eq!(rollup.flags.reset, windows.iter().any(|window| window.rollup.flags.reset));
        let held = || windows.iter().filter(|window| window.rollup.count > 0);
        let least = held().map(|window| window.rollup.min).fold(f64::INFINITY, f64::min);
        prop_assert!(rollup.count == 0 || rollup.min == least);
        prop_assert!(rollup.count == 0 || rollup.last == held().next_back().unwrap().rollup.last);
    }
    Ok(())
}

#[test]
fn local_days_and_months_are_the_sums_of_their_windows() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let zone = || proptest::sample::select(&ZONES[..]);
    let days = || proptest::collection::vec(-20..20i64, 1..5);
    for backend in ALL {
        let store = backend.fresh();
        let cases = cases(*backend);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() });
        let input = (arrivals(), changes(), days(), [zone(), zone(), zone()], 0..700i64, any::<bool>());
        runner
            .run(&input, |(documents, all, days, zones, moved, settle_between)| {
                // A day apart, around a turn of months.
                let later = |documents: &[Vec<Arrival>], days: i64| -> Vec<Vec<Arrival>> {
                    let document = |d: &Vec<Arrival>| d.iter().map(|(series, at, v)| (*series, at + days * 1440, *v)).collect();
                    documents.iter().map(document).collect()
                };
                let gateway = next_gateway();
                let moved = minute(moved);
                runtime.block_on(async {
                    store.location_save(location(1, zones[0])).await.unwrap();
                    store.location_save(location(2, zones[1])).await.unwrap();
                    place(&store, &gateway, 1, minute(-30 * 1440)).await;
                    for days in &days {
                        fill(&store, &gateway, &later(&documents, *days), &[], settle_between).await;
                    }
                    fill(&store, &gateway, &[], &all, settle_between).await;
                    while settle_between && store.rollup_settle().await.unwrap() > 0 {}
                    store.gateway_move(&gateway, location(2, zones[1]).id, moved).await.unwrap();
                    while settle_between && store.rollup_settle().await.unwrap() > 0 {}
                    store.location_save(location(1, zones[2])).await.unwrap();
                });
                let zone_at = |start: Timestamp| {
                    let name = match () {
                        () if start < minute(-30 * 1440) => "UTC",
                        () if start < moved => zones[2],
                        () => zones[1],
                    };
                    Zone::parse(name).unwrap()
                };
                for step in SpanStep::ALL {
                    let (windows, spans) = runtime.block_on(async {
                        let spans = store.span_list(&gateway, *step, TimeWindow::ALWAYS).await.unwrap();
                        (store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap(), spans)
                    });
                    for (windows, spans) in windows.iter().zip(&spans) {
                        prop_assert_eq!(&windows.series.metric, &spans.series.metric);
                        same_sums(spans, &by_calendar(*step, &windows.windows, zone_at))?;
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}

#[tokio::test]
async fn what_a_corrected_counter_rose_over_a_gap_stays_when_windows_after_it_are_rolled_up_anew() {
    for backend in ALL {
        let store = backend.fresh();
        let gateway = next_gateway();
        let of = |kind: Kind| Kind::ALL.iter().position(|other| *other == kind).unwrap();
        let (counter, gauge) = (of(Kind::Counter), of(Kind::Gauge));
        // Half a day and more without a reading, and then one each minute.
        let mut readings: Vec<Arrival> = (0..20).map(|minute| (counter, minute, 1000.0 + minute as f64)).collect();
        readings.extend((1005..1020).map(|minute| (counter, minute, 500.0 + minute as f64)));
        store.document_write(write(&gateway, &readings)).await.unwrap();
        let scaled = made(&gateway, (counter, 300, 10, CorrectionKind::Scale { factor: 2.0 }));
        store.correction_create(scaled).await.unwrap();
        let windows = async || {
            let found = store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
            found.into_iter().find(|found| found.series.kind == Kind::Counter).unwrap().windows
        };
        let before = windows().await;
        assert_eq!(before.iter().map(|window| window.rollup.increase).sum::<f64>(), 519.0, "{backend:?}");
        store.document_write(write(&gateway, &[(gauge, 1100, 1.0)])).await.unwrap();
        assert_eq!(windows().await, before, "{backend:?}");
    }
}

#[tokio::test]
async fn corrections_are_kept_with_who_made_them_and_why() {
    on_every_backend(|store| async move {
        store.document_write(write(&gateway("gw-1"), &[(0, 5, 100.0), (0, 10, 100.0)])).await.unwrap();
        let exclude = (0, 5, 10, CorrectionKind::Exclude);
        let correction =
            store.acting_as(heliograph_domain::Actor::Operator).correction_create(made(&gateway("gw-1"), exclude)).await.unwrap();
        assert_eq!((correction.by.as_str(), correction.reason.as_str()), ("operator", "seen on site"));
        assert_eq!(store.correction_list().await.unwrap(), std::slice::from_ref(&correction));
        let windows = |store: ProviderStore| async move {
            let found = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
            found.iter().find(|found| found.series.metric.as_str() == "gauge").unwrap().windows.len()
        };
        assert_eq!(windows(store.store.clone()).await, 0);
        let reverted = store.correction_revert(correction.id).await.unwrap();
        assert_eq!(reverted.reverted.as_ref().map(|reverted| reverted.by.as_str()), Some("system:store"));
        assert_eq!(store.correction_list().await.unwrap(), [reverted]);
        assert_eq!(windows(store.store.clone()).await, 1);
        assert!(matches!(store.correction_revert(correction.id).await, Err(StoreError::Conflict(_))), "twice");
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await.unwrap();
        assert_eq!(page.rows.len(), 2, "readings are not touched");
    })
    .await;
}

#[tokio::test]
async fn corrections_that_cannot_be_are_refused() {
    on_every_backend(|store| async move {
        store.document_write(write(&gateway("gw-1"), &[(0, 5, 100.0)])).await.unwrap();
        let refused = |new: CorrectionNew| {
            let store = store.store.clone();
            async move { store.correction_create(new).await.unwrap_err() }
        };
        let exclude = (0, 5, 10, CorrectionKind::Exclude);
        let unknown = CorrectionNew {
            series: SeriesKey { gateway: gateway("gw-9"), ..key(&gateway("gw-1"), 0) },
            ..made(&gateway("gw-1"), exclude)
        };
        assert!(matches!(refused(unknown).await, StoreError::NotFound(_)));
        let unit = Unit::parse("kWh").unwrap();
        let unknown = CorrectionNew { series: SeriesKey { unit, ..key(&gateway("gw-1"), 0) }, ..made(&gateway("gw-1"), exclude) };
        assert!(matches!(refused(unknown).await, StoreError::NotFound(_)));
        let swap = (0, 5, 1, CorrectionKind::MeterSwap { last_old: 1.0, first_new: 0.0 });
        assert!(matches!(refused(made(&gateway("gw-1"), swap)).await, StoreError::Conflict(_)));
        let unreasoned = CorrectionNew { reason: String::new(), ..made(&gateway("gw-1"), exclude) };
        assert!(matches!(refused(unreasoned).await, StoreError::Conflict(_)));
        let first = made(&gateway("gw-1"), exclude);
        store.correction_create(first.clone()).await.unwrap();
        assert!(matches!(refused(first).await, StoreError::Conflict(_)), "the same id twice");
        assert_eq!(store.correction_list().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_correction_follows_a_series_into_another_kind() {
    on_every_backend(|store| async move {
        store.document_write(write(&gateway("gw-1"), &[(0, 5, 100.0), (0, 300, 200.0)])).await.unwrap();
        let manual: Correction =
            store.correction_create(made(&gateway("gw-1"), (0, 60, 60, CorrectionKind::Manual { value: 50.0 }))).await.unwrap();
        let increase = |store: ProviderStore| async move {
            let found = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
            found
                .iter()
                .find(|found| found.series.metric.as_str() == "gauge")
                .unwrap()
                .windows
                .iter()
                .map(|window| (window.rollup.positive, window.rollup.increase))
                .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
        };
        let (positive, _) = increase(store.store.clone()).await;
        assert!((positive - 50.0).abs() < 0.01, "{positive}");
        store.series_classify(key(&gateway("gw-1"), 0), Kind::IntervalEnergy, heliograph_domain::Quantity::Other).await.unwrap();
        assert_eq!(increase(store.store.clone()).await, (0.0, 350.0));
        store.correction_revert(manual.id).await.unwrap();
        assert_eq!(increase(store.store.clone()).await, (0.0, 300.0));
    })
    .await;
}
