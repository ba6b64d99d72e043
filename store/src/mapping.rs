//! The mappings of a provider: how to read XML that is of no dialect.

use heliograph_domain::{MappingName, ProviderMapping, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::tables::to_hex;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// Saves a mapping, over the one of the same name. That it compiles, the caller
    /// knows.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is too large, or there are too many.
    pub async fn mapping_save(&self, name: MappingName, source: String) -> Result<(), StoreError> {
        let detail = json!({ "bytes": source.len(), "sha256": to_hex(&Sha256::digest(source.as_bytes())) });
        let event = self.event("mapping.save", format_args!("mapping:{name}"), detail);
        let at = event.at;
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::mapping::save(batch, name, source, at)).await,
            Backend::Cassandra(db) => {
                db.change(event, move |catalog| catalog.mapping_save(name.clone(), source.clone(), at)).await
            }
        }
    }

    /// All mappings, by name: the order in which they are tried.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn mapping_list(&self) -> Result<Vec<ProviderMapping>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::mapping::list).await,
            Backend::Cassandra(db) => db.catalog().await?.mappings(),
        }
    }

    /// Takes a mapping away. Readings that it has read stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none of that name.
    pub async fn mapping_remove(&self, name: MappingName) -> Result<(), StoreError> {
        let event = self.event("mapping.remove", format_args!("mapping:{name}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::mapping::remove(batch, &name)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.mapping_remove(&name)).await,
        }
    }
}

/// A mapping as it is saved beside those that there are.
pub(crate) fn next(
    all: &[ProviderMapping],
    name: MappingName,
    source: String,
    changed: Timestamp,
) -> Result<ProviderMapping, StoreError> {
    if source.len() > ProviderMapping::BYTES {
        return Err(StoreError::Conflict(format!("a mapping has {} bytes at most", ProviderMapping::BYTES)));
    }
    let before = all.iter().find(|mapping| mapping.name == name);
    if before.is_none() && all.len() >= ProviderMapping::COUNT {
        return Err(StoreError::Conflict(format!("a provider has {} mappings at most", ProviderMapping::COUNT)));
    }
    let revision = before.map_or(1, |before| before.revision.saturating_add(1));
    Ok(ProviderMapping { name, source, revision, changed })
}
