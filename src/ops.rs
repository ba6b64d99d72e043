//! The ops address of a role: `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use heliograph_domain::ProviderId;
use heliograph_ingest::{IngestStatus, Readiness};
use heliograph_store::{AckCheck, ProviderStore, StoreError};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Upper bounds of the ack latency histogram, seconds.
const ACK_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How long the store may take to say that it is there.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the recorder sorts its histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves a role's ops address until `shutdown`, if it has one.
pub(crate) fn spawn(
    address: Option<SocketAddr>,
    provider: &ProviderId,
    store: ProviderStore,
    ingest: Option<IngestStatus>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let metrics = PrometheusBuilder::new()
        .add_global_label("provider", provider.as_str())
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), ACK_BUCKETS)
        .context("set up metrics")?
        .install_recorder()
        .context("set up metrics")?;
    let listener = crate::bind::listen(address, "--ops")?;
    tokio::spawn(upkeep(metrics.clone(), shutdown.clone()));
    tokio::spawn(serve(listener, metrics, store, ingest, shutdown));
    Ok(())
}

async fn upkeep(metrics: PrometheusHandle, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
}

async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    store: ProviderStore,
    ingest: Option<IngestStatus>,
    shutdown: CancellationToken,
) {
    let draining = shutdown.clone();
    let router = Router::new()
        .route("/metrics", get(async move || metrics.render()))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || ready(&store, ingest.as_ref(), &draining).await));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "ops address cannot be served");
    }
}

/// Ready is who can do the work of its role: ingest without its store while the
/// spool has room.
async fn ready(store: &ProviderStore, ingest: Option<&IngestStatus>, draining: &CancellationToken) -> (StatusCode, String) {
    if draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    match ingest.map(IngestStatus::readiness) {
        Some(Readiness::Refusing(reason)) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        Some(Readiness::Spooling(level)) => {
            return (StatusCode::OK, format!("ready, acks come from the spool: {level}{}\n", known(store)));
        }
        Some(Readiness::Straight) | None => {}
    }
    let away = |reason: String| match ingest {
        Some(ingest) if ingest.spools() => {
            (StatusCode::OK, format!("ready, acks will come from the spool: {reason}{}\n", known(store)))
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    match tokio::time::timeout(READY_TIMEOUT, readiness(store)).await {
        Ok(Ok(ready)) => (StatusCode::OK, ready),
        Ok(Err(error)) => away(error.to_string()),
        Err(_) => away("the store does not answer".to_owned()),
    }
}

/// What a role that is ready says about its acks. One whose acks survive less than
/// they should is ready all the same: without it nothing would be stored at all.
async fn readiness(store: &ProviderStore) -> Result<String, StoreError> {
    store.ping().await?;
    let AckCheck { shortfall, silent } = store.ack_check().await?;
    let level = store.ack_level().as_str();
    let ready = match shortfall {
        None => format!("ready, acks survive {level}\n"),
        Some(problem) => format!("ready, but acks do not survive {level}: {problem}\n"),
    };
    Ok(match silent {
        None => ready,
        Some(nodes) => format!("{ready}nodes that are away acknowledge nothing: {nodes}\n"),
    })
}

/// What is known of a store that cannot be asked now: what drains into it survives no
/// more than it did.
fn known(store: &ProviderStore) -> String {
    let shortfall = store.ack_known().and_then(|check| check.shortfall);
    let level = store.ack_level().as_str();
    shortfall.map_or_else(String::new, |problem| format!("; what the store acknowledged last did not survive {level}: {problem}"))
}
