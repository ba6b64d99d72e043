//! What the quarantine looks like in figures.

use std::time::Duration;

use heliograph_domain::RefusalCode;
use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;

/// How often it is asked how full the quarantine is. A cluster counts it row by row.
const POLL: Duration = Duration::from_mins(1);
/// How soon a store that did not say so is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Counts an entry, by why it was refused; of readings, by the first of them.
pub(crate) fn count(code: RefusalCode) {
    metrics::counter!("heliograph_ingest_quarantined_total", "code" => code.as_str()).increment(1);
}

/// Says how full the quarantine is until told to stop.
pub(crate) async fn run(store: ProviderStore, shutdown: CancellationToken) {
    loop {
        let Some(usage) = shutdown.run_until_cancelled(store.quarantine_usage()).await else { return };
        let pause = match usage {
            Ok(usage) => {
                metrics::gauge!("heliograph_quarantine_documents").set(usage.rows as f64);
                metrics::gauge!("heliograph_quarantine_bytes").set(usage.bytes as f64);
                POLL
            }
            Err(error) => {
                tracing::debug!(%error, "how full the quarantine is cannot be told");
                RETRY
            }
        };
        if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
