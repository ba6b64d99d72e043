//! Readings, a day of a gateway after the other, each cut as fine as it needs.

use std::sync::Arc;

use heliograph_domain::{GatewayId, Timestamp};
use scylla::value::CqlTimestamp;

use super::super::super::Database;
use super::super::super::document::{self, TimedRow, ttl_seconds};
use super::super::super::slicing::{DAY_MS, ROWS, day_of};
use super::{Known, Restore};
use crate::archive::tables::{Cell, Table};
use crate::catalog::archive::Cells;
use crate::error::StoreError;
use crate::retention::CONTEXT_MS;
use crate::stamp::WriteStamp;

/// Values of a day that are held back until it is known how fine it is to be cut.
const DAY_VALUES: usize = ROWS as usize / 2;
/// Values written by one task.
const TASK_VALUES: usize = 2_000;

/// Values of one gateway and UTC day, in the order of time.
#[derive(Debug)]
pub(super) struct Day {
    gateway: GatewayId,
    day: i64,
    values: Vec<(Timestamp, u32, f64)>,
    /// Whether it is known how fine the day is to be cut.
    cut: bool,
}

impl Restore<'_> {
    pub(super) async fn reading(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
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

    pub(super) async fn end_day(&mut self) -> Result<(), StoreError> {
        self.write_day().await?;
        self.day = None;
        Ok(())
    }
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
