//! What locations are expected to give.

use heliograph_domain::{LocationId, YieldTargets};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of their records; their id is the location's.
pub(crate) const YIELD_TARGETS: &str = "yield-targets";

impl ProviderStore {
    /// Sets what a location is expected to give, in place of what was set before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the location is missing.
    pub async fn target_save(&self, targets: YieldTargets) -> Result<(), StoreError> {
        let months: Vec<String> = targets.months().iter().map(ToString::to_string).collect();
        let detail = json!({ "kwh_by_month": months.join(", "), "kwp": targets.kwp() });
        let event = self.event("target.save", format_args!("location:{}", targets.location()), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::target::save(batch, &targets)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.target_save(&targets)).await,
        }
    }

    /// What a location is expected to give; `None` where nobody has set that.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn target_find(&self, location: LocationId) -> Result<Option<YieldTargets>, StoreError> {
        Ok(self.target_list().await?.into_iter().find(|targets| targets.location() == location))
    }

    /// What all locations are expected to give of which that is set, by location.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn target_list(&self) -> Result<Vec<YieldTargets>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::target::list).await,
            Backend::Cassandra(db) => db.catalog().await?.targets(),
        }
    }

    /// Takes away what a location is expected to give.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where nothing is set.
    pub async fn target_remove(&self, location: LocationId) -> Result<(), StoreError> {
        let event = self.event("target.remove", format_args!("location:{location}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::target::remove(batch, location)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.target_remove(location)).await,
        }
    }
}
