//! The worker that looks for damage in what is small, so that a flipped bit in a setting
//! or a name is known before somebody works with it for long.

use std::time::Duration;

use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const PAUSE: Duration = Duration::from_hours(1);
/// How soon a store that could not be looked at is looked at again.
const RETRY: Duration = Duration::from_secs(30);

/// Looks at once and every hour until told to stop; names what it finds in the log.
pub(crate) async fn run(store: ProviderStore, shutdown: CancellationToken) {
    loop {
        let Some(found) = shutdown.run_until_cancelled(store.damage_look()).await else { return };
        let pause = match found {
            Ok(None) => return,
            Ok(Some(found)) => {
                metrics::gauge!("heliograph_store_damaged_places").set(found.len() as f64);
                for damage in found {
                    tracing::error!(%damage, "the store is damaged: heliograph store check names all of it");
                }
                PAUSE
            }
            Err(error) => {
                tracing::debug!(%error, "the store cannot be looked at for damage");
                RETRY
            }
        };
        if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
