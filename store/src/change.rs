//! How processes learn from each other: change counters and leases.

use heliograph_domain::Timestamp;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// Counters that rise with each change; equal counters mean that nothing has
/// changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions {
    /// Gateways, keys, sensors, locations, customers, people and settings.
    pub config: u64,
    /// Readings.
    pub data: u64,
}

/// No lease is taken for longer, ms. One that ends later than that from now was
/// taken by a clock that is far ahead, and holds up nobody: its holder may be dead.
pub(crate) const LONGEST_LEASE_MS: i64 = 5 * 60_000;

impl ProviderStore {
    /// The change counters.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn versions(&self) -> Result<Versions, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::settings::versions).await,
            Backend::Cassandra(db) => db.versions().await,
        }
    }

    /// Takes or renews a lease until `until`, five minutes after `now` at most; false
    /// where somebody else holds it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn lease_take(&self, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let (name, holder) = (name.to_owned(), holder.to_owned());
                db.write(move |batch| sqlite::settings::take_lease(batch, &name, &holder, now, until)).await
            }
            Backend::Cassandra(db) => db.lease_take(name, holder, now, until).await,
        }
    }

    /// Gives a lease back, if `holder` still holds it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn lease_release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let (name, holder) = (name.to_owned(), holder.to_owned());
                db.write(move |batch| sqlite::settings::release_lease(batch, &name, &holder)).await
            }
            Backend::Cassandra(db) => db.lease_release(name, holder).await,
        }
    }
}
