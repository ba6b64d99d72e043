//! Sensors and their series.

use heliograph_domain::{GatewayId, Kind, MetricName, Quantity, Sample, SensorId, SensorRole, SeriesKey, Timestamp, Unit};
use serde_json::json;

use crate::error::StoreError;
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// What is known of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorRecord {
    /// What its gateway calls it.
    pub id: SensorId,
    /// What people call it, if they call it something else.
    pub label: Option<String>,
    /// What it is to its site.
    pub role: SensorRole,
    /// Its rated power in W, if it is known.
    pub rated_w: Option<f64>,
    /// What it measures.
    pub series: Vec<SeriesRecord>,
}

impl SensorRecord {
    /// What to call it in front of people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(self.id.as_str())
    }
}

/// What is known of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRecord {
    /// The metric.
    pub metric: MetricName,
    /// The canonical unit.
    pub unit: Unit,
    /// How its numbers behave.
    pub kind: Kind,
    /// What they mean.
    pub quantity: Quantity,
    /// The latest reading that was not ahead of its time; none where it was corrected away.
    pub latest: Option<Sample>,
    /// When the latest one that counts is, at most: also where it was corrected away.
    pub heard: Option<Timestamp>,
    /// The earliest reading, if there is one.
    pub first: Option<Timestamp>,
}

/// What an owner sets about a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorUpdate {
    /// What people call it; `None`: what its gateway calls it.
    pub label: Option<String>,
    /// What it is to its site.
    pub role: SensorRole,
    /// Its rated power in W; decides which counter steps are plausible.
    pub rated_w: Option<f64>,
}

impl ProviderStore {
    /// The sensors of a gateway with their series, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sensor_list(&self, gateway: &GatewayId) -> Result<Vec<SensorRecord>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let gateway = gateway.clone();
                db.read(move |connection| sqlite::sensor::list(connection, &gateway)).await
            }
            Backend::Cassandra(db) => cassandra::series::list(db, gateway).await,
        }
    }

    /// Sets what an owner knows of a sensor. Its rollups are computed anew.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn sensor_update(&self, gateway: &GatewayId, sensor: &SensorId, update: SensorUpdate) -> Result<(), StoreError> {
        let detail = json!({ "sensor": sensor, "named": update.label.is_some(), "role": update.role, "rated_w": update.rated_w });
        let event = self.event("sensor.update", format_args!("gateway:{gateway}"), detail);
        match &self.backend {
            Backend::Sqlite(db) => {
                let (gateway, sensor) = (gateway.clone(), sensor.clone());
                db.change(event, move |batch| sqlite::sensor::update(batch, &gateway, &sensor, &update)).await
            }
            Backend::Cassandra(db) => cassandra::series::update(db, event, gateway, sensor, &update).await,
        }
    }

    /// Sets kind and quantity of a series over any guess. Its rollups are
    /// computed anew.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn series_classify(&self, key: SeriesKey, kind: Kind, quantity: Quantity) -> Result<(), StoreError> {
        let detail = json!({
            "sensor": key.sensor, "metric": key.metric, "unit": key.unit.as_str(), "kind": kind, "quantity": quantity
        });
        let event = self.event("series.classify", format_args!("gateway:{}", key.gateway), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::sensor::classify(batch, &key, kind, quantity)).await,
            Backend::Cassandra(db) => cassandra::series::classify(db, event, &key, kind, quantity).await,
        }
    }
}
