//! What reports follow when hardware changes.

use serde::{Deserialize, Serialize};

use crate::id::{GatewayId, LocationId, PointId, SensorId};
use crate::sensor::SensorRole;
use crate::time::TimeWindow;

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
