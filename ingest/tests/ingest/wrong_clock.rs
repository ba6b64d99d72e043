//! A machine whose clock is wrong, in front of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use heliograph_domain::{ProviderId, Secret, Timestamp};
use heliograph_ingest::{Ingest, IngestSettings, Readiness};
use heliograph_store::{ClusterAdmin, Store, StoreUrl};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, push};

const NODE: &str = "cassandra://127.0.0.1/?dc=datacenter1&rf=1";
const YEAR_MS: i64 = 365 * 86_400_000;
/// Longer than any change takes to be seen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_server_whose_clock_is_wrong_takes_nothing_until_it_is_right() {
    let url = StoreUrl::parse(NODE).unwrap().signed_in("cassandra", Secret::new("cassandra"));
    let provider = ProviderId::parse("clocked").unwrap();
    let admin = ClusterAdmin::connect(&url).await.expect("no Cassandra on 127.0.0.1: deploy/dev/cassandra.sh start");
    admin.keyspace_make(&provider).await.unwrap();
    let ahead = Arc::new(AtomicI64::new(YEAR_MS));
    let moved = Arc::clone(&ahead);
    let clock = move || Timestamp::from(jiff::Timestamp::now()).plus_millis(moved.load(Ordering::Relaxed));
    let store = Store::open(url).unwrap().provider(&provider).unwrap().with_clock(clock.clone());

    let folder = TempDir::new().unwrap();
    // Nothing that a slow machine keeps waiting is a reason to go on without the store.
    let settings = IngestSettings { store_deadline: PATIENCE, ..IngestSettings::default() };
    let ingest = Ingest::open(store.clone(), settings, &folder.path().join("spool"), Arc::new(clock)).await.unwrap();
    let status = ingest.status();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let running = tokio::spawn(ingest.run(listener, "test".to_owned(), shutdown.clone()));
    let server = Server { store, address, shutdown, running, folder };

    let refused = server.connect().await.ask(&push("1", 0, &[1.0])).await;
    assert!(refused.contains("seq=\"1\"") && refused.contains("code=\"unavailable\""), "{refused}");
    assert!(refused.contains("retry=\"true\""), "{refused}");
    let stands = status.readiness();
    assert!(matches!(&stands, Readiness::Refusing(problem) if problem.contains(" minutes ahead of ")), "{stands:?}");

    ahead.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    while status.readiness() != Readiness::Straight {
        assert!(begun.elapsed() < PATIENCE, "{:?}", status.readiness());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nobody knows the gateway: it is judged again.
    let judged = server.connect().await.ask(&push("2", 0, &[1.0])).await;
    assert!(judged.contains("code=\"unknown-gateway\""), "{judged}");
    server.shutdown.cancel();
    server.running.await.unwrap();
}
