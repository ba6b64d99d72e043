//! Things that people make a few of, as one row of JSON each.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// Makes a row or replaces the one of the same id.
pub(crate) fn save(connection: &Connection, kind: &str, id: &str, body: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_string(body).map_err(|error| StoreError::Conflict(format!("{kind}: {error}")))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO record (kind, id, body) VALUES (?1, ?2, ?3)")?
        .execute(params![kind, id, text])?;
    Ok(())
}

/// All rows of a kind, by id.
pub(crate) fn list<T: DeserializeOwned>(connection: &Connection, kind: &str) -> Result<Vec<T>, StoreError> {
    let mut query = connection.prepare_cached("SELECT body FROM record WHERE kind = ?1 ORDER BY id")?;
    let mut rows = query.query([kind])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(read(kind, row.get_ref(0)?.as_str().map_err(super::damaged)?)?);
    }
    Ok(records)
}

/// All rows of a kind with their ids.
pub(crate) fn pairs<T: DeserializeOwned>(connection: &Connection, kind: &str) -> Result<Vec<(String, T)>, StoreError> {
    let mut query = connection.prepare_cached("SELECT id, body FROM record WHERE kind = ?1 ORDER BY id")?;
    let mut rows = query.query([kind])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push((row.get(0)?, read(kind, row.get_ref(1)?.as_str().map_err(super::damaged)?)?));
    }
    Ok(records)
}

/// One row of a kind.
pub(crate) fn find<T: DeserializeOwned>(connection: &Connection, kind: &str, id: &str) -> Result<Option<T>, StoreError> {
    let mut query = connection.prepare_cached("SELECT body FROM record WHERE kind = ?1 AND id = ?2")?;
    let body: Option<String> = query.query_row([kind, id], |row| row.get(0)).optional()?;
    body.map(|body| read(kind, &body)).transpose()
}

/// Takes a row away; false where there was none.
pub(crate) fn remove(connection: &Connection, kind: &str, id: &str) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("DELETE FROM record WHERE kind = ?1 AND id = ?2")?.execute([kind, id])? == 1)
}

pub(crate) fn read<T: DeserializeOwned>(kind: &str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Damaged(format!("{kind}: {error}")))
}
