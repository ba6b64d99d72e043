//! What many write at once through the store's own handles, held by the oracle of the
//! end-to-end tests against what is there by a way that shares no code with the store.

use std::path::PathBuf;
use std::time::Duration;

use heliograph_domain::{MetricName, SensorId, Timestamp, Unit};
use heliograph_store::{DocumentWrite, ProviderStore, SensorSeen, SeriesSeen, Value, WriteStamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::backend::{Fresh, STAMPS, gateway, minute, on_every_backend};
use crate::cluster::NODE;
use crate::journal::{Document, Reading, Sent};

#[path = "../../../tests/oracle/cassandra.rs"]
#[allow(dead_code, reason = "what is rolled up on a cluster is judged end to end")]
mod cassandra;
#[path = "../../../tests/oracle/judge.rs"]
mod judge;
#[path = "../../../tests/oracle/rollups.rs"]
#[allow(dead_code, reason = "what is rolled up on a cluster is judged end to end")]
mod rollups;
#[path = "../../../tests/oracle/sqlite.rs"]
#[allow(dead_code, reason = "end-to-end tests look at more of a file")]
mod sqlite;

use judge::{Stored, judge};

const GATEWAYS: u64 = 8;
const DOCUMENTS: u64 = 40;
/// The minute before which nothing was measured: soon after it June begins.
const BEGIN: i64 = -14 * 1440 - 80;

/// Everything that a provider has.
async fn read(store: &ProviderStore, file: Option<PathBuf>) -> Vec<Stored> {
    match file {
        Some(file) => sqlite::read(&file),
        None => cassandra::read(&[NODE], store.provider().as_str()).await,
    }
}

/// A document of up to 40 instants, late or not, of which some were sent before.
fn some(random: &mut StdRng, provider: &str, lane: u64, number: u64) -> Document {
    let some = (random.random_range(0..120), random.random_range(1..40));
    // The first one leaves no gap that a counter could not be followed over.
    let (begin, instants) = if number == 0 { (0, 160) } else { some };
    let series = [("meter", "energy", "Wh"), ("meter", "voltage", "V"), ("dach/ost \u{2014} 1'", "temperature", "°C")];
    let name = (provider.len() as u64 * GATEWAYS + lane) * DOCUMENTS + number;
    let reading = |at: i64, (place, (sensor, metric, unit)): (usize, &(&str, &str, &str))| Reading {
        sensor: (*sensor).to_owned(),
        metric: (*metric).to_owned(),
        unit: (*unit).to_owned(),
        time: minute(BEGIN + begin + at).as_millis(),
        // Rises, and names its document and the series.
        value: ((begin + at) * 100_000) as f64 + name as f64 / 64.0 + place as f64 * 1e9,
    };
    let readings = (0..instants).flat_map(|at| series.iter().enumerate().map(move |series| (at, series)));
    Document {
        provider: provider.to_owned(),
        gateway: format!("gw-{lane}"),
        seq: format!("{provider}:{lane}:{number}"),
        hash: String::new(),
        readings: readings.map(|(at, series)| reading(at, series)).collect(),
    }
}

fn write_of(document: &Document, stamp: WriteStamp) -> DocumentWrite {
    let mut sensors: Vec<SensorSeen> = Vec::new();
    let mut series: Vec<SeriesSeen> = Vec::new();
    let mut values = Vec::new();
    for reading in &document.readings {
        let (id, metric, unit) = (
            SensorId::parse(&reading.sensor).unwrap(),
            MetricName::parse(&reading.metric).unwrap(),
            Unit::parse(&reading.unit).unwrap(),
        );
        let sensor = sensors.iter().position(|sensor| sensor.id == id).unwrap_or_else(|| {
            sensors.push(SensorSeen { id, role: None });
            sensors.len() - 1
        });
        let known = series.iter().position(|known| (known.sensor, &known.metric, &known.unit) == (sensor, &metric, &unit));
        let place = known.unwrap_or_else(|| {
            series.push(SeriesSeen { sensor, metric, unit, kind: None, quantity: None });
            series.len() - 1
        });
        values.push(Value { series: place, time: Timestamp::clamped(reading.time), value: reading.value });
    }
    DocumentWrite {
        gateway: gateway(&document.gateway),
        received: minute(1000),
        stamp,
        address: "127.0.0.1:4000".to_owned(),
        sensors,
        series,
        values,
        quarantine: None,
    }
}

/// Writes documents of one gateway one after the other: some come a second time, some
/// of whoever waits for them goes away.
async fn push(store: ProviderStore, seed: u64, lane: u64) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(seed ^ lane);
    let provider = store.provider().to_string();
    let mut sent = Vec::new();
    for number in 0..DOCUMENTS {
        let document = some(&mut random, &provider, lane, number);
        let write = write_of(&document, STAMPS.next(minute(1000)));
        let patience = if number > 0 && random.random_ratio(1, 5) {
            Duration::from_micros(random.random_range(0..3000))
        } else {
            Duration::MAX
        };
        let mut acked = tokio::time::timeout(patience, store.document_write(write.clone())).await.is_ok_and(|written| {
            written.unwrap();
            true
        });
        if random.random_ratio(1, 4) {
            store.document_write(write).await.unwrap();
            acked = true;
        }
        sent.push(Sent { document, acked_at: acked.then_some(1), refusals: Vec::new() });
    }
    sent
}

async fn push_all(store: &ProviderStore, seed: u64) -> Vec<Vec<Sent>> {
    let lanes: Vec<_> = (0..GATEWAYS).map(|lane| tokio::spawn(push(store.clone(), seed, lane))).collect();
    let mut sent = Vec::new();
    for lane in lanes {
        sent.push(lane.await.unwrap());
    }
    sent
}

#[tokio::test]
async fn what_many_write_at_once_is_clean_by_the_oracle() {
    let seed: u64 = rand::random::<u32>().into();
    println!("seed {seed}");
    on_every_backend(|fresh: Fresh| async move {
        let neighbour = fresh.neighbour();
        let (own, others) = tokio::join!(push_all(&fresh.store, seed), push_all(&neighbour, seed ^ 0xffff));
        // Whoever has gone away may have left a write that is under way.
        for store in [&fresh.store, &neighbour] {
            for lane in 0..GATEWAYS {
                store.sensor_list(&gateway(&format!("gw-{lane}"))).await.unwrap();
            }
        }
        for (store, sent, elsewhere) in [(&fresh.store, &own, &others), (&neighbour, &others, &own)] {
            let stored = read(store, fresh.file_of(store)).await;
            let acked = sent.iter().flatten().filter(|sent| sent.acked_at.is_some()).count();
            assert!(acked > 200 && stored.len() >= 3 * 160 * GATEWAYS as usize, "{acked} documents, {} readings", stored.len());
            let verdict = judge(sent, elsewhere, &stored);
            assert!(verdict.is_clean(), "{}: {verdict}", store.provider());
        }
        if let Some(file) = fresh.file_of(&fresh.store) {
            while fresh.rollup_settle().await.unwrap() > 0 {}
            assert_eq!(sqlite::integrity(&file), Vec::<String>::new());
            rollups::check_file(&file, "UTC");
        }
    })
    .await;
}
