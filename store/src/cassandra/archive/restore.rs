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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_domain::{
    EmailAddress, GatewayId, OutboxId, QuarantineId, RefusalCode, Rollup, RollupFlags, SpanStep, TimeWindow, Timestamp,
};
use scylla::value::CqlTimestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::catalog::{BATCH_BYTES, BATCH_ROWS, row_bytes};
use super::super::document::{self, TimedRow, ttl_seconds};
use super::super::rollup::{self, NewRow, QUARTER};
use super::super::series::{extent_timestamps, latest_timestamp};
use super::super::slicing::{DAY_MS, ROWS, Slicing, day_of};
use super::super::{Database, Entry, mark, pulse, span};
use crate::archive::tables::{Cell, Table};
use crate::archive::{ArchiveSummary, Rows};
use crate::audit::{AuditEvent, AuditHash, AuditHead, AuditRow, AuditWalk};
use crate::catalog::archive::{Cells, Heard, RESPAN, read_heard};
use crate::catalog::{Catalog, Change, Record};
use crate::error::StoreError;
use crate::outbox::{OutboxKey, OutboxMail, OutboxRow, OutboxState};
use crate::quarantine::QuarantineNew;
use crate::retention::CONTEXT_MS;
use crate::stamp::WriteStamp;

/// The write timestamp of what everything later wins over, µs.
const FIRST: i64 = 1;
/// Writes under way at once.
const AT_ONCE: usize = 64;
/// Values of a day that are held back until it is known how fine it is to be cut.
const DAY_VALUES: usize = ROWS as usize / 2;
/// Values written by one task.
const TASK_VALUES: usize = 2_000;
/// Rows of one batch.
const BATCH: usize = 100;
/// How long another process waits for one that was killed.
const LEASE: Duration = Duration::from_mins(2);
const LEASE_AGAIN: Duration = Duration::from_secs(30);
const LEASE_NAME: &str = "restore";
/// Tables that hold something beside the catalog.
const TABLES: [&str; 9] = ["reading", "series", "rollup", "mark", "quarantine", "outbox", "audit", "pushed", "session"];

/// Fills an empty keyspace with what is passed on; `summary` says how reading it
/// ended.
pub(crate) async fn restore(
    db: &Database,
    now: Timestamp,
    mut parts: mpsc::Receiver<Rows>,
    summary: impl Future<Output = Result<ArchiveSummary, StoreError>>,
    event: impl Fn(&ArchiveSummary) -> AuditEvent,
) -> Result<ArchiveSummary, StoreError> {
    let lease = Lease::take(db, now).await?;
    if let Err(error) = begin(db).await {
        lease.release().await;
        return Err(error);
    }
    let mut restore = Restore::new(db, now, lease);
    let mut taken = Ok(());
    while taken.is_ok()
        && let Some((table, rows)) = parts.recv().await
    {
        taken = restore.take(table, rows).await;
    }
    // Nobody takes the rest: whoever reads it ends.
    drop(parts);
    let read = summary.await;
    let restored = match (taken, read) {
        (Ok(()), Ok(summary)) => restore.finish(event(&summary)).await.map(|()| summary),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
    };
    if restored.is_err()
        && let Err(error) = restore.abandon().await
    {
        tracing::warn!(%error, "what was restored in vain is removed by the next attempt");
    }
    restore.lease.release().await;
    restored
}

/// Marks an empty provider as one that is being restored; what an earlier attempt
/// has left is removed before.
async fn begin(db: &Database) -> Result<(), StoreError> {
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
    let decide = move |catalog: &Catalog| {
        if catalog.records().is_empty() { Ok(vec![Change::Put(Catalog::restoring())]) } else { Err(there()) }
    };
    db.restoring_change(None, decide).await
}

/// Removes all that a restore has written; the record that it is under way goes
/// last.
async fn discard(db: &Database) -> Result<(), StoreError> {
    for table in TABLES {
        db.truncate(table).await?;
    }
    db.writing().forget();
    let catalog = db.unfinished_catalog().await?;
    let (mark, others): (Vec<Record>, Vec<Record>) =
        catalog.records().into_iter().partition(|record| matches!(record, Record::Body { kind, .. } if is_mark(kind)));
    for some in chunks(others) {
        change(db, some.into_iter().map(Change::Remove).collect()).await?;
    }
    change(db, mark.into_iter().map(Change::Remove).collect()).await
}

fn is_mark(kind: &str) -> bool {
    matches!(Catalog::restoring(), Record::Body { kind: mark, .. } if mark == kind)
}

async fn change(db: &Database, changes: Vec<Change>) -> Result<(), StoreError> {
    db.restoring_change(None, move |_| Ok(changes.clone())).await
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

/// The right to restore, kept while the work goes on.
struct Lease {
    db: Database,
    holder: String,
    now: Timestamp,
    begun: Instant,
    renewed: Instant,
}

impl Lease {
    async fn take(db: &Database, now: Timestamp) -> Result<Self, StoreError> {
        let holder = Uuid::new_v4().to_string();
        let mut lease = Self { db: db.clone(), holder, now, begun: Instant::now(), renewed: Instant::now() };
        lease.renew().await?;
        Ok(lease)
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        self.renewed = Instant::now();
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self.now.plus_millis(passed);
        let until = now.plus_millis(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX));
        if self.db.lease_take(LEASE_NAME, &self.holder, now, until).await? {
            return Ok(());
        }
        Err(StoreError::Conflict("another process is restoring an archive, or was killed at it within two minutes".to_owned()))
    }

    async fn keep(&mut self) -> Result<(), StoreError> {
        if self.renewed.elapsed() < LEASE_AGAIN { Ok(()) } else { self.renew().await }
    }

    async fn release(&self) {
        // It ends by itself.
        drop(self.db.lease_release(LEASE_NAME, &self.holder).await);
    }
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

/// Values of one gateway and UTC day, in the order of time.
#[derive(Debug)]
struct Day {
    gateway: GatewayId,
    day: i64,
    values: Vec<(Timestamp, u32, f64)>,
    /// Whether it is known how fine the day is to be cut.
    cut: bool,
}

/// Rollups of one partition.
struct Period {
    gateway: GatewayId,
    step: &'static str,
    period: String,
    rows: Vec<(u32, Timestamp, Rollup, Option<String>)>,
}

/// A restore under way.
struct Restore<'a> {
    db: &'a Database,
    now: Timestamp,
    lease: Lease,
    /// What is set up, to be written in the end.
    catalog: Catalog,
    known: HashMap<GatewayId, Arc<Known>>,
    respans: Vec<GatewayId>,
    sealed: Option<i64>,
    walk: Option<AuditWalk>,
    head: Option<AuditHead>,
    writes: JoinSet<Result<(), StoreError>>,
    day: Option<Day>,
    period: Option<Period>,
}

impl<'a> Restore<'a> {
    fn new(db: &'a Database, now: Timestamp, lease: Lease) -> Self {
        Self {
            db,
            now,
            lease,
            catalog: Catalog::default(),
            known: HashMap::new(),
            respans: Vec::new(),
            sealed: None,
            walk: Some(AuditWalk::new(None)),
            head: None,
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
            written.map_err(ended)??;
        }
        self.writes.spawn(write);
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        while let Some(written) = self.writes.join_next().await {
            written.map_err(ended)??;
        }
        Ok(())
    }

    async fn take(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        self.lease.keep().await?;
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
                "records" => self.record(table, row)?,
                "mails" => self.mail(table, row).await?,
                "quarantine" => self.refused(table, row).await?,
                "audit" => self.entry(table, row).await?,
                "audit_head" => self.head = Some(Cells::of(table, row).parse(AuditHead::parse)?),
                "rollups" => self.rollup(table, row).await?,
                "spans" => self.span(table, row).await?,
                "readings" => self.reading(table, row).await?,
                _ => self.set_up(table, row)?,
            }
        }
        Ok(())
    }

    fn set_up(&mut self, table: &Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let record = self.catalog.unarchived(table, row)?;
        self.catalog.apply(Change::Put(record));
        Ok(())
    }

    fn record(&mut self, table: &Table, row: Vec<Cell>) -> Result<(), StoreError> {
        if row.first() != Some(&Cell::Text(RESPAN.to_owned())) {
            return self.set_up(table, row);
        }
        let mut cells = Cells::of(table, row);
        cells.text()?;
        self.respans.push(self.catalog.read_known_gateway(&mut cells)?);
        Ok(())
    }

    async fn gateway(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let heard = read_heard(table, &row)?;
        let id = Cells::of(table, row.clone()).parse(GatewayId::parse)?;
        self.set_up(table, row)?;
        let (db, gateway, of) = (self.db.clone(), id.clone(), heard.clone());
        self.known.insert(id, Arc::new(Known { heard, ..Known::default() }));
        self.write(async move {
            if let Some(seen) = of.seen {
                db.gateway_heard(&gateway, &of.address, seen).await?;
            }
            if of.documents > 0 { pulse::count(&db, &gateway, of.documents).await } else { Ok(()) }
        })
        .await
    }

    fn known(&self, gateway: &GatewayId, cells: &Cells) -> Result<Arc<Known>, StoreError> {
        self.known.get(gateway).cloned().ok_or_else(|| cells.bad("its gateway is not there"))
    }

    fn known_mut(&mut self, gateway: &GatewayId) -> Option<&mut Known> {
        self.known.get_mut(gateway).map(Arc::make_mut)
    }

    async fn sensors(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        let insert = "INSERT INTO @.series (gateway, sensor, metric, unit, label, role, role_chosen, rated_w)
            VALUES (?, ?, '', '', ?, ?, ?, ?)";
        for row in rows {
            let mut cells = Cells::of(table, row);
            let gateway = self.catalog.read_known_gateway(&mut cells)?;
            let (sensor, label, role) = (cells.text()?, cells.text_or_none()?, cells.text()?);
            let (chosen, rated_w) = (cells.flag()?, cells.real_or_none()?);
            let db = self.db.clone();
            let values = (gateway.as_str().to_owned(), sensor, label, role, chosen, rated_w);
            self.write(async move { db.execute_at(insert, values, FIRST).await.map(drop) }).await?;
        }
        Ok(())
    }

    async fn series(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        for row in rows {
            let mut cells = Cells::of(table, row);
            let gateway = self.catalog.read_known_gateway(&mut cells)?;
            let number: u32 = cells.small()?;
            let name = (cells.text()?, cells.text()?, cells.text()?);
            let meaning = (cells.text()?, cells.text()?, cells.flag()?);
            let extent = cells.time_or_none()?.zip(cells.time_or_none()?);
            let latest = cells.time_or_none()?.zip(cells.real_or_none()?);
            let stamp = self.known(&gateway, &cells)?.heard.stamp;
            if let Some(known) = self.known_mut(&gateway) {
                known.series.insert(number, name.clone());
                let both = known.extent.into_iter().chain(extent);
                known.extent = both.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            }
            let db = self.db.clone();
            self.write(async move { write_series(&db, &gateway, &name, meaning, extent, latest, stamp).await }).await?;
        }
        Ok(())
    }

    async fn marks(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        let mut marks: BTreeMap<GatewayId, Vec<Timestamp>> = BTreeMap::new();
        for row in rows {
            let mut cells = Cells::of(table, row);
            let gateway = self.catalog.read_known_gateway(&mut cells)?;
            marks.entry(gateway).or_default().push(cells.time()?);
        }
        let now = self.now;
        for (gateway, windows) in marks {
            let db = self.db.clone();
            self.write(async move { mark::set(&db, &gateway, windows.into_iter(), now).await }).await?;
        }
        Ok(())
    }

    async fn mail(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let id = cells.parse(OutboxId::parse)?;
        let key = OutboxKey { report: cells.text()?, period: cells.text()?, recipient: cells.parse(EmailAddress::parse)? };
        let (subject, message_id, message) = (cells.text()?, cells.text()?, cells.bytes()?);
        let (created, state, attempts) = (cells.time()?, cells.parse(OutboxState::parse)?, cells.small()?);
        let (due, outcome, sent) = (cells.time()?, cells.text()?, cells.time_or_none()?);
        let row = OutboxRow { id, key, subject, message_id, state, attempts, created, due, outcome, sent };
        let db = self.db.clone();
        self.write(async move { db.outbox_restore(OutboxMail { row, message }).await }).await
    }

    async fn refused(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let entry = QuarantineNew {
            id: cells.parse(QuarantineId::parse)?,
            received: cells.time()?,
            gateway: cells.text_or_none()?,
            address: cells.text()?,
            code: cells.parse(RefusalCode::parse)?,
            reason: cells.text()?,
            raw: cells.bytes()?,
            trusted: cells.flag()?,
        };
        // One after the other: each may be large.
        self.db.quarantine_add(&entry).await
    }

    async fn entry(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let (seq, at, actor, action) = (cells.small()?, cells.time()?, cells.text()?, cells.text()?);
        let (object, detail, hash) = (cells.text()?, cells.text()?, AuditHash(cells.digest()?));
        let entry = AuditRow { seq, at, actor, action, object, detail, hash };
        if let Some(walk) = &mut self.walk {
            walk.step(&entry).map_err(broken_trail)?;
        }
        if let Some(opening) = self.catalog.trail_month(&entry) {
            self.catalog.apply(opening);
        }
        // The catalog keeps the newest.
        self.catalog.trail.clear();
        self.catalog.apply(Change::Put(Record::Trail(entry.clone())));
        let month = self.catalog.trail_months.keys().next_back().cloned().unwrap_or_default();
        let db = self.db.clone();
        self.write(async move { db.trail_put(&month, &entry).await }).await
    }

    async fn rollup(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let gateway = self.catalog.read_known_gateway(&mut cells)?;
        let (number, start) = (cells.small()?, cells.time()?);
        let row = (number, start, read_rollup(&mut cells)?, None);
        self.sum(&cells, gateway, QUARTER, rollup::period(day_of(start)), row).await
    }

    async fn span(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let gateway = self.catalog.read_known_gateway(&mut cells)?;
        let (number, step, start) = (cells.small()?, cells.parse(SpanStep::parse)?, cells.time()?);
        // Where it ends follows from the calendar.
        cells.time()?;
        let zone = cells.text()?;
        let row = (number, start, read_rollup(&mut cells)?, Some(zone));
        self.sum(&cells, gateway, step.as_str(), span::period(step, start), row).await
    }

    /// Takes a row of the table of rollups; those of one partition are written
    /// together.
    async fn sum(
        &mut self,
        cells: &Cells,
        gateway: GatewayId,
        step: &'static str,
        period: String,
        row: (u32, Timestamp, Rollup, Option<String>),
    ) -> Result<(), StoreError> {
        if !self.known(&gateway, cells)?.series.contains_key(&row.0) {
            return Err(cells.bad("its series is not there"));
        }
        let same = |open: &Period| open.gateway == gateway && open.step == step && open.period == period;
        if self.period.as_ref().is_none_or(|open| !same(open) || open.rows.len() >= BATCH) {
            self.flush_period().await?;
        }
        let open = self.period.get_or_insert_with(|| Period { gateway, step, period, rows: Vec::new() });
        open.rows.push(row);
        Ok(())
    }

    async fn flush_period(&mut self) -> Result<(), StoreError> {
        let Some(Period { gateway, step, period, rows }) = self.period.take() else { return Ok(()) };
        let Some(known) = self.known.get(&gateway).cloned() else { return Ok(()) };
        let db = self.db.clone();
        self.write(async move {
            let place = (gateway.as_str(), step, period.as_str());
            let rows = rows.iter().filter_map(|(number, start, rollup, zone)| {
                let (sensor, metric, unit) = known.series.get(number)?;
                Some(NewRow::new(place, (sensor, metric, unit), *start, rollup, zone.as_deref()))
            });
            rollup::put(&db, &rows.collect::<Vec<_>>(), FIRST).await
        })
        .await
    }

    async fn reading(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let gateway = self.catalog.read_known_gateway(&mut cells)?;
        let (at, values) = (cells.time()?, cells.values()?);
        let day = day_of(at);
        if self.day.as_ref().is_none_or(|open| open.gateway != gateway || open.day != day) {
            self.end_day().await?;
            self.day = Some(Day { gateway: gateway.clone(), day, values: Vec::new(), cut: false });
        }
        let known = self.known_mut(&gateway).ok_or_else(|| cells.bad("its gateway is not there"))?;
        if known.reached.is_some_and(|reached| reached >= at) {
            return Err(cells.bad("it is not in the order of time"));
        }
        known.reached = Some(at);
        if values.iter().any(|(number, _)| !known.series.contains_key(number)) {
            return Err(cells.bad("a series of it is not there"));
        }
        let Some(open) = &mut self.day else { return Ok(()) };
        open.values.extend(values.into_iter().map(|(number, value)| (at, number, value)));
        let enough = if open.cut { TASK_VALUES } else { DAY_VALUES };
        if open.values.len() >= enough { self.cut_day().await } else { Ok(()) }
    }

    /// Decides how fine the day is to be cut by what of it is here, if that is not
    /// decided yet, and writes that.
    async fn cut_day(&mut self) -> Result<(), StoreError> {
        let Some(open) = &mut self.day else { return Ok(()) };
        if !std::mem::replace(&mut open.cut, true)
            && let Some((last, ..)) = open.values.last()
        {
            let passed = (last.as_millis() - open.day * DAY_MS).max(1);
            let expected = open.values.len() as f64 * DAY_MS as f64 / passed as f64;
            let (gateway, day) = (open.gateway.clone(), open.day);
            if let Some(known) = self.known_mut(&gateway)
                && let Some(finer) = known.slicing.refined_for(day, expected as u64)
            {
                known.slicing = finer;
            }
        }
        self.write_day().await
    }

    /// Writes what is there of the open day.
    async fn write_day(&mut self) -> Result<(), StoreError> {
        let Some(open) = &mut self.day else { return Ok(()) };
        let (gateway, values) = (open.gateway.clone(), std::mem::take(&mut open.values));
        let Some(known) = self.known.get(&gateway).cloned() else { return Ok(()) };
        let lifetime = self.catalog.settings.as_ref().and_then(|settings| settings.time_policy().max_age_ms);
        let lifetime = lifetime.map(|retention| retention + CONTEXT_MS);
        for some in values.chunks(TASK_VALUES) {
            let (db, gateway, known, some, now) = (self.db.clone(), gateway.clone(), Arc::clone(&known), some.to_vec(), self.now);
            self.write(async move { write_values(&db, &gateway, &known, &some, lifetime, now).await }).await?;
        }
        Ok(())
    }

    async fn end_day(&mut self) -> Result<(), StoreError> {
        self.write_day().await?;
        self.day = None;
        Ok(())
    }

    /// Writes what is left and, once all of it is there, what is set up.
    async fn finish(&mut self, event: AuditEvent) -> Result<(), StoreError> {
        self.end_day().await?;
        self.flush_period().await?;
        self.wait().await?;
        if let Some(fault) = self.walk.take().and_then(|walk| walk.end(Ok(()), self.head).fault) {
            return Err(broken_trail(fault));
        }
        if let Some(sealed) = self.sealed {
            self.db.set_control("sealed", sealed).await?;
        }
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
        self.lease.renew().await?;
        for some in chunks(self.catalog.records()) {
            change(self.db, some.into_iter().map(Change::Put).collect()).await?;
        }
        self.lease.renew().await?;
        let done = |_: &Catalog| Ok(vec![Change::Remove(Catalog::restoring())]);
        self.db.restoring_change(Some(Entry::Always(event)), done).await?;
        self.db.data_changed();
        Ok(())
    }

    /// Ends what is under way and removes all that was written.
    async fn abandon(&mut self) -> Result<(), StoreError> {
        self.writes.shutdown().await;
        discard(self.db).await
    }
}

fn read_rollup(cells: &mut Cells) -> Result<Rollup, StoreError> {
    Ok(Rollup {
        count: cells.small()?,
        min: cells.real()?,
        max: cells.real()?,
        first: cells.real()?,
        last: cells.real()?,
        covered_ms: cells.small()?,
        positive: cells.real()?,
        negative: cells.real()?,
        increase: cells.real()?,
        flags: RollupFlags::from_bits(cells.small()?),
    })
}

fn ended(error: tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable(format!("a write ended early: {error}"))
}

fn broken_trail(fault: crate::audit::AuditFault) -> StoreError {
    StoreError::Archive(format!("its audit trail is not as it was written: {fault}"))
}

async fn write_values(
    db: &Database,
    gateway: &GatewayId,
    known: &Known,
    values: &[(Timestamp, u32, f64)],
    lifetime: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |(at, number, value): &(Timestamp, u32, f64)| -> Option<TimedRow<'_>> {
        let (ttl, (sensor, metric, unit)) = (ttl_seconds(lifetime, *at, now)?, known.series.get(number)?);
        let partition = known.slicing.partition(*at);
        let time = CqlTimestamp(at.as_millis());
        Some((*at, (gateway.as_str(), partition.date(), partition.bucket, time, sensor, metric, unit, *value, ttl)))
    };
    let rows: Vec<TimedRow<'_>> = values.iter().filter_map(row).collect();
    document::write_rows(db, &rows, WriteStamp::of_micros(known.heard.stamp)).await
}

async fn write_series(
    db: &Database,
    gateway: &GatewayId,
    (sensor, metric, unit): &(String, String, String),
    (kind, quantity, chosen): (String, String, bool),
    extent: Option<(Timestamp, Timestamp)>,
    latest: Option<(Timestamp, f64)>,
    stamp: i64,
) -> Result<(), StoreError> {
    let id = gateway.as_str();
    let insert = "INSERT INTO @.series (gateway, sensor, metric, unit, kind, quantity, chosen) VALUES (?, ?, ?, ?, ?, ?, ?)";
    db.execute_at(insert, (id, sensor, metric, unit, kind, quantity, chosen), FIRST).await?;
    if let Some((first, last)) = extent {
        let (least, greatest) = extent_timestamps(first, last);
        let set = "UPDATE @.series SET first = ? WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?";
        db.execute_at(set, (CqlTimestamp(first.as_millis()), id, sensor, metric, unit), least).await?;
        let set = "UPDATE @.series SET last = ? WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?";
        db.execute_at(set, (CqlTimestamp(last.as_millis()), id, sensor, metric, unit), greatest).await?;
    }
    if let Some((at, value)) = latest {
        let set = "UPDATE @.series SET latest_time = ?, latest_value = ?
            WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?";
        let values = (CqlTimestamp(at.as_millis()), value, id, sensor, metric, unit);
        db.execute_at(set, values, latest_timestamp(at, WriteStamp::of_micros(stamp))).await?;
    }
    Ok(())
}
