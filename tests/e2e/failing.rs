//! The N-th disk operation fails, for every N: no ack for what was not written,
//! the next document works, nobody has to restart anything.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::binary::{HELIOGRAPH, Process, free_address, terminate};
use crate::crash;
use crate::load::Plan;
use crate::oracle::{self, sqlite};
use crate::soak;

const PATIENCE: Duration = Duration::from_secs(30);
/// Documents pushed while an operation may fail.
const DOCUMENTS: u64 = 3;
/// How often a sync may fail that was no document's before one does that was.
const ATTEMPTS: usize = 5;
/// More operations than the documents of a run take.
const MOST: usize = 400;

/// What fails, and how.
const FAILURES: [(&str, &str); 3] = [("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fsync,fdatasync", "EIO")];

#[tokio::test]
async fn every_disk_operation_of_a_document_may_fail() {
    let mut world = World::start().await;
    for (calls, error) in FAILURES {
        let refused = world.refusals();
        let mut tried = 0;
        for number in 1..MOST {
            if world.push_while(&[&format!("{calls}:error={error}:when={number}")], DOCUMENTS) == 0 {
                break;
            }
            tried = number;
        }
        println!("{calls} {error}: each of {tried} failed once, {} documents were refused", world.refusals() - refused);
        assert!(tried > 2, "{calls} hardly ever failed");
        assert!(tried < MOST - 1, "{calls} did not come to an end");
    }
    world.end();
}

/// Of a document whose commit was not synced nobody hears an ack: each of the syncs that
/// documents take fails, and one is refused. That what was acked is in what was synced
/// is shown where power is lost.
#[tokio::test]
async fn a_document_whose_sync_fails_is_refused() {
    let mut world = World::start().await;
    for number in 1..=DOCUMENTS {
        let failure = format!("fsync,fdatasync:error=EIO:when={number}");
        let before = world.refusals();
        let attempts = (1..=ATTEMPTS).find(|_| {
            // Rollups are synced as well, and nobody hears of it where that fails.
            world.await_settled();
            assert!(world.push_while(&[&failure], DOCUMENTS) > 0, "sync {number} did not fail");
            world.refusals() > before
        });
        println!("sync {number}: {} refused at attempt {attempts:?}", world.refusals() - before);
        assert!(attempts.is_some(), "sync {number} failed {ATTEMPTS} times, and nobody was refused");
    }
    world.end();
}

/// While pages move from the log to the file, which is a thousand of them at a
/// time: a sample.
#[tokio::test]
async fn operations_of_a_checkpoint_may_fail() {
    check_checkpoints(4).await;
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn many_operations_of_a_checkpoint_may_fail() {
    check_checkpoints(soak::rounds(200).div_ceil(5) as usize).await;
}

async fn check_checkpoints(rounds: usize) {
    let seed = rand::random();
    println!("seed of the failures {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start().await;
    world.plan.backfill = 400;
    // In this mode nothing else writes to the file itself.
    let file = world.folder.path().join("sunrise.db").display().to_string();
    let mut failed = 0;
    for round in 0..rounds {
        let (calls, most) = if round % 4 == 3 { ("fsync,fdatasync", 1) } else { ("pwrite64", 100) };
        let error = if random.random() { "EIO" } else { "ENOSPC" };
        let failure = format!("{calls}:error={error}:when={}", random.random_range(1..=most));
        failed += usize::from(world.push_while(&[&failure, &file], 1000) > 0);
    }
    println!("{failed} of {rounds} checkpoints failed");
    assert!(failed == rounds, "only {failed} of {rounds} checkpoints failed");
    world.end();
}

/// A new connection is opened after a failure; what that does may fail as well.
#[tokio::test]
async fn opening_the_file_again_may_fail() {
    let mut world = World::start().await;
    let sync_fails = "fsync,fdatasync:error=EIO:when=1";
    assert!(world.push_while(&[sync_fails, "openat:error=EMFILE:when=1..3"], DOCUMENTS) > 1);
    let mut tried = 0;
    for number in 1..MOST {
        if world.push_while(&[sync_fails, &format!("pread64:error=EIO:when={number}")], DOCUMENTS) < 2 {
            break;
        }
        tried = number;
    }
    println!("each of {tried} reads failed once");
    assert!((1..MOST - 1).contains(&tried), "{tried} reads failed");
    world.end();
}

/// A role that cannot make or open its file ends and says why; the next start
/// finds nothing in its way.
#[tokio::test]
async fn every_disk_operation_of_a_start_may_fail() {
    for calls in ["pwrite64", "fsync,fdatasync", "ftruncate", "unlink"] {
        let mut tried = 0;
        for number in 1..MOST {
            let folder = tempfile::tempdir().unwrap();
            let address = free_address();
            let failure = format!("{calls}:error=EIO:when={number}");
            let log = folder.path().join("strace.txt");
            let mut first = start_failing(folder.path(), address, &failure, &log);
            let deadline = Instant::now() + PATIENCE;
            while first.0.try_wait().unwrap().is_none() && std::net::TcpStream::connect(address).is_err() {
                assert!(Instant::now() < deadline, "{failure}: it neither starts nor ends");
                std::thread::sleep(Duration::from_millis(10));
            }
            if let Some(status) = first.0.try_wait().unwrap() {
                let said = std::io::read_to_string(first.0.stderr.take().unwrap()).unwrap();
                assert_eq!(status.code(), Some(1), "{failure}: {said}");
                assert!(said.contains("sunrise.db") || said.contains("data"), "{failure}: {said}");
            }
            kill_child(&first);
            first.0.wait().unwrap();
            let injected = std::fs::read_to_string(&log).unwrap_or_default().contains("INJECTED");
            if !injected {
                break;
            }
            tried = number;
            crash::commission(&folder.path().join("data"), "sunrise", 1).await;
            let mut second = crash::start(&folder.path().join("data"), "sunrise", address);
            let plan = Plan { documents: Some(2), ..Plan::new("sunrise", folder.path(), 1) };
            plan.run(address);
            terminate(&mut second);
            check(&folder.path().join("data"), &plan);
        }
        println!("{calls}: each of {tried} at the start failed once");
        assert!(tried > 0 || !calls.starts_with("pwrite64") && !calls.starts_with("fsync"), "{calls} never failed");
        assert!(tried < MOST - 1, "{calls} did not come to an end");
    }
}

/// An ingest that runs, and a load for it.
struct World {
    folder: tempfile::TempDir,
    journals: tempfile::TempDir,
    ingest: Process,
    address: SocketAddr,
    plan: Plan,
}

impl World {
    async fn start() -> Self {
        let (folder, journals) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        crash::commission(folder.path(), "sunrise", 1).await;
        let address = free_address();
        let ingest = crash::start(folder.path(), "sunrise", address);
        let plan = Plan { documents: Some(10), ..Plan::new("sunrise", journals.path(), 1) };
        plan.run(address);
        Self { folder, journals, ingest, address, plan }
    }

    /// Pushes documents, until calls of the store's writer have failed or there
    /// were `most`; answers how many calls did. All documents are acked in the
    /// end, and the store is clean.
    fn push_while(&mut self, failures: &[&str], most: u64) -> usize {
        let output = self.journals.path().join("strace.txt");
        let tracer = Tracer::attach(&self.ingest, failures, &output);
        let failed = || std::fs::read_to_string(&output).unwrap().matches("INJECTED").count();
        let began = Instant::now();
        let mut pushed = 0;
        while pushed < most && (pushed < DOCUMENTS || failed() == 0) {
            let further = (most - pushed).min(DOCUMENTS.max(most / 20));
            self.plan.documents = self.plan.documents.map(|before| before + further);
            self.plan.run(self.address);
            pushed += further;
        }
        assert!(began.elapsed() < PATIENCE, "{failures:?}: acked after {:?} only", began.elapsed());
        tracer.detach();
        assert!(self.ingest.0.try_wait().unwrap().is_none(), "{failures:?}: ingest has ended");
        check(self.folder.path(), &self.plan);
        failed()
    }

    /// Waits until no rollups are due.
    fn await_settled(&self) {
        let file = self.folder.path().join("sunrise.db");
        let deadline = Instant::now() + PATIENCE;
        while sqlite::due(&file) > 0 {
            assert!(Instant::now() < deadline, "{} windows are due", sqlite::due(&file));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn refusals(&self) -> usize {
        let sent = self.plan.sent();
        let refusals: Vec<_> = sent.iter().flatten().flat_map(|sent| &sent.refusals).collect();
        for refusal in &refusals {
            assert!(refusal.contains("code=\"unavailable\" retry=\"true\""), "{refusal}");
        }
        refusals.len()
    }

    fn end(mut self) {
        self.refusals();
        terminate(&mut self.ingest);
        check(self.folder.path(), &self.plan);
    }
}

/// What was acked is there, at the latest once a spool has drained.
fn check(folder: &Path, plan: &Plan) {
    oracle::check_within(folder, &[plan], PATIENCE);
    assert_eq!(sqlite::integrity(&folder.join("sunrise.db")), Vec::<String>::new());
}

/// Starts an ingest on an empty folder; calls of each of its threads fail.
fn start_failing(folder: &Path, address: SocketAddr, failure: &str, log: &Path) -> Process {
    let store = format!("sqlite:{}", folder.join("data").display());
    let child = strace(&[failure], log)
        .args(["-f", "--", HELIOGRAPH, "ingest", "--provider", "sunrise", "--listen", &address.to_string(), "--store", &store])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("strace does not run ({error}); install it: deploy/dev/install.sh"));
    Process(child)
}

/// Ends what strace has started, and with it strace.
fn kill_child(strace: &Process) {
    let children = format!("/proc/{0}/task/{0}/children", strace.0.id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    for child in children.split_whitespace() {
        assert!(Command::new("kill").args(["-KILL", child]).status().unwrap().success());
    }
}

/// strace beside the threads of a process that write the store.
pub(crate) struct Tracer(Child);

impl Tracer {
    pub(crate) fn attach(process: &Process, failures: &[&str], output: &Path) -> Self {
        let mut command = strace(failures, output);
        let threads = store_threads(process.0.id());
        for thread in &threads {
            command.args(["-p", thread]);
        }
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("strace does not run ({error}); install it: deploy/dev/install.sh"));
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in said.by_ref().take(threads.len()) {
            let line = line.unwrap();
            assert!(line.contains("attached"), "{line}");
        }
        // What it says later on is read by nobody, and waits for nobody.
        std::thread::spawn(move || said.count());
        Self(child)
    }

    pub(crate) fn detach(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A strace in which calls fail; counts are a thread's own. A path limits it to
/// calls on that file.
fn strace(failures: &[&str], output: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-s", "16", "-o", &output.display().to_string()]);
    let (paths, failures): (Vec<&str>, Vec<&str>) = failures.iter().partition(|failure| failure.starts_with('/'));
    let calls: Vec<&str> = failures.iter().map(|failure| failure.split(':').next().unwrap()).collect();
    command.args(["-e", &format!("trace={}", calls.join(","))]);
    command.args(failures.iter().flat_map(|failure| ["-e".to_owned(), format!("inject={failure}")]));
    command.args(paths.iter().flat_map(|path| ["-P", path]));
    command
}

fn store_threads(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let named = |thread: &std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm")).unwrap().starts_with("store-");
    let found: Vec<String> = threads.filter(named).map(|thread| thread.file_name().into_string().unwrap()).collect();
    assert!(!found.is_empty(), "no thread of the store");
    found
}
