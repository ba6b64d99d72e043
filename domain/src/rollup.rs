//! Rolling readings up into 15-minute windows of UTC.
//!
//! A rollup is a pure function of the readings near its window: it is computed
//! again whenever one of them changes, never added to. Three ideas carry it.
//!
//! *Links.* Two neighbouring readings no further apart than
//! [`RollupRule::max_gap_ms`] are linked: between them the value is taken to run
//! on a straight line, and that time counts as covered. Over a longer gap
//! nothing is interpolated; what a counter rose over it counts in the window of
//! the later reading, marked as estimated.
//!
//! *Outliers.* A counter that falls for one reading and is back at the next has
//! not been reset: the odd reading is passed over. A fall counts as a reset once
//! the next reading confirms it. A rise beyond what the sensor can deliver adds
//! nothing and is flagged.
//!
//! *Locality.* Whether a reading is an outlier depends on the two before it and
//! the one after, and a pair reaches over at most two outliers. So a window
//! needs no more than [`RollupRule::context`] readings on either side of it.

use crate::series::Kind;
use crate::time::Timestamp;

/// The width of a window: 15 minutes, which serves every time zone.
pub const WINDOW_MS: i64 = 900_000;

/// The start of the window that holds an instant.
#[must_use]
pub const fn window_of(time: Timestamp) -> Timestamp {
    Timestamp::clamped(time.as_millis().div_euclid(WINDOW_MS) * WINDOW_MS)
}

/// A reading without its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What, finite.
    pub value: f64,
}

/// What a rollup has to know about its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RollupRule {
    /// How the numbers behave.
    pub kind: Kind,
    /// The longest time between two readings that still counts as covered, ms.
    pub max_gap_ms: i64,
    /// The most that a counter can rise in an hour, in its unit.
    pub max_rate: f64,
}

impl RollupRule {
    /// Two missed quarter hours and some jitter.
    pub const DEFAULT_MAX_GAP_MS: i64 = 40 * 60_000;
    /// Where no rated power is known, a sensor delivers at most 10 MW.
    pub const DEFAULT_MAX_RATE_WH: f64 = 1e7;
    /// Counters step in kilowatt hours at times: allow a quarter of an hour of
    /// the highest rate at once.
    const STEP_ALLOWANCE_H: f64 = 0.25;
    const TOLERANCE: f64 = 1.1;

    /// The rule of a kind where nothing else is known.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind, max_gap_ms: Self::DEFAULT_MAX_GAP_MS, max_rate: Self::DEFAULT_MAX_RATE_WH }
    }

    /// How many readings on either side of a window decide about it.
    #[must_use]
    pub const fn context(&self) -> usize {
        if self.kind.accumulates() { 6 } else { 1 }
    }

    fn links(&self, a: Sample, b: Sample) -> bool {
        b.at.millis_since(a.at) <= self.max_gap_ms
    }

    fn plausible(&self, rise: f64, millis: i64) -> bool {
        rise <= self.max_rate * (hours(millis) * Self::TOLERANCE + Self::STEP_ALLOWANCE_H)
    }
}

/// What happened in a window besides its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RollupFlags {
    /// Part of the increase rose over a gap: it is right in sum, not in time.
    pub estimated: bool,
    /// The counter was reset.
    pub reset: bool,
    /// A rise or fall was left out because the sensor cannot have delivered it.
    pub implausible: bool,
}

/// A series over one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// Readings inside that count; 0 where the window only lies between two.
    pub count: u32,
    /// The least value inside; 0 where there is none.
    pub min: f64,
    /// The greatest value inside; 0 where there is none.
    pub max: f64,
    /// The first value inside; 0 where there is none.
    pub first: f64,
    /// The last value inside; 0 where there is none.
    pub last: f64,
    /// Milliseconds of the window that lie between linked readings.
    pub covered_ms: u32,
    /// Time integral of the positive part, in unit·hours (W become Wh).
    pub positive: f64,
    /// Time integral of the negative part, in unit·hours; at most 0.
    pub negative: f64,
    /// What a counter rose, or the sum of interval energies, in the unit.
    pub increase: f64,
    /// What else happened.
    pub flags: RollupFlags,
}

impl Rollup {
    const EMPTY: Self = Self {
        count: 0,
        min: 0.0,
        max: 0.0,
        first: 0.0,
        last: 0.0,
        covered_ms: 0,
        positive: 0.0,
        negative: 0.0,
        increase: 0.0,
        flags: RollupFlags { estimated: false, reset: false, implausible: false },
    };

    fn add_value(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max, self.first) = (value, value, value);
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
        self.count += 1;
    }
}

/// Rolls one series up over the 15 minutes that begin at `start`.
///
/// `samples` are sorted by time without repeats and hold all readings inside
/// the window and, where they exist, [`RollupRule::context`] more on either
/// side; further ones do not change the result. `None`: nothing is known of
/// the window.
#[must_use]
pub fn roll_up(rule: &RollupRule, start: Timestamp, samples: &[Sample]) -> Option<Rollup> {
    roll_up_span(rule, start, start.plus_millis(WINDOW_MS), samples)
}

/// As [`roll_up`], over any span of time from `start` up to `end`.
#[must_use]
pub fn roll_up_span(rule: &RollupRule, start: Timestamp, end: Timestamp, samples: &[Sample]) -> Option<Rollup> {
    let inside = |sample: &Sample| start <= sample.at && sample.at < end;
    let mut rollup = Rollup::EMPTY;
    let mut seen = false;

    for (index, sample) in samples.iter().enumerate() {
        let kept = !is_outlier(rule, samples, index);
        if inside(sample) {
            seen = true;
            if kept {
                rollup.add_value(sample.value);
                if rule.kind == Kind::IntervalEnergy {
                    rollup.increase += sample.value;
                }
            } else {
                rollup.flags.implausible = true;
            }
        }
        if !kept {
            continue;
        }
        let Some(before) = reference(rule, samples, index) else { continue };
        if sample.at >= start && before.at < end {
            add_pair(rule, &mut rollup, before, *sample, start, end);
        }
    }
    (seen || rollup.covered_ms > 0).then_some(rollup)
}

/// The windows that readings in the window `start` have a part in: itself, those
/// between its readings and others linked to them and, of counters, those of its
/// context.
///
/// `samples` as for [`roll_up`].
#[must_use]
pub fn affected_windows(rule: &RollupRule, start: Timestamp, samples: &[Sample]) -> Vec<Timestamp> {
    let end = start.plus_millis(WINDOW_MS);
    let first = samples.partition_point(|s| s.at < start).saturating_sub(rule.context());
    let last = (samples.partition_point(|s| s.at < end) + rule.context()).min(samples.len());
    let near = samples.get(first..last).unwrap_or_default();

    let mut windows = vec![start];
    if rule.kind.accumulates() {
        windows.extend(near.iter().map(|sample| window_of(sample.at)));
    }
    for (a, b) in near.iter().zip(near.iter().skip(1)) {
        if rule.links(*a, *b) {
            let mut between = window_of(a.at);
            while between <= b.at {
                windows.push(between);
                between = between.plus_millis(WINDOW_MS);
            }
        }
    }
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// Whether a counter's reading contradicts its neighbours: a fall that does not
/// last (or is not confirmed yet), or an impossible rise that is gone at the
/// next reading.
fn is_outlier(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    matches!(rule.kind, Kind::Counter | Kind::DayCounter) && (is_spike(rule, samples, index) || is_dip(rule, samples, index))
}

fn is_spike(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    let [Some(before), Some(this), Some(after)] = around(samples, index) else { return false };
    !rule.plausible(this.value - before.value, this.at.millis_since(before.at))
        && (before.value..this.value).contains(&after.value)
        && rule.plausible(after.value - before.value, after.at.millis_since(before.at))
}

fn is_dip(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    let [Some(before), Some(this), after] = around(samples, index) else { return false };
    let falls = this.value < before.value;
    falls && after.is_none_or(|after| after.value >= before.value) && !is_spike(rule, samples, index - 1)
}

fn around(samples: &[Sample], index: usize) -> [Option<&Sample>; 3] {
    [index.checked_sub(1).and_then(|i| samples.get(i)), samples.get(index), samples.get(index + 1)]
}

/// The reading that the one at `index` follows: the nearest of the three before
/// it that is no outlier.
fn reference(rule: &RollupRule, samples: &[Sample], index: usize) -> Option<Sample> {
    (index.saturating_sub(3)..index).rev().find(|i| !is_outlier(rule, samples, *i)).and_then(|i| samples.get(i).copied())
}

fn add_pair(rule: &RollupRule, rollup: &mut Rollup, a: Sample, b: Sample, start: Timestamp, end: Timestamp) {
    let linked = rule.links(a, b);
    let from = a.at.max(start);
    let until = b.at.min(end);
    let b_is_inside = b.at < end;
    if linked {
        rollup.covered_ms += u32::try_from(until.millis_since(from)).unwrap_or(0);
    }
    match rule.kind {
        Kind::Gauge if linked => {
            let (positive, negative) = integrate(a, b, from, until);
            rollup.positive += positive;
            rollup.negative += negative;
        }
        Kind::Gauge | Kind::IntervalEnergy => {}
        Kind::Counter | Kind::DayCounter | Kind::NetCounter => {
            let step = increase(rule, a, b);
            if linked {
                rollup.increase += step.rise * until.millis_since(from) as f64 / b.at.millis_since(a.at) as f64;
            } else if b_is_inside {
                rollup.increase += step.rise;
                rollup.flags.estimated |= step.rise != 0.0;
            }
            if b_is_inside {
                rollup.flags.reset |= step.reset;
                rollup.flags.implausible |= step.implausible;
            }
        }
    }
}

struct Increase {
    rise: f64,
    reset: bool,
    implausible: bool,
}

/// What a counter rose from one reading to the next. After a reset it is taken
/// to have begun at zero.
fn increase(rule: &RollupRule, a: Sample, b: Sample) -> Increase {
    let millis = b.at.millis_since(a.at);
    let reset = rule.kind != Kind::NetCounter && b.value < a.value;
    let rise = if reset { b.value } else { b.value - a.value };
    let implausible = !rule.plausible(rise.abs(), millis) || (reset && b.value < 0.0);
    Increase { rise: if implausible { 0.0 } else { rise }, reset, implausible }
}

/// The integral of the line from `a` to `b` between two instants on it, its
/// positive and its negative part, in unit·hours.
fn integrate(a: Sample, b: Sample, from: Timestamp, until: Timestamp) -> (f64, f64) {
    let slope = (b.value - a.value) / b.at.millis_since(a.at) as f64;
    let value_at = |time: Timestamp| a.value + slope * time.millis_since(a.at) as f64;
    let (left, right) = (value_at(from), value_at(until));
    let width = hours(until.millis_since(from));
    if left >= 0.0 && right >= 0.0 {
        return ((left + right) / 2.0 * width, 0.0);
    }
    if left <= 0.0 && right <= 0.0 {
        return (0.0, (left + right) / 2.0 * width);
    }
    let crossing = left / (left - right);
    let left_area = left / 2.0 * width * crossing;
    let right_area = right / 2.0 * width * (1.0 - crossing);
    if left > 0.0 { (left_area, right_area) } else { (right_area, left_area) }
}

fn hours(millis: i64) -> f64 {
    millis as f64 / 3_600_000.0
}

#[cfg(test)]
mod tests {
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
    fn interval_energies_are_summed() {
        let rollup = at_minute(Kind::IntervalEnergy, 0, &[(0, 100.0), (5, 150.0), (20, 7.0)]).unwrap();
        assert_eq!(rollup.increase, 250.0);
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        proptest::sample::select(Kind::ALL)
    }

    fn any_series() -> impl Strategy<Value = Vec<Sample>> {
        let value = prop_oneof![0.0..50_000.0f64, Just(0.0), -100.0..100.0f64, Just(9e9)];
        proptest::collection::btree_map(0..600i64, value, 0..60).prop_map(|rows| {
            rows.into_iter().map(|(minute, value)| Sample { at: Timestamp::clamped(minute * MINUTE), value }).collect()
        })
    }

    proptest! {
        #[test]
        fn a_window_depends_on_its_context_only(kind in any_kind(), samples in any_series(), window in 0..40i64) {
            let rule = RollupRule { max_rate: 10_000.0, ..RollupRule::of(kind) };
            let start = Timestamp::clamped(window * WINDOW_MS);
            let end = start.plus_millis(WINDOW_MS);
            let from = samples.partition_point(|s| s.at < start).saturating_sub(rule.context());
            let until = (samples.partition_point(|s| s.at < end) + rule.context()).min(samples.len());
            prop_assert_eq!(roll_up(&rule, start, &samples), roll_up(&rule, start, &samples[from..until]));
        }

        #[test]
        fn a_change_reaches_the_affected_windows_only(kind in any_kind(), samples in any_series(), minute in 0..600i64, value in 0.0..50_000.0f64) {
            let rule = RollupRule { max_rate: 10_000.0, ..RollupRule::of(kind) };
            let changed = Sample { at: Timestamp::clamped(minute * MINUTE), value };
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
}
