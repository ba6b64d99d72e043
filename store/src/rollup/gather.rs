//! Which samples decide about some windows: those inside and enough around.
//!
//! Nothing here reads: a backend asks [`Gathering::need`] where to walk, feeds
//! the frames that it finds there in walking order to [`Gathering::take`] until
//! that says no, then calls [`Gathering::walked`], until nothing is needed.

use std::collections::{HashMap, HashSet};

use heliograph_domain::{Sample, TimeWindow, Timestamp, WINDOW_MS, window_of};

use super::correct::CorrectedGathering;
use super::series::{FrameValues, Slot, StoredSeries, value_of};

/// Samples of several series, of each in time order.
pub(crate) type Samples = HashMap<Slot, Vec<Sample>>;

/// Frames that are wanted next: those of a window, in an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Walk {
    pub(crate) window: TimeWindow,
    pub(crate) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Forwards,
    Backwards,
}

/// All samples of a span and, of each series that has some there, enough before
/// and after that every affected window can be rolled up: the windows of a context
/// of samples on either side, whole, and a context more beyond these.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    /// The series that nobody has corrected.
    series: Vec<&'a StoredSeries>,
    /// The others, gathered one by one: their readings may come from elsewhere.
    corrected: Vec<CorrectedGathering<'a>>,
    from: Timestamp,
    until: Timestamp,
    phase: Phase,
    /// The series that need more of the walk under way.
    open: Vec<&'a StoredSeries>,
    inside: Samples,
    before: HashMap<Slot, Outside>,
    after: HashMap<Slot, Outside>,
    /// The series that were asked for, where these are not all.
    only: Option<HashSet<Slot>>,
    /// Samples that were taken, and that may be.
    taken: usize,
    most: usize,
}

/// The samples of one series on one side of a span, the nearest first.
#[derive(Debug, Default)]
pub(super) struct Outside {
    samples: Vec<Sample>,
    /// The furthest window that samples inside the span can have a part in: it is
    /// needed whole.
    boundary: Option<Timestamp>,
    /// Samples further away than that.
    beyond: usize,
}

impl Outside {
    /// Adds the next sample; answers whether more are needed.
    pub(super) fn push(&mut self, sample: Sample, context: usize) -> bool {
        if self.samples.len() <= context {
            self.boundary = Some(window_of(sample.at));
        } else if self.boundary != Some(window_of(sample.at)) {
            self.beyond += 1;
        }
        self.samples.push(sample);
        self.beyond <= context
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Inside,
    Before,
    After,
    Corrected,
}

/// What says where to walk and takes what is found there, walk by walk.
pub(crate) trait Walked {
    /// The next walk; `None` when all is there.
    fn need(&self) -> Option<Walk>;
    /// Takes a frame of the walk; answers whether it wants the one after.
    fn take(&mut self, at: Timestamp, values: &FrameValues) -> bool;
    /// The walk has no further frame, or none that is wanted.
    fn walked(&mut self);
}

impl<'a> Gathering<'a> {
    /// `most`: so many samples of series that nobody has corrected are held at once; a
    /// gathering that has taken more [is full](Self::is_full) and wants nothing further.
    pub(crate) fn new(series: &'a [StoredSeries], from: Timestamp, until: Timestamp, most: usize) -> Self {
        let (inside, before, after) = (Samples::new(), HashMap::new(), HashMap::new());
        let (corrected, series): (Vec<_>, Vec<_>) = series.iter().partition(|series| series.corrections.is_some());
        let corrected = corrected.into_iter().map(|series| CorrectedGathering::around(series, from, until)).collect();
        let phase = if series.is_empty() { Phase::Corrected } else { Phase::Inside };
        Self { series, corrected, from, until, phase, open: Vec::new(), inside, before, after, only: None, taken: 0, most }
    }

    /// The same where the frames that are walked hold values of other series too.
    pub(crate) fn of_some(mut self) -> Self {
        self.only = Some(self.series.iter().map(|series| series.slot).collect());
        self
    }

    /// Whether there is more than may be held at once, so that what was gathered is not
    /// all.
    pub(crate) const fn is_full(&self) -> bool {
        self.taken > self.most
    }

    fn open_for(&mut self, phase: Phase, from: Timestamp) -> Option<Phase> {
        let touched = self.series.iter().copied().filter(|series| self.inside.contains_key(&series.slot));
        self.open = touched.filter(|series| !is_exhausted(series, phase, from)).collect();
        (!self.open.is_empty()).then_some(phase)
    }

    /// What was gathered, of the series that have samples inside and of those that
    /// were ever corrected.
    pub(crate) fn finish(mut self) -> Samples {
        for (slot, inside) in &mut self.inside {
            if let Some(Outside { mut samples, .. }) = self.before.remove(slot) {
                samples.reverse();
                samples.append(inside);
                *inside = samples;
            }
            if let Some(mut after) = self.after.remove(slot) {
                inside.append(&mut after.samples);
            }
        }
        // Over what they had before it was corrected.
        self.inside.extend(self.corrected.into_iter().map(CorrectedGathering::finish));
        self.inside
    }
}

impl Walked for Gathering<'_> {
    fn need(&self) -> Option<Walk> {
        if self.is_full() {
            return None;
        }
        let extents = || self.open.iter().map(|series| series.extent);
        match self.phase {
            Phase::Inside => Some(Walk { window: TimeWindow::between(self.from, self.until), order: Order::Forwards }),
            Phase::Before => {
                let first = extents().map(|extent| extent.map_or(Timestamp::MIN, |extent| extent.first)).min();
                let window = TimeWindow::between(first.unwrap_or(self.from).min(self.from), self.from);
                Some(Walk { window, order: Order::Backwards })
            }
            Phase::After => {
                let last = extents().map(|extent| extent.map_or(Timestamp::MAX, |extent| extent.last.plus_millis(1))).max();
                let window = TimeWindow::between(self.until, last.unwrap_or(self.until).max(self.until));
                Some(Walk { window, order: Order::Forwards })
            }
            Phase::Corrected => self.corrected.iter().find_map(CorrectedGathering::need),
        }
    }

    fn take(&mut self, at: Timestamp, values: &FrameValues) -> bool {
        let (found, from) = match self.phase {
            Phase::Inside => {
                for (slot, value) in values {
                    if self.only.as_ref().is_none_or(|only| only.contains(slot)) {
                        self.inside.entry(*slot).or_default().push(Sample { at, value: *value });
                        self.taken += 1;
                    }
                }
                return !self.is_full();
            }
            Phase::Before => (&mut self.before, self.from),
            Phase::After => (&mut self.after, self.until),
            Phase::Corrected => {
                let under_way = self.corrected.iter_mut().find(|gathering| gathering.need().is_some());
                return under_way.is_some_and(|gathering| gathering.take(at, values));
            }
        };
        let phase = self.phase;
        let mut taken = 0;
        self.open.retain(|series| {
            if is_too_far(series, from, at) {
                return false;
            }
            let value = value_of(values, series.slot);
            let outside = found.entry(series.slot).or_default();
            taken += usize::from(value.is_some());
            let more = value.is_none_or(|value| outside.push(Sample { at, value }, series.rule.context()));
            more && !is_exhausted(series, phase, at)
        });
        self.taken += taken;
        !self.open.is_empty() && !self.is_full()
    }

    fn walked(&mut self) {
        self.phase = match self.phase {
            Phase::Inside => self.open_for(Phase::Before, self.from).or_else(|| self.open_for(Phase::After, self.until)),
            Phase::Before => self.open_for(Phase::After, self.until),
            Phase::After => None,
            Phase::Corrected => {
                if let Some(under_way) = self.corrected.iter_mut().find(|gathering| gathering.need().is_some()) {
                    under_way.walked();
                }
                None
            }
        }
        .unwrap_or(Phase::Corrected);
    }
}

/// Whether a series can have no sample beyond the point that a walk has reached.
fn is_exhausted(series: &StoredSeries, phase: Phase, walked_to: Timestamp) -> bool {
    series.extent.is_some_and(|extent| match phase {
        Phase::Before => walked_to <= extent.first,
        _ => walked_to > extent.last,
    })
}

/// Between readings that are not linked nothing passes but what a counter rose:
/// of others only the nearest links count, with room for the windows at both
/// their ends. What lies further away must not be among the samples at all.
fn is_too_far(series: &StoredSeries, from: Timestamp, at: Timestamp) -> bool {
    !series.rule.kind.accumulates() && at.millis_since(from).abs() > links_ms(series)
}

/// How far away links can matter.
pub(super) fn links_ms(series: &StoredSeries) -> i64 {
    3 * series.rule.max_gap_ms + 2 * WINDOW_MS
}
