//! What is expected of `rollup`.

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;

fn series(values: &[(i64, f64)]) -> Vec<Sample> {
    values.iter().map(|(minute, value)| Sample { at: Timestamp::clamped(minute * MINUTE), value: *value }).collect()
}

fn at_minute(kind: Kind, start: i64, values: &[(i64, f64)]) -> Option<Rollup> {
    roll_up(&RollupRule { max_rate: 10_000.0, ..RollupRule::of(kind) }, Timestamp::clamped(start * MINUTE), &series(values))
}

#[test]
fn power_becomes_energy_along_the_line_between_readings() {
    let rollup = at_minute(Kind::Gauge, 0, &[(0, 0.0), (15, 4000.0)]).unwrap();
    assert_eq!((rollup.count, rollup.covered_ms), (1, 900_000));
    assert_eq!((rollup.positive, rollup.negative), (500.0, 0.0));
}

#[test]
fn both_signs_are_kept_apart() {
    let rollup = at_minute(Kind::Gauge, 0, &[(0, 1000.0), (15, -1000.0)]).unwrap();
    assert_eq!((rollup.positive, rollup.negative), (62.5, -62.5));
}

#[test]
fn a_gap_is_not_interpolated() {
    let values = [(0, 1000.0), (60, 1000.0)];
    assert_eq!(at_minute(Kind::Gauge, 0, &values).unwrap().covered_ms, 0);
    assert_eq!(at_minute(Kind::Gauge, 15, &values), None);
}

#[test]
fn one_missed_reading_is_bridged() {
    let rollup = at_minute(Kind::Gauge, 15, &[(0, 1000.0), (30, 1000.0)]).unwrap();
    assert_eq!((rollup.count, rollup.covered_ms, rollup.positive), (0, 900_000, 250.0));
}

#[test]
fn a_counter_rises_where_the_time_passed() {
    let values = [(5, 100.0), (20, 400.0), (30, 400.0)];
    assert_eq!(at_minute(Kind::Counter, 0, &values).unwrap().increase, 200.0);
    assert_eq!(at_minute(Kind::Counter, 15, &values).unwrap().increase, 100.0);
}

#[test]
fn over_a_gap_a_counter_counts_where_it_is_seen_again_and_says_so() {
    let values = [(0, 100.0), (600, 900.0), (601, 900.0)];
    let rollup = at_minute(Kind::Counter, 600, &values).unwrap();
    assert_eq!(rollup.increase, 800.0);
    assert!(rollup.flags.estimated);
    assert_eq!(at_minute(Kind::Counter, 300, &values), None);
}

#[test]
fn one_wrong_zero_row_changes_nothing() {
    let values = [(0, 1000.0), (5, 0.0), (10, 1100.0), (14, 1200.0)];
    let rollup = at_minute(Kind::Counter, 0, &values).unwrap();
    assert_eq!(rollup.increase, 200.0);
    assert_eq!((rollup.min, rollup.count), (1000.0, 3));
    assert!(rollup.flags.implausible && !rollup.flags.reset);
}

#[test]
fn a_reset_counts_once_it_persists() {
    let unconfirmed = [(0, 1000.0), (5, 10.0)];
    assert_eq!(at_minute(Kind::Counter, 0, &unconfirmed).unwrap().increase, 0.0);
    let confirmed = [(0, 1000.0), (5, 10.0), (10, 30.0)];
    let rollup = at_minute(Kind::Counter, 0, &confirmed).unwrap();
    assert_eq!(rollup.increase, 30.0);
    assert!(rollup.flags.reset);
}

#[test]
fn a_register_that_keeps_its_pace_over_its_end_has_wrapped() {
    for end in [1e5, 1e8, 65_536.0, 4_294_967_296.0, 4_294_967_296_000.0] {
        let values = [(0, end - 30.0), (5, end - 10.0), (10, 10.0), (14, 26.0)];
        let rollup = at_minute(Kind::Counter, 0, &values).unwrap();
        assert_eq!(rollup.increase, 56.0, "{end}");
        assert_eq!(rollup.flags, RollupFlags::default(), "{end}");
    }
}

#[test]
fn what_is_far_from_a_register_s_end_has_been_reset() {
    // 900 Wh below the end, at a pace of 4 Wh a minute.
    let values = [(0, 99_060.0), (5, 99_080.0), (10, 10.0), (14, 26.0)];
    let rollup = at_minute(Kind::Counter, 0, &values).unwrap();
    assert_eq!(rollup.increase, 20.0 + 10.0 + 16.0);
    assert!(rollup.flags.reset);
    // Nothing rises at night: what falls then is no wrap.
    let values = [(0, 99_999.0), (5, 99_999.0), (10, 0.0), (14, 0.0)];
    assert!(at_minute(Kind::Counter, 0, &values).unwrap().flags.reset);
}

#[test]
fn a_day_counter_never_wraps() {
    let values = [(0, 99_970.0), (5, 99_990.0), (10, 10.0), (14, 26.0)];
    assert_eq!(at_minute(Kind::DayCounter, 0, &values).unwrap().increase, 46.0);
}

#[test]
fn a_counter_that_falls_a_little_has_not_begun_at_zero() {
    let values = [(0, 5000.0), (5, 4900.0), (10, 4910.0), (14, 4920.0)];
    let rollup = at_minute(Kind::Counter, 0, &values).unwrap();
    assert_eq!(rollup.increase, 20.0);
    assert!(rollup.flags.implausible && !rollup.flags.reset);
    // One that keeps falling gives nothing, instead of all it ever counted.
    let falling: Vec<_> = (0..15).map(|minute| (minute, 5000.0 - minute as f64)).collect();
    assert_eq!(at_minute(Kind::Counter, 0, &falling).unwrap().increase, 0.0);
    assert_eq!(at_minute(Kind::NetCounter, 0, &falling).unwrap().increase, -14.0);
}

#[test]
fn late_data_moves_the_increase_of_the_next_window() {
    let values = [(10, 100.0), (35, 350.0)];
    assert_eq!(at_minute(Kind::Counter, 30, &values).unwrap().increase, 50.0);
    let late = [(10, 100.0), (20, 340.0), (35, 350.0)];
    let moved = at_minute(Kind::Counter, 30, &late).unwrap().increase;
    assert!((moved - 10.0 / 3.0).abs() < 1e-9, "{moved}");
    let affected = affected_windows(&RollupRule::of(Kind::Counter), window_of(late_at(20)), &series(&late));
    assert!(affected.contains(&late_at(30)));
}

fn late_at(minute: i64) -> Timestamp {
    Timestamp::clamped(minute * MINUTE)
}

#[test]
fn a_gap_over_a_window_s_edge_counts_where_it_ends() {
    let values = [(10, 100.0), (70, 400.0), (71, 405.0)];
    assert_eq!(at_minute(Kind::Counter, 0, &values).unwrap().increase, 0.0);
    assert_eq!(at_minute(Kind::Counter, 60, &values).unwrap().increase, 305.0);
}

#[test]
fn uneven_sampling_is_weighted_by_time() {
    // Ten readings of one minute at 6 kW, then five minutes at 0.
    let mut values: Vec<_> = (0..10).map(|minute| (minute, 6000.0)).collect();
    values.extend([(10, 0.0), (15, 0.0)]);
    let rollup = at_minute(Kind::Gauge, 0, &values).unwrap();
    assert!((rollup.positive - (900.0 + 50.0)).abs() < 1e-9, "{}", rollup.positive);
    assert_eq!(rollup.covered_ms, 900_000);
}

#[test]
fn nothing_is_counted_or_covered_across_a_joint() {
    let values = [(0, 1000.0), (5, 1010.0), (5, 7.0), (10, 17.0)];
    let rollup = at_minute(Kind::Counter, 0, &values).unwrap();
    assert_eq!((rollup.increase, rollup.covered_ms), (20.0, 600_000));
    assert_eq!(rollup.flags, RollupFlags::default());
}

#[test]
fn an_impossible_jump_adds_nothing_and_is_flagged() {
    let lasting = [(0, 1000.0), (5, 9e9), (10, 9e9 + 50.0)];
    let rollup = at_minute(Kind::Counter, 0, &lasting).unwrap();
    assert_eq!(rollup.increase, 50.0);
    assert!(rollup.flags.implausible);
    let spike = [(0, 1000.0), (5, 9e9), (10, 1050.0)];
    let rollup = at_minute(Kind::Counter, 0, &spike).unwrap();
    assert_eq!((rollup.increase, rollup.max), (50.0, 1050.0));
}

#[test]
fn a_net_counter_may_fall() {
    let rollup = at_minute(Kind::NetCounter, 0, &[(0, 1000.0), (15, 700.0)]).unwrap();
    assert_eq!(rollup.increase, -300.0);
}

#[test]
fn one_wrong_zero_row_of_a_net_counter_changes_nothing() {
    // 200 W from the grid.
    let values = [(0, 1e6), (5, 1e6 + 16.0), (10, 0.0), (14, 1e6 + 46.0), (20, 1e6 + 66.0), (25, 1e6 + 82.0)];
    let rule = RollupRule::of(Kind::NetCounter);
    let rollup = roll_up(&rule, late_at(0), &series(&values)).unwrap();
    assert_eq!((rollup.increase, rollup.min, rollup.count), (46.0 + 20.0 / 6.0, 1e6, 3));
    assert!(rollup.flags.implausible && !rollup.flags.reset && !rollup.flags.estimated);
    // Until the next one is there, nothing is made of it.
    let newest = roll_up(&rule, late_at(0), &series(&values[..3])).unwrap();
    assert_eq!((newest.increase, newest.count), (16.0, 2));
    let spike = [(0, 1000.0), (5, 9e9), (10, 1050.0)];
    assert_eq!(at_minute(Kind::NetCounter, 0, &spike).unwrap().increase, 50.0);
}

#[test]
fn what_the_next_meter_does_says_nothing_of_a_zero_row_of_the_one_before() {
    let values = [(0, 1e6), (5, 1e6 + 16.0), (10, 0.0), (10, 7.0), (14, 100_007.0)];
    let rollup = roll_up(&RollupRule::of(Kind::NetCounter), late_at(0), &series(&values)).unwrap();
    assert_eq!((rollup.increase, rollup.count), (16.0 + 100_000.0, 4));
}

#[test]
fn a_net_counter_that_begins_again_at_zero_gave_nothing_away() {
    let values = [(0, 1e6), (5, 1e6 + 16.0), (10, 8.0), (14, 20.0)];
    let rollup = roll_up(&RollupRule::of(Kind::NetCounter), late_at(0), &series(&values)).unwrap();
    assert_eq!(rollup.increase, 16.0 + 8.0 + 12.0);
    assert!(rollup.flags.reset && !rollup.flags.implausible);
}

#[test]
fn a_net_counter_may_go_over_zero_and_back() {
    let values = [(0, 5.0), (4, 0.0), (8, 5.0), (12, -5.0), (14, 0.0)];
    let rollup = at_minute(Kind::NetCounter, 0, &values).unwrap();
    assert_eq!((rollup.increase, rollup.count, rollup.flags), (-5.0, 5, RollupFlags::default()));
    // 3 kW fed in for five minutes between hours of 2 kW drawn.
    let values = [(0, 200.0), (3, 300.0), (8, 50.0), (11, 150.0), (14, 250.0)];
    assert_eq!(at_minute(Kind::NetCounter, 0, &values).unwrap().flags, RollupFlags::default());
}

#[test]
fn a_day_counter_that_was_away_for_a_day_has_begun_anew() {
    let values = [(0, 3000.0), (1445, 9000.0), (1450, 9010.0)];
    let rollup = roll_up(&RollupRule::of(Kind::DayCounter), late_at(1440), &series(&values)).unwrap();
    assert_eq!(rollup.increase, 9010.0);
    assert!(rollup.flags.estimated);
}

#[test]
fn a_day_counter_that_was_dark_has_begun_anew_where_its_first_reading_is_lower() {
    // Dark from 17 to 8 h, and higher at 8:15 than the evening before.
    let values = [(1005, 280.0), (1020, 300.0), (1920, 100.0), (1935, 350.0)];
    let rollup = at_minute(Kind::DayCounter, 1920, &values).unwrap();
    assert_eq!((rollup.increase, rollup.count), (350.0, 1));
    assert_eq!(rollup.flags, RollupFlags { estimated: true, reset: true, implausible: false });
    // One wrong zero row between others is none of a new day.
    let values = [(0, 100.0), (5, 0.0), (10, 110.0), (14, 120.0)];
    let rollup = at_minute(Kind::DayCounter, 0, &values).unwrap();
    assert_eq!((rollup.increase, rollup.count), (20.0, 3));
    // Nor is one after an hour of silence.
    let values = [(0, 100.0), (60, 0.0), (65, 110.0), (74, 120.0)];
    let rollup = at_minute(Kind::DayCounter, 60, &values).unwrap();
    assert_eq!((rollup.increase, rollup.count), (20.0, 2));
}

#[test]
fn an_interval_s_energy_beyond_what_the_sensor_can_deliver_adds_nothing() {
    // Rated 10 kW: an interval of a day may have some 267 kWh.
    let values = [(0, 100.0), (5, 150.0), (10, 9e9), (14, 3_200.0)];
    let rollup = at_minute(Kind::IntervalEnergy, 0, &values).unwrap();
    assert_eq!((rollup.increase, rollup.count, rollup.max), (3_450.0, 3, 3_200.0));
    assert!(rollup.flags.implausible);
    // A day's energy in one reading is taken.
    let daily = [(0, 100_000.0), (1440, 120_000.0)];
    assert_eq!(at_minute(Kind::IntervalEnergy, 0, &daily).unwrap().flags, RollupFlags::default());
    assert_eq!(at_minute(Kind::IntervalEnergy, 0, &[(3, 120_000.0)]).unwrap().increase, 120_000.0);
}

#[test]
fn power_beyond_twice_the_rating_is_no_power() {
    let watts = Unit::parse("W").unwrap();
    let values = series(&[(0, 4000.0), (5, 9e9), (10, 4000.0), (15, 4000.0)]);
    for (rule, expected) in [
        (RollupRule::of_series(Kind::Gauge, &watts, Some(5000.0)), (2, 4000.0, 300_000)),
        (RollupRule::of_series(Kind::Gauge, &watts, None), (2, 4000.0, 300_000)),
        (RollupRule::of_series(Kind::Gauge, &Unit::parse("V").unwrap(), Some(5000.0)), (3, 9e9, 900_000)),
    ] {
        let rollup = roll_up(&rule, late_at(0), &values).unwrap();
        assert_eq!((rollup.count, rollup.max, rollup.covered_ms), expected);
        assert_eq!(rollup.flags.implausible, rollup.count == 2);
    }
    let feeding_in = roll_up(&RollupRule::of_series(Kind::Gauge, &watts, Some(5000.0)), late_at(0), &series(&[(0, -9_900.0)]));
    assert_eq!(feeding_in.unwrap().min, -9_900.0);
}

#[test]
fn interval_energies_are_summed() {
    let rollup = at_minute(Kind::IntervalEnergy, 0, &[(0, 100.0), (5, 150.0), (20, 7.0)]).unwrap();
    assert_eq!(rollup.increase, 250.0);
}

fn any_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL)
}

fn any_series() -> impl Strategy<Value = Vec<Sample>> {
    let value = prop_oneof![0.0..50_000.0f64, Just(0.0), -100.0..100.0f64, Just(9e9), 99_000.0..100_000.0f64, 0.0..1_000.0f64];
    let joint = proptest::option::weighted(0.1, 0.0..50_000.0f64);
    proptest::collection::btree_map(0..600i64, (value, joint), 0..60).prop_map(|rows| {
        let samples = rows.into_iter().flat_map(|(minute, (value, joint))| {
            let at = Timestamp::clamped(minute * MINUTE);
            [Some(Sample { at, value }), joint.map(|value| Sample { at, value })].into_iter().flatten()
        });
        samples.collect()
    })
}

proptest! {
    #[test]
    fn a_window_depends_on_its_context_only(kind in any_kind(), samples in any_series(), window in 0..40i64) {
        let rule = RollupRule { max_rate: 10_000.0, max_value: 60_000.0, ..RollupRule::of(kind) };
        let start = Timestamp::clamped(window * WINDOW_MS);
        let end = start.plus_millis(WINDOW_MS);
        let from = samples.partition_point(|s| s.at < start).saturating_sub(rule.context());
        let until = (samples.partition_point(|s| s.at < end) + rule.context()).min(samples.len());
        prop_assert_eq!(roll_up(&rule, start, &samples), roll_up(&rule, start, &samples[from..until]));
    }

    #[test]
    fn windows_in_order_make_the_rollup_of_all_of_them(kind in any_kind(), samples in any_series(), first in 0..20i64, count in 1..20i64) {
        let rule = RollupRule { max_rate: 10_000.0, max_value: 60_000.0, ..RollupRule::of(kind) };
        let start = |number: i64| Timestamp::clamped(number * WINDOW_MS);
        let parts: Vec<_> = (first..first + count).filter_map(|number| roll_up(&rule, start(number), &samples)).collect();
        let sum = parts.iter().copied().reduce(|sum, part| sum.then(&part));
        let whole = roll_up_span(&rule, start(first), start(first + count), &samples);
        prop_assert_eq!(sum.is_some(), whole.is_some());
        let (Some(sum), Some(whole)) = (sum, whole) else { return Ok(()) };
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs() + 1e10);
        prop_assert!(close(sum.positive, whole.positive) && close(sum.negative, whole.negative));
        prop_assert!(close(sum.increase, whole.increase), "{} {}", sum.increase, whole.increase);
        let inexact = (whole.positive, whole.negative, whole.increase);
        prop_assert_eq!(Rollup { positive: inexact.0, negative: inexact.1, increase: inexact.2, ..sum }, whole);
    }

    #[test]
    fn a_change_reaches_the_affected_windows_only(kind in any_kind(), samples in any_series(), minute in 0..600i64, value in 0.0..50_000.0f64) {
        let rule = RollupRule { max_rate: 10_000.0, max_value: 60_000.0, ..RollupRule::of(kind) };
        let changed = Sample { at: Timestamp::clamped(minute * MINUTE), value };
        prop_assume!(samples.windows(2).all(|pair| pair[0].at < pair[1].at || pair[0].at != changed.at));
        let mut after = samples.clone();
        match after.binary_search_by_key(&changed.at, |s| s.at) {
            Ok(found) => after[found] = changed,
            Err(place) => after.insert(place, changed),
        }
        let affected = affected_windows(&rule, window_of(changed.at), &after);
        for window in 0..42i64 {
            let start = Timestamp::clamped(window * WINDOW_MS);
            if !affected.contains(&start) {
                prop_assert_eq!(roll_up(&rule, start, &samples), roll_up(&rule, start, &after), "window {}", window);
            }
        }
    }
}
