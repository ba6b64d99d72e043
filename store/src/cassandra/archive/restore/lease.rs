//! The right to restore, which one process has at a time.

use std::time::{Duration, Instant};

use heliograph_domain::Timestamp;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::super::super::Database;
use crate::error::StoreError;

/// How long another process waits for one that was killed.
const LASTS: Duration = Duration::from_mins(2);
/// How often it is renewed.
pub(super) const AGAIN: Duration = Duration::from_secs(30);
const NAME: &str = "restore";

/// The right to restore, kept while the work goes on.
pub(super) struct Lease {
    pub(super) db: Database,
    pub(super) holder: String,
    /// When it was taken.
    pub(super) now: Timestamp,
    begun: Instant,
    again: Duration,
    /// When it was last renewed; one renews it at a time.
    renewed: Mutex<Instant>,
}

impl Lease {
    pub(super) async fn take(db: &Database, now: Timestamp, again: Duration) -> Result<Self, StoreError> {
        let (holder, begun) = (Uuid::new_v4().to_string(), Instant::now());
        let lease = Self { db: db.clone(), holder, now, begun, again, renewed: Mutex::new(begun) };
        lease.renew().await?;
        Ok(lease)
    }

    /// Makes sure that it is still ours, for two minutes from now.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let mut renewed = self.renewed.lock().await;
        // What was broken off on the way may be written in between, once.
        for _ in 0..2 {
            let asked = Instant::now();
            let now = self.now.plus_millis(millis(asked - self.begun));
            if self.db.lease_take(NAME, &self.holder, now, now.plus_millis(millis(LASTS))).await? {
                *renewed = asked;
                return Ok(());
            }
        }
        Err(StoreError::Conflict("another process is restoring an archive, or was killed at it within two minutes".to_owned()))
    }

    /// Works and renews the lease meanwhile, however long that takes; ends early where
    /// the lease is lost.
    pub(super) async fn during<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            done = work => done,
            lost = self.lost() => Err(lost),
        }
    }

    /// Ends when it is another's, or could not be renewed for as long as it lasts.
    async fn lost(&self) -> StoreError {
        loop {
            tokio::time::sleep(self.again).await;
            match self.renew().await {
                Ok(()) => {}
                Err(error @ StoreError::Conflict(_)) => return error,
                Err(error) if self.renewed.lock().await.elapsed() + self.again >= LASTS => return error,
                Err(error) => tracing::debug!(%error, "the right to restore is not renewed yet"),
            }
        }
    }

    pub(super) async fn release(&self) {
        // It ends by itself.
        drop(self.db.lease_release(NAME, &self.holder).await);
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
