//! The two handles: a store, and one provider's part of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_domain::{Actor, ApiTokenId, ProviderId, Timestamp};

use crate::clock::Clock;
use crate::error::StoreError;
use crate::url::{AckLevel, Place, StoreUrl};
use crate::{cassandra, sqlite};

/// An opened store: from here to a provider's data by its id only.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: StoreUrl,
    open: Mutex<HashMap<ProviderId, ProviderStore>>,
}

/// One provider's data. Cheap to clone; all clones share connections.
#[derive(Debug, Clone)]
pub struct ProviderStore {
    provider: ProviderId,
    ack: AckLevel,
    pub(crate) actor: Actor,
    pub(crate) token: Option<ApiTokenId>,
    pub(crate) clock: Clock,
    pub(crate) backend: Backend,
}

/// What keeps the data. A closed set: each method of [`ProviderStore`] says
/// what each of them does.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Sqlite(sqlite::Database),
    Cassandra(cassandra::Database),
}

impl Store {
    /// Opens what a URL names, making the folder if it does not exist. A cluster
    /// is connected to when something is asked of it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it cannot be made or written.
    pub fn open(url: StoreUrl) -> Result<Self, StoreError> {
        if let Place::Sqlite(directory) = &url.place {
            sqlite::check_directory(directory)?;
        }
        Ok(Self { inner: Arc::new(Inner { url, open: Mutex::default() }) })
    }

    /// The handle to a provider's data, whose file is made and migrated at its
    /// first use.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer release.
    pub fn provider(&self, provider: &ProviderId) -> Result<ProviderStore, StoreError> {
        let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(provider) {
            return Ok(store.clone());
        }
        let ack = self.inner.url.ack;
        let backend = match &self.inner.url.place {
            Place::Sqlite(directory) => Backend::Sqlite(sqlite::Database::open(&file(directory, provider), ack)?),
            Place::Cassandra(cluster) => Backend::Cassandra(cassandra::Database::new(cluster.clone(), provider)),
        };
        let store = ProviderStore::of(provider, ack, backend);
        open.insert(provider.clone(), store.clone());
        Ok(store)
    }
}

/// The file of a provider's data.
fn file(directory: &Path, provider: &ProviderId) -> PathBuf {
    directory.join(format!("{provider}.db"))
}

/// What the nodes of a store say of what acks survive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AckCheck {
    /// Why acks survive less than they should, and what to do about it.
    pub shortfall: Option<String>,
    /// Nodes that could not be asked, and why. They acknowledge no write either.
    pub silent: Option<String>,
}

impl ProviderStore {
    /// The handle to the data of a provider that cannot be opened now: calls fail
    /// until it can, and then it is opened by itself.
    ///
    /// # Errors
    /// When the process has no resources for it.
    pub fn open_later(url: &StoreUrl, provider: &ProviderId) -> Result<Self, StoreError> {
        let backend = match &url.place {
            Place::Sqlite(directory) => Backend::Sqlite(sqlite::Database::open_later(&file(directory, provider), url.ack)?),
            Place::Cassandra(cluster) => Backend::Cassandra(cassandra::Database::new(cluster.clone(), provider)),
        };
        Ok(Self::of(provider, url.ack, backend))
    }

    fn of(provider: &ProviderId, ack: AckLevel, backend: Backend) -> Self {
        let (actor, clock) = (Actor::System("store"), Clock::system());
        Self { provider: provider.clone(), ack, actor, token: None, clock, backend }
    }

    /// Whose data this is.
    #[must_use]
    pub const fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The same data in the hands of somebody: what this handle changes stands in
    /// the audit trail under their reference.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// The same in the hands of a program that uses somebody's token: the audit trail
    /// says by which one what is changed was changed.
    #[must_use]
    pub fn by_token(&self, token: ApiTokenId) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// The same data by another clock, for tests: the audit trail says when.
    #[must_use]
    pub fn with_clock(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Clock::of(clock), ..self.clone() }
    }

    /// How much a finished write survives.
    #[must_use]
    pub const fn ack_level(&self) -> AckLevel {
        self.ack
    }

    /// Whether the store takes writes now.
    ///
    /// # Errors
    /// When it does not, with the reason.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(|_| Ok(())).await,
            Backend::Cassandra(db) => db.ping().await,
        }
    }

    /// Whether acks fall short of [`Self::ack_level`] because the store itself cannot
    /// give it: on a cluster whose nodes answer before a write is on the disk.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn ack_check(&self) -> Result<AckCheck, StoreError> {
        match (&self.backend, self.ack) {
            (Backend::Cassandra(db), AckLevel::PowerLoss) => db.power_loss_check().await,
            (Backend::Sqlite(_), _) | (_, AckLevel::ProcessCrash) => Ok(AckCheck::default()),
        }
    }

    /// What [`Self::ack_check`] found when this process could ask last; `None` where
    /// it never could.
    #[must_use]
    pub fn ack_known(&self) -> Option<AckCheck> {
        match (&self.backend, self.ack) {
            (Backend::Cassandra(db), AckLevel::PowerLoss) => db.ack_known(),
            (Backend::Sqlite(_), _) | (_, AckLevel::ProcessCrash) => Some(AckCheck::default()),
        }
    }

    /// Compares this machine's clock with those of a cluster's nodes, and says what is
    /// wrong where they are more than five minutes apart: documents are to be taken by
    /// no such clock, for it decides which of two pushes is the later one. On a file
    /// no clock of another machine has a part in that.
    ///
    /// # Errors
    /// When no node tells its time.
    pub async fn clock_check(&self) -> Result<Option<String>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(None),
            Backend::Cassandra(db) => db.clock_check(&self.clock).await,
        }
    }

    /// What [`Self::clock_check`] said last; `None` where it never could.
    #[must_use]
    pub fn clock_known(&self) -> Option<String> {
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Cassandra(db) => db.clock_known(),
        }
    }

    /// Finishes what is queued and closes the files; later calls fail.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(db) => db.close().await,
            Backend::Cassandra(db) => db.close().await,
        }
    }
}
