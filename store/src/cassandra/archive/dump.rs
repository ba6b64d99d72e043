//! A keyspace as the tables of an archive, while others write into it.
//!
//! What is set up is of one instant, the catalog's version. The rest is read one
//! after the other, so that what is pushed meanwhile may be in the archive in part.
//! What has to hold is that figures follow from the readings that are in it:
//!
//! 1. Readings are read first, then marks, then rollups, then marks again.
//! 2. Of a reading that is in the archive its mark was set before it. Either the
//!    mark is in the archive too, or it was cleared before marks were read, and the
//!    rollups that it led to were written before that.
//! 3. A rollup that was written after the dump began may follow from a reading that
//!    is not in the archive: its window is marked.
//! 4. Local days and months are left out; all gateways are to be summed up anew.
//!
//! Where somebody corrects readings or chooses another kind meanwhile, the archive
//! is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, QuarantineId, TimeWindow, Timestamp};
use scylla::value::CqlTimestamp;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::rollup::{QUARTER, StoredRow};
use super::super::slicing::day_of;
use super::super::{Database, mark, pulse, reading, rollup, series, span};
use super::{ROWS_AT_ONCE, Registered, SeriesRow};
use crate::archive::Part;
use crate::archive::tables::{Cell, Table, to_hex};
use crate::archive::trail;
use crate::audit::AuditRow;
use crate::catalog::Catalog;
use crate::catalog::archive::{self as cells, flag, or_null, text, time};
use crate::credential::{CREDENTIAL_USE, Use};
use crate::error::StoreError;
use crate::quarantine::PRESENTED;
use crate::rollup::gather::{Order, Walk};

/// By how much the clocks of nodes may differ, µs.
const CLOCKS_DIFFER: i64 = 15_000_000;
/// Partitions whose first page is on its way.
const PARTITIONS_AT_ONCE: usize = 8;
/// Mails looked up at once.
const MAILS_AT_ONCE: usize = 8;
/// Entries of the trail read at once.
const ENTRIES_AT_ONCE: usize = 1_000;

/// A dump under way.
struct Dump<'a> {
    db: &'a Database,
    parts: &'a mpsc::Sender<Part>,
    now: Timestamp,
    /// The cluster's time when it began, µs.
    began: i64,
    catalog: Arc<Catalog>,
    registered: BTreeMap<GatewayId, Registered>,
    /// Windows that are to be rolled up anew.
    marks: BTreeSet<(GatewayId, Timestamp)>,
    rows: Vec<Vec<Cell>>,
}

/// Gives everything of a provider to whoever writes the archive.
pub(crate) async fn dump(db: &Database, now: Timestamp, parts: &mpsc::Sender<Part>) -> Result<(), StoreError> {
    pulse::flush(db).await?;
    let (began, catalog) = (span::time(db).await?, db.catalog().await?);
    let mut registered = BTreeMap::new();
    for gateway in catalog.gateways.keys() {
        registered.insert(gateway.clone(), Registered::of(db, gateway).await?);
    }
    let (marks, rows) = (BTreeSet::new(), Vec::new());
    let mut dump = Dump { db, parts, now, began, catalog, registered, marks, rows };
    for table in ["settings", "locations"] {
        dump.set_up(table).await?;
    }
    dump.gateways().await?;
    for table in ["placements", "credentials"] {
        dump.set_up(table).await?;
    }
    dump.sensors().await?;
    dump.series().await?;
    for table in ["customers", "commissions", "users"] {
        dump.set_up(table).await?;
    }
    dump.records().await?;
    dump.mails().await?;
    dump.quarantine().await?;
    dump.trail().await?;
    dump.readings().await?;
    dump.read_marks().await?;
    dump.rollups().await?;
    dump.read_marks().await?;
    dump.write_marks().await?;
    dump.begin("spans").await?;
    dump.check_rules().await?;
    dump.send(Part::End).await
}

impl Dump<'_> {
    async fn send(&mut self, part: Part) -> Result<(), StoreError> {
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            self.parts.send(Part::Rows(rows)).await.map_err(|_| gone())?;
        }
        self.parts.send(part).await.map_err(|_| gone())
    }

    async fn begin(&mut self, table: &'static str) -> Result<(), StoreError> {
        let table = Table::find(table).ok_or_else(gone)?;
        self.send(Part::Table(table)).await
    }

    async fn row(&mut self, row: Vec<Cell>) -> Result<(), StoreError> {
        self.rows.push(row);
        if self.rows.len() < ROWS_AT_ONCE {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.parts.send(Part::Rows(rows)).await.map_err(|_| gone())
    }

    async fn rows(&mut self, table: &'static str, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        self.begin(table).await?;
        for row in rows {
            self.row(row).await?;
        }
        Ok(())
    }

    async fn set_up(&mut self, table: &'static str) -> Result<(), StoreError> {
        let rows = self.catalog.archived(table).unwrap_or_default();
        self.rows(table, rows).await
    }

    async fn gateways(&mut self) -> Result<(), StoreError> {
        let mut heard = self.db.gateway_list().await?;
        heard.retain(|gateway| self.catalog.gateways.contains_key(&gateway.id));
        for gateway in &mut heard {
            // Where a process was killed the counter may be behind, and of a gateway whose
            // first documents had just come nothing says when it was heard.
            if self.catalog.gateways.get(&gateway.id).is_some_and(|gateway| gateway.stored) {
                gateway.documents = gateway.documents.max(1);
                gateway.last_seen.get_or_insert(gateway.first_seen);
            }
        }
        self.rows("gateways", heard.iter().map(cells::gateway).collect()).await
    }

    async fn sensors(&mut self) -> Result<(), StoreError> {
        let row = |(gateway, row): (&GatewayId, &SeriesRow)| {
            vec![
                text(gateway),
                text(row.name().0),
                or_null(row.label.as_ref(), text),
                text(row.role.as_deref().unwrap_or("other")),
                flag(row.role_chosen.unwrap_or_default()),
                or_null(row.rated_w, Cell::Real),
            ]
        };
        let all = self.registered.iter().flat_map(|(id, of)| of.sensors.iter().map(move |row| (id, row)));
        let rows = all.map(row).collect();
        self.rows("sensors", rows).await
    }

    async fn series(&mut self) -> Result<(), StoreError> {
        let millis = |time: Option<CqlTimestamp>| or_null(time, |time| Cell::Int(time.0));
        let row = |(gateway, (number, row)): (&GatewayId, (usize, &SeriesRow))| {
            let (sensor, metric, unit) = row.name();
            vec![
                text(gateway),
                Cell::Int(number as i64),
                text(sensor),
                text(metric),
                text(unit),
                text(row.kind.as_deref().unwrap_or_default()),
                text(row.quantity.as_deref().unwrap_or_default()),
                flag(row.chosen.unwrap_or_default()),
                millis(row.first),
                millis(row.last),
                millis(row.latest_time),
                or_null(row.latest_value, Cell::Real),
            ]
        };
        let all = self.registered.iter().flat_map(|(id, of)| of.series.iter().enumerate().map(move |row| (id, row)));
        let rows = all.map(row).collect();
        self.rows("series", rows).await
    }

    async fn records(&mut self) -> Result<(), StoreError> {
        let respan = self.registered.iter().filter(|(_, of)| !of.series.is_empty()).map(|(id, _)| id);
        let mut rows = self.catalog.archived_records(respan);
        rows.extend(self.credential_uses().await?);
        self.rows("records", rows).await?;
        for id in self.refused_ids().await? {
            if let Some(key) = self.db.quarantine_presented(QuarantineId::new(id)).await? {
                // Bodies of records are JSON.
                let body = format!("\"{}\"", to_hex(&key.0));
                self.row(vec![text(PRESENTED), text(id), text(body)]).await?;
            }
        }
        Ok(())
    }

    /// When the credentials that are in the archive were last used.
    async fn credential_uses(&self) -> Result<Vec<Vec<Cell>>, StoreError> {
        let mut rows = Vec::new();
        let uses: BTreeMap<String, i64> = self.db.credential_uses().await?.into_iter().collect();
        for (credential, at) in uses {
            let body = serde_json::to_string(&Use { at: Timestamp::clamped(at) });
            let body = body.map_err(|error| StoreError::Archive(error.to_string()))?;
            rows.push(vec![text(CREDENTIAL_USE), text(credential), Cell::Text(body)]);
        }
        Ok(rows)
    }

    async fn mails(&mut self) -> Result<(), StoreError> {
        self.begin("mails").await?;
        let mails = self.db.outbox_places().await?;
        let db = self.db.clone();
        let found = stream::iter(mails).map(move |part| {
            let db = db.clone();
            async move { db.outbox_at(&part).await }
        });
        let mut found = std::pin::pin!(found.buffered(MAILS_AT_ONCE));
        while let Some(mail) = found.try_next().await? {
            let Some(mail) = mail else { continue };
            self.row(mail.archived()).await?;
        }
        Ok(())
    }

    /// What is in the quarantine now, in order.
    async fn refused_ids(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut ids: Vec<Uuid> = Vec::new();
        for share in ["trusted", "strangers"] {
            let rows: Vec<(Uuid,)> = self.db.all("SELECT id FROM @.quarantine WHERE part = ?", (share,)).await?;
            ids.extend(rows.into_iter().map(|(id,)| id));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    async fn quarantine(&mut self) -> Result<(), StoreError> {
        self.begin("quarantine").await?;
        for id in self.refused_ids().await? {
            let entry = match self.db.quarantine_fetch(QuarantineId::new(id)).await {
                Ok(found) => found.entry,
                // It has made room for another one.
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            self.row(entry.archived()).await?;
        }
        Ok(())
    }

    /// The audit trail up to the head in the catalog.
    async fn trail(&mut self) -> Result<(), StoreError> {
        self.begin("audit").await?;
        let head = self.catalog.trail_head();
        let end = head.map_or(0, |head| head.seq) + 1;
        let mut next = 1;
        for (month, numbers) in self.db.trail_months(&self.catalog).await? {
            next = next.max(numbers.start);
            loop {
                let entries = self.db.trail_found(&month, next..numbers.end.min(end), ENTRIES_AT_ONCE).await?;
                let Some(reached) = entries.last().map(|entry| entry.seq) else { break };
                for entry in entries {
                    self.entry(entry).await?;
                }
                next = reached + 1;
            }
        }
        let catalog = Arc::clone(&self.catalog);
        for entry in catalog.trail.range(next..).map(|(_, entry)| entry.clone()) {
            self.entry(entry).await?;
        }
        self.rows("audit_head", head.iter().map(|head| vec![text(head)]).collect()).await
    }

    async fn entry(&mut self, entry: AuditRow) -> Result<(), StoreError> {
        self.row(trail::archived(entry)).await
    }

    async fn readings(&mut self) -> Result<(), StoreError> {
        self.begin("readings").await?;
        let gateways: Vec<GatewayId> = self.registered.keys().cloned().collect();
        for (done, gateway) in gateways.iter().enumerate() {
            self.send(Part::Gateways(done, gateways.len())).await?;
            self.readings_of(gateway).await?;
        }
        self.send(Part::Gateways(gateways.len(), gateways.len())).await?;
        // What is gone by now may have been missing.
        let sealed = self.db.open_to_marks(self.now).await?;
        let sealed = (sealed > Timestamp::MIN).then(|| vec![time(sealed)]);
        self.rows("sealed", sealed.into_iter().collect()).await
    }

    async fn readings_of(&mut self, gateway: &GatewayId) -> Result<(), StoreError> {
        let Some(window) = self.registered.get(gateway).and_then(extent) else { return Ok(()) };
        let walk = Walk { window, order: Order::Forwards };
        let partitions = reading::partitions(self.db, gateway, &walk).await?;
        let pagers = stream::iter(partitions).map(|partition| reading::of_partition(self.db.clone(), gateway.clone(), partition));
        let mut pagers = std::pin::pin!(pagers.buffered(PARTITIONS_AT_ONCE));
        let mut frame: Option<(Timestamp, Vec<(u32, f64)>)> = None;
        while let Some(rows) = pagers.try_next().await? {
            let mut rows = std::pin::pin!(rows);
            while let Some((at, sensor, metric, unit, value)) = rows.try_next().await? {
                let at = Timestamp::clamped(at.0);
                if frame.as_ref().is_some_and(|(before, _)| *before != at) {
                    self.frame(gateway, frame.take()).await?;
                }
                // A series that was registered since comes with the next archive.
                let number = self.registered.get(gateway).and_then(|of| of.number((&sensor, &metric, &unit)));
                if let Some(number) = number {
                    frame.get_or_insert_with(|| (at, Vec::new())).1.push((number, value));
                }
            }
        }
        self.frame(gateway, frame).await
    }

    async fn frame(&mut self, gateway: &GatewayId, frame: Option<(Timestamp, Vec<(u32, f64)>)>) -> Result<(), StoreError> {
        let Some((at, values)) = frame else { return Ok(()) };
        self.row(vec![text(gateway), time(at), Cell::Values(values)]).await
    }

    async fn read_marks(&mut self) -> Result<(), StoreError> {
        for shard in 0..mark::SHARDS {
            for mark in mark::of_shard(self.db, shard).await?.marks {
                self.marks.extend(mark.windows().map(|start| (mark.gateway.clone(), start)));
            }
        }
        Ok(())
    }

    /// Marks of what changes nothing any more, and of what is not in the archive,
    /// are left out.
    async fn write_marks(&mut self) -> Result<(), StoreError> {
        let sealed = self.db.open_to_marks(self.now).await?;
        let marks = std::mem::take(&mut self.marks).into_iter();
        let wanted = marks.filter(|(gateway, start)| *start >= sealed && self.registered.contains_key(gateway));
        let rows = wanted.map(|(gateway, start)| vec![text(gateway), time(start)]).collect();
        self.rows("marks", rows).await
    }

    async fn rollups(&mut self) -> Result<(), StoreError> {
        self.begin("rollups").await?;
        let gateways: Vec<GatewayId> = self.registered.keys().cloned().collect();
        for (done, gateway) in gateways.iter().enumerate() {
            self.send(Part::Gateways(done, gateways.len())).await?;
            let Some(extent) = series::of_gateway(self.db, gateway).await?.extent() else { continue };
            for day in day_of(extent.from)..=day_of(extent.end()) {
                let period = rollup::period(day);
                for row in rollup::stored(self.db, (gateway.as_str(), QUARTER, &period)).await? {
                    self.rollup(gateway, row).await?;
                }
            }
        }
        self.send(Part::Gateways(gateways.len(), gateways.len())).await
    }

    async fn rollup(&mut self, gateway: &GatewayId, row: StoredRow) -> Result<(), StoreError> {
        let number = self.registered.get(gateway).and_then(|of| of.number((&row.sensor, &row.metric, &row.unit)));
        let Some(number) = number else { return Ok(()) };
        if row.written > self.began - CLOCKS_DIFFER {
            self.marks.insert((gateway.clone(), Timestamp::clamped(row.start.0)));
        }
        let figures = rollup::rollup_of(&row);
        let reals = [figures.positive, figures.negative, figures.increase].map(Cell::Real);
        let mut cells = vec![text(gateway), Cell::Int(number.into()), Cell::Int(row.start.0), Cell::Int(figures.count.into())];
        cells.extend([figures.min, figures.max, figures.first, figures.last].map(Cell::Real));
        cells.push(Cell::Int(figures.covered_ms.into()));
        cells.extend(reals);
        cells.push(Cell::Int(figures.flags.to_bits().into()));
        self.row(cells).await
    }

    /// Gives up where rollups were made by other rules than those in the archive.
    async fn check_rules(&self) -> Result<(), StoreError> {
        let changed = || {
            let problem = "readings were corrected or given another kind while the archive was written: make it again";
            StoreError::Unavailable(problem.to_owned())
        };
        if self.db.catalog().await?.corrections()? != self.catalog.corrections()? {
            return Err(changed());
        }
        for (gateway, registered) in &self.registered {
            if !registered.agrees(&Registered::of(self.db, gateway).await?) {
                return Err(changed());
            }
        }
        Ok(())
    }
}

/// From the first to after the last reading of all series.
fn extent(registered: &Registered) -> Option<TimeWindow> {
    let ends = registered.series.iter().filter_map(|row| Some((row.first?.0, row.last?.0)));
    let (first, last) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    Some(TimeWindow::between(Timestamp::clamped(first), Timestamp::clamped(last).plus_millis(1)))
}

fn gone() -> StoreError {
    StoreError::Archive("nobody writes it any more".to_owned())
}
