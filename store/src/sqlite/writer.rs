//! The writer thread: jobs in, one commit for as many as were waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::document::GatewayCache;
use super::schema;
use crate::error::StoreError;
use crate::url::AckLevel;

/// Runs in a transaction, or learns that there is none; leaves behind whether it
/// failed, and how its caller is told once the outcome of the commit is known.
pub(super) type Job = Box<dyn FnOnce(Result<&mut Batch<'_>, StoreError>) -> (bool, Reply) + Send>;
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Most jobs in a transaction.
const MAX_JOBS: usize = 1024;
/// A transaction takes no further job after this long, so that other processes
/// get their turn and acks do not wait.
const MAX_DURATION: Duration = Duration::from_millis(50);

/// A transaction that jobs run in.
pub(crate) struct Batch<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) gateways: &'a mut GatewayCache,
    config_changed: bool,
    data_changed: bool,
    last: bool,
}

impl Batch<'_> {
    /// Gateways, credentials, settings or people have changed: other roles look again.
    pub(crate) fn config_changed(&mut self) {
        self.config_changed = true;
    }

    /// Readings have changed: panels look again.
    pub(crate) fn data_changed(&mut self) {
        self.data_changed = true;
    }

    pub(super) fn end_after_this(&mut self) {
        self.last = true;
    }
}

/// Runs until every handle is gone or [`Batch::end_after_this`] was called.
/// Without a connection, the first job that finds the file opens and migrates it.
pub(super) fn run(path: &Path, ack: AckLevel, mut connection: Option<Connection>, mut queue: mpsc::Receiver<Job>) {
    let mut migrated = connection.is_some();
    let mut gateways = GatewayCache::default();
    while let Some(first) = queue.blocking_recv() {
        let reopen = || if migrated { schema::open(path, ack) } else { open_first(path, ack) };
        let open = match connection.take().map_or_else(reopen, Ok) {
            Ok(open) => {
                migrated = true;
                open
            }
            Err(error) => {
                refuse(first, &error);
                continue;
            }
        };
        let run = AssertUnwindSafe(|| run_batch(&open, &mut gateways, first, &mut queue));
        let outcome = catch_unwind(run).unwrap_or_else(|_| {
            tracing::error!("a write panicked, its transaction is undone");
            Outcome::Failed
        });
        match outcome {
            Outcome::Committed { last: true } => return,
            Outcome::Committed { last: false } => connection = Some(open),
            // After a failed commit the file's state in the page cache is not
            // to be trusted: a later fsync could succeed without the lost
            // bytes. A new connection reads what is really there.
            Outcome::Failed => gateways.clear(),
        }
    }
}

fn open_first(path: &Path, ack: AckLevel) -> Result<Connection, StoreError> {
    path.parent().map_or(Ok(()), super::check_directory)?;
    schema::open_migrated(path, ack)
}

enum Outcome {
    Committed { last: bool },
    Failed,
}

fn run_batch(connection: &Connection, gateways: &mut GatewayCache, first: Job, queue: &mut mpsc::Receiver<Job>) -> Outcome {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        refuse(first, &StoreError::from(error));
        return Outcome::Failed;
    }
    let began = Instant::now();
    let mut batch = Batch { connection, gateways, config_changed: false, data_changed: false, last: false };
    let mut replies = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        replies.push(run_job(&mut batch, job));
        let full = batch.last || replies.len() >= MAX_JOBS || began.elapsed() >= MAX_DURATION;
        next = if full { None } else { queue.try_recv().ok() };
    }
    let (config, data, last) = (batch.config_changed, batch.data_changed, batch.last);
    let committed = commit(connection, config, data);
    let failed = committed.is_err();
    if let Err(error) = &committed {
        tracing::error!(%error, jobs = replies.len(), "commit failed");
        drop(connection.execute_batch("ROLLBACK"));
    }
    for reply in replies {
        reply(committed.clone());
    }
    if failed { Outcome::Failed } else { Outcome::Committed { last } }
}

fn run_job(batch: &mut Batch<'_>, job: Job) -> Reply {
    if let Err(error) = batch.connection.execute_batch("SAVEPOINT job") {
        return job(Err(error.into())).1;
    }
    let (failed, reply) = job(Ok(batch));
    let end = if failed {
        batch.gateways.clear();
        "ROLLBACK TO job; RELEASE job"
    } else {
        "RELEASE job"
    };
    match batch.connection.execute_batch(end) {
        Ok(()) => reply,
        Err(error) => Box::new(move |_| reply(Err(StoreError::from(error)))),
    }
}

fn commit(connection: &Connection, config: bool, data: bool) -> Result<(), StoreError> {
    for (changed, name) in [(config, "config"), (data, "data")] {
        if changed {
            connection.prepare_cached("UPDATE counter SET value = value + 1 WHERE name = ?1")?.execute([name])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Tells a job that there is no transaction for it.
fn refuse(job: Job, error: &StoreError) {
    tracing::error!(%error, "store cannot begin a transaction");
    let (_, reply) = job(Err(error.clone()));
    reply(Ok(()));
}
