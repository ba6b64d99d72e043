//! Rows of gateways and placements.

use heliograph_domain::{GatewayId, GatewayState, LocationId, Timestamp, Zone};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::latest::Latest;
use super::{Batch, credential, device_clock};
use crate::address::{crowds_first, host_of};
use crate::error::StoreError;
use crate::gateway::{DirectoryEntry, GatewayCommissioning, GatewayRecord, Placement, is_commissioned};
use crate::store::ProviderStore;

pub(crate) fn number(connection: &Connection, gateway: &GatewayId) -> Result<i64, StoreError> {
    find_number(connection, gateway)?.ok_or(StoreError::NotFound("gateway"))
}

pub(super) fn find_number(connection: &Connection, gateway: &GatewayId) -> Result<Option<i64>, StoreError> {
    let mut query = connection.prepare_cached("SELECT number FROM gateway WHERE id = ?1")?;
    Ok(query.query_row([gateway.as_str()], |row| row.get(0)).optional()?)
}

/// The gateway's number; one that is not known yet is listed as waiting.
pub(crate) fn number_or_waiting(batch: &mut Batch<'_>, gateway: &GatewayId, at: Timestamp) -> Result<i64, StoreError> {
    if let Some(number) = find_number(batch.connection, gateway)? {
        return Ok(number);
    }
    batch.connection.prepare_cached("INSERT INTO gateway (id, state, first_seen) VALUES (?1, ?2, ?3)")?.execute(params![
        gateway.as_str(),
        GatewayState::Waiting.as_str(),
        at.as_millis()
    ])?;
    batch.config_changed();
    Ok(batch.connection.last_insert_rowid())
}

pub(crate) fn knock(batch: &mut Batch<'_>, gateway: &GatewayId, address: &str, at: Timestamp) -> Result<(), StoreError> {
    if find_number(batch.connection, gateway)?.is_none() {
        make_room(batch)?;
    }
    let number = number_or_waiting(batch, gateway, at)?;
    let mut latest = Latest::read(batch.connection, number)?;
    latest.knock(address, at);
    latest.save(batch.connection, number)
}

/// Forgets waiting gateways, so that one more fits: of the address that most of
/// them knock from, the one that did so longest ago.
fn make_room(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    let waiting: usize = batch
        .connection
        .prepare_cached("SELECT count(*) FROM gateway WHERE state = 'waiting'")?
        .query_row([], |row| row.get(0))?;
    let Some(excess) = (waiting + 1).checked_sub(ProviderStore::WAITING_GATEWAYS).filter(|excess| *excess > 0) else {
        return Ok(());
    };
    let forgettable: Vec<(String, u64, i64)> = batch
        .connection
        .prepare_cached(
            "SELECT number, address FROM gateway JOIN latest ON latest.gateway = number
             WHERE state = 'waiting' AND documents = 0 AND NOT EXISTS (SELECT 1 FROM ownership o WHERE o.gateway = number)
             ORDER BY seen",
        )?
        .query_map([], |row| Ok((host_of(row.get_ref(1)?.as_str()?), 0, row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    for number in crowds_first(forgettable).take(excess) {
        batch.connection.prepare_cached("DELETE FROM latest WHERE gateway = ?1")?.execute([number])?;
        batch.connection.prepare_cached("DELETE FROM gateway WHERE number = ?1")?.execute([number])?;
        batch.gateways.clear();
    }
    Ok(())
}

/// Fails where another gateway would be one too many.
fn check_quota(connection: &Connection, gateway: &GatewayId) -> Result<(), StoreError> {
    let most = super::settings::fetch(connection)?.unwrap_or_default().max_gateways;
    let mut query =
        connection.prepare_cached("SELECT count(*), coalesce(sum(id = ?1), 0) FROM gateway WHERE state = 'commissioned'")?;
    let (commissioned, was): (u32, bool) = query.query_row([gateway.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if !was && commissioned >= most { Err(StoreError::TooManyGateways(most)) } else { Ok(()) }
}

pub(crate) fn commission(batch: &mut Batch<'_>, new: &GatewayCommissioning) -> Result<(), StoreError> {
    check_quota(batch.connection, &new.gateway)?;
    let number = number_or_waiting(batch, &new.gateway, new.at)?;
    let changed = batch
        .connection
        .prepare_cached("UPDATE gateway SET state = ?2, label = ?3 WHERE number = ?1 AND state <> ?2")?
        .execute(params![number, GatewayState::Commissioned.as_str(), new.label])?;
    if changed == 0 {
        return Err(is_commissioned(&new.gateway));
    }
    place(batch, number, new.location, new.from)?;
    credential::add(batch, number, new.credential, new.at)
}

/// Ends the placement that holds `from` and whatever was planned after it, and
/// begins a new one. What has ended already is history and stays.
pub(crate) fn place(batch: &mut Batch<'_>, number: i64, location: LocationId, from: Timestamp) -> Result<(), StoreError> {
    super::location::require(batch.connection, location)?;
    let start = from.as_millis();
    let ended = "SELECT 1 FROM placement WHERE gateway = ?1 AND until > ?2";
    if batch.connection.prepare_cached(ended)?.exists(params![number, start])? {
        return Err(StoreError::Elsewhere);
    }
    batch.connection.execute("DELETE FROM placement WHERE gateway = ?1 AND start >= ?2", params![number, start])?;
    batch.connection.execute(
        "UPDATE placement SET until = ?2 WHERE gateway = ?1 AND start < ?2 AND (until IS NULL OR until > ?2)",
        params![number, start],
    )?;
    batch.connection.execute(
        "INSERT INTO placement (gateway, location, start) VALUES (?1, ?2, ?3)",
        params![number, location.to_string(), start],
    )?;
    super::span::restart(batch.connection, number)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn rename(batch: &mut Batch<'_>, gateway: &GatewayId, label: Option<&str>) -> Result<(), StoreError> {
    let number = number(batch.connection, gateway)?;
    batch.connection.execute("UPDATE gateway SET label = ?2 WHERE number = ?1", params![number, label])?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn retire(batch: &mut Batch<'_>, gateway: &GatewayId, at: Timestamp) -> Result<(), StoreError> {
    let number = number(batch.connection, gateway)?;
    let at = at.as_millis();
    batch
        .connection
        .execute("UPDATE gateway SET state = ?2 WHERE number = ?1", params![number, GatewayState::Retired.as_str()])?;
    batch.connection.execute("DELETE FROM placement WHERE gateway = ?1 AND start >= ?2", params![number, at])?;
    batch.connection.execute("UPDATE placement SET until = ?2 WHERE gateway = ?1 AND until IS NULL", params![number, at])?;
    batch.connection.execute("UPDATE credential SET revoked = ?2 WHERE gateway = ?1 AND revoked IS NULL", params![number, at])?;
    credential::unregister_all(batch.connection, gateway)?;
    super::span::restart(batch.connection, number)?;
    batch.config_changed();
    Ok(())
}

const GATEWAYS: &str = "
SELECT g.id, g.label, g.state, g.first_seen, l.seen, l.address, coalesce(l.documents, 0),
       (SELECT location FROM placement p WHERE p.gateway = g.number AND p.until IS NULL)
FROM gateway g LEFT JOIN latest l ON l.gateway = g.number
WHERE ?1 IS NULL OR g.id = ?1 ORDER BY g.id";

pub(crate) fn list(connection: &Connection, only: Option<&GatewayId>) -> Result<Vec<GatewayRecord>, StoreError> {
    let mut query = connection.prepare_cached(GATEWAYS)?;
    let mut rows = query.query([only.map(GatewayId::as_str)])?;
    let mut gateways = Vec::new();
    while let Some(row) = rows.next()? {
        gateways.push(record(row)?);
    }
    Ok(gateways)
}

fn record(row: &Row<'_>) -> Result<GatewayRecord, StoreError> {
    Ok(GatewayRecord {
        id: GatewayId::parse(row.get_ref(0)?.as_str().map_err(super::damaged)?)?,
        label: row.get(1)?,
        state: GatewayState::parse(row.get_ref(2)?.as_str().map_err(super::damaged)?)?,
        first_seen: Timestamp::clamped(row.get(3)?),
        last_seen: row.get::<_, Option<i64>>(4)?.map(Timestamp::clamped),
        last_address: row.get(5)?,
        documents: row.get(6)?,
        location: row.get::<_, Option<String>>(7)?.map(|id| LocationId::parse(&id)).transpose()?,
    })
}

pub(crate) fn placements(connection: &Connection) -> Result<Vec<Placement>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT g.id, p.location, p.start, p.until FROM placement p JOIN gateway g ON g.number = p.gateway ORDER BY g.id, p.start",
    )?;
    let mut rows = query.query([])?;
    let mut placements = Vec::new();
    while let Some(row) = rows.next()? {
        placements.push(Placement {
            gateway: GatewayId::parse(&row.get::<_, String>(0)?)?,
            location: LocationId::parse(&row.get::<_, String>(1)?)?,
            window: super::window(row, 2, 3)?,
        });
    }
    Ok(placements)
}

pub(crate) fn directory(connection: &Connection) -> Result<Vec<DirectoryEntry>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT g.number, g.id, g.state, o.zone, coalesce(l.documents, 0) > 0 FROM gateway g
         LEFT JOIN latest l ON l.gateway = g.number LEFT JOIN placement p ON p.gateway = g.number AND p.until IS NULL LEFT JOIN location o ON o.id = p.location",
    )?;
    let mut certificates = credential::registered(connection)?;
    let mut clocks = device_clock::corrections(connection)?;
    let mut rows = query.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let gateway = GatewayId::parse(&row.get::<_, String>(1)?)?;
        entries.push(DirectoryEntry {
            certificates: certificates.remove(&gateway).unwrap_or_default(),
            clock: clocks.remove(&gateway).unwrap_or_default(),
            stored: row.get(4)?,
            gateway,
            state: GatewayState::parse(&row.get::<_, String>(2)?)?,
            zone: row.get::<_, Option<String>>(3)?.map(|zone| Zone::parse(&zone)).transpose()?,
            keys: credential::in_force(connection, number)?,
        });
    }
    Ok(entries)
}
