//! A cluster that goes away and comes back, while one store is open all the time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heliograph_domain::{ProviderId, Secret, TimeWindow};
use heliograph_store::{ClusterAdmin, ProviderStore, Store, StoreError, StoreUrl};

use crate::backend::{gateway, minute, power};

/// How long a call may take that the cluster does not answer, and some more for a
/// machine with much to do.
const DEADLINE: Duration = Duration::from_secs(13);

/// A node that nobody else uses, gone with the test.
struct OwnNode;

impl OwnNode {
    fn start() -> Self {
        Self::tell("start");
        Self
    }

    fn tell(action: &str) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/cassandra.sh");
        let done = Command::new(script).args(["node", "4", action]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        Self::tell("remove");
    }
}

/// Pushes one document after the other, each until it is written; answers how many
/// were, how many attempts failed, and how long the longest took.
async fn push(store: ProviderStore, lane: i64, stop: Arc<AtomicBool>) -> (i64, u32, Duration) {
    let (mut written, mut failed, mut longest) = (0, 0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let document = Arc::new(power(&format!("gw-{lane}"), &[(written, written as f64)]));
        loop {
            let begun = Instant::now();
            let outcome = store.document_write(Arc::clone(&document)).await;
            longest = longest.max(begun.elapsed());
            match outcome {
                Ok(()) => break,
                Err(StoreError::Unavailable(_)) => failed += 1,
                Err(other) => unreachable!("{other}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        written += 1;
    }
    (written, failed, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_works_again_by_itself_when_its_cluster_was_killed_and_is_back() {
    let node = OwnNode::start();
    let url = StoreUrl::parse("cassandra://127.0.2.4/?dc=datacenter1&rf=1").unwrap();
    let url = url.signed_in("cassandra", Secret::new("cassandra"));
    let provider = ProviderId::parse("sunrise").unwrap();
    ClusterAdmin::connect(&url).await.unwrap().keyspace_make(&provider).await.unwrap();
    let store = Store::open(url).unwrap().provider(&provider).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> = (0..4).map(|lane| tokio::spawn(push(store.clone(), lane, Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;

    tokio::task::spawn_blocking(|| OwnNode::tell("kill")).await.unwrap();
    let begun = Instant::now();
    let page = store.reading_page(&gateway("gw-0"), TimeWindow::ALWAYS, 10).await;
    assert!(matches!(page, Err(StoreError::Unavailable(_))), "{page:?}");
    assert!(store.ping().await.is_err());
    assert!(begun.elapsed() < 2 * DEADLINE);
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::task::spawn_blocking(|| OwnNode::tell("start")).await.unwrap();

    let begun = Instant::now();
    while store.document_write(power("gw-9", &[(0, 1.0)])).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the cluster is back and the store is not");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for (lane, task) in lanes.into_iter().enumerate() {
        let (written, failed, longest) = task.await.unwrap();
        assert!(written > 0 && failed > 0 && longest < DEADLINE, "{written} {failed} {longest:?}");
        let page = store.reading_page(&gateway(&format!("gw-{lane}")), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| (row.time, row.value)).collect();
        assert_eq!(found, (0..written).map(|n| (minute(n), n as f64)).collect::<Vec<_>>());
    }
    drop(node);
}
