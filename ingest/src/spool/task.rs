//! The task that owns the spool's files: takes in what comes, drains what is there.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliograph_domain::{Timestamp, time_ordered_uuid};
use heliograph_store::ProviderStore;
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::adoption::{ADOPT, Adopted, join_adoption};
use super::append::{Room, Writing};
use super::deliver::{Delivered, deliver};
use super::disk::blocking;
use super::drain::{self, Drained, Head};
use super::folder::Folder;
use super::gate::Gate;
use super::record::Record;
use super::segment::{Open, RecordPlace, Segment};
use super::status::{DRAINING, Level, Status, count_failure};
use super::waiting::Waiting;
use super::{Job, NotKept, SpoolPlace, Way};
use crate::Clock;

/// Documents taken in at once.
const BATCH: usize = 512;
/// Their bytes, about.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often figures are published and a spool that is empty is looked at.
const TICK: Duration = Duration::from_millis(50);
/// The same while the spool is not in use.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// A drain that has moved nothing for this long holds nobody up. One batch of a
/// store that is slow has to take less, or more is taken in than leaves.
const STALLED: Duration = Duration::from_secs(3);
/// Between two attempts on a store that does not answer.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// What the task shares with those who write.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    /// See [`super::Spool`].
    pub(crate) straight: Arc<RwLock<()>>,
    pub(crate) status: Arc<Status>,
}

pub(crate) struct SpoolTask {
    pub(super) store: ProviderStore,
    pub(super) place: SpoolPlace,
    clock: Clock,
    pub(super) shared: Shared,
    jobs: mpsc::Receiver<Job>,
    /// Our own folder, and the segment in it that is written.
    pub(super) folder: Option<Folder>,
    open: Option<Open>,
    segments: u64,
    /// Folders of other processes that have ended.
    pub(super) adopted: Vec<Folder>,
    /// Such folders of which something could not be read yet.
    pub(super) unread: Vec<Folder>,
    pub(super) backlog: VecDeque<Segment>,
    pub(super) draining: Option<Draining>,
    pub(super) adopting: Option<JoinHandle<Adopted>>,
    pub(super) adopt_at: Instant,
    retry_at: Instant,
    retry: Duration,
    /// When the store has last taken something, unless it has failed since.
    moved: Arc<Mutex<Option<Instant>>>,
    /// Who waits until the store has taken what is on the disk already.
    waiting: Arc<Waiting>,
    /// How far the drain has to come before more is taken in.
    take_when_drained: u64,
    /// Since when the spool is in use.
    since: Option<Instant>,
    came: u64,
}

/// A drain under way.
pub(super) struct Draining {
    task: JoinHandle<Drained>,
    /// What is left of the segment, as far as it is known here.
    bytes: u64,
    records: u64,
    oldest: Option<Timestamp>,
    pub(super) path: PathBuf,
}

impl SpoolTask {
    pub(super) async fn open(
        store: ProviderStore,
        place: SpoolPlace,
        clock: Clock,
        shared: Shared,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        let now = Instant::now();
        let mut task = Self {
            store,
            place,
            clock,
            shared,
            jobs,
            folder: None,
            open: None,
            segments: 0,
            adopted: Vec::new(),
            unread: Vec::new(),
            backlog: VecDeque::new(),
            draining: None,
            adopting: None,
            adopt_at: now + ADOPT,
            retry_at: now,
            retry: RETRY,
            moved: Arc::default(),
            waiting: Arc::default(),
            take_when_drained: 0,
            since: None,
            came: 0,
        };
        task.find_what_is_left().await;
        task
    }

    /// Works until `finish`, then drains for as long as that says. What is
    /// left stays for the next start.
    pub(crate) async fn run(mut self, mut finish: oneshot::Receiver<Duration>) {
        let mut deadline = None;
        loop {
            self.begin_drain().await;
            self.begin_adoption().await;
            let taking = self.may_take();
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                drained = join(&mut self.draining) => self.end_drain(drained).await,
                adopted = join_adoption(&mut self.adopting) => self.end_adoption(adopted).await,
                left = &mut finish, if deadline.is_none() => deadline = Some(Instant::now() + left.unwrap_or_default()),
                count = self.jobs.recv_many(&mut batch, BATCH), if taking => {
                    if count == 0 {
                        break;
                    }
                    self.take(batch).await;
                }
                () = tokio::time::sleep(if self.shared.gate.is_in_use() { TICK } else { IDLE_TICK }) => {}
            }
            self.fall_out_of_use();
            self.publish();
            if deadline.is_some_and(|deadline| self.is_empty() || Instant::now() >= deadline) && self.jobs.is_empty() {
                break;
            }
        }
        self.leave().await;
    }

    fn is_empty(&self) -> bool {
        self.draining.is_none()
            && self.adopting.is_none()
            && self.backlog.is_empty()
            && self.open.as_ref().is_none_or(|open| open.segment().bytes == 0)
    }

    fn level(&self) -> Level {
        let open = self.open.as_ref().map(Open::segment);
        let segments = || self.backlog.iter().chain(open);
        let draining = self.draining.as_ref();
        Level {
            bytes: segments().map(|segment| segment.bytes).sum::<u64>() + draining.map_or(0, |draining| draining.bytes),
            records: segments().map(|segment| segment.records).sum::<u64>() + draining.map_or(0, |draining| draining.records),
            oldest: draining.and_then(|draining| draining.oldest).or_else(|| segments().find_map(|segment| segment.oldest)),
        }
    }

    fn publish(&self) {
        self.shared.status.publish(self.shared.gate.is_in_use(), self.level(), (self.clock)());
    }

    /// While the backlog drains well, documents are taken in at half its pace.
    fn may_take(&self) -> bool {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let drains_well = self.draining.is_some() && moved.is_some_and(|moved| moved.elapsed() < STALLED);
        !drains_well || self.shared.status.drained_bytes() >= self.take_when_drained
    }

    async fn take(&mut self, mut jobs: Vec<Job>) {
        let straight = self.is_empty() && jobs.iter().all(|job| job.way == Way::Behind) && Instant::now() >= self.retry_at;
        if straight {
            match self.pass(jobs).await {
                Ok(()) => return,
                Err((untaken, reason)) => {
                    self.note_failure(&reason);
                    jobs = untaken;
                }
            }
        }
        self.note_begin(&jobs);
        while !jobs.is_empty() {
            let mut weight = 0;
            let count = jobs.iter().take_while(|job| {
                weight += job.record.weight();
                weight <= BATCH_BYTES
            });
            let rest = jobs.split_off(count.count().max(1));
            self.append(jobs).await;
            jobs = rest;
        }
    }

    /// Says once that documents go to the spool, and why.
    fn note_begin(&mut self, jobs: &[Job]) {
        let reason = jobs.iter().find_map(|job| match &job.way {
            Way::Refused(reason) => Some(reason.as_str()),
            Way::Behind | Way::DiskFirst => None,
        });
        if self.since.is_none()
            && let Some(reason) = reason
        {
            (self.since, self.came) = (Some(Instant::now()), 0);
            tracing::warn!(reason, "the store takes no documents, spooling begins");
        }
    }

    /// Writes documents straight to the store, in order, because nothing is before
    /// them; answers which it did not take, and why.
    async fn pass(&self, jobs: Vec<Job>) -> Result<(), (Vec<Job>, String)> {
        let records: Vec<Record> = jobs.iter().map(|job| job.record.clone()).collect();
        match tokio::time::timeout(self.place.deadline, deliver(&self.store, &records)).await {
            Ok(Delivered { outcomes, untaken }) => {
                let mut left = Vec::new();
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    match outcome {
                        Some(outcome) => answer(job, outcome.map_err(NotKept::Refused)),
                        None => left.push(job),
                    }
                }
                untaken.map_or(Ok(()), |reason| Err((left, reason)))
            }
            Err(_) => {
                count_failure(DRAINING);
                Err((jobs, format!("the store did not answer within {:?}", self.place.deadline)))
            }
        }
    }

    /// Appends documents to the open segment, with one fsync, and answers them.
    async fn append(&mut self, jobs: Vec<Job>) {
        let room = Room { used: self.level().bytes, limit: self.place.bytes };
        let writing = Writing {
            disk: self.place.disk.clone(),
            root: self.place.root.clone(),
            name: time_ordered_uuid((self.clock)(), &rand::random()).to_string(),
            folder: self.folder.take(),
            open: self.open.take(),
            number: self.segments,
            nonce: rand::random(),
            room,
        };
        self.segments += 1;
        let records: Vec<Record> = jobs.iter().map(|job| job.record.clone()).collect();
        let before = room.used;
        let Ok(written) = tokio::task::spawn_blocking(move || writing.write(&records)).await else {
            // The segment went with the thread that panicked; what was synced is on
            // the disk and is found at the next start.
            jobs.into_iter().for_each(|job| answer(job, Err(NotKept::Closed)));
            return;
        };
        (self.folder, self.open) = (written.folder, written.open);
        self.backlog.extend(written.closed);
        let full = written.outcomes.iter().any(|outcome| matches!(outcome, Err(NotKept::Full)));
        if full && !self.shared.status.is_full() {
            tracing::error!(limit = self.place.bytes, "spool is full, gateways are told to send again");
        }
        self.shared.status.note_full(full);
        let kept = written.outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        self.came += kept;
        metrics::counter!("heliograph_spool_documents_total").increment(kept);
        metrics::counter!("heliograph_spool_refused_total").increment(written.outcomes.len() as u64 - kept);
        self.take_when_drained = self.shared.status.drained_bytes() + 2 * self.level().bytes.saturating_sub(before);
        for (job, outcome) in jobs.into_iter().zip(written.outcomes) {
            self.keep(job, outcome);
        }
    }

    /// Answers a document that is on the disk, or is not. Who waits for the store is
    /// noted before the drain can come to it.
    fn keep(&self, mut job: Job, outcome: Result<RecordPlace, NotKept>) {
        if let (Ok(place), Some(told)) = (&outcome, job.written.take()) {
            self.waiting.add(place.clone(), told);
        }
        answer(job, outcome.map(drop));
    }

    async fn begin_drain(&mut self) {
        if self.draining.is_some() || self.adopting.is_some() || Instant::now() < self.retry_at {
            return;
        }
        if self.backlog.is_empty()
            && let Some(open) = self.open.take()
        {
            // What is being drained is not written any more.
            let disk = self.place.disk.clone();
            match blocking(move || open.close(&disk)).await {
                Ok(segment) => self.backlog.extend(segment),
                Err(error) => tracing::warn!(%error, "empty segment cannot be removed"),
            }
        }
        let Some(segment) = self.backlog.pop_front() else { return };
        let moved = Arc::clone(&self.moved);
        let (bytes, records, oldest, path) = (segment.bytes, segment.records, segment.oldest, segment.path.clone());
        let waiting = Arc::clone(&self.waiting);
        let head = Head { segment, root: self.place.root.clone(), disk: self.place.disk.clone(), moved, waiting };
        let task = tokio::spawn(drain::drain(self.store.clone(), head, Arc::clone(&self.shared.status)));
        self.draining = Some(Draining { task, bytes, records, oldest, path });
    }

    async fn end_drain(&mut self, drained: Drained) {
        let Some(draining) = self.draining.take() else { return };
        match drained {
            Drained::Whole => {
                (self.retry, self.retry_at) = (RETRY, Instant::now());
                self.waiting.let_go_of(&draining.path);
                self.leave_folder_of(&draining.path).await;
            }
            Drained::Stopped(segment, reason) => {
                self.note_failure(&reason);
                // Acks need wait no longer for a store that takes nothing.
                self.waiting.let_go();
                // Where order is of no account, what is stuck holds up no other segment.
                if self.store.orders_by_stamp() {
                    self.backlog.push_back(segment);
                } else {
                    self.backlog.push_front(segment);
                }
            }
        }
    }

    fn note_failure(&mut self, reason: &str) {
        tracing::debug!(reason, "the store still takes nothing");
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.retry_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY_MOST);
    }

    fn fall_out_of_use(&mut self) {
        if !self.is_empty() || !self.shared.gate.is_in_use() {
            return;
        }
        let ended = if self.store.orders_by_stamp() {
            self.shared.gate.end_out_of_order()
        } else {
            // One whose write has ended may not know yet that others went through the
            // spool meanwhile, behind which it has to be written again.
            let Ok(_nobody) = self.shared.straight.try_write() else { return };
            self.shared.gate.end()
        };
        if ended {
            let seconds = self.since.take().map(|since| since.elapsed().as_secs());
            tracing::info!(documents = self.came, seconds, "spool has drained, documents go straight to the store again");
        }
    }

    async fn leave(self) {
        if let Some(draining) = &self.draining {
            draining.task.abort();
        }
        let level = self.level();
        let Self { open, folder, adopted, unread, place, .. } = self;
        let left = blocking(move || {
            if let Some(open) = open {
                drop(open.close(&place.disk));
            }
            let folders = folder.into_iter().chain(adopted).chain(unread);
            drop(folders.filter_map(|folder| folder.leave(&place.disk)).collect::<Vec<_>>());
            Ok(())
        });
        drop(left.await);
        if level.bytes > 0 {
            tracing::warn!(
                documents = level.records,
                bytes = level.bytes,
                "spool has not drained, the rest stays for the next start"
            );
        }
    }
}

/// A job's ticket goes before its caller learns of it, so that a spool whose last
/// document is answered can fall out of use.
fn answer(job: Job, outcome: Result<(), NotKept>) {
    let Job { ticket, reply, .. } = job;
    drop(ticket);
    // A caller that has gone away needs no answer.
    drop(reply.send(outcome));
}

async fn join(draining: &mut Option<Draining>) -> Drained {
    match draining {
        Some(draining) => (&mut draining.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "drain ended early, its segment stays for the next start");
            Drained::Whole
        }),
        None => std::future::pending().await,
    }
}
