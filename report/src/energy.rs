//! What a report says: energies with their origin, completeness, and the
//! figures made of them.

use heliograph_domain::{TimeWindow, Timestamp};
use jiff::civil;
use rust_decimal::Decimal;

/// Where an energy comes from. Ordered from the most to the least exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnergySource {
    /// The increase of a counter.
    Counter,
    /// The sum of interval energies.
    Interval,
    /// The time integral of power.
    Power,
}

impl EnergySource {
    /// What to call it in front of people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Interval => "interval energy",
            Self::Power => "integrated power",
        }
    }
}

/// An energy and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energy {
    /// Wh.
    pub watt_hours: f64,
    /// Where it comes from: the least exact of all that is in it, also where one
    /// source stood in before the first reading of another.
    pub source: EnergySource,
    /// Part of it rose while nothing was heard: right in sum, not in time.
    pub estimated: bool,
    /// A step that the sensor cannot have delivered was left out of it.
    pub flagged: bool,
}

impl Energy {
    /// Both together, as exact as the less exact of them; a zero adds nothing, and
    /// so no name. Every figure is made by this, so that none claims more than what
    /// is in it.
    pub(crate) fn plus(self, other: Self) -> Self {
        let source = match (self.watt_hours == 0.0, other.watt_hours == 0.0) {
            (true, false) => other.source,
            (false, true) => self.source,
            (true, true) | (false, false) => self.source.max(other.source),
        };
        Self {
            watt_hours: self.watt_hours + other.watt_hours,
            source,
            estimated: self.estimated || other.estimated,
            flagged: self.flagged || other.flagged,
        }
    }

    /// Where it comes from and what there is to say about that: `from counter,
    /// partly estimated`.
    #[must_use]
    pub fn origin(&self) -> String {
        let mut words = format!("from {}", self.source.label());
        if self.estimated {
            words.push_str(", partly estimated");
        }
        if self.flagged {
            words.push_str(", an implausible step left out");
        }
        words
    }

    /// The sum of two, where either may be unknown.
    #[must_use]
    pub fn sum(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.plus(b)),
            (a, b) => a.or(b),
        }
    }

    /// The same energy in the other direction.
    pub(crate) fn negated(self) -> Self {
        Self { watt_hours: -self.watt_hours, ..self }
    }
}

/// The highest power of a period.
///
/// It comes from power gauges of the sensors that count as production, never
/// from energies. Of a single sensor it is the highest reading; of several it is
/// the highest sum of their mean powers over one quarter of an hour, because
/// readings of different sensors are not of the same instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// W.
    pub watts: f64,
    /// The beginning of the quarter of an hour that holds it.
    pub at: Timestamp,
}

/// How much of the expected time was measured, summed over the sensors that
/// count.
///
/// Expected is the part of the period that may be seen, since a sensor's first
/// reading and until now; of inverters, whose location's position is known, only
/// daylight, because they sleep at night. The last 35 minutes before now are
/// expected only where they are covered, because a gateway is not late yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completeness {
    /// Milliseconds that should be covered.
    pub expected_ms: u64,
    /// Milliseconds of these that are covered.
    pub covered_ms: u64,
}

impl Completeness {
    /// From here on nothing is called incomplete: a single late push does not
    /// spoil a day.
    pub const ENOUGH: f64 = 0.98;

    /// Covered over expected, 0 to 1; `None` where nothing was expected.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.expected_ms > 0).then(|| self.covered_ms as f64 / self.expected_ms as f64)
    }

    /// Whether so much is missing that a reader has to know.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio < Self::ENOUGH)
    }

    /// Of both together.
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        Self { expected_ms: self.expected_ms + other.expected_ms, covered_ms: self.covered_ms + other.covered_ms }
    }
}

/// The figures of a site, a gateway or several of them over a period.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Energy produced.
    pub produced: Option<Energy>,
    /// Energy drawn from the grid.
    pub imported: Option<Energy>,
    /// Energy fed into the grid.
    pub exported: Option<Energy>,
    /// Energy consumed: production + import − export + discharge − charge where
    /// there is a grid meter, else what load meters say. Not known before the
    /// first readings of the grid meter and of what produces, nor while a grid
    /// meter without a counter is silent.
    pub consumed: Option<Energy>,
    /// The highest power of production.
    pub peak: Option<Peak>,
    /// kWh produced for each kW of installed peak power, where that is known.
    pub specific_yield_kwh_per_kwp: Option<f64>,
    /// How much of the produced energy was used on site, 0 to 1, in the quarters of an
    /// hour of which all that flowed is known; `None` without a meter that tells what is
    /// fed in.
    pub self_consumption: Option<f64>,
    /// How much of the consumed energy was not drawn from the grid, 0 to 1, in the same
    /// quarters of an hour.
    pub self_sufficiency: Option<f64>,
    /// How much of the expected time was measured.
    pub completeness: Completeness,
    /// Kilograms of CO2 avoided by what was produced.
    pub co2_kg: Option<f64>,
    /// What the produced energy earned, or what of it was fed in, in the provider's
    /// currency, rounded to two digits (half to even).
    pub revenue: Option<Decimal>,
    /// What was produced and used on site would have cost so much, likewise.
    pub savings: Option<Decimal>,
}

impl Figures {
    /// Produced Wh, if known.
    #[must_use]
    pub fn produced_wh(&self) -> Option<f64> {
        self.produced.map(|energy| energy.watt_hours)
    }
}

/// What one bar of a chart, one row of a table shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketFigures {
    /// The instants it covers.
    pub window: TimeWindow,
    /// Local date and time of its beginning.
    pub local: civil::DateTime,
    /// Energy produced.
    pub produced: Option<Energy>,
    /// Energy drawn from the grid.
    pub imported: Option<Energy>,
    /// Energy fed into the grid.
    pub exported: Option<Energy>,
    /// Energy consumed.
    pub consumed: Option<Energy>,
    /// Mean power of production while it was measured, W.
    pub power_w: Option<f64>,
    /// Mean power of consumption while it was measured, W.
    pub consumption_w: Option<f64>,
    /// How much of the expected time was measured.
    pub completeness: Completeness,
}

/// How a bar has to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketState {
    /// As it is.
    Complete,
    /// With a mark: part of it was not measured.
    Incomplete,
    /// As a gap: something was expected, nothing is known.
    Missing,
    /// Not at all: nothing was expected and nothing is known (night, the time
    /// ahead, the time before the first reading or outside of what may be seen).
    Idle,
}

impl BucketFigures {
    /// How it has to be shown.
    #[must_use]
    pub fn state(&self) -> BucketState {
        let known = self.produced.or(self.consumed).or(self.imported).or(self.exported).is_some();
        match (known, self.completeness.is_incomplete()) {
            (true, true) => BucketState::Incomplete,
            (true, false) => BucketState::Complete,
            (false, true) => BucketState::Missing,
            (false, false) => BucketState::Idle,
        }
    }
}

/// The sum of what is known; `None` where nothing is.
pub(crate) fn plus(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}
