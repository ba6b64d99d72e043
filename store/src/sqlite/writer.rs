//! The writer thread: jobs in, one commit for as many as were waiting.
//!
//! Documents that wait one behind the other are one run: what they share is read and
//! written once. Where one of them fails, the run is undone and each is written
//! alone. A run that begins its transaction needs no savepoint for that, which would
//! keep a copy of each page that it touches: the transaction is begun anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::document::{Count, Documents, GatewayCache};
use super::schema;
use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::url::AckLevel;

/// What the thread has to do.
pub(super) enum Job {
    /// Whatever else there is.
    Call(Call),
    /// A document to be written.
    Document(DocumentJob),
}

/// Runs in a transaction, or learns that there is none; leaves behind whether it
/// failed, and how its caller is told once the outcome of the commit is known.
pub(super) type Call = Box<dyn FnOnce(Result<&mut Batch<'_>, StoreError>) -> (bool, CallReply) + Send>;
pub(super) type CallReply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct DocumentJob {
    pub(super) document: Arc<DocumentWrite>,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// How a caller is told once the outcome of the commit is known.
enum Reply {
    Call(CallReply),
    Document(oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

impl Reply {
    fn give(self, commit: Result<(), StoreError>) {
        match self {
            Self::Call(reply) => reply(commit),
            // A caller that has gone away needs no answer.
            Self::Document(answer, written) => drop(answer.send(commit.and(written))),
        }
    }
}

/// Most jobs in a transaction.
const MAX_JOBS: usize = 1024;
/// A transaction takes no further job after this long, so that other processes
/// get their turn and acks do not wait.
const MAX_DURATION: Duration = Duration::from_millis(50);

/// Where the transaction before had more jobs, those who wait for its answers are
/// about to send their next ones: it is waited for them this long, which is less
/// than the sync takes that they share.
const LINGER: Duration = Duration::from_millis(1);
const LINGER_STEP: Duration = Duration::from_micros(100);

/// Jobs on their way into transactions.
struct Queue {
    jobs: mpsc::Receiver<Job>,
    /// In the transaction before.
    before: usize,
    /// Still to be waited in this one.
    patience: Duration,
}

impl Queue {
    /// The next job of a transaction that has `taken` so far, if there is one.
    fn next(&mut self, taken: usize) -> Option<Job> {
        loop {
            if let Ok(job) = self.jobs.try_recv() {
                return Some(job);
            }
            if taken >= self.before || self.patience.is_zero() {
                return None;
            }
            let began = Instant::now();
            std::thread::sleep(LINGER_STEP);
            self.patience = self.patience.saturating_sub(began.elapsed());
        }
    }
}

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
pub(super) fn run(path: &Path, ack: AckLevel, mut connection: Option<Connection>, jobs: mpsc::Receiver<Job>) {
    let mut migrated = connection.is_some();
    let mut gateways = GatewayCache::default();
    let mut queue = Queue { jobs, before: 0, patience: LINGER };
    while let Some(first) = queue.jobs.blocking_recv() {
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

fn run_batch(connection: &Connection, gateways: &mut GatewayCache, first: Job, queue: &mut Queue) -> Outcome {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        refuse(first, &StoreError::from(error));
        return Outcome::Failed;
    }
    let began = Instant::now();
    queue.patience = LINGER;
    let mut batch = Batch { connection, gateways, config_changed: false, data_changed: false, last: false };
    let mut replies = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        let done = replies.len();
        let more = |jobs: usize| done + jobs < MAX_JOBS && began.elapsed() < MAX_DURATION;
        next = match job {
            Job::Call(call) => {
                replies.push(run_call(&mut batch, call));
                None
            }
            Job::Document(first) => run_documents(&mut batch, first, queue, &mut replies, more),
        };
        let full = batch.last || !more(replies.len() - done) || connection.is_autocommit();
        if next.is_none() && !full {
            next = queue.next(replies.len());
        }
    }
    queue.before = replies.len();
    let (config, data, last) = (batch.config_changed, batch.data_changed, batch.last);
    let committed = commit(connection, config, data);
    let failed = committed.is_err();
    if let Err(error) = &committed {
        tracing::error!(%error, jobs = replies.len(), "commit failed");
        drop(connection.execute_batch("ROLLBACK"));
    }
    for reply in replies {
        reply.give(committed.clone());
    }
    if failed { Outcome::Failed } else { Outcome::Committed { last } }
}

/// Begins what is undone alone where it fails.
fn begin_job(batch: &Batch<'_>) -> Result<(), StoreError> {
    // A write that fails can end the transaction; what follows would run in none.
    if batch.connection.is_autocommit() {
        return Err(StoreError::Unavailable("its transaction has ended".to_owned()));
    }
    batch.connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    Ok(())
}

fn end_job(batch: &mut Batch<'_>, failed: bool) -> Result<(), StoreError> {
    if failed {
        batch.gateways.clear();
        return Ok(batch.connection.execute_batch("ROLLBACK TO job; RELEASE job")?);
    }
    batch.connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}

/// Writes documents, all of them or none.
fn write_documents<'a>(
    batch: &mut Batch<'a>,
    write: impl FnOnce(&mut Batch<'a>, &mut Documents) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    begin_job(batch)?;
    let mut documents = Documents::default();
    let written = write(batch, &mut documents).and_then(|()| documents.finish(batch));
    let ended = end_job(batch, written.is_err());
    written.and(ended)
}

/// The same where nothing else is in the transaction yet.
fn write_first_documents<'a>(
    batch: &mut Batch<'a>,
    write: impl FnOnce(&mut Batch<'a>, &mut Documents) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut documents = Documents::default();
    let written = write(batch, &mut documents).and_then(|()| documents.finish(batch));
    if written.is_err() {
        batch.gateways.clear();
        // What failed may have ended the transaction.
        if !batch.connection.is_autocommit() {
            batch.connection.execute_batch("ROLLBACK")?;
        }
        batch.connection.execute_batch("BEGIN IMMEDIATE")?;
    }
    written
}

fn run_call(batch: &mut Batch<'_>, call: Call) -> Reply {
    if let Err(error) = begin_job(batch) {
        return Reply::Call(call(Err(error)).1);
    }
    let (failed, reply) = call(Ok(batch));
    match end_job(batch, failed) {
        Ok(()) => Reply::Call(reply),
        Err(error) => Reply::Call(Box::new(move |_| reply(Err(error)))),
    }
}

/// Writes a run of documents, as many as wait; answers the job after them, if one
/// was taken.
fn run_documents(
    batch: &mut Batch<'_>,
    first: DocumentJob,
    queue: &mut Queue,
    replies: &mut Vec<Reply>,
    more: impl Fn(usize) -> bool,
) -> Option<Job> {
    let (mut run, mut after, before) = (vec![first], None, replies.len());
    let write_all = |batch: &mut Batch<'_>, documents: &mut Documents| {
        let mut place = 0;
        while let Some(job) = run.get(place) {
            documents.write(batch, &job.document, Count::FirstTime)?;
            place += 1;
            if place == run.len() && after.is_none() && more(place) {
                match queue.next(before + place) {
                    Some(Job::Document(job)) => run.push(job),
                    other => after = other,
                }
            }
        }
        Ok(())
    };
    let written = if before == 0 { write_first_documents(batch, write_all) } else { write_documents(batch, write_all) };
    let alone = run.len() == 1;
    replies.extend(run.into_iter().map(|job| {
        let written = if alone || written.is_ok() { written.clone() } else { write_alone(batch, &job.document) };
        Reply::Document(job.answer, written)
    }));
    after
}

fn write_alone(batch: &mut Batch<'_>, document: &DocumentWrite) -> Result<(), StoreError> {
    write_documents(batch, |batch, documents| documents.write(batch, document, Count::FirstTime))
}

fn commit(connection: &Connection, config: bool, data: bool) -> Result<(), StoreError> {
    for (changed, name) in [(config, "config"), (data, "data")] {
        // Outside of a transaction it would count what is not there.
        if changed && !connection.is_autocommit() {
            connection.prepare_cached("UPDATE counter SET value = value + 1 WHERE name = ?1")?.execute([name])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Tells a job that there is no transaction for it.
fn refuse(job: Job, error: &StoreError) {
    tracing::error!(%error, "store cannot begin a transaction");
    let reply = match job {
        Job::Call(call) => Reply::Call(call(Err(error.clone())).1),
        Job::Document(job) => Reply::Document(job.answer, Err(error.clone())),
    };
    reply.give(Ok(()));
}
