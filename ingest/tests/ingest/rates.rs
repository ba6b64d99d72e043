//! Gateways that push faster than they may: read slower, and nothing lost.

use std::time::{Duration, Instant};

use heliograph_domain::{RefusalCode, UnknownGateways};
use heliograph_ingest::{IngestSettings, Rates};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::figures::{figure, recorder};
use crate::server::{KEY, Server, commission, push};

const RATES: Rates = Rates { gateway_readings: 100, readings: 0, bytes_a_day: 0, burst: Duration::from_secs(1) };

async fn server(rates: Rates) -> Server {
    let server = Server::with(IngestSettings { rates, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    commission(&server.store, "gw-0002", "Europe/Madrid", 2).await;
    // The server learns of it within two seconds.
    let mut other = server.connect().await;
    let begun = Instant::now();
    while !other.ask(&of_another("0", 0)).await.starts_with("<ack") {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server
}

fn of_another(seq: &str, minute: usize) -> String {
    push(seq, minute, &[1.0]).replace("gw-0001", "gw-0002")
}

#[tokio::test]
async fn a_gateway_ahead_of_its_rate_is_read_slower_on_all_its_connections_and_loses_nothing() {
    let server = server(RATES).await;
    let begun = Instant::now();
    let mut connections = [server.connect().await, server.connect().await];
    // Of 500 readings in all 100 may come at once.
    for (half, connection) in connections.iter_mut().enumerate() {
        let documents: String = (0..25).map(|seq| push(&seq.to_string(), half * 250 + seq * 10, &[1.5; 10])).collect();
        connection.send(&documents).await;
    }
    let mut other = server.connect().await;
    let mut waited = Duration::ZERO;
    for seq in 1..20 {
        let asked = Instant::now();
        assert!(other.ask(&of_another("1", seq)).await.starts_with("<ack"));
        waited = waited.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for connection in &mut connections {
        for seq in 0..25 {
            assert_eq!(connection.answer().await, format!("<ack seq=\"{seq}\" readings=\"10\"/>"));
        }
    }
    // 400 readings at 100 a second, but for what the last document of each connection is
    // ahead: its answer does not wait.
    assert!(begun.elapsed() >= Duration::from_millis(3700), "{:?}", begun.elapsed());
    assert!(waited < Duration::from_secs(2), "another gateway has waited {waited:?}");
    assert_eq!(server.values().await.len(), 500);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_gateway_that_is_read_slower() {
    let server = server(RATES).await;
    let mut gateway = server.connect().await;
    gateway.send(&(0..40).map(|seq| push(&seq.to_string(), seq * 10, &[1.5; 10])).collect::<String>()).await;
    assert!(gateway.answer().await.starts_with("<ack seq=\"0\""));
    let begun = Instant::now();
    server.shutdown.cancel();
    let acks = 1 + gateway.rest().await.lines().filter(|line| line.starts_with("<ack")).count();
    server.running.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(acks < 40, "it was not slowed");
    let stored = server.store.gateway_fetch(&"gw-0001".parse().unwrap()).await.unwrap().documents;
    assert_eq!(stored, acks as u64);
}

#[tokio::test]
async fn a_connection_for_each_document_is_no_faster() {
    let server = server(RATES).await;
    let begun = Instant::now();
    for seq in 0..40 {
        let mut gateway = server.connect().await;
        let answer = gateway.ask(&push(&seq.to_string(), seq * 10, &[1.5; 10])).await;
        assert_eq!(answer, format!("<ack seq=\"{seq}\" readings=\"10\"/>"));
    }
    // 100 readings at once, and all but those of the last document by their rate.
    assert!(begun.elapsed() >= Duration::from_millis(2800), "{:?}", begun.elapsed());
    assert_eq!(server.values().await.len(), 400);
}

#[tokio::test]
async fn a_gateway_ahead_of_its_rate_waits_for_its_answer_by_http() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = server(RATES).await;
    let begun = Instant::now();
    let mut stream = server.connect().await.stream;
    for seq in 0..3 {
        let body = push(&seq.to_string(), seq * 100, &[1.5; 100]);
        let head = format!("POST /push/gw-0001/{KEY} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 200"));
    }
    // 100 at once, 100 after a second, 100 after another.
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    assert!(figure(&recorder, "heliograph_ingest_slowed_total") >= 2.0);
    assert_eq!(server.values().await.len(), 300);
}

#[tokio::test]
async fn all_connections_of_a_gateway_are_one_queue_in_which_nothing_is_lost() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = server(Rates { gateway_readings: 1, ..RATES }).await;
    let mut connections = Vec::new();
    for part in 0..5 {
        let mut connection = server.connect().await;
        connection.send(&push(&part.to_string(), part * 100, &[1.5; 100])).await;
        connections.push(connection);
    }
    while figure(&recorder, "heliograph_ingest_slowed_total") < 5.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut other = server.connect().await;
    assert!(other.ask(&of_another("1", 1)).await.starts_with("<ack"));
    // One was within the rate; those behind it have minutes to wait, and are not written.
    assert_eq!(server.values().await.len(), 100);
    server.shutdown.cancel();
    for connection in &mut connections {
        assert!(connection.answer().await.ends_with("readings=\"100\"/>"));
    }
    server.running.await.unwrap();
    assert_eq!(server.store.gateway_fetch(&"gw-0001".parse().unwrap()).await.unwrap().documents, 5);
}

#[tokio::test]
async fn where_too_much_of_a_gateway_waits_a_further_connection_comes_again_later() {
    let settings = IngestSettings { rates: Rates { gateway_readings: 1, ..RATES }, connections: 12, ..IngestSettings::default() };
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = Server::with(settings, UnknownGateways::Refused).await;
    let mut connections = Vec::new();
    for part in 0..4 {
        let mut connection = server.connect().await;
        connection.send(&push(&part.to_string(), part * 100, &[1.5; 100])).await;
        while figure(&recorder, "heliograph_ingest_slowed_total") < (part + 1) as f64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connections.push(connection);
    }
    // A quarter of twelve connections wait.
    let mut fifth = server.connect().await;
    fifth.send(&push("5", 400, &[1.5; 100])).await;
    let answer = fifth.rest().await;
    assert!(answer.starts_with("<nack seq=\"5\" code=\"rate-limited\" retry=\"true\">"), "{answer}");
}

#[tokio::test]
async fn what_is_refused_counts_too() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = server(Rates { gateway_readings: 10, ..RATES }).await;
    let slowed = || figure(&recorder, "heliograph_ingest_slowed_total");
    let mut gateway = server.connect().await;
    assert!(gateway.ask(&push("1", 0, &[f64::NAN; 100])).await.ends_with("readings=\"0\" rejected=\"100\"/>"));
    assert_eq!(slowed(), 1.0);
    let mut stranger = server.connect().await;
    let large = format!("<inventory>{}</inventory>", " ".repeat(256 * 100));
    assert!(stranger.ask(&large).await.contains("code=\"unsupported\""));
    assert_eq!(slowed(), 2.0);
    // What comes behind it waits, by another connection too.
    server.connect().await.send("<inventory/>").await;
    while slowed() < 3.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kept = server.quarantine().await;
    assert_eq!(kept.iter().filter(|row| row.entry.code == RefusalCode::Unsupported).count(), 1);
    // A gateway that has proved itself is not concerned.
    assert!(server.connect().await.ask(&of_another("1", 1)).await.starts_with("<ack"));
}
