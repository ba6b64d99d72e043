//! What follows documents at a short distance: how many of them each gateway has
//! pushed, when and from where, and the latest readings of its series.
//!
//! These rows would be rewritten with each document, so a process gathers them
//! and writes them each second, before it announces that readings have changed,
//! and before it reads them itself. What a process had not written when it was
//! killed is written by whoever settles the windows of those documents (see
//! [`super::newest`]); the count of documents, which is statistics, is not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, Sample, Timestamp};
use scylla::value::Counter;

use super::Database;
use super::series::{self, LatestRow, Name, Touched};
use crate::document::DocumentWrite;
use crate::error::StoreError;

const EVERY: Duration = Duration::from_secs(1);
/// Documents are counted each time that this many times have passed.
const COUNTED: u32 = 5;
/// Gateways written at once.
const AT_ONCE: usize = 16;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    news: Mutex<HashMap<GatewayId, News>>,
    documents: Mutex<HashMap<GatewayId, i64>>,
    /// Held while news are written, so that nobody reads what is on its way.
    writing: tokio::sync::Mutex<()>,
    beating: AtomicBool,
}

/// What documents of a gateway have brought.
#[derive(Debug)]
struct News {
    seen: Timestamp,
    address: String,
    /// With the write timestamp of each.
    latest: HashMap<Name, (i64, Sample)>,
}

impl News {
    fn merge(&mut self, other: Self) {
        if other.seen > self.seen {
            (self.seen, self.address) = (other.seen, other.address);
        }
        for (name, latest) in other.latest {
            self.take(&name, latest);
        }
    }

    fn take(&mut self, name: &Name, latest: (i64, Sample)) {
        match self.latest.get_mut(name) {
            Some(known) if known.0 > latest.0 => {}
            Some(known) => *known = latest,
            None => drop(self.latest.insert(name.clone(), latest)),
        }
    }
}

impl Pulse {
    /// Takes what a document says that has just been written; `counted` where it is
    /// a further one of its gateway.
    pub(crate) fn pushed(&self, db: &Database, document: &DocumentWrite, touched: &[(&Name, Touched)], counted: bool) {
        {
            let mut all = lock(&self.news);
            let news = all.entry(document.gateway.clone()).or_insert_with(|| News {
                seen: Timestamp::MIN,
                address: String::new(),
                latest: HashMap::new(),
            });
            if document.received >= news.seen {
                news.seen = document.received;
                news.address.clone_from(&document.address);
            }
            for (name, touched) in touched {
                if let Some(sample) = touched.latest {
                    news.take(name, (series::latest_timestamp(sample.at, document.stamp), sample));
                }
            }
        }
        if counted {
            *lock(&self.documents).entry(document.gateway.clone()).or_default() += 1;
        }
        if !self.beating.swap(true, Ordering::AcqRel) {
            tokio::spawn(beat(db.clone()));
        }
    }

    /// What becomes of it where its process is killed.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        lock(&self.news).clear();
    }

    fn is_empty(&self) -> bool {
        lock(&self.news).is_empty() && lock(&self.documents).is_empty()
    }

    fn give_back(&self, gateway: GatewayId, news: News) {
        match lock(&self.news).entry(gateway) {
            Entry::Occupied(mut later) => later.get_mut().merge(news),
            Entry::Vacant(place) => drop(place.insert(news)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what waits until nothing does.
async fn beat(db: Database) {
    let pulse = &db.writing().pulse;
    for beats in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        let written = if beats % COUNTED == 0 { flush(&db).await } else { flush_news(&db).await };
        if let Err(error) = written {
            tracing::debug!(%error, "what is latest is not written yet");
        }
        db.data_changed();
        if db.is_closed() {
            return;
        }
        if pulse.is_empty() {
            pulse.beating.store(false, Ordering::Release);
            if pulse.is_empty() || pulse.beating.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

/// Writes all that waits now.
pub(crate) async fn flush(db: &Database) -> Result<(), StoreError> {
    flush_news(db).await?;
    let waiting = std::mem::take(&mut *lock(&db.writing().pulse.documents));
    let counted = stream::iter(waiting).map(async |(gateway, documents)| count(db, &gateway, documents).await);
    counted.buffer_unordered(AT_ONCE).try_collect().await
}

async fn flush_news(db: &Database) -> Result<(), StoreError> {
    let pulse = &db.writing().pulse;
    let _turn = pulse.writing.lock().await;
    let waiting = std::mem::take(&mut *lock(&pulse.news));
    // All are tried, so that none is lost with another one's failure.
    let written: Vec<Result<(), StoreError>> =
        stream::iter(waiting).map(|(gateway, news)| write(db, gateway, news)).buffer_unordered(AT_ONCE).collect().await;
    written.into_iter().collect()
}

/// Writes what waits of a gateway, for somebody who is about to read it. Where that
/// fails, the reading will say so.
pub(crate) async fn flush_gateway(db: &Database, gateway: &GatewayId) {
    let pulse = &db.writing().pulse;
    let _turn = pulse.writing.lock().await;
    let waiting = lock(&pulse.news).remove(gateway);
    if let Some(news) = waiting
        && let Err(error) = write(db, gateway.clone(), news).await
    {
        tracing::debug!(%error, "what is latest is not written yet");
    }
}

async fn write(db: &Database, gateway: GatewayId, news: News) -> Result<(), StoreError> {
    let rows: Vec<LatestRow<'_>> = news.latest.iter().map(|(name, (stamp, sample))| (name, *stamp, *sample)).collect();
    match series::write_latest(db, &gateway, (news.seen, Some(&news.address)), &rows).await {
        Ok(()) => Ok(()),
        // It would be refused again and again.
        Err(error @ StoreError::Refused(_)) => {
            tracing::warn!(%gateway, %error, "what is latest is not written");
            Ok(())
        }
        Err(error) => {
            drop(rows);
            db.writing().pulse.give_back(gateway, news);
            Err(error)
        }
    }
}

/// Whether a counter that failed was raised is not known: it is not tried again.
pub(super) async fn count(db: &Database, gateway: &GatewayId, documents: i64) -> Result<(), StoreError> {
    let mut statement = db.prepared("UPDATE @.pushed SET documents = documents + ? WHERE gateway = ?").await?;
    statement.set_is_idempotent(false);
    db.session().await?.execute_unpaged(&statement, (Counter(documents), gateway.as_str())).await?;
    Ok(())
}
