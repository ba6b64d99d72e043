//! Local days of 23, 24½ and 25 hours, and the months that hold them, against a
//! computation from readings that shares no code with them.

use std::collections::BTreeSet;

use heliograph_domain::{Kind, SpanStep, TimeWindow, Timestamp};
use heliograph_store::{ProviderStore, SpanRollup};
use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::backend::{ALL, at, minute};
use crate::corrections::{Change, changes, corrected, counting, expected, fill, location, place};
use crate::rollups::{Arrival, Expected, QUARTER, arrivals, cases, next_gateway, settled};

/// Where clocks change, on which day, and how many hours that has. On the last one none
/// does, and it begins at half past.
const DAYS: [(&str, Date, f64); 7] = [
    ("Europe/Madrid", date(2025, 3, 30), 23.0),
    ("Europe/Madrid", date(2025, 10, 26), 25.0),
    ("America/St_Johns", date(2025, 3, 9), 23.0),
    ("America/St_Johns", date(2025, 11, 2), 25.0),
    ("Australia/Lord_Howe", date(2025, 4, 6), 24.5),
    ("Australia/Lord_Howe", date(2025, 10, 5), 23.5),
    ("Asia/Kolkata", date(2025, 10, 26), 24.0),
];
/// Minutes around the beginning of that day in which anything may lie.
const NEAR: std::ops::Range<i64> = -2_100..3_000;

/// When the local day or month of a date begins, and when the next one does.
fn bounds(step: SpanStep, date: Date, zone: &str) -> [i64; 2] {
    let zone = TimeZone::get(zone).unwrap();
    let (first, last) = match step {
        SpanStep::Day => (date, date),
        SpanStep::Month => (date.first_of_month(), date.last_of_month()),
    };
    [first, last.tomorrow().unwrap()].map(|date| date.to_zoned(zone.clone()).unwrap().timestamp().as_millisecond())
}

#[test]
fn the_days_of_this_suite_have_as_many_hours_as_it_says() {
    for (zone, date, hours) in DAYS {
        let [start, end] = bounds(SpanStep::Day, date, zone);
        assert_eq!((end - start) as f64 / 3.6e6, hours, "{zone} {date}");
    }
}

/// What is expected of each quarter of an hour around a day in which there is anything.
fn quarters(kind: Kind, meters: &[Vec<(i64, f64)>], changes: &[Change], midnight: i64) -> Vec<(i64, Expected)> {
    let first = (midnight + NEAR.start * 60_000).div_euclid(QUARTER) * QUARTER;
    let starts = (0..(NEAR.end - NEAR.start) / 15).map(|number| first + number * QUARTER);
    starts.map(|start| (start, expected(kind, meters, changes, start))).collect()
}

fn sum(quarters: &[(i64, Expected)], [start, end]: [i64; 2]) -> Expected {
    let within = quarters.iter().filter(|(at, _)| (start..end).contains(at)).map(|(_, expected)| expected);
    within.fold(Expected::default(), |sum, part| Expected {
        count: sum.count + part.count,
        covered_ms: sum.covered_ms + part.covered_ms,
        positive: sum.positive + part.positive,
        negative: sum.negative + part.negative,
        increase: sum.increase + part.increase,
    })
}

/// Holds the days or months of a series against those that its quarters make.
fn compare(
    (step, day, zone): (SpanStep, Date, &str),
    quarters: &[(i64, Expected)],
    found: &[SpanRollup],
) -> Result<(), TestCaseError> {
    let dates = (-3..=3).map(|days| day.checked_add(days.days()).unwrap());
    let spans: BTreeSet<[i64; 2]> = dates.map(|date| bounds(step, date, zone)).collect();
    let mut held = 0;
    for [start, end] in spans {
        let want = sum(quarters, [start, end]);
        let got = found.iter().find(|span| span.span.start.as_millis() == start);
        let summary = format!("{step} of {start}: {want:?} != {got:?}");
        let Some(SpanRollup { span, rollup }) = got else {
            prop_assert!(want.count == 0 && want.covered_ms == 0 && want.increase == 0.0, "{}", summary);
            continue;
        };
        held += 1;
        prop_assert_eq!((span.end.as_millis(), span.zone.name()), (end, zone), "{}", &summary);
        prop_assert_eq!((rollup.count, i64::from(rollup.covered_ms)), (want.count, want.covered_ms), "{}", &summary);
        // A thousandth of each quarter's is within what each may differ by.
        let close = |a: f64, b: f64, size: f64| (a - b).abs() <= 1e-6 * size + 0.3;
        let size = want.positive - want.negative;
        prop_assert!(close(rollup.positive, want.positive, size) && close(rollup.negative, want.negative, size), "{}", &summary);
        let risen: f64 = quarters.iter().map(|(_, part)| part.increase.abs()).sum();
        prop_assert!(close(rollup.increase, want.increase, risen), "{}", &summary);
    }
    prop_assert_eq!(held, found.len(), "others than those: {:?}", found);
    Ok(())
}

/// Makes a place in each of the zones, once for all cases.
async fn places(store: &ProviderStore) {
    for (number, (zone, ..)) in (1..).zip(DAYS) {
        store.location_save(location(number, zone)).await.unwrap();
    }
}

#[test]
fn days_with_a_clock_change_and_their_months_are_what_their_readings_make() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shifts = || proptest::collection::vec(-1_400..1_400i64, 1..3);
    for backend in ALL {
        let store = backend.fresh();
        runtime.block_on(places(&store));
        let cases = cases(*backend);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 100, ..Config::default() });
        let input = (arrivals(), changes(), 0..DAYS.len(), shifts(), any::<bool>());
        runner
            .run(&input, |(documents, all, number, shifts, settle_between)| {
                let (zone, day, _) = DAYS[number];
                let midnight = bounds(SpanStep::Day, day, zone)[0];
                let base = (midnight - minute(0).as_millis()) / 60_000;
                let moved = |by: i64| documents.iter().map(move |document| shifted(document, base + by)).collect::<Vec<_>>();
                let documents: Vec<Vec<Arrival>> = shifts.iter().flat_map(|by| moved(*by)).collect();
                let shift = |((series, from, length, kind), reverted): &(Change, bool)| {
                    ((*series, from + base + shifts[0], *length, *kind), *reverted)
                };
                let all: Vec<(Change, bool)> = all.iter().map(shift).collect();
                let gateway = next_gateway();
                runtime.block_on(async {
                    place(&store, &gateway, number as u128 + 1, at("2025-01-01T00:00:00Z")).await;
                    fill(&store, &gateway, &documents, &all, settle_between).await;
                });
                let flat = documents.concat();
                for step in SpanStep::ALL {
                    let found = runtime.block_on(store.span_list(&gateway, *step, TimeWindow::ALWAYS)).unwrap();
                    for (series, kind) in Kind::ALL.iter().enumerate() {
                        let spans = found.iter().find(|found| found.series.kind == *kind).map(|found| found.spans.clone());
                        let changes: Vec<Change> = counting(&all).into_iter().filter(|change| change.0 == series).collect();
                        let meters = corrected(*kind, &settled(&flat, series), &changes);
                        let quarters = quarters(*kind, &meters, &changes, midnight);
                        compare((*step, day, zone), &quarters, &spans.unwrap_or_default())?;
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}

fn shifted(document: &[Arrival], by: i64) -> Vec<Arrival> {
    document.iter().map(|(series, at, value)| (*series, at + by, *value)).collect()
}

/// Readings of constant power all day: an hour less or more of it shows in the sum.
#[tokio::test]
async fn a_day_of_constant_power_has_the_energy_of_its_hours() {
    for backend in ALL {
        let store = backend.fresh();
        places(&store).await;
        for (number, (zone, day, hours)) in (1..).zip(DAYS) {
            let gateway = next_gateway();
            place(&store, &gateway, number, at("2025-01-01T00:00:00Z")).await;
            let [start, end] = bounds(SpanStep::Day, day, zone);
            let first = (start - minute(0).as_millis()) / 60_000;
            let gauge = Kind::ALL.iter().position(|kind| *kind == Kind::Gauge).unwrap();
            let values: Vec<Arrival> =
                (-2..=(end - start) / 900_000 + 2).map(|step| (gauge, first + step * 15, 1000.0)).collect();
            store.document_write(crate::rollups::write(&gateway, &values)).await.unwrap();
            let found = store.span_list(&gateway, SpanStep::Day, TimeWindow::ALWAYS).await.unwrap();
            let spans = &found.iter().find(|found| found.series.kind == Kind::Gauge).unwrap().spans;
            let of_day = spans.iter().find(|span| span.span.start == Timestamp::clamped(start)).unwrap();
            assert!((of_day.rollup.positive - 1000.0 * hours).abs() < 1e-6, "{backend:?} {zone} {day}: {of_day:?}");
        }
    }
}
