//! Keyspaces and tables, how they are made, and how a release tells whether it
//! can work with them.
//!
//! Columns are plain: an analyst reads them with cqlsh. Times are UTC. Statements
//! only add; an older release can go on with what a newer one has made.

use std::path::PathBuf;

use heliograph_domain::ProviderId;
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::StoreError;
use crate::url::Cluster;

/// The schema that this release makes. One newer is one that it can work with.
pub(crate) const VERSION: i64 = 1;

/// A table and what stands in its parentheses and after `WITH`.
struct Table {
    name: &'static str,
    columns: &'static str,
    options: &'static str,
}

/// Eleven tables: Cassandra slows with many, so that a keyspace has twelve at most.
const TABLES: &[Table] = &[
    // `schema` holds the version, `migration` is the lock under which it changes,
    // `lease:NAME` is a lease, `data` changes with the readings.
    Table { name: "control", columns: "name text PRIMARY KEY, value bigint, holder text, until timestamp", options: "" },
    // What people set up, a row a thing, in one partition: a change of any number
    // of rows raises `version`, conditionally, in the same batch.
    Table {
        name: "catalog",
        columns:
            "part text, kind text, id text, version bigint static, writer uuid static, fields frozen<map<text, text>>, body text,
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
    // entry itself with its bytes.
    Table {
        name: "quarantine",
        columns: "part text, received timestamp, id uuid, trusted boolean, gateway text, address text, code text, reason text,
                  bytes bigint, raw blob, PRIMARY KEY ((part), received, id)",
        options: "CLUSTERING ORDER BY (received DESC, id DESC) AND gc_grace_seconds = 86400",
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

/// Makes a provider's keyspace and tables, where they are missing.
pub(crate) async fn make(session: &Session, cluster: &Cluster, provider: &ProviderId) -> Result<(), StoreError> {
    let keyspace = keyspace(provider);
    let Cluster { datacenter, replicas, .. } = cluster;
    let replication = format!("{{'class': 'NetworkTopologyStrategy', '{datacenter}': {replicas}}}");
    session.query_unpaged(format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"), ()).await?;
    for table in TABLES {
        session.query_unpaged(table.cql(&keyspace), ()).await?;
    }
    let version = format!("INSERT INTO {keyspace}.control (name, value) VALUES ('schema', ?)");
    session.query_unpaged(version, (VERSION,)).await?;
    Ok(())
}

/// Whether this release can work with a provider's keyspace.
pub(crate) async fn check(session: &Session, provider: &ProviderId) -> Result<(), StoreError> {
    let keyspace = keyspace(provider);
    let found = session.query_unpaged(format!("SELECT value FROM {keyspace}.control WHERE name = 'schema'"), ()).await;
    let version: Option<(Option<i64>,)> = match found {
        Ok(rows) => rows
            .into_rows_result()
            .map_err(|error| StoreError::Damaged(error.to_string()))?
            .maybe_first_row()
            .map_err(|error| StoreError::Damaged(error.to_string()))?,
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    match version.and_then(|(version,)| version) {
        None => Err(StoreError::Unavailable(format!(
            "keyspace {keyspace} is not there; make it with heliograph store init --provider {provider} --admin-url URL"
        ))),
        Some(version) if version < VERSION => Err(StoreError::Unavailable(format!(
            "keyspace {keyspace} has schema {version} and this release needs {VERSION}; run heliograph store init --provider {provider} --admin-url URL"
        ))),
        Some(version) if version > VERSION + 1 => Err(StoreError::TooNew(PathBuf::from(keyspace))),
        Some(_) => Ok(()),
    }
}

/// Whether a statement failed because there is no such keyspace or table, or none
/// that this role may know of.
fn is_missing(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyspace_has_few_tables_each_with_an_id_of_its_own() {
        let ids: std::collections::HashSet<Uuid> = TABLES.iter().map(|table| table_id("provider_a", table.name)).collect();
        assert!(ids.len() == TABLES.len() && TABLES.len() <= 12);
        assert_eq!(table_id("provider_a", "control"), table_id("provider_a", "control"));
        assert_ne!(table_id("provider_a", "control"), table_id("provider_b", "control"));
    }
}
