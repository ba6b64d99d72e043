//! The windows at either end of what may be seen, rolled up from the visible
//! readings alone: what happened outside must not show in them.
//!
//! As with [`super::gather`], the caller walks and feeds.

use std::collections::BTreeSet;

use heliograph_domain::{Kind, Sample, TimeWindow, Timestamp, WINDOW_MS, window_of};

use super::correct::CorrectedEnd;
use super::gather::{Order, Walk, Walked};
use super::series::{Extent, FrameValues, StoredSeries, value_of};
use super::{Sight, WindowRollup};
use crate::retention::kept_from;

/// Samples at both ends of what may be seen, of all series.
#[derive(Debug)]
pub(crate) struct EdgeGathering<'a> {
    /// The beginning and, where what may be seen has one, the end.
    sides: Vec<Side<'a>>,
    sight: Sight,
    sealed: Timestamp,
}

impl<'a> EdgeGathering<'a> {
    /// Of windows that begin before `sealed`, the readings may be gone.
    pub(crate) fn new(series: &'a [StoredSeries], sight: Sight, sealed: Timestamp) -> Self {
        let visible = sight.part;
        let orders = [Some(Order::Forwards), visible.until.map(|_| Order::Backwards)];
        Self { sides: orders.into_iter().flatten().map(|order| Side::new(series, visible, order)).collect(), sight, sealed }
    }

    /// The edges of each series, in their order.
    pub(crate) fn finish(self) -> Vec<Edges> {
        let (sight, sealed) = (self.sight, self.sealed);
        let mut sides = self.sides.into_iter().map(|side| side.ends);
        let heads = sides.next().unwrap_or_default();
        let mut tails = sides.next().unwrap_or_default().into_iter();
        heads.into_iter().map(|head| Edges::of(sight, sealed, &head, tails.next().as_ref())).collect()
    }
}

impl Walked for EdgeGathering<'_> {
    fn need(&self) -> Option<Walk> {
        self.sides.iter().find_map(Side::need)
    }

    fn take(&mut self, at: Timestamp, values: &FrameValues) -> bool {
        self.sides.iter_mut().find(|side| !side.over).is_some_and(|side| side.take(at, values))
    }

    fn walked(&mut self) {
        if let Some(side) = self.sides.iter_mut().find(|side| !side.over) {
            side.walked();
        }
    }
}

/// The same end of what may be seen of all series.
#[derive(Debug)]
struct Side<'a> {
    order: Order,
    ends: Vec<End<'a>>,
    /// The series that people have corrected, by their place, walked one by one
    /// after the others.
    corrected: Vec<(usize, CorrectedEnd<'a>)>,
    /// Whether the walk under way was ended from here.
    stopped: bool,
    /// Whether nothing is left to walk.
    over: bool,
}

/// The visible samples of a series at one end: so many as a reading outside can
/// have an influence over, all others of the windows up to there, and their
/// context.
#[derive(Debug)]
struct End<'a> {
    series: &'a StoredSeries,
    /// What of the series' extent may be seen.
    span: TimeWindow,
    samples: Vec<Sample>,
    /// The window furthest from the end that a reading outside of it could have
    /// had a part in; `None` where there are no samples.
    boundary: Option<Timestamp>,
    beyond: usize,
    done: bool,
}

impl<'a> Side<'a> {
    fn new(series: &'a [StoredSeries], visible: TimeWindow, order: Order) -> Self {
        let ends: Vec<End<'a>> = series.iter().map(|series| End::new(series, visible)).collect();
        let corrected = series.iter().enumerate().filter(|(_, series)| series.corrections.is_some());
        let corrected = corrected.filter_map(|(place, series)| Some((place, CorrectedEnd::new(series, visible, order)?)));
        let mut side = Self { order, corrected: corrected.collect(), ends, stopped: false, over: false };
        side.judge();
        side
    }

    /// Gives corrected samples to their ends as far as they are read, and looks
    /// whether anything is left to walk.
    fn judge(&mut self) {
        if self.ends.iter().any(|end| !end.done) {
            return;
        }
        while let Some((place, corrected)) = self.corrected.last_mut() {
            if corrected.need().is_some() {
                return;
            }
            let (samples, all) = corrected.samples();
            let Some(end) = self.ends.get_mut(*place) else { break };
            if end.take_all(&samples) || all {
                self.corrected.pop();
            } else {
                corrected.widen();
            }
        }
        self.over = true;
    }

    fn open(&self) -> impl Iterator<Item = &End<'a>> {
        self.ends.iter().filter(|end| !end.done)
    }

    fn need(&self) -> Option<Walk> {
        if self.ends.iter().all(|end| end.done) {
            return self.corrected.last().and_then(|(_, corrected)| corrected.need());
        }
        let from = self.open().map(|end| end.span.from).min()?;
        let until = self.open().map(|end| end.span.end()).max()?;
        Some(Walk { window: TimeWindow::between(from, until), order: self.order })
    }

    fn take(&mut self, at: Timestamp, values: &FrameValues) -> bool {
        if self.ends.iter().all(|end| end.done) {
            if let Some((_, corrected)) = self.corrected.last_mut() {
                corrected.take(at, values);
            }
            return true;
        }
        let mut walking = false;
        for end in self.ends.iter_mut().filter(|end| !end.done) {
            match end.place(at, self.order) {
                Place::Ahead => {}
                Place::Behind => end.done = true,
                Place::Within => {
                    end.take(at, values);
                    walking |= !end.done;
                }
            }
        }
        self.stopped = !walking && self.only_far_ones_are_left(at);
        !self.stopped
    }

    /// Whether no series is left, or only such as begin so far on that it is worth
    /// beginning anew there.
    fn only_far_ones_are_left(&self, at: Timestamp) -> bool {
        let distance = |end: &End<'_>| match self.order {
            Order::Forwards => end.span.from.millis_since(at),
            Order::Backwards => at.millis_since(end.span.end()),
        };
        self.open().all(|end| distance(end) > WORTH_A_JUMP_MS)
    }

    fn walked(&mut self) {
        if self.ends.iter().all(|end| end.done) && !self.stopped {
            if let Some((_, corrected)) = self.corrected.last_mut() {
                corrected.walked();
            }
        } else if self.stopped {
            self.stopped = false;
        } else {
            self.ends.iter_mut().for_each(|end| end.done = true);
        }
        self.judge();
    }
}

/// Frames of less than this are walked through rather than jumped over.
const WORTH_A_JUMP_MS: i64 = 24 * 3_600_000;

enum Place {
    Ahead,
    Within,
    Behind,
}

impl<'a> End<'a> {
    fn new(series: &'a StoredSeries, visible: TimeWindow) -> Self {
        let extent = series.extent.map(|extent| TimeWindow::between(extent.first, extent.last.plus_millis(1)));
        let span = extent.and_then(|extent| extent.intersect(&visible));
        let nothing = TimeWindow::between(visible.from, visible.from);
        let (samples, boundary) = (Vec::new(), None);
        Self {
            series,
            span: span.unwrap_or(nothing),
            samples,
            boundary,
            beyond: 0,
            done: span.is_none() || series.corrections.is_some(),
        }
    }

    fn place(&self, at: Timestamp, order: Order) -> Place {
        match order {
            _ if self.span.contains(at) => Place::Within,
            Order::Forwards if at < self.span.from => Place::Ahead,
            Order::Backwards if at >= self.span.end() => Place::Ahead,
            _ => Place::Behind,
        }
    }

    fn take(&mut self, at: Timestamp, values: &FrameValues) {
        if let Some(value) = value_of(values, self.series.slot) {
            self.take_one(Sample { at, value });
            self.done = self.is_enough();
        }
    }

    fn is_enough(&self) -> bool {
        self.beyond > self.series.rule.context() + 1
    }

    /// Begins anew with corrected samples; answers whether they are enough.
    fn take_all(&mut self, samples: &[Sample]) -> bool {
        (self.samples, self.boundary, self.beyond) = (Vec::new(), None, 0);
        samples.iter().any(|sample| {
            self.take_one(*sample);
            self.is_enough()
        })
    }

    fn take_one(&mut self, sample: Sample) {
        let at = sample.at;
        let context = self.series.rule.context() + 1;
        if self.samples.len() <= context {
            self.boundary = Some(window_of(at));
        } else if self.boundary != Some(window_of(at)) {
            self.beyond += 1;
        }
        self.samples.push(sample);
    }
}

/// The windows of one series at both ends.
#[derive(Debug)]
pub(crate) struct Edges {
    begin_until: Timestamp,
    end_from: Timestamp,
    windows: Vec<WindowRollup>,
    /// Where stored windows stand for readings that are gone, and there were some before:
    /// when what may be seen begins.
    cut: Option<Timestamp>,
    /// The stored window of which nothing counts that rose before its first reading, what
    /// kind its series is, and whether its first and last one are of one meter and factor.
    first: Option<(Timestamp, Kind, bool)>,
}

impl Edges {
    /// Where the readings at an edge are gone, the stored windows stand, but for
    /// those so near to what is hidden that a reading there may have a part in them. Of two
    /// parts that meet within a window, the earlier one has it.
    fn of(Sight { part, all }: Sight, sealed: Timestamp, head: &End<'_>, tail: Option<&End<'_>>) -> Self {
        let series = head.series;
        let margin = series.rule.max_gap_ms + 2 * WINDOW_MS;
        let whole_from = |at: Timestamp| window_of(at.plus_millis(WINDOW_MS - 1));
        let extent = series.extent.filter(|extent| extent.first < sealed);
        let mut edges = Self { begin_until: part.end(), end_from: Timestamp::MAX, windows: Vec::new(), cut: None, first: None };

        // Both sides of a seam go over to stored windows at once.
        let is_seam = |extent: &Extent| all.from < part.from && extent.first < part.from;
        let gone = |extent: &Extent| part.from < kept_from(sealed) || is_seam(extent) && part.from <= sealed;
        if let Some(extent) = extent.filter(gone) {
            let seam = if is_seam(&extent) { whole_from(part.from) } else { window_of(part.from) };
            let hidden = extent.first < all.from;
            edges.begin_until = if hidden { seam.max(window_of(all.from.plus_millis(margin))) } else { seam };
            edges.cut = (extent.first < part.from && series.rule.kind.accumulates()).then_some(part.from);
        } else {
            edges.begin_until = head.boundary.map_or(part.end(), |start| start.plus_millis(WINDOW_MS));
            edges.windows = roll(series, part, part.from, edges.begin_until.min(part.end()), &head.samples);
        }

        if let Some(extent) = extent.filter(|_| part.end() <= sealed) {
            let is_seam = part.end() < all.end() || extent.last < part.end();
            let seam = if is_seam { whole_from(part.end()) } else { window_of(part.end()) };
            let hidden = extent.last >= all.end();
            edges.end_from = if hidden { seam.min(window_of(all.end().plus_millis(-margin))) } else { seam };
        } else if let Some(tail) = tail {
            edges.end_from = tail.boundary.unwrap_or_else(|| window_of(part.end())).max(edges.begin_until);
            let samples: Vec<Sample> = tail.samples.iter().rev().copied().collect();
            edges.windows.extend(roll(series, part, edges.end_from, part.end(), &samples));
        }
        edges
    }

    /// The stored window, of some in time order, of which it has to be asked whether what
    /// rose over a gap before it began where it may not be seen.
    pub(crate) fn rises_from_afar(&self, stored: &[WindowRollup]) -> Option<Timestamp> {
        let cut = self.cut?;
        let first = stored.iter().find(|window| window.start >= cut && window.rollup.count > 0)?;
        (first.rollup.flags.estimated && first.start >= self.begin_until).then_some(first.start)
    }

    /// Tells which stored window with readings, if there is one, comes before the one that was
    /// asked about.
    pub(crate) fn begin_with(&mut self, series: &StoredSeries, asked: Timestamp, before: Option<&WindowRollup>) {
        let is_seen = self.cut.zip(before).is_some_and(|(cut, before)| before.start >= cut);
        let window = TimeWindow::between(asked, asked.plus_millis(WINDOW_MS));
        self.first = (!is_seen).then_some((asked, series.rule.kind, series.corrections().is_even(window)));
    }

    /// Lays the edges over the stored windows of a period.
    pub(crate) fn lay_over(self, stored: Vec<WindowRollup>, period: TimeWindow) -> Vec<WindowRollup> {
        let inner = |window: &WindowRollup| self.begin_until <= window.start && window.start < self.end_from;
        let mut windows: Vec<WindowRollup> = stored.into_iter().filter(inner).collect();
        if let Some((first, kind, is_even)) = self.first {
            for window in windows.iter_mut().filter(|window| window.start == first) {
                window.rollup = window.rollup.without_rise_before(kind, is_even);
            }
        }
        let in_period = |window: &WindowRollup| period.from < window.start.plus_millis(WINDOW_MS) && window.start < period.end();
        windows.extend(self.windows.iter().copied().filter(in_period));
        windows.sort_by_key(|window| window.start);
        windows
    }
}

fn roll(series: &StoredSeries, visible: TimeWindow, from: Timestamp, until: Timestamp, samples: &[Sample]) -> Vec<WindowRollup> {
    let starts: BTreeSet<Timestamp> = samples
        .iter()
        .flat_map(|sample| (-3..=3).map(|step| window_of(sample.at).plus_millis(step * WINDOW_MS)))
        .filter(|start| start.plus_millis(WINDOW_MS) > from && *start < until)
        .collect();
    starts
        .into_iter()
        .filter_map(|start| {
            let (begin, end) = (start.max(visible.from), start.plus_millis(WINDOW_MS).min(visible.end()));
            series.corrections().roll_up_span(&series.rule, begin, end, samples).map(|rollup| WindowRollup { start, rollup })
        })
        .collect()
}
