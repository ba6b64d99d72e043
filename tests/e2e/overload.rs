//! Gateways that push ten times what they may, beside others that keep to it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, ProviderId, TimeWindow};
use heliograph_store::{Store, StoreUrl};
use serde_json::Value;

use crate::binary::{HELIOGRAPH, Process, free_address};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

/// Gateways that keep to their rate: `gw-0` and so on.
const CALM: usize = 20;
/// Gateways that do not: `gw-20` and so on.
const GREEDY: usize = 5;
/// Readings a second that a gateway may push.
const RATE: usize = 400;
/// For how long that may come at once, seconds.
const BURST: usize = 2;
const ROUNDS: usize = 7;

/// Pushes of some gateways: so many documents a second of so many readings.
pub(crate) fn simulate(
    to: SocketAddr,
    prefix: &str,
    gateways: usize,
    documents: usize,
    readings: usize,
    seconds: usize,
) -> Command {
    let mut command = Command::new(HELIOGRAPH);
    command.args(["simulate", "--json", "--to", &to.to_string(), "--prefix", prefix, "--gateways", &gateways.to_string()]);
    command.args(["--rate", &documents.to_string(), "--readings", &readings.to_string(), "--for", &format!("{seconds}s")]);
    command.env("HELIOGRAPH_SIMULATE_KEY", KEY).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The 99th percentile of what those who keep to their rate wait for an ack, ms; all
/// of them get one.
fn calm(to: SocketAddr) -> f64 {
    let output = simulate(to, "gw-", CALM, 200, 20, 10).output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{result}");
    assert_eq!((&result["sent"], &result["refused"]), (&result["acked"], &Value::from(0)), "{result}");
    result["latency_ms"]["p99"].as_f64().unwrap()
}

async fn stored(folder: &Path, gateways: std::ops::Range<usize>) -> usize {
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let mut readings = 0;
    for number in gateways {
        let gateway = GatewayId::parse(&format!("gw-{number}")).unwrap();
        readings += store.reading_page(&gateway, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows.len();
    }
    store.close().await;
    readings
}

/// What others wait for their acks, alone and beside gateways that push for a minute, in
/// turn; answers for how long these offered, too.
async fn take_turns(calm_at: SocketAddr, greedy: impl Fn() -> Command) -> (Vec<f64>, Vec<f64>, Duration) {
    let (mut alone, mut beside, mut offered) = (Vec::new(), Vec::new(), Duration::ZERO);
    for round in 0..ROUNDS {
        alone.push(calm(calm_at));
        let began = Instant::now();
        let greedy = Process(greedy().spawn().unwrap());
        // What may come at once is over by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        beside.push(calm(calm_at));
        offered += began.elapsed();
        drop(greedy);
        println!("round {round}: p99 of the others {:.1} ms alone, {:.1} ms beside", alone[round], beside[round]);
    }
    (alone, beside, offered)
}

/// Holds what others wait to half as much again as alone, in the median.
fn check_cost(mut alone: Vec<f64>, mut beside: Vec<f64>) {
    alone.sort_by(f64::total_cmp);
    beside.sort_by(f64::total_cmp);
    let ratio = beside[ROUNDS / 2] / alone[ROUNDS / 2];
    println!("p99 of the others is {ratio:.2} of what it is alone");
    assert!(ratio <= 1.5, "p99 of the others is {ratio:.2} of what it is alone: {beside:?} beside {alone:?} ms");
}

#[tokio::test]
#[ignore = "measures, which takes an idle machine: make soak"]
async fn gateways_at_ten_times_their_rate_cost_the_others_little() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", CALM + GREEDY).await;
    let (rate, burst) = (RATE.to_string(), BURST.to_string());
    let settings = [
        ("HELIOGRAPH__INGEST__GATEWAY_READINGS_PER_SECOND", rate.as_str()),
        ("HELIOGRAPH__INGEST__BURST_SECONDS", burst.as_str()),
    ];
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &settings, folder.path());
    let greedy = || simulate(ingest.address, "gw-2", GREEDY, GREEDY * RATE * 10 / 200, 200, 60);
    let (alone, beside, offered) = take_turns(ingest.address, greedy).await;
    ingest.terminate();
    let taken = stored(folder.path(), CALM..CALM + GREEDY).await as f64 / GREEDY as f64;
    let may = RATE as f64 * (offered.as_secs_f64() + (ROUNDS * BURST) as f64);
    println!(
        "readings taken of a gateway that offers {:.0}: {taken:.0}; it may push {may:.0}",
        RATE as f64 * 10.0 * offered.as_secs_f64()
    );
    assert!(taken > may / 4.0 && taken < may * 1.5, "{taken} of {may}");
    check_cost(alone, beside);
}

#[tokio::test]
#[ignore = "measures, which takes an idle machine: make soak"]
async fn a_provider_at_ten_times_its_rate_costs_another_little() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", CALM).await;
    commission(folder.path(), "meridian", GREEDY).await;
    let (rate, burst) = ((GREEDY * RATE).to_string(), BURST.to_string());
    let settings =
        [("HELIOGRAPH__INGEST__READINGS_PER_SECOND", rate.as_str()), ("HELIOGRAPH__INGEST__BURST_SECONDS", burst.as_str())];
    let store = ["--store", "sqlite:."];
    let quiet = Ingest::start("sunrise", free_address(), &store, &settings, folder.path());
    let noisy = Ingest::start("meridian", free_address(), &store, &settings, folder.path());
    let greedy = || simulate(noisy.address, "gw-", GREEDY, GREEDY * RATE * 10 / 200, 200, 60);
    let (alone, beside, _) = take_turns(quiet.address, greedy).await;
    noisy.terminate();
    quiet.terminate();
    check_cost(alone, beside);
}
