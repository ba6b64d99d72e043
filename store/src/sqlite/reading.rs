//! Frames back into readings.

use std::collections::HashMap;

use heliograph_domain::{GatewayId, TimeWindow};
use rusqlite::{Connection, params};

use super::{frame, gateway, sensor};
use crate::error::StoreError;
use crate::reading::{ReadingPage, ReadingRow};
use crate::rollup::series::{Slot, StoredSeries};

pub(crate) fn page(connection: &Connection, id: &GatewayId, window: TimeWindow, limit: usize) -> Result<ReadingPage, StoreError> {
    let number = gateway::number(connection, id)?;
    let series: HashMap<Slot, StoredSeries> =
        sensor::series(connection, number)?.into_iter().map(|series| (series.slot, series)).collect();
    let mut query = connection
        .prepare_cached("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time >= ?2 AND time < ?3 ORDER BY time")?;
    let mut frames = query.query(params![number, window.from.as_millis(), window.end().as_millis()])?;
    let mut rows = Vec::new();
    while let Some(frame) = frames.next()? {
        let (time, data) = frame::checked(number, frame)?;
        if rows.len() >= limit {
            return Ok(ReadingPage { rows, next: Some(time) });
        }
        for (slot, value) in frame::unpack(data)? {
            let series =
                series.get(&slot).ok_or_else(|| StoreError::Damaged("a frame names a series that is not there".to_owned()))?;
            let (metric, unit) = (series.record.metric.clone(), series.record.unit.clone());
            rows.push(ReadingRow { sensor: series.sensor.clone(), metric, unit, time, value });
        }
    }
    Ok(ReadingPage { rows, next: None })
}
