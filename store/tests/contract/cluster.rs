//! Keyspaces on the real node that deploy/dev/cassandra.sh starts.
//!
//! Making a keyspace takes seconds, so that a test takes one which an earlier test
//! has left and empties it. A file's lock says which are in use, by this process
//! or another; their name changes with the tables. They go with the node's data.

use std::fs::File;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::try_join_all;
use heliograph_domain::{ProviderId, Secret};
use heliograph_store::{ClusterAdmin, StoreUrl};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use tokio::runtime::Runtime;

pub(crate) const NODE: &str = "127.0.0.1:9042";
const TABLES: &str = include_str!("../../src/cassandra/schema.rs");
/// Keyspaces in use at once, at most.
const MOST: usize = 24;

/// Tests have runtimes of their own, which end with them.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
static SESSION: LazyLock<Session> = LazyLock::new(|| {
    wait(async {
        let session = SessionBuilder::new().known_node(NODE).user("cassandra", "cassandra").build().await;
        session.unwrap_or_else(|error| {
            panic!("no Cassandra answers at {NODE}, start it with deploy/dev/cassandra.sh start: {error}")
        })
    })
});

/// A provider's empty keyspace, until it is dropped.
pub(crate) struct Keyspace {
    pub(crate) provider: ProviderId,
    _lock: File,
}

/// The node, in the hands of its administrator.
pub(crate) fn url() -> StoreUrl {
    url_of("cassandra", "cassandra")
}

/// The node, in somebody's hands.
pub(crate) fn url_of(user: &str, password: &str) -> StoreUrl {
    url_at(NODE, "").signed_in(user, Secret::new(password))
}

/// The node, for keyspaces with so many copies of a row.
pub(crate) fn url_with_copies(copies: u8) -> StoreUrl {
    let url = StoreUrl::parse(&format!("cassandra://{NODE}/?dc=datacenter1&rf={copies}")).unwrap();
    url.signed_in("cassandra", Secret::new("cassandra"))
}

/// The node by another address, with further options of the URL.
pub(crate) fn url_at(address: &str, options: &str) -> StoreUrl {
    let url = StoreUrl::parse(&format!("cassandra://{address}/?dc=datacenter1&rf=1{options}")).unwrap();
    url.signed_in("cassandra", Secret::new("cassandra"))
}

/// The certificate that the node's is signed by.
pub(crate) fn ca() -> PathBuf {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/cassandra.sh");
    let said = Command::new(script).arg("ca").output().unwrap();
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}

/// Runs a statement as the administrator.
pub(crate) fn administer(cql: String) {
    try_administer(cql).unwrap();
}

/// The same where it may fail.
pub(crate) fn try_administer(cql: String) -> Result<(), String> {
    LazyLock::force(&SESSION);
    wait(async move { SESSION.query_unpaged(cql, ()).await.map(drop).map_err(|error| error.to_string()) })
}

/// The rows of a query as JSON, as the administrator sees them.
pub(crate) fn rows(cql: String) -> Vec<String> {
    LazyLock::force(&SESSION);
    wait(json(cql))
}

async fn json(cql: String) -> Vec<String> {
    let rows = SESSION.query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
    rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect()
}

/// Runs something on a thread where waiting hinders no test's runtime.
pub(crate) fn wait<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    RUNTIME.spawn(async move { done.send(task.await) });
    result.recv().unwrap()
}

/// An empty keyspace that nobody else uses.
pub(crate) fn keyspace() -> Keyspace {
    LazyLock::force(&SESSION);
    let mut hash = DefaultHasher::new();
    TABLES.hash(&mut hash);
    let name = format!("test_{:08x}", hash.finish() as u32);
    let (provider, lock) = loop {
        let free = (0..MOST).find_map(|number| {
            let provider = format!("{name}_{number}");
            let lock = File::create(std::env::temp_dir().join(format!("heliograph-{provider}.lock"))).unwrap();
            lock.try_lock().is_ok().then_some((provider, lock))
        });
        match free {
            Some(free) => break free,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let provider = ProviderId::parse(&provider).unwrap();
    wait(empty(provider.clone()));
    Keyspace { provider, _lock: lock }
}

async fn empty(provider: ProviderId) {
    ClusterAdmin::connect(&url()).await.unwrap().keyspace_make(&provider).await.unwrap();
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let rows = SESSION.query_unpaged(tables, (format!("provider_{provider}"),)).await.unwrap().into_rows_result().unwrap();
    let tables: Vec<String> = rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect();
    let keyspace = format!("provider_{provider}");
    empty_table(keyspace.clone(), "reading").await.unwrap();
    let others = tables.iter().filter(|table| *table != "reading").map(|table| empty_table(keyspace.clone(), table));
    try_join_all(others).await.unwrap();
}

/// All rows of a provider's keyspace, as JSON.
pub(crate) fn rows_of(provider: &ProviderId) -> String {
    let keyspace = format!("provider_{provider}");
    wait(async move {
        let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let tables = SESSION.query_unpaged(tables, (&keyspace,)).await.unwrap().into_rows_result().unwrap();
        let mut all = String::new();
        for table in tables.rows::<(String,)>().unwrap().map(|row| row.unwrap().0) {
            all.extend(json(format!("SELECT JSON * FROM {keyspace}.{table}")).await);
        }
        all
    })
}

async fn empty_table(keyspace: String, table: &str) -> Result<(), ExecutionError> {
    if table == "control" {
        return empty_control(&keyspace).await;
    }
    // Where all readings were deleted, that would hide those of the past that come later:
    // they are looked for by their series.
    let rows_of = if table == "reading" { "series" } else { table };
    let rows = SESSION.query_unpaged(format!("SELECT * FROM {keyspace}.{rows_of} LIMIT 1"), ()).await?;
    if rows.into_rows_result().unwrap().rows_num() > 0 {
        SESSION.query_unpaged(format!("TRUNCATE {keyspace}.{table}"), ()).await?;
    }
    Ok(())
}

/// Which release made a keyspace is part of an empty one.
async fn empty_control(keyspace: &str) -> Result<(), ExecutionError> {
    let rows = SESSION.query_unpaged(format!("SELECT name FROM {keyspace}.control"), ()).await?.into_rows_result().unwrap();
    let names: Vec<String> = rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect();
    for name in names.into_iter().filter(|name| name != "schema") {
        SESSION.query_unpaged(format!("DELETE FROM {keyspace}.control WHERE name = ? IF EXISTS"), (name,)).await?;
    }
    Ok(())
}
