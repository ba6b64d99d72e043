//! Connections: accepted up to a limit, given up when they dawdle, drained at
//! the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use heliograph_store::ProviderStore;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::panel::{Clock, PanelSettings, Peer};
use crate::router::router;

/// Head of a request, or the wait for the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection that serves nobody any more is closed after this long.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the panel cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// The listener is not usable.
    #[error("use the listening socket")]
    Listener(#[source] io::Error),
}

/// Serves the panel until `shutdown` is cancelled, then finishes what is being
/// answered for at most ten seconds.
///
/// # Errors
/// When the listener is not usable at all.
pub async fn run(
    listener: TcpListener,
    store: ProviderStore,
    settings: PanelSettings,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), PanelError> {
    let address = listener.local_addr().map_err(PanelError::Listener)?;
    tracing::info!(provider = %store.provider(), %address, "panel serves");
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let router = router(store, settings, clock);
    let connections = TaskTracker::new();
    loop {
        // The permit comes before the accept: beyond the limit the kernel queues.
        let permit = tokio::select! {
            () = shutdown.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving = serve(stream, Peer(peer), router.clone(), shutdown.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were still busy at the end");
    }
    Ok(())
}

async fn serve(stream: TcpStream, peer: Peer, router: Router, shutdown: CancellationToken) {
    let router = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = ending(&shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn ending(shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_LIFETIME) => {}
    }
}
