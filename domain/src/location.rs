//! Sites and what is installed there.

use serde::{Deserialize, Serialize};

use crate::id::{ArrayId, LocationId};
use crate::text::ParseError;
use crate::time::{TimeWindow, Zone};

/// A site of the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Its id.
    pub id: LocationId,
    /// What people call it.
    pub name: String,
    /// The zone whose calendar its reports follow.
    pub zone: Zone,
    /// Where it is, if that is known.
    pub position: Option<Position>,
    /// Installed peak power in kW, if it is known; the sum of the arrays where
    /// there are any.
    pub installed_kwp: Option<f64>,
}

/// A place on earth, WGS 84 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// From degrees north and east.
    ///
    /// # Errors
    /// When either lies outside ±90 or ±180.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, ParseError> {
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(ParseError::new("latitude", "must lie between -90 and 90 degrees"));
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(ParseError::new("longitude", "must lie between -180 and 180 degrees"));
        }
        Ok(Self { latitude, longitude })
    }

    /// Degrees north.
    #[must_use]
    pub const fn latitude(&self) -> f64 {
        self.latitude
    }

    /// Degrees east.
    #[must_use]
    pub const fn longitude(&self) -> f64 {
        self.longitude
    }
}

/// Modules of one orientation at a location, for the time that they stand there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstalledArray {
    /// Its id.
    pub id: ArrayId,
    /// The site.
    pub location: LocationId,
    /// Peak power in kW under standard test conditions.
    pub kwp: f64,
    /// Degrees from the horizontal.
    pub tilt: f64,
    /// Degrees from north over east.
    pub azimuth: f64,
    /// When it is there.
    pub window: TimeWindow,
}
