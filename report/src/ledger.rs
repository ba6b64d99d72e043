//! The books of a site: one cell for each quarter of an hour, of which every
//! figure is a sum. Whatever periods and bars are cut from them, their energies
//! add up.

mod balance;
mod grid;
#[cfg(test)]
mod tests;

use heliograph_domain::{Reachability, TimeWindow, Timestamp, WINDOW_MS};

use crate::energy::{Completeness, Energy, Peak, plus};
use crate::expect::{Coverage, gaps};
use crate::flow::Direction;

pub(crate) use balance::{Balance, Frame, ProducedQuarter, SensorBook};
pub(crate) use grid::Grid;

use balance::{Share, higher};

/// What is known of one quarter of an hour.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cell {
    pub(crate) produced: Option<Energy>,
    pub(crate) imported: Option<Energy>,
    pub(crate) exported: Option<Energy>,
    pub(crate) consumed: Option<Energy>,
    peak_w: Option<f64>,
    power_w: Option<f64>,
    load_w: Option<f64>,
    completeness: Completeness,
    /// Of the sensors that stand for production.
    production: Completeness,
    /// Whether its energies are known to be all that flowed at its site: every sensor that
    /// counts was measured, and nothing of it is a guess.
    pub(crate) is_balanced: bool,
    /// Whether a meter of the site tells what is fed in, by then.
    pub(crate) is_metered: bool,
    /// Of the site as a whole: the most that any sensor expected and covered.
    expected_ms: u32,
    covered_ms: u32,
}

/// The cells of a run of quarters.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    first: i64,
    cells: Vec<Cell>,
}

/// The sum of a part of a ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) produced: Option<Energy>,
    pub(crate) imported: Option<Energy>,
    pub(crate) exported: Option<Energy>,
    pub(crate) consumed: Option<Energy>,
    pub(crate) peak: Option<Peak>,
    pub(crate) power_w: Option<f64>,
    pub(crate) load_w: Option<f64>,
    pub(crate) completeness: Completeness,
    /// Of the sensors that stand for production alone.
    pub(crate) production: Completeness,
    /// Of quarters of which all that flowed is known.
    pub(crate) balanced: Flows,
}

/// Energies of the same quarters, Wh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flows {
    pub(crate) produced: f64,
    pub(crate) imported: f64,
    pub(crate) exported: f64,
    pub(crate) consumed: f64,
}

impl Totals {
    /// Whether any energy is known.
    pub(crate) fn is_known(&self) -> bool {
        self.produced.or(self.consumed).or(self.imported).or(self.exported).is_some()
    }

    /// How much of what was produced was used on site, 0 to 1.
    pub(crate) fn self_consumption(&self) -> Option<f64> {
        share(self.balanced.produced - self.balanced.exported, self.balanced.produced)
    }

    /// How much of what was consumed was not drawn from the grid, 0 to 1.
    pub(crate) fn self_sufficiency(&self) -> Option<f64> {
        self.produced.and_then(|_| share(self.balanced.consumed - self.balanced.imported, self.balanced.consumed))
    }
}

/// A part of a whole, 0 to 1. Meters disagree by a little; where they do by more than
/// that, such as a battery that is discharged into the grid, the part has no meaning.
fn share(part: f64, whole: f64) -> Option<f64> {
    const DISAGREEMENT: f64 = 0.02;
    let share = (whole > 0.0).then(|| part / whole)?;
    (-DISAGREEMENT..=1.0 + DISAGREEMENT).contains(&share).then(|| share.clamp(0.0, 1.0))
}

impl Ledger {
    /// The books of one site.
    pub(crate) fn of_site(books: &[SensorBook<'_>], frame: Frame<'_>) -> Self {
        let balance = Balance::of(books, frame.whole);
        let mut ledger = Self::empty(frame.period);
        ledger.post_energies(&balance, frame.now);
        ledger.post_powers(&balance);
        ledger.post_coverage(&balance, books);
        ledger
    }

    /// No books at all.
    pub(crate) const fn none() -> Self {
        Self { first: 0, cells: Vec::new() }
    }

    fn empty(period: TimeWindow) -> Self {
        let grid = Grid::over(period);
        Self { first: grid.first, cells: vec![Cell::default(); grid.len] }
    }

    const fn grid(&self) -> Grid {
        Grid { first: self.first, len: self.cells.len() }
    }

    fn post(&mut self, share: &Share<'_>, direction: Direction, write: impl Fn(&mut Cell, Energy)) {
        let grid = self.grid();
        for flow in share.books.iter().filter_map(|book| book.flow(direction)) {
            for point in flow.points.iter().filter(|point| share.window.contains(point.start)) {
                if let Some(cell) = grid.index(point.start).and_then(|index| self.cells.get_mut(index)) {
                    write(cell, point.energy);
                }
            }
        }
    }

    fn post_energies(&mut self, balance: &Balance<'_>, now: Timestamp) {
        let add = |slot: &mut Option<Energy>, energy| *slot = Energy::sum(*slot, Some(energy));
        for share in &balance.production {
            self.post(share, Direction::Produced, |cell, energy| add(&mut cell.produced, energy));
        }
        self.post(&balance.grid, Direction::Imported, |cell, energy| add(&mut cell.imported, energy));
        self.post(&balance.grid, Direction::Exported, |cell, energy| add(&mut cell.exported, energy));
        if balance.closed_from.is_some() {
            self.post(&balance.battery, Direction::Discharged, |cell, energy| add(&mut cell.consumed, energy));
            self.post(&balance.battery, Direction::Charged, |cell, energy| add(&mut cell.consumed, energy.negated()));
            let grid = self.grid();
            for (index, cell) in self.cells.iter_mut().enumerate() {
                let sources = [cell.produced, cell.imported, cell.exported.map(Energy::negated)];
                let consumed = sources.into_iter().fold(cell.consumed, Energy::sum);
                cell.consumed = consumed.filter(|_| balance.is_closed(grid.start(index)));
            }
        }
        self.post_balanced(balance, now);
        self.post(&balance.load, Direction::Consumed, |cell, energy| add(&mut cell.consumed, energy));
    }

    /// What one sensor has not sent yet of the last minutes, others may have.
    fn post_balanced(&mut self, balance: &Balance<'_>, now: Timestamp) {
        let settled_until = now.plus_millis(-Reachability::LATE_AFTER_MS);
        let (grid, Some(since)) = (self.grid(), balance.fed_in_since()) else { return };
        let known = balance.known_quarters(grid);
        for ((index, cell), is_known) in self.cells.iter_mut().enumerate().zip(known) {
            let start = grid.start(index);
            cell.is_metered = since <= start;
            let is_settled = start.plus_millis(WINDOW_MS) <= settled_until;
            cell.is_balanced = is_known && is_settled && cell.is_metered && balance.is_closed(start);
        }
    }

    fn post_powers(&mut self, balance: &Balance<'_>) {
        for share in &balance.production {
            let gauges = share.books.iter().filter(|book| book.input.power_gauge().is_some()).count();
            for book in &share.books {
                self.add_powers(self.mean_powers(book, false), share.window, |cell| &mut cell.power_w);
                self.add_powers(self.gauge_powers(book, gauges == 1), share.window, |cell| &mut cell.peak_w);
            }
        }
        if let Some(from) = balance.closed_from {
            let closed = TimeWindow { from, until: None };
            self.post_load(&balance.grid, closed, true, false);
            self.post_load(&balance.battery, closed, true, true);
            for share in &balance.production {
                self.post_load(share, closed, false, true);
            }
        }
        self.post_load(&balance.load, TimeWindow::ALWAYS, false, false);
    }

    /// Adds to the power of consumption within a window; `only_known`: where
    /// some is known already, so that production alone is not taken for
    /// consumption while the grid meter is silent.
    fn post_load(&mut self, share: &Share<'_>, window: TimeWindow, signed: bool, only_known: bool) {
        let Some(window) = window.intersect(&share.window) else { return };
        for book in &share.books {
            let mut powers = self.mean_powers(book, signed);
            powers.retain(|(index, _)| !only_known || self.cells.get(*index).is_some_and(|cell| cell.load_w.is_some()));
            self.add_powers(powers, window, |cell| &mut cell.load_w);
        }
    }

    fn add_powers(&mut self, powers: Vec<(usize, f64)>, window: TimeWindow, slot: impl Fn(&mut Cell) -> &mut Option<f64>) {
        let grid = self.grid();
        for (index, watts) in powers.into_iter().filter(|(index, _)| window.contains(grid.start(*index))) {
            if let Some(cell) = self.cells.get_mut(index) {
                let slot = slot(cell);
                *slot = Some(slot.unwrap_or(0.0) + watts);
            }
        }
    }

    /// What a power gauge says of each quarter: its highest reading, or its mean.
    fn gauge_powers(&self, book: &SensorBook<'_>, highest: bool) -> Vec<(usize, f64)> {
        let Some((_, windows)) = book.input.power_gauge() else { return Vec::new() };
        let powers = windows.iter().filter_map(|window| {
            let rollup = &window.rollup;
            let watts = if highest { (rollup.count > 0).then_some(rollup.max) } else { mean(rollup.positive, rollup.covered_ms) };
            Some((self.grid().index(window.start)?, watts.filter(|watts| *watts > 0.0)?))
        });
        powers.collect()
    }

    /// The mean power of a sensor in each quarter, of its gauge where it has
    /// one, else of its energies; signed, or its positive part alone.
    fn mean_powers(&self, book: &SensorBook<'_>, signed: bool) -> Vec<(usize, f64)> {
        if let Some((_, windows)) = book.input.power_gauge().filter(|(_, windows)| !windows.is_empty()) {
            let powers = windows.iter().filter_map(|window| {
                let negative = if signed { window.rollup.negative } else { 0.0 };
                Some((self.grid().index(window.start)?, mean(window.rollup.positive + negative, window.rollup.covered_ms)?))
            });
            return powers.collect();
        }
        let signs = book.flows.iter().map(|flow| (flow, flow.direction.sign_of_supply()));
        let powers = signs.flat_map(|(flow, sign)| {
            flow.points.iter().filter(|point| !point.energy.estimated).filter_map(move |point| {
                let watts = mean(point.energy.watt_hours, point.covered_ms)?;
                Some((self.grid().index(point.start)?, if signed { sign * watts } else { watts }))
            })
        });
        powers.collect()
    }

    /// Of the sensors that count while they do, or of all where none does.
    fn post_coverage(&mut self, balance: &Balance<'_>, books: &[SensorBook<'_>]) {
        if balance.shares().all(|share| share.books.is_empty()) {
            books.iter().for_each(|book| self.cover(book, TimeWindow::ALWAYS));
        }
        for share in balance.shares() {
            share.books.iter().for_each(|book| self.cover(book, share.window));
        }
        for share in &balance.production {
            for book in &share.books {
                let cells = self.cells.iter_mut().zip(&book.coverage);
                for (cell, coverage) in cells.filter(|(_, coverage)| share.window.contains(coverage.start)) {
                    cell.production = cell.production.sum(coverage.completeness());
                }
            }
        }
    }

    fn cover(&mut self, book: &SensorBook<'_>, window: TimeWindow) {
        let coverage = self.cells.iter_mut().zip(&book.coverage).filter(|(_, coverage)| window.contains(coverage.start));
        for (cell, coverage) in coverage {
            cell.completeness = cell.completeness.sum(coverage.completeness());
            cell.expected_ms = cell.expected_ms.max(coverage.expected_ms);
            cell.covered_ms = cell.covered_ms.max(coverage.covered_ms);
        }
    }

    /// Adds the books of another site; powers of the same quarter add up.
    pub(crate) fn add(&mut self, other: &Self) {
        if other.cells.is_empty() {
            return;
        }
        if self.cells.is_empty() {
            *self = other.clone();
            return;
        }
        let first = self.first.min(other.first);
        let end = self.end().max(other.end());
        let mut cells = vec![Cell::default(); usize::try_from(end - first).unwrap_or(0)];
        for ledger in [&*self, other] {
            let skip = usize::try_from(ledger.first - first).unwrap_or(0);
            for (sum, cell) in cells.iter_mut().skip(skip).zip(&ledger.cells) {
                sum.add(cell);
            }
        }
        (self.first, self.cells) = (first, cells);
    }

    fn end(&self) -> i64 {
        self.first + i64::try_from(self.cells.len()).unwrap_or(0)
    }

    /// The cells of a window of whole quarters, with when they begin.
    pub(crate) fn quarters(&self, window: TimeWindow) -> impl Iterator<Item = (Timestamp, &Cell)> {
        let (grid, range) = (self.grid(), self.grid().range(window));
        let first = range.start;
        let cells = self.cells.get(range).unwrap_or_default();
        cells.iter().enumerate().map(move |(at, cell)| (grid.start(first + at), cell))
    }

    /// The sums over a window of whole quarters.
    pub(crate) fn totals(&self, window: TimeWindow) -> Totals {
        let range = self.grid().range(window);
        let first = range.start;
        let mut totals = Totals::default();
        let (mut power, mut load) = (Mean::default(), Mean::default());
        for (index, cell) in self.cells.get(range).unwrap_or_default().iter().enumerate() {
            totals.produced = Energy::sum(totals.produced, cell.produced);
            totals.imported = Energy::sum(totals.imported, cell.imported);
            totals.exported = Energy::sum(totals.exported, cell.exported);
            totals.consumed = Energy::sum(totals.consumed, cell.consumed);
            totals.completeness = totals.completeness.sum(cell.completeness);
            totals.production = totals.production.sum(cell.production);
            if cell.is_balanced {
                totals.balanced.add(cell);
            }
            let peak = cell.peak_w.map(|watts| Peak { watts, at: self.grid().start(first + index) });
            totals.peak = [totals.peak, peak].into_iter().flatten().reduce(higher);
            power.add(cell.power_w);
            load.add(cell.load_w);
        }
        (totals.power_w, totals.load_w) = (power.get(), load.get());
        totals
    }

    pub(crate) fn gaps(&self) -> Vec<TimeWindow> {
        let grid = self.grid();
        gaps(self.cells.iter().enumerate().map(|(index, cell)| Coverage {
            start: grid.start(index),
            expected_ms: cell.expected_ms,
            covered_ms: cell.covered_ms,
        }))
    }
}

impl Flows {
    /// Of another site.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            produced: self.produced + other.produced,
            imported: self.imported + other.imported,
            exported: self.exported + other.exported,
            consumed: self.consumed + other.consumed,
        }
    }

    fn add(&mut self, cell: &Cell) {
        let watt_hours = |energy: Option<Energy>| energy.map_or(0.0, |energy| energy.watt_hours);
        self.produced += watt_hours(cell.produced);
        self.imported += watt_hours(cell.imported);
        self.exported += watt_hours(cell.exported);
        self.consumed += watt_hours(cell.consumed);
    }
}

impl Cell {
    fn add(&mut self, other: &Self) {
        // What is known of one site says nothing of several: these are told site by site.
        (self.is_balanced, self.is_metered) = (false, false);
        self.produced = Energy::sum(self.produced, other.produced);
        self.imported = Energy::sum(self.imported, other.imported);
        self.exported = Energy::sum(self.exported, other.exported);
        self.consumed = Energy::sum(self.consumed, other.consumed);
        self.peak_w = plus(self.peak_w, other.peak_w);
        self.power_w = plus(self.power_w, other.power_w);
        self.load_w = plus(self.load_w, other.load_w);
        self.completeness = self.completeness.sum(other.completeness);
        self.production = self.production.sum(other.production);
        self.expected_ms = self.expected_ms.max(other.expected_ms);
        self.covered_ms = self.covered_ms.max(other.covered_ms);
    }
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// Mean power over the covered part of a quarter; `None` where that is too
/// short to stand for it.
fn mean(watt_hours: f64, covered_ms: u32) -> Option<f64> {
    const ENOUGH_MS: u32 = 5 * 60_000;
    (covered_ms >= ENOUGH_MS).then(|| watt_hours * 3_600_000.0 / f64::from(covered_ms))
}
