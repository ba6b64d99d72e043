//! The spool: what the store cannot take now is kept on the local disk, acked,
//! and written to the store in order when it takes documents again.
//!
//! While the store answers in time, documents go straight to it and the spool
//! costs one look at an atomic number. The first document that the store refuses
//! for the moment, or does not answer within the deadline, puts the spool into
//! use; from then on *all* documents of this process go through it, behind that
//! one, until everything has drained and nothing is on its way. Not only those of
//! the gateway concerned: after an outage every gateway has something in the
//! spool, so that telling them apart would cost a table of gateways and gain
//! nothing. One queue keeps the order, and with it "a later push wins", on a
//! backend that knows no stamps (SQLite). Where stamps decide (Cassandra), the
//! spool falls out of use as soon as it is empty, whatever is on its way.
//!
//! One task (`task.rs`) owns the files. It takes what has come meanwhile as one
//! batch: into a segment with one fsync while there is a backlog, else straight
//! into the store, which is how the order holds until the last document has left.
//! Beside it the backlog drains. While it does, documents are taken in at half the
//! pace at which they leave, so that it ends.
//!
//! A document that the store cannot write in one piece (several partitions of a
//! cluster) goes to the disk first, then to the store, and is acked after that, so
//! that a kill in between leaves it to be written whole. Where the store does not
//! take it in time, it is acked from the spool like any other.
//!
//! What the store will never take goes to the quarantine or, where that does not
//! take it either, to a file beside the segments; whatever the store does not take
//! now holds up nothing else, where order is of no account.
//!
//! A document may reach the store twice: a late write lands although its deadline
//! has passed, or a process is killed before it has removed a segment that has
//! drained. Writing is idempotent, and [`ProviderStore::document_write_again`]
//! counts nothing twice.
//!
//! Segments lie in a folder of this process, locked (`folder.rs`); the spool is
//! bounded by bytes. What is full refuses, and the gateway is told to come again.

mod adoption;
mod append;
#[cfg(test)]
mod clustered;
mod deliver;
mod disk;
mod drain;
#[cfg(test)]
mod faults;
mod folder;
mod gate;
#[cfg(test)]
mod pace;
mod record;
mod segment;
mod status;
mod task;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use heliograph_domain::{GatewayId, Timestamp};
use heliograph_store::{ProviderStore, StoreError};
use tokio::sync::{RwLock, RwLockReadGuard, mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use deliver::is_temporary;
pub(crate) use disk::Disk;
use gate::{Gate, Ticket};
pub(crate) use record::Record;
pub(crate) use status::Status;
pub(crate) use task::SpoolTask;
use waiting::Outcome;

use crate::Clock;

/// Documents that may wait for the spool's task before callers have to wait.
const QUEUE: usize = 1024;

/// Why something was not kept; nothing of it may be acked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotKept {
    /// The store will never take it.
    #[error(transparent)]
    Refused(StoreError),
    /// There is no room left.
    #[error("the spool is full")]
    Full,
    /// The spool's disk does not take it.
    #[error("the spool cannot be written: {0}")]
    Disk(String),
    /// The server has ended.
    #[error("the spool is closed")]
    Closed,
}

/// Where everything is written: the store, or the spool in its place.
#[derive(Debug)]
pub(crate) struct Spool {
    store: ProviderStore,
    deadline: Duration,
    gate: Arc<Gate>,
    /// Held for reading by whoever is on the way straight to the store, until that
    /// has taken it or it stands in the queue.
    straight: Arc<RwLock<()>>,
    jobs: mpsc::Sender<Job>,
    pub(crate) status: Arc<Status>,
    /// Nothing is written: see [`crate::Ingest::without_store`].
    #[cfg(feature = "null-store")]
    pub(crate) discards: bool,
}

/// Where the spool is, and how much it may hold.
#[derive(Debug, Clone)]
pub(crate) struct SpoolPlace {
    /// The provider's folder, with a folder for each process below.
    pub(crate) root: PathBuf,
    pub(crate) bytes: u64,
    /// How long the store may take for a write.
    pub(crate) deadline: Duration,
    pub(crate) disk: Disk,
}

/// A record on its way through the spool.
#[derive(Debug)]
struct Job {
    record: Record,
    way: Way,
    ticket: Ticket,
    /// Told once the record is kept: by the disk, or by the store.
    reply: oneshot::Sender<Result<(), NotKept>>,
    /// Told what the store says of a record that is on the disk.
    written: Option<oneshot::Sender<Outcome>>,
}

/// How a record comes to the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Behind others: to the disk, or straight to the store where that is its turn.
    Behind,
    /// To the disk first, however the store is.
    DiskFirst,
    /// The store did not take it, for this reason.
    Refused(String),
}

impl Spool {
    /// The spool and the task that works for it. What other processes have left
    /// is taken over before anything new is written.
    pub(crate) async fn open(store: ProviderStore, place: SpoolPlace, clock: Clock) -> (Self, SpoolTask) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (gate, status) = (Arc::new(Gate::default()), Arc::new(Status::new(place.bytes)));
        let straight = Arc::new(RwLock::new(()));
        let deadline = place.deadline;
        let task = SpoolTask::open(
            store.clone(),
            place,
            clock,
            task::Shared { gate: Arc::clone(&gate), straight: Arc::clone(&straight), status: Arc::clone(&status) },
            queue,
        )
        .await;
        let spool = Self {
            store,
            deadline,
            gate,
            straight,
            jobs,
            status,
            #[cfg(feature = "null-store")]
            discards: false,
        };
        (spool, task)
    }

    /// Writes a record to the store, or to the spool. When this returns, it
    /// survives.
    ///
    /// Until a record's first suspension it has taken its place in the order:
    /// whoever polls two of these one after the other has written them in that
    /// order. Every document has one of these for a moment, so all but the way straight
    /// to the store is boxed.
    pub(crate) async fn write(&self, record: Record) -> Result<(), NotKept> {
        #[cfg(feature = "null-store")]
        if self.discards {
            return Ok(());
        }
        let way = if self.is_whole_or_nothing(&record) { Way::Behind } else { Way::DiskFirst };
        if let Some(ticket) = self.gate.enter() {
            return Box::pin(async {
                self.let_pass().await;
                self.through(record, ticket, way).await
            })
            .await;
        }
        if way == Way::DiskFirst {
            return Box::pin(self.disk_first(record)).await;
        }
        let passage = self.straight.read().await;
        match tokio::time::timeout(self.deadline, record.write(&self.store)).await {
            Ok(Ok(())) => {
                // One before it may have failed and gone to the spool: it has to be
                // written again behind that one. It is safe already.
                if let Some(ticket) = self.gate.enter() {
                    drop(Box::pin(self.behind(record, ticket, Way::Behind, passage)).await);
                }
                Ok(())
            }
            // What is wrong with the document is no fault of the store's.
            Ok(Err(error @ (StoreError::TooManySeries(_) | StoreError::Refused(_)))) => Err(NotKept::Refused(error)),
            Ok(Err(error)) => {
                status::count_failure(record.operation());
                if !is_temporary(&error) {
                    return Err(NotKept::Refused(error));
                }
                Box::pin(self.behind(record, self.gate.open(), Way::Refused(error.to_string()), passage)).await
            }
            Err(_) => {
                status::count_failure(record.operation());
                let reason = format!("the store did not answer within {:?}", self.deadline);
                Box::pin(self.behind(record, self.gate.open(), Way::Refused(reason), passage)).await
            }
        }
    }

    /// Waits until all that was on its way to the store before has arrived there or
    /// stands in the queue, where the order of writing decides which value of a key
    /// stays. Whoever waits is let through in the order of asking; none of those that
    /// are on their way takes longer than the deadline.
    async fn let_pass(&self) {
        if !self.store.orders_by_stamp() {
            drop(tokio::time::timeout(2 * self.deadline, self.straight.write()).await);
        }
    }

    /// Why nothing may be taken that has its place by this machine's clock, if so.
    pub(crate) fn clock_fault(&self) -> Option<String> {
        self.store.clock_known()
    }

    /// Whether a record that is written straight to the store is there whole or not
    /// at all, whatever happens meanwhile. Without a spool there is no other way.
    fn is_whole_or_nothing(&self, record: &Record) -> bool {
        match record {
            Record::Document(document) => self.status.limit == 0 || self.store.document_is_atomic(document),
            Record::Refused(_) | Record::Knock(..) | Record::Keyed(..) => true,
        }
    }

    /// Writes a record to the disk and then to the store; where that does not take it
    /// in time, the spool keeps it.
    async fn disk_first(&self, record: Record) -> Result<(), NotKept> {
        let until = Instant::now() + self.deadline;
        let (written, told) = oneshot::channel();
        let kept = self.queue(record, self.gate.alone(), Way::DiskFirst, Some(written)).await?;
        kept.await.unwrap_or(Err(NotKept::Closed))?;
        waiting::outcome(told, until).await.unwrap_or(Ok(())).map_err(NotKept::Refused)
    }

    /// Lists a gateway as waiting, if the store takes that now.
    pub(crate) async fn knock(&self, gateway: &GatewayId, address: &str, at: Timestamp) {
        if !self.gate.is_in_use() {
            let knocked = tokio::time::timeout(self.deadline, self.store.gateway_knock(gateway, address, at).boxed()).await;
            if !matches!(knocked, Ok(Ok(()))) {
                tracing::debug!(%gateway, "waiting gateway cannot be listed");
            }
        }
    }

    async fn through(&self, record: Record, ticket: Ticket, way: Way) -> Result<(), NotKept> {
        let kept = self.queue(record, ticket, way, None).await?;
        kept.await.unwrap_or(Err(NotKept::Closed))
    }

    /// As `through`, from the way straight to the store, which it leaves once its
    /// place in the queue is taken.
    async fn behind(&self, record: Record, ticket: Ticket, way: Way, passage: RwLockReadGuard<'_, ()>) -> Result<(), NotKept> {
        let queued = self.queue(record, ticket, way, None).await;
        drop(passage);
        queued?.await.unwrap_or(Err(NotKept::Closed))
    }

    /// Takes a place in the queue; tells later whether the record is kept.
    async fn queue(
        &self,
        record: Record,
        ticket: Ticket,
        way: Way,
        written: Option<oneshot::Sender<Outcome>>,
    ) -> Result<oneshot::Receiver<Result<(), NotKept>>, NotKept> {
        let (reply, kept) = oneshot::channel();
        self.jobs.send(Job { record, way, ticket, reply, written }).await.map_err(|_| NotKept::Closed)?;
        Ok(kept)
    }
}
