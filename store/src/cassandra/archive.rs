//! Archives of a keyspace: rows out of it, and into an empty one.
//!
//! A cluster has neither a snapshot nor a transaction. What a dump does to be right
//! all the same stands in [`dump`], what a restore does to be whole in [`restore`].

pub(crate) mod dump;
pub(crate) mod restore;

use heliograph_domain::GatewayId;
use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;

use super::Database;
use crate::error::StoreError;

/// Rows that are passed on at once.
pub(crate) const ROWS_AT_ONCE: usize = 500;

/// A row of the table of series: a sensor where metric and unit are empty.
#[derive(Debug, Clone, PartialEq, DeserializeRow)]
struct SeriesRow {
    sensor: Option<String>,
    metric: Option<String>,
    unit: Option<String>,
    role: Option<String>,
    role_chosen: Option<bool>,
    label: Option<String>,
    rated_w: Option<f64>,
    kind: Option<String>,
    quantity: Option<String>,
    chosen: Option<bool>,
    first: Option<CqlTimestamp>,
    last: Option<CqlTimestamp>,
    latest_time: Option<CqlTimestamp>,
    latest_value: Option<f64>,
}

const SERIES: &str =
    "SELECT sensor, metric, unit, role, role_chosen, label, rated_w, kind, quantity, chosen, first, last, latest_time,
    latest_value FROM @.series WHERE gateway = ?";

/// The sensors of a gateway, and its series in the order of their names.
#[derive(Debug, Default)]
struct Registered {
    sensors: Vec<SeriesRow>,
    series: Vec<SeriesRow>,
}

impl SeriesRow {
    fn name(&self) -> (&str, &str, &str) {
        let [sensor, metric, unit] = [&self.sensor, &self.metric, &self.unit].map(|name| name.as_deref().unwrap_or_default());
        (sensor, metric, unit)
    }

    /// What decides about rollups.
    fn rule(&self) -> (Option<&str>, Option<f64>) {
        (self.kind.as_deref(), self.rated_w)
    }
}

impl Registered {
    async fn of(db: &Database, gateway: &GatewayId) -> Result<Self, StoreError> {
        let rows: Vec<SeriesRow> = db.all(SERIES, (gateway.as_str(),)).await?;
        // A gateway that has only knocked has a partition without rows.
        let rows = rows.into_iter().filter(|row| row.sensor.is_some());
        let (sensors, series): (Vec<_>, Vec<_>) = rows.partition(|row| row.metric.as_deref() == Some(""));
        Ok(Self { sensors, series: series.into_iter().filter(|row| row.kind.is_some() && row.quantity.is_some()).collect() })
    }

    /// The number of a series.
    fn number(&self, name: (&str, &str, &str)) -> Option<u32> {
        let place = self.series.binary_search_by(|row| row.name().cmp(&name)).ok()?;
        u32::try_from(place).ok()
    }

    /// Whether rollups follow from both in the same way, as far as `self` goes.
    fn agrees(&self, later: &Self) -> bool {
        let same = |rows: &[SeriesRow], others: &[SeriesRow]| {
            rows.iter().all(|row| others.iter().any(|other| other.name() == row.name() && other.rule() == row.rule()))
        };
        same(&self.sensors, &later.sensors) && same(&self.series, &later.series)
    }
}
