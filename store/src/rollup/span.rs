//! Local days and months: which ones changed windows belong to, and their sums.

use std::collections::BTreeMap;

use heliograph_domain::{LocalSpan, Rollup, SpanStep, Timestamp, ZoneHistory};

/// The spans that hold some windows, by where they begin.
pub(crate) fn spans_of(
    history: &ZoneHistory,
    step: SpanStep,
    windows: impl IntoIterator<Item = Timestamp>,
) -> BTreeMap<Timestamp, LocalSpan> {
    let mut spans: BTreeMap<Timestamp, LocalSpan> = BTreeMap::new();
    let mut last: Option<LocalSpan> = None;
    for start in windows {
        if last.as_ref().is_some_and(|span| span.start <= start && start < span.end) {
            continue;
        }
        let span = history.span(step, start);
        spans.insert(span.start, span.clone());
        last = Some(span);
    }
    spans
}

/// What parts in the order of time are together; `None` of none.
pub(crate) fn sum(parts: impl IntoIterator<Item = Rollup>) -> Option<Rollup> {
    parts.into_iter().reduce(|sum, part| sum.then(&part))
}
