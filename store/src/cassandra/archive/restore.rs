//! The tables of an archive into an empty keyspace.
//!
//! What is set up is written last. Until then a record in the catalog says that an
//! archive is being restored, and whoever opens the provider is told so: the last
//! batch takes that record away and adds the entry of the audit trail, so that all
//! of the archive is there, or none. What a broken or broken off restore has left is
//! removed before the next one begins. A lease keeps two from working at once.
//!
//! Rows carry the least write timestamp there is, or the one that they would have
//! had, so that whatever is written afterwards wins.

mod lease;
mod readings;
mod rows;
mod sums;

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_domain::{GatewayId, TimeWindow, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::lease::Lease;
use self::readings::Day;
use self::sums::Period;
use super::super::catalog::{BATCH_BYTES, BATCH_ROWS, row_bytes};
use super::super::control::{FOR_EVER, KEPT, LIFETIME, SEALED};
use super::super::slicing::Slicing;
use super::super::{Database, Entry, span};
use crate::archive::tables::{Cell, Table};
use crate::archive::{ArchiveSummary, Rows};
use crate::audit::{AuditEvent, AuditHead};
use crate::catalog::archive::{Cells, Heard};
use crate::catalog::{Catalog, Change, Record};
use crate::error::StoreError;

/// The write timestamp of what everything later wins over, µs.
const FIRST: i64 = 1;
/// Writes under way at once.
const AT_ONCE: usize = 64;
/// Tables that hold something beside the catalog.
const TABLES: [&str; 9] = ["reading", "series", "rollup", "mark", "quarantine", "outbox", "audit", "pushed", "session"];

/// Fills an empty keyspace with what is passed on; `summary` says how reading it
/// ended.
pub(crate) async fn restore(
    db: &Database,
    now: Timestamp,
    parts: mpsc::Receiver<Rows>,
    summary: impl Future<Output = Result<ArchiveSummary, StoreError>>,
    event: impl Fn(&ArchiveSummary, AuditHead) -> Result<AuditEvent, StoreError>,
) -> Result<ArchiveSummary, StoreError> {
    let lease = Lease::take(db, now, lease::AGAIN).await?;
    let restored = restore_under(&lease, parts, summary, event).await;
    lease.release().await;
    restored
}

/// The same with the right to do so, which is kept however long the archive takes.
async fn restore_under(
    lease: &Lease,
    mut parts: mpsc::Receiver<Rows>,
    summary: impl Future<Output = Result<ArchiveSummary, StoreError>>,
    event: impl Fn(&ArchiveSummary, AuditHead) -> Result<AuditEvent, StoreError>,
) -> Result<ArchiveSummary, StoreError> {
    lease.during(begin(&lease.db, &lease.holder)).await?;
    let mut restore = Restore::new(lease);
    let taken = lease.during(restore.take_all(&mut parts)).await;
    // Nobody takes the rest: whoever reads it ends.
    drop(parts);
    let read = lease.during(summary).await;
    let restored = match (taken, read) {
        (Ok(()), Ok(summary)) => {
            let after = restore.catalog.trail_head().unwrap_or(AuditHead::NONE);
            match event(&summary, after) {
                Ok(event) => lease.during(restore.finish(event)).await.map(|()| summary),
                Err(error) => Err(error),
            }
        }
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
    };
    if restored.is_err()
        && let Err(error) = lease.during(restore.abandon()).await
    {
        tracing::warn!(%error, "what was restored in vain is removed by the next attempt");
    }
    restored
}

/// Marks an empty provider as one that is being restored; what an earlier attempt
/// has left is removed before.
async fn begin(db: &Database, holder: &str) -> Result<(), StoreError> {
    if db.unfinished_catalog().await?.is_being_restored() {
        discard(db).await?;
    }
    let there = || {
        let problem = "the provider has data already: an archive is restored into an empty one, under another name with --as";
        StoreError::Conflict(problem.to_owned())
    };
    for table in ["SELECT part FROM @.quarantine LIMIT 1", "SELECT part FROM @.outbox LIMIT 1"] {
        if db.row::<(String,)>(table, ()).await?.is_some() {
            return Err(there());
        }
    }
    let mark = Catalog::restoring(holder);
    let decide = move |catalog: &Catalog| {
        if catalog.records().is_empty() { Ok(vec![Change::Put(mark.clone())]) } else { Err(there()) }
    };
    db.restoring_change(None, decide).await?;
    // Roles may have worked on the empty provider.
    db.forget_readings().await
}

/// Removes all that a restore has written; the record that it is under way goes
/// last.
async fn discard(db: &Database) -> Result<(), StoreError> {
    for table in TABLES {
        db.truncate(table).await?;
    }
    db.writing().forget();
    db.forget_readings().await?;
    let catalog = db.unfinished_catalog().await?;
    let (mark, others): (Vec<Record>, Vec<Record>) = catalog.records().into_iter().partition(Catalog::is_restoring);
    for some in chunks(others).into_iter().chain([mark]) {
        let changes: Vec<Change> = some.into_iter().map(Change::Remove).collect();
        db.restoring_change(None, move |_| Ok(changes.clone())).await?;
    }
    Ok(())
}

/// Another process has taken over, or has already ended what this one had begun.
fn taken_over() -> StoreError {
    StoreError::Conflict("another process has begun to restore an archive meanwhile".to_owned())
}

/// Records in groups that one batch takes.
fn chunks(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut chunks: Vec<Vec<Record>> = Vec::new();
    let mut bytes = BATCH_BYTES;
    for record in records {
        let size = row_bytes(&record.to_row());
        match chunks.last_mut().filter(|chunk| bytes + size <= BATCH_BYTES && chunk.len() < BATCH_ROWS) {
            Some(chunk) => chunk.push(record),
            None => {
                chunks.push(vec![record]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    chunks
}

/// What is known of a gateway while its rows come.
#[derive(Debug, Clone, Default)]
struct Known {
    heard: Heard,
    /// Sensor, metric and unit by the archive's number.
    series: HashMap<u32, (String, String, String)>,
    /// Its first and its last reading.
    extent: Option<(Timestamp, Timestamp)>,
    slicing: Slicing,
    /// The last instant of which values came.
    reached: Option<Timestamp>,
}

/// A restore under way.
struct Restore<'a> {
    db: &'a Database,
    now: Timestamp,
    lease: &'a Lease,
    /// What is set up, to be written in the end.
    catalog: Catalog,
    known: HashMap<GatewayId, Arc<Known>>,
    respans: Vec<GatewayId>,
    sealed: Option<i64>,
    writes: JoinSet<Result<(), StoreError>>,
    day: Option<Day>,
    period: Option<Period>,
}

impl<'a> Restore<'a> {
    fn new(lease: &'a Lease) -> Self {
        Self {
            db: &lease.db,
            now: lease.now,
            lease,
            catalog: Catalog::default(),
            known: HashMap::new(),
            respans: Vec::new(),
            sealed: None,
            writes: JoinSet::new(),
            day: None,
            period: None,
        }
    }

    /// Begins a write; waits while many are under way.
    async fn write(&mut self, write: impl Future<Output = Result<(), StoreError>> + Send + 'static) -> Result<(), StoreError> {
        while self.writes.len() >= AT_ONCE
            && let Some(written) = self.writes.join_next().await
        {
            written.map_err(|error| ended(&error))??;
        }
        self.writes.spawn(write);
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        while let Some(written) = self.writes.join_next().await {
            written.map_err(|error| ended(&error))??;
        }
        Ok(())
    }

    async fn take_all(&mut self, parts: &mut mpsc::Receiver<Rows>) -> Result<(), StoreError> {
        while let Some((table, rows)) = parts.recv().await {
            self.take(table, rows).await?;
        }
        Ok(())
    }

    async fn take(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        match table.name {
            "sensors" => return self.sensors(table, rows).await,
            "series" => return self.series(table, rows).await,
            "marks" => return self.marks(table, rows).await,
            _ => {}
        }
        for row in rows {
            match table.name {
                "sealed" => self.sealed = Some(Cells::of(table, row).int()?),
                "gateways" => self.gateway(table, row).await?,
                "records" => self.record(table, row).await?,
                "mails" => self.mail(table, row).await?,
                "quarantine" => self.refused(table, row).await?,
                "audit" => self.entry(&row).await?,
                // Whoever reads the archive has held it against the entries; here the
                // newest one is the head.
                "audit_head" => {}
                "rollups" => self.rollup(table, row).await?,
                "spans" => self.span(table, row).await?,
                "readings" => self.reading(table, row).await?,
                _ => self.set_up(table, row)?,
            }
        }
        Ok(())
    }

    fn known(&self, gateway: &GatewayId, cells: &Cells) -> Result<Arc<Known>, StoreError> {
        self.known.get(gateway).cloned().ok_or_else(|| cells.bad("its gateway is not there"))
    }

    fn known_mut(&mut self, gateway: &GatewayId) -> Option<&mut Known> {
        self.known.get_mut(gateway).map(Arc::make_mut)
    }

    /// Writes what is left and, once all of it is there, what is set up.
    async fn finish(&mut self, event: AuditEvent) -> Result<(), StoreError> {
        self.end_day().await?;
        self.flush_period().await?;
        self.wait().await?;
        self.check().await?;
        self.note_kept().await?;
        for (gateway, known) in &self.known {
            if known.slicing != Slicing::default() {
                let record = known.slicing.record(gateway)?;
                self.catalog.apply(Change::Put(record));
            }
        }
        for gateway in &self.respans {
            let Some((first, last)) = self.known.get(gateway).and_then(|known| known.extent) else { continue };
            let extent = TimeWindow::between(first, last.plus_millis(1));
            span::mark_extent(self.db, gateway, extent, self.now).await?;
        }
        for some in chunks(self.catalog.records()) {
            self.change(None, some.into_iter().map(Change::Put).collect()).await?;
        }
        let done = vec![Change::Remove(Catalog::restoring(&self.lease.holder))];
        self.change(Some(Entry::Always(event)), done).await?;
        self.db.data_changed();
        Ok(())
    }

    /// Notes how long readings live and which windows follow from none of them any
    /// more: of what is marked there, readings may have been left out.
    async fn note_kept(&self) -> Result<(), StoreError> {
        let days = self.catalog.settings.as_ref().and_then(|settings| settings.retention_days).map_or(FOR_EVER, i64::from);
        self.db.set_control(KEPT, days).await?;
        self.db.set_control(LIFETIME, days).await?;
        match self.sealed {
            Some(sealed) => self.db.set_control(SEALED, sealed).await,
            None => Ok(()),
        }
    }

    /// Makes sure that the restore is still this one's.
    async fn check(&self) -> Result<(), StoreError> {
        self.lease.renew().await?;
        let ours = self.db.unfinished_catalog().await?.is_restored_by(&self.lease.holder);
        if ours { Ok(()) } else { Err(taken_over()) }
    }

    /// Changes the catalog while the restore is this one's.
    async fn change(&self, event: Option<Entry>, changes: Vec<Change>) -> Result<(), StoreError> {
        let holder = self.lease.holder.clone();
        let decide =
            move |catalog: &Catalog| if catalog.is_restored_by(&holder) { Ok(changes.clone()) } else { Err(taken_over()) };
        self.db.restoring_change(event, decide).await
    }

    /// Ends what is under way and removes all that was written; what is not this
    /// one's any more, or is whole although its last answer was lost, stays.
    async fn abandon(&mut self) -> Result<(), StoreError> {
        self.writes.shutdown().await;
        self.check().await?;
        discard(self.db).await
    }
}

fn ended(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable(format!("a write ended early: {error}"))
}

#[cfg(test)]
mod tests;
