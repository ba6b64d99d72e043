//! Tables, migrations and how a connection is set up.
//!
//! Times are milliseconds UTC, ids of things people make are UUIDs as text.
//! A `frame` holds all values of one gateway at one instant (see `frame.rs`);
//! everything else is a row a thing.
//!
//! A release has one schema version. Its migration only adds, so that the
//! release before goes on reading and writing a migrated file, and an upgrade
//! can be taken back. Two numbers say so: the counter `schema` is the version of
//! the file, `user_version` the oldest one that a binary has to know to use it.
//! Migration libraries keep the first number only, and would lock the release
//! before out.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{BUSY_TIMEOUT, copy, latest, log, overwrite};
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

/// What follows the reports when hardware changes, rollups of local days and
/// months, the audit trail, a checksum a frame, and the stamp of the latest
/// document, by which one that is written again is known.
///
/// The release before it knew nothing of checksums: where it rewrites a frame, the
/// trigger clears what was the checksum of the old bytes.
const SECOND: &str = "
CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;

CREATE TABLE span (
    gateway INTEGER NOT NULL, slot INTEGER NOT NULL, step TEXT NOT NULL, start INTEGER NOT NULL,
    until INTEGER NOT NULL, zone TEXT NOT NULL,
    count INTEGER NOT NULL, min REAL NOT NULL, max REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
    covered_ms INTEGER NOT NULL, positive REAL NOT NULL, negative REAL NOT NULL, increase REAL NOT NULL,
    flags INTEGER NOT NULL, PRIMARY KEY (gateway, slot, step, start)
) WITHOUT ROWID;

INSERT INTO record SELECT 'respan', CAST(number AS TEXT), '{}' FROM gateway;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    object TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL
);

ALTER TABLE latest ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;

ALTER TABLE frame ADD COLUMN crc INTEGER;
CREATE TRIGGER frame_rewritten AFTER UPDATE OF data ON frame
WHEN NEW.crc IS NOT NULL AND NEW.crc IS OLD.crc AND NEW.data IS NOT OLD.data
BEGIN UPDATE frame SET crc = NULL WHERE gateway = NEW.gateway AND time = NEW.time; END;
";

/// Packed rollups, and what finds the documents that are held for a gateway.
///
/// The release before knows nothing of packed rollups: where it changes rollups,
/// they are made anew, and spans with them. This release says by the column `packed`
/// that it has done so: 1, or 0 of a row that it is about to remove.
const THIRD: &str = "
CREATE INDEX quarantine_by_gateway ON quarantine (gateway, code, trusted, bytes);

CREATE TABLE quarter (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
ALTER TABLE rollup ADD COLUMN packed INTEGER;
INSERT INTO record SELECT 'repack', CAST(number AS TEXT), '{}' FROM gateway;
CREATE TRIGGER rollup_written AFTER INSERT ON rollup WHEN NEW.packed IS NULL
BEGIN INSERT OR REPLACE INTO record VALUES
    ('repack', CAST(NEW.gateway AS TEXT), '{}'), ('respan', CAST(NEW.gateway AS TEXT), '{}'); END;
CREATE TRIGGER rollup_removed AFTER DELETE ON rollup WHEN OLD.packed IS NOT 0
BEGIN INSERT OR REPLACE INTO record VALUES
    ('repack', CAST(OLD.gateway AS TEXT), '{}'), ('respan', CAST(OLD.gateway AS TEXT), '{}'); END;
";

/// A checksum of what is latest of a gateway; what else there is but for readings and
/// rollups has a copy ([`copy`]).
///
/// The release before knows nothing of that checksum: where it rewrites the row, the
/// trigger clears it.
const FOURTH: &str = "
ALTER TABLE latest ADD COLUMN crc INTEGER;
CREATE TRIGGER latest_rewritten AFTER UPDATE ON latest
WHEN NEW.crc IS NOT NULL AND NEW.crc IS OLD.crc
    AND (NEW.seen, NEW.address, NEW.documents, NEW.stamp, NEW.data) IS NOT (OLD.seen, OLD.address, OLD.documents, OLD.stamp, OLD.data)
BEGIN UPDATE latest SET crc = NULL WHERE gateway = NEW.gateway; END;
";

/// The migrations to each schema version, the first one first. A step stays as it was
/// when somebody first ran it; what comes later is a step of its own.
pub(super) const STEPS: &[fn() -> String] =
    &[|| FIRST.to_owned(), || SECOND.to_owned(), || THIRD.to_owned(), || format!("{FOURTH}{}", copy::step())];

/// The version of this release's schema.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The oldest version that a binary has to know to use a file of `version`: the
/// release before does.
const fn oldest_compatible(version: i64) -> i64 {
    if version > 1 { version - 1 } else { 1 }
}

enum MigrationError {
    TooNew,
    Failed(StoreError),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for MigrationError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Brings a file to this release's version; one of a newer release stays as it is
/// where that release allows it.
fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if oldest > VERSION {
        return Err(MigrationError::TooNew);
    }
    let version = if oldest == 0 { 0 } else { stored_version(&transaction)? };
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(&step())?;
    }
    if version < VERSION {
        transaction.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('schema', ?1)", [VERSION])?;
        transaction.pragma_update(None, "user_version", oldest_compatible(VERSION))?;
    }
    // Those of before, and those that the release before has written since.
    latest::sum_up(&transaction)?;
    Ok(transaction.commit()?)
}

/// Fails where a file is of an older release still.
pub(super) fn require_migrated(connection: &Connection) -> Result<(), StoreError> {
    let version = stored_version(connection)?;
    if version >= VERSION {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("the file has schema {version} still, and waits to be migrated to {VERSION}")))
}

/// The version of a file that has one; the first release did not write it down.
fn stored_version(connection: &Connection) -> rusqlite::Result<i64> {
    let mut query = connection.prepare("SELECT value FROM counter WHERE name = 'schema'")?;
    Ok(query.query_row([], |row| row.get(0)).optional()?.unwrap_or(1))
}

/// Tells of each table, index and trigger whose definition is not what this release
/// makes it. What somebody has added is theirs, and so is what a newer release has.
pub(super) fn compare(connection: &Connection, mut tell: impl FnMut(&str)) -> rusqlite::Result<()> {
    if stored_version(connection)? > VERSION {
        return Ok(());
    }
    let fresh = Connection::open_in_memory()?;
    for step in STEPS {
        fresh.execute_batch(&step())?;
    }
    let mut stored = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND sql = ?3")?;
    let mut made = fresh.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let mut rows = made.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !stored.exists([&kind, &name, &sql])? {
            tell(&format!("{kind} {name}"));
        }
    }
    Ok(())
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
    let log_is_damaged = log::keep_damaged(path)?;
    let mut connection = open(path, ack)?;
    if log_is_damaged {
        log::begin_anew(&connection, BUSY_TIMEOUT);
    }
    let migrated = migrate(&mut connection);
    drop(lock);
    match migrated {
        Ok(()) => Ok(connection),
        Err(MigrationError::TooNew) => Err(StoreError::TooNew(path.to_owned())),
        Err(MigrationError::Failed(error)) => Err(failed(format!("cannot be migrated: {error}"))),
    }
}

/// Opens a file for writing that is there and migrated already.
pub(super) fn open(path: &Path, ack: AckLevel) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Open { place: path.display().to_string(), problem: error.to_string() };
    make_private(path).map_err(|error| StoreError::Open { place: path.display().to_string(), problem: error.to_string() })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Of a new file only, and before its first page: it can be shortened in pieces.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let synchronous = match ack {
        AckLevel::PowerLoss => "FULL",
        AckLevel::ProcessCrash => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    overwrite::set_up(&connection)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Makes the file before SQLite does, for its owner alone; the files beside it
/// inherit that. A file of another owner stays as it is.
///
/// A file that is there is not opened: closing it again would take away the locks
/// that this process holds on it by other connections, and the next process that
/// closes the file would take itself for the last and remove the log under them.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        drop(std::fs::set_permissions(path, Permissions::from_mode(0o600)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use sha2::{Digest, Sha256};

    use super::*;

    /// A file as the release of a version has made it; the first one did not write
    /// its version down.
    fn of_release(version: i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in &STEPS[..usize::try_from(version).unwrap()] {
            connection.execute_batch(&step()).unwrap();
        }
        if version > 1 {
            connection.execute("INSERT INTO counter (name, value) VALUES ('schema', ?1)", [version]).unwrap();
        }
        connection.pragma_update(None, "user_version", oldest_compatible(version)).unwrap();
        connection
    }

    /// SHA-256 of each step's statements as they were first run.
    const AS_FIRST_RUN: [&str; 4] = [
        "7504b814930e6bd106265fb4542c0345f36314a2c2486f55f5519843a9c6c602",
        "53e3e19e71244d0127149316f681a97c9b490996be25caed437e8d36845d2c7b",
        "ef4ce9cec0316f92b906801c02e2a01e83592da3e1d2e861e86a50d27e765c19",
        "a7a039501fe3cc8ab6eaeb45a228e28a24db8dd533bbc30b7f4669bb8596a8ce",
    ];

    #[test]
    fn no_step_has_changed_since_it_was_first_run() {
        let digest = |step: &fn() -> String| Sha256::digest(step()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(STEPS.iter().map(digest).collect::<Vec<_>>(), AS_FIRST_RUN);
    }

    fn versions(connection: &Connection) -> (i64, i64) {
        let oldest = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        (oldest, stored_version(connection).unwrap())
    }

    /// The locks that this process holds on a file.
    fn locks(path: &Path) -> Vec<String> {
        let (process, file) = (std::process::id().to_string(), format!(":{}", std::fs::metadata(path).unwrap().ino()));
        let all = std::fs::read_to_string("/proc/locks").unwrap();
        let fields = all.lines().map(|lock| lock.split_whitespace().skip(1).collect::<Vec<_>>());
        fields.filter(|lock| lock.contains(&process.as_str()) && lock[4].ends_with(&file)).map(|lock| lock.join(" ")).collect()
    }

    #[test]
    fn who_has_a_file_open_keeps_its_locks_when_it_is_opened_and_closed_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sunrise.db");
        let reader = open_migrated(&path, AckLevel::PowerLoss).unwrap();
        let held = locks(&path);
        assert!(!held.is_empty());
        drop(open(&path, AckLevel::PowerLoss).unwrap());
        assert_eq!(locks(&path), held);
        drop(reader);
        assert!(locks(&path).is_empty());
    }

    #[test]
    fn a_new_file_and_those_of_all_releases_before_end_at_the_same_schema() {
        let mut fresh = Connection::open_in_memory().unwrap();
        let (mut first, mut second, mut third) = (of_release(1), of_release(2), of_release(3));
        let tables = |connection: &Connection| -> Vec<String> {
            let mut query = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        for connection in [&mut fresh, &mut first, &mut second, &mut third] {
            assert!(migrate(connection).is_ok());
            assert!(migrate(connection).is_ok(), "a second time there is nothing to do");
            assert_eq!(versions(connection), (VERSION - 1, VERSION));
        }
        assert_eq!(tables(&fresh), tables(&first));
        assert_eq!(tables(&fresh), tables(&second));
        assert_eq!(tables(&fresh), tables(&third));
    }

    #[test]
    fn a_file_one_release_ahead_is_used_as_it_is_and_one_two_ahead_is_refused() {
        let mut ahead = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut ahead).is_ok());
        for (version, usable) in [(VERSION + 1, true), (VERSION + 2, false)] {
            ahead.execute("UPDATE counter SET value = ?1 WHERE name = 'schema'", [version]).unwrap();
            ahead.pragma_update(None, "user_version", oldest_compatible(version)).unwrap();
            assert_eq!(migrate(&mut ahead).is_ok(), usable, "{version}");
            assert_eq!(versions(&ahead).1, version, "it is left alone");
        }
    }

    #[test]
    fn a_checksum_does_not_outlive_the_bytes_that_the_release_before_rewrites() {
        let mut connection = of_release(1);
        assert!(migrate(&mut connection).is_ok());
        connection.execute("INSERT INTO frame (gateway, time, data, crc) VALUES (1, 1, x'00', 7)", []).unwrap();
        let upsert = "INSERT INTO frame (gateway, time, data) VALUES (1, 1, ?1) ON CONFLICT DO UPDATE SET data = excluded.data";
        let crc = |connection: &Connection| -> Option<i64> {
            connection.query_row("SELECT crc FROM frame", [], |row| row.get(0)).unwrap()
        };
        connection.execute(upsert, [vec![0u8]]).unwrap();
        assert_eq!(crc(&connection), Some(7), "the same bytes keep it");
        connection.execute(upsert, [vec![1u8]]).unwrap();
        assert_eq!(crc(&connection), None);
    }
}
