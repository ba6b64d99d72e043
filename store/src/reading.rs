//! Stored readings, as they came.

use heliograph_domain::{GatewayId, MetricName, SensorId, TimeWindow, Timestamp, Unit};

use crate::error::StoreError;
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// One stored reading.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingRow {
    /// The sensor.
    pub sensor: SensorId,
    /// The metric.
    pub metric: MetricName,
    /// The canonical unit.
    pub unit: Unit,
    /// When it was measured.
    pub time: Timestamp,
    /// What was measured.
    pub value: f64,
}

/// Some readings in time order, and where the next ones begin.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingPage {
    /// The readings; those of one instant are never split over pages.
    pub rows: Vec<ReadingRow>,
    /// The instant to go on from; `None` at the end.
    pub next: Option<Timestamp>,
}

impl ProviderStore {
    /// The readings of a gateway in a window, in time order, about `limit` at a
    /// time: go on with `from` set to [`ReadingPage::next`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn reading_page(&self, gateway: &GatewayId, window: TimeWindow, limit: usize) -> Result<ReadingPage, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let gateway = gateway.clone();
                db.read(move |connection| sqlite::reading::page(connection, &gateway, window, limit)).await
            }
            Backend::Cassandra(db) => cassandra::reading::page(db, gateway, window, limit).await,
        }
    }
}
