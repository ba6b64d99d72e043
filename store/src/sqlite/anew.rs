//! What of a gateway is to be made anew, in pieces: a record of its kind says how
//! far that has come, so that it goes on wherever a process ended.

use heliograph_domain::GatewayId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{gateway, record};
use crate::error::StoreError;

/// Notes how far it has come; with the default of `state` it begins.
pub(super) fn note(connection: &Connection, kind: &str, number: i64, state: &impl Serialize) -> Result<(), StoreError> {
    record::save(connection, kind, &number.to_string(), state)
}

/// Notes that it is done.
pub(super) fn end(connection: &Connection, kind: &str, number: i64) -> Result<(), StoreError> {
    record::remove(connection, kind, &number.to_string()).map(drop)
}

/// Whether it is not done yet.
pub(super) fn is_due(connection: &Connection, kind: &str, number: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM record WHERE kind = ?1 AND id = ?2")?;
    Ok(query.exists([kind, &number.to_string()])?)
}

/// The number of a gateway of which it is not done, this one or whichever, and how
/// far it has come.
pub(super) fn next<T: DeserializeOwned>(
    connection: &Connection,
    kind: &str,
    only: Option<&GatewayId>,
) -> Result<Option<(i64, T)>, StoreError> {
    let only = only.map(|id| gateway::number(connection, id)).transpose()?.map(|number| number.to_string());
    let next: Option<(String, String)> = connection
        .prepare_cached("SELECT id, body FROM record WHERE kind = ?1 AND (?2 IS NULL OR id = ?2) LIMIT 1")?
        .query_row(params![kind, only], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, body)) = next else { return Ok(None) };
    let number = id.parse().map_err(|_| StoreError::Damaged(format!("a {kind} record names no gateway")))?;
    Ok(Some((number, record::read(kind, &body)?)))
}
