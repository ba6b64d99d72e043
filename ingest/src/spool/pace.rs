//! What the spool costs: figures to look at, printed as ratios of one run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use heliograph_domain::{ProviderId, Timestamp};
use heliograph_store::{ProviderStore, Store, StoreUrl};

use super::disk::Disk;
use super::record::Record;
use super::record::tests::document;
use super::{Spool, SpoolPlace};

const DOCUMENTS: i64 = 4_000;
/// Documents under way at once, as from so many connections.
const AT_ONCE: usize = 64;
const ROUNDS: i64 = 5;

/// Documents a second.
async fn rate(first: i64, write: impl AsyncFn(Record)) -> f64 {
    let documents: Vec<Record> =
        (first..first + DOCUMENTS).map(|number| document(&format!("gw-{}", number % 50), number)).collect();
    let began = Instant::now();
    stream::iter(documents).for_each_concurrent(AT_ONCE, |record| write(record)).await;
    DOCUMENTS as f64 / began.elapsed().as_secs_f64()
}

fn store(folder: &std::path::Path) -> ProviderStore {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

async fn spool(store: &ProviderStore, folder: &std::path::Path) -> Spool {
    let place =
        SpoolPlace { root: folder.join("spool"), bytes: 1 << 30, deadline: Duration::from_secs(20), disk: Disk::default() };
    let (spool, task) = Spool::open(store.clone(), place, Arc::new(|| Timestamp::clamped(0))).await;
    let (finish, told) = tokio::sync::oneshot::channel();
    // Never told to finish: it ends with the runtime.
    std::mem::forget(finish);
    tokio::spawn(task.run(told));
    spool
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, which takes an idle machine: make bench"]
async fn the_way_past_the_spool_costs_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("data"));
    let spool = spool(&store, folder.path()).await;
    let (mut bare, mut past) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // The same documents of each kind, in turns, so that neither has the emptier file.
        bare.push(rate(2 * round * DOCUMENTS, async |record| record.write(&store).await.unwrap()).await);
        past.push(rate((2 * round + 1) * DOCUMENTS, async |record| spool.write(record).await.unwrap()).await);
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let ratio = best(&past) / best(&bare);
    println!("bare store {:.0}/s, past the spool {:.0}/s: {ratio:.3}", best(&bare), best(&past));
    assert!(ratio >= 0.9, "{ratio}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, which takes an idle machine: make bench"]
async fn the_way_through_the_spool_is_no_slower_than_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let there = store(&folder.path().join("data"));
    let bare = rate(0, async |record| record.write(&there).await.unwrap()).await;
    let away = folder.path().join("away");
    std::fs::write(&away, "in the way").unwrap();
    let store = ProviderStore::open_later(&StoreUrl::sqlite(&away), &ProviderId::parse("sunrise").unwrap()).unwrap();
    let spool = spool(&store, folder.path()).await;
    let kept = rate(0, async |record| spool.write(record).await.unwrap()).await;
    std::fs::remove_file(&away).unwrap();
    let began = Instant::now();
    while spool.gate.is_in_use() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drained = DOCUMENTS as f64 / began.elapsed().as_secs_f64();
    println!(
        "store {bare:.0}/s, into the spool {kept:.0}/s: {:.2}, out of it {drained:.0}/s: {:.2}",
        kept / bare,
        drained / bare
    );
    assert!(kept >= bare / 2.0 && drained >= bare / 4.0);
}
