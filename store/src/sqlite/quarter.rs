//! The rollups of all series of a gateway over one window, packed into one row:
//! what reports read.
//!
//! The table `rollup` has a row a series and window, which is what the release
//! before reads and writes; a month of twenty series is 57,600 of them, in twenty
//! places. Here it is 2,880 rows in one place. Both are written in one
//! transaction. Rows of `rollup` that the release before wrote, or an archive
//! brought, leave a `repack` record behind: until that is done, reports of the
//! gateway read the table.
//!
//! A row is a run of entries sorted by slot, and a CRC-32. An entry is the
//! distance to the slot before, the number of readings, the milliseconds that are
//! missing of a covered window (all LEB128), a byte that says which figures
//! follow, those as eight little-endian bytes each, and the flags if there are any.

mod compare;

use std::collections::{BTreeMap, HashMap};

use heliograph_domain::{GatewayId, Rollup, RollupFlags, TimeWindow, Timestamp, WINDOW_MS, window_of};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::frame::{damaged, read_number, write_number};
use super::rollup::stored_windows;
use super::{Batch, anew};
use crate::error::StoreError;
use crate::rollup::WindowRollup;
use crate::rollup::series::{Slot, StoredSeries};
use crate::rollup::settle::SettledSeries;
pub(super) use compare::{Flaw, compare, require_sound};

pub(super) const REPACK: &str = "repack";
/// Windows of series packed in one transaction.
const WORK_AT_ONCE: usize = 8_000;
/// Room for so many windows of a series is made beforehand: a month's.
const EXPECTED: i64 = 31 * 24 * 4;

const MIN: u8 = 1;
const MAX: u8 = 1 << 1;
const FIRST: u8 = 1 << 2;
const LAST: u8 = 1 << 3;
const POSITIVE: u8 = 1 << 4;
const NEGATIVE: u8 = 1 << 5;
const INCREASE: u8 = 1 << 6;
const FLAGS: u8 = 1 << 7;

/// What a window is covered for where nothing is missing.
const WHOLE_MS: u32 = WINDOW_MS as u32;

fn pack(key: i64, entries: &[(Slot, Rollup)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * 48 + 4);
    let mut before = 0;
    for (slot, rollup) in entries {
        write_number(&mut bytes, slot - before);
        before = *slot;
        write_number(&mut bytes, rollup.count);
        write_number(&mut bytes, rollup.covered_ms ^ WHOLE_MS);
        let shape = bytes.len();
        bytes.push(0);
        let mut which = 0;
        let mut figure = |bit: u8, value: f64, else_it_is: f64| {
            if value.to_bits() != else_it_is.to_bits() {
                which |= bit;
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        };
        figure(MIN, rollup.min, 0.0);
        figure(MAX, rollup.max, rollup.min);
        figure(FIRST, rollup.first, rollup.min);
        figure(LAST, rollup.last, rollup.max);
        figure(POSITIVE, rollup.positive, 0.0);
        figure(NEGATIVE, rollup.negative, 0.0);
        figure(INCREASE, rollup.increase, 0.0);
        if rollup.flags != RollupFlags::default() {
            which |= FLAGS;
            bytes.push(rollup.flags.to_bits());
        }
        if let Some(shape) = bytes.get_mut(shape) {
            *shape = which;
        }
    }
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Shows each entry to `take`.
fn unpack(key: i64, bytes: &[u8], take: impl FnMut(Slot, Rollup)) -> Result<(), StoreError> {
    unpack_some(key, bytes, |_| true, take)
}

/// Shows each entry of a slot that is wanted to `take`.
fn unpack_some(
    key: i64,
    bytes: &[u8],
    wanted: impl Fn(Slot) -> bool,
    mut take: impl FnMut(Slot, Rollup),
) -> Result<(), StoreError> {
    let (mut bytes, sum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if checksum(key, bytes) != u32::from_le_bytes(*sum) {
        return Err(damaged());
    }
    let mut slot: Slot = 0;
    while !bytes.is_empty() {
        let distance = read_number(&mut bytes).ok_or_else(damaged)?;
        slot = slot.checked_add(distance).ok_or_else(damaged)?;
        if wanted(slot) {
            take(slot, unpack_entry(&mut bytes).ok_or_else(damaged)?);
        } else {
            skip_entry(&mut bytes).ok_or_else(damaged)?;
        }
    }
    Ok(())
}

fn skip_entry(bytes: &mut &[u8]) -> Option<()> {
    let (_count, _missing_ms) = (read_number(bytes)?, read_number(bytes)?);
    let which = take_byte(bytes)?;
    let figures = (which & !FLAGS).count_ones() as usize * size_of::<f64>() + usize::from(which & FLAGS != 0);
    *bytes = bytes.get(figures..)?;
    Some(())
}

fn unpack_entry(bytes: &mut &[u8]) -> Option<Rollup> {
    let count = read_number(bytes)?;
    let covered_ms = read_number(bytes)? ^ WHOLE_MS;
    let which = take_byte(bytes)?;
    let mut figure = |bit: u8, else_it_is: f64| {
        if which & bit == 0 {
            return Some(else_it_is);
        }
        let (value, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(f64::from_le_bytes(*value))
    };
    let min = figure(MIN, 0.0)?;
    let max = figure(MAX, min)?;
    let (first, last) = (figure(FIRST, min)?, figure(LAST, max)?);
    let (positive, negative, increase) = (figure(POSITIVE, 0.0)?, figure(NEGATIVE, 0.0)?, figure(INCREASE, 0.0)?);
    let flags = if which & FLAGS == 0 { RollupFlags::default() } else { RollupFlags::from_bits(take_byte(bytes)?) };
    Some(Rollup { count, min, max, first, last, covered_ms, positive, negative, increase, flags })
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn checksum(key: i64, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&key.to_le_bytes());
    sum.update(bytes);
    sum.finalize()
}

/// A gateway's windows stand one after the other: the gateway's number, then the
/// number of the window, so that none is negative.
fn key(number: i64, at: Timestamp) -> i64 {
    (number << 32) + (1 << 31) + at.as_millis().div_euclid(WINDOW_MS)
}

fn start(key: i64) -> Timestamp {
    Timestamp::clamped(((key & 0xffff_ffff) - (1 << 31)) * WINDOW_MS)
}

/// The windows of some series over a period; `None` where the table `rollup` has to be
/// read.
pub(super) fn windows(
    connection: &Connection,
    number: i64,
    series: &[StoredSeries],
    period: TimeWindow,
) -> Result<Option<HashMap<Slot, Vec<WindowRollup>>>, StoreError> {
    if anew::is_due(connection, REPACK, number)? {
        return Ok(None);
    }
    let mut found: Vec<Option<Vec<WindowRollup>>> = Vec::new();
    for series in series {
        let place = series.slot as usize;
        found.resize_with(found.len().max(place + 1), || None);
        if let Some(windows) = found.get_mut(place) {
            *windows = Some(Vec::with_capacity(expected(series, period)));
        }
    }
    let places: Vec<bool> = found.iter().map(Option::is_some).collect();
    let wanted = |slot: Slot| places.get(slot as usize).is_some_and(|wanted| *wanted);
    let mut query = connection.prepare_cached("SELECT key, data FROM quarter WHERE key BETWEEN ?1 AND ?2 ORDER BY key")?;
    let mut rows = query.query([key(number, period.from), key(number, period.end().plus_millis(-1))])?;
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let start = start(key);
        let read = unpack_some(key, row.get_ref(1)?.as_blob().map_err(super::damaged)?, wanted, |slot, rollup| {
            if let Some(Some(windows)) = found.get_mut(slot as usize) {
                windows.push(WindowRollup { start, rollup });
            }
        });
        if read.is_err() {
            tracing::warn!(gateway = number, %start, "a packed row of rollups is damaged, the unpacked ones are read");
            return Ok(None);
        }
    }
    Ok(Some((0..).zip(found).filter_map(|(slot, windows)| Some((slot, windows?))).collect()))
}

/// About how many windows a series has in a period, a month's at most.
fn expected(series: &StoredSeries, period: TimeWindow) -> usize {
    let all = series.extent.map(|extent| TimeWindow::between(extent.first, extent.last.plus_millis(1)));
    let shared = all.and_then(|all| all.intersect(&period));
    let count = shared.map_or(0, |shared| shared.end().millis_since(shared.from) / WINDOW_MS + 2);
    usize::try_from(count.min(EXPECTED)).unwrap_or(0)
}

/// Lays windows that were just settled, and are not sealed, over what is there.
pub(super) fn lay_over(
    connection: &Connection,
    number: i64,
    settled: &[SettledSeries],
    sealed: Timestamp,
) -> Result<(), StoreError> {
    let mut changes: BTreeMap<Timestamp, BTreeMap<Slot, Option<Rollup>>> = BTreeMap::new();
    for series in settled {
        for (start, rollup) in series.windows.iter().filter(|(start, _)| *start >= sealed) {
            changes.entry(*start).or_default().insert(series.slot, *rollup);
        }
    }
    for (start, changed) in changes {
        let mut entries = BTreeMap::new();
        if !stored(connection, key(number, start), &mut entries)? {
            restart(connection, number)?;
        }
        for (slot, rollup) in changed {
            match rollup {
                Some(rollup) => entries.insert(slot, rollup),
                None => entries.remove(&slot),
            };
        }
        save(connection, key(number, start), &entries.into_iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Reads a row, if there is one; false where it is damaged.
fn stored(connection: &Connection, key: i64, entries: &mut BTreeMap<Slot, Rollup>) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT data FROM quarter WHERE key = ?1")?;
    let data: Option<Vec<u8>> = query.query_row([key], |row| row.get(0)).optional()?;
    let take = |slot, rollup| {
        entries.insert(slot, rollup);
    };
    Ok(data.is_none_or(|data| unpack(key, &data, take).is_ok()))
}

fn save(connection: &Connection, key: i64, entries: &[(Slot, Rollup)]) -> Result<(), StoreError> {
    if entries.is_empty() {
        connection.prepare_cached("DELETE FROM quarter WHERE key = ?1")?.execute([key])?;
    } else {
        connection
            .prepare_cached("INSERT OR REPLACE INTO quarter (key, data) VALUES (?1, ?2)")?
            .execute(params![key, pack(key, entries)])?;
    }
    Ok(())
}

/// How far the windows of a gateway were packed anew.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Repack {
    /// The first window that is still to be looked at; `None`: nothing was done.
    from: Option<Timestamp>,
}

fn restart(connection: &Connection, number: i64) -> Result<(), StoreError> {
    anew::note(connection, REPACK, number, &Repack::default())
}

/// Has the windows of all gateways packed anew: they came in unpacked.
pub(crate) fn restart_all(connection: &Connection) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT number FROM gateway")?;
    let numbers: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    numbers.into_iter().try_for_each(|number| restart(connection, number))
}

/// Packs windows anew, of one gateway or of whichever has to; answers how much it
/// has done, 0 when nothing is left.
pub(crate) fn resume(batch: &mut Batch<'_>, only: Option<&GatewayId>) -> Result<usize, StoreError> {
    let connection = batch.connection;
    let Some((number, repack)) = anew::next::<Repack>(connection, REPACK, only)? else { return Ok(0) };
    let from = match repack.from {
        Some(from) => from,
        None => {
            let all = [key(number, Timestamp::MIN), key(number, Timestamp::MAX)];
            connection.execute("DELETE FROM quarter WHERE key BETWEEN ?1 AND ?2", all)?;
            Timestamp::MIN
        }
    };
    match pack_next(connection, number, from)? {
        Some(end) => anew::note(connection, REPACK, number, &Repack { from: Some(end) })?,
        None => anew::end(connection, REPACK, number)?,
    }
    Ok(1)
}

/// Packs a stretch of windows; answers where it ends, `None` when there is none.
fn pack_next(connection: &Connection, number: i64, from: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let slots = slots(connection, number)?;
    let Some(begin) = first_unpacked(connection, number, &slots, from)? else { return Ok(None) };
    let stretch = stretch(&slots, begin);
    for (start, entries) in unpacked(connection, number, &slots, stretch)? {
        save(connection, key(number, start), &entries)?;
    }
    Ok(Some(stretch.end()))
}

type Entries = Vec<(Slot, Rollup)>;

fn slots(connection: &Connection, number: i64) -> Result<Vec<Slot>, StoreError> {
    let mut query = connection.prepare_cached("SELECT slot FROM series WHERE gateway = ?1 ORDER BY slot")?;
    Ok(query.query_map([number], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The first window from an instant on that the table `rollup` has.
fn first_unpacked(
    connection: &Connection,
    number: i64,
    slots: &[Slot],
    from: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let mut first =
        connection.prepare_cached("SELECT min(start) FROM rollup WHERE gateway = ?1 AND slot = ?2 AND start >= ?3")?;
    let mut begin: Option<Timestamp> = None;
    for slot in slots {
        let found: Option<i64> = first.query_row(params![number, slot, from.as_millis()], |row| row.get(0))?;
        begin = [begin, found.map(Timestamp::clamped)].into_iter().flatten().min();
    }
    Ok(begin.map(window_of))
}

/// As many windows as are looked at at once.
fn stretch(slots: &[Slot], begin: Timestamp) -> TimeWindow {
    let count = i64::try_from(WORK_AT_ONCE / slots.len().max(1)).unwrap_or(1).max(1);
    TimeWindow::between(begin, begin.plus_millis(count * WINDOW_MS))
}

/// What the table `rollup` has of a stretch.
fn unpacked(
    connection: &Connection,
    number: i64,
    slots: &[Slot],
    stretch: TimeWindow,
) -> Result<BTreeMap<Timestamp, Entries>, StoreError> {
    let mut all: BTreeMap<Timestamp, Entries> = BTreeMap::new();
    for slot in slots {
        for window in stored_windows(connection, number, *slot, stretch)? {
            all.entry(window.start).or_default().push((*slot, window.rollup));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_rollup() -> impl Strategy<Value = Rollup> {
        let figure =
            || prop_oneof![Just(0.0), Just(-0.0), Just(7.5), any::<f64>().prop_filter("finite", |value| value.is_finite())];
        let figures = (figure(), figure(), figure(), figure(), figure(), figure(), figure());
        (any::<u32>(), prop_oneof![Just(WHOLE_MS), any::<u32>()], figures, 0..8u8).prop_map(
            |(count, covered_ms, figures, flags)| {
                let (min, max, first, last, positive, negative, increase) = figures;
                let flags = RollupFlags::from_bits(flags);
                Rollup { count, min, max, first, last, covered_ms, positive, negative, increase, flags }
            },
        )
    }

    proptest! {
        #[test]
        fn packed_rollups_read_back_bit_for_bit(entries in proptest::collection::btree_map(prop_oneof![0..40u32, any::<u32>()], any_rollup(), 1..20)) {
            let entries: Vec<_> = entries.into_iter().collect();
            let mut read = Vec::new();
            unpack(7, &pack(7, &entries), |slot, rollup| read.push((slot, rollup))).unwrap();
            let mut odd = Vec::new();
            unpack_some(7, &pack(7, &entries), |slot| slot % 2 == 1, |slot, rollup| odd.push((slot, rollup))).unwrap();
            let odd_ones: Vec<_> = read.iter().filter(|(slot, _)| slot % 2 == 1).collect();
            prop_assert_eq!(format!("{odd:?}"), format!("{odd_ones:?}"));
            prop_assert_eq!(format!("{read:?}"), format!("{entries:?}"));
        }

        #[test]
        fn a_changed_byte_or_another_place_is_noticed(rollup in any_rollup(), place in any::<prop::sample::Index>(), change in 1..=255u8) {
            let mut bytes = pack(7, &[(3, rollup)]);
            prop_assert!(unpack(8, &bytes, |_, _| ()).is_err());
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert!(unpack(7, &bytes, |_, _| ()).is_err());
        }

        #[test]
        fn windows_are_found_by_gateway_and_in_order(number in 1..1_000_000_000i64, quarter in -69_000_000..281_000_000i64) {
            let at = Timestamp::clamped(quarter * WINDOW_MS);
            prop_assert_eq!(start(key(number, at)), at);
            prop_assert!(key(number, at) < key(number, at.plus_millis(WINDOW_MS)));
            prop_assert!(key(number, Timestamp::MAX) < key(number + 1, Timestamp::MIN));
        }
    }
}
