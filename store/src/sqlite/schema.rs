//! Tables, migrations and how a connection is set up.
//!
//! Times are milliseconds UTC, ids of things people make are UUIDs as text.
//! A `frame` holds all values of one gateway at one instant (see `frame.rs`);
//! everything else is a row a thing. Migrations only add: an older release can
//! go on with what a newer one has written.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::BUSY_TIMEOUT;
use crate::error::StoreError;
use crate::url::AckLevel;

const FIRST: &str = "
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('config', 0), ('data', 0), 
    ('quarantine_bytes_trusted', 0), ('quarantine_rows_trusted', 0), ('quarantine_bytes_strangers', 0), ('quarantine_rows_strangers', 0);

CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE location (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, zone TEXT NOT NULL,
    latitude REAL, longitude REAL, installed_kwp REAL
) WITHOUT ROWID;

CREATE TABLE gateway (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, label TEXT, state TEXT NOT NULL, first_seen INTEGER NOT NULL
);
CREATE INDEX gateway_by_state ON gateway (state, first_seen);

CREATE TABLE placement (
    gateway INTEGER NOT NULL REFERENCES gateway, start INTEGER NOT NULL, until INTEGER,
    location TEXT NOT NULL REFERENCES location, PRIMARY KEY (gateway, start)
) WITHOUT ROWID;
CREATE INDEX placement_by_location ON placement (location);

CREATE TABLE credential (
    id TEXT PRIMARY KEY, gateway INTEGER NOT NULL REFERENCES gateway,
    digest BLOB NOT NULL, created INTEGER NOT NULL, revoked INTEGER
) WITHOUT ROWID;
CREATE INDEX credential_by_gateway ON credential (gateway);

CREATE TABLE sensor (
    gateway INTEGER NOT NULL REFERENCES gateway, id TEXT NOT NULL, label TEXT,
    role TEXT NOT NULL, role_chosen INTEGER NOT NULL, rated_w REAL, PRIMARY KEY (gateway, id)
) WITHOUT ROWID;

CREATE TABLE series (
    gateway INTEGER NOT NULL REFERENCES gateway, slot INTEGER NOT NULL,
    sensor TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
    kind TEXT NOT NULL, quantity TEXT NOT NULL, chosen INTEGER NOT NULL,
    PRIMARY KEY (gateway, slot), UNIQUE (gateway, sensor, metric, unit)
) WITHOUT ROWID;

CREATE TABLE frame (gateway INTEGER NOT NULL, time INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (gateway, time)) WITHOUT ROWID;

CREATE TABLE latest (
    gateway INTEGER PRIMARY KEY, seen INTEGER NOT NULL, address TEXT NOT NULL, documents INTEGER NOT NULL, data BLOB NOT NULL
);

CREATE TABLE dirty (gateway INTEGER NOT NULL, start INTEGER NOT NULL, PRIMARY KEY (gateway, start)) WITHOUT ROWID;

CREATE TABLE rollup (
    gateway INTEGER NOT NULL, slot INTEGER NOT NULL, start INTEGER NOT NULL,
    count INTEGER NOT NULL, min REAL NOT NULL, max REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
    covered_ms INTEGER NOT NULL, positive REAL NOT NULL, negative REAL NOT NULL, increase REAL NOT NULL,
    flags INTEGER NOT NULL, PRIMARY KEY (gateway, slot, start)
) WITHOUT ROWID;

CREATE TABLE customer (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT) WITHOUT ROWID;

CREATE TABLE ownership (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL REFERENCES customer ON DELETE CASCADE,
    gateway INTEGER NOT NULL REFERENCES gateway, start INTEGER NOT NULL, until INTEGER
) WITHOUT ROWID;
CREATE INDEX ownership_by_customer ON ownership (customer);
CREATE INDEX ownership_by_gateway ON ownership (gateway);

CREATE TABLE user (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL,
    customer TEXT REFERENCES customer ON DELETE CASCADE, password_hash TEXT, created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE login_link (
    digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES user ON DELETE CASCADE, expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE session (
    digest BLOB PRIMARY KEY, user TEXT REFERENCES user ON DELETE CASCADE, data BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_by_user ON session (user);
CREATE INDEX session_by_expiry ON session (expires);

CREATE TABLE quarantine (
    id TEXT PRIMARY KEY, received INTEGER NOT NULL, gateway TEXT, address TEXT NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, bytes INTEGER NOT NULL, raw BLOB NOT NULL, trusted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX quarantine_by_age ON quarantine (received, id);
CREATE INDEX quarantine_by_trust ON quarantine (trusted, received, id);

CREATE TABLE outbox (
    id TEXT PRIMARY KEY, report TEXT NOT NULL, period TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, message_id TEXT NOT NULL, message BLOB NOT NULL, created INTEGER NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL, outcome TEXT NOT NULL, sent INTEGER,
    UNIQUE (report, period, recipient)
) WITHOUT ROWID;
CREATE INDEX outbox_by_due ON outbox (state, due);
";

fn migrations() -> Migrations<'static> {
    Migrations::new(vec![M::up(FIRST)])
}

/// Opens a file for writing, making and migrating it if need be. Processes that
/// start at once take turns by a lock on a file beside it.
pub(super) fn open_migrated(path: &Path, ack: AckLevel) -> Result<Connection, StoreError> {
    let failed = |problem: String| StoreError::Open { place: path.display().to_string(), problem };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.with_extension("db.lock"))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| failed(format!("cannot be locked: {error}")))?;
    let mut connection = open(path, ack)?;
    let migrated = migrations().to_latest(&mut connection);
    drop(lock);
    match migrated {
        Ok(()) => Ok(connection),
        Err(rusqlite_migration::Error::MigrationDefinition(
            rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
        )) => Err(StoreError::TooNew(path.to_owned())),
        Err(error) => Err(failed(format!("cannot be migrated: {error}"))),
    }
}

/// Opens a file for writing that is there and migrated already.
pub(super) fn open(path: &Path, ack: AckLevel) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Open { place: path.display().to_string(), problem: error.to_string() };
    make_private(path).map_err(|error| StoreError::Open { place: path.display().to_string(), problem: error.to_string() })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let synchronous = match ack {
        AckLevel::PowerLoss => "FULL",
        AckLevel::ProcessCrash => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the file before SQLite does, for its owner alone; the files beside it
/// inherit that. A file of another owner stays as it is.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        drop(file.set_permissions(Permissions::from_mode(0o600)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_valid() {
        assert!(super::migrations().validate().is_ok());
    }
}
