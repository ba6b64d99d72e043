//! The two handles: a store, and one provider's part of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_domain::{Actor, ProviderId, Timestamp};

use crate::clock::Clock;
use crate::error::StoreError;
use crate::sqlite::Database;
use crate::url::{AckLevel, StoreUrl};

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
    pub(crate) clock: Clock,
    pub(crate) backend: Backend,
}

/// What keeps the data. A closed set: each method of [`ProviderStore`] says
/// what each of them does.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Sqlite(Database),
}

impl Store {
    /// Opens what a URL names, making the folder if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it cannot be made or written.
    pub fn open(url: StoreUrl) -> Result<Self, StoreError> {
        crate::sqlite::check_directory(&url.directory)?;
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
        let path = self.inner.url.directory.join(format!("{provider}.db"));
        let database = Database::open(&path, self.inner.url.ack)?;
        let store = ProviderStore::of(provider, self.inner.url.ack, database);
        open.insert(provider.clone(), store.clone());
        Ok(store)
    }
}

impl ProviderStore {
    /// The handle to the data of a provider that cannot be opened now: calls fail
    /// until it can, and then it is opened by itself.
    ///
    /// # Errors
    /// When the process has no resources for it.
    pub fn open_later(url: &StoreUrl, provider: &ProviderId) -> Result<Self, StoreError> {
        let database = Database::open_later(&url.directory.join(format!("{provider}.db")), url.ack)?;
        Ok(Self::of(provider, url.ack, database))
    }

    fn of(provider: &ProviderId, ack: AckLevel, database: Database) -> Self {
        let (actor, clock) = (Actor::System("store"), Clock::system());
        Self { provider: provider.clone(), ack, actor, clock, backend: Backend::Sqlite(database) }
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
        let Backend::Sqlite(db) = &self.backend;
        db.write(|_| Ok(())).await
    }

    /// Finishes what is queued and closes the files; later calls fail.
    pub async fn close(&self) {
        let Backend::Sqlite(db) = &self.backend;
        db.close().await;
    }
}
