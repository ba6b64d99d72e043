//! The clocks of gateways: what is seen of them, and by how much their times are
//! moved.
//!
//! What is seen is written behind by ingest, a few samples at once; it is learned anew
//! within minutes, so that archives do not hold it.

use std::collections::HashMap;

use heliograph_domain::{
    ClockCorrection, ClockCorrections, ClockEstimate, ClockSample, ClockSamples, ClockState, GatewayId, Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of the records with the corrections of a gateway's clock, by its id.
pub(crate) const CLOCK_CORRECTION: &str = "clock-correction";
/// The kind of the records with what was seen of a gateway's clock, by its id.
pub(crate) const CLOCK_SAMPLES: &str = "clock-samples";

/// What is known of a gateway's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayClock {
    /// What was seen of it, whatever is corrected.
    pub samples: ClockSamples,
    /// By how much the times of what arrives are moved.
    pub corrections: ClockCorrections,
}

impl GatewayClock {
    /// By how much it is wrong, where that is known and not corrected; the zone is that
    /// of the gateway's location.
    #[must_use]
    pub fn uncorrected(&self, zone: &Zone) -> Option<ClockEstimate> {
        let ClockState::Known(estimate) = self.samples.judge(zone) else { return None };
        let shift = self.corrections.last().map(|last| last.shift).unwrap_or_default();
        (!estimate.is_right_with(shift)).then_some(estimate)
    }
}

/// The corrections of a gateway, as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Corrected {
    pub(crate) gateway: GatewayId,
    pub(crate) corrections: ClockCorrections,
}

impl ProviderStore {
    /// What is known of a gateway's clock.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn gateway_clock(&self, gateway: &GatewayId) -> Result<GatewayClock, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let gateway = gateway.clone();
                db.read(move |connection| sqlite::device_clock::fetch(connection, &gateway)).await
            }
            Backend::Cassandra(db) => db.gateway_clock(gateway).await,
        }
    }

    /// What is known of the clocks of all gateways; those of which nothing is known are
    /// left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn gateway_clock_list(&self) -> Result<HashMap<GatewayId, GatewayClock>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::device_clock::list).await,
            Backend::Cassandra(db) => db.gateway_clock_list().await,
        }
    }

    /// Moves the times of what arrives of a gateway from an instant on; a shift of
    /// nothing takes back what was set before. What is stored stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn gateway_clock_correct(&self, gateway: &GatewayId, new: ClockCorrection) -> Result<(), StoreError> {
        let detail = json!({ "shift": new.shift.to_string(), "from": new.from.to_string() });
        let event = self.event("gateway.clock", format_args!("gateway:{gateway}"), detail);
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::device_clock::correct(batch, &gateway, new)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.clock_correct(&gateway, new)).await,
        }
    }

    /// Notes what was seen of the clocks of gateways, beside what was noted before. It
    /// is no change that anybody has to look at, and not audited.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn gateway_clock_seen(&self, seen: Vec<(GatewayId, Vec<ClockSample>)>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::device_clock::seen(batch.connection, &seen)).await,
            Backend::Cassandra(db) => db.gateway_clock_seen(seen).await,
        }
    }
}
