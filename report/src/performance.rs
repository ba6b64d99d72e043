//! What a plant gave beside what its modules could have given in that light.
//!
//! Where irradiance on the plane of the modules is measured, that is the performance
//! ratio of IEC 61724-1: `E_AC / (kWp · H_POA / 1 kW/m²)`, over the quarters of an hour
//! of which both are known and in which the light is at least 20 W/m². Where it is not,
//! the same quotient with the light of a cloudless sky ([`crate::sky`]) says how much
//! clouds and plant left of it together: a clear-sky index, which is no performance
//! ratio and is never called one.

use heliograph_domain::{InstalledArray, Location, Position, Quantity, Reachability, TimeWindow, Timestamp, WINDOW_MS};

use crate::energy::Completeness;
use crate::flow::SensorInput;
use crate::ledger::{Balance, Grid, ProducedQuarter};
use crate::sky::{Facing, on_arrays};
use crate::sun::elevation;

/// Below this, W/m², the light of an interval is not counted (IEC 61724-1).
const LEAST_LIGHT: f64 = 20.0;
/// A quarter of an hour is known where so much of it was measured, ms.
pub(crate) const KNOWN_MS: u32 = 12 * 60_000;
/// Of less than this nothing is said, ms.
const ENOUGH_MS: u64 = 3_600_000;

/// By which light a plant was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerformanceKind {
    /// Measured on the plane of the modules: a performance ratio.
    Ratio,
    /// That of a cloudless sky: a clear-sky index.
    ClearSkyIndex,
}

impl PerformanceKind {
    /// What to call it in front of people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ratio => "Performance ratio",
            Self::ClearSkyIndex => "Clear-sky index",
        }
    }

    /// The text that stands for it in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ratio => "performance-ratio",
            Self::ClearSkyIndex => "clear-sky-index",
        }
    }
}

/// What a plant gave beside what its light would give at its peak power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    /// By which light.
    pub kind: PerformanceKind,
    /// 1 where both are the same.
    pub value: f64,
    /// How much of the time with light enough is in it: quarters of an hour of which
    /// production and light are both known, beside those in which they should be.
    pub completeness: Completeness,
}

/// What a plant is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plant<'a> {
    pub(crate) position: Option<&'a Position>,
    /// Of its location.
    pub(crate) arrays: &'a [InstalledArray],
    pub(crate) kwp: PlantKwp,
}

/// The peak power of a plant, kW.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PlantKwp {
    /// That of its arrays, while they stand.
    OfArrays,
    /// The same all the time; `None`: not known.
    Constant(Option<f64>),
}

impl PlantKwp {
    /// What stands at a location: its arrays, or without any what it says itself.
    pub(crate) const fn at(location: &Location, arrays: &[InstalledArray]) -> Self {
        if arrays.is_empty() { Self::Constant(location.installed_kwp) } else { Self::OfArrays }
    }
}

impl Plant<'_> {
    fn standing(&self, at: Timestamp) -> Vec<(f64, Facing)> {
        let here = self.arrays.iter().filter(|array| array.window.contains(at));
        here.map(|array| (array.kwp, Facing::of(array))).collect()
    }

    fn kwp(&self, at: Timestamp) -> Option<f64> {
        let kwp = match self.kwp {
            PlantKwp::Constant(kwp) => kwp?,
            PlantKwp::OfArrays => {
                self.arrays.iter().filter(|array| array.window.contains(at)).map(|array| array.kwp).sum::<f64>()
            }
        };
        (kwp > 0.0).then_some(kwp)
    }
}

/// Judges a plant over the quarters of a grid; `None` where its peak power or the light
/// is not known, or too little was measured.
pub(crate) fn performance(
    inputs: &[SensorInput],
    balance: &Balance<'_>,
    plant: Plant<'_>,
    period: TimeWindow,
    now: Timestamp,
) -> Option<Performance> {
    let is_judged = plant.position.is_some_and(|_| !plant.arrays.is_empty()) || measures_light(inputs);
    if !is_judged || matches!(plant.kwp, PlantKwp::Constant(None)) {
        return None;
    }
    let grid = Grid::over(period);
    let settled = TimeWindow { from: Timestamp::MIN, until: Some(now.plus_millis(-Reachability::LATE_AFTER_MS)) };
    let mut quarters = balance.produced_quarters(grid);
    for (index, quarter) in quarters.iter_mut().enumerate() {
        if !settled.contains(grid.start(index).plus_millis(WINDOW_MS)) {
            *quarter = ProducedQuarter::default();
        }
    }
    let measured = irradiance(inputs, grid);
    if measured.iter().any(Option::is_some) {
        // Whether a sensor of light sleeps at night or says nothing, there is none.
        let is_night = |index: usize| {
            let middle = grid.start(index).plus_millis(WINDOW_MS / 2);
            plant.position.is_some_and(|position| elevation(position, middle) <= 0.0)
        };
        let light = |index: usize| {
            let measured = measured.get(index).copied().flatten();
            measured.or_else(|| is_night(index).then_some(0.0))
        };
        if let Some(performance) = Sum::over(&quarters, grid, plant, light).finish(PerformanceKind::Ratio) {
            return Some(performance);
        }
    }
    let position = plant.position?;
    // An array that was put up or taken down within the period changes what is standing.
    let mut standing = (TimeWindow::between(Timestamp::MIN, Timestamp::MIN), Vec::new());
    let light: Vec<Option<f64>> = quarters
        .iter()
        .enumerate()
        .map(|(index, quarter)| {
            if !quarter.is_due {
                return None;
            }
            let start = grid.start(index);
            if !standing.0.contains(start) {
                standing = (unchanged(plant.arrays, start), plant.standing(start));
            }
            on_arrays(position, &standing.1, start.plus_millis(WINDOW_MS / 2))
        })
        .collect();
    let light = |index: usize| light.get(index).copied().flatten();
    Sum::over(&quarters, grid, plant, light).finish(PerformanceKind::ClearSkyIndex)
}

/// For how long around an instant the same arrays stand.
fn unchanged(arrays: &[InstalledArray], at: Timestamp) -> TimeWindow {
    let edges = || arrays.iter().flat_map(|array| [Some(array.window.from), array.window.until]).flatten();
    let from = edges().filter(|edge| *edge <= at).max().unwrap_or(Timestamp::MIN);
    TimeWindow { from, until: edges().filter(|edge| *edge > at).min() }
}

fn measures_light(inputs: &[SensorInput]) -> bool {
    inputs.iter().flat_map(SensorInput::all_series).any(|(record, _)| record.quantity == Quantity::IrradiancePlane)
}

/// The mean irradiance on the plane of the modules in each quarter, W/m²; of several
/// sensors their mean.
fn irradiance(inputs: &[SensorInput], grid: Grid) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0u32); grid.len];
    let series = inputs.iter().flat_map(SensorInput::all_series);
    let plane = series.filter(|(record, _)| record.quantity == Quantity::IrradiancePlane && record.unit.as_str() == "W/m²");
    for window in plane.flat_map(|(_, windows)| windows) {
        let rollup = &window.rollup;
        let sum = grid.index(window.start).and_then(|index| sums.get_mut(index));
        if let Some((watts, sensors)) = sum.filter(|_| rollup.covered_ms >= KNOWN_MS) {
            *watts += rollup.positive * 3_600_000.0 / f64::from(rollup.covered_ms);
            *sensors += 1;
        }
    }
    sums.into_iter().map(|(watts, sensors)| (sensors > 0).then(|| watts / f64::from(sensors))).collect()
}

#[derive(Default)]
struct Sum {
    produced_wh: f64,
    /// What the light would give at the peak power, Wh.
    reference_wh: f64,
    completeness: Completeness,
}

impl Sum {
    fn over(quarters: &[ProducedQuarter], grid: Grid, plant: Plant<'_>, light: impl Fn(usize) -> Option<f64>) -> Self {
        let mut sum = Self::default();
        for (index, quarter) in quarters.iter().enumerate() {
            let light = light(index);
            if !quarter.is_due || light.is_some_and(|light| light < LEAST_LIGHT) {
                continue;
            }
            let Some(kwp) = plant.kwp(grid.start(index)) else { continue };
            sum.completeness.expected_ms += WINDOW_MS as u64;
            let Some((produced_wh, light)) = quarter.watt_hours.zip(light) else { continue };
            sum.completeness.covered_ms += WINDOW_MS as u64;
            sum.produced_wh += produced_wh;
            sum.reference_wh += kwp * light * WINDOW_MS as f64 / 3_600_000.0;
        }
        sum
    }

    fn finish(self, kind: PerformanceKind) -> Option<Performance> {
        let value = self.produced_wh / self.reference_wh;
        let is_enough = self.completeness.covered_ms >= ENOUGH_MS && value.is_finite();
        is_enough.then_some(Performance { kind, value, completeness: self.completeness })
    }
}
