//! The worker that deletes readings once they are old enough, a little at a time.

use std::time::Duration;

use heliograph_store::{ProviderStore, RetentionPlan, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// Between two looks at the settings.
const PAUSE: Duration = Duration::from_mins(10);
/// Between two pieces of work, so that documents come first.
const BREATH: Duration = Duration::from_millis(50);
/// How long the lease runs without being renewed.
const LEASE_MS: i64 = 60_000;
/// How long an end may wait for the lease to be given back.
const RELEASE: Duration = Duration::from_secs(2);
const LEASE: &str = "retention";

/// Deletes what is older than the provider keeps, while it holds the lease, until
/// told to stop.
pub(crate) async fn run(store: ProviderStore, holder: String, clock: Clock, shutdown: CancellationToken) {
    loop {
        match shutdown.run_until_cancelled(turn(&store, &holder, &clock)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "old readings cannot be deleted"),
            None => break,
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            break;
        }
    }
    match tokio::time::timeout(RELEASE, store.lease_release(LEASE, &holder)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "retention lease cannot be given back"),
        Err(_) => tracing::warn!("the store does not answer, the retention lease runs out by itself"),
    }
}

async fn turn(store: &ProviderStore, holder: &str, clock: &Clock) -> Result<(), StoreError> {
    let days = store.settings_fetch().await?.retention_days;
    while leased(store, holder, clock).await? && !store.lifetime_step(days).await? {
        tokio::time::sleep(BREATH).await;
    }
    let Some(days) = days else { return Ok(()) };
    let plan = RetentionPlan::of(days, clock());
    if !store.reading_exists_since(plan.sealed).await? {
        tracing::debug!(days, "no reading is young enough to stay: nothing is deleted, the clock may be wrong");
        return Ok(());
    }
    let mut deleted = 0;
    while leased(store, holder, clock).await? {
        let step = store.retention_step(plan).await?;
        deleted += step.deleted;
        if step.done {
            break;
        }
        tokio::time::sleep(BREATH).await;
    }
    if deleted > 0 {
        store.retention_note(plan, deleted).await?;
        tracing::info!(days, readings = deleted, before = %plan.delete_before, "old readings deleted");
    }
    Ok(())
}

async fn leased(store: &ProviderStore, holder: &str, clock: &Clock) -> Result<bool, StoreError> {
    let now = clock();
    store.lease_take(LEASE, holder, now, now.plus_millis(LEASE_MS)).await
}

#[cfg(test)]
mod tests;
