//! Power loss while documents are acked from the spool and while it drains: what
//! is left of its files is drained by the next start, and holds what was acked.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;

use super::recording::Event;
use super::{Run, Start, cuts, look, lose_power, record_while};
use crate::binary::free_address;
use crate::ingest::{Ingest, segments};
use crate::load::Plan;
use crate::oracle::Verdict;
use crate::soak;

const PATIENCE: Duration = Duration::from_secs(60);
/// Segments are an eighth of it: several in an outage.
const SETTINGS: [(&str, &str); 2] =
    [("HELIOGRAPH__INGEST__STORE_DEADLINE_MS", "1000"), ("HELIOGRAPH__INGEST__SPOOL_BYTES", "1000000")];
/// What segments are called.
const SEGMENT: &str = ".spool1";

#[tokio::test]
async fn power_may_be_lost_while_documents_are_in_the_spool() {
    check(1, 10).await;
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn power_may_be_lost_at_many_moments_while_documents_are_in_the_spool() {
    check(4, soak::rounds(200).div_ceil(8) as usize).await;
}

/// As many times, an ingest whose syncs succeed and one of whose syncs fail.
async fn check(recordings: usize, rounds: usize) {
    let seed = rand::random();
    println!("seed of the cuts {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..2 * recordings {
        let failure = (number % 2 == 1).then(|| format!("fsync,fdatasync:error=EIO:when={}", random.random_range(6..30)));
        let run = record_while(Start::Commissioned, "", &SETTINGS, failure.as_deref(), push).await;
        assert!(run.recording.syncs(SEGMENT) > 2, "hardly anything was spooled");
        let failed = run.recording.failed_syncs(SEGMENT);
        let mut moments = cuts(&run.recording, rounds, &mut random);
        // Half of them soon after a sync that failed, if any has.
        for (moment, at) in moments.iter_mut().step_by(2).zip(failed.iter().cycle()) {
            *moment = (at + random.random_range(1..150)).min(run.recording.events.len());
        }
        for round in moments {
            let (verdict, problems) = cut(&run, round, &mut random).await;
            assert!(problems.is_empty() && verdict.is_clean(), "{failure:?}, cut at {round}: {problems:?}\n{verdict}");
        }
        let (events, syncs) = (run.recording.events.len(), run.recording.syncs(SEGMENT));
        println!("{rounds} cuts in {events} events, {} of {syncs} syncs of segments failed", failed.len());
    }
}

/// Without the syncs of segments the same cuts lose documents, so the ones above could.
#[tokio::test]
async fn acks_of_segments_that_are_not_synced_do_not_survive_power_loss() {
    let mut random = StdRng::seed_from_u64(7);
    let mut run = record_while(Start::Commissioned, "", &SETTINGS, None, push).await;
    let of_segment = |event: &Event| matches!(event, Event::SyncBegins { path, .. } if path.to_string_lossy().ends_with(SEGMENT));
    let syncs: Vec<usize> = (0..run.recording.events.len()).filter(|at| of_segment(&run.recording.events[*at])).collect();
    let last = syncs[syncs.len() / 2];
    run.recording.events.retain(|event| !of_segment(event));
    let mut lost = 0;
    for _ in 0..4 {
        let (verdict, _) = cut(&run, last, &mut random).await;
        lost += verdict.lost.len();
    }
    println!("{lost} documents lost in 4 cuts");
    assert!(lost > 0, "nothing was lost, so these cuts show nothing");
}

/// Twice the store is locked for a while, and the spool drains afterwards.
fn push(plan: &Plan, address: SocketAddr, data: &Path) {
    let load = plan.start(address);
    for _ in 0..2 {
        plan.await_acks(10, PATIENCE);
        let store = Connection::open(data.join("sunrise.db")).unwrap();
        store.busy_timeout(PATIENCE).unwrap();
        store.execute_batch("BEGIN EXCLUSIVE").unwrap();
        await_segments(data, |count| count > 0);
        plan.await_acks(60, PATIENCE);
        drop(store);
        // What is drained and what comes meanwhile.
        plan.await_acks(60, PATIENCE);
    }
    load.stop();
    await_segments(data, |count| count == 0);
}

fn await_segments(data: &Path, enough: impl Fn(usize) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = segments(&data.join("spool/sunrise"));
        if enough(found.len()) {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Loses power before an event, and starts an ingest on what is left, until it has
/// drained.
async fn cut(run: &Run, at: usize, random: &mut StdRng) -> (Verdict, Vec<String>) {
    let (left, sent) = lose_power(run, at, random);
    let data = left.path().join("data");
    let store = format!("sqlite:{}", data.display());
    let ingest = Ingest::start("sunrise", free_address(), &["--store", &store], &[], left.path());
    await_segments(&data, |count| count == 0);
    ingest.terminate();
    look(&data, &sent).await
}
