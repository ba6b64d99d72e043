//! The worker that deletes readings once they are old enough, a little at a time.

use std::time::Duration;

use heliograph_domain::{GatewayState, Timestamp};
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
/// For how long a clock has to go on without a jump to be believed that all gateways
/// have been silent for longer than readings are kept.
const STEADY_MS: i64 = 2 * 86_400_000;

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
    if !leased(store, holder, clock).await? {
        return Ok(());
    }
    let steady_since = store.clock_steady_since(clock()).await?;
    if !store.reading_exists_since(plan.sealed).await? {
        match doubt(store, plan, clock().millis_since(steady_since)).await? {
            Doubt::Nothing => return Ok(()),
            Doubt::Clock(reason) => {
                tracing::warn!(days, reason, "no reading is young enough to stay: nothing is deleted");
                return Ok(());
            }
            Doubt::No => tracing::info!(days, "all gateways have been silent for as long as readings are kept"),
        }
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

/// Whether it is the clock that is wrong where no reading is young enough to stay.
enum Doubt {
    /// There is nothing to delete.
    Nothing,
    /// It may be, for a reason.
    Clock(&'static str),
    /// Gateways are silent.
    No,
}

/// A clock that has jumped shows by gateways that are heard by it and measure nothing
/// of its time; where none is heard, by not having gone on steadily.
async fn doubt(store: &ProviderStore, plan: RetentionPlan, steady_ms: i64) -> Result<Doubt, StoreError> {
    if !store.reading_exists_since(Timestamp::MIN).await? {
        return Ok(Doubt::Nothing);
    }
    let gateways = store.gateway_list().await?;
    let theirs = gateways.iter().filter(|gateway| gateway.documents > 0 && gateway.state != GatewayState::Retired);
    if theirs.filter_map(|gateway| gateway.last_seen).any(|seen| seen >= plan.sealed) {
        return Ok(Doubt::Clock(
            "gateways push, but nothing of this time: the clock of this machine may be wrong, or all of theirs",
        ));
    }
    if steady_ms >= STEADY_MS {
        return Ok(Doubt::No);
    }
    Ok(Doubt::Clock("the clock of this machine has not gone on steadily for two days yet"))
}

async fn leased(store: &ProviderStore, holder: &str, clock: &Clock) -> Result<bool, StoreError> {
    let now = clock();
    store.lease_take(LEASE, holder, now, now.plus_millis(LEASE_MS)).await
}

#[cfg(test)]
mod tests;
