//! Connections: accepted up to a limit in all and one for each address, given up
//! when they dawdle, drained at the end.

mod crowd;
mod stall;

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

use self::crowd::Crowd;
use self::stall::StallGuard;
use crate::panel::{Clock, PanelSettings, Peer};
use crate::router::router_until;

/// Head of a request, or the wait for the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a connection is put up with.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// After this long it is asked to end.
    lifetime: Duration,
    /// How long it may take to end.
    farewell: Duration,
    /// How long an answer may wait for somebody to read on.
    stall: Duration,
}

const PATIENCE: Patience =
    Patience { lifetime: Duration::from_secs(600), farewell: Duration::from_secs(10), stall: Duration::from_secs(60) };

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
    // Behind a proxy all come from one address, and it is the proxy that limits.
    let crowd = (!settings.behind_proxy).then(|| Crowd::new(settings.max_connections));
    let router = router_until(store, settings, clock, shutdown.clone());
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
                let seat = crowd.as_ref().map(|crowd| crowd.seat(peer.ip()));
                if matches!(seat, Some(None)) {
                    tracing::debug!(address = %peer.ip(), "connection refused: its address has too many");
                    continue;
                }
                let serving = serve(stream, Peer(peer), router.clone(), shutdown.clone(), PATIENCE);
                connections.spawn(async move {
                    serving.await;
                    drop((permit, seat));
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

async fn serve(stream: TcpStream, peer: Peer, router: Router, shutdown: CancellationToken, patience: Patience) {
    let router = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(StallGuard::new(stream, patience.stall)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = ending(&shutdown, patience.lifetime) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(patience.farewell, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return tracing::debug!("connection cut: it did not end when asked to"),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn ending(shutdown: &CancellationToken, lifetime: Duration) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(lifetime) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(200);
    /// More than the buffers of a socket take.
    const LARGE: usize = 32 << 20;

    /// A connection that has asked for a large answer, and its server's end.
    async fn asked(patience: Patience) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let router = Router::new().route("/", get(async || vec![b'x'; LARGE]));
        let server = tokio::spawn(serve(stream, Peer(peer), router, CancellationToken::new(), patience));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        (client, server)
    }

    async fn ends_soon(server: tokio::task::JoinHandle<()>) {
        tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_never_reads_the_answer_is_cut_off() {
        let (_client, server) = asked(Patience { lifetime: LONG, farewell: LONG, stall: SHORT }).await;
        ends_soon(server).await;
    }

    #[tokio::test]
    async fn who_does_not_end_when_asked_to_is_cut_off() {
        let (_client, server) = asked(Patience { lifetime: SHORT, farewell: SHORT, stall: LONG }).await;
        ends_soon(server).await;
    }

    #[tokio::test]
    async fn who_reads_slowly_gets_everything() {
        let stall = Duration::from_secs(2);
        let (mut client, server) = asked(Patience { lifetime: LONG, farewell: LONG, stall }).await;
        let began = Instant::now();
        let mut read = 0;
        let mut buffer = vec![0; 4 << 20];
        while read < 2 * LARGE {
            // All in all much longer than the patience, each pause shorter.
            if began.elapsed() < stall + stall / 2 {
                tokio::time::sleep(stall / 8).await;
            }
            let count = client.read(&mut buffer).await.unwrap();
            assert!(count > 0, "cut off after {read} bytes");
            read += count;
        }
        drop(client);
        ends_soon(server).await;
    }
}
