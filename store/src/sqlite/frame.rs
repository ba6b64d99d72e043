//! Packed rows: all values of a gateway at one instant, and what is latest of
//! each of its series.
//!
//! A frame is a run of entries sorted by slot: the distance to the slot before
//! as a LEB128 number, then the value as eight little-endian bytes. A document
//! of twenty readings at one instant is one row of 180 bytes instead of twenty
//! rows in twenty places of the file.

use heliograph_domain::Timestamp;
use rusqlite::Row;

use crate::error::StoreError;
use crate::rollup::series::Slot;

/// Packs values sorted by slot, each slot once.
pub(crate) fn pack(values: &[(Slot, f64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 9);
    let mut before = 0;
    for (slot, value) in values {
        write_number(&mut bytes, slot - before);
        bytes.extend_from_slice(&value.to_le_bytes());
        before = *slot;
    }
    bytes
}

/// Unpacks what [`pack`] made.
pub(crate) fn unpack(mut bytes: &[u8]) -> Result<Vec<(Slot, f64)>, StoreError> {
    let mut values = Vec::with_capacity(bytes.len() / 9);
    let mut slot: Slot = 0;
    while !bytes.is_empty() {
        let distance = read_number(&mut bytes).ok_or_else(damaged)?;
        let (value, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        slot = slot.checked_add(distance).ok_or_else(damaged)?;
        values.push((slot, f64::from_le_bytes(*value)));
        bytes = rest;
    }
    Ok(values)
}

/// How many values a frame holds.
pub(crate) fn count(mut bytes: &[u8]) -> Result<u64, StoreError> {
    let mut count = 0;
    while !bytes.is_empty() {
        read_number(&mut bytes).ok_or_else(damaged)?;
        bytes = bytes.get(8..).ok_or_else(damaged)?;
        count += 1;
    }
    Ok(count)
}

/// CRC-32 over what a frame is found by and what it holds: a flipped bit moves no
/// value to another time or gateway unnoticed.
pub(crate) fn checksum(gateway: i64, time: i64, data: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&gateway.to_le_bytes());
    sum.update(&time.to_le_bytes());
    sum.update(data);
    sum.finalize()
}

/// Time and data of a row of time, data and checksum, which has to be right. The
/// release before wrote none.
pub(crate) fn checked<'r>(gateway: i64, row: &'r Row<'_>) -> Result<(Timestamp, &'r [u8]), StoreError> {
    let time: i64 = row.get(0)?;
    let data = row.get_ref(1)?.as_blob().map_err(super::damaged)?;
    let sum: Option<i64> = row.get(2)?;
    let at = Timestamp::clamped(time);
    if sum.is_some_and(|sum| sum != i64::from(checksum(gateway, time, data))) {
        return Err(StoreError::Damaged(format!("the frame of gateway number {gateway} at {at} does not match its checksum")));
    }
    Ok((at, data))
}

/// Lays newer values over older ones; both sorted by slot.
pub(crate) fn overlay(older: &[(Slot, f64)], newer: &[(Slot, f64)]) -> Vec<(Slot, f64)> {
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let (mut old, mut new) = (older.iter().peekable(), newer.iter().peekable());
    loop {
        let take_new = match (old.peek(), new.peek()) {
            (None, None) => return merged,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(o), Some(n)) => {
                if o.0 == n.0 {
                    old.next();
                    true
                } else {
                    n.0 < o.0
                }
            }
        };
        merged.extend(if take_new { new.next() } else { old.next() });
    }
}

/// What is known of a series without looking at its frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    pub(crate) slot: Slot,
    /// Time and value of the latest reading that was not too far ahead of its
    /// receive time; `None` while there is none.
    pub(crate) latest: Option<(Timestamp, f64)>,
    /// The earliest reading.
    pub(crate) first: Timestamp,
    /// The last reading, however far ahead.
    pub(crate) last: Timestamp,
}

const EXTENT_BYTES: usize = 4 + 8 * 4;

pub(crate) fn pack_extents(extents: &[Extent]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(extents.len() * EXTENT_BYTES);
    for extent in extents {
        let (time, value) = extent.latest.map_or((i64::MIN, 0.0), |(time, value)| (time.as_millis(), value));
        bytes.extend_from_slice(&extent.slot.to_le_bytes());
        bytes.extend_from_slice(&time.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
        bytes.extend_from_slice(&extent.first.as_millis().to_le_bytes());
        bytes.extend_from_slice(&extent.last.as_millis().to_le_bytes());
    }
    bytes
}

pub(crate) fn unpack_extents(bytes: &[u8]) -> Result<Vec<Extent>, StoreError> {
    let (rows, rest) = bytes.as_chunks::<EXTENT_BYTES>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    rows.iter().map(|row| unpack_extent(row).ok_or_else(damaged)).collect()
}

fn unpack_extent(row: &[u8; EXTENT_BYTES]) -> Option<Extent> {
    let (slot, rest) = row.split_first_chunk::<4>()?;
    let (words, _) = rest.as_chunks::<8>();
    let [time, value, first, last] = words else { return None };
    let time = i64::from_le_bytes(*time);
    let latest = (time != i64::MIN).then(|| (Timestamp::clamped(time), f64::from_le_bytes(*value)));
    Some(Extent {
        slot: Slot::from_le_bytes(*slot),
        latest,
        first: Timestamp::clamped(i64::from_le_bytes(*first)),
        last: Timestamp::clamped(i64::from_le_bytes(*last)),
    })
}

pub(super) fn write_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn damaged() -> StoreError {
    StoreError::Damaged("a packed row cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = BTreeMap<Slot, f64>> {
        let slot = prop_oneof![0..40u32, any::<u32>()];
        proptest::collection::btree_map(slot, -1e12..1e12f64, 0..30)
    }

    proptest! {
        #[test]
        fn frames_read_back_as_they_were_written(frame in any_frame()) {
            let values: Vec<_> = frame.iter().map(|(slot, value)| (*slot, *value)).collect();
            let bytes = pack(&values);
            prop_assert_eq!(&unpack(&bytes).unwrap(), &values);
            prop_assert_eq!(count(&bytes).unwrap(), values.len() as u64);
        }

        #[test]
        fn newer_values_win(older in any_frame(), newer in any_frame()) {
            let flat = |frame: &BTreeMap<Slot, f64>| frame.iter().map(|(slot, value)| (*slot, *value)).collect::<Vec<_>>();
            let mut both = older.clone();
            both.extend(&newer);
            prop_assert_eq!(overlay(&flat(&older), &flat(&newer)), flat(&both));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(unpack(&bytes));
            drop(unpack_extents(&bytes));
        }
    }

    #[test]
    fn extents_read_back_as_they_were_written() {
        let at = Timestamp::clamped;
        let extents = [
            Extent { slot: 0, latest: None, first: at(5), last: at(6) },
            Extent { slot: 9, latest: Some((at(7), -1.5)), first: at(-5), last: at(60) },
        ];
        assert_eq!(unpack_extents(&pack_extents(&extents)).unwrap(), extents);
    }
}
