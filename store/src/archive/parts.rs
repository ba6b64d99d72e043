//! Archives of a backend that is read and written piece by piece: the pieces go
//! between it and a thread that compresses or reads, a few of them at a time.

use std::io::{Read, Write};

use heliograph_domain::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::read::ArchiveReader;
use super::tables::{Cell, Table};
use super::write::ArchiveWriter;
use super::{ArchiveHeader, ArchiveStep, ArchiveSummary, Progress, failed};
use crate::audit::{AuditEvent, AuditHead};
use crate::cassandra;
use crate::cassandra::archive::{ROWS_AT_ONCE, dump, restore};
use crate::error::StoreError;

/// Pieces between both sides.
const WAITING: usize = 8;

/// A piece of an archive.
pub(crate) enum Part {
    /// Rows of this table follow.
    Table(&'static Table),
    /// So many gateways of so many are done in this table.
    Gateways(usize, usize),
    Rows(Vec<Vec<Cell>>),
    /// All of it was there.
    End,
}

/// Rows of a table.
pub(crate) type Rows = (&'static Table, Vec<Vec<Cell>>);

/// Writes an archive of a keyspace.
pub(super) async fn create(
    db: &cassandra::Database,
    now: Timestamp,
    out: impl Write + Send + 'static,
    header: ArchiveHeader,
    progress: Progress,
) -> Result<ArchiveSummary, StoreError> {
    let (sender, parts) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || write(out, header, progress, parts));
    let dumped = dump::dump(db, now, &sender).await;
    drop(sender);
    let written = writing.await.map_err(|error| failed("write", &error))?;
    match (dumped, written) {
        (Ok(()), Ok(Some(summary))) => Ok(summary),
        (Ok(()), Ok(None)) => Err(StoreError::Archive("its writing was broken off".to_owned())),
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// Writes pieces until the last one; `None` where that does not come.
fn write(
    out: impl Write + Send + 'static,
    header: ArchiveHeader,
    progress: Progress,
    mut parts: mpsc::Receiver<Part>,
) -> Result<Option<ArchiveSummary>, StoreError> {
    let mut writer = ArchiveWriter::new(out, header, progress)?;
    let mut open = None;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Table(table) => {
                writer.begin(table)?;
                open = Some(table);
            }
            Part::Gateways(done, all) => writer.gateways(done, all),
            Part::Rows(rows) => {
                for (table, row) in open.iter().flat_map(|table| rows.iter().map(move |row| (table, row))) {
                    writer.row(table, row)?;
                }
            }
            Part::End => return writer.finish().map(Some),
        }
    }
    Ok(None)
}

/// Fills an empty keyspace from an archive.
pub(super) async fn restore(
    db: &cassandra::Database,
    now: Timestamp,
    archive: impl Read + Send + 'static,
    progress: Progress,
    event: impl Fn(&ArchiveSummary, AuditHead) -> Result<AuditEvent, StoreError>,
) -> Result<ArchiveSummary, StoreError> {
    let (sender, parts) = mpsc::channel(WAITING);
    let (done, read) = oneshot::channel();
    tokio::task::spawn_blocking(move || drop(done.send(self::read(archive, progress, &sender))));
    let summary = async { read.await.unwrap_or_else(|error| Err(failed("read", &error))) };
    restore::restore(db, now, parts, summary, event).await
}

/// Reads an archive to its end, passing its rows on.
fn read(archive: impl Read, mut progress: Progress, parts: &mpsc::Sender<Rows>) -> Result<ArchiveSummary, StoreError> {
    let mut reader = ArchiveReader::open(archive)?;
    let mut waiting: Option<Rows> = None;
    let send = |rows: Option<Rows>| match rows {
        Some(rows) => parts.blocking_send(rows).map_err(|_| StoreError::Archive("its reading was broken off".to_owned())),
        None => Ok(()),
    };
    reader.rows(|table, number, cells| {
        progress(ArchiveStep::rows(table, number));
        match &mut waiting {
            Some((open, rows)) if open.name == table.name && rows.len() < ROWS_AT_ONCE => rows.push(cells),
            _ => send(waiting.replace((table, vec![cells])))?,
        }
        Ok(())
    })?;
    send(waiting)?;
    reader.finish()
}
