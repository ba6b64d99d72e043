//! The provider's settings.

use heliograph_domain::ProviderSettings;
use serde_json::json;

use crate::audit::AuditEvent;
use crate::cassandra::Entry;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// The settings; defaults where none were saved.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settings_fetch(&self) -> Result<ProviderSettings, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => Ok(db.read(sqlite::settings::fetch).await?.unwrap_or_default()),
            Backend::Cassandra(db) => Ok(db.catalog().await?.settings.clone().unwrap_or_default()),
        }
    }

    /// Saves the settings.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settings_save(&self, settings: ProviderSettings) -> Result<(), StoreError> {
        let event = self.settings_event("settings.save", &settings);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::settings::save(batch, &settings)).await,
            Backend::Cassandra(db) => db.settings_save(Entry::Always(event), settings, None).await,
        }
    }

    /// Saves the settings where they are still what was `seen`, so that of two who
    /// change them at once one gets to know.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where somebody has changed them since.
    pub async fn settings_replace(&self, seen: ProviderSettings, settings: ProviderSettings) -> Result<(), StoreError> {
        let event = self.settings_event("settings.save", &settings);
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| {
                    check_seen(&seen, &sqlite::settings::fetch(batch.connection)?.unwrap_or_default())?;
                    sqlite::settings::save(batch, &settings)
                })
                .await
            }
            Backend::Cassandra(db) => db.settings_save(Entry::Always(event), settings, Some(seen)).await,
        }
    }

    /// Saves the settings unless some were saved before.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn settings_seed(&self, settings: ProviderSettings) -> Result<(), StoreError> {
        let event = self.settings_event("settings.seed", &settings);
        match &self.backend {
            Backend::Sqlite(db) => {
                db.write(move |batch| match sqlite::settings::fetch(batch.connection)? {
                    Some(_) => Ok(()),
                    None => sqlite::settings::save(batch, &settings).and_then(|()| sqlite::audit::append(batch, event)),
                })
                .await
            }
            Backend::Cassandra(db) => {
                db.change_calendar(Entry::OnChange(event), move |catalog| Ok(catalog.seed(&settings))).await
            }
        }
    }

    /// All settings but the name, which may be a person's.
    fn settings_event(&self, action: &str, settings: &ProviderSettings) -> AuditEvent {
        let mut detail = json!(settings);
        detail.as_object_mut().map(|fields| fields.remove("name"));
        self.event(action, "settings", detail)
    }
}

/// Whether settings are what somebody saw who wants to change them.
pub(crate) fn check_seen(seen: &ProviderSettings, current: &ProviderSettings) -> Result<(), StoreError> {
    if seen == current { Ok(()) } else { Err(StoreError::Conflict("the settings were changed meanwhile".to_owned())) }
}
