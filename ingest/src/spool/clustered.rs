//! The spool in front of a cluster, where a document may take several writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, MetricName, ProviderId, Secret, SensorId, TimeWindow, Timestamp, Unit};
use heliograph_store::{
    ClusterAdmin, DocumentWrite, ProviderStore, QuarantineNew, SeriesSeen, Store, StoreError, StoreUrl, Value,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::disk::Disk;
use super::record::Record;
use super::record::tests::{document, refused};
use super::{NotKept, Spool, SpoolPlace};

const NODE: &str = "cassandra://127.0.0.1/?dc=datacenter1&rf=1";
/// Nobody listens there.
const NOBODY: &str = "cassandra://127.0.9.9/?dc=datacenter1&rf=1";
const DEADLINE: Duration = Duration::from_secs(8);

/// A keyspace that stays with the node's data, a gateway of its own a test.
async fn node() -> ProviderStore {
    let url = StoreUrl::parse(NODE).unwrap().signed_in("cassandra", Secret::new("cassandra"));
    let provider = ProviderId::parse("spooled").unwrap();
    let admin = ClusterAdmin::connect(&url).await.expect("no Cassandra on 127.0.0.1: deploy/dev/cassandra.sh start");
    admin.keyspace_make(&provider).await.unwrap();
    Store::open(url).unwrap().provider(&provider).unwrap()
}

fn nobody() -> ProviderStore {
    Store::open(StoreUrl::parse(NOBODY).unwrap()).unwrap().provider(&ProviderId::parse("spooled").unwrap()).unwrap()
}

fn any_gateway() -> String {
    format!("gw-{:016x}", rand::random::<u64>())
}

struct Running {
    spool: Arc<Spool>,
    finish: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

async fn start(store: ProviderStore, root: PathBuf) -> Running {
    let place = SpoolPlace { root, bytes: 256 << 20, deadline: DEADLINE, disk: Disk::default() };
    let (spool, task) = Spool::open(store, place, Arc::new(|| Timestamp::clamped(1_795_176_000_000))).await;
    let (finish, told) = oneshot::channel();
    Running { spool: Arc::new(spool), finish, task: tokio::spawn(task.run(told)) }
}

impl Running {
    async fn end(self, drain: Duration) {
        self.finish.send(drain).unwrap();
        self.task.await.unwrap();
    }
}

fn change(record: Record, change: impl FnOnce(&mut DocumentWrite)) -> Record {
    let Record::Document(document) = record else { panic!() };
    let mut document = Arc::unwrap_or_clone(document);
    change(&mut document);
    Record::Document(Arc::new(document))
}

/// A document with a reading on each of so many days.
fn of_days(gateway: &str, days: i64) -> Record {
    change(document(gateway, 0), |document| {
        let first = document.received.plus_millis(-days * 86_400_000);
        let value = |day: i64| Value { series: 0, time: first.plus_millis(day * 86_400_000), value: day as f64 };
        document.values = (0..days).map(value).collect();
    })
}

async fn values(store: &ProviderStore, gateway: &str) -> Vec<f64> {
    let id = GatewayId::parse(gateway).unwrap();
    let page = store.reading_page(&id, TimeWindow::ALWAYS, usize::MAX).await;
    page.map_or(Vec::new(), |page| page.rows.iter().map(|row| row.value).collect())
}

async fn stored(store: &ProviderStore, gateway: &str) -> usize {
    values(store, gateway).await.len()
}

fn files(root: &std::path::Path, extension: &str) -> usize {
    let mut folders = vec![root.to_owned()];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                found += 1;
            }
        }
    }
    found
}

#[tokio::test]
async fn a_document_of_several_partitions_is_in_the_store_when_its_ack_comes() {
    let (store, gateway, folder) = (node().await, any_gateway(), tempfile::tempdir().unwrap());
    let running = start(store.clone(), folder.path().to_owned()).await;
    for number in 1..=5 {
        // Another gateway each time, so that nothing is there from before.
        let gateway = format!("{gateway}-{number}");
        running.spool.write(of_days(&gateway, 20)).await.unwrap();
        assert_eq!(stored(&store, &gateway).await, 20);
    }
    assert!(!running.spool.gate.is_in_use());
    running.end(DEADLINE).await;
    assert_eq!(files(folder.path(), "spool1"), 0);
}

#[tokio::test]
async fn a_document_of_several_partitions_is_acked_from_the_spool_while_the_store_is_away() {
    let (gateway, folder) = (any_gateway(), tempfile::tempdir().unwrap());
    let running = start(nobody(), folder.path().to_owned()).await;
    let begun = Instant::now();
    running.spool.write(of_days(&gateway, 20)).await.unwrap();
    assert!(begun.elapsed() < DEADLINE + Duration::from_secs(2));
    running.end(Duration::ZERO).await;
    assert_eq!(files(folder.path(), "spool1"), 1);
    // It is there for whoever finds the cluster again.
    let store = node().await;
    let next = start(store.clone(), folder.path().to_owned()).await;
    next.end(Duration::from_secs(30)).await;
    assert_eq!((stored(&store, &gateway).await, files(folder.path(), "spool1")), (20, 0));
}

#[tokio::test]
async fn what_the_store_will_never_take_is_told_to_whoever_waits_for_the_ack() {
    let (store, gateway, folder) = (node().await, any_gateway(), tempfile::tempdir().unwrap());
    let running = start(store.clone(), folder.path().to_owned()).await;
    let before = store.quarantine_usage().await.unwrap();
    let crowded = change(of_days(&gateway, 20), |document| {
        let series = |number: usize| SeriesSeen {
            metric: MetricName::parse(&format!("power-{number}")).unwrap(),
            ..document.series[0].clone()
        };
        document.series = (0..=ProviderStore::SERIES_OF_GATEWAY).map(series).collect();
    });
    let refused = running.spool.write(crowded).await.unwrap_err();
    assert!(matches!(refused, NotKept::Refused(StoreError::TooManySeries(_))), "{refused}");
    running.end(DEADLINE).await;
    assert_eq!((stored(&store, &gateway).await, files(folder.path(), "spool1")), (0, 0));
    // It was not acked, so that nobody keeps it behind the caller's back.
    assert_eq!(store.quarantine_usage().await.unwrap(), before);
}

#[tokio::test]
async fn what_the_store_will_never_take_leaves_the_spool_and_holds_up_nothing() {
    let (gateway, folder) = (any_gateway(), tempfile::tempdir().unwrap());
    let away = start(nobody(), folder.path().to_owned()).await;
    // A node takes no mutation of 20 MiB.
    let entry = |number: u8| {
        let reason = "x".repeat(20 << 20);
        QuarantineNew { reason, gateway: Some(gateway.clone()), ..refused(number, true) }
    };
    let too_long = |number: u8| {
        let refused = Some(entry(number));
        change(document(&gateway, i64::from(number)), |document| document.quarantine = refused)
    };
    let odd_unit = change(document(&gateway, 9), |document| {
        document.series[0].unit = Unit::parse("W").unwrap();
        document.sensors[0].id = SensorId::parse("inverter-2").unwrap();
    });
    let junk = Record::Refused(Arc::new(entry(7)));
    for record in [too_long(0), document(&gateway, 1), junk, too_long(2), document(&gateway, 3), odd_unit] {
        away.spool.write(record).await.unwrap();
    }
    away.end(Duration::ZERO).await;
    let store = node().await;
    let running = start(store.clone(), folder.path().to_owned()).await;
    let begun = Instant::now();
    while running.spool.gate.is_in_use() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the spool does not drain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.end(DEADLINE).await;
    let values = values(&store, &gateway).await;
    assert!([1.0, 3.0, 9.0].iter().all(|value| values.contains(value)), "{values:?}");
    // The documents are in the quarantine, what that will not have either in a file.
    let listed = store.quarantine_list(None, 1000).await.unwrap();
    let ours = listed.iter().filter(|row| row.entry.gateway.as_deref() == Some(gateway.as_str())).count();
    assert_eq!((ours, files(folder.path(), "spool1"), files(folder.path(), "refused")), (2, 0, 1));
}
