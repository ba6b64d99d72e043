//! What is wrong with a file: what SQLite finds, checksums that do not match, rows
//! that contradict each other, and rows that cannot be read as what they are.
//!
//! It sees one moment of the file, so that what is written meanwhile contradicts
//! nothing.

mod plain;
mod rows;

pub(super) use rows::key;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;

use heliograph_domain::{GatewayId, SpanStep, TimeWindow, Timestamp, Zone};
use rusqlite::{Connection, Statement, params};

use super::copy::{COPIED, Copied};
use super::quarter::{self, Flaw};
use super::rollup::stored_windows;
use super::{anew, archive, audit, copy, frame, latest, overwrite, schema, sensor, span};
use crate::error::StoreError;
use crate::rollup::SpanRollup;
use crate::rollup::series::Slot;
use crate::rollup::span::sum;

/// Where it is, and what is wrong there.
type Found = (String, String);

/// More of one table say nothing new.
const MOST: usize = 100;

/// What was found so far, the first of each table.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Found>,
    of_table: BTreeMap<&'static str, usize>,
}

impl Findings {
    /// Adds what is wrong with a row of a table, or with all of it where `row` is
    /// empty.
    fn add(&mut self, table: &'static str, row: impl Display, problem: impl Display) {
        let count = self.of_table.entry(table).or_default();
        *count += 1;
        if *count <= MOST {
            let place = format!("{table} {row}");
            self.found.push((place.trim_end().to_owned(), problem.to_string()));
        }
    }

    fn add_error(&mut self, table: &'static str, row: impl Display, error: StoreError) {
        match error {
            StoreError::Damaged(problem) | StoreError::Archive(problem) => self.add(table, row, problem),
            error => self.add(table, row, error),
        }
    }

    fn finish(mut self) -> Vec<Found> {
        for (table, count) in self.of_table.iter().filter(|(_, count)| **count > MOST) {
            self.found.push(((*table).to_owned(), format!("{} more places", count - MOST)));
        }
        self.found
    }
}

type Look = fn(&Connection, &mut Findings) -> Result<(), StoreError>;

const LOOKS: [(&str, Look); 14] = [
    ("file", structure),
    ("file", definitions),
    ("gateway", gateways),
    ("frame", frames),
    ("latest", latest),
    ("quarter", windows),
    ("span", spans),
    ("audit", trail),
    ("setting", rows::set_up),
    ("record", rows::records),
    ("copy", |connection, findings| copies(connection, findings, COPIED.iter())),
    ("quarantine", bytes),
    ("counter", rows::counters),
    ("file", plain::look),
];

/// Of these it is looked often, since they take next to no time.
const QUICK_LOOKS: [(&str, Look); 3] = [
    ("file", definitions),
    ("latest", latest_sums),
    ("copy", |connection, findings| copies(connection, findings, COPIED.iter().filter(|copied| !copied.is_large))),
];

/// Looks at all of a file. What cannot be read at all is damage as well.
pub(crate) fn check(connection: &Connection) -> Vec<Found> {
    look(connection, &LOOKS)
}

/// Looks at what is small.
///
/// # Errors
/// Where it cannot be looked at now: it is busy, or not migrated yet.
pub(crate) fn check_quickly(connection: &Connection) -> Result<Vec<Found>, StoreError> {
    schema::require_migrated(connection)?;
    let _one_moment = connection.unchecked_transaction()?;
    let mut findings = Findings::default();
    for (table, look) in QUICK_LOOKS {
        match look(connection, &mut findings) {
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            Err(error) => findings.add_error(table, "", error),
            Ok(()) => {}
        }
    }
    Ok(findings.finish())
}

/// Copies the rows anew that differ from their copies, as they stand, and makes anew
/// what is latest of a gateway where that is damaged; answers which these were.
pub(crate) fn accept(connection: &Connection) -> Result<Vec<Found>, StoreError> {
    let mut findings = Findings::default();
    copies(connection, &mut findings, COPIED.iter())?;
    let found = findings.finish();
    if !found.is_empty() {
        let accept = || COPIED.iter().try_for_each(|copied| copied.accept(connection));
        overwrite::wholly(connection, accept)?;
    }
    let names = names(connection)?;
    let mut found = found;
    latest::compare(connection, |number, error| {
        found.push((format!("latest of gateway {}", name(&names, number)), format!("{error}; made anew")));
    })?;
    latest::mend(connection)?;
    Ok(found)
}

fn look(connection: &Connection, looks: &[(&'static str, Look)]) -> Vec<Found> {
    let _one_moment = match connection.unchecked_transaction() {
        Ok(transaction) => transaction,
        Err(error) => return vec![("file".to_owned(), error.to_string())],
    };
    let mut findings = Findings::default();
    for (table, look) in looks {
        if let Err(error) = look(connection, &mut findings) {
            findings.add_error(table, "", error);
        }
    }
    findings.finish()
}

/// The trees, their indexes and their references.
fn structure(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut query = connection.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let problem: String = row.get(0)?;
        if problem != "ok" {
            findings.add("file", "", problem);
        }
    }
    let mut query = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (place, parent): (String, String) = (row.get(0)?, row.get(2)?);
        findings.add("file", format_args!("table {place}"), format_args!("a row names a {parent} that is not there"));
    }
    Ok(())
}

/// Tables, indexes and triggers are those that this release makes.
fn definitions(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    Ok(schema::compare(connection, |what| findings.add("file", what, "it is not defined as this release defines it"))?)
}

/// Rows and their copies say the same.
fn copies<'c>(connection: &Connection, findings: &mut Findings, all: impl Iterator<Item = &'c Copied>) -> Result<(), StoreError> {
    for copied in all {
        if let Err(error) = copied.compare(connection, |row, problem| findings.add(copied.table, row, problem)) {
            findings.add_error(copied.table, "", error);
        }
    }
    Ok(())
}

/// The bytes of mails and of refused documents match their checksums.
fn bytes(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    for (table, column) in [("outbox", "message"), ("quarantine", "raw")] {
        let mut query = connection.prepare(&format!("SELECT id, {column}, crc FROM {table} WHERE crc IS NOT NULL"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let check = || {
                let (id, bytes) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_blob());
                copy::verify(id.map_err(super::damaged)?, bytes.map_err(super::damaged)?, row.get(2)?, table)
            };
            if let Err(error) = check() {
                findings.add_error(table, key(row, 1), error);
            }
        }
    }
    Ok(())
}

/// What readings are read with can be read: who a gateway is, what its sensors and
/// their series are.
fn gateways(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    for (number, id) in archive::gateways(connection)? {
        let known = GatewayId::parse(&id).map_err(StoreError::from);
        let read = known.and_then(|id| sensor::list(connection, &id)).and_then(|_| sensor::series(connection, number));
        if let Err(error) = read {
            findings.add_error("series", format_args!("of gateway {id}"), error);
        }
    }
    Ok(())
}

/// Every frame has its checksum, and names series that there are.
fn frames(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let (names, series) = (names(connection)?, series(connection)?);
    let mut query = connection.prepare("SELECT time, data, crc, gateway FROM frame ORDER BY gateway, time")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(3)?;
        let problem = match frame::checked(number, row).and_then(|(_, data)| frame::unpack(data)) {
            Ok(values) if values.iter().all(|(slot, _)| series.contains(&(number, *slot))) => continue,
            Ok(_) => StoreError::Damaged("it names a series that is not there".to_owned()),
            Err(error) => error,
        };
        let at = row.get(0).map_or_else(|_| "an unreadable time".to_owned(), |at| Timestamp::clamped(at).to_string());
        findings.add_error("frame", format_args!("of gateway {} at {at}", name(&names, number)), problem);
    }
    Ok(())
}

fn latest_sums(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let names = names(connection)?;
    latest::compare(connection, |number, error| {
        findings.add_error("latest", format_args!("of gateway {}", name(&names, number)), error);
    })
}

/// What is latest of a series is what its frame says.
fn latest(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    latest_sums(connection, findings)?;
    let (names, series) = (names(connection)?, series(connection)?);
    let mut frame_at = connection.prepare("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time = ?2")?;
    let mut oldest = connection.prepare("SELECT min(time) FROM frame WHERE gateway = ?1")?;
    let mut query = connection.prepare("SELECT gateway, data FROM latest")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let mut check = || -> Result<(), StoreError> {
            let oldest: Option<i64> = oldest.query_row([number], |row| row.get(0))?;
            for extent in frame::unpack_extents(row.get_ref(1)?.as_blob().map_err(super::damaged)?)? {
                if !series.contains(&(number, extent.slot)) {
                    return Err(StoreError::Damaged("it names a series that is not there".to_owned()));
                }
                if let Some((at, value)) = extent.latest {
                    latest_of(&mut frame_at, number, oldest, (extent.slot, at, value))?;
                }
            }
            Ok(())
        };
        if let Err(error) = check() {
            findings.add_error("latest", format_args!("of gateway {}", name(&names, number)), error);
        }
    }
    Ok(())
}

/// Readings are deleted when they are old enough, the oldest first: what is latest
/// is there or older than all that is.
fn latest_of(
    frame_at: &mut Statement<'_>,
    number: i64,
    oldest: Option<i64>,
    (slot, at, value): (Slot, Timestamp, f64),
) -> Result<(), StoreError> {
    let mut frames = frame_at.query(params![number, at.as_millis()])?;
    let Some(frame) = frames.next()? else {
        return match oldest {
            Some(oldest) if oldest <= at.as_millis() => Err(StoreError::Damaged(format!("nothing was read at {at}"))),
            _ => Ok(()),
        };
    };
    // A damaged frame is named as such.
    let Ok((_, data)) = frame::checked(number, frame) else { return Ok(()) };
    if frame::unpack(data)?.iter().any(|(of, stored)| *of == slot && stored.to_bits() == value.to_bits()) {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("the value at {at} is not the one that was read then")))
}

/// Rollups are there twice, and both say the same.
fn windows(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    for (number, id) in archive::gateways(connection)? {
        let read = quarter::compare(connection, number, |at, flaw| {
            let row = format_args!("of gateway {id} at {at}").to_string();
            match flaw {
                Flaw::Packed(error) => findings.add_error("quarter", row, error),
                Flaw::Unpacked(problem) => findings.add("rollup", row, problem),
            }
        });
        if let Err(error) = read {
            findings.add_error("rollup", format_args!("of gateway {id}"), error);
        }
    }
    Ok(())
}

/// Days are the sums of their windows and months of their days.
fn spans(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut query = connection.prepare("SELECT DISTINCT zone FROM span WHERE typeof(zone) = 'text'")?;
    for zone in query.query_map([], |row| row.get::<_, String>(0))? {
        let zone = zone?;
        // One that cannot be read is named by its row.
        if Zone::parse(&zone).is_ok_and(|known| known.name() != zone) {
            findings.add("span", format_args!("in zone {zone}"), "the zone is not spelled as it was written");
        }
    }
    let names = names(connection)?;
    let mut all: Vec<(i64, Slot)> = series(connection)?.into_iter().collect();
    all.sort_unstable();
    for (number, slot) in all {
        for step in [SpanStep::Day, SpanStep::Month] {
            let row = format!("of gateway {}, series {slot}, {step}", name(&names, number));
            let tell = |at: Timestamp, error| findings.add_error("span", format_args!("{row} of {at}"), error);
            if let Err(error) = spans_of_series(connection, number, slot, step, tell) {
                findings.add_error("span", row, error);
            }
        }
    }
    Ok(())
}

/// While spans wait to be summed up anew they are only read.
fn spans_of_series(
    connection: &Connection,
    number: i64,
    slot: Slot,
    step: SpanStep,
    mut tell: impl FnMut(Timestamp, StoreError),
) -> Result<(), StoreError> {
    let stored = span::stored(connection, number, slot, step, TimeWindow::ALWAYS)?;
    if anew::is_due(connection, span::RESPAN, number)? {
        return Ok(());
    }
    for span in stored {
        if let Err(error) = span_is_sum(connection, number, slot, step, &span) {
            tell(span.span.start, error);
        }
    }
    Ok(())
}

fn span_is_sum(connection: &Connection, number: i64, slot: Slot, step: SpanStep, stored: &SpanRollup) -> Result<(), StoreError> {
    let within = TimeWindow::between(stored.span.start, stored.span.end);
    let summed = match step {
        SpanStep::Day => sum(stored_windows(connection, number, slot, within)?.into_iter().map(|window| window.rollup)),
        SpanStep::Month => sum(span::stored(connection, number, slot, SpanStep::Day, within)?.into_iter().map(|day| day.rollup)),
    };
    if summed == Some(stored.rollup) {
        return Ok(());
    }
    let parts = match step {
        SpanStep::Day => "windows",
        SpanStep::Month => "days",
    };
    Err(StoreError::Damaged(format!("it is not the sum of its {parts}")))
}

fn trail(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    if let Some(fault) = audit::walk(connection, None)?.fault {
        findings.add("audit", "", fault);
    }
    Ok(())
}

fn names(connection: &Connection) -> Result<HashMap<i64, String>, StoreError> {
    Ok(archive::gateways(connection)?.into_iter().collect())
}

fn name(names: &HashMap<i64, String>, number: i64) -> String {
    names.get(&number).cloned().unwrap_or_else(|| format!("number {number}, which is not there"))
}

fn series(connection: &Connection) -> Result<HashSet<(i64, Slot)>, StoreError> {
    let mut query = connection.prepare("SELECT gateway, slot FROM series")?;
    Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}
