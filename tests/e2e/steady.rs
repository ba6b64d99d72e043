//! Load that is well within reach, for long: ingest takes all of it and no more memory
//! at the end than at the beginning.

use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::{Process, free_address};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::overload::simulate;
use crate::soak;
use crate::storm::memory;

const READINGS: usize = 20;
/// Of the highest rate that is held.
const PART: f64 = 0.8;
/// Parts of the time; the first is what it takes to warm up.
const PARTS: usize = 10;
/// Documents a second that any machine takes.
const LEAST: usize = 200;
/// A rate is held where nobody waits for longer, ms.
const PROMPT: f64 = 1000.0;

/// Pushes of some gateways at a rate; answers the result where every document was acked.
fn pushed(to: SocketAddr, gateways: usize, documents: usize, seconds: usize) -> Option<Value> {
    let output = simulate(to, "gw-", gateways, documents, READINGS, seconds).output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

fn p99(result: &Value) -> f64 {
    result["latency_ms"]["p99"].as_f64().unwrap()
}

/// The highest of rising rates that is held for some seconds, documents a second.
fn highest_rate(to: SocketAddr, gateways: usize) -> usize {
    let rates = std::iter::successors(Some(LEAST), |rate| Some(rate * 5 / 4));
    let held = rates.take_while(|rate| pushed(to, gateways, *rate, 5).is_some_and(|result| p99(&result) < PROMPT));
    held.last().unwrap_or_else(|| panic!("{LEAST} documents a second are too many"))
}

/// The median resident memory of a process over a time, KiB, and the most.
fn resident(process: &Child, over: Duration) -> (u64, u64) {
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < over {
        samples.push(memory(process, "VmRSS"));
        std::thread::sleep(Duration::from_millis(200));
    }
    samples.sort_unstable();
    (samples[samples.len() / 2], samples[samples.len() - 1])
}

async fn memory_stays_flat(gateways: usize) {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", gateways).await;
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder.path());
    let highest = highest_rate(ingest.address, gateways);
    let rate = (highest as f64 * PART) as usize;
    let time = soak::seconds(600);
    let load = simulate(ingest.address, "gw-", gateways, rate, READINGS, time.as_secs() as usize).spawn().unwrap();
    let mut load = Process(load);
    let parts: Vec<(u64, u64)> = (0..PARTS).map(|_| resident(&ingest.process.0, time / PARTS as u32)).collect();
    let result: Value = serde_json::from_reader(load.0.stdout.take().unwrap()).unwrap();
    println!("{highest} documents/s of {gateways} gateways are held; {time:?} at {rate}: p99 {:.0} ms", p99(&result));
    println!("KiB resident, median and most of each tenth: {parts:?}");
    assert!(load.0.wait().unwrap().success() && result["sent"] == result["acked"], "{result}");
    ingest.terminate();
    let ((first, _), rest) = (parts[1], &parts[1..]);
    let most = rest.iter().map(|(_, most)| *most).max().unwrap();
    let least = rest.iter().map(|(median, _)| *median).min().unwrap();
    assert!(most as f64 <= first as f64 * 1.1 && least as f64 >= first as f64 * 0.9, "{parts:?}");
}

#[tokio::test]
#[ignore = "takes ten minutes and an idle machine: make soak"]
async fn memory_is_flat_at_80_percent_of_the_highest_load() {
    memory_stays_flat(1_000).await;
}

/// Windows of the same series hold ten times as many readings.
#[tokio::test]
#[ignore = "takes ten minutes and an idle machine: make soak"]
async fn memory_is_flat_at_80_percent_of_the_highest_load_of_few() {
    memory_stays_flat(100).await;
}
