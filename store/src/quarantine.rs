//! What was refused, kept with the reason.

use std::sync::Arc;

use heliograph_domain::{QuarantineId, RefusalCode, Timestamp};
use serde::{Deserialize, Serialize};

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
    /// Entries of trusted gateways kept at most; the oldest make room.
    pub const QUARANTINE_ROWS: u64 = 10_000;
    /// Their raw bytes kept at most; the oldest make room.
    pub const QUARANTINE_BYTES: u64 = 256 * 1024 * 1024;
    /// Entries of strangers kept at most; the oldest of the address that has most
    /// make room.
    pub const STRANGERS_ROWS: u64 = 2_000;
    /// Their raw bytes kept at most, likewise.
    pub const STRANGERS_BYTES: u64 = 64 * 1024 * 1024;

    /// Keeps something refused. The same id twice is one entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn quarantine_add(&self, entry: impl Into<Arc<QuarantineNew>>) -> Result<(), StoreError> {
        let entry = entry.into();
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::quarantine::add(batch, &entry)).await,
            Backend::Cassandra(db) => db.quarantine_add(&entry).await,
        }
    }

    /// The newest entries before `before`, without their bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantine_list(&self, before: Option<Timestamp>, limit: usize) -> Result<Vec<QuarantineRow>, StoreError> {
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
