//! Corrections: audited, reversible changes over readings that stay as they are.
//!
//! Rollups are made of corrected samples. The corrections of a series are a set:
//! what they do together does not depend on when each was made, and taking one
//! back leaves what would be there without it. They act in this order:
//!
//! 1. *Shift* moves the readings that carry a time inside its window; several
//!    add up. Where one lands on a reading that was not moved, that one stays;
//!    of several moved ones the one that carries the latest time. All windows
//!    below are of the time that results.
//! 2. *Exclude* leaves out the readings in its window.
//! 3. *Manual* puts one value in their place: of a gauge it holds from the
//!    beginning of the window to its end, else it is one reading at the
//!    beginning. Where two overlap, the one that was made later wins.
//! 4. *Meter swap* ends the old meter of a counter with its last value and
//!    begins the new one with its first, both at the beginning of the window. A
//!    reading of that very instant is the new meter's first.
//! 5. *Scale* multiplies what the series says within the window, to the
//!    millisecond: values and power, and of counters what they rise rather than
//!    what they stand at, so that nothing jumps where it begins or ends. Factors
//!    multiply.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::CorrectionId;
use crate::rollup::{Rollup, RollupRule, Sample, WINDOW_MS, roll_up_span, window_of};
use crate::series::{Kind, SeriesKey};
use crate::text::ParseError;
use crate::time::{TimeWindow, Timestamp};

/// An audited, reversible change over untouched readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Its id.
    pub id: CorrectionId,
    /// The series it changes.
    pub series: SeriesKey,
    /// The time it is about.
    pub window: TimeWindow,
    /// What it does.
    #[serde(flatten)]
    pub kind: CorrectionKind,
    /// Why.
    pub reason: String,
    /// Who made it, as the audit trail names them: a reference, never a name.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When it was taken back, and by whom.
    pub reverted: Option<Reverted>,
}

/// That a correction no longer counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// Who took it back, as the audit trail names them.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What a correction does within its window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CorrectionKind {
    /// Leaves the readings out.
    Exclude,
    /// Multiplies what the series says.
    Scale {
        /// By this; finite and not 0.
        factor: f64,
    },
    /// Moves the readings in time.
    Shift {
        /// By this many milliseconds; not 0.
        millis: i64,
    },
    /// Puts one value in their place.
    Manual {
        /// The value; finite.
        value: f64,
    },
    /// A meter was swapped at the beginning of the window.
    MeterSwap {
        /// The last value of the old meter; finite.
        last_old: f64,
        /// The first value of the new meter; finite.
        first_new: f64,
    },
}

impl CorrectionKind {
    /// Whether it changes which readings there are, and so what those after its window
    /// follow. Where figures of a part of the window can be made anew no more, what it takes
    /// from there would count twice or not at all.
    #[must_use]
    pub const fn moves_readings(&self) -> bool {
        matches!(self, Self::Exclude | Self::Shift { .. } | Self::Manual { .. })
    }

    /// The name of what it does.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Scale { .. } => "scale",
            Self::Shift { .. } => "shift",
            Self::Manual { .. } => "manual",
            Self::MeterSwap { .. } => "meter-swap",
        }
    }
}

impl Correction {
    /// The furthest that readings can be moved: a clock is wrong by years at most.
    pub const MAX_SHIFT_MS: i64 = 20 * 366 * 86_400_000;
    /// The longest time for which one value can stand.
    pub const MAX_MANUAL_MS: i64 = 366 * 86_400_000;
    /// The longest reason, in characters.
    pub const MAX_REASON: usize = 500;

    /// Checks what it says for a series of a kind.
    ///
    /// # Errors
    /// When it could not be carried out, or gives no reason.
    pub fn check(&self, kind: Kind) -> Result<(), ParseError> {
        let problem = |text: &str| Err(ParseError::new("correction", text));
        let reason = self.reason.trim();
        if reason.is_empty() || reason.chars().count() > Self::MAX_REASON {
            return problem("needs a reason, of up to 500 characters");
        }
        if self.window.is_empty() {
            return problem("must end after it begins");
        }
        match self.kind {
            CorrectionKind::Scale { factor } if !factor.is_finite() || factor == 0.0 => problem("needs a factor other than 0"),
            CorrectionKind::Shift { millis } if millis == 0 || millis.saturating_abs() > Self::MAX_SHIFT_MS => {
                problem("can move readings by up to 20 years, and by something")
            }
            CorrectionKind::Manual { value } if !value.is_finite() => problem("needs a finite value"),
            CorrectionKind::Manual { .. } if self.window.end().millis_since(self.window.from) > Self::MAX_MANUAL_MS => {
                problem("with one value must end within a year")
            }
            CorrectionKind::MeterSwap { .. } if !kind.accumulates() => problem("of swapped meters is for counters"),
            CorrectionKind::MeterSwap { last_old, first_new } if !last_old.is_finite() || !first_new.is_finite() => {
                problem("needs finite values of both meters")
            }
            _ => Ok(()),
        }
    }
}

/// The corrections of one series that count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesCorrections {
    shifts: Vec<(TimeWindow, i64)>,
    excluded: Vec<TimeWindow>,
    manual: Vec<(TimeWindow, f64)>,
    swaps: BTreeMap<Timestamp, (f64, f64)>,
    scales: Vec<(TimeWindow, f64)>,
}

impl SeriesCorrections {
    /// None at all.
    pub const NONE: Self =
        Self { shifts: Vec::new(), excluded: Vec::new(), manual: Vec::new(), swaps: BTreeMap::new(), scales: Vec::new() };

    /// Of the corrections of one series, without those that were taken back.
    #[must_use]
    pub fn of<'a>(corrections: impl IntoIterator<Item = &'a Correction>) -> Self {
        let mut counting: Vec<&Correction> = corrections.into_iter().filter(|c| c.reverted.is_none()).collect();
        counting.sort_by_key(|correction| (correction.at, correction.id));
        let mut all = Self::NONE;
        for correction in counting {
            let window = correction.window;
            match correction.kind {
                CorrectionKind::Exclude => all.excluded.push(window),
                CorrectionKind::Scale { factor } => all.scales.push((window, factor)),
                CorrectionKind::Shift { millis } => all.shifts.push((window, millis)),
                CorrectionKind::Manual { value } => all.manual.push((window, value)),
                CorrectionKind::MeterSwap { last_old, first_new } => drop(all.swaps.insert(window.from, (last_old, first_new))),
            }
        }
        all
    }

    /// Whether they change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The times of which readings must be known so that those of a window can
    /// be corrected, in order and apart: a shift pulls readings in from outside.
    #[must_use]
    pub fn sources(&self, wanted: TimeWindow) -> Vec<TimeWindow> {
        let source = |(piece, millis): (TimeWindow, i64)| moved(wanted, -millis).intersect(&piece);
        joined(self.pieces().into_iter().filter_map(source))
    }

    /// The times at which readings end up that carry a time of a window, in order
    /// and apart.
    #[must_use]
    pub fn targets(&self, carried: TimeWindow) -> Vec<TimeWindow> {
        let target = |(piece, millis): (TimeWindow, i64)| Some(moved(piece.intersect(&carried)?, millis));
        joined(self.pieces().into_iter().filter_map(target))
    }

    /// The samples of a window of time. `raw` are all readings of
    /// [`Self::sources`] of it, sorted by time without repeats; others are
    /// passed over. What comes out is sorted by time; only the two ends of a
    /// meter swap have the same.
    #[must_use]
    pub fn apply(&self, kind: Kind, wanted: TimeWindow, raw: &[Sample]) -> Vec<Sample> {
        let mut samples = self.shifted(wanted, raw);
        samples.retain(|at, _| !self.excluded.iter().any(|window| window.contains(*at)));
        for (window, value) in &self.manual {
            samples.retain(|at, _| !window.contains(*at));
            let instants = manual_instants(kind, *window, wanted);
            samples.extend(instants.into_iter().map(|at| (at, *value)));
        }
        if kind.accumulates() {
            return self.swapped(wanted, samples);
        }
        samples.into_iter().map(|(at, value)| Sample { at, value }).collect()
    }

    /// One sample by itself, for what is shown as the latest; `None` where it is
    /// left out.
    #[must_use]
    pub fn apply_to_one(&self, kind: Kind, sample: Sample) -> Option<Sample> {
        let at = sample.at.plus_millis(self.offset(sample.at));
        let value = match self.manual.iter().rfind(|(window, _)| window.contains(at)) {
            Some((_, value)) => *value,
            None if self.excluded.iter().any(|window| window.contains(at)) => return None,
            None => sample.value,
        };
        let factor = if kind.accumulates() { 1.0 } else { self.factor(at) };
        Some(Sample { at, value: value * factor })
    }

    /// When the last reading that counts is, at most, of those up to the one that carries a
    /// time.
    #[must_use]
    pub fn last_left(&self, at: Timestamp) -> Timestamp {
        let mut last = at.plus_millis(self.offset(at));
        while !self.manual.iter().any(|(window, _)| window.contains(last)) {
            let Some(out) = self.excluded.iter().find(|window| window.contains(last)) else { break };
            if out.from == Timestamp::MIN {
                return Timestamp::MIN;
            }
            last = out.from.plus_millis(-1);
        }
        last
    }

    /// As [`roll_up_span`], of samples that [`Self::apply`] gave.
    #[must_use]
    pub fn roll_up_span(&self, rule: &RollupRule, start: Timestamp, end: Timestamp, samples: &[Sample]) -> Option<Rollup> {
        if self.scales.is_empty() {
            return roll_up_span(rule, start, end, samples);
        }
        let ends = self.scales.iter().flat_map(|(window, _)| [window.from, window.end()]);
        let mut cuts: BTreeSet<Timestamp> = ends.filter(|at| start < *at && *at < end).collect();
        cuts.insert(end);
        let mut from = start;
        let parts = cuts.into_iter().filter_map(|until| {
            let begin = std::mem::replace(&mut from, until);
            let factor = self.factor(begin);
            let part = roll_up_span(&rule.before_scaling(factor), begin, until, samples)?;
            Some(if factor == 1.0 { part } else { part.scaled(factor) })
        });
        parts.reduce(|sum, part| sum.then(&part))
    }

    /// As [`roll_up`](crate::roll_up), of samples that [`Self::apply`] gave.
    #[must_use]
    pub fn roll_up(&self, rule: &RollupRule, start: Timestamp, samples: &[Sample]) -> Option<Rollup> {
        self.roll_up_span(rule, start, start.plus_millis(WINDOW_MS), samples)
    }

    /// Whether what a counter shows within a window can be subtracted: it is one meter there,
    /// and one factor.
    #[must_use]
    pub fn is_even(&self, window: TimeWindow) -> bool {
        let mut edges = self.scales.iter().flat_map(|(scaled, _)| [scaled.from, scaled.end()]);
        self.swaps.range(window.from..window.end()).next().is_none() && !edges.any(|at| window.from < at && window.contains(at))
    }

    /// The times at which samples differ once `correction` is made beside these,
    /// or taken back so that these are left, in order and apart. Windows within
    /// a context of them differ too.
    #[must_use]
    pub fn touched(&self, correction: &Correction) -> Vec<TimeWindow> {
        let window = correction.window;
        match correction.kind {
            CorrectionKind::Exclude | CorrectionKind::Scale { .. } | CorrectionKind::Manual { .. } => vec![window],
            CorrectionKind::MeterSwap { .. } => vec![TimeWindow::between(window.from, window.from.plus_millis(1))],
            CorrectionKind::Shift { millis } => {
                let images = self.pieces().into_iter().filter_map(|(piece, offset)| Some((piece.intersect(&window)?, offset)));
                joined(images.flat_map(|(part, offset)| [moved(part, offset), moved(part, offset.saturating_add(millis))]))
            }
        }
    }

    /// Bounds for the times of corrected samples, from those of a series' first and
    /// last reading, if it has any; `None` where there is nothing.
    #[must_use]
    pub fn extent(&self, kind: Kind, readings: Option<(Timestamp, Timestamp)>) -> Option<(Timestamp, Timestamp)> {
        let moved_to = readings.and_then(|(first, last)| self.extent_of_readings(first, last));
        let manual = self.manual.iter().map(|(window, _)| *window);
        let swaps = self.swaps.keys().filter(|_| kind.accumulates()).map(|at| TimeWindow::between(*at, at.plus_millis(1)));
        let made = manual.chain(swaps).map(|window| (window.from, window.end().plus_millis(-1)));
        moved_to.into_iter().chain(made).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    fn extent_of_readings(&self, first: Timestamp, last: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let all = TimeWindow::between(first, last.plus_millis(1));
        let targets = self.targets(all);
        let last = targets.last()?.end().plus_millis(-1);
        let mut first = targets.first()?.from;
        while let Some(out) = self.excluded.iter().find(|window| window.contains(first) && window.end() <= last) {
            first = out.end();
        }
        Some((first, last))
    }

    fn shifted(&self, wanted: TimeWindow, raw: &[Sample]) -> BTreeMap<Timestamp, f64> {
        let mut samples = BTreeMap::new();
        let (stay, go): (Vec<_>, Vec<_>) =
            raw.iter().map(|sample| (self.offset(sample.at), sample)).partition(|(millis, _)| *millis == 0);
        for (millis, sample) in go.into_iter().chain(stay) {
            let at = sample.at.plus_millis(millis);
            if wanted.contains(at) {
                samples.insert(at, sample.value);
            }
        }
        samples
    }

    fn swapped(&self, wanted: TimeWindow, mut samples: BTreeMap<Timestamp, f64>) -> Vec<Sample> {
        let swaps: BTreeMap<Timestamp, (f64, f64)> =
            self.swaps.iter().filter(|(at, _)| wanted.contains(**at)).map(|(at, values)| (*at, *values)).collect();
        for (at, (_, first_new)) in &swaps {
            samples.entry(*at).or_insert(*first_new);
        }
        let ends = |(at, value): (Timestamp, f64)| {
            let old = swaps.get(&at).map(|(last_old, _)| Sample { at, value: *last_old });
            old.into_iter().chain([Sample { at, value }])
        };
        samples.into_iter().flat_map(ends).collect()
    }

    /// How far a reading that carries a time is moved.
    fn offset(&self, at: Timestamp) -> i64 {
        let shifts = self.shifts.iter().filter(|(window, _)| window.contains(at));
        shifts.fold(0i64, |sum, (_, millis)| sum.saturating_add(*millis))
    }

    fn factor(&self, at: Timestamp) -> f64 {
        self.scales.iter().filter(|(window, _)| window.contains(at)).map(|(_, factor)| factor).product()
    }

    /// All of time, cut so that readings of a piece are moved equally far.
    fn pieces(&self) -> Vec<(TimeWindow, i64)> {
        let mut cuts: BTreeSet<Timestamp> = self.shifts.iter().flat_map(|(window, _)| [window.from, window.end()]).collect();
        cuts.insert(Timestamp::MIN);
        cuts.remove(&Timestamp::MAX);
        let cuts: Vec<Timestamp> = cuts.into_iter().collect();
        let untils = cuts.iter().skip(1).map(|at| Some(*at)).chain([None]);
        cuts.iter().zip(untils).map(|(from, until)| (TimeWindow { from: *from, until }, self.offset(*from))).collect()
    }
}

fn moved(window: TimeWindow, millis: i64) -> TimeWindow {
    TimeWindow { from: window.from.plus_millis(millis), until: window.until.map(|until| until.plus_millis(millis)) }
}

/// Windows in order, those that meet as one.
fn joined(windows: impl IntoIterator<Item = TimeWindow>) -> Vec<TimeWindow> {
    let mut sorted: Vec<TimeWindow> = windows.into_iter().filter(|window| !window.is_empty()).collect();
    sorted.sort_by_key(|window| window.from);
    let mut apart: Vec<TimeWindow> = Vec::new();
    for window in sorted {
        match apart.last_mut() {
            Some(last) if window.from <= last.end() => {
                last.until = last.until.zip(window.until).map(|(a, b)| a.max(b));
            }
            _ => apart.push(window),
        }
    }
    apart
}

/// When a value that stands for a window was read: a gauge holds it, with a
/// reading each quarter of an hour so that they are linked, and one at the end.
fn manual_instants(kind: Kind, window: TimeWindow, wanted: TimeWindow) -> Vec<Timestamp> {
    let Some(shared) = window.intersect(&wanted) else { return Vec::new() };
    let mut instants: Vec<Timestamp> = [window.from].into_iter().filter(|at| wanted.contains(*at)).collect();
    if kind != Kind::Gauge {
        return instants;
    }
    let mut quarter = window_of(shared.from);
    while quarter < shared.end() {
        instants.push(quarter);
        quarter = quarter.plus_millis(WINDOW_MS);
    }
    instants.push(window.end().plus_millis(-1));
    instants.retain(|at| shared.contains(*at));
    instants
}

#[cfg(test)]
mod tests;
