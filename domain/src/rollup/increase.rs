//! What a counter rose from one reading to another.

use super::outlier::{around, is_zeroed, pace};
use super::{RollupRule, Sample};
use crate::series::Kind;

/// What a counter rose from one reading to the next.
pub(super) struct Increase {
    pub(super) rise: f64,
    pub(super) reset: bool,
    pub(super) implausible: bool,
}

impl Increase {
    pub(super) const NONE: Self = Self { rise: 0.0, reset: false, implausible: false };
    const IMPLAUSIBLE: Self = Self { implausible: true, ..Self::NONE };
}

/// After so long a day counter has begun anew, wherever it is. ms.
const DAY_MS: i64 = 24 * 3_600_000;

pub(super) fn increase(rule: &RollupRule, samples: &[Sample], from: usize, to: usize) -> Option<Increase> {
    let (a, b) = (samples.get(from)?, samples.get(to)?);
    let millis = b.at.millis_since(a.at);
    let judged = |rise: f64, reset: bool| {
        let implausible = !rule.plausible(rise.abs(), millis) || (reset && rise < 0.0);
        Increase { rise: if implausible { 0.0 } else { rise }, reset, implausible }
    };
    match rule.kind {
        Kind::NetCounter if is_zeroed(rule, samples, from, to, to) => {
            return Some(Increase { reset: true, ..judged(b.value, false) });
        }
        Kind::NetCounter => return Some(judged(b.value - a.value, false)),
        Kind::DayCounter if millis >= DAY_MS => return Some(judged(b.value, true)),
        _ if b.value >= a.value => return Some(judged(b.value - a.value, false)),
        Kind::DayCounter => return Some(judged(b.value, true)),
        _ => {}
    }
    if let Some(rise) = wrapped(rule, samples, from, to) {
        return Some(judged(rise, false));
    }
    Some(if b.value * 2.0 <= a.value { judged(b.value, true) } else { Increase::IMPLAUSIBLE })
}

/// What a register rose that ran over its end, where that keeps its pace.
fn wrapped(rule: &RollupRule, samples: &[Sample], from: usize, to: usize) -> Option<f64> {
    /// A pace may change this much from one reading to the next.
    const LEEWAY: f64 = 4.0;
    let [before, Some(a), _] = around(samples, from) else { return None };
    let [_, Some(b), after] = around(samples, to) else { return None };
    let fastest = before.map_or(0.0, |before| pace(rule, before, a)).max(after.map_or(0.0, |after| pace(rule, b, after)));
    let most = LEEWAY * fastest * b.at.millis_since(a.at) as f64;
    let least_end = register_ends().filter(|end| a.value < *end).fold(f64::INFINITY, f64::min);
    Some(least_end - a.value + b.value).filter(|rise| b.value >= 0.0 && *rise <= most)
}

/// Where registers usually end, in the unit of the series: a power of ten where
/// digits are kept, a power of two where bits are, of steps of 1 to 1000 Wh.
fn register_ends() -> impl Iterator<Item = f64> {
    let digits = (5..=15).map(|digits| 10f64.powi(digits));
    let bits = [16, 24, 31, 32].into_iter().flat_map(|bits| (0..=3).map(move |step| 2f64.powi(bits) * 10f64.powi(step)));
    digits.chain(bits)
}
