//! The readings of a keyspace, read with the bare driver as anybody may.

use std::time::Duration;

use futures_util::TryStreamExt;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use scylla::value::CqlTimestamp;

use super::Stored;

type Row = (String, String, String, String, CqlTimestamp, f64);

/// Nodes that have just come back are slow at first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every reading of a provider, whatever its partition, as a majority of the
/// replicas has it.
pub(crate) async fn read(nodes: &[&str], provider: &str) -> Vec<Stored> {
    let session = SessionBuilder::new().known_nodes(nodes).user("cassandra", "cassandra").build().await.unwrap();
    let query = format!("SELECT gateway, sensor, metric, unit, time, value FROM provider_{provider}.reading");
    let mut statement = Statement::new(query).with_page_size(1000);
    statement.set_consistency(Consistency::Quorum);
    statement.set_request_timeout(Some(PATIENCE));
    statement.set_is_idempotent(true);
    let rows = session.query_iter(statement, ()).await.unwrap().rows_stream::<Row>().unwrap();
    let stored =
        rows.map_ok(|(gateway, sensor, metric, unit, time, value)| Stored { gateway, sensor, metric, unit, time: time.0, value });
    stored.try_collect().await.unwrap()
}
