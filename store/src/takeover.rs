//! One piece of hardware takes over from another: what stood for points, and who owns
//! what, changes hands in one change.

use heliograph_domain::{Binding, Commission, CommissionId, GatewayId, PointId, Timestamp};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// What changes hands at an instant: all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Takeover {
    /// When.
    pub at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// Points whose binding that is in force then ends there.
    pub ended: Vec<PointId>,
    /// Bindings that are made.
    pub bindings: Vec<Binding>,
    /// Commissions that run then and end there.
    pub commissions_ended: Vec<CommissionId>,
    /// Commissions that begin later than now and are taken back.
    pub commissions_cancelled: Vec<CommissionId>,
    /// Commissions that are made.
    pub commissions: Vec<Commission>,
}

impl Takeover {
    /// Of nothing yet.
    #[must_use]
    pub const fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            at,
            now,
            ended: Vec::new(),
            bindings: Vec::new(),
            commissions_ended: Vec::new(),
            commissions_cancelled: Vec::new(),
            commissions: Vec::new(),
        }
    }
}

impl ProviderStore {
    /// Lets a sensor stand for a point from the beginning of the binding on; what stands
    /// for the point then ends there.
    ///
    /// # Errors
    /// As [`Self::binding_create`].
    pub async fn binding_replace(&self, binding: Binding) -> Result<(), StoreError> {
        let (point, at) = (binding.point, binding.window.from);
        let running = |other: &Binding| other.point == point && other.window.from < at && at < other.window.end();
        let ended = if self.binding_list().await?.iter().any(running) { vec![point] } else { Vec::new() };
        let detail = json!({ "gateway": binding.gateway, "sensor": binding.sensor, "window": binding.window });
        let takeover = Takeover { ended, bindings: vec![binding], ..Takeover::new(at, self.clock.now()) };
        self.take_over(takeover, "binding.replace", format!("point:{point}"), detail).await
    }

    /// Lets a gateway take over from another one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where something that is named is missing, or does not
    /// run at that instant any more; [`StoreError::Conflict`] where what is made does not
    /// fit beside what there is.
    pub async fn gateway_replace(&self, old: &GatewayId, new: &GatewayId, takeover: Takeover) -> Result<(), StoreError> {
        let made = |commission: &Commission| {
            let Commission { id, customer, window, .. } = commission;
            json!({ "commission": id, "customer": customer, "window": window })
        };
        let bound = |binding: &Binding| {
            let Binding { point, sensor, window, .. } = binding;
            json!({ "point": point, "sensor": sensor, "window": window })
        };
        let detail = json!({
            "by": new,
            "at": takeover.at.to_string(),
            "points_ended": takeover.ended,
            "bindings": takeover.bindings.iter().map(bound).collect::<Vec<_>>(),
            "commissions_ended": takeover.commissions_ended,
            "commissions_cancelled": takeover.commissions_cancelled,
            "commissions": takeover.commissions.iter().map(made).collect::<Vec<_>>(),
        });
        self.take_over(takeover, "gateway.replace", format!("gateway:{old}"), detail).await
    }

    async fn take_over(
        &self,
        takeover: Takeover,
        action: &str,
        object: String,
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        let event = self.event(action, object, detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::take_over(batch, &takeover)).await,
            Backend::Cassandra(db) => {
                for binding in &takeover.bindings {
                    if !self.sensor_list(&binding.gateway).await?.iter().any(|sensor| sensor.id == binding.sensor) {
                        return Err(StoreError::NotFound("sensor"));
                    }
                }
                db.change(event, move |catalog| catalog.take_over(&takeover)).await
            }
        }
    }
}
