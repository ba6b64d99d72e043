//! What the embedded store takes and gives, as ratios in one run: acked documents
//! beside a plain loop of upserts, the store beside the bare driver, a store of
//! ten million readings beside an empty one. `docs/performance.md` keeps results.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and cannot go on without its store"
)]

mod bare;
mod corpus;
mod served;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliograph_domain::{ProviderId, TimeWindow, Timestamp};
use heliograph_store::{DocumentWrite, ProviderStore, Store, StoreUrl};

use corpus::{DAY_MS, MINUTE_MS, SERIES, START};

/// Gateways that push live: 2,000 series in all.
const GATEWAYS: usize = 100;
/// Live documents of each of them in one measurement.
const LIVE: usize = 200;
/// Documents under way at once, and in a transaction of the bare driver.
const AT_ONCE: usize = 512;
/// Gateways with a month at one reading a minute: 10.4 million readings.
const MONTHS: usize = 12;
const DAYS: i64 = 30;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!("{GATEWAYS} gateways of {SERIES} series, {SERIES} readings a live document, acks survive power loss");
    println!("{:<58}{:>14}{:>9}", "", "readings/s", "ratio");
    // Parts that are named after `--`, else all.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if wanted("layouts") {
        layouts(folder.path());
    }
    if wanted("served") {
        end_to_end(folder.path()).await;
    }
    if wanted("store") {
        store_beside_driver(folder.path()).await;
    }
    if wanted("months") {
        months(folder.path()).await;
    }
}

/// What decided how readings lie in the file: the bare driver, the same readings.
fn layouts(folder: &Path) {
    let path = |name: &str| folder.join(format!("layout-{name}.db"));
    let rows = bare::rows(&path("rows"), GATEWAYS, LIVE);
    line("layout: a row a reading, 2,000 a transaction", rows, 1.0);
    for (page, checkpoint) in [(4096, 1000), (8192, 1000), (16384, 1000), (4096, 4000)] {
        let name = format!("{page}-{checkpoint}");
        let frames = bare::frames_alone(&path(&name), page, checkpoint, GATEWAYS, LIVE);
        line(&format!("layout: a row an instant, pages of {page}, checkpoint at {checkpoint}"), frames, frames / rows);
    }
}

async fn end_to_end(folder: &Path) {
    let (mut served, mut plain) = (Vec::new(), Vec::new());
    for round in 0..2 {
        plain.push(bare::rows(&folder.join(format!("plain-{round}.db")), GATEWAYS, LIVE));
        served.push(served_rate(&open(folder, &format!("served{round}")), 0).await);
    }
    let (served, plain) = (mean(&served), mean(&plain));
    line("plain loop: an upsert a reading, 2,000 a transaction", plain, 1.0);
    line("acked end to end, beside the plain loop", served, served / plain);
}

async fn store_beside_driver(folder: &Path) {
    let (mut store_rates, mut bare_rates) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let name = format!("raw{round}");
        let store = open(folder, &name);
        store_rates.push(raw_rate(&store, 0).await);
        store.close().await;
        // The same schema: a file that the store has made, with gateways and series.
        let name = format!("driver{round}");
        let store = open(folder, &name);
        write_all(&store, (0..GATEWAYS).map(|gateway| corpus::live(gateway, 0))).await;
        store.close().await;
        bare_rates.push(bare::documents(&folder.join(format!("{name}.db")), GATEWAYS, LIVE, AT_ONCE));
    }
    let (store, bare) = (mean(&store_rates), mean(&bare_rates));
    line("bare driver: the store's rows, 512 documents a transaction", bare, 1.0);
    line("the store, beside the bare driver", store, store / bare);
}

async fn months(folder: &Path) {
    let path = folder.join("months.db");
    let store = open(folder, "months");
    fill(&store, 0..1).await;
    let early = report_time(&store).await;
    fill(&store, 1..MONTHS).await;
    let before_rollups = readings_on_disk(&path).1;
    settle(&store).await;
    let late = report_time(&store).await;
    let (readings, bytes) = readings_on_disk(&path);
    let scan = bare::scan(&path);
    println!("month report of a gateway at {:.1} million readings: {early:?}", readings as f64 / MONTHS as f64 / 1e6);
    println!("the same at {:.1} million: {late:?}, {:.2} x", readings as f64 / 1e6, late.as_secs_f64() / early.as_secs_f64());
    println!("full scan of the readings: {scan:?}, {:.0} x the report", scan.as_secs_f64() / late.as_secs_f64());
    println!(
        "bytes a stored reading: {:.1}, with its rollups {:.1}, beside 24",
        before_rollups as f64 / readings as f64,
        bytes as f64 / readings as f64
    );
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for round in 0..2 {
        empty.push(served_rate(&open(folder, &format!("empty{round}")), 0).await);
        full.push(served_rate(&store, round * LIVE).await);
    }
    let (full, empty) = (mean(&full), mean(&empty));
    line("acked end to end into an empty store", empty, 1.0);
    line("acked end to end beside 10.4 million readings", full, full / empty);
}

fn open(folder: &Path, name: &str) -> ProviderStore {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse(name).unwrap()).unwrap()
}

/// Live documents over TCP, all gateways at once.
async fn served_rate(store: &ProviderStore, from: usize) -> f64 {
    served::commission(store, GATEWAYS).await;
    let taken = served::push(store, GATEWAYS, from..from + LIVE).await;
    (GATEWAYS * LIVE * SERIES) as f64 / taken.as_secs_f64()
}

/// Live documents by calls.
async fn raw_rate(store: &ProviderStore, from: usize) -> f64 {
    let documents: Vec<_> =
        (from..from + LIVE).flat_map(|instant| (0..GATEWAYS).map(move |gateway| corpus::live(gateway, instant))).collect();
    let began = Instant::now();
    write_all(store, documents).await;
    (GATEWAYS * LIVE * SERIES) as f64 / began.elapsed().as_secs_f64()
}

/// Writes documents by as many tasks as are under way at once, each of which waits
/// for its own, as connections do.
async fn write_all(store: &ProviderStore, documents: impl IntoIterator<Item = DocumentWrite>) {
    let documents: Vec<_> = documents.into_iter().collect();
    let waiting = Arc::new(Mutex::new(documents.into_iter()));
    let lanes: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (store, waiting) = (store.clone(), Arc::clone(&waiting));
            tokio::spawn(async move {
                let next = || waiting.lock().unwrap().next();
                while let Some(document) = next() {
                    store.document_write(document).await.unwrap();
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
}

/// A month of some gateways, an hour a document.
async fn fill(store: &ProviderStore, gateways: std::ops::Range<usize>) {
    for gateway in gateways {
        let hours = (0..DAYS * 24).map(|hour| corpus::hour(GATEWAYS + gateway, hour));
        write_all(store, hours).await;
    }
}

async fn settle(store: &ProviderStore) {
    while store.rollup_settle().await.unwrap() > 0 {}
}

/// The median time of what the first month's report reads, once all is settled.
async fn report_time(store: &ProviderStore) -> Duration {
    settle(store).await;
    let window = TimeWindow { from: Timestamp::clamped(START), until: Some(Timestamp::clamped(START + DAYS * DAY_MS)) };
    let gateway = corpus::gateway(GATEWAYS);
    let mut times = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        let series = store.rollup_list(&gateway, window, TimeWindow::ALWAYS).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(series.len(), SERIES);
    }
    times.sort();
    times[times.len() / 2]
}

/// Readings of the months, and bytes of the file once the log is empty.
fn readings_on_disk(path: &Path) -> (i64, u64) {
    bare::empty_log(path);
    (MONTHS as i64 * DAYS * DAY_MS / MINUTE_MS * SERIES as i64, std::fs::metadata(path).unwrap().len())
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

fn line(what: &str, rate: f64, ratio: f64) {
    println!("{what:<58}{rate:>14.0}{ratio:>9.2}");
}
