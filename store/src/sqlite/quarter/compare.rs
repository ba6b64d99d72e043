//! The packed rollups held against the unpacked ones. Both say the same, and the
//! packed rows have checksums: where they differ, a row of the table `rollup`,
//! which has none, is not what was written.

use std::collections::{BTreeMap, BTreeSet};

use heliograph_domain::{TimeWindow, Timestamp};
use rusqlite::Connection;

use super::super::{anew, damaged};
use super::{Entries, REPACK, first_unpacked, key, slots, start, stretch, unpack, unpacked};
use crate::error::StoreError;

/// What is wrong with the rollup of a window.
pub(in crate::sqlite) enum Flaw {
    /// The packed row does not match its checksum.
    Packed(StoreError),
    /// The rows of the table `rollup` are not what was packed, or cannot be read.
    Unpacked(String),
}

/// Reads both tables of a gateway and holds them against each other, window by
/// window; shows what is wrong to `tell`. While windows wait to be packed anew
/// they are only read.
pub(in crate::sqlite) fn compare(
    connection: &Connection,
    number: i64,
    mut tell: impl FnMut(Timestamp, Flaw),
) -> Result<(), StoreError> {
    let slots = slots(connection, number)?;
    let comparable = !anew::is_due(connection, REPACK, number)?;
    let mut from = Timestamp::MIN;
    loop {
        let firsts = [first_unpacked(connection, number, &slots, from)?, first_packed(connection, number, from)?];
        let Some(begin) = firsts.into_iter().flatten().min() else { return Ok(()) };
        let stretch = stretch(&slots, begin);
        let packed = packed(connection, number, stretch, &mut tell)?;
        match unpacked(connection, number, &slots, stretch) {
            Ok(unpacked) if comparable => differences(&packed, &unpacked, &mut tell),
            Ok(_) => {}
            Err(error) => tell(begin, Flaw::Unpacked(format!("a window from here to {} cannot be read: {error}", stretch.end()))),
        }
        if stretch.end() <= from {
            return Ok(());
        }
        from = stretch.end();
    }
}

/// Refuses rollups of a gateway that are not what was packed, to whoever would pass
/// them on as if they were right.
pub(in crate::sqlite) fn require_sound(connection: &Connection, number: i64, id: &str) -> Result<(), StoreError> {
    let mut first: Option<String> = None;
    compare(connection, number, |at, flaw| {
        if let Flaw::Unpacked(problem) = flaw {
            first.get_or_insert_with(|| format!("rollup of gateway {id} at {at}: {problem}"));
        }
    })?;
    first.map_or(Ok(()), |problem| Err(StoreError::Damaged(problem)))
}

/// The first window from an instant on that is packed.
fn first_packed(connection: &Connection, number: i64, from: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let mut query = connection.prepare_cached("SELECT min(key) FROM quarter WHERE key BETWEEN ?1 AND ?2")?;
    let first: Option<i64> = query.query_row([key(number, from), key(number, Timestamp::MAX)], |row| row.get(0))?;
    Ok(first.map(start))
}

/// What is packed of a stretch; `None` of a damaged row.
fn packed(
    connection: &Connection,
    number: i64,
    stretch: TimeWindow,
    tell: &mut impl FnMut(Timestamp, Flaw),
) -> Result<BTreeMap<Timestamp, Option<Entries>>, StoreError> {
    let mut query = connection.prepare_cached("SELECT key, data FROM quarter WHERE key BETWEEN ?1 AND ?2 ORDER BY key")?;
    let mut rows = query.query([key(number, stretch.from), key(number, stretch.end().plus_millis(-1))])?;
    let mut all = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let mut entries = Vec::new();
        let data = row.get_ref(1)?.as_blob().map_err(damaged);
        let read = data.and_then(|data| unpack(key, data, |slot, rollup| entries.push((slot, rollup))));
        let entries = match read {
            Ok(()) => Some(entries),
            Err(error) => {
                tell(start(key), Flaw::Packed(error));
                None
            }
        };
        all.insert(start(key), entries);
    }
    Ok(all)
}

/// Where sound packed rows say something else than the table `rollup`.
fn differences(
    packed: &BTreeMap<Timestamp, Option<Entries>>,
    unpacked: &BTreeMap<Timestamp, Entries>,
    tell: &mut impl FnMut(Timestamp, Flaw),
) {
    let none = Entries::new();
    let starts: BTreeSet<Timestamp> = packed.keys().chain(unpacked.keys()).copied().collect();
    for at in starts {
        let sound = match packed.get(&at) {
            Some(Some(entries)) => entries,
            // What it held is not known.
            Some(None) => continue,
            None => &none,
        };
        if sound != unpacked.get(&at).unwrap_or(&none) {
            tell(at, Flaw::Unpacked("its rows are not the ones that were packed into quarter".to_owned()));
        }
    }
}
