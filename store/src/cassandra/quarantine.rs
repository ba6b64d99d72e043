//! What was refused. An entry stands under its id with its bytes, those beyond the
//! first megabyte under its id and a number; lists read a second row of it, without
//! bytes, among those of its share. Each process keeps a ledger of the lists, by
//! which it makes room.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use heliograph_domain::{QuarantineId, RefusalCode, Timestamp};
use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{Database, at};
use crate::error::StoreError;
use crate::quarantine::{QuarantineNew, QuarantineRow, QuarantineUsage};
use crate::store::ProviderStore;

/// Bytes that stand in one row; a cluster takes no rows of many megabytes.
const PIECE: usize = 1 << 20;
/// After this long a process looks what others have added.
const LEDGER_AGE: Duration = Duration::from_mins(1);

/// The shares of the quarantine, each with its own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Trusted,
    Strangers,
}

impl Share {
    const ALL: [Self; 2] = [Self::Trusted, Self::Strangers];

    const fn of(trusted: bool) -> Self {
        if trusted { Self::Trusted } else { Self::Strangers }
    }

    const fn part(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Strangers => "strangers",
        }
    }

    const fn max(self) -> QuarantineUsage {
        match self {
            Self::Trusted => QuarantineUsage { rows: ProviderStore::QUARANTINE_ROWS, bytes: ProviderStore::QUARANTINE_BYTES },
            Self::Strangers => QuarantineUsage { rows: ProviderStore::STRANGERS_ROWS, bytes: ProviderStore::STRANGERS_BYTES },
        }
    }
}

/// What a process knows of the lists.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    read: Option<Instant>,
    trusted: Entries,
    strangers: Entries,
}

/// The entries of a share by age, with the host each came from and its bytes.
#[derive(Debug, Default)]
struct Entries {
    by_age: BTreeMap<(Timestamp, Uuid), (String, u64)>,
    bytes: u64,
}

impl Entries {
    fn add(&mut self, key: (Timestamp, Uuid), host: String, bytes: u64) {
        if self.by_age.insert(key, (host, bytes)).is_none() {
            self.bytes += bytes;
        }
    }

    /// Takes out what is beyond the bounds: the oldest, of strangers the oldest of
    /// the host that has most.
    fn make_room(&mut self, share: Share) -> Vec<(Timestamp, Uuid, u64)> {
        let (max, mut gone) = (share.max(), Vec::new());
        while self.by_age.len() as u64 > max.rows || self.bytes > max.bytes {
            let crowd = if share == Share::Strangers { self.largest_crowd() } else { None };
            let oldest = self.by_age.iter().find(|(_, (host, _))| crowd.as_ref().is_none_or(|crowd| crowd == host));
            let Some(key) = oldest.map(|(key, _)| *key) else { break };
            let bytes = self.by_age.remove(&key).map_or(0, |(_, bytes)| bytes);
            self.bytes -= bytes;
            gone.push((key.0, key.1, bytes));
        }
        gone
    }

    fn largest_crowd(&self) -> Option<String> {
        let mut crowds: HashMap<&str, (u64, u64)> = HashMap::new();
        for (host, bytes) in self.by_age.values() {
            let crowd = crowds.entry(host).or_default();
            *crowd = (crowd.0 + 1, crowd.1 + bytes);
        }
        crowds.into_iter().max_by_key(|(_, size)| *size).map(|(host, _)| host.to_owned())
    }
}

impl Ledger {
    fn share(&mut self, share: Share) -> &mut Entries {
        match share {
            Share::Trusted => &mut self.trusted,
            Share::Strangers => &mut self.strangers,
        }
    }
}

#[derive(DeserializeRow)]
struct Columns {
    received: CqlTimestamp,
    id: Uuid,
    trusted: bool,
    gateway: Option<String>,
    address: String,
    code: String,
    reason: String,
    bytes: i64,
    raw: Option<Vec<u8>>,
}

impl TryFrom<Columns> for QuarantineRow {
    type Error = StoreError;
    fn try_from(row: Columns) -> Result<Self, StoreError> {
        let entry = QuarantineNew {
            id: QuarantineId::new(row.id),
            received: Timestamp::clamped(row.received.0),
            gateway: row.gateway,
            address: row.address,
            code: RefusalCode::parse(&row.code)?,
            reason: row.reason,
            raw: row.raw.unwrap_or_default(),
            trusted: row.trusted,
        };
        Ok(Self { entry, bytes: usize::try_from(row.bytes).unwrap_or_default() })
    }
}

impl Database {
    pub(crate) async fn quarantine_add(&self, entry: &QuarantineNew) -> Result<(), StoreError> {
        let share = Share::of(entry.trusted);
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
        for (received, id, bytes) in self.note(share, entry).await? {
            self.remove(share.part(), received, id).await?;
            for number in 0..pieces_of(bytes) {
                self.remove(&piece_part(id, number), received, id).await?;
            }
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

    async fn remove(&self, part: &str, received: Timestamp, id: Uuid) -> Result<(), StoreError> {
        let cql = "DELETE FROM @.quarantine WHERE part = ? AND received = ? AND id = ?";
        self.execute(cql, (part, at(received), id)).await.map(drop)
    }

    /// Enters an entry into the ledger; answers what has to go for it.
    async fn note(&self, share: Share, entry: &QuarantineNew) -> Result<Vec<(Timestamp, Uuid, u64)>, StoreError> {
        let mut ledger = self.inner.ledger.lock().await;
        if ledger.read.is_none_or(|read| read.elapsed() > LEDGER_AGE) {
            match self.read_ledger().await {
                Ok(read) => *ledger = read,
                // What this process knows itself will do for another while: what is
                // refused must not hold up what is not.
                Err(error) => {
                    tracing::warn!(%error, "how full the quarantine is cannot be read");
                    ledger.read = Some(Instant::now());
                }
            }
        }
        let entries = ledger.share(share);
        entries.add((entry.received, entry.id.as_uuid()), host(&entry.address), entry.raw.len() as u64);
        Ok(entries.make_room(share))
    }

    async fn read_ledger(&self) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger { read: Some(Instant::now()), ..Ledger::default() };
        let cql = "SELECT received, id, address, bytes FROM @.quarantine WHERE part = ?";
        for share in Share::ALL {
            let rows: Vec<(CqlTimestamp, Uuid, String, i64)> = self.all(cql, (share.part(),)).await?;
            for (received, id, address, bytes) in rows {
                let bytes = u64::try_from(bytes).unwrap_or_default();
                ledger.share(share).add((Timestamp::clamped(received.0), id), host(&address), bytes);
            }
        }
        Ok(ledger)
    }

    pub(crate) async fn quarantine_list(
        &self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<QuarantineRow>, StoreError> {
        let cql = "SELECT received, id, trusted, gateway, address, code, reason, bytes, raw FROM @.quarantine
             WHERE part = ? AND received < ? LIMIT ?";
        let before = at(before.unwrap_or(Timestamp::MAX));
        let most = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut found = Vec::new();
        for share in Share::ALL {
            let rows: Vec<Columns> = self.all(cql, (share.part(), before, most)).await?;
            found.extend(rows.into_iter().map(QuarantineRow::try_from).collect::<Result<Vec<_>, _>>()?);
        }
        found.sort_by_key(|row| std::cmp::Reverse((row.entry.received, row.entry.id)));
        found.truncate(limit);
        Ok(found)
    }

    pub(crate) async fn quarantine_fetch(&self, id: QuarantineId) -> Result<QuarantineRow, StoreError> {
        let cql =
            "SELECT received, id, trusted, gateway, address, code, reason, bytes, raw FROM @.quarantine WHERE part = ? LIMIT 1";
        let found: Option<Columns> = self.row(cql, (id.to_string(),)).await?;
        let mut row: QuarantineRow = found.ok_or(StoreError::NotFound("quarantine entry"))?.try_into()?;
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
            let rows: Vec<(i64,)> = self.all("SELECT bytes FROM @.quarantine WHERE part = ?", (share.part(),)).await?;
            usage.rows += rows.len() as u64;
            usage.bytes += rows.iter().map(|(bytes,)| u64::try_from(*bytes).unwrap_or_default()).sum::<u64>();
        }
        Ok(usage)
    }
}

/// An address without its port, which says nothing.
fn host(address: &str) -> String {
    address.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

/// Where a piece of an entry stands.
fn piece_part(id: Uuid, number: usize) -> String {
    if number == 0 { id.to_string() } else { format!("{id} {number}") }
}

/// How many pieces so many bytes make; an entry without bytes is one.
fn pieces_of(bytes: u64) -> usize {
    (bytes as usize).div_ceil(PIECE).max(1)
}
