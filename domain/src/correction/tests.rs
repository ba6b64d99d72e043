//! What is expected of `correction`.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::{GatewayId, MetricName, SensorId};
use crate::unit::Unit;

const MINUTE: i64 = 60_000;

fn at(minute: i64) -> Timestamp {
    Timestamp::clamped(minute * MINUTE)
}

fn window(from: i64, until: i64) -> TimeWindow {
    TimeWindow::between(at(from), at(until))
}

fn made(number: u128, window: TimeWindow, kind: CorrectionKind) -> Correction {
    let series = SeriesKey {
        gateway: GatewayId::parse("gw").unwrap(),
        sensor: SensorId::parse("s").unwrap(),
        metric: MetricName::parse("m").unwrap(),
        unit: Unit::parse("Wh").unwrap(),
    };
    let id = CorrectionId::new(Uuid::from_u128(number));
    Correction {
        id,
        series,
        window,
        kind,
        reason: "seen".to_owned(),
        by: "operator".to_owned(),
        at: at(number as i64),
        reverted: None,
    }
}

fn one(window: TimeWindow, kind: CorrectionKind) -> SeriesCorrections {
    SeriesCorrections::of(&[made(1, window, kind)])
}

fn series(values: &[(i64, f64)]) -> Vec<Sample> {
    values.iter().map(|(minute, value)| Sample { at: at(*minute), value: *value }).collect()
}

fn apply(corrections: &SeriesCorrections, kind: Kind, values: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let samples = corrections.apply(kind, TimeWindow::ALWAYS, &series(values));
    samples.iter().map(|sample| (sample.at.as_millis().div_euclid(MINUTE), sample.value)).collect()
}

fn total(corrections: &SeriesCorrections, kind: Kind, values: &[(i64, f64)]) -> Rollup {
    let samples = corrections.apply(kind, TimeWindow::ALWAYS, &series(values));
    corrections.roll_up_span(&RollupRule::of(kind), at(-1000), at(10_000), &samples).unwrap()
}

#[test]
fn what_is_excluded_is_as_if_it_had_never_been_read() {
    let left = apply(&one(window(5, 10), CorrectionKind::Exclude), Kind::Gauge, &[(0, 1.0), (5, 2.0), (9, 3.0), (10, 4.0)]);
    assert_eq!(left, [(0, 1.0), (10, 4.0)]);
}

#[test]
fn a_shift_moves_readings_and_leaves_those_that_are_there() {
    let shift = one(window(60, 120), CorrectionKind::Shift { millis: -60 * MINUTE });
    let moved = apply(&shift, Kind::Gauge, &[(5, 1.0), (65, 2.0), (70, 3.0), (120, 4.0)]);
    assert_eq!(moved, [(5, 1.0), (10, 3.0), (120, 4.0)]);
    assert_eq!(shift.sources(window(0, 30)), [window(0, 30), window(60, 90)]);
    assert_eq!(shift.sources(window(50, 130)), [window(50, 60), window(110, 130)]);
    assert_eq!(shift.targets(window(50, 130)), [window(0, 60), window(120, 130)]);
}

#[test]
fn a_manual_value_holds_for_a_gauge_and_is_one_reading_else() {
    let manual = one(window(10, 70), CorrectionKind::Manual { value: 600.0 });
    let rollup = total(&manual, Kind::Gauge, &[(0, 600.0), (20, 9e6), (70, 600.0)]);
    assert!((rollup.positive - 700.0).abs() < 1e-9, "{}", rollup.positive);
    assert_eq!(rollup.covered_ms, 70 * 60_000);
    assert_eq!(
        apply(&manual, Kind::IntervalEnergy, &[(0, 1.0), (20, 2.0), (69, 3.0), (70, 4.0)]),
        [(0, 1.0), (10, 600.0), (70, 4.0)]
    );
}

#[test]
fn a_swapped_meter_counts_to_the_last_value_and_from_the_first() {
    let swap = one(window(7, 8), CorrectionKind::MeterSwap { last_old: 1_004.0, first_new: 20.0 });
    let rollup = total(&swap, Kind::Counter, &[(0, 1000.0), (5, 1002.0), (10, 23.0), (15, 25.0)]);
    assert_eq!(rollup.increase, 2.0 + 2.0 + 3.0 + 2.0);
    assert_eq!(rollup.covered_ms, 15 * 60_000);
    assert_eq!(rollup.flags, crate::RollupFlags::default());
    // A reading of that very instant is the new meter's.
    let rollup = total(&swap, Kind::Counter, &[(0, 1000.0), (7, 23.0), (15, 25.0)]);
    assert_eq!(rollup.increase, 4.0 + 2.0);
}

#[test]
fn a_scaled_counter_does_not_jump_where_the_scale_begins_and_ends() {
    let scale = one(window(20, 50), CorrectionKind::Scale { factor: 10.0 });
    let values: Vec<_> = (0..=6).map(|step| (step * 10, 1e6 + step as f64 * 10.0)).collect();
    let rollup = total(&scale, Kind::Counter, &values);
    assert_eq!(rollup.increase, 30.0 + 300.0);
    // An edge between two readings cuts the line between them.
    let scale = one(window(25, 50), CorrectionKind::Scale { factor: 10.0 });
    assert_eq!(total(&scale, Kind::Counter, &values).increase, 35.0 + 250.0);
}

#[test]
fn a_scale_turns_the_sign_of_power() {
    let scale = one(TimeWindow::ALWAYS, CorrectionKind::Scale { factor: -2.0 });
    let rollup = total(&scale, Kind::Gauge, &[(0, 100.0), (30, 100.0)]);
    assert_eq!((rollup.positive, rollup.negative), (0.0, -100.0));
    assert_eq!((rollup.min, rollup.max), (-200.0, -200.0));
}

#[test]
fn what_is_plausible_is_judged_after_scaling() {
    // A meter that counts in mWh.
    let values = [(0, 0.0), (5, 50e6), (10, 100e6)];
    assert!(total(&SeriesCorrections::default(), Kind::Counter, &values).flags.implausible);
    let rollup = total(&one(TimeWindow::ALWAYS, CorrectionKind::Scale { factor: 1e-3 }), Kind::Counter, &values);
    assert!(!rollup.flags.implausible);
    assert!((rollup.increase - 100e3).abs() < 1e-6, "{}", rollup.increase);
}

#[test]
fn a_correction_that_was_taken_back_does_nothing() {
    let mut correction = made(1, window(0, 100), CorrectionKind::Exclude);
    correction.reverted = Some(Reverted { by: "operator".to_owned(), at: at(9) });
    assert!(SeriesCorrections::of(&[correction]).is_empty());
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    let check = |kind, window| made(1, window, kind).check(Kind::Gauge).is_ok();
    assert!(check(CorrectionKind::Exclude, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::Exclude, window(5, 5)));
    assert!(!check(CorrectionKind::Scale { factor: 0.0 }, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::Scale { factor: f64::NAN }, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::Shift { millis: 0 }, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::Shift { millis: i64::MIN }, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::Manual { value: 1.0 }, TimeWindow::ALWAYS));
    assert!(!check(CorrectionKind::MeterSwap { last_old: 1.0, first_new: 1.0 }, TimeWindow::ALWAYS));
    let unreasoned = Correction { reason: " ".to_owned(), ..made(1, window(0, 1), CorrectionKind::Exclude) };
    assert!(unreasoned.check(Kind::Gauge).is_err());
}

fn any_kind() -> impl Strategy<Value = CorrectionKind> {
    prop_oneof![
        Just(CorrectionKind::Exclude),
        (-3.0..3.0f64).prop_map(|factor| CorrectionKind::Scale { factor: if factor == 0.0 { 1.0 } else { factor } }),
        (-200..200i64).prop_map(|minutes| CorrectionKind::Shift { millis: minutes * MINUTE }),
        (0.0..50_000.0f64).prop_map(|value| CorrectionKind::Manual { value }),
        (0.0..50_000.0f64, 0.0..50_000.0f64).prop_map(|(last_old, first_new)| CorrectionKind::MeterSwap { last_old, first_new }),
    ]
}

fn any_corrections() -> impl Strategy<Value = Vec<Correction>> {
    let any = (0..600i64, 1..300i64, any_kind());
    proptest::collection::vec(any, 0..5).prop_map(|all| {
        let numbered = (1..).zip(all);
        numbered.map(|(number, (from, length, kind))| made(number, window(from, from + length), kind)).collect()
    })
}

fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    let value = prop_oneof![0.0..50_000.0f64, Just(0.0), -100.0..100.0f64, Just(9e9)];
    proptest::collection::btree_map(0..900i64, value, 0..80)
        .prop_map(|rows| rows.into_iter().map(|(minute, value)| Sample { at: at(minute), value }).collect())
}

fn windows_of(corrections: &SeriesCorrections, rule: &RollupRule, raw: &[Sample]) -> Vec<Option<Rollup>> {
    let samples = corrections.apply(rule.kind, TimeWindow::ALWAYS, raw);
    (-20..90).map(|number| corrections.roll_up(rule, Timestamp::clamped(number * WINDOW_MS), &samples)).collect()
}

proptest! {
    #[test]
    fn corrected_samples_are_in_order_and_depend_on_their_sources_only(
        corrections in any_corrections(), raw in any_samples(), from in -100..800i64, length in 1..300i64,
        kind in proptest::sample::select(Kind::ALL),
    ) {
        let corrections = SeriesCorrections::of(&corrections);
        let wanted = window(from, from + length);
        let sources = corrections.sources(wanted);
        prop_assert!(sources.windows(2).all(|pair| pair[0].end() < pair[1].from));
        let all = corrections.apply(kind, TimeWindow::ALWAYS, &raw);
        prop_assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let needed: Vec<Sample> = raw.iter().copied().filter(|s| sources.iter().any(|window| window.contains(s.at))).collect();
        let inside: Vec<Sample> = all.into_iter().filter(|sample| wanted.contains(sample.at)).collect();
        prop_assert_eq!(corrections.apply(kind, wanted, &needed), inside);
    }

    #[test]
    fn the_order_in_which_they_were_made_plays_no_part(mut all in any_corrections(), raw in any_samples(), kind in proptest::sample::select(Kind::ALL)) {
        // But where two put a value in place of the same readings.
        let mut manual = 0;
        all.retain(|c| !matches!(c.kind, CorrectionKind::Manual { .. } | CorrectionKind::MeterSwap { .. }) || { manual += 1; manual < 2 });
        let there = SeriesCorrections::of(&all);
        let count = all.len() as i64;
        for (number, correction) in (0i64..).zip(&mut all) {
            correction.at = at(count - number);
        }
        let back = SeriesCorrections::of(&all);
        prop_assert_eq!(there.apply(kind, TimeWindow::ALWAYS, &raw), back.apply(kind, TimeWindow::ALWAYS, &raw));
    }

    #[test]
    fn a_correction_changes_what_it_touches_and_its_context_only(
        mut all in any_corrections(), added in (0..600i64, 1..300i64, any_kind()), raw in any_samples(), kind in proptest::sample::select(Kind::ALL),
    ) {
        let rule = RollupRule { max_rate: 10_000.0, ..RollupRule::of(kind) };
        let before = SeriesCorrections::of(&all);
        let correction = made(99, window(added.0, added.0 + added.1), added.2);
        all.push(correction.clone());
        let after = SeriesCorrections::of(&all);
        let touched = before.touched(&correction);
        let of = |corrections: &SeriesCorrections| corrections.apply(kind, TimeWindow::ALWAYS, &raw);
        let outside = |samples: Vec<Sample>| samples.into_iter().filter(|s| !touched.iter().any(|w| w.contains(s.at))).collect::<Vec<_>>();
        prop_assert_eq!(outside(of(&before)), outside(of(&after)));
        // Whoever makes it and takes it back has changed nothing.
        all.last_mut().unwrap().reverted = Some(Reverted { by: "operator".to_owned(), at: at(1) });
        prop_assert_eq!(windows_of(&SeriesCorrections::of(&all), &rule, &raw), windows_of(&before, &rule, &raw));
    }

    #[test]
    fn no_corrected_sample_lies_outside_the_extent(all in any_corrections(), raw in any_samples(), kind in proptest::sample::select(Kind::ALL)) {
        let (Some(first), Some(last)) = (raw.first(), raw.last()) else { return Ok(()) };
        let corrections = SeriesCorrections::of(&all);
        let (least, most) = corrections.extent(kind, Some((first.at, last.at))).unwrap();
        let samples = corrections.apply(kind, TimeWindow::ALWAYS, &raw);
        prop_assert!(samples.iter().all(|sample| least <= sample.at && sample.at <= most));
    }
}
