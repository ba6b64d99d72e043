//! Records of what people prove beside their passwords.

use heliograph_domain::UserId;
use rusqlite::Connection;

use super::{Batch, record, user};
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
    user::delete_sessions(batch, factor.user)?;
    batch.config_changed();
    record::save(batch.connection, SECOND_FACTOR, &factor.user.to_string(), factor)
}

pub(crate) fn use_up(batch: &mut Batch<'_>, user: UserId, proof: SecondProof) -> Result<(), StoreError> {
    let factor = find(batch.connection, user)?.ok_or(StoreError::NotFound("second step"))?;
    let used = factor.used(proof).ok_or_else(unproven)?;
    record::save(batch.connection, SECOND_FACTOR, &user.to_string(), &used)
}

pub(crate) fn remove(batch: &mut Batch<'_>, user: UserId) -> Result<(), StoreError> {
    batch.config_changed();
    if record::remove(batch.connection, SECOND_FACTOR, &user.to_string())? {
        Ok(())
    } else {
        Err(StoreError::NotFound("second step"))
    }
}
