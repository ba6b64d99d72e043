//! Documents into frames, latest values and marks for the rollup worker.

use std::collections::{BTreeMap, HashMap};

use heliograph_domain::{Classification, GatewayId, SensorRole, TimePolicy, Timestamp, window_of};
use rusqlite::{OptionalExtension, params};

use super::frame::{self, Extent};
use super::{Batch, gateway, quarantine};
use crate::document::{DocumentWrite, SensorSeen, SeriesSeen, meaning, role_of};
use crate::error::StoreError;
use crate::rollup::series::Slot;
use crate::store::ProviderStore;

/// What the writer remembers of gateways, so that a document costs no look-ups.
/// Numbers and slots never change once they are committed; whatever fails
/// clears all of it.
#[derive(Debug, Default)]
pub(crate) struct GatewayCache {
    gateways: HashMap<GatewayId, CachedGateway>,
}

#[derive(Debug)]
struct CachedGateway {
    number: i64,
    slots: HashMap<SeriesName, Slot>,
}

type SeriesName = (String, String, String);

/// Gateways beyond this many are looked up again.
const CACHED_GATEWAYS: usize = 20_000;

impl GatewayCache {
    pub(crate) fn clear(&mut self) {
        self.gateways.clear();
    }
}

pub(crate) fn write(batch: &mut Batch<'_>, document: &DocumentWrite) -> Result<(), StoreError> {
    write_and_count(batch, document, FIRST_TIME)
}

/// Writes a document that may be there already.
pub(crate) fn write_again(batch: &mut Batch<'_>, document: &DocumentWrite) -> Result<(), StoreError> {
    write_and_count(batch, document, PERHAPS_AGAIN)
}

fn write_and_count(batch: &mut Batch<'_>, document: &DocumentWrite, count: &str) -> Result<(), StoreError> {
    let number = gateway_number(batch, document)?;
    let slots = slots(batch, number, document)?;
    let frames = group(document, &slots);
    for (time, values) in &frames {
        write_frame(batch, number, *time, values)?;
    }
    write_latest(batch, number, document, &frames, count)?;
    if let Some(refused) = &document.quarantine {
        quarantine::add(batch, refused)?;
    }
    Ok(())
}

fn gateway_number(batch: &mut Batch<'_>, document: &DocumentWrite) -> Result<i64, StoreError> {
    if let Some(cached) = batch.gateways.gateways.get(&document.gateway) {
        return Ok(cached.number);
    }
    let number = gateway::number_or_waiting(batch, &document.gateway, document.received)?;
    if batch.gateways.gateways.len() >= CACHED_GATEWAYS {
        batch.gateways.clear();
    }
    let slots = HashMap::new();
    batch.gateways.gateways.insert(document.gateway.clone(), CachedGateway { number, slots });
    Ok(number)
}

/// The slot of each series of the document, in its order.
fn slots(batch: &mut Batch<'_>, number: i64, document: &DocumentWrite) -> Result<Vec<Slot>, StoreError> {
    document
        .series
        .iter()
        .map(|series| {
            let sensor =
                document.sensors.get(series.sensor).ok_or_else(|| StoreError::Conflict("series names no sensor".to_owned()))?;
            slot(batch, number, &document.gateway, sensor, series)
        })
        .collect()
}

fn slot(
    batch: &mut Batch<'_>,
    number: i64,
    id: &GatewayId,
    sensor: &SensorSeen,
    series: &SeriesSeen,
) -> Result<Slot, StoreError> {
    let name: SeriesName =
        (String::from(sensor.id.clone()), String::from(series.metric.clone()), String::from(series.unit.clone()));
    let cached = batch.gateways.gateways.get(id).and_then(|gateway| gateway.slots.get(&name));
    if let Some(slot) = cached {
        return Ok(*slot);
    }
    let found = batch
        .connection
        .prepare_cached("SELECT slot FROM series WHERE gateway = ?1 AND sensor = ?2 AND metric = ?3 AND unit = ?4")?
        .query_row(params![number, name.0, name.1, name.2], |row| row.get(0))
        .optional()?;
    let slot = match found {
        Some(slot) => slot,
        None => register(batch, number, sensor, series)?,
    };
    if let Some(gateway) = batch.gateways.gateways.get_mut(id) {
        gateway.slots.insert(name, slot);
    }
    Ok(slot)
}

/// Gives a new series its slot, and its sensor a row if it has none.
fn register(batch: &mut Batch<'_>, number: i64, sensor: &SensorSeen, series: &SeriesSeen) -> Result<Slot, StoreError> {
    let role = register_sensor(batch, number, sensor, series)?;
    let Classification { kind, quantity } = meaning(series, role);
    let slot: Slot = batch
        .connection
        .prepare_cached("SELECT coalesce(max(slot), -1) + 1 FROM series WHERE gateway = ?1")?
        .query_row([number], |row| row.get(0))?;
    if slot as usize >= ProviderStore::SERIES_OF_GATEWAY {
        return Err(StoreError::TooManySeries(ProviderStore::SERIES_OF_GATEWAY));
    }
    batch
        .connection
        .prepare_cached("INSERT INTO series (gateway, slot, sensor, metric, unit, kind, quantity, chosen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)")?
        .execute(params![number, slot, sensor.id.as_str(), series.metric.as_str(), series.unit.as_str(), kind.as_str(), quantity.as_str()])?;
    batch.config_changed();
    Ok(slot)
}

fn register_sensor(batch: &Batch<'_>, number: i64, sensor: &SensorSeen, series: &SeriesSeen) -> Result<SensorRole, StoreError> {
    let known: Option<String> = batch
        .connection
        .prepare_cached("SELECT role FROM sensor WHERE gateway = ?1 AND id = ?2")?
        .query_row(params![number, sensor.id.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(role) = known {
        return Ok(SensorRole::parse(&role)?);
    }
    let role = role_of(sensor, series);
    batch
        .connection
        .prepare_cached("INSERT INTO sensor (gateway, id, role, role_chosen) VALUES (?1, ?2, ?3, 0)")?
        .execute(params![number, sensor.id.as_str(), role.as_str()])?;
    Ok(role)
}

type Frames = BTreeMap<Timestamp, Vec<(Slot, f64)>>;

/// The values by instant, sorted by slot, the last of equal keys only.
fn group(document: &DocumentWrite, slots: &[Slot]) -> Frames {
    let mut frames = Frames::new();
    for value in &document.values {
        if let Some(slot) = slots.get(value.series) {
            frames.entry(value.time).or_default().push((*slot, value.value));
        }
    }
    for values in frames.values_mut() {
        values.sort_by_key(|(slot, _)| *slot);
        values.reverse();
        values.dedup_by_key(|(slot, _)| *slot);
        values.reverse();
    }
    frames
}

/// Writes a frame over what is there. The same values again change nothing and
/// cost no write.
fn write_frame(batch: &mut Batch<'_>, number: i64, time: Timestamp, values: &[(Slot, f64)]) -> Result<(), StoreError> {
    let mut query = batch.connection.prepare_cached("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time = ?2")?;
    let mut rows = query.query(params![number, time.as_millis()])?;
    let stored = match rows.next()? {
        Some(row) => Some(frame::checked(number, row)?.1.to_vec()),
        None => None,
    };
    drop(rows);
    let data = match &stored {
        None => frame::pack(values),
        Some(stored) => frame::pack(&frame::overlay(&frame::unpack(stored)?, values)),
    };
    if stored.as_deref() == Some(&data) {
        return Ok(());
    }
    batch
        .connection
        .prepare_cached(
            "INSERT INTO frame (gateway, time, data, crc) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET data = excluded.data, crc = excluded.crc",
        )?
        .execute(params![number, time.as_millis(), data, frame::checksum(number, time.as_millis(), &data)])?;
    batch
        .connection
        .prepare_cached("INSERT INTO dirty (gateway, start) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![number, window_of(time).as_millis()])?;
    batch.data_changed();
    Ok(())
}

macro_rules! upsert_latest {
    ($counted:literal) => {
        concat!(
            "INSERT INTO latest (gateway, seen, address, documents, data, stamp) VALUES (?1, ?2, ?3, 1, ?4, ?5)
             ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen),
             address = CASE WHEN excluded.seen >= seen THEN excluded.address ELSE address END, documents = documents + ",
            $counted,
            ", stamp = max(stamp, excluded.stamp), data = excluded.data"
        )
    };
}

const FIRST_TIME: &str = upsert_latest!("1");
/// A gateway's documents come in the order of their stamps: one that was written
/// before is not above the highest.
const PERHAPS_AGAIN: &str = upsert_latest!("(excluded.stamp > stamp)");

fn write_latest(
    batch: &Batch<'_>,
    number: i64,
    document: &DocumentWrite,
    frames: &Frames,
    upsert: &str,
) -> Result<(), StoreError> {
    let stored: Option<Vec<u8>> = batch
        .connection
        .prepare_cached("SELECT data FROM latest WHERE gateway = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let mut extents: BTreeMap<Slot, Extent> =
        frame::unpack_extents(stored.as_deref().unwrap_or_default())?.into_iter().map(|extent| (extent.slot, extent)).collect();
    let newest_allowed = document.received.plus_millis(TimePolicy::LATEST_AHEAD_MS);
    for (time, values) in frames {
        for (slot, value) in values {
            let extent = extents.entry(*slot).or_insert(Extent { slot: *slot, latest: None, first: *time, last: *time });
            extent.first = extent.first.min(*time);
            extent.last = extent.last.max(*time);
            if *time <= newest_allowed && extent.latest.is_none_or(|(latest, _)| latest <= *time) {
                extent.latest = Some((*time, *value));
            }
        }
    }
    let extents: Vec<Extent> = extents.into_values().collect();
    batch.connection.prepare_cached(upsert)?.execute(params![
        number,
        document.received.as_millis(),
        document.address,
        frame::pack_extents(&extents),
        document.stamp.as_micros()
    ])?;
    Ok(())
}
