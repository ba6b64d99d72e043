//! What the store takes on Cassandra beside the bare driver, as ratios in one run:
//! the same schema, level, documents under way and batch a document, on the node
//! that `deploy/dev/services.sh` starts; and bytes a stored reading.
//! `docs/performance.md` keeps results.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints its figures and cannot go on without its store"
)]

mod driver;

#[expect(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../embedded/corpus.rs"]
mod corpus;
#[path = "../embedded/months.rs"]
mod months;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use heliograph_domain::{ProviderId, Secret};
use heliograph_store::{ClusterAdmin, DocumentWrite, ProviderStore, Store, StoreUrl};
use uuid::Uuid;

use corpus::SERIES;
use months::{GATEWAYS, MONTHS, READINGS, fill, page_time, settle, windows_time};

/// What the binary has, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODE: &str = "127.0.0.1:9042";
/// Live documents of each of them in one measurement.
const LIVE: usize = 100;
const ROUNDS: usize = 7;
/// The same of two stores, of which one is to stay next to empty.
const ROUNDS_OF_BOTH: usize = 3;
/// Documents under way at once.
const AT_ONCE: usize = 128;
/// Documents of an hour, sixty times as long: as many rows under way as in 1,000 others.
const LONG_AT_ONCE: usize = 16;

#[tokio::main]
async fn main() {
    let url = StoreUrl::parse(&format!("cassandra://{NODE}/?dc=datacenter1&rf=1")).unwrap();
    let url = url.signed_in("cassandra", Secret::new("cassandra"));
    let admin = ClusterAdmin::connect(&url).await.expect("no Cassandra answers, start it with deploy/dev/services.sh start");
    let keyspaces: Vec<ProviderId> = (0..3).map(|_| provider()).collect();
    for provider in &keyspaces {
        admin.keyspace_make(provider).await.unwrap();
    }
    let stores: Vec<ProviderStore> =
        keyspaces.iter().map(|provider| Store::open(url.clone()).unwrap().provider(provider).unwrap()).collect();
    println!(
        "{GATEWAYS} gateways of {SERIES} series, a batch of {SERIES} readings a document, {AT_ONCE} under way, commitlog_sync group"
    );
    // Parts that are named after `--`, else all.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if wanted("store") {
        beside_driver(&stores[0], &keyspaces[0]).await;
    }
    if wanted("months") {
        months_of_gateways(&stores[1], &keyspaces[1]).await;
        beside_months(&stores[1], &stores[2]).await;
    }
    for (store, provider) in stores.iter().zip(&keyspaces) {
        store.close().await;
        driver::Driver::open(NODE, provider).await.drop_keyspace().await;
    }
}

fn provider() -> ProviderId {
    ProviderId::parse(&format!("bench_{}", &Uuid::new_v4().simple().to_string()[..12])).unwrap()
}

async fn beside_driver(store: &ProviderStore, provider: &ProviderId) {
    let driver = driver::Driver::open(NODE, provider).await;
    // Series are registered, statements prepared, code compiled.
    store_rate(store, 0).await;
    driver_rate(&driver, 1, false).await;
    let (mut stored, mut bare, mut full) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        stored.push(store_rate(store, 2 + 3 * round).await);
        bare.push(driver_rate(&driver, 3 + 3 * round, false).await);
        full.push(driver_rate(&driver, 4 + 3 * round, true).await);
    }
    let (stored, bare, full) = (median(stored), median(bare), median(full));
    println!("{:<66}{:>12}{:>8}", "", "readings/s", "ratio");
    println!("{:<66}{bare:>12.0}{:>8.2}", "bare driver, readings alone", 1.0);
    println!("{:<66}{full:>12.0}{:>8.2}", "bare driver, also what is latest, a batch a document", full / bare);
    println!("{:<66}{stored:>12.0}{:>8.2}", "the store, beside the bare driver", stored / bare);
}

/// Readings a second, with what is written behind the documents.
async fn store_rate(store: &ProviderStore, round: usize) -> f64 {
    let documents = documents(round);
    let began = Instant::now();
    let writes = documents.into_iter().map(|document| store.document_write(document));
    stream::iter(writes).buffer_unordered(AT_ONCE).for_each(|written| async { written.unwrap() }).await;
    // Whoever asks for a gateway's series waits for what is latest of them.
    let asked = (0..GATEWAYS).map(async |gateway| store.sensor_list(&corpus::gateway(gateway)).await.unwrap());
    stream::iter(asked).buffer_unordered(AT_ONCE).for_each(|sensors| async move { assert_eq!(sensors.len(), SERIES / 4) }).await;
    rate(began)
}

async fn driver_rate(driver: &driver::Driver, round: usize, latest: bool) -> f64 {
    let documents = documents(round);
    let began = Instant::now();
    let writes = documents.iter().map(|document| driver.write(document, latest));
    stream::iter(writes).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    rate(began)
}

fn documents(round: usize) -> Vec<DocumentWrite> {
    (round * LIVE..(round + 1) * LIVE)
        .flat_map(|instant| (0..GATEWAYS).map(move |gateway| corpus::live(gateway, instant)))
        .collect()
}

fn rate(began: Instant) -> f64 {
    (GATEWAYS * LIVE * SERIES) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Reports on one gateway beside others, a scan of all readings, and their bytes.
async fn months_of_gateways(store: &ProviderStore, provider: &ProviderId) {
    fill(store, LONG_AT_ONCE, 0..1).await;
    settle(store).await;
    let (early, early_page) = (windows_time(store).await, page_time(store).await);
    fill(store, LONG_AT_ONCE, 1..MONTHS).await;
    settle(store).await;
    let (late, late_page) = (windows_time(store).await, page_time(store).await);
    let keyspace = format!("provider_{provider}");
    nodetool(&["flush", &keyspace, "reading"]);
    nodetool(&["compact", &keyspace, "reading"]);
    let (scan, rows) = driver::Driver::open(NODE, provider).await.scan().await;
    assert_eq!(rows as i64, READINGS);
    let ratio = |long: Duration, short: Duration| long.as_secs_f64() / short.as_secs_f64();
    println!("a month of a gateway at {:.1} million readings: {early:?}", READINGS as f64 / MONTHS as f64 / 1e6);
    println!("the same at {:.1} million: {late:?}, {:.2} x", READINGS as f64 / 1e6, ratio(late, early));
    println!("its report with the month before: {early_page:?}, then {late_page:?}, {:.2} x", ratio(late_page, early_page));
    println!(
        "full scan of the readings: {scan:?}, {:.0} x the month, {:.0} x the report",
        ratio(scan, late),
        ratio(scan, late_page)
    );
    let stats = nodetool(&["tablestats", &format!("{keyspace}.reading")]);
    let used = stats.lines().find_map(|line| line.trim().strip_prefix("Space used (live): ")?.parse::<u64>().ok()).unwrap();
    println!("bytes a stored reading, compacted: {:.1}, beside 24", used as f64 / READINGS as f64);
}

/// What a store with months in it takes beside one that has next to nothing.
async fn beside_months(full: &ProviderStore, empty: &ProviderStore) {
    for store in [full, empty] {
        store_rate(store, 0).await;
    }
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS_OF_BOTH {
        alone.push(store_rate(empty, round).await);
        beside.push(store_rate(full, round).await);
    }
    let (beside, alone) = (median(beside), median(alone));
    println!("{:<66}{:>12}{:>8}", "", "readings/s", "ratio");
    println!("{:<66}{alone:>12.0}{:>8.2}", "the store, empty", 1.0);
    let what = format!("the same beside {:.1} million readings", READINGS as f64 / 1e6);
    println!("{what:<66}{beside:>12.0}{:>8.2}", beside / alone);
}

fn nodetool(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/cassandra.sh");
    let output = Command::new(script).args(["nodetool", "0"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
