//! How many documents each gateway has pushed: counters that are raised behind
//! the documents. What a process had not written yet when it was killed is lost:
//! nothing but statistics hangs on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::GatewayId;
use scylla::value::Counter;

use super::Database;
use crate::error::StoreError;

const EVERY: Duration = Duration::from_secs(1);
/// Counters raised at once.
const AT_ONCE: usize = 16;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    documents: Mutex<HashMap<GatewayId, i64>>,
    beating: AtomicBool,
}

impl Pulse {
    /// Counts a document that was pushed.
    pub(crate) fn pushed(&self, db: &Database, gateway: &GatewayId) {
        *self.documents.lock().unwrap_or_else(PoisonError::into_inner).entry(gateway.clone()).or_default() += 1;
        db.data_changed();
        if !self.beating.swap(true, Ordering::AcqRel) {
            tokio::spawn(beat(db.clone()));
        }
    }

    fn take(&self) -> HashMap<GatewayId, i64> {
        std::mem::take(&mut *self.documents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Writes what waits until nothing does.
async fn beat(db: Database) {
    let pulse = &db.writing().pulse;
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = flush(&db).await {
            tracing::debug!(%error, "documents are not counted");
        }
        if pulse.is_empty() {
            pulse.beating.store(false, Ordering::Release);
            if pulse.is_empty() || pulse.beating.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

/// Writes what waits now. Whether a counter that failed was raised is not known:
/// it is not tried again.
pub(crate) async fn flush(db: &Database) -> Result<(), StoreError> {
    let waiting = db.writing().pulse.take();
    let written = stream::iter(waiting).map(|(gateway, count)| add(db, gateway, count));
    written.buffer_unordered(AT_ONCE).try_collect().await
}

async fn add(db: &Database, gateway: GatewayId, count: i64) -> Result<(), StoreError> {
    let mut statement = db.prepared("UPDATE @.pushed SET documents = documents + ? WHERE gateway = ?").await?;
    statement.set_is_idempotent(false);
    db.session().await?.execute_unpaged(&statement, (Counter(count), gateway.as_str())).await?;
    Ok(())
}
