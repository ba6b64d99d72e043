//! Gateways that push over TCP to a server in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_domain::{CredentialId, KeyDigest, Location, LocationId, Timestamp, Zone};
use heliograph_ingest::{Ingest, IngestSettings};
use heliograph_store::{CredentialNew, GatewayCommissioning, ProviderStore, StoreError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::corpus;

pub(crate) const KEY: &str = "5dr8k2mz-77wq3xbn-0c1vnf4t-9hjse6ay";

/// Gives gateways a place and a key; those that have one keep it.
pub(crate) async fn commission(store: &ProviderStore, gateways: usize) {
    let id = LocationId::new(Uuid::from_u128(1));
    let place = Location { id, name: "Roof".into(), zone: Zone::utc(), position: None, installed_kwp: None };
    store.location_save(place).await.unwrap();
    let at = Timestamp::clamped(0);
    for number in 0..gateways {
        let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(number as u128)), digest: KeyDigest::of(KEY) };
        let gateway = corpus::gateway(number);
        let commissioning = GatewayCommissioning { gateway, label: None, location: id, from: at, credential, at };
        match store.gateway_commission(commissioning).await {
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(error) => unreachable!("commission a gateway: {error}"),
        }
    }
}

/// How documents follow each other on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As fast as they are taken.
    Together,
    /// Each once the one before is acked.
    OneByOne,
}

/// Pushes live documents, each gateway on a connection of its own, until all are
/// acked; answers how long that took.
pub(crate) async fn push(store: &ProviderStore, gateways: usize, instants: std::ops::Range<usize>) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    serve(ingest(store, folder.path()).await, documents(gateways, instants)).await
}

/// A server whose clock stands.
pub(crate) async fn ingest(store: &ProviderStore, folder: &Path) -> Ingest {
    let clock = Arc::new(|| Timestamp::clamped(corpus::RECEIVED));
    Ingest::open(store.clone(), IngestSettings::default(), folder, clock).await.unwrap()
}

/// Serves documents; answers how long it took until all were acked.
pub(crate) async fn serve(ingest: Ingest, documents: Vec<Vec<String>>) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(ingest.run(listener, "bench".to_owned(), shutdown.clone()));
    let began = Instant::now();
    push_documents(address, documents, Way::Together).await;
    let taken = began.elapsed();
    shutdown.cancel();
    server.await.unwrap();
    taken
}

/// The documents of each gateway.
pub(crate) fn documents(gateways: usize, instants: std::ops::Range<usize>) -> Vec<Vec<String>> {
    (0..gateways).map(|gateway| instants.clone().map(|instant| corpus::live_xml(gateway, instant, KEY)).collect()).collect()
}

/// Pushes the documents of each gateway on a connection of its own, until all are acked.
pub(crate) async fn push_documents(to: SocketAddr, documents: Vec<Vec<String>>, way: Way) {
    let pushers: Vec<_> = documents.into_iter().map(|documents| tokio::spawn(push_all(to, documents, way))).collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
}

async fn push_all(to: SocketAddr, documents: Vec<String>, way: Way) {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.into_split();
    let mut answers = BufReader::new(read).lines();
    let expected = documents.len();
    let (turn, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let writer = tokio::spawn(async move {
        for document in documents {
            write.write_all(document.as_bytes()).await.unwrap();
            if way == Way::OneByOne {
                turns.recv().await.unwrap();
            }
        }
        write
    });
    for _ in 0..expected {
        let answer = answers.next_line().await.unwrap().unwrap();
        assert!(answer.starts_with("<ack") && answer.contains("readings=\"20\""), "{answer}");
        // Whoever pushes as fast as it can waits for none.
        let _ = turn.send(());
    }
    drop(writer.await.unwrap());
}
