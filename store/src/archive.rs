//! Archives: one file with everything that a provider has, to be kept, moved to
//! another name, or to another backend.
//!
//! An archive is a tar file (POSIX ustar) of members compressed with Zstandard,
//! each of newline-separated JSON; docs/operations.md describes it. What stands in
//! it are the tables of `tables.rs`, which name things by their ids and belong to
//! no backend. Sessions, one-time links and leases are left out.

mod parts;
pub(crate) mod read;
pub(crate) mod tables;
mod tar;
pub(crate) mod trail;
pub(crate) mod write;

use std::io::{Read, Write};

use heliograph_domain::{ProviderId, Timestamp};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::audit::{AuditHead, AuditVerdict, RESTORE, note_restored};
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};
pub(crate) use parts::{Part, Rows};
use read::ArchiveReader;
use tables::Table;
use write::ArchiveWriter;

/// The version of the format, which rises when an older release could not read it.
const VERSION: u32 = 1;
const FORMAT: &str = "heliograph archive";

/// What an archive says of itself, in its first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// Always `heliograph archive`.
    format: String,
    /// The version of the format.
    version: u32,
    /// Whose data it is.
    pub provider: ProviderId,
    /// When the snapshot was taken, in milliseconds since 1970.
    pub created: Timestamp,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveMember {
    /// Its path, which begins with its table.
    pub name: String,
    /// Its compressed bytes.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Rows in it.
    pub rows: u64,
}

/// What is in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// What it says of itself.
    pub header: ArchiveHeader,
    /// Its members, in their order.
    pub members: Vec<ArchiveMember>,
    /// What its audit trail looks like; where an archive was created, the store's own
    /// if that of the archive does not show what is wrong with it.
    pub audit: AuditVerdict,
}

/// What a restore does with an archive whose audit trail is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPolicy {
    /// Refuses it.
    Sound,
    /// Restores it with its trail as it is; the entry of the restore says for ever
    /// after what was wrong with it.
    DespiteFault,
}

impl AuditPolicy {
    /// Refuses what it does not take; else the fault, in words, if there is one.
    pub(crate) fn judge(self, verdict: &AuditVerdict) -> Result<Option<String>, StoreError> {
        match (self, verdict.problem()) {
            (Self::Sound, Some(problem)) => {
                Err(StoreError::Archive(format!("its audit trail is not as it was written: {problem}")))
            }
            (_, problem) => Ok(problem),
        }
    }
}

impl ArchiveSummary {
    /// Rows of a table.
    #[must_use]
    pub fn rows(&self, table: &str) -> u64 {
        let of_table = |member: &&ArchiveMember| member.name.split('/').next() == Some(table);
        self.members.iter().filter(of_table).map(|member| member.rows).sum()
    }

    /// Compressed bytes of all members.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }

    /// The tables in it, in their order.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> {
        tables::ALL.iter().map(|table| table.name)
    }
}

/// How far the work on an archive has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveStep {
    /// The table under way.
    pub table: &'static str,
    /// How many of its rows are done.
    pub rows: u64,
    /// While a table is written gateway by gateway: how many of them are done, and
    /// how many there are.
    pub gateways: Option<(usize, usize)>,
}

impl ArchiveStep {
    const fn rows(table: &Table, rows: u64) -> Self {
        Self { table: table.name, rows, gateways: None }
    }
}

/// Is told now and then how far it is.
pub type Progress = Box<dyn FnMut(ArchiveStep) + Send>;

pub(crate) fn failed(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Archive(format!("{what}: {error}"))
}

/// Reads an archive to its end and checks all of it: that it is whole, and that
/// every byte is as it was written.
///
/// # Errors
/// [`StoreError::Archive`] where it is cut, changed, of a later format or not an
/// archive at all.
pub fn archive_verify(archive: impl Read, mut progress: Progress) -> Result<ArchiveSummary, StoreError> {
    let mut reader = ArchiveReader::open(archive)?;
    reader.rows(|table, rows, _| {
        progress(ArchiveStep::rows(table, rows));
        Ok(())
    })?;
    reader.finish()
}

impl ProviderStore {
    /// Writes everything that the provider has, while others go on writing. Of a
    /// file that is as of one instant. Of a cluster it is what was written before,
    /// and of what is pushed meanwhile some; figures follow from the readings that
    /// are in it.
    ///
    /// # Errors
    /// When the store cannot be read or the archive cannot be written.
    pub async fn archive_create(
        &self,
        out: impl Write + Send + 'static,
        progress: Progress,
    ) -> Result<ArchiveSummary, StoreError> {
        let header = ArchiveHeader {
            format: FORMAT.to_owned(),
            version: VERSION,
            provider: self.provider().clone(),
            created: self.clock.now(),
        };
        let found = self.audit_verify(None).await?;
        let problem = found.problem();
        let event = self.event("archive.create", "archive", problem.map_or_else(|| json!({}), |it| json!({ "audit_fault": it })));
        let mut summary = match &self.backend {
            Backend::Cassandra(db) => {
                db.audit(event).await?;
                Box::pin(parts::create(db, self.clock.now(), out, header, progress)).await?
            }
            Backend::Sqlite(db) => {
                db.change(event, |_| Ok(())).await?;
                let dump = move |connection: &Connection| {
                    let mut writer = ArchiveWriter::new(out, header, progress)?;
                    sqlite::archive::dump(connection, &mut writer)?;
                    writer.finish()
                };
                db.read(dump).await?
            }
        };
        if summary.audit.fault.is_none() && found.fault.is_some() {
            summary.audit = found;
        }
        Ok(summary)
    }

    /// Fills an empty store with what an archive holds, all of it or nothing. The
    /// archive should have passed [`archive_verify`]; what was changed since is
    /// found here too.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the provider has data; [`StoreError::Archive`]
    /// where the archive is broken, or its audit trail is not as `policy` asks.
    pub async fn archive_restore(
        &self,
        archive: impl Read + Send + 'static,
        policy: AuditPolicy,
        mut progress: Progress,
    ) -> Result<ArchiveSummary, StoreError> {
        let store = self.clone();
        let event = move |summary: &ArchiveSummary, after: AuditHead| {
            let mut detail = json!({ "provider": summary.header.provider, "created": summary.header.created.to_string() });
            if let Some(problem) = policy.judge(&summary.audit)? {
                note_restored(&mut detail, &problem, after);
            }
            Ok(store.event(RESTORE, "archive", detail))
        };
        let db = match &self.backend {
            Backend::Sqlite(db) => db,
            Backend::Cassandra(db) => {
                return Box::pin(parts::restore(db, self.clock.now(), archive, progress, event)).await;
            }
        };
        db.write(move |batch| {
            sqlite::archive::require_empty(batch.connection)?;
            let mut reader = ArchiveReader::open(archive)?;
            reader.rows(|table, rows, cells| {
                progress(ArchiveStep::rows(table, rows));
                sqlite::archive::insert(batch.connection, table, &cells)
            })?;
            let summary = reader.finish()?;
            sqlite::archive::complete(batch)?;
            let after = sqlite::audit::last(batch.connection)?;
            sqlite::audit::append(batch, event(&summary, after)?)?;
            Ok(summary)
        })
        .await
    }
}
