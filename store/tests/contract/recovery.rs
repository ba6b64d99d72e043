//! A cluster that goes away and comes back, while one store is open all the time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use heliograph_domain::{ProviderId, Secret, TimeWindow, Timestamp};
use heliograph_store::{ClusterAdmin, ProviderStore, Store, StoreError, StoreUrl};
use scylla::client::session_builder::SessionBuilder;

use crate::backend::{gateway, minute, power};
use crate::refusals::refused;

/// How long a call may take that the cluster does not answer, and some more for a
/// machine with much to do.
const DEADLINE: Duration = Duration::from_secs(13);

/// A node that nobody else uses, gone with the test.
struct OwnNode;

impl OwnNode {
    fn start() -> Self {
        // What a test that was killed may have left: its data would be taken for ours.
        Self::tell("remove");
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
        // Where something was lost, the node's files are what is left to look at.
        Self::tell(if std::thread::panicking() { "stop" } else { "remove" });
    }
}

/// Minutes from one document to the next: each hundred of them reaches over days.
const STEP: i64 = 97;

/// Pushes one document after the other, each until it is written; answers how many
/// were, how many attempts failed, and how long the longest took.
async fn push(store: ProviderStore, lane: i64, stop: Arc<AtomicBool>) -> (i64, u32, Duration) {
    let (mut written, mut failed, mut longest) = (0, 0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let document = Arc::new(power(&format!("gw-{lane}"), &[(written * STEP, written as f64)]));
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

/// Statements of others that drive the store's out, again and again: 1 MiB, which is
/// what the node keeps, are about two hundred.
const CROWD: u64 = 1500;

/// Another client of the node: prepares one statement after the other, also while the
/// node is away.
async fn crowd(prepared: Arc<AtomicU64>, enough: u64) {
    let session = SessionBuilder::new().known_node("127.0.2.4").user("cassandra", "cassandra").build().await.unwrap();
    while prepared.load(Ordering::Relaxed) < enough {
        let number = prepared.fetch_add(1, Ordering::Relaxed);
        if session.prepare(format!("SELECT key AS of_somebody_else_{number} FROM system.local")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Uses a store's statements while a crowd makes the node forget them.
async fn push_in_a_crowd(store: &ProviderStore) {
    let prepared = Arc::new(AtomicU64::new(0));
    let crowd: Vec<_> = (0..4).map(|_| tokio::spawn(crowd(Arc::clone(&prepared), CROWD))).collect();
    let mut lap = 0;
    while prepared.load(Ordering::Relaxed) < CROWD {
        let lanes = (0..25_i64).map(|lane| {
            let store = store.clone();
            tokio::spawn(async move {
                store.document_write(power(&format!("crowd-{lane}"), &[(lap, 1.0)])).await?;
                store.reading_page(&gateway(&format!("crowd-{lane}")), TimeWindow::ALWAYS, 10).await?;
                store.quarantine_add(refused((lane << 32 | lap) as u128, b"<push/>".to_vec())).await
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap().unwrap();
        }
        lap += 1;
    }
    for other in crowd {
        other.await.unwrap();
    }
    assert!(lap > 2, "the store was hardly used meanwhile");
}

/// A provider's store on a node of its own.
async fn on_own_node() -> ProviderStore {
    let url = StoreUrl::parse("cassandra://127.0.2.4/?dc=datacenter1&rf=1").unwrap();
    let url = url.signed_in("cassandra", Secret::new("cassandra"));
    let provider = ProviderId::parse("sunrise").unwrap();
    ClusterAdmin::connect(&url).await.unwrap().keyspace_make(&provider).await.unwrap();
    Store::open(url).unwrap().provider(&provider).unwrap()
}

async fn readings(store: &ProviderStore, lane: i64) -> Vec<(Timestamp, f64)> {
    let page = store.reading_page(&gateway(&format!("gw-{lane}")), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    page.rows.iter().map(|row| (row.time, row.value)).collect()
}

/// Pushes from some gateways while the node is killed and comes back; then every
/// document of theirs that was written is there. `round` names the gateways.
async fn push_through_a_kill(store: &ProviderStore, round: i64) {
    let stop = Arc::new(AtomicBool::new(false));
    let numbers: Vec<_> = (0..4).map(|lane| round * 4 + lane).collect();
    let lanes: Vec<_> = numbers.iter().map(|lane| tokio::spawn(push(store.clone(), *lane, Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;

    tokio::task::spawn_blocking(|| OwnNode::tell("kill")).await.unwrap();
    let begun = Instant::now();
    let page = store.reading_page(&gateway(&format!("gw-{}", numbers[0])), TimeWindow::ALWAYS, 10).await;
    assert!(matches!(page, Err(StoreError::Unavailable(_))), "{page:?}");
    assert!(store.ping().await.is_err());
    assert!(begun.elapsed() < 2 * DEADLINE);
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::task::spawn_blocking(|| OwnNode::tell("start")).await.unwrap();

    let begun = Instant::now();
    while store.document_write(power(&format!("back-{round}"), &[(0, 1.0)])).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the cluster is back and the store is not");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for (lane, task) in numbers.into_iter().zip(lanes) {
        let (written, failed, longest) = task.await.unwrap();
        println!("gw-{lane}: {written} written, {failed} failed, the longest took {longest:?}");
        assert!(written > 0 && failed > 0 && longest < DEADLINE, "{written} {failed} {longest:?}");
        let found = readings(store, lane).await;
        let pushed: Vec<_> = (0..written).map(|n| (minute(n * STEP), n as f64)).collect();
        if found == pushed {
            continue;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let later = readings(store, lane).await.len();
        let lost: Vec<_> = pushed.iter().filter(|reading| !found.contains(reading)).take(5).collect();
        let strange: Vec<_> = found.iter().filter(|reading| !pushed.contains(reading)).take(5).collect();
        let (found, sensors) = (found.len(), store.sensor_list(&gateway(&format!("gw-{lane}"))).await);
        panic!("gw-{lane}: {found} of {written} found, {later} later; lost {lost:?}, strange {strange:?}, known {sensors:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_works_on_while_its_statements_are_forgotten_and_after_its_cluster_was_killed() {
    let node = OwnNode::start();
    let store = on_own_node().await;
    push_in_a_crowd(&store).await;
    push_through_a_kill(&store, 0).await;
    drop(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and the node of the test above: make soak"]
async fn a_node_that_is_killed_again_and_again_keeps_every_document_that_was_written() {
    let node = OwnNode::start();
    let store = on_own_node().await;
    // Statements are forgotten all the time, also those that the node had known before.
    let prepared = Arc::new(AtomicU64::new(0));
    let others: Vec<_> = (0..2).map(|_| tokio::spawn(crowd(Arc::clone(&prepared), u64::MAX))).collect();
    for round in 0..30 {
        push_through_a_kill(&store, round).await;
    }
    println!("{} statements of others meanwhile", prepared.load(Ordering::Relaxed));
    others.iter().for_each(tokio::task::JoinHandle::abort);
    drop(node);
}
