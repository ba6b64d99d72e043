//! Records of what people prove beside their passwords.

use heliograph_domain::UserId;
use rusqlite::Connection;

use super::{Batch, overwrite, record, user};
use crate::error::StoreError;
use crate::second_factor::{SECOND_FACTOR, SecondFactor, SecondProof, unproven};

pub(crate) fn find(connection: &Connection, user: UserId) -> Result<Option<SecondFactor>, StoreError> {
    record::find(connection, SECOND_FACTOR, &user.to_string())
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<SecondFactor>, StoreError> {
    record::list(connection, SECOND_FACTOR)
}

pub(crate) fn save(batch: &mut Batch<'_>, factor: &SecondFactor) -> Result<(), StoreError> {
    if user::list(batch.connection, Some(factor.user), None)?.is_empty() {
        return Err(StoreError::NotFound("user"));
    }
    user::sign_out(batch, factor.user)?;
    batch.config_changed();
    replace(batch, factor)
}

/// What stood there before is gone from the file.
fn replace(batch: &Batch<'_>, factor: &SecondFactor) -> Result<(), StoreError> {
    overwrite::wholly(batch.connection, || record::save(batch.connection, SECOND_FACTOR, &factor.user.to_string(), factor))
}

pub(crate) fn use_up(batch: &mut Batch<'_>, seen: &SecondFactor, proof: SecondProof) -> Result<(), StoreError> {
    let factor = find(batch.connection, seen.user)?.ok_or(StoreError::NotFound("second step"))?;
    replace(batch, &factor.used(seen, proof).ok_or_else(unproven)?)
}

pub(crate) fn failed(batch: &mut Batch<'_>, user: UserId) -> Result<(), StoreError> {
    find(batch.connection, user)?.map_or(Ok(()), |factor| replace(batch, &factor.failed()))
}

pub(crate) fn remove(batch: &mut Batch<'_>, user: UserId) -> Result<(), StoreError> {
    batch.config_changed();
    user::sign_out(batch, user)?;
    let removed = overwrite::wholly(batch.connection, || record::remove(batch.connection, SECOND_FACTOR, &user.to_string()))?;
    if removed { Ok(()) } else { Err(StoreError::NotFound("second step")) }
}
