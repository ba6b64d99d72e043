//! Times in which somebody works on something, so that nothing of it is judged.

use serde::{Deserialize, Serialize};

use super::Note;
use crate::id::{GatewayId, LocationId, MaintenanceId, UserId};
use crate::time::{TimeWindow, Timestamp};

/// What is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaintenanceSubject {
    /// One gateway.
    Gateway(GatewayId),
    /// All gateways of a location.
    Location(LocationId),
}

/// A time in which nothing of a gateway, or of a location's gateways, is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Its id.
    pub id: MaintenanceId,
    /// What is worked on.
    pub subject: MaintenanceSubject,
    /// When; it has an end.
    pub window: TimeWindow,
    /// Why.
    pub reason: Note,
    /// Who said so.
    pub by: UserId,
}

impl Maintenance {
    /// The longest, ms: who forgets one is told again one day.
    pub const LONGEST_MS: i64 = 90 * 86_400_000;

    /// Whether it is about a gateway that stands at a location.
    #[must_use]
    pub fn is_about(&self, gateway: &GatewayId, location: Option<LocationId>) -> bool {
        match &self.subject {
            MaintenanceSubject::Gateway(own) => own == gateway,
            MaintenanceSubject::Location(own) => location == Some(*own),
        }
    }

    /// As it is when it ends now; `None` where it never begins.
    #[must_use]
    pub fn ended(self, now: Timestamp) -> Option<Self> {
        let window = TimeWindow { until: Some(self.window.end().min(now)), ..self.window };
        (!window.is_empty()).then_some(Self { window, ..self })
    }
}
