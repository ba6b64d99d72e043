//! The driver alone: prepared statements, one unlogged batch a document.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use heliograph_domain::ProviderId;
use heliograph_store::DocumentWrite;
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::{CqlDate, CqlTimestamp};

use crate::corpus::{DAY_MS, SERIES};

/// Day 0 of a CQL date.
const EPOCH: i64 = 1 << 31;

pub(crate) struct Driver {
    session: Arc<Session>,
    keyspace: String,
    readings: Batch,
    latest: Batch,
}

impl Driver {
    /// With as many connections as the store has, and its consistency.
    pub(crate) async fn open(node: &str, provider: &ProviderId) -> Self {
        let profile = ExecutionProfile::builder().consistency(Consistency::LocalQuorum).build();
        let connections = NonZeroUsize::new(3).unwrap();
        let session = SessionBuilder::new()
            .known_node(node)
            .user("cassandra", "cassandra")
            .default_execution_profile_handle(profile.into_handle())
            .pool_size(PoolSize::PerHost(connections))
            .disallow_shard_aware_port(true)
            .build()
            .await
            .unwrap();
        let keyspace = format!("provider_{provider}");
        let insert = format!(
            "INSERT INTO {keyspace}.reading (gateway, day, bucket, time, sensor, metric, unit, value)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?"
        );
        let latest = format!(
            "UPDATE {keyspace}.series USING TIMESTAMP ? SET latest_time = ?, latest_value = ?
             WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?"
        );
        let batch = async |cql: String| {
            let statement = session.prepare(cql).await.unwrap();
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, vec![statement.into(); SERIES]);
            batch.set_is_idempotent(true);
            batch
        };
        let (readings, latest) = (batch(insert).await, batch(latest).await);
        Self { session: Arc::new(session), keyspace, readings, latest }
    }

    /// Writes the readings of a document and, if that is wanted, what is latest.
    pub(crate) async fn write(&self, document: &DocumentWrite, latest: bool) {
        let gateway = document.gateway.as_str();
        let rows: Vec<_> = document
            .values
            .iter()
            .map(|value| {
                let series = &document.series[value.series];
                let (sensor, metric) = (document.sensors[series.sensor].id.as_str(), series.metric.as_str());
                let at = value.time.as_millis();
                let day = CqlDate(u32::try_from(EPOCH + at.div_euclid(DAY_MS)).unwrap());
                (gateway, day, 0i16, CqlTimestamp(at), sensor, metric, series.unit.as_str(), value.value, 0i32)
            })
            .collect();
        self.session.batch(&self.readings, &rows).await.unwrap();
        if latest {
            let latest: Vec<_> = rows.iter().map(|row| (row.3.0 << 20, row.3, row.7, gateway, row.4, row.5, row.6)).collect();
            self.session.batch(&self.latest, &latest).await.unwrap();
        }
    }

    /// Reads every reading once, page by page; answers how long that took, and how
    /// many there were.
    pub(crate) async fn scan(&self) -> (Duration, usize) {
        let began = Instant::now();
        let cql = format!("SELECT time, value FROM {}.reading", self.keyspace);
        let rows = self.session.query_iter(cql, ()).await.unwrap().rows_stream::<(CqlTimestamp, f64)>().unwrap();
        let (count, sum) = rows.fold((0, 0.0), async |(count, sum), row| (count + 1, sum + row.unwrap().1)).await;
        std::hint::black_box(sum);
        (began.elapsed(), count)
    }

    pub(crate) async fn drop_keyspace(&self) {
        self.session.query_unpaged(format!("DROP KEYSPACE {}", self.keyspace), ()).await.unwrap();
    }
}
