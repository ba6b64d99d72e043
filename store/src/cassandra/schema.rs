//! Keyspaces and tables, how they are made, and how a release tells whether it
//! can work with them.
//!
//! Columns are plain: an analyst reads them with cqlsh. Times are UTC. Statements
//! only add; an older release can go on with what a newer one has made.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use heliograph_domain::ProviderId;
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::value::CqlValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::conditional::{applied, conditional};
use crate::error::StoreError;
use crate::url::Cluster;

/// The schema that this release makes. One newer is one that it can work with.
pub(crate) const VERSION: i64 = 1;

/// What leads to a version of the schema from the one before, on a keyspace. Its
/// statements only add, and their repetition changes nothing (`IF NOT EXISTS`, for
/// columns too): the release before goes on with what is there then, and a step that
/// was cut short is done again from its beginning.
///
/// A table that a later version adds to stays in [`TABLES`] as it first was: its
/// columns come from the step. The contract suite holds each version against its
/// statements as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) version: i64,
    pub(crate) statements: fn(&str) -> Vec<String>,
}

/// From nothing to [`VERSION`].
const STEPS: &[Step] = &[Step { version: VERSION, statements: tables }];

/// The tables of schema 1.
fn tables(keyspace: &str) -> Vec<String> {
    TABLES.iter().map(|table| table.cql(keyspace)).collect()
}

/// Where the version and the lock stand.
const CONTROL: &str = "control";

/// A table and what stands in its parentheses and after `WITH`.
struct Table {
    name: &'static str,
    columns: &'static str,
    options: &'static str,
}

/// Eleven tables: Cassandra slows with many, so that a keyspace has twelve at most.
const TABLES: &[Table] = &[
    // `schema` holds the version, `migration` is the lock under which it changes,
    // `lease:NAME` is a lease, `data` changes with the readings, `clock-samples:GATEWAY`
    // holds what was seen of a gateway's clock, `intake` when documents were taken in,
    // `alert-watches` since when what may become an alert holds.
    Table { name: CONTROL, columns: "name text PRIMARY KEY, value bigint, holder text, until timestamp", options: "" },
    // What people set up, a row a thing, in one partition: a change of any number
    // of rows raises `version`, conditionally, in the same batch.
    Table {
        name: "catalog",
        columns: "part text, kind text, id text, version bigint static, fields frozen<map<text, text>>, body text,
                  PRIMARY KEY ((part), kind, id)",
        options: "",
    },
    Table {
        name: "reading",
        columns: "gateway text, day date, bucket smallint, time timestamp, sensor text, metric text, unit text, value double,
                  PRIMARY KEY ((gateway, day, bucket), time, sensor, metric, unit)",
        options: "compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', 'compaction_window_size': 7}",
    },
    // A row a series; a row without metric is the sensor itself. `latest_*` are
    // written with the reading's time as their timestamp.
    Table {
        name: "series",
        columns: "gateway text, sensor text, metric text, unit text, seen timestamp static, address text static,
                  role text, role_chosen boolean, label text, rated_w double, kind text, quantity text, chosen boolean,
                  first timestamp, last timestamp, latest_time timestamp, latest_value double,
                  PRIMARY KEY ((gateway), sensor, metric, unit)",
        options: "",
    },
    Table { name: "pushed", columns: "gateway text PRIMARY KEY, documents counter", options: "" },
    Table {
        name: "rollup",
        columns: "gateway text, step text, period text, sensor text, metric text, unit text, start timestamp,
                  count bigint, min double, max double, first double, last double, covered_ms bigint,
                  positive double, negative double, increase double, flags int, zone text,
                  PRIMARY KEY ((gateway, step, period), sensor, metric, unit, start)",
        options: "",
    },
    // Windows to be computed anew, by the process that wrote into them.
    Table {
        name: "mark",
        columns: "shard smallint, gateway text, start timestamp, replica text, stamp bigint,
                  PRIMARY KEY ((shard), gateway, start, replica)",
        options: "gc_grace_seconds = 3600",
    },
    Table {
        name: "session",
        columns: "digest blob PRIMARY KEY, kind text, user uuid, epoch bigint, data blob, expires timestamp",
        options: "",
    },
    // `part` is `trusted` or `strangers` for what lists show, and an id for the
    // entry itself with its bytes, with a number for those beyond a megabyte.
    Table {
        name: "quarantine",
        columns: "part text, received timestamp, id uuid, trusted boolean, gateway text, address text, code text, reason text,
                  bytes bigint, raw blob, PRIMARY KEY ((part), received, id)",
        options: "CLUSTERING ORDER BY (received DESC, id DESC) AND gc_grace_seconds = 3600",
    },
    // `part` is `mail:DIGEST` of report, period and recipient for the mail itself,
    // at the place `mail`; `waiting`, `made:MONTH` and `id:ID` lead to it by the
    // column `mail`; `months` lists the months.
    Table {
        name: "outbox",
        columns: "part text, place text, mail text, id uuid, report text, period text, recipient text, subject text,
                  message_id text, message blob, state text, attempts int, created timestamp, due timestamp, outcome text,
                  sent timestamp, PRIMARY KEY ((part), place)",
        options: "CLUSTERING ORDER BY (place DESC) AND gc_grace_seconds = 86400",
    },
    Table {
        name: "audit",
        columns: "year_month text, seq bigint, at timestamp, actor text, action text, object text, detail text, hash blob,
                  PRIMARY KEY ((year_month), seq)",
        options: "",
    },
];

/// The keyspace of a provider. An id holds nothing that a statement could trip on.
pub(crate) fn keyspace(provider: &ProviderId) -> String {
    format!("provider_{provider}")
}

/// The table's id, which is the same whoever makes it: two that start at once
/// make one table, not two versions of it.
fn table_id(keyspace: &str, table: &str) -> Uuid {
    let digest = Sha256::digest(format!("heliograph {keyspace}.{table}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

impl Table {
    fn cql(&self, keyspace: &str) -> String {
        let Self { name, columns, options } = self;
        let and = if options.is_empty() { "" } else { " AND " };
        format!("CREATE TABLE IF NOT EXISTS {keyspace}.{name} ({columns}) WITH ID = {} {and}{options}", table_id(keyspace, name))
    }
}

/// How long a migration may take before another process may take its place.
const LOCK: Duration = Duration::from_secs(60);
/// How often a process looks whether the lock is free.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// Makes a provider's keyspace and tables, where they are missing, and brings them up
/// to this release.
pub(crate) async fn migrate(session: &Session, cluster: &Cluster, provider: &ProviderId) -> Result<(), StoreError> {
    migrate_by(session, cluster, provider, STEPS).await
}

async fn migrate_by(session: &Session, cluster: &Cluster, provider: &ProviderId, steps: &[Step]) -> Result<(), StoreError> {
    let keyspace = keyspace(provider);
    if is_done(version(session, &keyspace).await?, &keyspace, steps)? {
        return Ok(());
    }
    let Cluster { datacenter, replicas, .. } = cluster;
    let replication = format!("{{'class': 'NetworkTopologyStrategy', '{datacenter}': {replicas}}}");
    ddl(session, format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}")).await?;
    // The lock lies in a table whose id is fixed: two that make it make one.
    for table in TABLES.iter().filter(|table| table.name == CONTROL) {
        ddl(session, table.cql(&keyspace)).await?;
    }
    let lock = lock(session, provider).await?;
    let migrated = migrate_locked(session, &keyspace, &lock, steps).await;
    let unlocked = unlock(session, provider, &lock).await;
    migrated.and(unlocked)
}

/// Whether a keyspace has what these steps lead to, or the release after has been at
/// work, which this one can work with.
fn is_done(version: Option<i64>, keyspace: &str, steps: &[Step]) -> Result<bool, StoreError> {
    let newest = newest(steps);
    match version {
        Some(version) if version > newest + 1 => Err(StoreError::TooNew(PathBuf::from(keyspace))),
        version => Ok(version.is_some_and(|version| version >= newest)),
    }
}

fn newest(steps: &[Step]) -> i64 {
    steps.last().map_or(0, |step| step.version)
}

async fn migrate_locked(session: &Session, keyspace: &str, lock: &Uuid, steps: &[Step]) -> Result<(), StoreError> {
    let mut there = version(session, keyspace).await?;
    if is_done(there, keyspace, steps)? {
        return Ok(());
    }
    let begun_at = there;
    for step in steps.iter().filter(|step| begun_at.is_none_or(|begun_at| step.version > begun_at)) {
        for statement in (step.statements)(keyspace) {
            keep_lock(session, keyspace, lock).await?;
            ddl(session, statement).await?;
        }
        let noted = format!("UPDATE {keyspace}.{CONTROL} SET value = ? WHERE name = 'schema' IF value = ?");
        // Where its answer did not come, it finds its own version there.
        patiently(session, &noted, (step.version, there)).await?;
        there = Some(step.version);
    }
    Ok(())
}

/// Holds the lock for another while.
async fn keep_lock(session: &Session, keyspace: &str, holder: &Uuid) -> Result<(), StoreError> {
    let cql =
        format!("UPDATE {keyspace}.{CONTROL} USING TTL {} SET holder = ? WHERE name = 'migration' IF holder = ?", LOCK.as_secs());
    let holder = holder.to_string();
    if applied(patiently(session, &cql, (&holder, &holder)).await?)? {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("another process has begun to change keyspace {keyspace}")))
}

/// Runs a statement about tables. Its repetition changes nothing.
async fn ddl(session: &Session, cql: String) -> Result<(), StoreError> {
    Ok(patiently(session, &cql, ()).await.map(drop)?)
}

/// How long a statement is tried while nodes are busy with a change of tables.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a statement whose repetition changes nothing, again where the nodes are busy
/// with a change of tables: while one is made a node names it to whoever asks, and
/// fails on whoever uses it.
async fn patiently(session: &Session, cql: &str, values: impl SerializeRow + Copy) -> Result<QueryResult, ExecutionError> {
    let began = Instant::now();
    loop {
        match session.query_unpaged(cql, values).await {
            Err(error) if began.elapsed() < PATIENCE && !is_answer(&error) => {}
            done => return done,
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// Whether it is what the nodes say of the statement, and not of how they are.
fn is_answer(error: &ExecutionError) -> bool {
    use DbError::{AlreadyExists, ConfigError, Invalid, SyntaxError, Unauthorized};
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) = error else { return false };
    matches!(error, AlreadyExists { .. } | ConfigError | Invalid | SyntaxError | Unauthorized)
}

/// Takes the lock under which a keyspace changes; answers what holds it.
pub(crate) async fn lock(session: &Session, provider: &ProviderId) -> Result<Uuid, StoreError> {
    let (keyspace, holder) = (keyspace(provider), Uuid::new_v4());
    // The cluster's own clock lets go of it, should this process end meanwhile.
    let cql = format!(
        "INSERT INTO {keyspace}.{CONTROL} (name, holder) VALUES ('migration', ?) IF NOT EXISTS USING TTL {}",
        LOCK.as_secs()
    );
    let (began, mine) = (Instant::now(), Some(CqlValue::Text(holder.to_string())));
    loop {
        match session.query_unpaged(cql.as_str(), (holder.to_string(),)).await {
            Ok(answer) => {
                let (applied, there) = conditional(answer)?;
                // Where an answer did not come the lock may be taken all the same.
                if applied == Some(CqlValue::Boolean(true)) || there.get("holder") == mine.as_ref() {
                    return Ok(holder);
                }
            }
            // Where many want it at once, the nodes have no answer in time.
            Err(error) if began.elapsed() > LOCK => return Err(error.into()),
            Err(_) => {}
        }
        if began.elapsed() > LOCK * 2 {
            return Err(StoreError::Unavailable(format!("another process has been changing keyspace {keyspace} for minutes")));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// Lets go of the lock.
pub(crate) async fn unlock(session: &Session, provider: &ProviderId, holder: &Uuid) -> Result<(), StoreError> {
    let cql = format!("DELETE FROM {}.{CONTROL} WHERE name = 'migration' IF holder = ?", keyspace(provider));
    Ok(patiently(session, &cql, (&holder.to_string(),)).await.map(drop)?)
}

/// The schema that a keyspace has, if it is there.
async fn version(session: &Session, keyspace: &str) -> Result<Option<i64>, StoreError> {
    version_in(patiently(session, &version_query(keyspace), ()).await, keyspace)
}

fn version_query(keyspace: &str) -> String {
    format!("SELECT value FROM {keyspace}.{CONTROL} WHERE name = 'schema'")
}

fn version_in(found: Result<QueryResult, ExecutionError>, keyspace: &str) -> Result<Option<i64>, StoreError> {
    let rows = match found {
        Ok(rows) => rows.into_rows_result().map_err(|error| StoreError::Damaged(error.to_string()))?,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))) => {
            let problem = format!("this role may not read keyspace {keyspace}; heliograph store init grants it");
            return Err(StoreError::Unavailable(problem));
        }
        Err(error) => return Err(error.into()),
    };
    let row = rows.maybe_first_row::<(Option<i64>,)>().map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(row.and_then(|(version,)| version))
}

/// Whether this release can work with a provider's keyspace.
pub(crate) async fn check(session: &Session, provider: &ProviderId) -> Result<(), StoreError> {
    check_by(session, provider, VERSION).await
}

/// Whether a release whose schema is `known` can.
async fn check_by(session: &Session, provider: &ProviderId, known: i64) -> Result<(), StoreError> {
    let keyspace = keyspace(provider);
    let command = format!("heliograph store init --provider {provider} --admin-url URL");
    // Whoever works with the store asks again.
    let found = session.query_unpaged(version_query(&keyspace), ()).await;
    match version_in(found, &keyspace)? {
        None => Err(StoreError::Unavailable(format!("keyspace {keyspace} is not there; make it with {command}"))),
        Some(version) if version < known => Err(StoreError::Unavailable(format!(
            "keyspace {keyspace} has schema {version} and this release needs {known}; run {command}"
        ))),
        Some(version) if version > known + 1 => Err(StoreError::TooNew(PathBuf::from(keyspace))),
        Some(_) => Ok(()),
    }
}

/// Whether a statement failed because there is no such keyspace or table, or none
/// that this role may know of.
fn is_missing(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
}

#[cfg(test)]
mod tests;
