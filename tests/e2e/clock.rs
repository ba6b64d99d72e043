//! A gateway whose clock is wrong, from the commands of whoever looks after it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{ClockSample, GatewayId, ProviderId, Timestamp};
use heliograph_store::{Store, StoreUrl};

use crate::binary::{connect, free_address, run};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
const STORE: [&str; 4] = ["--provider", "sunrise", "--store", "sqlite:."];

/// What `heliograph gateway clock` prints of a gateway.
fn clock(folder: &Path, options: &[&str]) -> String {
    let output = run(&[&["gateway", "clock"], &STORE[..], &["gw-0"], options].concat(), folder);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Pushes a reading of an instant, which is acked.
fn push(to: SocketAddr, time: Timestamp) {
    let mut gateway = connect(to, PATIENCE);
    let reading = format!("<reading metric=\"power\" unit=\"W\" time=\"{time}\">1</reading>");
    write!(gateway, "<push gateway=\"gw-0\" key=\"{KEY}\"><sensor id=\"s\">{reading}</sensor></push>").unwrap();
    gateway.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    gateway.read_to_string(&mut said).unwrap();
    assert_eq!(said, "<ack readings=\"1\"/>\n");
}

/// The times that are stored.
fn stored(folder: &Path) -> String {
    let output = run(&[&["readings", "--gateway", "gw-0"], &STORE[..]].concat(), folder);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_clock_an_hour_ahead_is_shown_corrected_and_left_alone_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    commission(folder, "sunrise", 1).await;
    assert!(clock(folder, &[]).starts_with("clock       not known yet: 0 of 5 times"));

    let now = Timestamp::from(jiff::Timestamp::now());
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let sample = |minute: i64| ClockSample { received: now.plus_millis(-minute * 60_000), lag_ms: -HOUR_MS };
    store.gateway_clock_seen(vec![(GatewayId::parse("gw-0").unwrap(), (1..=6).map(sample).collect())]).await.unwrap();
    store.close().await;
    let shown = clock(folder, &[]);
    assert!(shown.contains("1 h ahead") || shown.contains("ahead"), "{shown}");
    assert!(shown.contains("correction  none\n"), "{shown}");
    assert!(shown.contains("to correct  heliograph gateway clock --provider sunrise gw-0 --correct -1h\n"), "{shown}");

    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder);
    let wrong = |minute: i64| now.plus_millis(HOUR_MS - minute * 60_000);
    push(ingest.address, wrong(0));
    assert!(stored(folder).contains(&wrong(0).to_string()), "it is stored as it came: {}", stored(folder));
    let shown = clock(folder, &["--correct", "-1h"]);
    assert!(shown.contains("correction  -1h to what arrives since ") && !shown.contains("to correct"), "{shown}");
    await_stored(ingest.address, folder, wrong(1), -HOUR_MS);
    let shown = clock(folder, &["--no-correction"]);
    assert!(shown.contains("correction  none since ") && shown.contains("to correct"), "{shown}");
    await_stored(ingest.address, folder, wrong(2), 0);
    ingest.terminate();

    let trail = run(&[&["audit", "list"], &STORE[..]].concat(), folder);
    let said = String::from_utf8(trail.stdout).unwrap();
    assert_eq!(said.matches("clock").count(), 2, "{said}");
    let nobody = run(&[&["gateway", "clock"], &STORE[..], &["gw-9"]].concat(), folder);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("provider sunrise has no gateway gw-9"), "{nobody:?}");
}

/// Pushes a reading until it is stored moved by so much: a correction is in force within
/// some seconds.
fn await_stored(to: SocketAddr, folder: &Path, time: Timestamp, moved: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        push(to, time);
        if stored(folder).contains(&time.plus_millis(moved).to_string()) {
            return;
        }
        assert!(Instant::now() < deadline, "{time} is not moved by {moved} ms: {}", stored(folder));
        std::thread::sleep(Duration::from_millis(200));
    }
}
