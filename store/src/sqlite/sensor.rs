//! Rows of sensors and series.

use std::collections::HashMap;

use heliograph_domain::{
    GatewayId, Kind, MetricName, Quantity, RollupRule, Sample, SensorId, SensorRole, SeriesKey, Unit, WINDOW_MS,
};
use rusqlite::{Connection, params};

use super::{Batch, correction, frame, gateway, latest};
use crate::error::StoreError;
use crate::rollup::series::{Extent, Slot, StoredSeries};
use crate::sensor::{SensorRecord, SensorUpdate, SeriesRecord};

pub(crate) fn list(connection: &Connection, id: &GatewayId) -> Result<Vec<SensorRecord>, StoreError> {
    let number = gateway::number(connection, id)?;
    let mut sensors = without_series(connection, number)?;
    for stored in series(connection, number)? {
        if let Some(sensor) = sensors.iter_mut().find(|sensor| sensor.id == stored.sensor) {
            sensor.series.push(stored.record);
        }
    }
    Ok(sensors)
}

/// The sensors of a gateway by id, as if they had no series.
pub(super) fn without_series(connection: &Connection, number: i64) -> Result<Vec<SensorRecord>, StoreError> {
    let mut query = connection.prepare_cached("SELECT id, label, role, rated_w FROM sensor WHERE gateway = ?1 ORDER BY id")?;
    let mut rows = query.query([number])?;
    let mut sensors = Vec::new();
    while let Some(row) = rows.next()? {
        sensors.push(SensorRecord {
            id: SensorId::parse(&row.get::<_, String>(0)?)?,
            label: row.get(1)?,
            role: SensorRole::parse(&row.get::<_, String>(2)?)?,
            rated_w: row.get(3)?,
            series: Vec::new(),
        });
    }
    Ok(sensors)
}

/// All series of a gateway, by slot.
pub(crate) fn series(connection: &Connection, number: i64) -> Result<Vec<StoredSeries>, StoreError> {
    let extents = extents(connection, number)?;
    let mut query = connection.prepare_cached(
        "SELECT s.slot, s.sensor, s.metric, s.unit, s.kind, s.quantity, n.rated_w
         FROM series s JOIN sensor n ON n.gateway = s.gateway AND n.id = s.sensor WHERE s.gateway = ?1 ORDER BY s.slot",
    )?;
    let corrections = correction::of_gateway(connection, number)?;
    let mut rows = query.query([number])?;
    let mut series = Vec::new();
    while let Some(row) = rows.next()? {
        let slot: Slot = row.get(0)?;
        let extent = extents.get(&slot).copied();
        let kind = Kind::parse(&row.get::<_, String>(4)?)?;
        let rated_w: Option<f64> = row.get(6)?;
        let unit = Unit::parse(&row.get::<_, String>(3)?)?;
        let rule = RollupRule::of_series(kind, &unit, rated_w);
        let stored = StoredSeries {
            slot,
            sensor: SensorId::parse(&row.get::<_, String>(1)?)?,
            record: SeriesRecord {
                metric: MetricName::parse(&row.get::<_, String>(2)?)?,
                unit,
                kind,
                quantity: Quantity::parse(&row.get::<_, String>(5)?)?,
                latest: extent.and_then(|extent| extent.latest).map(|(at, value)| Sample { at, value }),
                heard: extent.and_then(|extent| extent.latest).map(|(at, _)| at),
                first: extent.map(|extent| extent.first),
            },
            extent: extent.map(|extent| Extent { first: extent.first, last: extent.last }),
            rule,
            corrections: None,
        };
        series.push(stored.corrected_by(&corrections));
    }
    Ok(series)
}

fn extents(connection: &Connection, number: i64) -> Result<HashMap<Slot, frame::Extent>, StoreError> {
    Ok(latest::extents(connection, number)?.into_iter().map(|extent| (extent.slot, extent)).collect())
}

pub(crate) fn update(batch: &mut Batch<'_>, id: &GatewayId, sensor: &SensorId, update: &SensorUpdate) -> Result<(), StoreError> {
    let number = gateway::number(batch.connection, id)?;
    let changed = batch.connection.execute(
        "UPDATE sensor SET label = ?3, role = ?4, role_chosen = 1, rated_w = ?5 WHERE gateway = ?1 AND id = ?2",
        params![number, sensor.as_str(), update.label, update.role.as_str(), update.rated_w],
    )?;
    if changed == 0 {
        return Err(StoreError::NotFound("sensor"));
    }
    mark_all(batch, number)
}

pub(crate) fn classify(batch: &mut Batch<'_>, key: &SeriesKey, kind: Kind, quantity: Quantity) -> Result<(), StoreError> {
    let number = gateway::number(batch.connection, &key.gateway)?;
    let changed = batch.connection.execute(
        "UPDATE series SET kind = ?5, quantity = ?6, chosen = 1 WHERE gateway = ?1 AND sensor = ?2 AND metric = ?3 AND unit = ?4",
        params![number, key.sensor.as_str(), key.metric.as_str(), key.unit.as_str(), kind.as_str(), quantity.as_str()],
    )?;
    if changed == 0 {
        return Err(StoreError::NotFound("series"));
    }
    mark_all(batch, number)
}

/// Marks every window of a gateway that holds data, because the rule has changed.
fn mark_all(batch: &mut Batch<'_>, number: i64) -> Result<(), StoreError> {
    batch.connection.execute(
        "INSERT INTO dirty (gateway, start) SELECT DISTINCT gateway, (time - ((time % ?2) + ?2) % ?2) FROM frame WHERE gateway = ?1
         ON CONFLICT DO NOTHING",
        params![number, WINDOW_MS],
    )?;
    correction::mark_all(batch.connection, number)?;
    batch.config_changed();
    batch.data_changed();
    Ok(())
}
