//! Rows of the audit trail, and its head beside the settings.

use heliograph_domain::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Batch, Database};
use crate::audit::{AuditEvent, AuditHash, AuditHead, AuditRow, AuditVerdict, AuditWalk};
use crate::error::StoreError;

impl Database {
    /// Runs a job and writes down what it did in the same transaction; a job that
    /// fails leaves no entry.
    pub(crate) async fn change<T, F>(&self, event: AuditEvent, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write(move |batch| {
            let done = job(batch)?;
            append(batch, event)?;
            Ok(done)
        })
        .await
    }
}

/// Adds an entry after the head.
pub(crate) fn append(batch: &Batch<'_>, event: AuditEvent) -> Result<(), StoreError> {
    let row = last(batch.connection)?.follow(event);
    insert(batch.connection, &row)?;
    set_head(batch.connection, row.head())
}

/// What the next entry follows after. Where somebody has taken the head away, it is
/// chained to nothing, so that the gap can be seen for ever after. A row that somebody
/// put behind all numbers is passed over, and so is one whose next is taken.
pub(crate) fn last(connection: &Connection) -> Result<AuditHead, StoreError> {
    let newest: Option<u64> = connection
        .prepare_cached(
            "SELECT seq FROM audit AS newest WHERE seq BETWEEN 1 AND ?1
             AND NOT EXISTS (SELECT 1 FROM audit WHERE seq = newest.seq + 1) ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([AuditHead::FURTHEST], |row| row.get(0))
        .optional()?;
    let head = head(connection)?.unwrap_or(AuditHead::NONE);
    Ok(AuditHead { seq: head.seq.max(newest.unwrap_or(0)), hash: head.hash })
}

pub(crate) fn insert(connection: &Connection, row: &AuditRow) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO audit (seq, at, actor, action, object, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![row.seq, row.at.as_millis(), row.actor, row.action, row.object, row.detail, row.hash.0])?;
    Ok(())
}

/// The head; one that cannot be read is as good as none, and keeps nobody from
/// changing something.
pub(crate) fn head(connection: &Connection) -> Result<Option<AuditHead>, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM setting WHERE name = 'audit_head'")?;
    let read = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().and_then(|text| AuditHead::parse(text).ok()));
    Ok(query.query_row([], read).optional()?.flatten())
}

pub(crate) fn set_head(connection: &Connection, head: AuditHead) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO setting VALUES ('audit_head', ?1) ON CONFLICT DO UPDATE SET value = excluded.value")?
        .execute([head.to_string()])?;
    Ok(())
}

pub(crate) fn list(connection: &Connection, from: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT seq, at, actor, action, object, detail, hash FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = query.query(params![i64::try_from(from).unwrap_or(i64::MAX), limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        seq: row.get(0)?,
        at: Timestamp::clamped(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        object: row.get(4)?,
        detail: row.get(5)?,
        hash: AuditHash(row.get(6)?),
    })
}

/// Walks the trail within one read transaction, so that an entry that is written
/// meanwhile is neither half seen nor missed.
pub(crate) fn verify(connection: &Connection, noted: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    walk(&transaction, noted)
}

/// The same within a transaction that is open already.
pub(crate) fn walk(connection: &Connection, noted: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
    let mut query = connection.prepare("SELECT seq, at, actor, action, object, detail, hash FROM audit ORDER BY seq")?;
    let mut rows = query.query([])?;
    let mut walk = AuditWalk::new(noted);
    while let Some(row) = rows.next()? {
        // A column of another type was not written by any release.
        match entry(row) {
            Ok(row) => walk.step(&row),
            Err(_) => walk.unreadable(row.get(0).unwrap_or(0)),
        }
    }
    Ok(walk.end(head(connection)?))
}
