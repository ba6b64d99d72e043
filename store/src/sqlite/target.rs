//! Records of what locations are expected to give.

use heliograph_domain::{LocationId, YieldTargets};
use rusqlite::Connection;

use super::{Batch, location, record};
use crate::error::StoreError;
use crate::target::YIELD_TARGETS;

pub(crate) fn save(batch: &mut Batch<'_>, targets: &YieldTargets) -> Result<(), StoreError> {
    location::require(batch.connection, targets.location())?;
    batch.config_changed();
    record::save(batch.connection, YIELD_TARGETS, &targets.location().to_string(), targets)
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<YieldTargets>, StoreError> {
    record::list(connection, YIELD_TARGETS)
}

pub(crate) fn remove(batch: &mut Batch<'_>, location: LocationId) -> Result<(), StoreError> {
    if !record::remove(batch.connection, YIELD_TARGETS, &location.to_string())? {
        return Err(StoreError::NotFound("expected yield"));
    }
    batch.config_changed();
    Ok(())
}
