//! Rows of corrections, and the marks that they set.

use heliograph_domain::{Correction, CorrectionId, Reverted, SeriesCorrections};
use rusqlite::{Connection, params};

use super::{Batch, gateway, record, retention, sensor};
use crate::correction::{check, revert_one};
use crate::error::StoreError;
use crate::rollup::correct;
use crate::rollup::series::StoredSeries;

pub(super) const CORRECTION: &str = "correction";

pub(crate) fn create(batch: &mut Batch<'_>, correction: &Correction) -> Result<(), StoreError> {
    let all = list(batch.connection)?;
    let number = gateway::number(batch.connection, &correction.series.gateway)?;
    let kind = series_of(batch.connection, number, correction)?.record.kind;
    check(correction, kind, &all, retention::sealed(batch.connection)?)?;
    record::save(batch.connection, CORRECTION, &correction.id.to_string(), correction)?;
    mark(batch, number, correction, &all)
}

pub(crate) fn revert(batch: &mut Batch<'_>, id: CorrectionId, reverted: Reverted) -> Result<Correction, StoreError> {
    let all = list(batch.connection)?;
    let correction = revert_one(&all, id, reverted)?;
    record::save(batch.connection, CORRECTION, &id.to_string(), &correction)?;
    let number = gateway::number(batch.connection, &correction.series.gateway)?;
    let others: Vec<Correction> = all.into_iter().filter(|other| other.id != id).collect();
    mark(batch, number, &correction, &others)?;
    Ok(correction)
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<Correction>, StoreError> {
    record::list(connection, CORRECTION)
}

/// All of a gateway, also those that were taken back.
pub(crate) fn of_gateway(connection: &Connection, number: i64) -> Result<Vec<Correction>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT body FROM record WHERE kind = 'correction'
         AND json_extract(body, '$.series.gateway') = (SELECT id FROM gateway WHERE number = ?1)",
    )?;
    let mut rows = query.query([number])?;
    let mut corrections = Vec::new();
    while let Some(row) = rows.next()? {
        corrections.push(record::read(CORRECTION, row.get_ref(0)?.as_str().map_err(super::damaged)?)?);
    }
    Ok(corrections)
}

fn series_of(connection: &Connection, number: i64, correction: &Correction) -> Result<StoredSeries, StoreError> {
    let key = &correction.series;
    let same = |series: &StoredSeries| {
        series.sensor == key.sensor && series.record.metric == key.metric && series.record.unit == key.unit
    };
    sensor::series(connection, number)?.into_iter().find(same).ok_or(StoreError::NotFound("series"))
}

/// Marks what a correction changes that is made beside others, or taken back.
fn mark(batch: &mut Batch<'_>, number: i64, correction: &Correction, others: &[Correction]) -> Result<(), StoreError> {
    mark_one(batch.connection, number, correction, others)?;
    batch.config_changed();
    batch.data_changed();
    Ok(())
}

/// Marks what any correction of a gateway changes, because the rule of a series
/// has changed: there need not be readings in those windows.
pub(crate) fn mark_all(connection: &Connection, number: i64) -> Result<(), StoreError> {
    let all = of_gateway(connection, number)?;
    for correction in all.iter().filter(|correction| correction.reverted.is_none()) {
        let others: Vec<Correction> = all.iter().filter(|other| other.id != correction.id).cloned().collect();
        mark_one(connection, number, correction, &others)?;
    }
    Ok(())
}

fn mark_one(connection: &Connection, number: i64, correction: &Correction, others: &[Correction]) -> Result<(), StoreError> {
    let series = series_of(connection, number, correction)?;
    let others = SeriesCorrections::of(others.iter().filter(|other| other.series == correction.series));
    let mut insert = connection.prepare_cached("INSERT INTO dirty (gateway, start) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for start in correct::marks(series.record.kind, series.extent, &others, correction) {
        insert.execute(params![number, start.as_millis()])?;
    }
    Ok(())
}
