//! From marks and samples to the rollups that have to be written.

use std::collections::BTreeSet;

use heliograph_domain::{Rollup, RollupRule, Sample, TimeWindow, Timestamp, WINDOW_MS, affected_windows};

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

/// Begins to gather the samples that a run of marks needs.
pub(crate) fn gathering<'a>(series: &'a [StoredSeries], run: &[Timestamp]) -> Gathering<'a> {
    let first = run.first().copied().unwrap_or(Timestamp::MIN);
    let end = run.last().map_or(first, |last| last.plus_millis(WINDOW_MS));
    Gathering::new(series, first, end)
}

/// Rolls up every window that the readings of the marked ones have a part in.
pub(crate) fn settle(series: &[StoredSeries], run: &[Timestamp], samples: &Samples) -> Vec<SettledSeries> {
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
            let windows = windows.into_iter().map(|start| (start, roll_up(start))).collect();
            SettledSeries { slot: series.slot, windows }
        })
        .collect()
}

/// The windows that readings of a marked one could be linked to before a
/// correction took them away.
fn linked_before(rule: &RollupRule, mark: Timestamp) -> impl Iterator<Item = Timestamp> {
    let reach = rule.max_gap_ms / WINDOW_MS + 1;
    (-reach..=reach).map(move |step| mark.plus_millis(step * WINDOW_MS))
}

/// The samples of a window and enough on either side of it.
fn near<'a>(samples: &'a [Sample], rule: &RollupRule, start: Timestamp) -> &'a [Sample] {
    let end = start.plus_millis(WINDOW_MS);
    let margin = rule.context() + 1;
    let from = samples.partition_point(|sample| sample.at < start).saturating_sub(margin);
    let until = (samples.partition_point(|sample| sample.at < end) + margin).min(samples.len());
    samples.get(from..until).unwrap_or_default()
}
