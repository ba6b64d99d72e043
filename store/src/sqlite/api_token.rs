//! Records of API tokens.

use heliograph_domain::{ApiTokenId, CustomerId, KeyDigest, Timestamp, UserId};
use rusqlite::{Connection, params};

use super::{Batch, overwrite, record, user};
use crate::api_token::{API_TOKEN, ApiToken, check_proven, key_of};
use crate::error::StoreError;

pub(crate) fn find(connection: &Connection, digest: KeyDigest) -> Result<Option<ApiToken>, StoreError> {
    record::find(connection, API_TOKEN, &key_of(digest))
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<ApiToken>, StoreError> {
    record::list(connection, API_TOKEN)
}

pub(crate) fn create(batch: &mut Batch<'_>, token: &ApiToken, seen: Option<&str>) -> Result<(), StoreError> {
    let owner = user::list(batch.connection, Some(token.user), None)?.into_iter().next().ok_or(StoreError::NotFound("user"))?;
    check_proven(&owner, seen)?;
    token.check(&list(batch.connection)?)?;
    batch.config_changed();
    record::save(batch.connection, API_TOKEN, token.key(), token)
}

pub(crate) fn used(batch: &Batch<'_>, digest: KeyDigest, at: Timestamp) -> Result<(), StoreError> {
    let Some(token) = find(batch.connection, digest)? else { return Ok(()) };
    record::save(batch.connection, API_TOKEN, &key_of(digest), &token.used_at(at))
}

pub(crate) fn remove(batch: &mut Batch<'_>, id: ApiTokenId) -> Result<(), StoreError> {
    let found = list(batch.connection)?.into_iter().find(|token| token.id == id).ok_or(StoreError::NotFound("API token"))?;
    batch.config_changed();
    overwrite::wholly(batch.connection, || record::remove(batch.connection, API_TOKEN, found.key()))?;
    Ok(())
}

/// Ends all tokens of somebody. One that cannot be read is passed over, and keeps nobody
/// from being removed.
pub(crate) fn remove_of(connection: &Connection, user: UserId) -> Result<(), StoreError> {
    let sql = "DELETE FROM record WHERE kind = ?1
        AND CASE WHEN json_valid(body) THEN json_extract(body, '$.user') = ?2 ELSE 0 END";
    connection.execute(sql, params![API_TOKEN, user.to_string()])?;
    Ok(())
}

/// Ends all tokens of the people of a customer.
pub(crate) fn remove_of_customer(connection: &Connection, customer: CustomerId) -> Result<(), StoreError> {
    let sql = "DELETE FROM record WHERE kind = ?1 AND CASE WHEN json_valid(body)
        THEN json_extract(body, '$.user') IN (SELECT id FROM user WHERE customer = ?2) ELSE 0 END";
    connection.execute(sql, params![API_TOKEN, customer.to_string()])?;
    Ok(())
}
