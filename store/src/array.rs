//! What is installed at a location, and when.

use heliograph_domain::{ArrayId, InstalledArray};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// Makes an installed array or replaces the one of the same id. Where a
    /// location has arrays, their sum is what is installed there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where its location is missing;
    /// [`StoreError::Conflict`] where it cannot stand there like that.
    pub async fn array_save(&self, array: InstalledArray) -> Result<(), StoreError> {
        let detail = json!({
            "location": array.location, "kwp": array.kwp, "tilt": array.tilt, "azimuth": array.azimuth, "window": array.window,
        });
        let event = self.event("array.save", format_args!("array:{}", array.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::save_array(batch, &array)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.array_save(&array)).await,
        }
    }

    /// All installed arrays, by age.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn array_list(&self) -> Result<Vec<InstalledArray>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::point::arrays).await,
            Backend::Cassandra(db) => db.catalog().await?.arrays(),
        }
    }

    /// Takes an array away, as if it had never been; one that was taken down
    /// has an end instead.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn array_remove(&self, array: ArrayId) -> Result<(), StoreError> {
        let event = self.event("array.remove", format_args!("array:{array}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::remove_array(batch, array)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.array_remove(array)).await,
        }
    }
}

/// Whether modules can stand like that.
pub(crate) fn check(array: &InstalledArray) -> Result<(), StoreError> {
    let problem = match array {
        InstalledArray { kwp, .. } if !(kwp.is_finite() && *kwp > 0.0) => "needs a peak power above 0 kW",
        InstalledArray { tilt, .. } if !(0.0..=90.0).contains(tilt) => "needs a tilt of 0 to 90 degrees",
        InstalledArray { azimuth, .. } if !(0.0..360.0).contains(azimuth) => "needs an azimuth of 0 to 360 degrees",
        InstalledArray { window, .. } if window.is_empty() => "must be taken down after it is built",
        _ => return Ok(()),
    };
    Err(StoreError::Conflict(format!("an array {problem}")))
}
