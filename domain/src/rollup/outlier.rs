//! Readings that say what cannot be.

use super::{RollupRule, Sample};
use crate::series::Kind;

/// Whether a reading contradicts its neighbours or what the sensor can deliver.
pub(super) fn is_outlier(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    match rule.kind {
        Kind::Gauge => samples.get(index).is_some_and(|this| this.value.abs() > rule.max_value),
        Kind::IntervalEnergy => {
            samples.get(index).is_some_and(|this| !rule.plausible(this.value.abs(), RollupRule::MAX_INTERVAL_MS))
        }
        Kind::Counter | Kind::DayCounter => is_spike(rule, samples, index) || is_dip(rule, samples, index),
        Kind::NetCounter => is_excursion(rule, samples, index),
    }
}

/// An impossible rise that is gone at the next reading.
fn is_spike(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    let [Some(before), Some(this), Some(after)] = around(samples, index) else { return false };
    !rule.plausible(this.value - before.value, this.at.millis_since(before.at))
        && (before.value..this.value).contains(&after.value)
        && rule.plausible(after.value - before.value, after.at.millis_since(before.at))
}

/// A fall that does not last, or is not confirmed yet. A day counter that was dark for a
/// night has begun anew, however soon it is back where it was.
fn is_dip(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    let [Some(before), Some(this), after] = around(samples, index) else { return false };
    let is_new_day = rule.kind == Kind::DayCounter && this.at.millis_since(before.at) >= RollupRule::SHORTEST_NIGHT_MS;
    let falls = this.value < before.value && !is_new_day;
    falls && after.is_none_or(|after| after.value >= before.value) && !is_spike(rule, samples, index - 1)
}

/// A net counter that for one reading is where it cannot have gone, or at nothing;
/// also where the next one is not there yet to tell.
fn is_excursion(rule: &RollupRule, samples: &[Sample], index: usize) -> bool {
    let returns_from_one = || index.checked_sub(1).is_some_and(|before| leaves(rule, samples, before, false));
    leaves(rule, samples, index, true) && !returns_from_one()
}

/// Whether a net counter goes where it cannot, and is back at the next reading.
fn leaves(rule: &RollupRule, samples: &[Sample], index: usize, if_it_is_the_last: bool) -> bool {
    /// It is back where what is left of the way is a tenth of it at most.
    const BACK: f64 = 10.0;
    let [Some(before), Some(this), after] = around(samples, index) else { return false };
    let way = (this.value - before.value).abs();
    after.map_or(if_it_is_the_last, |after| (after.value - before.value).abs() * BACK <= way)
        && (!rule.plausible(way, this.at.millis_since(before.at)) || is_zeroed(rule, samples, index - 1, index, index + 1))
}

/// Whether a net counter fell to a hundredth and less, many times faster than it
/// moved before that and moves from the reading `resumed` on.
pub(super) fn is_zeroed(rule: &RollupRule, samples: &[Sample], from: usize, to: usize, resumed: usize) -> bool {
    /// A load may be switched on and off again between two readings.
    const LEEWAY: f64 = 20.0;
    let (Some(a), Some(b)) = (samples.get(from), samples.get(to)) else { return false };
    let before = around(samples, from)[0].map_or(0.0, |before| pace(rule, before, a).abs());
    let of_same_meter = resumed == to || around(samples, to)[2].is_some();
    let after = match around(samples, resumed) {
        [_, Some(resumed), Some(after)] if of_same_meter => pace(rule, resumed, after).abs(),
        _ => 0.0,
    };
    b.value.abs() * 100.0 <= a.value.abs()
        && (b.value - a.value).abs() > LEEWAY * before.max(after) * b.at.millis_since(a.at) as f64
}

/// A reading between its neighbours of the same meter.
pub(super) fn around(samples: &[Sample], index: usize) -> [Option<&Sample>; 3] {
    let this = samples.get(index);
    let same_meter = |other: &&Sample| this.is_some_and(|this| this.at != other.at);
    let before = index.checked_sub(1).and_then(|i| samples.get(i)).filter(same_meter);
    [before, this, samples.get(index + 1).filter(same_meter)]
}

/// The reading that the one at `index` follows, of the same meter, that is no
/// outlier: of counters the nearest of the three before it, else the one before it.
pub(super) fn reference(rule: &RollupRule, samples: &[Sample], index: usize) -> Option<usize> {
    let mut before = index;
    for _ in 0..if rule.kind.accumulates() { 3 } else { 1 } {
        around(samples, before)[0]?;
        before -= 1;
        if !is_outlier(rule, samples, before) {
            return Some(before);
        }
    }
    None
}

/// What a series changes from one reading to another, a millisecond; 0 where that
/// cannot be.
pub(super) fn pace(rule: &RollupRule, a: &Sample, b: &Sample) -> f64 {
    let (change, millis) = (b.value - a.value, b.at.millis_since(a.at));
    if rule.plausible(change.abs(), millis) { change / millis as f64 } else { 0.0 }
}
