//! Gateways: their place, their state, what ingest has to know of them.

use heliograph_domain::{
    ClockCorrections, CredentialId, Fingerprint, GatewayId, GatewayState, KeyDigest, LocationId, TimeWindow, Timestamp, Zone,
};
use serde_json::json;

use crate::cassandra::Entry;
use crate::credential::CredentialNew;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// What is known of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRecord {
    /// What it calls itself.
    pub id: GatewayId,
    /// What people call it, if they call it something else.
    pub label: Option<String>,
    /// Where it stands in its life.
    pub state: GatewayState,
    /// Where it is placed now.
    pub location: Option<LocationId>,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it last pushed something that was stored, or knocked while waiting.
    pub last_seen: Option<Timestamp>,
    /// Where that came from, `address:port`.
    pub last_address: Option<String>,
    /// How many documents were stored.
    pub documents: u64,
}

impl GatewayRecord {
    /// What to call it in front of people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Gives a waiting or new gateway its place and its key.
#[derive(Debug, Clone)]
pub struct GatewayCommissioning {
    /// The gateway.
    pub gateway: GatewayId,
    /// What people call it.
    pub label: Option<String>,
    /// Where it is.
    pub location: LocationId,
    /// Since when. Data from before stays under no location.
    pub from: Timestamp,
    /// Its key.
    pub credential: CredentialNew,
    /// Now.
    pub at: Timestamp,
}

/// Where a gateway was for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The gateway.
    pub gateway: GatewayId,
    /// Where.
    pub location: LocationId,
    /// For how long.
    pub window: TimeWindow,
}

/// What ingest has to know to answer a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The gateway.
    pub gateway: GatewayId,
    /// Where it stands in its life.
    pub state: GatewayState,
    /// The zone of its location, for times that carry none.
    pub zone: Option<Zone>,
    /// Its keys that are not revoked.
    pub keys: Vec<DirectoryKey>,
    /// The certificates that are registered with it.
    pub certificates: Vec<Fingerprint>,
    /// By how much its times are moved.
    pub clock: ClockCorrections,
    /// Whether a document of it is stored.
    pub stored: bool,
}

/// A key as ingest has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryKey {
    /// Its id; none where what is known of it was kept by the release before.
    pub id: Option<CredentialId>,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Up to when it is valid, if an end was set.
    pub until: Option<Timestamp>,
}

/// The refusal to commission a gateway twice.
pub(crate) fn is_commissioned(gateway: &GatewayId) -> StoreError {
    StoreError::Conflict(format!("gateway {gateway} is commissioned already"))
}

impl ProviderStore {
    /// All gateways, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn gateway_list(&self) -> Result<Vec<GatewayRecord>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(|connection| sqlite::gateway::list(connection, None)).await,
            Backend::Cassandra(db) => db.gateway_list().await,
        }
    }

    /// One gateway.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn gateway_fetch(&self, gateway: &GatewayId) -> Result<GatewayRecord, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let gateway = gateway.clone();
                let found = db.read(move |connection| sqlite::gateway::list(connection, Some(&gateway))).await?;
                found.into_iter().next().ok_or(StoreError::NotFound("gateway"))
            }
            Backend::Cassandra(db) => db.gateway_fetch(gateway).await,
        }
    }

    /// Lists a gateway that nobody knows as waiting, or notes that it knocked
    /// again. At most [`Self::WAITING_GATEWAYS`] wait; the one that knocked
    /// longest ago and has stored nothing makes room.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn gateway_knock(&self, gateway: &GatewayId, address: &str, at: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let (gateway, address) = (gateway.clone(), address.to_owned());
                db.write(move |batch| sqlite::gateway::knock(batch, &gateway, &address, at)).await
            }
            Backend::Cassandra(db) => db.gateway_knock(gateway, address, at).await,
        }
    }

    /// How many gateways without data may wait.
    pub const WAITING_GATEWAYS: usize = 1000;

    /// Commissions a gateway, known or not: it gets a place, a label and a key,
    /// and is retired no longer.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the location is missing;
    /// [`StoreError::Conflict`] where it is commissioned already, so that of two who
    /// do it at once one gets to know; [`StoreError::Elsewhere`] where it was elsewhere later
    /// than that; [`StoreError::TooManyGateways`] where as many are commissioned as may be.
    pub async fn gateway_commission(&self, commissioning: GatewayCommissioning) -> Result<(), StoreError> {
        let detail = json!({ "location": commissioning.location, "from": commissioning.from.to_string(), "credential": commissioning.credential.id });
        let event = self.event("gateway.commission", format_args!("gateway:{}", commissioning.gateway), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::gateway::commission(batch, &commissioning)).await,
            Backend::Cassandra(db) => {
                db.change_calendar(Entry::Always(event), move |catalog| catalog.gateway_commission(&commissioning)).await
            }
        }
    }

    /// Moves a gateway to a location from an instant on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where either is missing; [`StoreError::Elsewhere`] where it
    /// was elsewhere later than that.
    pub async fn gateway_move(&self, gateway: &GatewayId, location: LocationId, from: Timestamp) -> Result<(), StoreError> {
        let event = self.event(
            "gateway.move",
            format_args!("gateway:{gateway}"),
            json!({ "location": location, "from": from.to_string() }),
        );
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| {
                    let number = sqlite::gateway::number(batch.connection, &gateway)?;
                    sqlite::gateway::place(batch, number, location, from)
                })
                .await
            }
            Backend::Cassandra(db) => {
                db.change_calendar(Entry::Always(event), move |catalog| catalog.gateway_move(&gateway, location, from)).await
            }
        }
    }

    /// Sets what people call a gateway; `None`: what it calls itself.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn gateway_rename(&self, gateway: &GatewayId, label: Option<String>) -> Result<(), StoreError> {
        let event = self.event("gateway.rename", format_args!("gateway:{gateway}"), json!({ "named": label.is_some() }));
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::gateway::rename(batch, &gateway, label.as_deref())).await
            }
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.gateway_rename(&gateway, label.clone())).await,
        }
    }

    /// Retires a gateway: its keys are revoked, its certificates are taken away, its
    /// history stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn gateway_retire(&self, gateway: &GatewayId, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event("gateway.retire", format_args!("gateway:{gateway}"), json!({ "from": at.to_string() }));
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::gateway::retire(batch, &gateway, at)).await,
            Backend::Cassandra(db) => {
                db.change_calendar(Entry::Always(event), move |catalog| catalog.gateway_retire(&gateway, at)).await
            }
        }
    }

    /// All placements, by gateway and time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn placement_list(&self) -> Result<Vec<Placement>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::gateway::placements).await,
            Backend::Cassandra(db) => Ok(db.catalog().await?.placements.values().cloned().collect()),
        }
    }

    /// What ingest has to know of all gateways.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn gateway_directory(&self) -> Result<Vec<DirectoryEntry>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::gateway::directory).await,
            Backend::Cassandra(db) => db.catalog().await?.directory(),
        }
    }
}
