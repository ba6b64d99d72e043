//! From marks and samples to the rollups that have to be written.

use std::collections::BTreeSet;

use heliograph_domain::{
    Rollup, RollupRule, Sample, SeriesCorrections, TimeWindow, Timestamp, WINDOW_MS, affected_windows, window_of,
};

use super::WindowRollup;
use super::correct::windows_of;
use super::gather::{Gathering, Samples};
use super::series::{Slot, StoredSeries};

/// Marks further apart than this are settled apart, so that the frames between
/// them need not be read.
const APART_MS: i64 = 6 * 3_600_000;

/// What a series' windows have become. Day and month rollups of whoever keeps
/// them follow from these.
#[derive(Debug)]
pub(crate) struct SettledSeries {
    pub(crate) slot: Slot,
    /// By start, each once; `None`: nothing is known of the window any more.
    pub(crate) windows: Vec<(Timestamp, Option<Rollup>)>,
    /// The windows that may also follow from readings that are gone: what is stored of these
    /// stands where it knows more.
    pub(crate) cut_off: BTreeSet<Timestamp>,
}

impl SettledSeries {
    /// Lets stand what is stored of a window that is cut off, where it has readings that are
    /// gone, or a rise since one.
    pub(crate) fn let_stand(&mut self, stored: &WindowRollup) {
        let Some((_, now)) = self.windows.iter_mut().find(|(start, _)| *start == stored.start) else { return };
        let stored = &stored.rollup;
        let has_risen = |now: &Rollup| stored.count == now.count && stored.flags.estimated && !now.flags.estimated;
        if now.as_ref().is_none_or(|now| stored.count > now.count || has_risen(now)) {
            *now = Some(*stored);
        }
    }
}

/// Sorted marks in groups that are settled at once; with those of the windows
/// into which corrections move the readings of the marked ones.
pub(crate) fn runs(series: &[StoredSeries], marks: &[Timestamp]) -> Vec<Vec<Timestamp>> {
    let mut all: BTreeSet<Timestamp> = marks.iter().copied().collect();
    for corrections in series.iter().filter_map(|series| series.corrections.as_ref()) {
        let marked = marks.iter().map(|mark| TimeWindow::between(*mark, mark.plus_millis(WINDOW_MS)));
        all.extend(marked.flat_map(|marked| corrections.targets(marked)).flat_map(windows_of));
    }
    let all: Vec<Timestamp> = all.into_iter().collect();
    all.chunk_by(|a, b| b.millis_since(*a) <= APART_MS).map(<[Timestamp]>::to_vec).collect()
}

/// How many samples are held at once.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    of_several_windows: usize,
    /// Of one window and several series. Of one series there is a sample a millisecond
    /// at most.
    of_one_window: usize,
}

impl Bounds {
    /// 4 MiB and 32.
    const DEFAULT: Self = Self { of_several_windows: 1 << 18, of_one_window: 1 << 21 };
}

/// Marked windows of some series: as many as are settled at once, whatever a gateway has
/// pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion<'a> {
    pub(crate) series: &'a [StoredSeries],
    pub(crate) run: &'a [Timestamp],
    /// Whether the gateway has further series.
    part: bool,
    bounds: Bounds,
}

impl<'a> Portion<'a> {
    /// A run of all series.
    pub(crate) const fn new(series: &'a [StoredSeries], run: &'a [Timestamp]) -> Self {
        Self { series, run, part: false, bounds: Bounds::DEFAULT }
    }

    /// Begins to gather the samples that it needs.
    pub(crate) fn gathering(&self) -> Gathering<'a> {
        let first = self.run.first().copied().unwrap_or(Timestamp::MIN);
        let end = self.run.last().map_or(first, |last| last.plus_millis(WINDOW_MS));
        let most = match (self.run.len(), self.series.len()) {
            (2.., _) => self.bounds.of_several_windows,
            (_, 2..) => self.bounds.of_one_window,
            _ => usize::MAX,
        };
        let gathering = Gathering::new(self.series, first, end, most);
        if self.part { gathering.of_some() } else { gathering }
    }

    /// Its halves, where it was too much: windows first, since the frames of one hold all
    /// of its series.
    pub(crate) fn halves(self) -> [Self; 2] {
        if self.run.len() > 1 {
            let (one, other) = self.run.split_at(self.run.len() / 2);
            return [Self { run: one, ..self }, Self { run: other, ..self }];
        }
        let (one, other) = self.series.split_at(self.series.len() / 2);
        [Self { series: one, part: true, ..self }, Self { series: other, part: true, ..self }]
    }
}

/// Rolls up every window that the readings of the marked ones have a part in. Readings from
/// before `kept_from` may be gone.
pub(crate) fn settle(series: &[StoredSeries], run: &[Timestamp], samples: &Samples, kept_from: Timestamp) -> Vec<SettledSeries> {
    // A series without readings there has no part in why it was marked, unless it
    // was corrected: then those that were there may be gone.
    let touched = series.iter().filter_map(|series| Some((series, samples.get(&series.slot)?)));
    touched
        .map(|(series, samples)| {
            let rule = &series.rule;
            let mut windows: BTreeSet<Timestamp> =
                run.iter().flat_map(|mark| affected_windows(rule, *mark, near(samples, rule, *mark))).collect();
            if series.corrections.is_some() {
                windows.extend(run.iter().flat_map(|mark| linked_before(rule, *mark)));
            }
            let roll_up = |start: Timestamp| series.corrections().roll_up(rule, start, near(samples, rule, start));
            let cut_off = windows.iter().copied().filter(|start| is_cut_off(series, *start, samples, kept_from)).collect();
            let windows = windows.into_iter().map(|start| (start, roll_up(start))).collect();
            SettledSeries { slot: series.slot, windows, cut_off }
        })
        .collect()
}

/// A counter of which too few readings are left from before what is settled: what it rose
/// until the first one that is there follows from one that is gone.
#[derive(Debug)]
pub(crate) struct Bereft<'a> {
    pub(crate) series: &'a StoredSeries,
    /// The place of that first one.
    place: usize,
    /// What tells of those that are gone is a window that begins before this one.
    pub(crate) before: Timestamp,
}

/// The counters of which readings are gone that would have a part.
pub(crate) fn bereft<'a>(portion: Portion<'a>, samples: &Samples, kept_from: Timestamp) -> Vec<Bereft<'a>> {
    let Some(begin) = portion.run.first() else { return Vec::new() };
    let had_some = |series: &StoredSeries| series.extent.is_some_and(|extent| extent.first < kept_from);
    let counters = portion.series.iter().filter(|series| series.rule.kind.accumulates() && had_some(series));
    let one = |series: &'a StoredSeries| {
        let (samples, rule) = (samples.get(&series.slot)?, &series.rule);
        // What corrections have made is there however old it is; and where there are any,
        // windows around the marked ones are rolled up too.
        let (place, begin) = match series.corrections {
            None => (0, *begin),
            Some(_) => (samples.partition_point(|sample| sample.at < kept_from), begin.plus_millis(-linked_reach_ms(rule))),
        };
        let left = samples.get(place..).unwrap_or_default();
        let first = window_of(left.first()?.at);
        let before = if series.corrections.is_none() { first } else { first.min(kept_from) };
        has_too_few(left, rule, begin).then_some(Bereft { series, place, before })
    };
    counters.filter_map(one).collect()
}

/// Whether a sample before these could have a part in the windows from an instant on, or in
/// those before it that follow from samples there.
fn has_too_few(samples: &[Sample], rule: &RollupRule, begin: Timestamp) -> bool {
    let before = samples.get(..samples.partition_point(|sample| sample.at < begin)).unwrap_or_default();
    let furthest = before.len().checked_sub(rule.context() + 1).and_then(|place| before.get(place));
    let boundary = furthest.map(|sample| window_of(sample.at));
    boundary.is_none_or(|boundary| before.partition_point(|sample| sample.at < boundary) <= rule.context())
}

impl Bereft<'_> {
    /// Puts what the counter showed last, by the newest stored window with readings, in the
    /// place of readings that are gone. Where somebody has ever corrected the series, what is
    /// stored may not be what its readings would be now: there it only tells that what
    /// corrections have made is not what the first reading follows.
    pub(crate) fn make_good(&self, samples: &mut Samples, newest: &WindowRollup) {
        let Some(samples) = samples.get_mut(&self.series.slot).filter(|_| newest.start < self.before) else { return };
        if self.series.corrections.is_some() {
            let older = self.place.checked_sub(1).and_then(|place| samples.get(place));
            let is_followed = older.is_some_and(|older| match window_of(older.at) {
                window if window == newest.start => older.value.to_bits() != newest.rollup.last.to_bits(),
                window => window < newest.start,
            });
            if is_followed {
                samples.drain(..self.place);
            }
        // What it showed last may be what was left out.
        } else if !newest.rollup.flags.implausible {
            let at = newest.start.plus_millis(WINDOW_MS - 1);
            samples.insert(self.place, Sample { at, value: newest.rollup.last });
        }
    }
}

/// Whether readings had a part in a window that may be gone: the one that a counter's first
/// one follows, however old, and those that a correction moves into it.
fn is_cut_off(series: &StoredSeries, start: Timestamp, samples: &[Sample], kept_from: Timestamp) -> bool {
    // Most often nothing is gone, and nothing more is asked.
    if series.extent.is_none_or(|extent| extent.first >= kept_from) {
        return false;
    }
    let follows = series.rule.kind.accumulates() && samples.first().is_none_or(|sample| sample.at >= start);
    let comes_from_before = |corrections: &SeriesCorrections| {
        let sources = corrections.sources(TimeWindow::between(start, start.plus_millis(WINDOW_MS)));
        sources.first().is_some_and(|source| source.from < kept_from)
    };
    follows || series.corrections.as_ref().is_some_and(comes_from_before)
}

/// The windows that readings of a marked one could be linked to before a
/// correction took them away.
fn linked_before(rule: &RollupRule, mark: Timestamp) -> impl Iterator<Item = Timestamp> {
    let reach = linked_reach_ms(rule) / WINDOW_MS;
    (-reach..=reach).map(move |step| mark.plus_millis(step * WINDOW_MS))
}

/// How far from a marked window the last window lies that its readings can be linked to.
pub(super) const fn linked_reach_ms(rule: &RollupRule) -> i64 {
    (rule.max_gap_ms / WINDOW_MS + 1) * WINDOW_MS
}

/// The samples of a window and enough on either side of it.
fn near<'a>(samples: &'a [Sample], rule: &RollupRule, start: Timestamp) -> &'a [Sample] {
    let end = start.plus_millis(WINDOW_MS);
    let margin = rule.context() + 1;
    let from = samples.partition_point(|sample| sample.at < start).saturating_sub(margin);
    let until = (samples.partition_point(|sample| sample.at < end) + margin).min(samples.len());
    samples.get(from..until).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use heliograph_domain::{Kind, MetricName, Quantity, SensorId, Unit};
    use proptest::prelude::*;

    use super::super::gather::{Order, Walked};
    use super::*;
    use crate::rollup::series::Extent;
    use crate::sensor::SeriesRecord;

    type Frames = BTreeMap<Timestamp, Vec<(Slot, f64)>>;

    const KINDS: [Kind; 4] = [Kind::Gauge, Kind::Counter, Kind::IntervalEnergy, Kind::NetCounter];

    fn series(slot: Slot, frames: &Frames) -> StoredSeries {
        let kind = KINDS[slot as usize % KINDS.len()];
        let unit = Unit::parse("Wh").unwrap();
        let has = |values: &[(Slot, f64)]| values.iter().any(|(of, _)| *of == slot);
        let mut times = frames.iter().filter(|(_, values)| has(values)).map(|(at, _)| *at);
        let first = times.next();
        let extent = first.map(|first| Extent { first, last: times.next_back().unwrap_or(first) });
        let rule = RollupRule::of_series(kind, &unit, None);
        let metric = MetricName::parse(&format!("m{slot}")).unwrap();
        let record = SeriesRecord { metric, unit, kind, quantity: Quantity::Other, latest: None, heard: None, first };
        StoredSeries { slot, sensor: SensorId::parse("s").unwrap(), record, extent, rule, corrections: None }
    }

    fn gathered(portion: Portion<'_>, frames: &Frames) -> Option<Samples> {
        let mut gathering = portion.gathering();
        while let Some(walk) = gathering.need() {
            let within = frames.range(walk.window.from..walk.window.end());
            let mut frames: Vec<_> = within.collect();
            if walk.order == Order::Backwards {
                frames.reverse();
            }
            for (at, values) in frames {
                if !gathering.take(*at, values) {
                    break;
                }
            }
            gathering.walked();
        }
        (!gathering.is_full()).then(|| gathering.finish())
    }

    /// What becomes of windows within some bounds, which hold wherever there is something
    /// left to divide.
    fn all(
        series: &[StoredSeries],
        run: &[Timestamp],
        frames: &Frames,
        bounds: Bounds,
    ) -> HashMap<(Slot, Timestamp), Option<Rollup>> {
        let mut portions = vec![Portion { bounds, ..Portion::new(series, run) }];
        let mut found = HashMap::new();
        while let Some(portion) = portions.pop() {
            let Some(samples) = gathered(portion, frames) else {
                portions.extend(portion.halves());
                continue;
            };
            let held: usize = samples.values().map(Vec::len).sum();
            let most = match (portion.run.len(), portion.series.len()) {
                (2.., _) => bounds.of_several_windows,
                (_, 2..) => bounds.of_one_window,
                _ => usize::MAX,
            };
            assert!(held <= most, "{held} samples of {} windows and {} series", portion.run.len(), portion.series.len());
            for settled in settle(portion.series, portion.run, &samples, Timestamp::MIN) {
                for (start, rollup) in settled.windows {
                    let known = found.insert((settled.slot, start), rollup);
                    assert!(known.is_none_or(|known| known == rollup), "{known:?} and {rollup:?}");
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn windows_that_are_too_much_at_once_become_the_same_part_by_part(
            readings in proptest::collection::vec((0_i64..8 * WINDOW_MS, 0_u32..5, -50.0..5_000.0_f64), 1..200),
            marks in proptest::collection::btree_set(0_i64..8, 1..8),
            of_several_windows in 0_usize..60,
            of_one_window in 0_usize..30,
        ) {
            let mut frames = Frames::new();
            for (at, slot, value) in readings {
                let frame = frames.entry(Timestamp::clamped(at)).or_default();
                if let Err(place) = frame.binary_search_by_key(&slot, |(slot, _)| *slot) {
                    frame.insert(place, (slot, value));
                }
            }
            let series: Vec<StoredSeries> = (0..5).map(|slot| series(slot, &frames)).collect();
            let run: Vec<Timestamp> = marks.into_iter().map(|mark| Timestamp::clamped(mark * WINDOW_MS)).collect();
            let whole = all(&series, &run, &frames, Bounds { of_several_windows: usize::MAX, of_one_window: usize::MAX });
            let parts = all(&series, &run, &frames, Bounds { of_several_windows, of_one_window });
            for (window, rollup) in &parts {
                prop_assert_eq!(whole.get(window), Some(rollup));
            }
            // A series is looked at where it has readings in the marked windows of a part.
            for ((slot, start), rollup) in &whole {
                let has_readings = rollup.is_some_and(|rollup| rollup.count > 0);
                prop_assert!(!has_readings || !run.contains(start) || parts.contains_key(&(*slot, *start)), "{} {}", slot, start);
            }
        }
    }
}
