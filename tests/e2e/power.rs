//! Power loss: a real ingest runs under strace, which records what it writes and
//! syncs and which acks leave; at any moment the machine may lose power, and of
//! what was not synced any part may be lost, to the sector. What is left must
//! open, be sound and hold every document that was acked before.

mod disk;
mod recording;
mod spooled;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use heliograph_domain::ProviderId;
use heliograph_store::{Store, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::binary::{NO_SPOOL, free_address};
use crate::journal::Sent;
use crate::load::Plan;
use crate::oracle::{self, Verdict, sqlite};
use crate::{binary, crash};
use disk::Disk;
use recording::{Event, Recording};

const LANES: usize = 4;

/// What an ingest does, recorded, and what was pushed meanwhile.
struct Run {
    /// Before the first event.
    disk: Disk,
    recording: Recording,
    sent: Vec<Vec<Sent>>,
    /// Where journals, recordings and what is left of disks are kept.
    scratch: tempfile::TempDir,
}

/// Whether the recorded ingest makes its store, or finds one with gateways.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Empty,
    Commissioned,
}

#[tokio::test]
async fn power_may_be_lost_at_any_moment() {
    let seed = rand::random();
    println!("seed of the cuts {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for (start, rounds) in [(Start::Empty, 100), (Start::Commissioned, 100)] {
        let run = record(start, "", None, 160).await;
        let checkpoints = run.recording.syncs("sunrise.db");
        assert!(checkpoints > 1, "nothing was moved from the log to the file: no cut can fall there");
        for round in cuts(&run.recording, rounds, &mut random) {
            let (verdict, problems) = cut(&run, round, &mut random).await;
            assert!(problems.is_empty() && verdict.is_clean(), "{start:?}, cut at {round}: {problems:?}\n{verdict}");
        }
        println!("{start:?}: {rounds} cuts in {} events, {checkpoints} syncs of the file", run.recording.events.len());
    }
}

/// After a sync that failed, the next one succeeds without what the first should
/// have written: whatever is acked then must have been written again.
#[tokio::test]
async fn no_ack_relies_on_a_sync_that_was_tried_again() {
    let seed = rand::random();
    println!("seed of the cuts {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut of_the_log = 0;
    for attempt in 0.. {
        // Each thread counts its own, so that others fail beside that of the log.
        let failure = format!("fsync,fdatasync:error=EIO:when={}", random.random_range(5..30));
        let run = record(Start::Commissioned, "", Some(&failure), 40).await;
        for round in cuts(&run.recording, 15, &mut random) {
            let (verdict, problems) = cut(&run, round, &mut random).await;
            assert!(problems.is_empty() && verdict.is_clean(), "{failure}, cut at {round}: {problems:?}\n{verdict}");
        }
        let failed = run.recording.failed_syncs("-wal");
        let acked = failed.first().map_or(0, |at| run.recording.acked_after(*at));
        println!("{failure}: {} syncs of the log failed, {acked} documents were acked afterwards", failed.len());
        of_the_log += usize::from(acked > 0);
        if of_the_log == 6 {
            break;
        }
        assert!(attempt < 12, "the log's sync failed {of_the_log} times only");
    }
}

/// A sync fails, each in turn: what was written under it is not acked but refused, and
/// what is acked afterwards stands in what was synced, though nothing else is left.
#[tokio::test]
async fn a_document_is_acked_only_for_a_sync_that_did_not_fail() {
    let mut of_documents = 0;
    for number in FIRST_SYNC.. {
        let failure = format!("fsync,fdatasync:error=EIO:when={number}");
        let run = record(Start::Commissioned, "", Some(&failure), 12).await;
        let Some(first) = run.recording.failed_syncs("").first().copied() else { break };
        for at in [run.recording.acks_after(first).next(), run.recording.acks_after(first).next_back()].into_iter().flatten() {
            let (left, sent) = left_before(&run, at + 1, Disk::keep_synced);
            let (verdict, problems) = look(&left.path().join("data"), &sent).await;
            assert!(problems.is_empty() && verdict.is_clean(), "{failure}, acked at {at}: {problems:?}\n{verdict}");
        }
        let refused: usize = run.sent.iter().flatten().map(|sent| sent.refusals.len()).sum();
        let hit =
            run.recording.written_for_failed_syncs("-wal").into_iter().any(|(at, written)| holds_document(&run, at, &written));
        println!("{failure}: {refused} refusals, a document was to be synced: {hit}");
        assert!(refused > 0 || !hit, "{failure}: nobody was refused");
        of_documents += usize::from(hit);
        assert!(number < 60, "{failure}: this does not come to an end");
    }
    assert!(of_documents > 2, "{of_documents} syncs of documents failed");
}

/// Before that a start syncs, which may fail itself.
const FIRST_SYNC: usize = 5;

/// Whether what was written holds a document that no ack had left for at an event.
fn holds_document(run: &Run, at: usize, written: &[Rc<[u8]>]) -> bool {
    let acked: HashSet<&str> = acked_before(run, at);
    let open = run.sent.iter().flatten().filter(|sent| !acked.contains(sent.document.seq.as_str()));
    let mut values = open.filter_map(|sent| sent.document.readings.first()).map(|reading| reading.value.to_le_bytes());
    values.any(|value| written.iter().any(|data| data.windows(value.len()).any(|part| part == value)))
}

/// The documents for which an ack had begun to leave before an event.
fn acked_before(run: &Run, at: usize) -> HashSet<&str> {
    let events = run.recording.events[..at].iter();
    events.filter_map(|event| if let Event::Acked { seq } = event { Some(seq.as_str()) } else { None }).collect()
}

/// What is said of a log that the store took for damaged.
const DAMAGED: &str = "is taken for damaged";

/// Without the syncs the same cuts lose documents, so the ones above could.
#[tokio::test]
async fn acks_that_survive_only_a_crash_do_not_survive_power_loss() {
    let mut random = StdRng::seed_from_u64(7);
    let run = record(Start::Commissioned, "?ack=process-crash", None, 160).await;
    let mut lost = 0;
    for round in cuts(&run.recording, 20, &mut random) {
        let (verdict, mut problems) = cut(&run, round, &mut random).await;
        // Without syncs, what the power cuts looks like damage.
        problems.retain(|problem| !problem.ends_with(DAMAGED));
        assert!(problems.is_empty(), "cut at {round}: {problems:?}");
        assert!(Verdict { lost: Vec::new(), ..verdict.clone() }.is_clean(), "more than whole documents: {verdict}");
        lost += verdict.lost.len();
    }
    println!("{lost} documents lost in 20 cuts");
    assert!(lost > 0, "nothing was lost, so these cuts show nothing");
}

/// Runs an ingest without a spool from start to end under strace, with a load.
async fn record(start: Start, options: &str, failure: Option<&str>, documents: u64) -> Run {
    let push = |plan: &Plan, address, _: &Path| Plan { documents: Some(documents), ..plan.clone() }.run(address);
    record_while(start, options, &NO_SPOOL, failure, push).await
}

/// Runs an ingest under strace while something is done with it and its data.
async fn record_while(
    start: Start,
    options: &str,
    settings: &[(&str, &str)],
    failure: Option<&str>,
    push: impl FnOnce(&Plan, SocketAddr, &Path),
) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    if start == Start::Commissioned {
        crash::commission(&data, "sunrise", LANES).await;
    }
    let disk = Disk::of(folder.path());
    let address = free_address();
    let (listen, store) = (address.to_string(), format!("sqlite:{}{options}", data.display()));
    let ingest = ["ingest", "--provider", "sunrise", "--listen", &listen, "--store", &store, "--unknown-gateways", "adopted"];
    let tracer = recording::start(&ingest, settings, failure, scratch.path());
    drop(binary::connect(address, Duration::from_secs(30)));
    let plan = Plan { in_flight: 3, backfill: 300, ..Plan::new("sunrise", scratch.path(), LANES) };
    push(&plan, address, &data);
    let recording = tracer.finish(folder.path());
    Run { disk, recording, sent: plan.sent(), scratch }
}

/// Moments to cut at: half of them anywhere, half around a sync.
fn cuts(recording: &Recording, rounds: usize, random: &mut StdRng) -> Vec<usize> {
    let events = &recording.events;
    let syncs: Vec<usize> =
        (0..events.len()).filter(|at| matches!(events[*at], Event::SyncBegins { .. } | Event::SyncEnds { .. })).collect();
    (0..rounds)
        .map(|round| match round % 2 == 0 || syncs.is_empty() {
            true => random.random_range(0..=events.len()),
            false => (syncs[random.random_range(0..syncs.len())] + random.random_range(0..3)).min(events.len()),
        })
        .collect()
}

/// What is left when power is lost before an event: what the oracle says, and
/// what SQLite does.
async fn cut(run: &Run, at: usize, random: &mut StdRng) -> (Verdict, Vec<String>) {
    let (left, sent) = lose_power(run, at, random);
    look(&left.path().join("data"), &sent).await
}

/// What is left when power is lost before an event, and what was pushed, acked
/// where an ack had begun to leave.
fn lose_power(run: &Run, at: usize, random: &mut StdRng) -> (tempfile::TempDir, Vec<Vec<Sent>>) {
    left_before(run, at, |disk, folder| disk.clone().lose_power(folder, random))
}

/// The same of a disk that leaves something in a folder.
fn left_before(run: &Run, at: usize, leave: impl FnOnce(&Disk, &Path)) -> (tempfile::TempDir, Vec<Vec<Sent>>) {
    let mut disk = run.disk.clone();
    run.recording.events[..at].iter().for_each(|event| disk.apply(event));
    let left = tempfile::tempdir_in(run.scratch.path()).unwrap();
    leave(&disk, left.path());
    let acked = acked_before(run, at);
    let mut sent = run.sent.clone();
    for Sent { document, acked_at, .. } in sent.iter_mut().flatten() {
        *acked_at = acked.contains(document.seq.as_str()).then_some(0);
    }
    (left, sent)
}

/// Starts the store as a role does, writes to it, and reads what it holds.
async fn look(data: &Path, sent: &[Vec<Sent>]) -> (Verdict, Vec<String>) {
    let store = Store::open(StoreUrl::sqlite(data)).unwrap().provider(&ProviderId::parse("sunrise").unwrap());
    let store = match store {
        Ok(store) => store,
        Err(error) => return (Verdict::default(), vec![format!("it does not open: {error}")]),
    };
    let mut problems: Vec<String> = store.ping().await.err().map(|error| error.to_string()).into_iter().collect();
    store.close().await;
    let file = data.join("sunrise.db");
    problems.extend(sqlite::integrity(&file));
    problems.extend(sqlite::damaged_logs(&file).iter().map(|log| format!("{} {DAMAGED}", log.display())));
    (oracle::judge(sent, &[], &sqlite::read(&file)), problems)
}
