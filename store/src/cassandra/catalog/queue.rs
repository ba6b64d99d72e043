//! What a process wants changed: one task decides what is queued on the newest
//! catalog and writes it in one conditional batch. Where another process was
//! faster, all is decided anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::super::Database;
use super::batch::{BATCH_BYTES, BATCH_ROWS, Draft, Outcome};
use super::{ATTEMPTS, Known, State, being_restored, jitter};
use crate::audit::AuditEvent;
use crate::catalog::{Catalog, Change, Decision, Record};
use crate::error::StoreError;

#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Whether a task works on it.
    worked: bool,
}

/// What a catalog is to become; it may be asked several times.
type Rule = Box<dyn Fn(&Catalog) -> Decision + Send + Sync>;

/// A wish, and who waits for it.
struct Job {
    /// Whether it is part of restoring an archive; other wishes wait until that is
    /// done.
    restores: bool,
    decide: Rule,
    /// What the audit trail says if it comes to any change.
    event: Option<Entry>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// An entry for the audit trail.
#[derive(Clone)]
pub(crate) enum Entry {
    /// Whatever the rule decides.
    Always(AuditEvent),
    /// Where the rule decides on any change.
    OnChange(AuditEvent),
}

impl Database {
    /// Changes the catalog as a rule decides, and writes what the audit trail is to
    /// say in the same moment. The rule may be asked several times.
    pub(crate) async fn catalog_change(
        &self,
        event: Option<Entry>,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.wish(false, event, Box::new(decide)).await
    }

    /// The same, as a part of restoring an archive.
    pub(in crate::cassandra) async fn restoring_change(
        &self,
        event: Option<Entry>,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.wish(true, event, Box::new(decide)).await
    }

    async fn wish(&self, restores: bool, event: Option<Entry>, decide: Rule) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        let idle = {
            let mut queue = self.inner.catalog.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.jobs.push_back(Job { restores, decide, event, answer });
            !std::mem::replace(&mut queue.worked, true)
        };
        if idle {
            tokio::spawn(self.clone().work());
        }
        outcome.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the change was not made: its task ended".to_owned())))
    }

    /// The same, audited always.
    pub(crate) async fn change(
        &self,
        event: AuditEvent,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.catalog_change(Some(Entry::Always(event)), decide).await
    }

    /// Writes an entry of the audit trail about a change that was made elsewhere.
    pub(crate) async fn audit(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.change(event, |_| Ok(Vec::new())).await
    }

    /// Works until nothing is queued.
    async fn work(self) {
        let mut working = Working { state: &self.inner.catalog, over: false };
        while let Some(mut jobs) = working.next() {
            while !jobs.is_empty() {
                self.work_on(&mut jobs).await;
            }
        }
    }

    /// Takes some jobs and answers them.
    async fn work_on(&self, jobs: &mut VecDeque<Job>) {
        for attempt in 0..ATTEMPTS {
            let decided = match self.decide(jobs).await {
                Ok(decided) => decided,
                Err(error) => return answer(jobs, usize::MAX, |_| Err(error.clone())),
            };
            let Decided { known, draft, results } = decided;
            let outcome = if draft.rows.is_empty() { Outcome::Written } else { self.write(&known, &draft).await };
            match outcome {
                Outcome::Written => {
                    if !draft.rows.is_empty() {
                        let version = Some(known.version.unwrap_or_default() + 1);
                        let catalog = Arc::new(draft.catalog);
                        self.inner.catalog.learn(Known { version, catalog, checked: Instant::now() });
                    }
                    let mut results = results.into_iter();
                    return answer(jobs, results.len(), |_| results.next().unwrap_or(Ok(())));
                }
                Outcome::SomebodyWasFaster => {
                    // Who waits for different times gets through one after the other.
                    tokio::time::sleep(jitter(attempt)).await;
                }
                Outcome::Failed(error) => return answer(jobs, results.len(), |_| Err(error.clone())),
            }
        }
        answer(jobs, usize::MAX, |_| Err(StoreError::Unavailable("too many change the catalog at once".to_owned())));
    }

    async fn decide(&self, jobs: &VecDeque<Job>) -> Result<Decided, StoreError> {
        let known = self.known_catalog().await?;
        self.complete_trail(&known.catalog).await?;
        let mut draft = Draft { catalog: (*known.catalog).clone(), rows: BTreeMap::new() };
        let mut results = Vec::new();
        let mut audited = false;
        for job in jobs {
            let waits = draft.catalog.is_being_restored() && !job.restores;
            let decided = if waits { Err(being_restored()) } else { (job.decide)(&draft.catalog) };
            let result = decided.map(|changes| {
                let event = match &job.event {
                    Some(Entry::OnChange(_)) if changes.is_empty() => None,
                    Some(Entry::Always(event) | Entry::OnChange(event)) => Some(event.clone()),
                    None => None,
                };
                audited |= event.is_some();
                draft.take(changes);
                if let Some(event) = event {
                    let entry = draft.catalog.follow(event);
                    draft.take(entry);
                }
            });
            results.push(result);
            if draft.rows.len() >= BATCH_ROWS || draft.bytes() >= BATCH_BYTES {
                break;
            }
        }
        if audited {
            // What stands in the trail need not stand here, but for the head.
            let old = known.catalog.trail.values().cloned();
            draft.take(old.map(|row| Change::Remove(Record::Trail(row))).collect());
        } else if let Some(copied) = known.catalog.trail_to_copy().filter(|_| !draft.rows.is_empty()) {
            draft.take(vec![Change::Put(Record::TrailCopied(copied))]);
        }
        Ok(Decided { known, draft, results })
    }
}

/// The task that works on the queue. Where it ends early, with its runtime or by a
/// rule that panics, who waits learns of it and the next wish begins another one.
struct Working<'a> {
    state: &'a State,
    over: bool,
}

impl Working<'_> {
    /// What is queued; with nothing left the work is over.
    fn next(&mut self) -> Option<VecDeque<Job>> {
        let mut queue = self.state.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.worked = !queue.jobs.is_empty();
        self.over = !queue.worked;
        queue.worked.then(|| std::mem::take(&mut queue.jobs))
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if !self.over {
            *self.state.queue.lock().unwrap_or_else(PoisonError::into_inner) = Queue::default();
        }
    }
}

/// What jobs come to on a catalog.
struct Decided {
    known: Known,
    draft: Draft,
    /// Of the jobs from the first on.
    results: Vec<Result<(), StoreError>>,
}

/// Answers the first `count` jobs.
fn answer(jobs: &mut VecDeque<Job>, count: usize, mut result: impl FnMut(usize) -> Result<(), StoreError>) {
    let count = count.min(jobs.len());
    for (at, job) in jobs.drain(..count).enumerate() {
        // Who has gone away needs no answer.
        drop(job.answer.send(result(at)));
    }
}
