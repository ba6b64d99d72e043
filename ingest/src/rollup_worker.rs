//! The worker that keeps rollups true while documents come in.

use std::time::{Duration, Instant};

use heliograph_store::{ProviderStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// How long to wait where there was nothing to do.
const PAUSE: Duration = Duration::from_secs(2);
/// The least between two transactions, which lets documents through.
const BREATH: Duration = Duration::from_millis(20);
/// So many times as long as it worked it leaves the store to others. What comes in
/// meanwhile is settled together: a window that is being written is made anew each
/// time, from all of its readings. Reports settle what they read themselves.
const REST: u32 = 4;
/// How long the lease runs without being renewed.
const LEASE_MS: i64 = 30_000;
/// How long an end may wait for the lease to be given back.
const RELEASE: Duration = Duration::from_secs(2);
const LEASE: &str = "rollup";

/// Settles what is marked, while it holds the lease, until told to stop.
pub(crate) async fn run(store: ProviderStore, holder: String, clock: Clock, shutdown: CancellationToken) {
    loop {
        let began = Instant::now();
        let Some(outcome) = shutdown.run_until_cancelled(turn(&store, &holder, &clock)).await else { break };
        let pause = match outcome {
            Ok(0) => PAUSE,
            Ok(_) => (began.elapsed() * REST).clamp(BREATH, PAUSE),
            Err(error) => {
                tracing::warn!(%error, "rollups cannot be settled");
                PAUSE
            }
        };
        if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    match tokio::time::timeout(RELEASE, store.lease_release(LEASE, &holder)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "rollup lease cannot be given back"),
        Err(_) => tracing::warn!("the store does not answer, the rollup lease runs out by itself"),
    }
}

async fn turn(store: &ProviderStore, holder: &str, clock: &Clock) -> Result<usize, StoreError> {
    let now = clock();
    if !store.lease_take(LEASE, holder, now, now.plus_millis(LEASE_MS)).await? {
        return Ok(0);
    }
    store.rollup_settle().await
}
