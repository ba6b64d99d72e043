//! The store away, locked or full, and ingest killed meanwhile: what was acked
//! from the spool ends up in the store, once.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;

use crate::binary::{connect, free_address};
use crate::crash::commission;
use crate::ingest::{Ingest, segments};
use crate::load::{IN_PART, Load, Plan};
use crate::oracle;
use crate::soak;

const LANES: usize = 4;
/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Kills in `make test`.
const ROUNDS: u32 = 8;
/// The same in `make soak`.
const SOAK_ROUNDS: u32 = 200;

/// A provider whose store can be taken away, behind ingests that can be killed.
struct World {
    folder: tempfile::TempDir,
    spool: PathBuf,
    plan: Plan,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        commission(&data, "sunrise", LANES).await;
        let plan = Plan::new("sunrise", folder.path(), LANES);
        Self { spool: folder.path().join("spool"), plan, folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn ingest(&self, address: SocketAddr) -> Ingest {
        self.ingest_with(address, &[])
    }

    /// With settings beside the usual ones.
    fn ingest_with(&self, address: SocketAddr, more: &[(&str, &str)]) -> Ingest {
        let (store, spool) = (format!("sqlite:{}", self.data().display()), self.spool.display().to_string());
        let usual = [("HELIOGRAPH__INGEST__SPOOL_DIR", spool.as_str()), ("HELIOGRAPH__INGEST__STORE_DEADLINE_MS", "300")];
        let settings = [&usual[..], more].concat();
        Ingest::start("sunrise", address, &["--store", &store], &settings, self.folder.path())
    }

    /// Locks the store for all writers until this is dropped.
    fn lock(&self) -> Connection {
        let connection = Connection::open(self.data().join("sunrise.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        connection
    }

    /// Puts a file in the place of the store's folder.
    fn take_store_away(&self) {
        std::fs::rename(self.data(), self.folder.path().join("away")).unwrap();
        std::fs::write(self.data(), "in the way").unwrap();
    }

    fn bring_store_back(&self) {
        std::fs::remove_file(self.data()).unwrap();
        std::fs::rename(self.folder.path().join("away"), self.data()).unwrap();
    }

    /// The segments that are in the spool.
    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.spool.join("sunrise"))
    }

    fn await_spooling(&self) {
        self.wait("nothing is spooled", |world| !world.segments().is_empty());
    }

    fn await_drained(&self) {
        self.wait("the spool does not drain", |world| world.segments().is_empty());
    }

    fn wait(&self, problem: &str, done: impl Fn(&Self) -> bool) {
        self.wait_by(Duration::from_millis(50), problem, done);
    }

    /// The same where a moment counts.
    fn wait_closely(&self, problem: &str, done: impl Fn(&Self) -> bool) {
        self.wait_by(Duration::from_millis(1), problem, done);
    }

    fn wait_by(&self, pause: Duration, problem: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{problem}: {:?}", self.segments());
            std::thread::sleep(pause);
        }
    }

    /// How many documents the store has counted.
    fn stored(&self) -> i64 {
        let connection = Connection::open(self.data().join("sunrise.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection.query_row("SELECT coalesce(sum(documents), 0) FROM latest", [], |row| row.get(0)).unwrap()
    }

    /// Kills an ingest when some of what was spooled is in the store and some is not:
    /// between two pieces the store is locked again.
    fn kill_while_draining(&self, ingest: Ingest) {
        let mut backlog = 600.0;
        loop {
            let lock = self.lock();
            self.wait("too little is spooled", |_| ingest.metric("heliograph_spool_documents") >= backlog);
            let (spooled, before) = (ingest.metric("heliograph_spool_documents"), self.stored());
            drop(lock);
            // What was on its way straight to the store comes there first.
            let straight = (self.plan.lanes * self.plan.in_flight) as i64;
            self.wait_closely("nothing is drained", |world| world.stored() > before + straight);
            let lock = self.lock();
            let drained = self.stored() - before;
            println!("{drained} of {spooled} documents were drained");
            if (drained as f64) < spooled {
                ingest.kill();
                assert!(!self.segments().is_empty(), "the segment that is drained in part is there");
                return drop(lock);
            }
            // The store was faster than this is: with more, then.
            backlog *= 2.0;
        }
    }

    /// Fails where something was counted or held more often than it was pushed. Readings
    /// have a key, so that one that is written twice is one; these have none.
    fn check_counts(&self) {
        let pushed = self.plan.transmissions();
        let connection = Connection::open(self.data().join("sunrise.db")).unwrap();
        let mut query =
            connection.prepare("SELECT g.id, l.documents FROM latest l JOIN gateway g ON g.number = l.gateway").unwrap();
        let counted = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
        let counted: Vec<_> = counted.map(Result::unwrap).collect();
        assert_eq!(counted.len(), self.plan.lanes);
        for (gateway, documents) in counted {
            let named = format!("sunrise:{gateway}:");
            let of_gateway: i64 = pushed.iter().filter(|(seq, _)| seq.starts_with(&named)).map(|(_, times)| *times as i64).sum();
            println!("{gateway}: {documents} documents counted of {of_gateway} pushed");
            assert!(0 < documents && documents <= of_gateway, "{documents} documents of {gateway}, {of_gateway} were pushed");
        }

        let mut query = connection.prepare("SELECT raw FROM quarantine").unwrap();
        let held = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap().map(Result::unwrap);
        let mut entries: HashMap<String, usize> = HashMap::new();
        for raw in held {
            let text = String::from_utf8(raw).unwrap();
            let seq = text.split("seq=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            *entries.entry(seq.to_owned()).or_default() += 1;
        }
        for (seq, times) in &entries {
            assert!(pushed.get(seq).is_some_and(|pushed| times <= pushed), "{times} entries of {seq}: {:?}", pushed.get(seq));
        }
        let sent = self.plan.sent();
        let mut acked = sent.iter().flatten().filter(|sent| sent.acked_at.is_some()).map(|sent| &sent.document.seq);
        let lost: Vec<_> = acked.by_ref().filter(|seq| seq.ends_with(IN_PART) && !entries.contains_key(*seq)).collect();
        println!("{} documents are held in part", entries.len());
        assert!(!entries.is_empty() && lost.is_empty(), "acked and not held: {lost:?}");
    }

    fn end(&self, load: Load) {
        load.stop();
        self.await_drained();
        oracle::check(&self.data(), &[&self.plan]);
        println!("{} documents", self.plan.acked());
    }
}

#[tokio::test]
async fn a_store_that_is_locked_in_mid_load_costs_no_document_and_is_told_to_operators() {
    let world = World::new().await;
    let ingest = world.ingest(free_address());
    let load = world.plan.start(ingest.address);
    world.plan.await_acks(20, PATIENCE);
    let lock = world.lock();
    world.await_spooling();
    world.plan.await_acks(50, PATIENCE);
    let ready = ingest.get("/readyz");
    assert!(ready.contains(" 200 ") && ready.contains("acks come from the spool"), "{ready}");
    assert!(ingest.metric("heliograph_spool_bytes") > 0.0);
    assert!(ingest.metric("heliograph_spool_documents") >= 40.0);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(ingest.metric("heliograph_spool_oldest_age_seconds") >= 1.0);
    drop(lock);
    world.await_drained();
    world.end(load);
    let deadline = Instant::now() + PATIENCE;
    while !ingest.get("/readyz").contains("acks survive power-loss") {
        assert!(Instant::now() < deadline, "the spool does not fall out of use");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ingest.metric("heliograph_spool_drained_total") >= 50.0);
    assert_eq!(ingest.metric("heliograph_spool_documents"), 0.0);
    let logged = ingest.logged();
    assert!(logged.contains("spooling begins") && logged.contains("spool has drained"), "{logged}");
}

#[tokio::test]
async fn a_stop_ends_in_its_time_while_the_store_is_locked_and_a_request_stalls() {
    let world = World::new().await;
    let ingest = world.ingest_with(free_address(), &[("HELIOGRAPH__INGEST__DRAIN_SECONDS", "4")]);
    let load = world.plan.start(ingest.address);
    world.plan.await_acks(20, PATIENCE);
    let lock = world.lock();
    world.await_spooling();
    load.stop();
    let mut stalled = connect(ingest.address, PATIENCE);
    stalled.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n<push").unwrap();
    let took = ingest.terminate();
    // Connections, spool and store each with a time of their own would take 11 s.
    assert!(took < Duration::from_secs(8), "{took:?}");
    drop(lock);
    let _ingest = world.ingest(free_address());
    world.await_drained();
    oracle::check(&world.data(), &[&world.plan]);
}

#[tokio::test]
async fn a_start_without_the_store_knows_its_gateways_and_takes_their_documents() {
    let world = World::new().await;
    world.ingest(free_address()).terminate();
    world.take_store_away();
    let ingest = world.ingest(free_address());
    let load = world.plan.start(ingest.address);
    world.plan.await_acks(40, PATIENCE);
    let ready = ingest.get("/readyz");
    assert!(ready.contains(" 200 ") && ready.contains("spool"), "{ready}");
    // A wrong key is told from a right one.
    let mut stream = connect(ingest.address, PATIENCE);
    stream.write_all(b"<hello gateway=\"gw-0\" key=\"wrong\"/>").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.contains("bad-key"), "{answer}");
    world.bring_store_back();
    world.await_drained();
    world.plan.await_acks(20, PATIENCE);
    world.end(load);
}

#[tokio::test]
async fn a_stop_while_the_store_is_away_keeps_what_was_acked_for_the_next_start() {
    let world = World::new().await;
    let ingest = world.ingest(free_address());
    let address = ingest.address;
    let load = world.plan.start(address);
    world.plan.await_acks(10, PATIENCE);
    let lock = world.lock();
    world.await_spooling();
    world.plan.await_acks(30, PATIENCE);
    let took = ingest.terminate();
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert!(!world.segments().is_empty());
    drop(lock);
    let _next = world.ingest(address);
    world.plan.await_acks(10, PATIENCE);
    world.end(load);
}

#[tokio::test]
async fn a_replica_takes_over_what_a_killed_one_has_spooled() {
    let mut world = World::new().await;
    let (first, second) = (world.ingest(free_address()), world.ingest(free_address()));
    let other = Plan { first_lane: LANES / 2, lanes: LANES / 2, ..world.plan.clone() };
    world.plan.lanes = LANES / 2;
    let (load, other_load) = (world.plan.start(first.address), other.start(second.address));
    let lock = world.lock();
    world.wait("only one of the replicas spools", |world| world.segments().len() >= 2);
    world.plan.await_acks(20, PATIENCE);
    other.await_acks(20, PATIENCE);
    let address = first.address;
    first.kill();
    drop(lock);
    // The first stays dead; the second drains what both have acked.
    other_load.stop();
    world.await_drained();
    oracle::check(&world.data(), &[&world.plan, &other]);
    let _first = world.ingest(address);
    world.plan.await_acks(1, PATIENCE);
    load.stop();
    world.await_drained();
    oracle::check(&world.data(), &[&world.plan, &other]);
}

/// A small file system of its own, until this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Self::run(&["-t", "tmpfs", "-o", "size=256k", "tmpfs", &path.display().to_string()]);
        Self(path.to_owned())
    }

    fn grow(&self) {
        Self::run(&["-o", "remount,size=64m", &self.0.display().to_string()]);
    }

    fn run(arguments: &[&str]) {
        let output = Command::new("mount").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mount {arguments:?}: {said}; run the tests as a user who may mount a tmpfs");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy", &self.0.display().to_string()]).status());
    }
}

#[tokio::test]
async fn a_full_disk_acks_nothing_and_goes_on_by_itself_when_there_is_room() {
    let world = World::new().await;
    let disk = SmallDisk::mount(&world.spool);
    let ingest = world.ingest(free_address());
    let load = world.plan.start(ingest.address);
    let lock = world.lock();
    world.await_spooling();
    let refused = |world: &World| world.plan.sent().iter().flatten().any(|sent| !sent.refusals.is_empty());
    world.wait("the disk does not fill", refused);
    let told: Vec<_> = world.plan.sent().into_iter().flatten().flat_map(|sent| sent.refusals).collect();
    assert!(told.iter().all(|answer| answer.contains("unavailable") && answer.contains("retry=\"true\"")), "{told:?}");
    let before = world.plan.acked();
    disk.grow();
    let freed = Instant::now();
    while world.plan.acked() == before {
        assert!(freed.elapsed() < Duration::from_secs(5), "no ack {:?} after there was room", freed.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("first ack {:?} after there was room", freed.elapsed());
    drop(lock);
    world.end(load);
    ingest.terminate();
}

#[tokio::test]
async fn a_kill_at_any_moment_of_spooling_and_draining_loses_and_doubles_nothing() {
    check_kills(ROUNDS).await;
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn many_kills_at_any_moment_of_spooling_and_draining_lose_and_double_nothing() {
    check_kills(soak::rounds(SOAK_ROUNDS)).await;
}

async fn check_kills(rounds: u32) {
    let mut world = World::new().await;
    (world.plan.in_flight, world.plan.in_part) = (4, 50);
    let mut random = StdRng::seed_from_u64(world.plan.seed);
    let address = free_address();
    let mut ingest = world.ingest(address);
    let load = world.plan.start(address);
    let (mut while_spooling, mut while_draining) = (0, 0);
    for round in 0..rounds {
        let lock = world.lock();
        std::thread::sleep(Duration::from_millis(random.random_range(300..1200)));
        let lock = random.random_bool(0.5).then_some(lock);
        // Half of the kills come while documents are only taken in.
        std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        let spooled = !world.segments().is_empty();
        ingest.kill();
        match (spooled, lock.is_some()) {
            (true, true) => while_spooling += 1,
            (true, false) => while_draining += 1,
            (false, _) => {}
        }
        drop(lock);
        ingest = world.ingest(address);
        let began = Instant::now();
        world.plan.await_acks(1, PATIENCE);
        println!("round {round}: first ack after {:?}", began.elapsed());
    }
    println!("{while_spooling} kills while spooling, {while_draining} while draining");
    assert!(while_spooling > 0, "no kill came while documents were in the spool");
    // Chance need not bring one while the spool is drained.
    world.kill_while_draining(ingest);
    ingest = world.ingest(address);
    world.plan.await_acks(1, PATIENCE);
    world.end(load);
    ingest.terminate();
    world.check_counts();
}
