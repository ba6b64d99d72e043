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
//! not been reset: the odd reading is passed over. So is one of a net counter that
//! went where it cannot have gone, or from far away to nothing at once. A rise, an
//! interval's energy or a power beyond what the sensor can deliver adds nothing and
//! is flagged.
//!
//! *Falls.* That a counter fell counts once the next reading confirms it. Where
//! going on over the end of a usual register (a power of ten, 16, 24, 31 or 32
//! bits of a step of 1 to 1000) keeps its pace of just before or just after, it
//! has *wrapped* and the rise counts: a reset that is mistaken for a wrap is then
//! wrong by no more than some minutes of what the sensor gives anyway. A fall to
//! at most half is a *reset*: it began again at zero. A smaller fall is neither:
//! it adds nothing, is flagged, and asks for a correction. A day counter only
//! resets, over a night by one lower reading; one that was away for a day and more
//! has begun anew, also where it stands higher. A net counter may fall; it has been
//! reset where it fell to a hundredth, many times faster than it moves just before and
//! just after.
//!
//! *Joints.* Two samples of the same instant end one meter and begin the next
//! (see [`SeriesCorrections`](crate::SeriesCorrections)): nothing is compared,
//! linked or counted across them.
//!
//! *Locality.* Whether a counter's reading is an outlier depends on the two before
//! it and the two after, a pair reaches over at most two outliers, and its pace is
//! that of one reading more on either side. An interval's energy and a power
//! are judged by themselves. So a window needs no more than
//! [`RollupRule::context`] readings on either side of it.

mod increase;
mod outlier;

use crate::series::Kind;
use crate::time::Timestamp;
use crate::unit::Unit;
use increase::{Increase, increase};
use outlier::{is_outlier, reference};

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
    /// The most that a counter can rise, or intervals can add up to, in an hour, in
    /// the unit of the series.
    pub max_rate: f64,
    /// The most that a gauge can show, of either sign, in its unit.
    pub max_value: f64,
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
    /// Plants are dark for longer even in the shortest nights of those places in which
    /// there is one; a device that only went silent for a while has not begun a new day.
    const SHORTEST_NIGHT_MS: i64 = 3 * 3_600_000;
    /// No interval that energy is sent for is longer.
    const MAX_INTERVAL_MS: i64 = 24 * 3_600_000;
    /// Power goes over its rating for moments, but not to twice of it.
    const POWER_TOLERANCE: f64 = 2.0;
    /// Where no rated power is known: more than any plant has.
    const MAX_POWER_W: f64 = 1e9;

    /// The rule of a kind where nothing else is known.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        let max_rate = Self::DEFAULT_MAX_RATE_WH;
        Self { kind, max_gap_ms: Self::DEFAULT_MAX_GAP_MS, max_rate, max_value: f64::INFINITY }
    }

    /// The rule of a series of a sensor whose rated power is known, or is not, in W.
    #[must_use]
    pub fn of_series(kind: Kind, unit: &Unit, rated_w: Option<f64>) -> Self {
        let max_power = rated_w.map_or(Self::MAX_POWER_W, |rated_w| rated_w * Self::POWER_TOLERANCE);
        Self {
            max_rate: rated_w.unwrap_or(Self::DEFAULT_MAX_RATE_WH),
            max_value: if unit.as_str() == "W" { max_power } else { f64::INFINITY },
            ..Self::of(kind)
        }
    }

    /// The rule for values that are multiplied afterwards.
    #[must_use]
    pub(crate) fn before_scaling(&self, factor: f64) -> Self {
        Self { max_rate: self.max_rate / factor.abs(), max_value: self.max_value / factor.abs(), ..*self }
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

impl RollupFlags {
    /// As one number, for a store.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.estimated as u8 | (self.reset as u8) << 1 | (self.implausible as u8) << 2
    }

    /// From what [`Self::to_bits`] made; further bits are not looked at.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self { estimated: bits & 1 != 0, reset: bits & 2 != 0, implausible: bits & 4 != 0 }
    }
}

impl RollupFlags {
    /// What happened in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            estimated: self.estimated || other.estimated,
            reset: self.reset || other.reset,
            implausible: self.implausible || other.implausible,
        }
    }
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
    /// The same without what a counter rose before its first reading inside, as far as the
    /// figures tell: nothing is left of a rise in which it was reset or ran over its end,
    /// that is in doubt, or whose two ends are not of one meter and factor (`is_even`).
    #[must_use]
    pub fn without_rise_before(&self, kind: Kind, is_even: bool) -> Self {
        let rises = kind == Kind::NetCounter || self.last >= self.first;
        let is_told = is_even && rises && !self.flags.reset && !self.flags.implausible;
        let increase = if is_told { self.last - self.first } else { 0.0 };
        Self { increase, flags: RollupFlags { estimated: false, ..self.flags }, ..*self }
    }

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

    /// This and what is known of a later time, as one. Of windows in order the
    /// rollup of all of them together, but for the time between them.
    #[must_use]
    pub fn then(mut self, later: &Self) -> Self {
        if later.count > 0 {
            if self.count == 0 {
                (self.min, self.max, self.first) = (later.min, later.max, later.first);
            }
            self.min = self.min.min(later.min);
            self.max = self.max.max(later.max);
            self.last = later.last;
        }
        self.count = self.count.saturating_add(later.count);
        self.covered_ms = self.covered_ms.saturating_add(later.covered_ms);
        self.positive += later.positive;
        self.negative += later.negative;
        self.increase += later.increase;
        self.flags = self.flags.or(later.flags);
        self
    }

    /// As if every value had been multiplied.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let (low, high) = if factor < 0.0 { (self.max, self.min) } else { (self.min, self.max) };
        let (plus, minus) = if factor < 0.0 { (self.negative, self.positive) } else { (self.positive, self.negative) };
        Self {
            min: low * factor,
            max: high * factor,
            first: self.first * factor,
            last: self.last * factor,
            positive: plus * factor,
            negative: minus * factor,
            increase: self.increase * factor,
            ..self
        }
    }

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
/// `samples` are sorted by time without repeats but for joints and hold all
/// readings inside the window and, where they exist, [`RollupRule::context`] more on either
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
        let Some(pair) = Pair::of(rule, samples, before, index) else { continue };
        if pair.b.at >= start && pair.a.at < end {
            pair.add(rule, &mut rollup, start, end);
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

/// A reading and the one that it follows.
struct Pair {
    a: Sample,
    b: Sample,
    linked: bool,
    step: Increase,
}

impl Pair {
    fn of(rule: &RollupRule, samples: &[Sample], a: usize, b: usize) -> Option<Self> {
        let step = if rule.kind.accumulates() { increase(rule, samples, a, b)? } else { Increase::NONE };
        let (a, b) = (*samples.get(a)?, *samples.get(b)?);
        Some(Self { a, b, linked: rule.links(a, b), step })
    }

    fn add(&self, rule: &RollupRule, rollup: &mut Rollup, start: Timestamp, end: Timestamp) {
        let (a, b) = (self.a, self.b);
        let (from, until) = (a.at.max(start), b.at.min(end));
        let b_is_inside = b.at < end;
        if self.linked {
            rollup.covered_ms += u32::try_from(until.millis_since(from)).unwrap_or(0);
        }
        match rule.kind {
            Kind::Gauge if self.linked => {
                let (positive, negative) = integrate(a, b, from, until);
                rollup.positive += positive;
                rollup.negative += negative;
            }
            Kind::Gauge | Kind::IntervalEnergy => {}
            Kind::Counter | Kind::DayCounter | Kind::NetCounter => {
                if self.linked {
                    rollup.increase += self.step.rise * until.millis_since(from) as f64 / b.at.millis_since(a.at) as f64;
                } else if b_is_inside {
                    rollup.increase += self.step.rise;
                    rollup.flags.estimated |= self.step.rise != 0.0;
                }
                if b_is_inside {
                    rollup.flags.reset |= self.step.reset;
                    rollup.flags.implausible |= self.step.implausible;
                }
            }
        }
    }
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
mod tests;
