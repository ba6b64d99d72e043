//! Documents into frames, latest values and marks for the rollup worker.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use heliograph_domain::{Classification, GatewayId, SensorRole, TimePolicy, Timestamp, window_of};
use rusqlite::{Connection, OptionalExtension, params};

use super::latest::Latest;
use super::{Batch, frame, gateway, quarantine};
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
    /// By [`series_name`].
    slots: HashMap<String, Slot>,
    /// A gateway sends the same series again and again.
    last: Option<Shape>,
}

/// The series of a document and their slots.
#[derive(Debug)]
struct Shape {
    sensors: Vec<SensorSeen>,
    series: Vec<SeriesSeen>,
    slots: Vec<Slot>,
}

/// Gateways beyond this many are looked up again.
const CACHED_GATEWAYS: usize = 20_000;

impl GatewayCache {
    pub(crate) fn clear(&mut self) {
        self.gateways.clear();
    }
}

/// Whether a document is a further one of its gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    /// It is.
    FirstTime,
    /// It may be there already. A gateway's documents come in the order of their
    /// stamps: one that was written before is not above the highest.
    PerhapsAgain,
}

/// How the values of a document lie on those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lay {
    /// They replace them.
    Over,
    /// They give way to them.
    Beneath,
}

/// Documents that are written one after the other in one transaction. What is
/// latest of a gateway is read once and written once, by [`Self::finish`].
#[derive(Debug, Default)]
pub(crate) struct Documents {
    gateways: BTreeMap<i64, Latest>,
}

/// Writes documents that may be there already.
pub(crate) fn write_again(batch: &mut Batch<'_>, again: &[Arc<DocumentWrite>]) -> Result<(), StoreError> {
    let mut documents = Documents::default();
    again.iter().try_for_each(|document| documents.write(batch, document, Count::PerhapsAgain))?;
    documents.finish(batch)
}

/// Writes a document that arrived a while ago. Of the pushes of a key no stamps are
/// kept; where its gateway has had a later document stored, what is there stays.
pub(crate) fn replay(batch: &mut Batch<'_>, document: &DocumentWrite, count: Count) -> Result<(), StoreError> {
    let number = gateway_number(batch, document)?;
    let latest = Latest::read(batch.connection, number)?;
    let lay = if latest.is_after(document) { Lay::Beneath } else { Lay::Over };
    let mut documents = Documents::default();
    documents.lay(batch, document, count, lay)?;
    documents.finish(batch)
}

impl Documents {
    pub(crate) fn write(&mut self, batch: &mut Batch<'_>, document: &DocumentWrite, count: Count) -> Result<(), StoreError> {
        self.lay(batch, document, count, Lay::Over)
    }

    fn lay(&mut self, batch: &mut Batch<'_>, document: &DocumentWrite, count: Count, lay: Lay) -> Result<(), StoreError> {
        let number = gateway_number(batch, document)?;
        let slots = slots(batch, number, document)?;
        let latest = match self.gateways.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Latest::read(batch.connection, number)?),
        };
        for (time, values) in group(document, &slots) {
            if write_frame(batch.connection, number, time, &values, lay)? {
                latest.mark(batch, number, window_of(time))?;
            }
            latest.extend(time, &values, document.received.plus_millis(TimePolicy::LATEST_AHEAD_MS), lay);
        }
        latest.hear(document, count);
        match &document.quarantine {
            Some(refused) => quarantine::add(batch, refused, None),
            None => Ok(()),
        }
    }

    /// Writes what is latest of each gateway.
    pub(crate) fn finish(self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.gateways.into_iter().try_for_each(|(number, latest)| latest.save(batch.connection, number))
    }
}

fn gateway_number(batch: &mut Batch<'_>, document: &DocumentWrite) -> Result<i64, StoreError> {
    if let Some(cached) = batch.gateways.gateways.get(&document.gateway) {
        return Ok(cached.number);
    }
    let number = gateway::number_or_waiting(batch, &document.gateway, document.received)?;
    if batch.gateways.gateways.len() >= CACHED_GATEWAYS {
        batch.gateways.clear();
    }
    let cached = CachedGateway { number, slots: HashMap::new(), last: None };
    batch.gateways.gateways.insert(document.gateway.clone(), cached);
    Ok(number)
}

/// The slot of each series of the document, in its order.
fn slots(batch: &mut Batch<'_>, number: i64, document: &DocumentWrite) -> Result<Vec<Slot>, StoreError> {
    let last = batch.gateways.gateways.get(&document.gateway).and_then(|gateway| gateway.last.as_ref());
    if let Some(last) = last.filter(|last| last.sensors == document.sensors && last.series == document.series) {
        return Ok(last.slots.clone());
    }
    let found = document.series.iter().map(|series| {
        let sensor =
            document.sensors.get(series.sensor).ok_or_else(|| StoreError::Conflict("series names no sensor".to_owned()))?;
        slot(batch, number, &document.gateway, sensor, series)
    });
    let slots: Vec<Slot> = found.collect::<Result<_, StoreError>>()?;
    if let Some(gateway) = batch.gateways.gateways.get_mut(&document.gateway) {
        let (sensors, series) = (document.sensors.clone(), document.series.clone());
        gateway.last = Some(Shape { sensors, series, slots: slots.clone() });
    }
    Ok(slots)
}

/// Names are free of control characters.
fn series_name(sensor: &SensorSeen, series: &SeriesSeen) -> String {
    [sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()].join("\0")
}

fn slot(
    batch: &mut Batch<'_>,
    number: i64,
    id: &GatewayId,
    sensor: &SensorSeen,
    series: &SeriesSeen,
) -> Result<Slot, StoreError> {
    let name = series_name(sensor, series);
    let cached = batch.gateways.gateways.get(id).and_then(|gateway| gateway.slots.get(&name));
    if let Some(slot) = cached {
        return Ok(*slot);
    }
    let found = batch
        .connection
        .prepare_cached("SELECT slot FROM series WHERE gateway = ?1 AND sensor = ?2 AND metric = ?3 AND unit = ?4")?
        .query_row(params![number, sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()], |row| row.get(0))
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

/// Writes a frame over or beneath what is there; answers whether that changed
/// anything. The same values again cost no write.
fn write_frame(
    connection: &Connection,
    number: i64,
    time: Timestamp,
    values: &[(Slot, f64)],
    lay: Lay,
) -> Result<bool, StoreError> {
    let data = frame::pack(values);
    let new = connection
        .prepare_cached("INSERT INTO frame (gateway, time, data, crc) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?
        .execute(params![number, time.as_millis(), data, frame::checksum(number, time.as_millis(), &data)])?;
    if new == 1 {
        return Ok(true);
    }
    let stored = read_frame(connection, number, time)?;
    let there = frame::unpack(&stored)?;
    let data = match lay {
        Lay::Over => frame::pack(&frame::overlay(&there, values)),
        Lay::Beneath => frame::pack(&frame::overlay(values, &there)),
    };
    if stored == data {
        return Ok(false);
    }
    connection.prepare_cached("UPDATE frame SET data = ?3, crc = ?4 WHERE gateway = ?1 AND time = ?2")?.execute(params![
        number,
        time.as_millis(),
        data,
        frame::checksum(number, time.as_millis(), &data)
    ])?;
    Ok(true)
}

/// The packed values of a gateway at an instant; empty where there are none.
pub(super) fn read_frame(connection: &Connection, number: i64, time: Timestamp) -> Result<Vec<u8>, StoreError> {
    let mut query = connection.prepare_cached("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time = ?2")?;
    let mut rows = query.query(params![number, time.as_millis()])?;
    Ok(match rows.next()? {
        Some(row) => frame::checked(number, row)?.1.to_vec(),
        None => Vec::new(),
    })
}
