//! The spool while its disk or its store fails, at every single operation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{GatewayId, ProviderId, TimeWindow, Timestamp};
use heliograph_store::{ProviderStore, Store, StoreUrl};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::disk::Disk;
use super::record::Record;
use super::record::tests::{document, refused};
use super::{NotKept, Spool, SpoolPlace};

const PATIENCE: Duration = Duration::from_secs(30);

/// A store that can be taken away, and a spool in front of it.
struct World {
    folder: tempfile::TempDir,
    disk: Disk,
    bytes: u64,
}

struct Running {
    spool: Arc<Spool>,
    finish: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), disk: Disk::default(), bytes: 1 << 20 }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// Puts something in the store's place, so that it cannot be opened.
    fn take_store_away(&self) {
        std::fs::write(self.data(), "in the way").unwrap();
    }

    fn bring_store_back(&self) {
        std::fs::remove_file(self.data()).unwrap();
    }

    fn store(&self) -> ProviderStore {
        ProviderStore::open_later(&StoreUrl::sqlite(self.data()), &ProviderId::parse("sunrise").unwrap()).unwrap()
    }

    async fn start(&self) -> Running {
        self.start_with(Duration::from_secs(20)).await
    }

    async fn start_with(&self, deadline: Duration) -> Running {
        let place = SpoolPlace { root: self.spool(), bytes: self.bytes, deadline, disk: self.disk.clone() };
        let clock = Arc::new(|| Timestamp::clamped(1_795_176_000_000));
        let (spool, task) = Spool::open(self.store(), place, clock).await;
        let (finish, told) = oneshot::channel();
        Running { spool: Arc::new(spool), finish, task: tokio::spawn(task.run(told)) }
    }

    /// The values that are stored of a gateway, by second.
    async fn stored(&self, gateway: &str) -> Vec<f64> {
        let store = Store::open(StoreUrl::sqlite(self.data())).unwrap();
        let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        let id = GatewayId::parse(gateway).unwrap();
        store.reading_page(&id, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows.iter().map(|row| row.value).collect()
    }

    async fn counted(&self, gateway: &str) -> u64 {
        let store = Store::open(StoreUrl::sqlite(self.data())).unwrap();
        let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        store.gateway_fetch(&GatewayId::parse(gateway).unwrap()).await.unwrap().documents
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(&self.spool(), &mut found);
        found.retain(|path| path.extension().is_some_and(|of| of == extension));
        found.sort();
        found
    }
}

impl Running {
    /// Waits until documents go straight to the store again.
    async fn drained(&self) {
        let drained = async {
            while self.spool.gate.is_in_use() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, drained).await.unwrap();
    }

    async fn end(self, drain: Duration) {
        self.finish.send(drain).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    /// Ends without a word, as a kill does: what is in memory is gone.
    async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
        drop(self.spool);
    }
}

fn numbers(range: std::ops::Range<i64>) -> Vec<f64> {
    range.map(|number| number as f64).collect()
}

/// A document of one key, by its value.
fn overwriting(value: i64) -> Record {
    let Record::Document(document) = document("gw-1", 0) else { unreachable!("it is a document") };
    let mut document = (*document).clone();
    document.values[0].value = value as f64;
    document.received = document.received.plus_millis(value);
    Record::Document(Arc::new(document))
}

#[tokio::test]
async fn a_later_push_wins_over_those_that_were_on_their_way_when_the_spool_came_into_use() {
    let world = World::new();
    let deadline = Duration::from_millis(400);
    let running = world.start_with(deadline).await;
    running.spool.write(overwriting(0)).await.unwrap();
    // Nobody else writes while this transaction is open.
    let other = rusqlite::Connection::open(world.data().join("sunrise.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = |value: i64| {
        let spool = Arc::clone(&running.spool);
        tokio::spawn(async move { spool.write(overwriting(value)).await })
    };
    let mut writes = vec![write(1)];
    tokio::time::sleep(deadline / 2).await;
    writes.push(write(2));
    while !running.spool.gate.is_in_use() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The second one is on its way to the store still.
    writes.push(write(3));
    for written in writes {
        tokio::time::timeout(PATIENCE, written).await.unwrap().unwrap().unwrap();
    }
    other.execute_batch("ROLLBACK").unwrap();
    running.drained().await;
    assert_eq!(world.stored("gw-1").await, [3.0]);
    running.end(Duration::ZERO).await;
}

#[tokio::test]
async fn the_spool_stays_in_use_while_somebody_is_on_the_way_past_it() {
    let world = World::new();
    world.take_store_away();
    let running = world.start().await;
    running.spool.write(document("gw-1", 0)).await.unwrap();
    // As somebody whose write has ended and who does not know yet that others went
    // through the spool meanwhile.
    let passage = running.spool.straight.read().await;
    world.bring_store_back();
    let drained = async {
        while !world.files("spool1").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
    // Ten looks at a spool that is empty.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(running.spool.gate.is_in_use());
    drop(passage);
    running.drained().await;
    running.end(PATIENCE).await;
}

#[tokio::test]
async fn documents_are_kept_while_the_store_is_away_and_drain_in_order() {
    let world = World::new();
    world.take_store_away();
    let running = world.start().await;
    for number in 0..20 {
        running.spool.write(document("gw-1", number)).await.unwrap();
    }
    let level = loop {
        let level = running.spool.status.level().unwrap();
        if level.records == 20 {
            break level;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(level.bytes > 0 && level.oldest == Some(document("gw-1", 0).received()), "{level:?}");
    world.bring_store_back();
    running.drained().await;
    assert_eq!(world.stored("gw-1").await, numbers(0..20));
    assert_eq!(world.counted("gw-1").await, 20);
    // Straight to the store: no file is made.
    running.spool.write(document("gw-1", 20)).await.unwrap();
    assert!(running.spool.gate.enter().is_none());
    running.end(Duration::ZERO).await;
    assert_eq!(world.files("spool1"), Vec::<PathBuf>::new());
    assert_eq!(world.stored("gw-1").await, numbers(0..21));
}

#[tokio::test]
async fn of_pushes_of_one_key_the_last_wins_across_an_outage() {
    let world = World::new();
    world.take_store_away();
    let running = world.start().await;
    let with_value = |number: i64, value: f64| {
        let Record::Document(document) = document("gw-1", number) else { panic!() };
        let mut document = Arc::unwrap_or_clone(document);
        document.values[0].time = Timestamp::clamped(1_795_176_000_000);
        document.values[0].value = value;
        Record::Document(Arc::new(document))
    };
    for number in 0..50 {
        if number == 20 {
            world.bring_store_back();
        }
        running.spool.write(with_value(number, number as f64)).await.unwrap();
    }
    running.drained().await;
    assert_eq!(world.stored("gw-1").await, [49.0]);
    running.end(PATIENCE).await;
}

#[tokio::test]
async fn what_a_killed_process_has_spooled_is_adopted_and_drained_once() {
    let world = World::new();
    world.take_store_away();
    let first = world.start().await;
    for number in 0..10 {
        first.spool.write(document("gw-1", number)).await.unwrap();
        first.spool.write(Record::Refused(Arc::new(refused(number as u8, true)))).await.unwrap();
    }
    let survivor = world.start().await;
    survivor.spool.write(document("gw-2", 0)).await.unwrap();
    first.kill().await;
    world.bring_store_back();
    // The survivor looks every few seconds.
    tokio::time::timeout(PATIENCE, async {
        while !world.files("spool1").is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    survivor.drained().await;
    assert_eq!(world.stored("gw-1").await, numbers(0..10));
    assert_eq!((world.counted("gw-1").await, world.counted("gw-2").await), (10, 1));
    assert_eq!(world.store().quarantine_usage().await.unwrap().rows, 10);
    survivor.end(PATIENCE).await;
    assert_eq!(std::fs::read_dir(world.spool()).unwrap().count(), 0, "no folder is left");
}

#[tokio::test]
async fn a_segment_that_drains_again_changes_nothing() {
    let world = World::new();
    world.take_store_away();
    let first = world.start().await;
    for number in 0..10 {
        first.spool.write(document("gw-1", number)).await.unwrap();
        first.spool.write(Record::Refused(Arc::new(refused(number as u8, true)))).await.unwrap();
    }
    first.end(Duration::ZERO).await;
    let segments: Vec<_> = world.files("spool1").iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(!segments.is_empty());
    world.bring_store_back();
    for _ in 0..2 {
        let again = world.start().await;
        again.drained().await;
        again.end(PATIENCE).await;
        assert_eq!(world.counted("gw-1").await, 10);
        assert_eq!(world.stored("gw-1").await, numbers(0..10));
        assert_eq!(world.store().quarantine_usage().await.unwrap().rows, 10);
        // As if the process had been killed before it removed them.
        for (path, bytes) in &segments {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn a_damaged_segment_is_kept_aside_and_the_rest_drains() {
    let world = World::new();
    world.take_store_away();
    let first = world.start().await;
    for number in 0..10 {
        first.spool.write(document("gw-1", number)).await.unwrap();
    }
    first.end(Duration::ZERO).await;
    let segments = world.files("spool1");
    let longest = segments.iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(longest).unwrap();
    bytes[40] ^= 1;
    std::fs::write(longest, bytes).unwrap();
    world.bring_store_back();
    let second = world.start().await;
    second.drained().await;
    assert_eq!(world.stored("gw-1").await.len(), 9);
    assert_eq!(world.files("damaged").len(), 1);
    second.end(PATIENCE).await;
    assert!(world.files("spool1").is_empty());
    // It is left alone from now on.
    let third = world.start().await;
    third.drained().await;
    third.end(PATIENCE).await;
    assert_eq!(world.files("damaged").len(), 1);
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_at_the_start_is_looked_for_again() {
    let world = World::new();
    world.take_store_away();
    let first = world.start().await;
    for number in 0..5 {
        first.spool.write(document("gw-1", number)).await.unwrap();
    }
    first.end(Duration::ZERO).await;
    world.bring_store_back();
    // The folder is made, then the segment is read: too many open files, say.
    world.disk.faults.fail_after(1);
    let second = world.start().await;
    tokio::time::timeout(PATIENCE, async {
        while !world.files("spool1").is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    let seen = world.disk.faults.seen();
    let reads = seen.iter().filter(|name| **name == "read").count();
    assert!(reads >= 3, "refused, read at the next look, drained: {seen:?}");
    assert_eq!(world.stored("gw-1").await, numbers(0..5));
    second.end(PATIENCE).await;
    assert_eq!(std::fs::read_dir(world.spool()).unwrap().count(), 0, "no folder is left");
}

#[tokio::test]
async fn a_full_spool_refuses_and_strangers_fill_a_part_of_it() {
    let world = World { bytes: 16 * 1024, ..World::new() };
    world.take_store_away();
    let running = world.start().await;
    let junk = |number: u8| {
        let mut entry = refused(number, false);
        entry.raw = vec![b'x'; 1024];
        Record::Refused(Arc::new(entry))
    };
    let mut strangers = 0;
    while running.spool.write(junk(strangers)).await.is_ok() {
        strangers += 1;
    }
    assert!((2..=4).contains(&strangers), "{strangers}");
    let mut acked = 0;
    let refused = loop {
        match running.spool.write(document("gw-1", acked)).await {
            Ok(()) => acked += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, NotKept::Full), "{refused}");
    assert!(acked > 20 && running.spool.status.is_full());
    let size: u64 = world.files("spool1").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(size <= world.bytes, "{size}");
    world.bring_store_back();
    running.drained().await;
    running.spool.write(document("gw-1", acked)).await.unwrap();
    assert_eq!(world.stored("gw-1").await, numbers(0..acked + 1));
    running.end(PATIENCE).await;
}

/// What a run under faults does: spools, drains, is killed and drains again.
async fn scenario(world: &World) -> BTreeMap<i64, bool> {
    world.take_store_away();
    let mut acked = BTreeMap::new();
    let first = world.start().await;
    for number in 0..4 {
        acked.insert(number, first.spool.write(document("gw-1", number)).await.is_ok());
    }
    world.bring_store_back();
    for number in 4..8 {
        acked.insert(number, first.spool.write(document("gw-1", number)).await.is_ok());
    }
    first.drained().await;
    first.end(PATIENCE).await;
    acked
}

#[tokio::test]
async fn nobody_waits_for_the_disk_on_a_thread_that_serves_others() {
    let world = World::new();
    world.take_store_away();
    let killed = world.start().await;
    killed.spool.write(document("gw-1", 8)).await.unwrap();
    killed.kill().await;
    // What it has left is taken over, and its folder is left.
    assert!(scenario(&world).await.values().all(|acked| *acked));
    // A process that goes on looks for more, now and then.
    let running = world.start().await;
    let lists = || world.disk.faults.seen().into_iter().filter(|name| *name == "list").count();
    let begun = lists();
    let looked = async {
        while lists() == begun {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap();
    running.end(PATIENCE).await;
    let operations = world.disk.faults.seen();
    for name in ["list", "cut", "sync", "read", "remove"] {
        assert!(operations.contains(&name), "{name} is not among {operations:?}");
    }
    // The runtime of this test has one thread, which is this one.
    assert!(!world.disk.faults.threads().contains(&std::thread::current().id()));
}

#[tokio::test]
async fn whichever_disk_operation_fails_nothing_acked_is_lost_and_the_next_document_works() {
    let all = World::new();
    assert!(scenario(&all).await.values().all(|acked| *acked));
    let operations = all.disk.faults.seen();
    assert!(operations.iter().filter(|name| **name == "sync").count() >= 2, "{operations:?}");
    for (number, name) in operations.iter().enumerate() {
        let world = World::new();
        world.disk.faults.fail_after(number);
        let acked = scenario(&world).await;
        // Whatever is left over is taken by the next start.
        let next = world.start().await;
        next.drained().await;
        next.spool.write(document("gw-1", 8)).await.unwrap();
        next.end(PATIENCE).await;
        let stored = world.stored("gw-1").await;
        for (document, acked) in &acked {
            let there = stored.contains(&(*document as f64));
            assert!(there || !acked, "operation {number}, {name}: document {document} is lost of {acked:?}");
        }
        let refused = acked.values().filter(|acked| !**acked).count();
        assert!(refused <= 1, "operation {number}, {name}: one failure refuses one document: {acked:?}");
        assert_eq!(world.counted("gw-1").await as usize, stored.len(), "operation {number}, {name}");
    }
}
