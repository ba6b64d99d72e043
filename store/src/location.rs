//! Locations.

use heliograph_domain::{Location, LocationId};
use serde_json::json;

use crate::cassandra::Entry;
use crate::catalog::{Catalog, Change, Record};
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// Makes a location or replaces the one of the same id.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn location_save(&self, location: Location) -> Result<(), StoreError> {
        let detail = json!({ "zone": location.zone, "installed_kwp": location.installed_kwp });
        let event = self.event("location.save", format_args!("location:{}", location.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::location::save(batch, &location)).await,
            Backend::Cassandra(db) => {
                let put = move |_: &Catalog| Ok(vec![Change::Put(Record::Location(location.clone()))]);
                db.change_calendar(Entry::Always(event), put).await
            }
        }
    }

    /// One location.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn location_fetch(&self, location: LocationId) -> Result<Location, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let found = db.read(move |connection| sqlite::location::list(connection, Some(location))).await?;
                found.into_iter().next().ok_or(StoreError::NotFound("location"))
            }
            Backend::Cassandra(db) => {
                db.catalog().await?.locations.get(&location).cloned().ok_or(StoreError::NotFound("location"))
            }
        }
    }

    /// All locations, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn location_list(&self) -> Result<Vec<Location>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(|connection| sqlite::location::list(connection, None)).await,
            Backend::Cassandra(db) => Ok(db.catalog().await?.locations_by_name()),
        }
    }
}
