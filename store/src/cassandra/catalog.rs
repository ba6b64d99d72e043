//! The catalog in the cluster: one partition, read whole, changed by
//! compare-and-set on its version.
//!
//! Changes of a process go through one task, which decides what is queued on the
//! newest catalog and writes it in one conditional batch. Where another process
//! was faster, all is decided anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use scylla::response::query_result::QueryResult;
use scylla::statement::SerialConsistency;
use scylla::value::{CqlValue, Row as CqlRow};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::Database;
use crate::audit::AuditEvent;
use crate::catalog::{Catalog, Change, Decision, Record, Row};
use crate::error::StoreError;

/// How old a catalog may be where a caller can live with an old one.
const RECENT: Duration = Duration::from_secs(1);
/// How old it may be at most, where it changes faster than it can be read anew or
/// the cluster is busy: what is decided by it holds from two days ahead, or for days.
const STILL_GOOD: Duration = Duration::from_secs(60);
/// How long such a caller waits for a newer one.
const PATIENCE: Duration = Duration::from_millis(300);
/// Rows of the catalog that come in one page, which are of one version.
const PAGE_ROWS: i32 = 20_000;
/// Rows that one batch changes, about.
pub(super) const BATCH_ROWS: usize = 100;
/// Bytes that one batch carries, about; a node refuses 50 KiB.
pub(super) const BATCH_BYTES: usize = 24 * 1024;
/// The kind of the rows that say who wrote a version.
const WRITER: &str = "writer";
/// Versions of which it is known who wrote them.
const WRITERS: i64 = 100;
/// How often somebody else may be faster.
const ATTEMPTS: u64 = 20;

/// What a process knows of the catalog, and what it wants changed.
#[derive(Default)]
pub(super) struct State {
    known: RwLock<Option<Known>>,
    loading: tokio::sync::Mutex<()>,
    /// Whether a task reads the catalog anew, and how often one has ended.
    looking: AtomicBool,
    looked: watch::Sender<u64>,
    queue: Mutex<Queue>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State(…)")
    }
}

/// A catalog as it was at a version.
#[derive(Clone)]
struct Known {
    /// `None`: nothing was ever written.
    version: Option<i64>,
    catalog: Arc<Catalog>,
    checked: Instant,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Whether a task works on it.
    worked: bool,
}

/// A wish, and who waits for it.
struct Job {
    /// Whether it is part of restoring an archive; other wishes wait until that is
    /// done.
    restores: bool,
    decide: Box<dyn Fn(&Catalog) -> Decision + Send + Sync>,
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

/// What several wishes come to.
struct Draft {
    catalog: Catalog,
    rows: BTreeMap<(String, String), Option<Row>>,
}

/// How a conditional batch ended.
enum Outcome {
    Written,
    SomebodyWasFaster,
    Failed(StoreError),
}

impl Database {
    /// The catalog as it is now.
    pub(crate) async fn catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        usable(self.known_catalog().await?.catalog)
    }

    /// The same while an archive is being restored.
    pub(super) async fn unfinished_catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        Ok(self.known_catalog().await?.catalog)
    }

    /// The catalog as it was within the last second or, where there is no newer one
    /// to be had, as it was last known.
    pub(crate) async fn recent_catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        let state = &self.inner.catalog;
        match state.known() {
            Some(known) if known.checked.elapsed() < RECENT => usable(known.catalog),
            Some(known) if known.checked.elapsed() < STILL_GOOD => {
                let mut looked = state.looked.subscribe();
                self.look_again();
                // Whether it was found or not: what is known then is the newest.
                drop(tokio::time::timeout(PATIENCE, looked.changed()).await);
                usable(state.known().map_or(known.catalog, |newer| newer.catalog))
            }
            _ => self.catalog().await,
        }
    }

    /// Reads the catalog, if somebody else does not do so already.
    fn look_again(&self) {
        if self.inner.catalog.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let db = self.clone();
        tokio::spawn(async move {
            let looked = db.known_catalog().await;
            let state = &db.inner.catalog;
            state.looking.store(false, Ordering::Release);
            state.looked.send_modify(|count| *count += 1);
            if let Err(error) = looked {
                tracing::warn!(%error, "what is set up cannot be read anew");
            }
        });
    }

    /// The catalog's version; 0 before anything was written.
    pub(crate) async fn catalog_version(&self) -> Result<i64, StoreError> {
        let row = self.row::<(Option<i64>,)>("SELECT version FROM @.catalog WHERE part = 'catalog' LIMIT 1", ()).await?;
        Ok(row.and_then(|(version,)| version).unwrap_or_default())
    }

    /// Changes the catalog as a rule decides, and writes what the audit trail is to
    /// say in the same moment. The rule may be asked several times.
    pub(crate) async fn catalog_change(
        &self,
        event: Option<Entry>,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.enqueue(Job { restores: false, decide: Box::new(decide), event, answer }, outcome).await
    }

    /// The same, as a part of restoring an archive.
    pub(super) async fn restoring_change(
        &self,
        event: Option<Entry>,
        decide: impl Fn(&Catalog) -> Decision + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.enqueue(Job { restores: true, decide: Box::new(decide), event, answer }, outcome).await
    }

    async fn enqueue(&self, job: Job, outcome: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), StoreError> {
        let idle = {
            let mut queue = self.inner.catalog.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.jobs.push_back(job);
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

    async fn known_catalog(&self) -> Result<Known, StoreError> {
        let (version, asked) = (self.catalog_version().await?, Instant::now());
        let current = |known: &Known| known.version.unwrap_or_default() >= version;
        if let Some(known) = self.inner.catalog.known().filter(current) {
            return Ok(self.inner.catalog.learn(Known { checked: asked, ..known }));
        }
        let _alone = self.inner.catalog.loading.lock().await;
        match self.inner.catalog.known().filter(current) {
            Some(known) => Ok(known),
            None => Ok(self.inner.catalog.learn(self.load().await?)),
        }
    }

    /// Reads the whole partition. Pages that are of different versions do not fit.
    async fn load(&self) -> Result<Known, StoreError> {
        type Columns = (Option<i64>, Option<String>, Option<String>, Option<BTreeMap<String, String>>, Option<String>);
        let cql = "SELECT version, kind, id, fields, body FROM @.catalog WHERE part = 'catalog'";
        for _ in 0..ATTEMPTS {
            let checked = Instant::now();
            let rows: Vec<Columns> = self.all_by(cql, (), PAGE_ROWS).await?;
            let version = rows.first().and_then(|(version, ..)| *version);
            if rows.iter().any(|(other, ..)| *other != version) {
                continue;
            }
            let mut catalog = Catalog::default();
            for (_, kind, id, fields, body) in rows {
                // A partition without rows still has its version.
                let (Some(kind), Some(id)) = (kind, id) else { continue };
                if kind == WRITER {
                    continue;
                }
                let row = Row { kind, id, fields: fields.unwrap_or_default(), body };
                catalog.apply(Change::Put(Record::from_row(&row)?));
            }
            return Ok(Known { version, catalog: Arc::new(catalog), checked });
        }
        Err(StoreError::Unavailable("the catalog changes faster than it can be read".to_owned()))
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
        }
        Ok(Decided { known, draft, results })
    }

    async fn write(&self, known: &Known, draft: &Draft) -> Outcome {
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
        statement.set_consistency(scylla::statement::Consistency::LocalSerial);
        statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        let rows = Box::pin(session.execute_unpaged(&statement, (WRITER, writer_id(version)))).await?.into_rows_result();
        let rows = rows.map_err(|error| StoreError::Damaged(error.to_string()))?;
        let row: Option<(Option<String>,)> = rows.maybe_first_row().map_err(|error| StoreError::Damaged(error.to_string()))?;
        let tag = row.and_then(|(tag,)| tag);
        tag.map(|tag| Uuid::parse_str(&tag).map_err(|error| StoreError::Damaged(error.to_string()))).transpose()
    }
}

/// A catalog of which all is so.
fn usable(catalog: Arc<Catalog>) -> Result<Arc<Catalog>, StoreError> {
    if catalog.is_being_restored() { Err(being_restored()) } else { Ok(catalog) }
}

fn being_restored() -> StoreError {
    let problem = "an archive is being restored; where that was broken off, restore it again";
    StoreError::Unavailable(problem.to_owned())
}

/// A time that grows with the attempts, and differs between those who wait.
fn jitter(attempt: u64) -> Duration {
    Duration::from_millis(u64::from(Uuid::new_v4().as_bytes()[0]) * (attempt + 1) / 8)
}

fn text(text: &str) -> Option<CqlValue> {
    Some(CqlValue::Text(text.to_owned()))
}

fn writer_id(version: i64) -> String {
    format!("{version:020}")
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

impl State {
    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what is newer, and answers what was learned.
    fn learn(&self, learned: Known) -> Known {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.version <= learned.version) {
            *known = Some(learned.clone());
        }
        learned
    }
}

impl Draft {
    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            let (row, stays) = match &change {
                Change::Put(record) => (record.to_row(), true),
                Change::Remove(record) => (record.to_row(), false),
            };
            self.rows.insert((row.kind.clone(), row.id.clone()), stays.then_some(row));
            self.catalog.apply(change);
        }
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|((kind, id), row)| kind.len() + id.len() + row.as_ref().map_or(0, row_bytes)).sum()
    }
}

/// What a row takes beside its key, about.
pub(super) fn row_bytes(row: &Row) -> usize {
    let fields: usize = row.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    fields + row.body.as_ref().map_or(0, String::len)
}

/// Answers the first `count` jobs.
fn answer(jobs: &mut VecDeque<Job>, count: usize, mut result: impl FnMut(usize) -> Result<(), StoreError>) {
    let count = count.min(jobs.len());
    for (at, job) in jobs.drain(..count).enumerate() {
        // Who has gone away needs no answer.
        drop(job.answer.send(result(at)));
    }
}

fn fields(row: &Row) -> CqlValue {
    CqlValue::Map(row.fields.iter().map(|(name, value)| (CqlValue::Text(name.clone()), CqlValue::Text(value.clone()))).collect())
}

/// Whether a conditional statement was carried out.
pub(super) fn applied(result: QueryResult) -> Result<bool, StoreError> {
    Ok(matches!(conditional(result)?.0, Some(CqlValue::Boolean(true))))
}

/// What a conditional statement answers: whether it was carried out and, where it
/// was not, what stands there.
pub(super) fn conditional(result: QueryResult) -> Result<(Option<CqlValue>, HashMap<String, CqlValue>), StoreError> {
    let damaged = |error: String| StoreError::Damaged(format!("answer to a conditional write: {error}"));
    let rows = result.into_rows_result().map_err(|error| damaged(error.to_string()))?;
    let names: Vec<String> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let row: CqlRow = rows.first_row().map_err(|error| damaged(error.to_string()))?;
    let mut columns: HashMap<String, CqlValue> =
        names.into_iter().zip(row.columns).filter_map(|(name, value)| value.map(|value| (name, value))).collect();
    Ok((columns.remove("[applied]"), columns))
}

#[cfg(test)]
mod tests;
