//! What is set up, and what stands beside it a row at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use heliograph_domain::{GatewayId, QuarantineId, Timestamp};
use scylla::value::CqlTimestamp;

use super::super::super::series::{extent_timestamps, latest_timestamp};
use super::super::super::{Database, mark, pulse};
use super::{FIRST, Known, Restore};
use crate::archive::tables::{Cell, Table};
use crate::archive::trail;
use crate::catalog::archive::{Cells, RESPAN, read_heard};
use crate::catalog::{Change, Record};
use crate::credential::{CREDENTIAL_USE, Use};
use crate::error::StoreError;
use crate::outbox::OutboxMail;
use crate::quarantine::{PRESENTED, QuarantineNew, parse_presented};
use crate::stamp::WriteStamp;

impl Restore<'_> {
    pub(super) fn set_up(&mut self, table: &Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let record = self.catalog.unarchived(table, row)?;
        self.catalog.apply(Change::Put(record));
        Ok(())
    }

    pub(super) async fn record(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row.clone());
        match cells.text()?.as_str() {
            RESPAN => self.respans.push(self.catalog.read_known_gateway(&mut cells)?),
            PRESENTED => {
                let id = cells.parse(QuarantineId::parse)?;
                let hex = cells.parse(|body| serde_json::from_str::<String>(body))?;
                let (db, key) = (self.db.clone(), parse_presented(&hex)?);
                self.write(async move { db.quarantine_keep_presented(id, key).await }).await?;
            }
            CREDENTIAL_USE => {
                let (credential, last) = (cells.text()?, cells.parse(|body| serde_json::from_str::<Use>(body))?);
                let db = self.db.clone();
                self.write(async move { db.credential_note(&credential, last.at).await }).await?;
            }
            _ => self.set_up(table, row)?,
        }
        Ok(())
    }

    pub(super) async fn gateway(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
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

    pub(super) async fn sensors(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
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

    pub(super) async fn series(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
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

    pub(super) async fn marks(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
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

    pub(super) async fn mail(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let mail = OutboxMail::unarchived(&mut cells)?;
        let db = self.db.clone();
        self.write(async move { db.outbox_restore(mail).await }).await
    }

    pub(super) async fn refused(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let entry = QuarantineNew::unarchived(&mut cells)?;
        // One after the other: each may be large.
        self.db.quarantine_add(&entry, None).await
    }

    pub(super) async fn entry(&mut self, row: &[Cell]) -> Result<(), StoreError> {
        if trail::is_stray(row) {
            return Ok(());
        }
        let entry = trail::readable(row);
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
