//! Documents out of the quarantine into frames.

use std::collections::HashMap;

use heliograph_domain::{QuarantineId, RefusalCode};
use rusqlite::{Connection, OptionalExtension, params};

use super::document::{self, Count};
use super::latest::Latest;
use super::{Batch, frame, gateway, quarantine};
use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::quarantine::QuarantineNew;
use crate::replay::{Difference, Was, distinct};
use crate::rollup::series::Slot;

/// Writes a document and takes its entry out, or gives it what is `left` of it, in
/// one transaction.
pub(crate) fn write(
    batch: &mut Batch<'_>,
    document: &DocumentWrite,
    entry: QuarantineId,
    code: RefusalCode,
    left: Option<QuarantineNew>,
) -> Result<(), StoreError> {
    // Another process has done it, or the entry has made room for others.
    if !quarantine::is_there(batch.connection, entry)? {
        return Ok(());
    }
    // What was stored in part when it came is counted already.
    let count = if code.is_of_reading() { Count::PerhapsAgain } else { Count::FirstTime };
    document::replay(batch, document, count)?;
    match left {
        Some(left) => quarantine::revise(batch, entry, left.code, &left.reason),
        None => quarantine::remove(batch, entry),
    }
}

/// What that would do to each value.
pub(crate) fn preview(connection: &Connection, document: &DocumentWrite) -> Result<Vec<Difference>, StoreError> {
    let number = gateway::find_number(connection, &document.gateway)?;
    let (slots, stays) = match number {
        Some(number) => (slots(connection, number, document)?, Latest::read(connection, number)?.is_after(document)),
        None => (HashMap::new(), false),
    };
    let mut differences = Vec::new();
    for (time, values) in distinct(document) {
        let stored = match number {
            Some(number) => frame::unpack(&document::read_frame(connection, number, time)?)?,
            None => Vec::new(),
        };
        for (series, value) in values {
            let slot = slots.get(&series);
            let there = slot.and_then(|slot| stored.iter().find(|(of, _)| of == slot)).map(|(_, value)| *value);
            differences.push(Difference { series, time, value, was: Was::of(value, there, stays) });
        }
    }
    Ok(differences)
}

/// The slots of those series of a document that there are.
fn slots(connection: &Connection, number: i64, document: &DocumentWrite) -> Result<HashMap<usize, Slot>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT slot FROM series WHERE gateway = ?1 AND sensor = ?2 AND metric = ?3 AND unit = ?4")?;
    let mut slots = HashMap::new();
    for (index, series) in document.series.iter().enumerate() {
        let Some(sensor) = document.sensors.get(series.sensor) else { continue };
        let key = params![number, sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()];
        if let Some(slot) = query.query_row(key, |row| row.get(0)).optional()? {
            slots.insert(index, slot);
        }
    }
    Ok(slots)
}
