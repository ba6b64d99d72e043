//! Times of which figures of whole days say nothing of a gateway: it was worked on, nothing
//! was taken in, or people were told that it was silent.

use std::collections::HashMap;

use heliograph_domain::{Alert, AlertKind, GatewayId, Intake, Maintenance, TimeWindow, Timestamp};
use heliograph_store::GatewayRecord;

/// Such times.
#[derive(Debug, Clone, Default)]
pub(super) struct Masks {
    /// Of all gateways.
    everywhere: Vec<TimeWindow>,
    maintenance: Vec<Maintenance>,
    silences: HashMap<GatewayId, Vec<TimeWindow>>,
}

impl Masks {
    pub(super) fn of(intake: Option<&Intake>, maintenance: &[Maintenance], alerts: &[Alert], now: Timestamp) -> Self {
        let nothing_known = || vec![TimeWindow::ALWAYS];
        let everywhere = intake.map_or_else(nothing_known, |intake| intake.gaps(now).collect());
        let mut masks = Self { everywhere, maintenance: maintenance.to_vec(), silences: HashMap::new() };
        for alert in alerts {
            let told = TimeWindow::between(alert.since, alert.resolved.map_or(now, |end| end.at));
            match (alert.key.kind, alert.key.subject.gateway()) {
                (AlertKind::Silent, Some(gateway)) => masks.silences.entry(gateway.clone()).or_default().push(told),
                (AlertKind::MassSilence, _) => masks.everywhere.push(told),
                _ => {}
            }
        }
        masks
    }

    /// Whether something of a time cannot be judged of a gateway.
    pub(super) fn touch(&self, gateway: &GatewayRecord, time: &TimeWindow) -> bool {
        let meets = |mask: &TimeWindow| mask.intersect(time).is_some();
        let works = |window: &Maintenance| window.is_about(&gateway.id, gateway.location) && meets(&window.window);
        self.everywhere.iter().any(meets)
            || self.silences.get(&gateway.id).is_some_and(|silences| silences.iter().any(meets))
            || self.maintenance.iter().any(works)
    }
}
