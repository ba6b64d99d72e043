//! The gateways and the policy that documents are judged by, as of the last look
//! at the store, or, where a start finds no store, as kept on the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{GatewayId, GatewayState, KeyDigest, ProviderSettings, Zone};
use heliograph_store::{DirectoryEntry, ProviderStore, StoreError, Versions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::snapshot::Snapshot;
use crate::spool::is_temporary;

/// How often the store is asked whether anything has changed.
const POLL: Duration = Duration::from_secs(1);
/// How long a first start waits for the store.
const FIRST: Duration = Duration::from_secs(10);
/// How long a look at the store may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
    fn of(entries: Vec<DirectoryEntry>, settings: ProviderSettings) -> Self {
        Self { gateways: entries.into_iter().map(|entry| (entry.gateway.clone(), entry)).collect(), settings }
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

/// The latest directory, renewed within a second or two of a change; none where
/// there has never been any.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryFeed(watch::Receiver<Option<Arc<Directory>>>);

impl DirectoryFeed {
    /// Loads the directory from the store or, where that gives none within the
    /// deadline, from the snapshot; [`DirectoryKeeper::run`] renews it.
    pub(crate) async fn open(
        store: &ProviderStore,
        snapshot: Snapshot,
        deadline: Duration,
    ) -> Result<(Self, DirectoryKeeper), StoreError> {
        let (sender, receiver) = watch::channel(None);
        let mut keeper = DirectoryKeeper { store: store.clone(), snapshot, versions: None, sender };
        // Without a snapshot there is nothing to do but to wait.
        let deadline = if keeper.snapshot.is_there() { deadline } else { deadline.max(FIRST) };
        let failure = match tokio::time::timeout(deadline, keeper.renew()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(StoreError::Unavailable(format!("it did not answer within {deadline:?}"))),
        };
        if let Some(error) = failure {
            match keeper.snapshot.load() {
                Some((entries, settings)) => {
                    tracing::warn!(%error, gateways = entries.len(), "the store does not answer, gateways are judged as last known");
                    keeper.sender.send_replace(Some(Arc::new(Directory::of(entries, settings))));
                }
                None if is_temporary(&error) => {
                    tracing::error!(%error, "the store does not answer and no gateways are known: nothing is taken until it does");
                }
                None => return Err(error),
            }
        }
        Ok((Self(receiver), keeper))
    }

    pub(crate) fn now(&self) -> Option<Arc<Directory>> {
        self.0.borrow().clone()
    }
}

/// Renews the directory, and its snapshot on the disk, until told to stop.
pub(crate) struct DirectoryKeeper {
    store: ProviderStore,
    snapshot: Snapshot,
    /// Of what is in force; none where that did not come from the store.
    versions: Option<Versions>,
    sender: watch::Sender<Option<Arc<Directory>>>,
}

impl DirectoryKeeper {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            let renewed = tokio::time::timeout(PATIENCE, self.renew());
            match shutdown.run_until_cancelled(renewed).await {
                Some(Ok(Ok(()))) | None => {}
                Some(Ok(Err(error))) => {
                    tracing::warn!(%error, "gateways and settings cannot be renewed, the last ones stay in force");
                }
                Some(Err(_)) => tracing::warn!("the store does not answer, the last known gateways and settings stay in force"),
            }
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let versions = self.store.versions().await?;
        if self.versions.is_some_and(|known| known.config == versions.config) {
            return Ok(());
        }
        let entries = self.store.gateway_directory().await?;
        let settings = self.store.settings_fetch().await?;
        let (snapshot, kept, kept_settings) = (self.snapshot.clone(), entries.clone(), settings.clone());
        self.sender.send_replace(Some(Arc::new(Directory::of(entries, settings))));
        self.versions = Some(versions);
        match tokio::task::spawn_blocking(move || snapshot.save(&kept, &kept_settings)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "gateways cannot be kept for a start without the store"),
        }
        Ok(())
    }
}
