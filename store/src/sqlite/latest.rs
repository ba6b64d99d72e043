//! What is latest of a gateway: when and from where it was heard, how much it has
//! pushed, and what is first, last and latest of each of its series.

use std::collections::{BTreeMap, HashSet};

use heliograph_domain::{Timestamp, window_of};
use rusqlite::{Connection, Row, params};

use super::Batch;
use super::document::{Count, Lay};
use super::frame::{self, Extent};
use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::rollup::series::Slot;

/// The row of a gateway, as documents leave it.
#[derive(Debug)]
pub(super) struct Latest {
    seen: i64,
    address: String,
    documents: i64,
    stamp: i64,
    /// Sorted by slot.
    extents: Vec<Extent>,
    /// Windows that were marked by these documents.
    marked: HashSet<Timestamp>,
}

/// The columns that [`check_row`] reads.
const COLUMNS: &str = "gateway, seen, address, documents, stamp, data, crc";

/// CRC-32 over a row.
fn checksum(number: i64, seen: i64, address: &str, documents: i64, stamp: i64, data: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for number in [number, seen, documents, stamp] {
        sum.update(&number.to_le_bytes());
    }
    sum.update(address.as_bytes());
    sum.update(&[0]);
    sum.update(data);
    sum.finalize()
}

/// Fails where a row is not what its checksum says. One that the release before wrote,
/// or a gateway that has only knocked since, has none.
fn check_row(row: &Row<'_>) -> Result<(), StoreError> {
    let Some(crc) = row.get::<_, Option<i64>>(6)? else { return Ok(()) };
    let (address, data) = (row.get_ref(2)?, row.get_ref(5)?);
    let address = address.as_str().map_err(super::damaged)?;
    let data = data.as_blob().map_err(super::damaged)?;
    let number = row.get(0)?;
    if crc == i64::from(checksum(number, row.get(1)?, address, row.get(3)?, row.get(4)?, data)) {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("what is latest of gateway number {number} does not match its checksum")))
}

/// Tells of each row that is not what its checksum says.
pub(super) fn compare(connection: &Connection, mut tell: impl FnMut(i64, StoreError)) -> Result<(), StoreError> {
    let mut query = connection.prepare(&format!("SELECT {COLUMNS} FROM latest"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = check_row(row) {
            tell(row.get(0)?, error);
        }
    }
    Ok(())
}

/// What is first, last and latest of each series of a gateway.
pub(super) fn extents(connection: &Connection, number: i64) -> Result<Vec<Extent>, StoreError> {
    Ok(Latest::read(connection, number)?.extents)
}

/// The same by the readings and rollups that there are; of what is older than those,
/// `damaged` is believed as far as it agrees with them. When the gateway was heard is
/// not known any more: its last readings count as of their time.
fn extents_anew(connection: &Connection, number: i64, damaged: &[Extent]) -> Result<Vec<Extent>, StoreError> {
    let mut extents = BTreeMap::<Slot, Extent>::new();
    let mut query = connection.prepare("SELECT time, data, crc FROM frame WHERE gateway = ?1 ORDER BY time")?;
    let mut rows = query.query([number])?;
    while let Some(row) = rows.next()? {
        // A damaged frame is named where it is read.
        let Ok((time, values)) = frame::checked(number, row).and_then(|(time, data)| Ok((time, frame::unpack(data)?))) else {
            continue;
        };
        for (slot, value) in values {
            let extent = extents.entry(slot).or_insert(Extent { slot, latest: None, first: time, last: time });
            (extent.first, extent.last) = (extent.first.min(time), extent.last.max(time));
            extent.latest = Some((time, value));
        }
    }
    let mut query = connection.prepare("SELECT slot, min(start), max(start) FROM rollup WHERE gateway = ?1 GROUP BY slot")?;
    let mut rows = query.query([number])?;
    while let Some(row) = rows.next()? {
        let (slot, first, last) = (row.get(0)?, Timestamp::clamped(row.get(1)?), Timestamp::clamped(row.get(2)?));
        let stored = damaged.iter().find(|extent| extent.slot == slot);
        let first = stored.map(|stored| stored.first).filter(|at| window_of(*at) == first).unwrap_or(first);
        let (last, latest) =
            stored.filter(|stored| window_of(stored.last) == last).map_or((last, None), |stored| (stored.last, stored.latest));
        let extent = extents.entry(slot).or_insert(Extent { slot, latest, first, last });
        extent.first = extent.first.min(first);
    }
    Ok(extents.into_values().collect())
}

impl Latest {
    /// The row of a gateway, of nothing where it has none. Where it is damaged, it is
    /// made anew of the gateway's readings and rollups, and the next document says when
    /// and from where it was heard; how many it has pushed stays as it can be read.
    pub(super) fn read(connection: &Connection, number: i64) -> Result<Self, StoreError> {
        let nothing = Self {
            seen: i64::MIN,
            address: String::new(),
            documents: 0,
            stamp: i64::MIN,
            extents: Vec::new(),
            marked: HashSet::new(),
        };
        let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM latest WHERE gateway = ?1"))?;
        let mut rows = query.query([number])?;
        let Some(row) = rows.next()? else { return Ok(nothing) };
        let stored = frame::unpack_extents(row.get_ref(5)?.as_blob().unwrap_or_default());
        let damage = check_row(row).err().or_else(|| stored.as_ref().err().cloned());
        let Some(error) = damage else {
            let mut extents = stored?;
            extents.sort_unstable_by_key(|extent| extent.slot);
            let (seen, address, documents, stamp) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            return Ok(Self { seen, address, documents, stamp, extents, ..nothing });
        };
        tracing::error!(%error, "what is latest of a gateway is made anew of its readings");
        let extents = extents_anew(connection, number, &stored.unwrap_or_default())?;
        // Neither may be later than what came: nothing would ever count as newer.
        let last = extents.iter().map(|extent| extent.last.as_millis()).max().unwrap_or(i64::MIN);
        let stamp = row.get(4).map_or(i64::MIN, |stamp: i64| stamp.min(last.saturating_mul(1000)));
        let seen = row.get(1).map_or(last, |seen: i64| seen.min(last));
        let documents = row.get(3).map_or(0, |documents: i64| documents.max(0));
        Ok(Self { seen, documents, stamp, extents, ..nothing })
    }

    pub(super) fn mark(&mut self, batch: &mut Batch<'_>, number: i64, window: Timestamp) -> Result<(), StoreError> {
        if self.marked.insert(window) {
            batch
                .connection
                .prepare_cached("INSERT INTO dirty (gateway, start) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![number, window.as_millis()])?;
        }
        batch.data_changed();
        Ok(())
    }

    /// Whether a later document than this one was stored, or this very one.
    pub(super) fn is_after(&self, document: &DocumentWrite) -> bool {
        self.stamp >= document.stamp.as_micros()
    }

    pub(super) fn extend(&mut self, time: Timestamp, values: &[(Slot, f64)], newest_allowed: Timestamp, lay: Lay) {
        for (slot, value) in values {
            let place = self.extents.binary_search_by_key(slot, |extent| extent.slot).unwrap_or_else(|place| {
                self.extents.insert(place, Extent { slot: *slot, latest: None, first: time, last: time });
                place
            });
            let Some(extent) = self.extents.get_mut(place) else { continue };
            extent.first = extent.first.min(time);
            extent.last = extent.last.max(time);
            let is_latest = |(latest, _)| latest < time || (latest == time && lay == Lay::Over);
            if time <= newest_allowed && extent.latest.is_none_or(is_latest) {
                extent.latest = Some((time, *value));
            }
        }
    }

    pub(super) fn hear(&mut self, document: &DocumentWrite, count: Count) {
        let (seen, stamp) = (document.received.as_millis(), document.stamp.as_micros());
        if seen >= self.seen {
            self.seen = seen;
            self.address.clone_from(&document.address);
        }
        self.documents += match count {
            Count::FirstTime => 1,
            Count::PerhapsAgain => i64::from(stamp > self.stamp),
        };
        self.stamp = self.stamp.max(stamp);
    }

    /// Notes that the gateway was heard, and has pushed nothing.
    pub(super) fn knock(&mut self, address: &str, at: Timestamp) {
        self.seen = self.seen.max(at.as_millis());
        self.address = address.to_owned();
        self.stamp = self.stamp.max(0);
    }

    pub(super) fn save(&self, connection: &Connection, number: i64) -> Result<(), StoreError> {
        let data = frame::pack_extents(&self.extents);
        let crc = checksum(number, self.seen, &self.address, self.documents, self.stamp, &data);
        connection
            .prepare_cached(
                "INSERT INTO latest (gateway, seen, address, documents, stamp, data, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET seen = excluded.seen, address = excluded.address, documents = excluded.documents,
                 stamp = excluded.stamp, data = excluded.data, crc = excluded.crc",
            )?
            .execute(params![number, self.seen, self.address, self.documents, self.stamp, data, crc])?;
        Ok(())
    }
}

/// Gives the rows that have no checksum theirs.
pub(super) fn sum_up(connection: &Connection) -> Result<(), StoreError> {
    let mut query = connection.prepare("SELECT gateway FROM latest WHERE crc IS NULL")?;
    let numbers: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    write_anew(connection, numbers)
}

/// Writes the rows anew that are damaged.
pub(super) fn mend(connection: &Connection) -> Result<(), StoreError> {
    let mut damaged = Vec::new();
    compare(connection, |number, _| damaged.push(number))?;
    write_anew(connection, damaged)
}

fn write_anew(connection: &Connection, numbers: Vec<i64>) -> Result<(), StoreError> {
    numbers.into_iter().try_for_each(|number| Latest::read(connection, number)?.save(connection, number))
}
