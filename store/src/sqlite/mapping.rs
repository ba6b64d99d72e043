//! Rows of mappings.

use heliograph_domain::{MappingName, ProviderMapping, Timestamp};
use rusqlite::Connection;

use super::{Batch, record};
use crate::error::StoreError;
use crate::mapping::next;

pub(super) const MAPPING: &str = "mapping";

pub(crate) fn save(batch: &mut Batch<'_>, name: MappingName, source: String, at: Timestamp) -> Result<(), StoreError> {
    let mapping = next(&list(batch.connection)?, name, source, at)?;
    record::save(batch.connection, MAPPING, mapping.name.as_str(), &mapping)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<ProviderMapping>, StoreError> {
    record::list(connection, MAPPING)
}

pub(crate) fn remove(batch: &mut Batch<'_>, name: &MappingName) -> Result<(), StoreError> {
    batch.config_changed();
    if record::remove(batch.connection, MAPPING, name.as_str())? { Ok(()) } else { Err(StoreError::NotFound("mapping")) }
}
