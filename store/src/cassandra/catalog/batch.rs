//! One conditional batch: what it changes, and what has become of it.

use std::collections::BTreeMap;

use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::CqlValue;
use uuid::Uuid;

use super::super::Database;
use super::super::conditional::applied;
use super::{ATTEMPTS, Known, WRITER, jitter};
use crate::catalog::{Catalog, Change, Row};
use crate::error::StoreError;

/// Rows that one batch changes, about.
pub(in crate::cassandra) const BATCH_ROWS: usize = 100;
/// Bytes that one batch carries, about; a node refuses 50 KiB.
pub(in crate::cassandra) const BATCH_BYTES: usize = 24 * 1024;
/// Versions of which it is known who wrote them.
const WRITERS: i64 = 100;

/// What several wishes come to.
pub(super) struct Draft {
    pub(super) catalog: Catalog,
    pub(super) rows: BTreeMap<(String, String), Option<Row>>,
}

/// How a conditional batch ended.
pub(super) enum Outcome {
    Written,
    SomebodyWasFaster,
    Failed(StoreError),
}

impl Database {
    pub(super) async fn write(&self, known: &Known, draft: &Draft) -> Outcome {
        let (tag, next) = (Uuid::new_v4(), known.version.unwrap_or_default() + 1);
        match self.write_batch(known.version, next, tag, draft).await {
            Ok(true) => Outcome::Written,
            Ok(false) => Outcome::SomebodyWasFaster,
            Err(error) => self.settle_doubt(known, next, tag).await.unwrap_or(Outcome::Failed(error)),
        }
    }

    /// What became of a batch whose answer did not come: it may have been written all
    /// the same. Where many change the catalog at once, this is not answered at once
    /// either.
    async fn settle_doubt(&self, known: &Known, next: i64, tag: Uuid) -> Option<Outcome> {
        for attempt in 0..ATTEMPTS {
            match self.writer_of(next).await {
                Ok(Some(writer)) if writer == tag => return Some(Outcome::Written),
                Ok(Some(_)) => return Some(Outcome::SomebodyWasFaster),
                Ok(None) => {
                    let version = self.catalog_version().await.ok()?;
                    return (version == known.version.unwrap_or_default()).then_some(Outcome::SomebodyWasFaster);
                }
                Err(_) => tokio::time::sleep(jitter(attempt)).await,
            }
        }
        None
    }

    async fn write_batch(&self, old: Option<i64>, next: i64, tag: Uuid, draft: &Draft) -> Result<bool, StoreError> {
        let version = self.prepared("UPDATE @.catalog SET version = ? WHERE part = 'catalog' IF version = ?").await?;
        // A column that is not named leaves no trace; one that is written as nothing does.
        let put = self.prepared("INSERT INTO @.catalog (part, kind, id, fields) VALUES ('catalog', ?, ?, ?)").await?;
        let put_body = self.prepared("INSERT INTO @.catalog (part, kind, id, body) VALUES ('catalog', ?, ?, ?)").await?;
        let remove = self.prepared("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = ? AND id = ?").await?;
        let mut statements = vec![version, put_body.clone(), remove.clone()];
        let mut values = vec![
            vec![Some(CqlValue::BigInt(next)), old.map(CqlValue::BigInt)],
            vec![text(WRITER), text(&writer_id(next)), text(&tag.to_string())],
            vec![text(WRITER), text(&writer_id(next - WRITERS))],
        ];
        for ((kind, id), row) in &draft.rows {
            let mut columns = vec![Some(CqlValue::Text(kind.clone())), Some(CqlValue::Text(id.clone()))];
            let statement = match row {
                Some(Row { body: Some(body), .. }) => {
                    columns.push(Some(CqlValue::Text(body.clone())));
                    &put_body
                }
                Some(row) => {
                    columns.push(Some(fields(row)));
                    &put
                }
                None => &remove,
            };
            statements.push(statement.clone());
            values.push(columns);
        }
        applied(self.batch(statements, values, None).await?)
    }

    /// Who wrote a version of late, once every write that is under way has ended.
    async fn writer_of(&self, version: i64) -> Result<Option<Uuid>, StoreError> {
        let cql = "SELECT body FROM @.catalog WHERE part = 'catalog' AND kind = ? AND id = ?";
        let (session, mut statement) = (self.session().await?, self.prepared(cql).await?);
        statement.set_consistency(Consistency::LocalSerial);
        statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        let rows = Box::pin(session.execute_unpaged(&statement, (WRITER, writer_id(version)))).await?.into_rows_result();
        let rows = rows.map_err(|error| StoreError::Damaged(error.to_string()))?;
        let row: Option<(Option<String>,)> = rows.maybe_first_row().map_err(|error| StoreError::Damaged(error.to_string()))?;
        let tag = row.and_then(|(tag,)| tag);
        tag.map(|tag| Uuid::parse_str(&tag).map_err(|error| StoreError::Damaged(error.to_string()))).transpose()
    }
}

impl Draft {
    pub(super) fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            let (row, stays) = match &change {
                Change::Put(record) => (record.to_row(), true),
                Change::Remove(record) => (record.to_row(), false),
            };
            self.rows.insert((row.kind.clone(), row.id.clone()), stays.then_some(row));
            self.catalog.apply(change);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.iter().map(|((kind, id), row)| kind.len() + id.len() + row.as_ref().map_or(0, row_bytes)).sum()
    }
}

/// What a row takes beside its key, about.
pub(in crate::cassandra) fn row_bytes(row: &Row) -> usize {
    let fields: usize = row.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    fields + row.body.as_ref().map_or(0, String::len)
}

fn text(text: &str) -> Option<CqlValue> {
    Some(CqlValue::Text(text.to_owned()))
}

fn writer_id(version: i64) -> String {
    format!("{version:020}")
}

fn fields(row: &Row) -> CqlValue {
    CqlValue::Map(row.fields.iter().map(|(name, value)| (CqlValue::Text(name.clone()), CqlValue::Text(value.clone()))).collect())
}
