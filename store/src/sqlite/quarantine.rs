//! Rows of the quarantine, within its bounds.

use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::{Batch, copy, record, settings};
use crate::address::{crowds_first, host_of};
use crate::archive::tables::to_hex;
use crate::error::StoreError;
use crate::quarantine::{PRESENTED, QuarantineNew, QuarantineRow, QuarantineUsage, is_held, parse_presented};
use crate::store::ProviderStore;

/// The id of an entry, and its bytes.
type Entry = (String, i64);

/// A share of the quarantine, with its own bounds.
struct Share {
    rows: &'static str,
    bytes: &'static str,
    max: QuarantineUsage,
    /// Which of its entries makes room: for their number or, where this is false, their bytes.
    first: fn(&Connection, bool) -> Result<Entry, StoreError>,
}

const TRUSTED: Share = Share {
    rows: "quarantine_rows_trusted",
    bytes: "quarantine_bytes_trusted",
    max: QuarantineUsage { rows: ProviderStore::QUARANTINE_ROWS, bytes: ProviderStore::QUARANTINE_BYTES },
    first: first_of_gateways,
};
const STRANGERS: Share = Share {
    rows: "quarantine_rows_strangers",
    bytes: "quarantine_bytes_strangers",
    max: QuarantineUsage { rows: ProviderStore::STRANGERS_ROWS, bytes: ProviderStore::STRANGERS_BYTES },
    first: |connection, _| first_of_crowd(connection, OF_STRANGERS, &[]),
};

/// The entries of strangers.
const OF_STRANGERS: &str = "FROM quarantine WHERE trusted = 0";
/// What is held of one gateway that nobody knows.
const HELD: &str = "FROM quarantine WHERE gateway = ?1 AND code = 'unknown-gateway' AND trusted = 0";

impl Share {
    const fn of(trusted: bool) -> &'static Self {
        if trusted { &TRUSTED } else { &STRANGERS }
    }

    fn usage(&self, connection: &Connection) -> Result<QuarantineUsage, StoreError> {
        let (rows, bytes) = (settings::counter(connection, self.rows)?, settings::counter(connection, self.bytes)?);
        Ok(QuarantineUsage { rows, bytes })
    }

    fn count(&self, batch: &Batch<'_>, rows: i64, bytes: i64) -> Result<(), StoreError> {
        for (name, change) in [(self.rows, rows), (self.bytes, bytes)] {
            batch
                .connection
                .prepare_cached("UPDATE counter SET value = value + ?2 WHERE name = ?1")?
                .execute(params![name, change])?;
        }
        Ok(())
    }

    fn prune(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        loop {
            let now = self.usage(batch.connection)?;
            if now.rows <= self.max.rows && now.bytes <= self.max.bytes {
                return Ok(());
            }
            let (id, bytes) = (self.first)(batch.connection, now.rows > self.max.rows)?;
            self.delete(batch, &id, bytes)?;
        }
    }

    fn delete(&self, batch: &Batch<'_>, id: &str, bytes: i64) -> Result<(), StoreError> {
        batch.connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?.execute([id])?;
        record::remove(batch.connection, PRESENTED, id)?;
        self.count(batch, -1, -bytes)
    }

    /// Makes room among what is held of a gateway.
    fn prune_held(&self, batch: &Batch<'_>, gateway: &str) -> Result<(), StoreError> {
        let usage = format!("SELECT count(*), coalesce(sum(bytes), 0) {HELD}");
        loop {
            let (rows, bytes): (u64, u64) =
                batch.connection.prepare_cached(&usage)?.query_row([gateway], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if rows <= ProviderStore::HELD_ROWS && bytes <= ProviderStore::HELD_BYTES {
                return Ok(());
            }
            let (id, bytes) = first_of_crowd(batch.connection, HELD, &[&gateway])?;
            self.delete(batch, &id, bytes)?;
        }
    }
}

/// Of some entries the one that makes room, with its bytes: the oldest of the host
/// that has most.
fn first_of_crowd(connection: &Connection, which: &str, params: &[&dyn ToSql]) -> Result<Entry, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT address, bytes, id {which} ORDER BY received, id"))?;
    let mut rows = query.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let host = host_of(row.get_ref(0)?.as_str().map_err(super::damaged)?);
        entries.push((host, row.get(1)?, (row.get(2)?, row.get(1)?)));
    }
    crowds_first(entries).next().ok_or(StoreError::NotFound("quarantine entry"))
}

/// Of the entries of gateways that had proved themselves the one that makes room, with
/// its bytes: the oldest of the gateway that has most of what there is too much of.
fn first_of_gateways(connection: &Connection, by_number: bool) -> Result<Entry, StoreError> {
    let most = if by_number { "count(*)" } else { "sum(bytes)" };
    // The sign keeps SQLite to the index that has all of this.
    let crowd = format!("SELECT gateway FROM quarantine WHERE +trusted = 1 GROUP BY gateway ORDER BY {most} DESC LIMIT 1");
    let gateway: Option<String> = connection.prepare_cached(&crowd)?.query_row([], |row| row.get(0))?;
    let oldest = "SELECT id, bytes FROM quarantine WHERE trusted = 1 AND gateway IS ?1 ORDER BY received, id LIMIT 1";
    Ok(connection.prepare_cached(oldest)?.query_row([gateway], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

pub(crate) fn add(batch: &mut Batch<'_>, entry: &QuarantineNew, presented: Option<KeyDigest>) -> Result<(), StoreError> {
    let added = batch
        .connection
        .prepare_cached(
            "INSERT INTO quarantine (id, received, gateway, address, code, reason, bytes, raw, trusted, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
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
            entry.trusted,
            copy::checksum(&entry.id.to_string(), &entry.raw),
        ])?;
    if added == 0 {
        return Ok(());
    }
    let share = Share::of(entry.trusted);
    share.count(batch, 1, entry.raw.len() as i64)?;
    if let Some(presented) = presented {
        record::save(batch.connection, PRESENTED, &entry.id.to_string(), &to_hex(&presented.0))?;
    }
    if let Some(gateway) = entry.gateway.as_deref().filter(|_| is_held(entry)) {
        share.prune_held(batch, gateway)?;
    }
    share.prune(batch)?;
    batch.data_changed();
    Ok(())
}

pub(crate) fn presented(connection: &Connection, id: QuarantineId) -> Result<Option<KeyDigest>, StoreError> {
    let mut query = connection.prepare_cached("SELECT body FROM record WHERE kind = ?1 AND id = ?2")?;
    let found: Option<String> = query.query_row([PRESENTED, &id.to_string()], |row| row.get(0)).optional()?;
    let Some(body) = found else { return Ok(None) };
    parse_presented(&record::read::<String>(PRESENTED, &body)?).map(Some)
}

pub(crate) fn is_there(connection: &Connection, id: QuarantineId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM quarantine WHERE id = ?1")?.exists([id.to_string()])?)
}

pub(crate) fn remove(batch: &mut Batch<'_>, id: QuarantineId) -> Result<(), StoreError> {
    let id = id.to_string();
    let mut query = batch.connection.prepare_cached("SELECT trusted, bytes FROM quarantine WHERE id = ?1")?;
    let found: Option<(bool, i64)> = query.query_row([&id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((trusted, bytes)) = found {
        Share::of(trusted).delete(batch, &id, bytes)?;
        batch.data_changed();
    }
    Ok(())
}

pub(crate) fn revise(batch: &mut Batch<'_>, id: QuarantineId, code: RefusalCode, reason: &str) -> Result<(), StoreError> {
    batch.connection.prepare_cached("UPDATE quarantine SET code = ?2, reason = ?3 WHERE id = ?1")?.execute(params![
        id.to_string(),
        code.as_str(),
        reason
    ])?;
    batch.data_changed();
    Ok(())
}

pub(crate) fn list(
    connection: &Connection,
    before: Option<(Timestamp, QuarantineId)>,
    limit: usize,
) -> Result<Vec<QuarantineRow>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, received, gateway, address, code, reason, bytes, x'', trusted FROM quarantine
         WHERE (received, id) < (?1, ?2) ORDER BY received DESC, id DESC LIMIT ?3",
    )?;
    let (received, id) = before.unwrap_or((Timestamp::MAX, QuarantineId::new(uuid::Uuid::max())));
    let mut rows = query.query(params![received.as_millis(), id.to_string(), limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

pub(crate) fn fetch(connection: &Connection, id: QuarantineId) -> Result<QuarantineRow, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, received, gateway, address, code, reason, bytes, raw, trusted, crc FROM quarantine WHERE id = ?1",
    )?;
    let mut rows = query.query([id.to_string()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound("quarantine entry"))?;
    let found = entry(row)?;
    copy::verify(&id.to_string(), &found.entry.raw, row.get(9)?, "quarantine entry")?;
    Ok(found)
}

pub(crate) fn usage(connection: &Connection) -> Result<QuarantineUsage, StoreError> {
    let (trusted, strangers) = (TRUSTED.usage(connection)?, STRANGERS.usage(connection)?);
    Ok(QuarantineUsage { rows: trusted.rows + strangers.rows, bytes: trusted.bytes + strangers.bytes })
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
            trusted: row.get(8)?,
        },
        bytes: row.get(6)?,
    })
}
