//! The end of a server: what is under way is answered, nothing is half there.

use std::time::{Duration, Instant};

use crate::server::{Server, push};

#[tokio::test]
async fn a_drain_answers_what_was_taken_and_ends_in_time() {
    let server = Server::start().await;
    let mut busy = server.connect().await;
    let mut idle = server.connect().await;
    let mut half = server.connect().await;
    busy.ask(&push("1", 0, &[1.0])).await;
    half.send(&push("2", 1, &[2.0])[..70]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let began = Instant::now();
    server.shutdown.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(half.rest().await, "");
    drop((busy, idle, half));
    server.running.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(server.store.gateway_fetch(&"gw-0001".parse().unwrap()).await.unwrap().documents, 1);
}

#[tokio::test]
async fn every_stored_document_under_a_drain_has_its_ack() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let stream: String = (0..200).map(|seq| push(&seq.to_string(), seq, &[seq as f64])).collect();
    let shutdown = server.shutdown.clone();
    gateway.send(&stream).await;
    gateway.answer().await;
    shutdown.cancel();
    let acks = 1 + gateway.rest().await.lines().filter(|line| line.starts_with("<ack")).count();
    server.running.await.unwrap();
    assert_eq!(server.store.gateway_fetch(&"gw-0001".parse().unwrap()).await.unwrap().documents, acks as u64);
}
