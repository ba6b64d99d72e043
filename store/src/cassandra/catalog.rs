//! The catalog in the cluster: one partition, read whole, changed by
//! compare-and-set on its version.
//!
//! How it is changed stands in [`queue`], how that is written in [`batch`].

mod batch;
mod queue;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use self::queue::Queue;
use super::Database;
use crate::catalog::{Catalog, Change, Record, Row};
use crate::error::StoreError;
pub(super) use batch::{BATCH_BYTES, BATCH_ROWS, row_bytes};
pub(crate) use queue::Entry;

/// How old a catalog may be where a caller can live with an old one.
const RECENT: Duration = Duration::from_secs(1);
/// How old it may be at most, where it changes faster than it can be read anew or
/// the cluster is busy: what is decided by it holds from two days ahead, or for days.
pub(super) const STILL_GOOD: Duration = Duration::from_secs(60);
/// How long such a caller waits for a newer one.
const PATIENCE: Duration = Duration::from_millis(300);
/// Rows of the catalog that come in one page, which are of one version.
const PAGE_ROWS: i32 = 20_000;
/// The kind of the rows that say who wrote a version.
const WRITER: &str = "writer";
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

impl Database {
    /// The catalog as it is now.
    pub(crate) async fn catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        usable(self.known_catalog().await?.catalog)
    }

    /// The same while an archive is being restored.
    pub(super) async fn unfinished_catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        Ok(self.known_catalog().await?.catalog)
    }

    /// The catalog as it stands in its table, whatever this process knows of it.
    pub(super) async fn stored_catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        usable(self.load().await?.catalog)
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

#[cfg(test)]
mod tests;
