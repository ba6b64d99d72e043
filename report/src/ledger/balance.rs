//! Which sensors of a site stand for what, and each sensor's own books.

use heliograph_domain::{SensorRole, TimeWindow, Timestamp, window_of};

use super::grid::Grid;
use crate::energy::{Completeness, Energy, Peak};
use crate::expect::{Coverage, Expectation, Light, gaps};
use crate::flow::{Direction, Flow, FlowPoint, SensorInput};

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
        match flows.first() {
            Some(flow) => flow.points.iter().for_each(|point| cover(point.start, point.covered_ms)),
            None => {
                let windows = input.series.iter().flat_map(|(_, windows)| windows);
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
        self.points
            .get(from..until)?
            .iter()
            .map(|point| self.energy(point))
            .fold(None, |sum, energy| Energy::sum(sum, Some(energy)))
    }

    pub(super) fn energy(&self, point: &FlowPoint) -> Energy {
        Energy { watt_hours: point.watt_hours, source: self.source, estimated: point.estimated, flagged: point.flagged }
    }
}

/// Which sensors of a site stand for what, so that nothing counts twice.
pub(crate) struct Balance<'a> {
    /// Production meters where any has data, else inverters.
    pub(super) production: Vec<&'a SensorBook<'a>>,
    pub(super) grid: Vec<&'a SensorBook<'a>>,
    pub(super) battery: Vec<&'a SensorBook<'a>>,
    pub(super) load: Vec<&'a SensorBook<'a>>,
    whole: bool,
}

impl<'a> Balance<'a> {
    pub(crate) fn of(books: &'a [SensorBook<'a>], whole: bool) -> Self {
        let role = |role: SensorRole| books.iter().filter(|book| book.input.role == role).collect::<Vec<_>>();
        let (meters, inverters) = (role(SensorRole::Production), role(SensorRole::Inverter));
        let meters_count = meters.iter().any(|book| !book.flows.is_empty()) || inverters.is_empty();
        let grid = role(SensorRole::Grid);
        // With a grid meter the balance says what is consumed; a load meter
        // then only divides it.
        let load = if measures_import(&grid) { Vec::new() } else { role(SensorRole::Load) };
        Self { production: if meters_count { meters } else { inverters }, grid, battery: role(SensorRole::Battery), load, whole }
    }

    pub(crate) fn counts(&self, book: &SensorBook<'_>) -> bool {
        self.counted().any(|counted| std::ptr::eq(counted.input, book.input))
    }

    pub(super) fn counted(&self) -> impl Iterator<Item = &'a SensorBook<'a>> + use<'a, '_> {
        [&self.production, &self.grid, &self.battery, &self.load].into_iter().flatten().copied()
    }

    /// Whether consumption follows from the balance: import is measured, and
    /// production, where there is any, is known, all of it.
    pub(super) fn is_closed(&self) -> bool {
        self.whole
            && measures_import(&self.grid)
            && (self.production.is_empty() || self.production.iter().any(|book| !book.flows.is_empty()))
    }
}

fn measures_import(grid: &[&SensorBook<'_>]) -> bool {
    grid.iter().any(|book| book.flow(Direction::Imported).is_some())
}

/// The higher of two peaks, the earlier of equal ones.
pub(super) fn higher(a: Peak, b: Peak) -> Peak {
    if b.watts > a.watts { b } else { a }
}
