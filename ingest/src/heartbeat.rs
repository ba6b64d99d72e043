//! Says each minute in the store that documents are taken in, so that nobody takes a
//! failure of ours for the silence of gateways.

use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::Intake;
use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::spool::Status;

/// Before it is said for the first time: what cannot start takes nothing in.
const FIRST: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(Intake::EVERY_MS.unsigned_abs());
/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says so until told to stop. While documents wait in the spool it says nothing: the
/// store does not know yet who was heard.
pub(crate) async fn run(store: ProviderStore, spool: Arc<Status>, clock: Clock, shutdown: CancellationToken) {
    let mut pause = FIRST;
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = EVERY;
        if spool.level().is_some() {
            continue;
        }
        match tokio::time::timeout(PATIENCE, store.intake_note(clock())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the store does not hear that documents are taken in"),
            Err(_) => tracing::debug!("the store does not answer"),
        }
    }
}
