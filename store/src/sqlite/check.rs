//! What is wrong with a file: what SQLite finds, checksums that do not match, and
//! rows that contradict each other.

use std::collections::{HashMap, HashSet};

use heliograph_domain::{GatewayId, Timestamp};
use rusqlite::{Connection, params};

use super::{frame, sensor};
use crate::error::StoreError;
use crate::rollup::series::Slot;

/// Where it is, and what is wrong there.
type Found = (String, String);

/// More of one kind say nothing new.
const MOST: usize = 100;

/// Looks at all of a file. What cannot be read at all is damage as well.
pub(crate) fn check(connection: &Connection) -> Vec<Found> {
    let mut found = Vec::new();
    let looks = [structure, gateways, frames, latest];
    for (look, place) in looks.into_iter().zip(["file", "gateway", "frame", "latest"]) {
        if let Err(error) = look(connection, &mut found) {
            found.push((place.to_owned(), error.to_string()));
        }
    }
    found
}

/// The trees, their indexes and their references.
fn structure(connection: &Connection, found: &mut Vec<Found>) -> Result<(), StoreError> {
    let mut query = connection.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let problem: String = row.get(0)?;
        if problem != "ok" {
            found.push(("file".to_owned(), problem));
        }
    }
    let mut query = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()?.filter(|_| found.len() < MOST) {
        let (place, parent): (String, String) = (row.get(0)?, row.get(2)?);
        found.push((place, format!("a row names a {parent} that is not there")));
    }
    Ok(())
}

/// What readings are read with can be read: who a gateway is, what its sensors and
/// their series are.
fn gateways(connection: &Connection, found: &mut Vec<Found>) -> Result<(), StoreError> {
    for (number, id) in names(connection)? {
        let known = GatewayId::parse(&id).map_err(|error| StoreError::Damaged(error.to_string()));
        let read = known.and_then(|id| sensor::list(connection, &id)).and_then(|_| sensor::series(connection, number));
        if let Err(error) = read {
            found.push((format!("series of gateway {id}"), error.to_string()));
        }
    }
    Ok(())
}

/// Every frame has its checksum, and names series that there are.
fn frames(connection: &Connection, found: &mut Vec<Found>) -> Result<(), StoreError> {
    let (names, series) = (names(connection)?, series(connection)?);
    let mut query = connection.prepare("SELECT time, data, crc, gateway FROM frame ORDER BY gateway, time")?;
    let mut rows = query.query([])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()?.filter(|_| damaged < MOST) {
        let number: i64 = row.get(3)?;
        let problem = match frame::checked(number, row).and_then(|(_, data)| frame::unpack(data)) {
            Ok(values) if values.iter().all(|(slot, _)| series.contains(&(number, *slot))) => continue,
            Ok(_) => "it names a series that is not there".to_owned(),
            Err(error) => error.to_string(),
        };
        damaged += 1;
        let at = row.get(0).map_or_else(|_| "an unreadable time".to_owned(), |at| Timestamp::clamped(at).to_string());
        found.push((format!("frame of gateway {} at {at}", name(&names, number)), problem));
    }
    Ok(())
}

/// What is latest of a series is what its frame says.
fn latest(connection: &Connection, found: &mut Vec<Found>) -> Result<(), StoreError> {
    let names = names(connection)?;
    let mut frame_at = connection.prepare("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time = ?2")?;
    let mut query = connection.prepare("SELECT gateway, data FROM latest")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let mut check = || -> Result<(), StoreError> {
            for extent in frame::unpack_extents(row.get_ref(1)?.as_blob().map_err(super::damaged)?)? {
                let Some((at, value)) = extent.latest else { continue };
                let mut frames = frame_at.query(params![number, at.as_millis()])?;
                // Readings are deleted when they are old enough.
                let Some(frame) = frames.next()? else { continue };
                let Ok((_, data)) = frame::checked(number, frame) else { continue };
                let values = frame::unpack(data)?;
                if !values.iter().any(|(slot, stored)| *slot == extent.slot && stored.to_bits() == value.to_bits()) {
                    return Err(StoreError::Damaged(format!("the value at {at} is not the one that was read then")));
                }
            }
            Ok(())
        };
        if let Err(error) = check() {
            found.push((format!("latest of gateway {}", name(&names, number)), error.to_string()));
        }
    }
    Ok(())
}

fn names(connection: &Connection) -> Result<HashMap<i64, String>, StoreError> {
    let mut query = connection.prepare("SELECT number, id FROM gateway")?;
    Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

fn name(names: &HashMap<i64, String>, number: i64) -> String {
    names.get(&number).cloned().unwrap_or_else(|| format!("number {number}, which is not there"))
}

fn series(connection: &Connection) -> Result<HashSet<(i64, Slot)>, StoreError> {
    let mut query = connection.prepare("SELECT gateway, slot FROM series")?;
    Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}
