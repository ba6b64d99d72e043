//! What writing a document out of the quarantine would do. Writing it needs nothing
//! of its own: readings carry the stamp of the document that they came with.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::Timestamp;
use scylla::value::CqlTimestamp;

use super::Database;
use super::slicing::Slicing;
use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::replay::{Difference, Was, distinct};

/// Instants looked up at once.
const INSTANTS_AT_ONCE: usize = 16;

/// Sensor, metric, unit, value and the stamp it was written with, µs.
type Stored = (String, String, String, f64, i64);

const AT: &str = "SELECT sensor, metric, unit, value, WRITETIME(value) FROM @.reading
    WHERE gateway = ? AND day = ? AND bucket = ? AND time = ?";

pub(crate) async fn preview(db: &Database, document: &DocumentWrite) -> Result<Vec<Difference>, StoreError> {
    let slicing = db.slicing(&document.gateway).await?;
    let (slicing, instants) = (&slicing, distinct(document));
    let looked_up = stream::iter(instants)
        .map(|(time, values)| async move { at_instant(db, document, slicing, time, values).await })
        .buffered(INSTANTS_AT_ONCE);
    let differences: Vec<Vec<Difference>> = looked_up.try_collect().await?;
    Ok(differences.into_iter().flatten().collect())
}

async fn at_instant(
    db: &Database,
    document: &DocumentWrite,
    slicing: &Slicing,
    time: Timestamp,
    values: BTreeMap<usize, f64>,
) -> Result<Vec<Difference>, StoreError> {
    let partition = slicing.partition(time);
    let key = (document.gateway.as_str(), partition.date(), partition.bucket, CqlTimestamp(time.as_millis()));
    let rows: Vec<Stored> = db.all(AT, key).await?;
    let stored: HashMap<(&str, &str, &str), (f64, i64)> = rows
        .iter()
        .map(|(sensor, metric, unit, value, stamp)| ((sensor.as_str(), metric.as_str(), unit.as_str()), (*value, *stamp)))
        .collect();
    let difference = |(series, value): (usize, f64)| {
        let named = document.series.get(series)?;
        let sensor = document.sensors.get(named.sensor)?;
        let there = stored.get(&(sensor.id.as_str(), named.metric.as_str(), named.unit.as_str()));
        let stays = there.is_some_and(|(_, stamp)| *stamp >= document.stamp.as_micros());
        Some(Difference { series, time, value, was: Was::of(value, there.map(|(value, _)| *value), stays) })
    };
    Ok(values.into_iter().filter_map(difference).collect())
}
