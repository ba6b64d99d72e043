//! Which sensors of a site stand for what, and each sensor's own books.

use heliograph_domain::{SensorRole, TimeWindow, Timestamp, window_of};

use super::grid::Grid;
use crate::energy::{Completeness, Energy, Peak};
use crate::expect::{Coverage, Expectation, Light, gaps};
use crate::flow::{Direction, Flow, SensorInput};
use crate::performance::KNOWN_MS;

/// What the cells of a ledger are computed for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) period: TimeWindow,
    pub(crate) now: Timestamp,
    pub(crate) light: &'a Light,
    /// Whether all that produces at the site is among its sensors. Else a grid
    /// meter cannot tell what is consumed.
    pub(crate) whole: bool,
}

/// A sensor's own books.
pub(crate) struct SensorBook<'a> {
    pub(crate) input: &'a SensorInput,
    pub(crate) flows: Vec<Flow>,
    pub(super) coverage: Vec<Coverage>,
}

impl<'a> SensorBook<'a> {
    pub(crate) fn new(input: &'a SensorInput, frame: Frame<'_>) -> Self {
        let flows = input.flows();
        let grid = Grid::over(frame.period);
        let mut covered = vec![0u32; grid.len];
        let mut cover = |start: Timestamp, covered_ms: u32| {
            if let Some(cell) = grid.index(start).and_then(|index| covered.get_mut(index)) {
                *cell = (*cell).max(covered_ms);
            }
        };
        match flows.iter().find(|flow| !flow.points.is_empty()) {
            Some(flow) => flow.points.iter().for_each(|point| cover(point.start, point.covered_ms)),
            None => {
                let windows = input.all_series().flat_map(|(_, windows)| windows);
                windows.for_each(|window| cover(window.start, window.rollup.covered_ms));
            }
        }
        let expectation = Expectation::of(input, frame.period, frame.now, frame.light);
        let coverage = covered
            .into_iter()
            .enumerate()
            .map(|(index, covered_ms)| {
                let start = grid.start(index);
                let (expected_ms, covered_ms) = expectation.judge(start, covered_ms);
                Coverage { start, expected_ms, covered_ms }
            })
            .collect();
        Self { input, flows, coverage }
    }

    pub(crate) fn flow(&self, direction: Direction) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.direction == direction)
    }

    pub(crate) fn total(&self, direction: Direction, window: TimeWindow) -> Option<Energy> {
        self.flow(direction).and_then(|flow| flow.total(window))
    }

    pub(crate) fn completeness(&self) -> Completeness {
        self.coverage.iter().fold(Completeness::default(), |sum, coverage| sum.sum(coverage.completeness()))
    }

    pub(crate) fn gaps(&self) -> Vec<TimeWindow> {
        gaps(self.coverage.iter().copied())
    }

    /// The highest reading of its power gauge.
    pub(crate) fn peak(&self) -> Option<Peak> {
        let (_, windows) = self.input.power_gauge()?;
        let known = windows.iter().filter(|window| window.rollup.count > 0 && window.rollup.max > 0.0);
        known.map(|window| Peak { watts: window.rollup.max, at: window.start }).reduce(higher)
    }
}

impl Coverage {
    pub(super) fn completeness(self) -> Completeness {
        Completeness { expected_ms: u64::from(self.expected_ms), covered_ms: u64::from(self.covered_ms) }
    }
}

impl Flow {
    /// The energy within a window of whole quarters.
    pub(crate) fn total(&self, window: TimeWindow) -> Option<Energy> {
        let from = self.points.partition_point(|point| point.start < window_of(window.from));
        let until = self.points.partition_point(|point| point.start < window_of(window.end()));
        self.points.get(from..until)?.iter().map(|point| point.energy).reduce(Energy::plus)
    }
}

/// What is known for certain of the production of a quarter of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ProducedQuarter {
    /// Whether any sensor that produces is expected to be measured in it, or was.
    pub(crate) is_due: bool,
    /// Wh, where all of them were measured and none of it is a guess.
    pub(crate) watt_hours: Option<f64>,
}

impl SensorBook<'_> {
    /// Adds its production to that of a share's quarters, and marks those of which it
    /// should know more.
    fn produced_quarters(
        &self,
        grid: Grid,
        range: std::ops::Range<usize>,
        quarters: &mut [ProducedQuarter],
        missing: &mut [bool],
    ) {
        for (index, coverage) in self.coverage.iter().enumerate().filter(|(index, _)| range.contains(index)) {
            if let Some(quarter) = quarters.get_mut(index) {
                quarter.is_due |= coverage.expected_ms > 0;
            }
        }
        let points = self.flow(Direction::Produced).map_or(&[][..], |flow| &flow.points);
        for point in points {
            let Some(index) = grid.index(point.start).filter(|index| range.contains(index)) else { continue };
            let Some(quarter) = quarters.get_mut(index) else { continue };
            quarter.is_due = true;
            quarter.watt_hours = Some(quarter.watt_hours.unwrap_or(0.0) + point.energy.watt_hours);
        }
        self.unknown_quarters(grid, &range, |index| {
            if let Some(missing) = missing.get_mut(index) {
                *missing = true;
            }
        });
    }

    /// Shows the quarters to `note` in which it should have been measured and was not, or
    /// of which something is a guess.
    fn unknown_quarters(&self, grid: Grid, range: &std::ops::Range<usize>, mut note: impl FnMut(usize)) {
        for (index, coverage) in self.coverage.iter().enumerate().filter(|(index, _)| range.contains(index)) {
            if coverage.covered_ms < coverage.expected_ms.min(KNOWN_MS) {
                note(index);
            }
        }
        let points = self.flows.iter().flat_map(|flow| &flow.points);
        for point in points.filter(|point| point.energy.estimated || point.energy.flagged) {
            if let Some(index) = grid.index(point.start).filter(|index| range.contains(index)) {
                note(index);
            }
        }
    }
}

/// Sensors that stand for something during a time.
pub(super) struct Share<'a> {
    pub(super) books: Vec<&'a SensorBook<'a>>,
    /// The quarters in which they do.
    pub(super) window: TimeWindow,
}

impl<'a> Share<'a> {
    fn always(books: Vec<&'a SensorBook<'a>>) -> Self {
        Self { books, window: TimeWindow::ALWAYS }
    }

    /// Until something better is there, if ever.
    fn before(books: Vec<&'a SensorBook<'a>>, until: Option<Timestamp>) -> Self {
        Self { books, window: TimeWindow { until, ..TimeWindow::ALWAYS } }
    }
}

/// Which sensors of a site stand for what, so that nothing counts twice.
pub(crate) struct Balance<'a> {
    /// Production meters where there are any, else inverters; before the first reading of
    /// such a meter, and after the last one of those that have fallen silent, the inverters.
    pub(super) production: Vec<Share<'a>>,
    pub(super) grid: Share<'a>,
    pub(super) battery: Share<'a>,
    /// Load meters, before import is measured.
    pub(super) load: Share<'a>,
    /// From when on consumption follows from the balance: import is measured,
    /// and production, where there is any, is known, all of it.
    pub(super) closed_from: Option<Timestamp>,
}

impl<'a> Balance<'a> {
    /// Of all that is known of the sensors, whatever period the books are of: so days add
    /// up to their month.
    pub(crate) fn of(books: &'a [SensorBook<'a>], whole: bool) -> Self {
        let role = |role: SensorRole| books.iter().filter(|book| book.input.role == role).collect::<Vec<_>>();
        let production = production(role(SensorRole::Production), role(SensorRole::Inverter));
        let grid = role(SensorRole::Grid);
        let import_since = since(&grid, Direction::Imported);
        let produced_since = production.iter().filter_map(|share| since(&share.books, Direction::Produced)).min();
        let closed_from = if production.iter().all(|share| share.books.is_empty()) {
            import_since
        } else {
            import_since.zip(produced_since).map(|(import, produced)| import.max(produced))
        };
        Self {
            production,
            grid: Share::always(grid),
            battery: Share::always(role(SensorRole::Battery)),
            // With a grid meter the balance says what is consumed; a load meter
            // then only divides it.
            load: Share::before(role(SensorRole::Load), import_since),
            closed_from: closed_from.filter(|_| whole),
        }
    }

    /// What is known for certain of production in the quarters of a grid.
    pub(crate) fn produced_quarters(&self, grid: Grid) -> Vec<ProducedQuarter> {
        let mut quarters = vec![ProducedQuarter::default(); grid.len];
        for share in &self.production {
            let range = grid.range(share.window);
            let mut missing = vec![false; grid.len];
            for book in &share.books {
                book.produced_quarters(grid, range.clone(), &mut quarters, &mut missing);
            }
            for (quarter, _) in quarters.iter_mut().zip(missing).filter(|(_, missing)| *missing) {
                quarter.watt_hours = None;
            }
        }
        quarters
    }

    /// The quarters of a grid in which every sensor that counts was measured where it
    /// should be, and nothing was guessed.
    pub(super) fn known_quarters(&self, grid: Grid) -> Vec<bool> {
        let mut known = vec![true; grid.len];
        for share in self.production.iter().chain([&self.grid, &self.battery]) {
            let range = grid.range(share.window);
            for book in &share.books {
                book.unknown_quarters(grid, &range, |index| {
                    if let Some(known) = known.get_mut(index) {
                        *known = false;
                    }
                });
            }
        }
        known
    }

    /// From when on a meter tells what is fed in.
    pub(super) fn fed_in_since(&self) -> Option<Timestamp> {
        since(&self.grid.books, Direction::Exported)
    }

    /// Whether a sensor enters the figures to the end of the period.
    pub(crate) fn counts(&self, book: &SensorBook<'_>) -> bool {
        let mut lasting = self.shares().filter(|share| share.window.until.is_none());
        lasting.any(|share| share.books.iter().any(|counted| std::ptr::eq(counted.input, book.input)))
    }

    pub(super) fn shares(&self) -> impl Iterator<Item = &Share<'a>> {
        self.production.iter().chain([&self.grid, &self.battery, &self.load])
    }

    /// Whether what was consumed in a quarter follows from the balance: the grid
    /// meter says something of it, or its counter will.
    pub(super) fn is_closed(&self, start: Timestamp) -> bool {
        let counted = |book: &SensorBook<'_>| book.flow(Direction::Imported).is_some_and(|flow| flow.is_counted(start));
        let heard = |book: &SensorBook<'_>| book.flows.iter().any(|flow| flow.has_point(start));
        self.closed_from.is_some_and(|from| from <= start) && self.grid.books.iter().any(|book| counted(book) || heard(book))
    }
}

/// Meters that were silent for so long while inverters went on say nothing of their site,
/// until they speak again and have counted on.
const SILENT_MS: i64 = 86_400_000;

fn production<'a>(meters: Vec<&'a SensorBook<'a>>, inverters: Vec<&'a SensorBook<'a>>) -> Vec<Share<'a>> {
    if inverters.is_empty() {
        return vec![Share::always(meters)];
    }
    let Some(metered) = since(&meters, Direction::Produced) else { return vec![Share::always(inverters)] };
    let over = until(&meters).zip(until(&inverters));
    let over = over.filter(|(over, on)| over.plus_millis(SILENT_MS) <= *on).map(|(over, _)| over);
    let after = over.map(|over| Share { books: inverters.clone(), window: TimeWindow { from: over, until: None } });
    let meters = Share { books: meters, window: TimeWindow { from: metered, until: over } };
    [meters, Share::before(inverters, Some(metered))].into_iter().chain(after).collect()
}

/// From when on any of several sensors gives a flow.
fn since(books: &[&SensorBook<'_>], direction: Direction) -> Option<Timestamp> {
    books.iter().filter_map(|book| book.flow(direction)).map(|flow| flow.since).min()
}

/// Up to when any of several sensors tells what it produced.
fn until(books: &[&SensorBook<'_>]) -> Option<Timestamp> {
    books.iter().filter_map(|book| book.flow(Direction::Produced)).map(|flow| flow.until).max()
}

/// The higher of two peaks, the earlier of equal ones.
pub(super) fn higher(a: Peak, b: Peak) -> Peak {
    if b.watts > a.watts { b } else { a }
}
