//! A bit flips on the disk: no reading changes without a word, `store check` says
//! where, and no other provider notices.

use std::path::Path;

use heliograph_domain::{GatewayId, ProviderId, TimeWindow};
use heliograph_store::{ReadingRow, Store, StoreError, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::binary::{free_address, run, terminate};
use crate::crash;
use crate::load::Plan;

const LANES: usize = 2;
const FLIPS: usize = 200;

#[tokio::test]
async fn a_flipped_bit_changes_no_reading_without_a_word() {
    let seed = rand::random();
    println!("seed of the flips {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    for provider in ["sunrise", "meridian"] {
        fill(folder.path(), provider).await;
    }
    let file = folder.path().join("sunrise.db");
    let sound = std::fs::read(&file).unwrap();
    let (before, others) = (read(folder.path(), "sunrise").await.unwrap(), read(folder.path(), "meridian").await.unwrap());
    assert!(before.len() > 1000 && check(folder.path(), "sunrise").await.is_empty());

    let (mut refused, mut named) = (0, 0);
    for _ in 0..FLIPS {
        let (byte, bit) = (random.random_range(0..sound.len()), random.random_range(0..8));
        let mut bytes = sound.clone();
        bytes[byte] ^= 1 << bit;
        for left in ["sunrise.db-wal", "sunrise.db-shm"] {
            drop(std::fs::remove_file(folder.path().join(left)));
        }
        std::fs::write(&file, &bytes).unwrap();
        let damage = check(folder.path(), "sunrise").await;
        named += usize::from(!damage.is_empty());
        match read(folder.path(), "sunrise").await {
            Ok(readings) if readings == before => {}
            Ok(_) => assert!(!damage.is_empty(), "byte {byte}, bit {bit}: other readings, and nothing is said"),
            Err(_) => {
                refused += 1;
                assert!(!damage.is_empty(), "byte {byte}, bit {bit}: unreadable, and nothing is said");
            }
        }
    }
    println!("of {FLIPS} flips in {} bytes {named} were named, {refused} made readings unreadable", sound.len());
    assert!(refused > FLIPS / 10, "hardly any flip met a reading, so this shows little");
    assert_eq!(read(folder.path(), "meridian").await.unwrap(), others);
}

#[tokio::test]
async fn store_check_names_file_gateway_and_time() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "sunrise").await;
    let arguments = ["store", "check", "--provider", "sunrise", "--store", "sqlite:."];
    let output = run(&arguments, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let file = folder.path().join("sunrise.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    let middle = "FROM frame ORDER BY gateway, time LIMIT 1 OFFSET 40";
    let time: i64 = connection.query_row(&format!("SELECT time {middle}"), [], |row| row.get(0)).unwrap();
    let data: Vec<u8> = connection.query_row(&format!("SELECT data {middle}"), [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&file).unwrap();
    // Pages that were split may hold older copies.
    let copies: Vec<usize> = (0..bytes.len() - data.len()).filter(|at| bytes[*at..].starts_with(&data)).collect();
    assert!(!copies.is_empty());
    copies.iter().for_each(|at| bytes[at + data.len() - 3] ^= 1);
    std::fs::write(&file, bytes).unwrap();

    let output = run(&arguments, folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    let time = jiff::Timestamp::from_millisecond(time).unwrap().to_string();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("sunrise.db: frame of gateway gw-0 at") && said.contains(&time), "{said}");
}

/// Makes a provider whose gateways have pushed, and whose rollups are settled.
async fn fill(folder: &Path, provider: &str) {
    crash::commission(folder, provider, LANES).await;
    let address = free_address();
    let mut ingest = crash::start(folder, provider, address);
    Plan { documents: Some(100), in_flight: 8, backfill: 300, ..Plan::new(provider, folder, LANES) }.run(address);
    terminate(&mut ingest);
    let store = open(folder, provider).unwrap();
    while store.rollup_settle().await.unwrap() > 0 {}
    store.close().await;
}

fn open(folder: &Path, provider: &str) -> Result<heliograph_store::ProviderStore, StoreError> {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse(provider).unwrap())
}

async fn read(folder: &Path, provider: &str) -> Result<Vec<ReadingRow>, StoreError> {
    let store = open(folder, provider)?;
    let mut rows = Vec::new();
    for lane in 0..LANES {
        let gateway = GatewayId::parse(&format!("gw-{lane}")).unwrap();
        rows.extend(store.reading_page(&gateway, TimeWindow::ALWAYS, usize::MAX).await?.rows);
    }
    store.close().await;
    Ok(rows)
}

/// What is said of a file; one that cannot be opened says so itself.
async fn check(folder: &Path, provider: &str) -> Vec<String> {
    let store = match open(folder, provider) {
        Ok(store) => store,
        Err(error) => return vec![error.to_string()],
    };
    let damage = store.damage_list().await;
    store.close().await;
    damage.map_or_else(|error| vec![error.to_string()], |damage| damage.iter().map(ToString::to_string).collect())
}
