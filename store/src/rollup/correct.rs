//! Readings of series that people have corrected: which have to be read, and
//! which windows a correction marks.
//!
//! A correction can leave out any number of readings and pull others in from
//! elsewhere, so nothing tells beforehand how far to look. A stretch is read,
//! corrected and, where too little is left of it, read anew four times as wide.

use std::collections::{BTreeSet, VecDeque};

use heliograph_domain::{
    Correction, CorrectionKind, Kind, RollupRule, Sample, SeriesCorrections, TimeWindow, Timestamp, WINDOW_MS, window_of,
};

use super::gather::{Order, Outside, Walk, links_ms};
use super::series::{Extent, FrameValues, Slot, StoredSeries, value_of};
use super::settle::linked_reach_ms;

/// What is looked at first on either side, and how much wider it gets each time.
const FIRST_MARGIN_MS: i64 = 12 * 3_600_000;
const WIDENING: i64 = 4;

/// The corrected samples of a stretch of time. The caller walks and feeds, as
/// with [`super::gather`].
#[derive(Debug)]
pub(crate) struct CorrectedStretch<'a> {
    series: &'a StoredSeries,
    wanted: TimeWindow,
    walks: VecDeque<TimeWindow>,
    raw: Vec<Sample>,
}

impl<'a> CorrectedStretch<'a> {
    pub(crate) fn new(series: &'a StoredSeries, wanted: TimeWindow) -> Self {
        let all = series.extent.map(|extent| TimeWindow::between(extent.first, extent.last.plus_millis(1)));
        let sources = series.corrections().sources(wanted);
        let walks = sources.into_iter().filter_map(|source| source.intersect(&all?)).collect();
        Self { series, wanted, walks, raw: Vec::new() }
    }

    pub(crate) fn need(&self) -> Option<Walk> {
        self.walks.front().map(|window| Walk { window: *window, order: Order::Forwards })
    }

    pub(crate) fn take(&mut self, at: Timestamp, values: &FrameValues) {
        if let Some(value) = value_of(values, self.series.slot) {
            self.raw.push(Sample { at, value });
        }
    }

    pub(crate) fn walked(&mut self) {
        self.walks.pop_front();
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.series.corrections().apply(self.series.rule.kind, self.wanted, &self.raw)
    }

    /// Whether there may be samples before it, and after it.
    pub(crate) fn ends(&self) -> (bool, bool) {
        match bounds(self.series) {
            Some((first, last)) => (first < self.wanted.from, last >= self.wanted.end()),
            None => (false, false),
        }
    }
}

/// Where the corrected samples of a series lie.
pub(crate) fn bounds(series: &StoredSeries) -> Option<(Timestamp, Timestamp)> {
    series.corrections().extent(series.rule.kind, series.extent.map(|extent| (extent.first, extent.last)))
}

/// A series that was corrected, around a run of marks.
#[derive(Debug)]
pub(crate) struct CorrectedGathering<'a> {
    from: Timestamp,
    until: Timestamp,
    /// How far is looked before and after.
    margins: (i64, i64),
    stretch: CorrectedStretch<'a>,
    found: Option<Vec<Sample>>,
}

impl<'a> CorrectedGathering<'a> {
    pub(crate) fn around(series: &'a StoredSeries, from: Timestamp, until: Timestamp) -> Self {
        let margin = if series.rule.kind.accumulates() { FIRST_MARGIN_MS } else { links_ms(series) };
        let mut gathering = Self {
            from,
            until,
            margins: (margin, margin),
            stretch: CorrectedStretch::new(series, TimeWindow::between(from, until)),
            found: None,
        };
        gathering.begin();
        gathering
    }

    pub(crate) fn need(&self) -> Option<Walk> {
        self.stretch.need()
    }

    pub(crate) fn take(&mut self, at: Timestamp, values: &FrameValues) -> bool {
        self.stretch.take(at, values);
        true
    }

    pub(crate) fn walked(&mut self) {
        self.stretch.walked();
        self.judge();
    }

    pub(crate) fn finish(self) -> (Slot, Vec<Sample>) {
        (self.stretch.series.slot, self.found.unwrap_or_default())
    }

    fn begin(&mut self) {
        let wanted = TimeWindow::between(self.from.plus_millis(-self.margins.0), self.until.plus_millis(self.margins.1));
        self.stretch = CorrectedStretch::new(self.stretch.series, wanted);
        self.judge();
    }

    /// Once all is read, looks whether it is enough: every window that is rolled up anew,
    /// whole, and its context.
    fn judge(&mut self) {
        if self.stretch.need().is_some() {
            return;
        }
        let samples = self.stretch.samples();
        let rule = &self.stretch.series.rule;
        let reach = linked_reach_ms(rule);
        let (from, until) = (self.from.plus_millis(-reach), self.until.plus_millis(reach));
        let before = samples.iter().rev().skip_while(|sample| sample.at >= from);
        let after = samples.iter().skip_while(|sample| sample.at < until);
        let (more_before, more_after) = self.stretch.ends();
        let widen = (more_before && is_too_little(before, rule), more_after && is_too_little(after, rule));
        if !rule.kind.accumulates() || widen == (false, false) {
            self.found = Some(samples);
            return;
        }
        self.margins.0 *= if widen.0 { WIDENING } else { 1 };
        self.margins.1 *= if widen.1 { WIDENING } else { 1 };
        self.begin();
    }
}

/// Whether further samples may have a part in windows beside some that are rolled up
/// anew; these samples begin with the nearest.
fn is_too_little<'a>(samples: impl Iterator<Item = &'a Sample>, rule: &RollupRule) -> bool {
    let mut outside = Outside::default();
    let mut samples = samples;
    samples.all(|sample| outside.push(*sample, rule.context()))
}

/// The corrected samples of a window from one of its ends on, a wider part each
/// time.
#[derive(Debug)]
pub(crate) struct CorrectedEnd<'a> {
    window: TimeWindow,
    order: Order,
    margin: i64,
    stretch: CorrectedStretch<'a>,
}

impl<'a> CorrectedEnd<'a> {
    /// `None` where the window holds no sample.
    pub(crate) fn new(series: &'a StoredSeries, visible: TimeWindow, order: Order) -> Option<Self> {
        let (first, last) = bounds(series)?;
        let window = visible.intersect(&TimeWindow::between(first, last.plus_millis(1)))?;
        let part = part(window, order, FIRST_MARGIN_MS);
        Some(Self { window, order, margin: FIRST_MARGIN_MS, stretch: CorrectedStretch::new(series, part) })
    }

    pub(crate) fn need(&self) -> Option<Walk> {
        self.stretch.need()
    }

    pub(crate) fn take(&mut self, at: Timestamp, values: &FrameValues) {
        self.stretch.take(at, values);
    }

    pub(crate) fn walked(&mut self) {
        self.stretch.walked();
    }

    /// What has been read, in the order of the walk, and whether that is all.
    pub(crate) fn samples(&self) -> (Vec<Sample>, bool) {
        let mut samples = self.stretch.samples();
        if self.order == Order::Backwards {
            samples.reverse();
        }
        (samples, self.stretch.wanted == self.window)
    }

    pub(crate) fn widen(&mut self) {
        self.margin = self.margin.saturating_mul(WIDENING);
        self.stretch = CorrectedStretch::new(self.stretch.series, part(self.window, self.order, self.margin));
    }
}

fn part(window: TimeWindow, order: Order, margin: i64) -> TimeWindow {
    match order {
        Order::Forwards => TimeWindow::between(window.from, window.end().min(window.from.plus_millis(margin))),
        Order::Backwards => TimeWindow::between(window.from.max(window.end().plus_millis(-margin)), window.end()),
    }
}

/// The windows to mark when a correction is made beside others, or taken back so
/// that these are left: those in which samples were or will be.
pub(crate) fn marks(kind: Kind, extent: Option<Extent>, others: &SeriesCorrections, correction: &Correction) -> Vec<Timestamp> {
    let within = |window: Option<TimeWindow>| window.and_then(|window| window.intersect(&correction.window));
    let touched = match correction.kind {
        CorrectionKind::Manual { .. } | CorrectionKind::MeterSwap { .. } => others.touched(correction),
        CorrectionKind::Shift { .. } => {
            let readings = within(extent.map(|extent| TimeWindow::between(extent.first, extent.last.plus_millis(1))));
            readings.map_or_else(Vec::new, |window| others.touched(&Correction { window, ..correction.clone() }))
        }
        CorrectionKind::Exclude | CorrectionKind::Scale { .. } => {
            let bounds = others.extent(kind, extent.map(|extent| (extent.first, extent.last)));
            within(bounds.map(|(first, last)| TimeWindow::between(first, last.plus_millis(1)))).into_iter().collect()
        }
    };
    let windows: BTreeSet<Timestamp> = touched.into_iter().flat_map(windows_of).collect();
    windows.into_iter().collect()
}

/// The windows that a time shares something with.
pub(super) fn windows_of(window: TimeWindow) -> impl Iterator<Item = Timestamp> {
    let end = window.end();
    std::iter::successors(Some(window_of(window.from)), |start| Some(start.plus_millis(WINDOW_MS)))
        .take_while(move |start| *start < end)
}
