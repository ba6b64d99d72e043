//! What reports follow when hardware changes, and corrections over readings.

use serde::{Deserialize, Serialize};

use crate::id::{CorrectionId, GatewayId, LocationId, PointId, SensorId, UserId};
use crate::sensor::SensorRole;
use crate::series::SeriesKey;
use crate::time::{TimeWindow, Timestamp};

/// A place in a site's balance that outlives hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Its id.
    pub id: PointId,
    /// The site it belongs to.
    pub location: LocationId,
    /// What people call it.
    pub name: String,
    /// How it enters the site's balance.
    pub role: SensorRole,
}

/// Which sensor stands for a point, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The point.
    pub point: PointId,
    /// The gateway of the sensor.
    pub gateway: GatewayId,
    /// The sensor.
    pub sensor: SensorId,
    /// For how long.
    pub window: TimeWindow,
}

/// An audited, reversible change over untouched readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Its id.
    pub id: CorrectionId,
    /// The series it changes.
    pub series: SeriesKey,
    /// The readings it changes.
    pub window: TimeWindow,
    /// What it does.
    pub kind: CorrectionKind,
    /// Who made it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

/// What a correction does to the readings in its window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CorrectionKind {
    /// Leaves them out.
    Exclude,
    /// Multiplies them.
    Scale {
        /// By this; finite and not 0.
        factor: f64,
    },
    /// Moves them in time.
    Shift {
        /// By this many milliseconds.
        millis: i64,
    },
    /// Puts one value in their place.
    Manual {
        /// The value.
        value: f64,
    },
    /// A meter was swapped at the start of the window.
    MeterSwap {
        /// The last value of the old meter.
        last_old: f64,
        /// The first value of the new meter.
        first_new: f64,
    },
}
