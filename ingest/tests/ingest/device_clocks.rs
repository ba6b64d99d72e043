//! Gateways whose clocks are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use heliograph_domain::{
    ClockCorrection, ClockShape, ClockShift, ClockState, GatewayId, QuarantineId, RefusalCode, Timestamp, UnknownGateways, Zone,
};
use heliograph_ingest::{IngestSettings, Proof, Replayer, Verdict};
use heliograph_store::QuarantineNew;
use uuid::Uuid;

use crate::server::{KEY, Server, now, push};

const HOUR: i64 = 3_600_000;

fn gateway() -> GatewayId {
    GatewayId::parse("gw-0001").unwrap()
}

/// A reading that says when it was measured, beside one that does not.
fn document(time: Timestamp) -> String {
    format!(
        "<push gateway=\"gw-0001\" key=\"{KEY}\"><sensor id=\"s\"><reading metric=\"own\" time=\"{time}\">1</reading>\
         <reading metric=\"none\">2</reading></sensor></push>"
    )
}

/// A server whose clock the test moves, in milliseconds after `now`.
async fn server() -> (Server, Arc<AtomicI64>) {
    let passed = Arc::new(AtomicI64::new(0));
    let moved = Arc::clone(&passed);
    let clock = Arc::new(move || now().plus_millis(moved.load(Ordering::SeqCst)));
    (Server::clocked(IngestSettings::default(), UnknownGateways::Refused, clock, |ingest, _| ingest).await, passed)
}

/// The stored times of a metric.
async fn times(server: &Server, metric: &str) -> Vec<Timestamp> {
    let rows = server.readings("gw-0001").await;
    rows.iter().filter(|row| row.metric.as_str() == metric).map(|row| row.time).collect()
}

/// Sets a correction and waits until what arrives is moved by it.
async fn correct(server: &Server, from: Timestamp, shift: &str) {
    let shift = ClockShift::parse(shift).unwrap();
    server.store.gateway_clock_correct(&gateway(), ClockCorrection { from, shift }).await.unwrap();
    let probe = from.plus_millis(-100 * HOUR);
    let mut device = server.connect().await;
    for attempt in 0.. {
        device.ask(&document(probe)).await;
        if times(server, "own").await.contains(&probe.plus_millis(shift.as_millis())) {
            return;
        }
        assert!(attempt < 200, "the correction does not come into force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn local_time_that_is_sent_as_utc_is_found_out_and_survives_a_restart() {
    let (server, passed) = server().await;
    let mut device = server.connect().await;
    for minute in 0..8 {
        passed.store(minute * 60_000, Ordering::SeqCst);
        // One of the documents is history.
        let late = if minute == 3 { 50 * HOUR } else { 0 };
        let answer = device.ask(&document(now().plus_millis(minute * 60_000 + HOUR - 1500 - late))).await;
        assert_eq!(answer, "<ack readings=\"2\"/>");
    }
    server.shutdown.cancel();
    server.running.await.unwrap();
    let clock = server.store.gateway_clock(&gateway()).await.unwrap();
    assert_eq!(clock.samples.list().len(), 8);
    let ClockState::Known(found) = clock.samples.judge(&Zone::parse("Europe/Madrid").unwrap()) else { panic!("{clock:?}") };
    assert_eq!((found.ahead_ms, found.within_ms, found.samples), (HOUR - 1500, 0, 7));
    assert_eq!((found.shape, found.correction().to_string()), (ClockShape::LocalAsUtc(HOUR), "-1h".to_owned()));
}

#[tokio::test]
async fn a_clock_days_ahead_is_found_out_though_nothing_of_it_is_taken_until_it_is_corrected() {
    let (server, passed) = server().await;
    let wrong = now().plus_millis(48 * HOUR);
    let mut device = server.connect().await;
    for minute in 0..6 {
        passed.store(minute * 60_000, Ordering::SeqCst);
        let answer = device.ask(&document(wrong.plus_millis(minute * 60_000))).await;
        assert_eq!(answer, "<ack readings=\"1\" rejected=\"1\"/>");
    }
    passed.store(10 * 60_000, Ordering::SeqCst);
    correct(&server, now().plus_millis(10 * 60_000), "-48h").await;
    let time = wrong.plus_millis(10 * 60_000);
    assert_eq!(device.ask(&document(time)).await, "<ack readings=\"2\"/>");
    assert!(times(&server, "own").await.contains(&time.plus_millis(-48 * HOUR)));
    // What carries no time of its own was right already.
    assert!(times(&server, "none").await.iter().all(|time| *time <= now().plus_millis(10 * 60_000)));
    passed.store(11 * 60_000, Ordering::SeqCst);
    correct(&server, now().plus_millis(11 * 60_000), "0s").await;
    assert_eq!(device.ask(&document(time)).await, "<ack readings=\"1\" rejected=\"1\"/>");
    server.shutdown.cancel();
    server.running.await.unwrap();
    let state = server.store.gateway_clock(&gateway()).await.unwrap().samples.judge(&Zone::utc());
    let ClockState::Known(found) = state else { panic!("{state:?}") };
    assert_eq!((found.ahead_ms, found.correction().to_string()), (48 * HOUR, "-48h".to_owned()));
}

#[tokio::test]
async fn what_is_replayed_is_moved_as_of_its_arrival() {
    let server = Server::start().await;
    let shift = |text: &str| ClockShift::parse(text).unwrap();
    for (minute, text) in [(10, "-1h"), (20, "0s")] {
        let from = now().plus_millis(minute * 60_000);
        server.store.gateway_clock_correct(&gateway(), ClockCorrection { from, shift: shift(text) }).await.unwrap();
    }
    let mut found = Vec::new();
    for (number, minute) in [(1, 9), (2, 10), (3, 20)] {
        let id = QuarantineId::new(Uuid::from_u128(number));
        let entry = QuarantineNew {
            id,
            received: now().plus_millis(minute * 60_000),
            gateway: Some("gw-0001".to_owned()),
            address: "192.0.2.1:1".to_owned(),
            code: RefusalCode::UnknownGateway,
            reason: "it was not known".to_owned(),
            raw: push("1", 600, &[1.0]).replace(KEY, "***").into_bytes(),
            trusted: false,
        };
        server.store.quarantine_add(entry).await.unwrap();
        let replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
        let judged = replayer.judge(id, Proof::Vouched, now().plus_millis(30 * 60_000)).await.unwrap();
        let Verdict::Take { document, .. } = judged.verdict else { panic!("{judged:?}") };
        found.push(document.values[0].time.to_string());
    }
    assert_eq!(found, ["2026-11-20T10:00:00Z", "2026-11-20T09:00:00Z", "2026-11-20T10:00:00Z"]);
}
