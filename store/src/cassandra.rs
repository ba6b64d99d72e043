//! The backend for fleets that outgrow one machine: a Cassandra cluster, with a
//! keyspace a provider.
//!
//! [`Database`] is one provider's keyspace. It connects at its first use, and
//! again at the next one where that fails; once connected, the driver finds its
//! way back to nodes that were away. Its futures are large and deep, so that they
//! are boxed here. Statements name their tables as `@.table`,
//! which stands for the table in the provider's keyspace, and are prepared once.

mod ack;
mod alert;
pub(crate) mod archive;
mod audit;
mod catalog;
mod change;
mod conditional;
mod control;
pub(crate) mod correction;
mod credential;
mod customer;
mod device_clock;
pub(crate) mod document;
mod failure;
mod gateway;
mod host_clock;
mod lifetime;
mod mark;
mod newest;
mod outbox;
mod pulse;
mod quarantine;
pub(crate) mod reading;
pub(crate) mod replay;
mod retention;
mod retry;
pub(crate) mod rollup;
pub(crate) mod schema;
mod seal;
pub(crate) mod series;
mod session;
mod slicing;
pub(crate) mod span;
mod stamping;
#[cfg(test)]
mod trial;
mod user;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use heliograph_domain::{ProviderId, Timestamp};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::stamp::Stamps;
use crate::store::AckCheck;
use crate::url::Cluster;
pub(crate) use catalog::Entry;
use document::Writing;
use mark::Timing;
use session::Connection;
pub(crate) use session::connect;

/// Rows that come in one page.
const PAGE_ROWS: i32 = 2_000;

/// Rows as they come.
pub(crate) type Rows<T> = BoxStream<'static, Result<T, StoreError>>;

/// One provider's keyspace, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    provider: ProviderId,
    keyspace: String,
    connection: Connection,
    /// By the text that callers know them by.
    statements: RwLock<HashMap<&'static str, PreparedStatement>>,
    catalog: catalog::State,
    ledger: tokio::sync::Mutex<quarantine::Ledger>,
    /// When a waiting gateway last went for another.
    made_room: Mutex<Option<Instant>>,
    /// Whether a change of readings waits to be announced.
    data_changed: AtomicBool,
    clock: Clock,
    /// Of what is written without a timestamp of its own.
    stamps: Stamps,
    told: stamping::Told,
    apart: host_clock::Apart,
    closed: AtomicBool,
    writing: Writing,
    /// What the nodes said last of what acks survive.
    ack_known: Mutex<Option<AckCheck>>,
}

impl Database {
    /// The keyspace of a provider; nothing is asked of the cluster yet.
    pub(crate) fn new(cluster: Cluster, provider: &ProviderId) -> Self {
        Self::with_timing(cluster, provider, Timing::default())
    }

    fn with_timing(cluster: Cluster, provider: &ProviderId, timing: Timing) -> Self {
        let keyspace = schema::keyspace(provider);
        let connection = Connection::new(cluster, keyspace.clone());
        let inner = Inner {
            provider: provider.clone(),
            keyspace,
            connection,
            statements: RwLock::default(),
            catalog: catalog::State::default(),
            ledger: tokio::sync::Mutex::default(),
            made_room: Mutex::default(),
            data_changed: AtomicBool::new(false),
            clock: Clock::system(),
            stamps: Stamps::new(),
            told: stamping::Told::default(),
            apart: host_clock::Apart::default(),
            closed: AtomicBool::new(false),
            writing: Writing::new(timing),
            ack_known: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What writing documents and settling rollups remember.
    pub(crate) fn writing(&self) -> &Writing {
        &self.inner.writing
    }

    fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// The connected session, whose schema has been checked.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::Unavailable("it is closed".to_owned()));
        }
        Box::pin(self.inner.connection.session(&self.inner.provider)).await
    }

    /// A statement, prepared, whose repetition changes nothing: the driver may
    /// send it again, to another node, with the same timestamp.
    pub(crate) async fn prepared(&self, cql: &'static str) -> Result<PreparedStatement, StoreError> {
        if let Some(statement) = self.inner.statements.read().unwrap_or_else(PoisonError::into_inner).get(cql) {
            return Ok(statement.clone());
        }
        let session = self.session().await?;
        let preparing = session.prepare(cql.replace("@.", &format!("{}.", self.inner.keyspace)));
        let mut statement = Box::pin(session::in_time(preparing)).await?;
        statement.set_is_idempotent(!stamping::is_conditional(cql));
        statement.set_page_size(PAGE_ROWS);
        self.inner.statements.write().unwrap_or_else(PoisonError::into_inner).insert(cql, statement.clone());
        Ok(statement)
    }

    /// Runs a statement whose result, if it has one, is small. A write that is not
    /// conditional has one timestamp, however often it is sent.
    pub(crate) async fn execute(&self, cql: &'static str, values: impl SerializeRow) -> Result<QueryResult, StoreError> {
        let (session, mut statement) = (self.session().await?, self.prepared(cql).await?);
        if stamping::takes_stamp(cql) {
            statement.set_timestamp(Some(self.stamp().await?));
        }
        Ok(Box::pin(session.execute_unpaged(&statement, values)).await?)
    }

    /// The same with a write timestamp, in microseconds.
    pub(crate) async fn execute_at(
        &self,
        cql: &'static str,
        values: impl SerializeRow,
        timestamp: i64,
    ) -> Result<QueryResult, StoreError> {
        let (session, mut statement) = (self.session().await?, self.prepared(cql).await?);
        statement.set_timestamp(Some(timestamp));
        Ok(Box::pin(session.execute_unpaged(&statement, values)).await?)
    }

    /// The rows of a query, of which there are few: they come at once.
    pub(crate) async fn rows(&self, cql: &'static str, values: impl SerializeRow) -> Result<QueryRowsResult, StoreError> {
        self.execute(cql, values).await?.into_rows_result().map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// The first row of a query, if there is any.
    pub(crate) async fn row<T>(&self, cql: &'static str, values: impl SerializeRow) -> Result<Option<T>, StoreError>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let rows = self.rows(cql, values).await?;
        rows.maybe_first_row().map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// All rows of a query, however many.
    pub(crate) async fn all<T>(&self, cql: &'static str, values: impl SerializeRow) -> Result<Vec<T>, StoreError>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        self.all_by(cql, values, PAGE_ROWS).await
    }

    /// The same by pages of so many rows.
    pub(crate) async fn all_by<T>(
        &self,
        cql: &'static str,
        values: impl SerializeRow,
        page_rows: i32,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        self.stream_by(cql, values, page_rows).await?.try_collect().await
    }

    /// The rows of a query as they come, page by page, each within the deadline of a
    /// statement.
    pub(crate) async fn stream<T>(&self, cql: &'static str, values: impl SerializeRow) -> Result<Rows<T>, StoreError>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        self.stream_by(cql, values, PAGE_ROWS).await
    }

    async fn stream_by<T>(&self, cql: &'static str, values: impl SerializeRow, page_rows: i32) -> Result<Rows<T>, StoreError>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        let (session, mut statement) = (self.session().await?, self.prepared(cql).await?);
        statement.set_page_size(page_rows);
        let rows = Box::pin(session.execute_iter(statement, values)).await?;
        let rows = rows.rows_stream::<T>().map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(rows.map_err(StoreError::from).boxed())
    }

    /// Writes into one partition, all or nothing, with one timestamp for all; with
    /// none where one of the statements is conditional or each has its own.
    /// Keep it below the cluster's limits: a few hundred rows, 30 KiB.
    pub(crate) async fn batch(
        &self,
        statements: Vec<PreparedStatement>,
        values: impl BatchValues,
        timestamp: Option<i64>,
    ) -> Result<QueryResult, StoreError> {
        let session = self.session().await?;
        let idempotent = statements.iter().all(PreparedStatement::get_is_idempotent);
        let own = |statement: &PreparedStatement| !stamping::takes_stamp(statement.get_statement());
        debug_assert!(timestamp.is_some() || !idempotent || statements.iter().all(own), "retries would have others");
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements.into_iter().map(Into::into).collect());
        batch.set_is_idempotent(idempotent);
        batch.set_timestamp(timestamp);
        Ok(Box::pin(session.batch(&batch, values)).await?)
    }

    /// Removes all rows of a table. All nodes have to be there.
    pub(crate) async fn truncate(&self, table: &str) -> Result<(), StoreError> {
        let (session, keyspace) = (self.session().await?, &self.inner.keyspace);
        let rows = session.query_unpaged(format!("SELECT * FROM {keyspace}.{table} LIMIT 1"), ()).await?;
        let rows = rows.into_rows_result().map_err(|error| StoreError::Damaged(error.to_string()))?;
        if rows.rows_num() > 0 {
            Box::pin(session.query_unpaged(format!("TRUNCATE {keyspace}.{table}"), ())).await?;
        }
        Ok(())
    }

    /// Whether the cluster answers and knows this release's tables.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.rows("SELECT value FROM @.control WHERE name = 'schema'", ()).await.map(drop)
    }

    /// Writes what follows documents; later calls fail. Connections end with the last
    /// clone.
    pub(crate) async fn close(&self) {
        if let Err(error) = pulse::flush(self).await {
            tracing::warn!(%error, "what is latest is written once the last documents are rolled up");
        }
        self.inner.closed.store(true, Ordering::Release);
        self.inner.connection.close();
    }
}

/// An instant as a column holds it.
pub(crate) const fn at(time: Timestamp) -> CqlTimestamp {
    CqlTimestamp(time.as_millis())
}
