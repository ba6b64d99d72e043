//! The snapshot of gateways and policy that documents are judged by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{GatewayId, GatewayState, KeyDigest, ProviderSettings, Zone};
use heliograph_store::{DirectoryEntry, ProviderStore, StoreError, Versions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the store is asked whether anything has changed.
const POLL: Duration = Duration::from_secs(1);

/// Gateways and settings as of one moment.
#[derive(Debug)]
pub(crate) struct Directory {
    gateways: HashMap<GatewayId, DirectoryEntry>,
    pub(crate) settings: ProviderSettings,
}

/// What a gateway with a certain key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Known, and the key is right.
    Trusted,
    /// Known, and the key is missing or wrong.
    Imposter,
    /// Nobody has commissioned it.
    Unknown,
    /// It is no longer in use, whatever it sends.
    Retired,
}

impl Directory {
    async fn load(store: &ProviderStore) -> Result<Self, StoreError> {
        let entries = store.gateway_directory().await?;
        let settings = store.settings_fetch().await?;
        Ok(Self { gateways: entries.into_iter().map(|entry| (entry.gateway.clone(), entry)).collect(), settings })
    }

    pub(crate) fn standing(&self, gateway: &GatewayId, key: Option<&KeyDigest>) -> Standing {
        let Some(entry) = self.gateways.get(gateway) else { return Standing::Unknown };
        match entry.state {
            GatewayState::Waiting => Standing::Unknown,
            GatewayState::Retired => Standing::Retired,
            GatewayState::Commissioned => {
                let known = key.is_some_and(|key| entry.keys.iter().fold(false, |found, known| found | known.matches(key)));
                if known { Standing::Trusted } else { Standing::Imposter }
            }
        }
    }

    /// The zone of times that carry none: the location's, else the provider's.
    pub(crate) fn zone(&self, gateway: Option<&GatewayId>) -> &Zone {
        gateway.and_then(|id| self.gateways.get(id)).and_then(|entry| entry.zone.as_ref()).unwrap_or(&self.settings.zone)
    }
}

/// The latest snapshot, renewed within a second or two of a change.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryFeed(watch::Receiver<Arc<Directory>>);

impl DirectoryFeed {
    /// Loads the first snapshot; [`keep_fresh`] renews it.
    pub(crate) async fn open(store: &ProviderStore) -> Result<(Self, DirectoryKeeper), StoreError> {
        let versions = store.versions().await?;
        let (sender, receiver) = watch::channel(Arc::new(Directory::load(store).await?));
        Ok((Self(receiver), DirectoryKeeper { store: store.clone(), versions, sender }))
    }

    pub(crate) fn now(&self) -> Arc<Directory> {
        Arc::clone(&self.0.borrow())
    }
}

/// Renews snapshots until told to stop.
pub(crate) struct DirectoryKeeper {
    store: ProviderStore,
    versions: Versions,
    sender: watch::Sender<Arc<Directory>>,
}

impl DirectoryKeeper {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "gateways and settings cannot be renewed, the last ones stay in force");
            }
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let versions = self.store.versions().await?;
        if versions.config != self.versions.config {
            self.sender.send_replace(Arc::new(Directory::load(&self.store).await?));
            self.versions = versions;
        }
        Ok(())
    }
}
