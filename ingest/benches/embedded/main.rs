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
mod months;
mod parts;
mod served;

use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::ProviderId;
use heliograph_store::{ProviderStore, Store, StoreUrl};

use bare::{CHOSEN, Layout, Readers};
use corpus::SERIES;
use months::{GATEWAYS, MONTHS, READINGS, fill, page_time, settle, windows_time, write_all};

/// What the binary has, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Documents under way at once, and in a transaction of the bare driver.
const AT_ONCE: usize = 512;
/// Live documents of each of them in one measurement.
const LIVE: usize = 200;
/// The same, where a file has to be larger than small caches.
const LONG: usize = 2000;
/// Rounds of scans and reports.
const ROUNDS: usize = 7;

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
    if wanted("parts") {
        parts::measure(folder.path()).await;
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
    for (page, checkpoint) in [(4096, 1000), (8192, 1000), (16384, 1000), (4096, 4000), (4096, 0)] {
        let layout = Layout { page, checkpoint, ..CHOSEN };
        let frames = bare::frames_alone(&path(&format!("{page}-{checkpoint}")), layout, GATEWAYS, LIVE);
        let by = if checkpoint == 0 { "aside".to_owned() } else { format!("at {checkpoint}") };
        line(&format!("layout: a row an instant, pages of {page}, checkpoint {by}"), frames, frames / rows);
    }
    // A cache matters once the rows that are next to each other are many pages apart.
    let mut chosen = None;
    for cache in [CHOSEN.cache, 2, 64] {
        let frames = bare::frames_alone(&path(&format!("cache-{cache}")), Layout { cache, ..CHOSEN }, GATEWAYS, LONG);
        let beside = *chosen.get_or_insert(frames);
        line(&format!("layout: a cache of {cache} MiB, {LONG} instants"), frames, frames / beside);
    }
    for readers in [Readers::Own(0), Readers::Own(1), Readers::Own(4), Readers::Shared(1), Readers::Shared(4)] {
        let (written, answered) = bare::frames_beside_readers(&path(&format!("{readers:?}")), readers, GATEWAYS, LONG);
        line(&format!("layout: readers {readers:?}, {answered:.0} questions/s"), written, written / rows);
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
        bare_rates.push(parts::driver_rate(folder, &format!("driver{round}"), AT_ONCE).await);
    }
    let (store, bare) = (mean(&store_rates), mean(&bare_rates));
    line("bare driver: the store's rows, 512 documents a transaction", bare, 1.0);
    line("the store, beside the bare driver", store, store / bare);
}

async fn months(folder: &Path) {
    let path = folder.join("months.db");
    let store = open(folder, "months");
    fill(&store, AT_ONCE, 0..1).await;
    let (early, early_page) = (windows_time(&store).await, page_time(&store).await);
    fill(&store, AT_ONCE, 1..MONTHS).await;
    let before_rollups = bytes_on_disk(&path);
    settle(&store).await;
    let (readings, bytes) = (READINGS, bytes_on_disk(&path));
    // One after the other, again and again: the machine's pace changes.
    let (mut lates, mut pages, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        scans.push(bare::scan(&path));
        lates.push(windows_time(&store).await);
        pages.push(page_time(&store).await);
    }
    let (late, page, scan) = (median(&lates), median(&pages), median(&scans));
    let times = |of: &[Duration]| median_ratio(&scans, of);
    println!("month report of a gateway at {:.1} million readings: {early:?}", readings as f64 / MONTHS as f64 / 1e6);
    println!("the same at {:.1} million: {late:?}, {:.2} x", readings as f64 / 1e6, late.as_secs_f64() / early.as_secs_f64());
    println!(
        "its report with the month before: {early_page:?}, then {page:?}, {:.2} x",
        page.as_secs_f64() / early_page.as_secs_f64()
    );
    println!("full scan of the readings: {scan:?}, {:.0} x the report, the median of {ROUNDS} rounds", times(&lates));
    println!("the same: {:.0} x the report with the month before", times(&pages));
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
    write_all(store, AT_ONCE, documents).await;
    (GATEWAYS * LIVE * SERIES) as f64 / began.elapsed().as_secs_f64()
}

/// Bytes of the file once the log is empty.
fn bytes_on_disk(path: &Path) -> u64 {
    bare::empty_log(path);
    std::fs::metadata(path).unwrap().len()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// How often one goes into the other, round by round.
fn median_ratio(long: &[Duration], short: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = long.iter().zip(short).map(|(long, short)| long.as_secs_f64() / short.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

fn line(what: &str, rate: f64, ratio: f64) {
    println!("{what:<58}{rate:>14.0}{ratio:>9.2}");
}
