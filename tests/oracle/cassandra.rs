//! The readings and rollups of a keyspace, read with the bare driver as anybody may.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use scylla::value::CqlTimestamp;

use super::Stored;
use super::rollups::{Figures, Kinds, Rolled};

/// Nodes that have just come back are slow at first.
const PATIENCE: Duration = Duration::from_secs(60);

/// All rows of a provider's table, whatever their partition, as a majority of the
/// replicas has them.
async fn rows<T>(nodes: &[&str], provider: &str, columns: &str, table: &str) -> Vec<T>
where
    T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
{
    let session = SessionBuilder::new().known_nodes(nodes).user("cassandra", "cassandra").build().await.unwrap();
    let mut statement = Statement::new(format!("SELECT {columns} FROM provider_{provider}.{table}")).with_page_size(1000);
    statement.set_consistency(Consistency::Quorum);
    statement.set_request_timeout(Some(PATIENCE));
    statement.set_is_idempotent(true);
    let rows = session.query_iter(statement, ()).await.unwrap().rows_stream::<T>().unwrap();
    rows.try_collect().await.unwrap()
}

/// Every reading of a provider.
pub(crate) async fn read(nodes: &[&str], provider: &str) -> Vec<Stored> {
    type Row = (String, String, String, String, CqlTimestamp, f64);
    let rows = rows::<Row>(nodes, provider, "gateway, sensor, metric, unit, time, value", "reading").await;
    let stored =
        |(gateway, sensor, metric, unit, time, value): Row| Stored { gateway, sensor, metric, unit, time: time.0, value };
    rows.into_iter().map(stored).collect()
}

/// Waits until no rollups are due: some minutes, for marks of days follow those of
/// windows, and those of months follow them.
pub(crate) async fn await_settled(nodes: &[&str], provider: &str, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        let due = rows::<(String,)>(nodes, provider, "gateway", "mark").await.len();
        if due == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{due} marks are there still");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What the series of a provider are.
pub(super) async fn kinds(nodes: &[&str], provider: &str) -> Kinds {
    type Row = (String, String, String, String, Option<String>);
    let rows = rows::<Row>(nodes, provider, "gateway, sensor, metric, unit, kind", "series").await;
    // A row without a kind is the sensor itself.
    rows.into_iter().filter_map(|(gateway, sensor, metric, unit, kind)| Some(((gateway, sensor, metric, unit), kind?))).collect()
}

/// The rollups of a provider.
pub(super) async fn rolled(nodes: &[&str], provider: &str) -> Vec<Rolled> {
    type Row = (String, String, String, String, String, CqlTimestamp, i64, f64, f64, f64, f64, f64);
    let columns = "gateway, sensor, metric, unit, step, start, count, min, max, first, last, increase";
    let rows = rows::<Row>(nodes, provider, columns, "rollup").await;
    let rolled = |(gateway, sensor, metric, unit, step, start, count, min, max, first, last, increase): Row| Rolled {
        series: (gateway, sensor, metric, unit),
        step,
        start: start.0,
        figures: Figures { count, min, max, first, last, increase },
    };
    rows.into_iter().map(rolled).collect()
}
