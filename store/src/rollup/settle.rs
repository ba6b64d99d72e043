//! From marks and samples to the rollups that have to be written.

use std::collections::BTreeSet;

use heliograph_domain::{Rollup, RollupRule, Sample, Timestamp, WINDOW_MS, affected_windows, roll_up};

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

/// Sorted marks in groups that are settled at once.
pub(crate) fn runs(marks: &[Timestamp]) -> impl Iterator<Item = &[Timestamp]> {
    marks.chunk_by(|a, b| b.millis_since(*a) <= APART_MS)
}

/// Begins to gather the samples that a run of marks needs.
pub(crate) fn gathering<'a>(series: &'a [StoredSeries], run: &[Timestamp]) -> Gathering<'a> {
    let first = run.first().copied().unwrap_or(Timestamp::MIN);
    let end = run.last().map_or(first, |last| last.plus_millis(WINDOW_MS));
    Gathering::new(series, first, end)
}

/// Rolls up every window that the readings of the marked ones have a part in.
pub(crate) fn settle(series: &[StoredSeries], run: &[Timestamp], samples: &Samples) -> Vec<SettledSeries> {
    // A series without readings there has no part in why it was marked.
    let touched = series.iter().filter_map(|series| Some((series, samples.get(&series.slot)?)));
    touched
        .map(|(series, samples)| {
            let rule = &series.rule;
            let windows: BTreeSet<Timestamp> =
                run.iter().flat_map(|mark| affected_windows(rule, *mark, near(samples, rule, *mark))).collect();
            let windows = windows.into_iter().map(|start| (start, roll_up(rule, start, near(samples, rule, start)))).collect();
            SettledSeries { slot: series.slot, windows }
        })
        .collect()
}

/// The samples of a window and enough on either side of it.
fn near<'a>(samples: &'a [Sample], rule: &RollupRule, start: Timestamp) -> &'a [Sample] {
    let end = start.plus_millis(WINDOW_MS);
    let margin = rule.context() + 1;
    let from = samples.partition_point(|sample| sample.at < start).saturating_sub(margin);
    let until = (samples.partition_point(|sample| sample.at < end) + margin).min(samples.len());
    samples.get(from..until).unwrap_or_default()
}
