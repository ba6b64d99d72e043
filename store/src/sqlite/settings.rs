//! Rows of settings, counters and leases.

use heliograph_domain::{ProviderSettings, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::Batch;
use crate::change::{LONGEST_LEASE_MS, Versions};
use crate::error::StoreError;

pub(crate) fn fetch(connection: &Connection) -> Result<Option<ProviderSettings>, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM setting WHERE name = 'provider'")?;
    let text: Option<String> = query.query_row([], |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| StoreError::Damaged(format!("settings: {error}")))).transpose()
}

pub(crate) fn save(batch: &mut Batch<'_>, settings: &ProviderSettings) -> Result<(), StoreError> {
    if fetch(batch.connection)?.unwrap_or_default().zone != settings.zone {
        super::span::restart_all(batch.connection, None)?;
    }
    let text = serde_json::to_string(settings).map_err(|error| StoreError::Conflict(format!("settings: {error}")))?;
    batch
        .connection
        .execute("INSERT INTO setting VALUES ('provider', ?1) ON CONFLICT DO UPDATE SET value = excluded.value", [text])?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn versions(connection: &Connection) -> Result<Versions, StoreError> {
    Ok(Versions { config: counter(connection, "config")?, data: counter(connection, "data")? })
}

pub(crate) fn counter(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    Ok(connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?.query_row([name], |row| row.get(0))?)
}

pub(crate) fn take_lease(
    batch: &Batch<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let taken = batch
        .connection
        .prepare_cached(
            "INSERT INTO lease (name, holder, until) VALUES (?1, ?2, ?4)
             ON CONFLICT DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE holder = ?2 OR until <= ?3 OR until > ?5",
        )?
        .execute(params![
            name,
            holder,
            now.as_millis(),
            until.as_millis(),
            now.plus_millis(LONGEST_LEASE_MS).as_millis()
        ])?;
    Ok(taken == 1)
}

pub(crate) fn release_lease(batch: &Batch<'_>, name: &str, holder: &str) -> Result<(), StoreError> {
    batch.connection.execute("DELETE FROM lease WHERE name = ?1 AND holder = ?2", [name, holder])?;
    Ok(())
}
