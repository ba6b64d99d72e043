//! The provider's settings.

use heliograph_domain::ProviderSettings;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// The settings; defaults where none were saved.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settings_fetch(&self) -> Result<ProviderSettings, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        Ok(db.read(sqlite::settings::fetch).await?.unwrap_or_default())
    }

    /// Saves the settings.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settings_save(&self, settings: ProviderSettings) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |batch| sqlite::settings::save(batch, &settings)).await
    }

    /// Saves the settings unless some were saved before.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settings_seed(&self, settings: ProviderSettings) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |batch| match sqlite::settings::fetch(batch.connection)? {
            Some(_) => Ok(()),
            None => sqlite::settings::save(batch, &settings),
        })
        .await
    }
}
