//! What was refused, kept with the reason.

use std::sync::Arc;

use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::archive::tables::{Cell, from_hex};
use crate::catalog::archive::{Cells, flag, or_null, text, time};
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// Something refused, to be kept. Credentials in `raw` are masked already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineNew {
    /// Its id.
    pub id: QuarantineId,
    /// When it arrived.
    pub received: Timestamp,
    /// The gateway it names, as text: it may be no valid id at all.
    pub gateway: Option<String>,
    /// Where it came from, `address:port`.
    pub address: String,
    /// Why it was refused.
    pub code: RefusalCode,
    /// The reason in words; of a document with refused readings, one a line.
    pub reason: String,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// Whether it came from a gateway that had proved itself. What strangers send
    /// has less room, and never makes trusted entries go.
    pub trusted: bool,
}

impl QuarantineNew {
    /// Its row of an archive.
    pub(crate) fn archived(self) -> Vec<Cell> {
        vec![
            text(self.id),
            time(self.received),
            or_null(self.gateway, text),
            text(self.address),
            text(self.code.as_str()),
            text(self.reason),
            Cell::Bytes(self.raw),
            flag(self.trusted),
        ]
    }

    /// Something refused, from such a row.
    pub(crate) fn unarchived(cells: &mut Cells) -> Result<Self, StoreError> {
        Ok(Self {
            id: cells.parse(QuarantineId::parse)?,
            received: cells.time()?,
            gateway: cells.text_or_none()?,
            address: cells.text()?,
            code: cells.parse(RefusalCode::parse)?,
            reason: cells.text()?,
            raw: cells.bytes()?,
            trusted: cells.flag()?,
        })
    }
}

/// Something refused, as it is kept; `raw` is empty in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// What was kept.
    pub entry: QuarantineNew,
    /// How many bytes it has.
    pub bytes: usize,
}

/// How full the quarantine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineUsage {
    /// Entries.
    pub rows: u64,
    /// Their raw bytes.
    pub bytes: u64,
}

impl ProviderStore {
    /// Entries of trusted gateways kept at most; the oldest of the gateway that has most
    /// make room.
    pub const QUARANTINE_ROWS: u64 = 10_000;
    /// Their raw bytes kept at most; the oldest of the gateway that has most bytes make room.
    pub const QUARANTINE_BYTES: u64 = 256 * 1024 * 1024;
    /// Entries of strangers kept at most; the oldest of the address that has most
    /// make room.
    pub const STRANGERS_ROWS: u64 = 2_000;
    /// Their raw bytes kept at most, likewise.
    pub const STRANGERS_BYTES: u64 = 64 * 1024 * 1024;

    /// Documents held at most of one gateway that nobody knows: entries of
    /// strangers with the code `unknown-gateway` that name it. The oldest of the
    /// address that has most of them make room.
    pub const HELD_ROWS: u64 = 200;
    /// Their raw bytes held at most, likewise.
    pub const HELD_BYTES: u64 = 16 * 1024 * 1024;

    /// Keeps something refused. The same id twice is one entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_add(&self, entry: impl Into<Arc<QuarantineNew>>) -> Result<(), StoreError> {
        self.quarantine_add_with(entry, None).await
    }

    /// The same with the key that was presented, bound to the entry
    /// ([`KeyDigest::bound_to`]): the proof of who sent it, should it be replayed.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_add_with(
        &self,
        entry: impl Into<Arc<QuarantineNew>>,
        presented: Option<KeyDigest>,
    ) -> Result<(), StoreError> {
        let entry = entry.into();
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::quarantine::add(batch, &entry, presented)).await,
            Backend::Cassandra(db) => db.quarantine_add(&entry, presented).await,
        }
    }

    /// The key that was presented with an entry, bound to it; `None` where there was
    /// none, or is no such entry.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantine_presented(&self, id: QuarantineId) -> Result<Option<KeyDigest>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::quarantine::presented(connection, id)).await,
            Backend::Cassandra(db) => db.quarantine_presented(id).await,
        }
    }

    /// The newest entries before `before`, without their bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantine_list(&self, before: Option<Timestamp>, limit: usize) -> Result<Vec<QuarantineRow>, StoreError> {
        // No id comes before this one.
        self.quarantine_page(before.map(|before| (before, QuarantineId::new(uuid::Uuid::nil()))), limit).await
    }

    /// The newest entries before one, by the time it was received and its id,
    /// without their bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantine_page(
        &self,
        before: Option<(Timestamp, QuarantineId)>,
        limit: usize,
    ) -> Result<Vec<QuarantineRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::quarantine::list(connection, before, limit)).await,
            Backend::Cassandra(db) => db.quarantine_list(before, limit).await,
        }
    }

    /// One entry with its bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn quarantine_fetch(&self, id: QuarantineId) -> Result<QuarantineRow, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::quarantine::fetch(connection, id)).await,
            Backend::Cassandra(db) => db.quarantine_fetch(id).await,
        }
    }

    /// Takes an entry out, if it is there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_remove(&self, entry: &QuarantineRow) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let id = entry.entry.id;
                db.write(move |batch| sqlite::quarantine::remove(batch, id)).await
            }
            Backend::Cassandra(db) => db.quarantine_remove(entry).await,
        }
    }

    /// Gives an entry another code and reason, if it is there: those of the last
    /// attempt to replay it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_revise(&self, entry: &QuarantineRow) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let (id, code, reason) = (entry.entry.id, entry.entry.code, entry.entry.reason.clone());
                db.write(move |batch| sqlite::quarantine::revise(batch, id, code, &reason)).await
            }
            Backend::Cassandra(db) => db.quarantine_revise(entry).await,
        }
    }

    /// Notes in the audit trail that somebody replays entries; `proven`: only those
    /// whose key is right.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_retry_noted(&self, entries: usize, proven: bool) -> Result<(), StoreError> {
        let event = self.event("quarantine.retry", "quarantine", json!({ "entries": entries, "proven": proven }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, |_| Ok(())).await,
            Backend::Cassandra(db) => db.audit(event).await,
        }
    }

    /// How full the quarantine is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantine_usage(&self) -> Result<QuarantineUsage, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::quarantine::usage).await,
            Backend::Cassandra(db) => db.quarantine_usage().await,
        }
    }
}

/// Whether an entry is a document that is held for a gateway that nobody knows.
pub(crate) fn is_held(entry: &QuarantineNew) -> bool {
    entry.code == RefusalCode::UnknownGateway && !entry.trusted
}

/// The kind of the records by which files and archives hold presented keys, by the
/// id of their entry: a text of 64 hexadecimal digits.
pub(crate) const PRESENTED: &str = "presented";

/// A presented key from such a text.
pub(crate) fn parse_presented(hex: &str) -> Result<KeyDigest, StoreError> {
    let digest = from_hex(hex).and_then(|bytes| bytes.try_into().ok());
    digest.map(KeyDigest).ok_or_else(|| StoreError::Damaged("a presented key is not 64 hexadecimal digits".to_owned()))
}
