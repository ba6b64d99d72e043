//! Rows of the quarantine, within its bounds.

use heliograph_domain::{QuarantineId, RefusalCode, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{Batch, settings};
use crate::error::StoreError;
use crate::quarantine::{QuarantineNew, QuarantineRow, QuarantineUsage};
use crate::store::ProviderStore;

pub(crate) fn add(batch: &mut Batch<'_>, entry: &QuarantineNew) -> Result<(), StoreError> {
    batch
        .connection
        .prepare_cached(
            "INSERT INTO quarantine (id, received, gateway, address, code, reason, bytes, raw) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            entry.id.to_string(),
            entry.received.as_millis(),
            entry.gateway,
            entry.address,
            entry.code.as_str(),
            entry.reason,
            entry.raw.len(),
            entry.raw,
        ])?;
    count(batch, 1, entry.raw.len() as i64)?;
    prune(batch)?;
    batch.data_changed();
    Ok(())
}

fn count(batch: &Batch<'_>, rows: i64, bytes: i64) -> Result<(), StoreError> {
    for (name, change) in [("quarantine_rows", rows), ("quarantine_bytes", bytes)] {
        batch
            .connection
            .prepare_cached("UPDATE counter SET value = value + ?2 WHERE name = ?1")?
            .execute(params![name, change])?;
    }
    Ok(())
}

/// The oldest entries make room until both bounds hold.
fn prune(batch: &Batch<'_>) -> Result<(), StoreError> {
    loop {
        let now = usage(batch.connection)?;
        if now.rows <= ProviderStore::QUARANTINE_ROWS && now.bytes <= ProviderStore::QUARANTINE_BYTES {
            return Ok(());
        }
        let (id, bytes): (String, i64) = batch
            .connection
            .prepare_cached("SELECT id, bytes FROM quarantine ORDER BY received, id LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        batch.connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?.execute([id])?;
        count(batch, -1, -bytes)?;
    }
}

pub(crate) fn list(connection: &Connection, before: Option<Timestamp>, limit: usize) -> Result<Vec<QuarantineRow>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, received, gateway, address, code, reason, bytes, x'' FROM quarantine
         WHERE ?1 IS NULL OR received < ?1 ORDER BY received DESC, id DESC LIMIT ?2",
    )?;
    let mut rows = query.query(params![before.map(Timestamp::as_millis), limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

pub(crate) fn fetch(connection: &Connection, id: QuarantineId) -> Result<QuarantineRow, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT id, received, gateway, address, code, reason, bytes, raw FROM quarantine WHERE id = ?1")?;
    let mut rows = query.query([id.to_string()])?;
    rows.next()?.map_or(Err(StoreError::NotFound("quarantine entry")), entry)
}

pub(crate) fn usage(connection: &Connection) -> Result<QuarantineUsage, StoreError> {
    Ok(QuarantineUsage {
        rows: settings::counter(connection, "quarantine_rows")?,
        bytes: settings::counter(connection, "quarantine_bytes")?,
    })
}

fn entry(row: &Row<'_>) -> Result<QuarantineRow, StoreError> {
    Ok(QuarantineRow {
        entry: QuarantineNew {
            id: QuarantineId::parse(&row.get::<_, String>(0)?)?,
            received: Timestamp::clamped(row.get(1)?),
            gateway: row.get(2)?,
            address: row.get(3)?,
            code: RefusalCode::parse(&row.get::<_, String>(4)?)?,
            reason: row.get(5)?,
            raw: row.get(7)?,
        },
        bytes: row.get(6)?,
    })
}
