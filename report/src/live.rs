//! A gateway as it was last heard.

use heliograph_domain::{GatewayState, Reachability, SensorId, TimeWindow, Timestamp};
use heliograph_store::{GatewayRecord, SensorRecord};

use crate::site::{GatewayHead, LatestValue};

/// What is latest of a gateway, as far as a reader may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayLive {
    /// Where it stands in its life.
    pub state: GatewayState,
    /// Whether it still talks.
    pub reachability: Reachability,
    /// When it was last heard, if the reader may know.
    pub last_seen: Option<Timestamp>,
    /// The latest readings of its sensors, of those that have any.
    pub sensors: Vec<(SensorId, Vec<LatestValue>)>,
}

impl GatewayLive {
    /// As it looks at `now` to somebody who sees `visible` only.
    #[must_use]
    pub fn of(record: &GatewayRecord, sensors: &[SensorRecord], visible: TimeWindow, now: Timestamp) -> Self {
        let GatewayHead { state, reachability, last_seen } = GatewayHead::of(record, visible, now);
        let latest = |sensor: &SensorRecord| {
            let values: Vec<LatestValue> = sensor.series.iter().filter_map(|series| LatestValue::of(series, visible)).collect();
            (!values.is_empty()).then(|| (sensor.id.clone(), values))
        };
        Self { state, reachability, last_seen, sensors: sensors.iter().filter_map(latest).collect() }
    }
}
