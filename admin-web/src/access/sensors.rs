//! The sensors of a gateway, as far as somebody sees them.

use heliograph_domain::{GatewayId, TimeWindow};
use heliograph_store::SensorRecord;

use super::Actor;
use crate::error::Refusal;
use crate::panel::Panel;

/// The series that say something within what may be seen, by their sensors; all where
/// everything may be. What is named here may have been somewhere else before.
pub(crate) fn sensors_within(mut sensors: Vec<SensorRecord>, visible: TimeWindow) -> Vec<SensorRecord> {
    if visible == TimeWindow::ALWAYS {
        return sensors;
    }
    for sensor in &mut sensors {
        sensor.series.retain(|series| series.latest.is_some_and(|sample| visible.contains(sample.at)));
    }
    sensors.retain(|sensor| !sensor.series.is_empty());
    sensors
}

impl Actor {
    /// What of a gateway they see now.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where that is nothing.
    pub(crate) async fn seen(&self, panel: &Panel, gateway: &GatewayId) -> Result<TimeWindow, Refusal> {
        self.scope(panel).await?.window(gateway, panel.now()).ok_or(Refusal::NotFound)
    }

    /// The sensors of a gateway that they see.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where they see nothing of the gateway.
    pub(crate) async fn sensors(&self, panel: &Panel, gateway: &GatewayId) -> Result<Vec<SensorRecord>, Refusal> {
        let seen = self.seen(panel, gateway).await?;
        Ok(sensors_within(panel.store().sensor_list(gateway).await?, seen))
    }
}
