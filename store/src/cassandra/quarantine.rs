//! What was refused. An entry stands under its id with its bytes, those beyond the
//! first megabyte under its id and a number; lists read a second row of it, without
//! bytes, among those of its share. Each process keeps a ledger of the lists, by
//! which it makes room. The key that was presented with an entry stands under its id
//! and `key`, bound to it.
//!
//! What is deleted leaves a trace in its partition for an hour, and a partition
//! that is full of them cannot be read. So the oldest of a list go as a range, which
//! leaves one trace whatever it holds; and where those of a crowd have to go from
//! its middle, only so many do in a minute: what strangers send beyond that is not
//! kept, for what others do the oldest of all go.

mod ledger;

use std::time::{Duration, Instant};

use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, Timestamp};
use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

pub(super) use self::ledger::Ledger;
use self::ledger::{Gone, Key, Leaving, MINUTE, Share, Weight};
use super::{Database, at};
use crate::error::StoreError;
use crate::quarantine::{QuarantineNew, QuarantineRow, QuarantineUsage, is_held};

/// Bytes that stand in one row; a cluster takes no rows of many megabytes.
const PIECE: usize = 1 << 20;
/// After this long a process looks what others have added.
const LEDGER_AGE: Duration = MINUTE;

/// Received, id, address, gateway, code, bytes.
type LedgerRow = (CqlTimestamp, Uuid, Option<String>, Option<String>, String, Option<i64>);

#[derive(DeserializeRow)]
struct Columns {
    received: CqlTimestamp,
    id: Uuid,
    trusted: Option<bool>,
    gateway: Option<String>,
    address: Option<String>,
    code: String,
    reason: String,
    bytes: Option<i64>,
    raw: Option<Vec<u8>>,
}

impl Columns {
    fn key_and_bytes(&self) -> Gone {
        let bytes = self.bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
        ((Timestamp::clamped(self.received.0), self.id), bytes)
    }

    /// The entry; none where its removal ended half-way, or where another process has
    /// removed it while its reason was changed, which leaves a row of that alone.
    fn into_row(self) -> Result<Option<QuarantineRow>, StoreError> {
        let (Some(trusted), Some(address), Some(bytes)) = (self.trusted, self.address, self.bytes) else { return Ok(None) };
        let entry = QuarantineNew {
            id: QuarantineId::new(self.id),
            received: Timestamp::clamped(self.received.0),
            gateway: self.gateway,
            address,
            code: RefusalCode::parse(&self.code)?,
            reason: self.reason,
            raw: self.raw.unwrap_or_default(),
            trusted,
        };
        Ok(Some(QuarantineRow { entry, bytes: usize::try_from(bytes).unwrap_or_default() }))
    }
}

impl Database {
    pub(crate) async fn quarantine_add(&self, entry: &QuarantineNew, presented: Option<KeyDigest>) -> Result<(), StoreError> {
        let share = Share::of(entry.trusted);
        let Some(leaving) = self.note(share, entry).await? else {
            tracing::debug!(address = entry.address, "no room for what a stranger had refused");
            return Ok(());
        };
        if let Some(presented) = presented {
            self.quarantine_keep_presented(entry.id, presented).await?;
        }
        // The bytes first: what is listed can be opened.
        let mut pieces = entry.raw.chunks(PIECE);
        let first = pieces.next().unwrap_or_default();
        for (number, piece) in pieces.enumerate() {
            self.put_piece(&piece_part(entry.id.as_uuid(), number + 1), entry, piece).await?;
        }
        let part = piece_part(entry.id.as_uuid(), 0);
        self.put_piece(&part, entry, first).await?;
        self.put_entry(&part, entry).await?;
        self.put_entry(share.part(), entry).await?;
        if let Some(last) = leaving.until {
            self.remove_until(share, last).await?;
        }
        for (key, bytes) in leaving.single {
            self.remove_entry(share, key, bytes).await?;
        }
        self.data_changed();
        Ok(())
    }

    /// Removes the oldest of a list, up to one: those that are known, and what else
    /// there is. Where this ends half-way, they are still listed, and the oldest: so
    /// they go when room is made the next time.
    async fn remove_until(&self, share: Share, (received, id): Key) -> Result<(), StoreError> {
        let cql = "SELECT id, bytes FROM @.quarantine WHERE part = ? AND (received, id) <= (?, ?)";
        let oldest: Vec<(Uuid, Option<i64>)> = self.all(cql, (share.part(), at(received), id)).await?;
        for (id, bytes) in oldest {
            self.remove_pieces(id, bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default()).await?;
        }
        let cql = "DELETE FROM @.quarantine WHERE part = ? AND (received, id) <= (?, ?)";
        self.execute(cql, (share.part(), at(received), id)).await.map(drop)
    }

    /// Removes one entry. Its row in the list goes last and is marked first: where this
    /// ends half-way, whoever reads the list goes on with it.
    async fn remove_entry(&self, share: Share, key: Key, bytes: u64) -> Result<(), StoreError> {
        self.mark_removed(share, key).await?;
        self.remove_pieces(key.1, bytes).await?;
        self.remove(share.part(), key).await
    }

    /// Marks a row of a list as one of an entry that is being removed: it does not say
    /// any more whose it is.
    async fn mark_removed(&self, share: Share, (received, id): Key) -> Result<(), StoreError> {
        let cql = "DELETE trusted FROM @.quarantine WHERE part = ? AND received = ? AND id = ?";
        self.execute(cql, (share.part(), at(received), id)).await.map(drop)
    }

    /// Removes an entry itself, with its bytes.
    async fn remove_pieces(&self, id: Uuid, bytes: u64) -> Result<(), StoreError> {
        for number in 0..pieces_of(bytes) {
            self.execute("DELETE FROM @.quarantine WHERE part = ?", (piece_part(id, number),)).await?;
        }
        self.execute("DELETE FROM @.quarantine WHERE part = ?", (key_part(id),)).await.map(drop)
    }

    /// Keeps the key that was presented with an entry, which may come after it.
    pub(crate) async fn quarantine_keep_presented(&self, id: QuarantineId, presented: KeyDigest) -> Result<(), StoreError> {
        let cql = "INSERT INTO @.quarantine (part, received, id, raw) VALUES (?, ?, ?, ?)";
        let (id, digest) = (id.as_uuid(), presented.0.as_slice());
        self.execute(cql, (key_part(id), CqlTimestamp(0), id, digest)).await.map(drop)
    }

    pub(crate) async fn quarantine_presented(&self, id: QuarantineId) -> Result<Option<KeyDigest>, StoreError> {
        let cql = "SELECT raw FROM @.quarantine WHERE part = ? LIMIT 1";
        let Some((Some(raw),)) = self.row::<(Option<Vec<u8>>,)>(cql, (key_part(id.as_uuid()),)).await? else {
            return Ok(None);
        };
        let digest = raw.try_into().map_err(|_| StoreError::Damaged(format!("the key of entry {id} is no digest")))?;
        Ok(Some(KeyDigest(digest)))
    }

    pub(crate) async fn quarantine_remove(&self, row: &QuarantineRow) -> Result<(), StoreError> {
        let (share, key) = (Share::of(row.entry.trusted), (row.entry.received, row.entry.id.as_uuid()));
        self.remove_entry(share, key, row.bytes as u64).await?;
        self.inner.ledger.lock().await.share(share).take(key);
        self.data_changed();
        Ok(())
    }

    pub(crate) async fn quarantine_revise(&self, row: &QuarantineRow) -> Result<(), StoreError> {
        let QuarantineNew { id, received, code, reason, trusted, .. } = &row.entry;
        let cql = "UPDATE @.quarantine SET code = ?, reason = ? WHERE part = ? AND received = ? AND id = ?";
        for part in [piece_part(id.as_uuid(), 0), Share::of(*trusted).part().to_owned()] {
            self.execute(cql, (code.as_str(), reason, part, at(*received), id.as_uuid())).await?;
        }
        self.data_changed();
        Ok(())
    }

    async fn put_entry(&self, part: &str, entry: &QuarantineNew) -> Result<(), StoreError> {
        let cql = "INSERT INTO @.quarantine (part, received, id, trusted, gateway, address, code, reason, bytes)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let QuarantineNew { id, received, gateway, address, code, reason, trusted, .. } = entry;
        let (id, code, bytes) = (id.as_uuid(), code.as_str(), entry.raw.len() as i64);
        self.execute(cql, (part, at(*received), id, *trusted, gateway, address, code, reason, bytes)).await.map(drop)
    }

    async fn put_piece(&self, part: &str, entry: &QuarantineNew, piece: &[u8]) -> Result<(), StoreError> {
        let cql = "INSERT INTO @.quarantine (part, received, id, raw) VALUES (?, ?, ?, ?)";
        self.execute(cql, (part, at(entry.received), entry.id.as_uuid(), piece)).await.map(drop)
    }

    async fn remove(&self, part: &str, (received, id): Key) -> Result<(), StoreError> {
        let cql = "DELETE FROM @.quarantine WHERE part = ? AND received = ? AND id = ?";
        self.execute(cql, (part, at(received), id)).await.map(drop)
    }

    /// Enters an entry into the ledger; answers what has to go for it, or that it is
    /// not to be kept.
    async fn note(&self, share: Share, entry: &QuarantineNew) -> Result<Option<Leaving>, StoreError> {
        let mut ledger = self.inner.ledger.lock().await;
        if ledger.read.is_none_or(|read| read.elapsed() > LEDGER_AGE) {
            match self.read_ledger().await {
                Ok(read) => *ledger = Ledger { gone: ledger.gone, ..read },
                // What this process knows itself will do for another while: what is
                // refused must not hold up what is not.
                Err(error) => {
                    tracing::warn!(%error, "how full the quarantine is cannot be read");
                    ledger.read = Some(Instant::now());
                }
            }
        }
        let key = (entry.received, entry.id.as_uuid());
        let held_for = entry.gateway.clone().filter(|_| is_held(entry));
        let crowd = share.crowd(&entry.address, entry.gateway.as_deref());
        let (weight, now) = (Weight { crowd, held_for, bytes: entry.raw.len() as u64 }, Instant::now());
        Ok(match share {
            Share::Strangers => ledger.admit_stranger(key, weight, now).map(|single| Leaving { until: None, single }),
            Share::Trusted => Some(ledger.admit_trusted(key, weight, now)),
        })
    }

    async fn read_ledger(&self) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger { read: Some(Instant::now()), ..Ledger::default() };
        // The newest; what lies beyond the bound goes by its age anyway.
        let cql = "SELECT received, id, address, gateway, code, bytes FROM @.quarantine WHERE part = ? LIMIT ?";
        for share in Share::ALL {
            let most = i32::try_from(share.max().rows * 2).unwrap_or(i32::MAX);
            let rows: Vec<LedgerRow> = self.all(cql, (share.part(), most)).await?;
            for (received, id, address, gateway, code, bytes) in rows {
                let (Some(address), Some(bytes)) = (address, bytes) else { continue };
                let is_held = share == Share::Strangers && code == RefusalCode::UnknownGateway.as_str();
                let crowd = share.crowd(&address, gateway.as_deref());
                let held_for = gateway.filter(|_| is_held);
                let bytes = u64::try_from(bytes).unwrap_or_default();
                let weight = Weight { crowd, held_for, bytes };
                ledger.share(share).add((Timestamp::clamped(received.0), id), weight);
            }
        }
        Ok(ledger)
    }

    pub(crate) async fn quarantine_list(
        &self,
        before: Option<(Timestamp, QuarantineId)>,
        limit: usize,
    ) -> Result<Vec<QuarantineRow>, StoreError> {
        let cql = "SELECT received, id, trusted, gateway, address, code, reason, bytes, raw FROM @.quarantine
             WHERE part = ? AND (received, id) < (?, ?) LIMIT ?";
        let (received, id) = before.unwrap_or((Timestamp::MAX, QuarantineId::new(Uuid::max())));
        let (before, id) = (at(received), id.as_uuid());
        let most = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut found = Vec::new();
        for share in Share::ALL {
            loop {
                let rows: Vec<Columns> = self.all(cql, (share.part(), before, id, most)).await?;
                let keys: Vec<_> = rows.iter().map(Columns::key_and_bytes).collect();
                let rows = rows.into_iter().map(Columns::into_row).collect::<Result<Vec<_>, _>>()?;
                let gone: Vec<_> = keys.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| *key).collect();
                if gone.is_empty() {
                    found.extend(rows.into_iter().flatten());
                    break;
                }
                for (key, bytes) in gone {
                    self.remove_pieces(key.1, bytes).await?;
                    self.remove(share.part(), key).await?;
                }
            }
        }
        found.sort_by_key(|row| std::cmp::Reverse((row.entry.received, row.entry.id)));
        found.truncate(limit);
        Ok(found)
    }

    pub(crate) async fn quarantine_fetch(&self, id: QuarantineId) -> Result<QuarantineRow, StoreError> {
        let cql =
            "SELECT received, id, trusted, gateway, address, code, reason, bytes, raw FROM @.quarantine WHERE part = ? LIMIT 1";
        let found: Option<Columns> = self.row(cql, (id.to_string(),)).await?;
        let found = found.map(Columns::into_row).transpose()?.flatten();
        let mut row = found.ok_or(StoreError::NotFound("quarantine entry"))?;
        for number in 1..pieces_of(row.bytes as u64) {
            let cql = "SELECT raw FROM @.quarantine WHERE part = ? LIMIT 1";
            let piece = self.row::<(Option<Vec<u8>>,)>(cql, (piece_part(id.as_uuid(), number),)).await?;
            row.entry.raw.extend(piece.and_then(|(piece,)| piece).unwrap_or_default());
        }
        Ok(row)
    }

    pub(crate) async fn quarantine_usage(&self) -> Result<QuarantineUsage, StoreError> {
        let mut usage = QuarantineUsage::default();
        for share in Share::ALL {
            let rows: Vec<(Option<i64>,)> = self.all("SELECT bytes FROM @.quarantine WHERE part = ?", (share.part(),)).await?;
            let bytes = rows.into_iter().filter_map(|(bytes,)| bytes);
            for bytes in bytes {
                usage.rows += 1;
                usage.bytes += u64::try_from(bytes).unwrap_or_default();
            }
        }
        Ok(usage)
    }
}

/// Where a piece of an entry stands.
fn piece_part(id: Uuid, number: usize) -> String {
    if number == 0 { id.to_string() } else { format!("{id} {number}") }
}

/// Where the key stands that was presented with an entry.
fn key_part(id: Uuid) -> String {
    format!("{id} key")
}

/// How many pieces so many bytes make; an entry without bytes is one.
fn pieces_of(bytes: u64) -> usize {
    (bytes as usize).div_ceil(PIECE).max(1)
}

#[cfg(test)]
mod tests;
