//! Rollups, and local days and months: those of one partition are written together.

use heliograph_domain::{GatewayId, Rollup, RollupFlags, SpanStep, Timestamp};

use super::super::super::rollup::{self, NewRow, QUARTER};
use super::super::super::slicing::day_of;
use super::super::super::span;
use super::{FIRST, Restore};
use crate::archive::tables::{Cell, Table};
use crate::catalog::archive::Cells;
use crate::error::StoreError;

/// Rows of one batch.
const BATCH: usize = 100;

/// Rollups of one partition.
pub(super) struct Period {
    gateway: GatewayId,
    step: &'static str,
    period: String,
    rows: Vec<(u32, Timestamp, Rollup, Option<String>)>,
}

impl Restore<'_> {
    pub(super) async fn rollup(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
        let mut cells = Cells::of(table, row);
        let gateway = self.catalog.read_known_gateway(&mut cells)?;
        let (number, start) = (cells.small()?, cells.time()?);
        let row = (number, start, read_rollup(&mut cells)?, None);
        self.sum(&cells, gateway, QUARTER, rollup::period(day_of(start)), row).await
    }

    pub(super) async fn span(&mut self, table: &'static Table, row: Vec<Cell>) -> Result<(), StoreError> {
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

    pub(super) async fn flush_period(&mut self) -> Result<(), StoreError> {
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
