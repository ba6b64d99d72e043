//! Documents, requests and handshakes that are cut at every byte, in three ways: the rest
//! follows, the peer closes its half, the connection is reset. Whatever it is, a document
//! is stored whole or not at all, the store says which, and others are served meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{TimeWindow, UnknownGateways};
use heliograph_ingest::{ClientCertificates, IngestSettings};
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Gateway, KEY, Server, push};
use crate::tls::{Client, Secured, localhost};

/// Far fewer connections than are cut: one that is not given back is missed.
const CONNECTIONS: usize = 32;
/// Between two pieces, so that they are read apart.
const APART: Duration = Duration::from_millis(1);

fn few_connections() -> IngestSettings {
    IngestSettings { connections: CONNECTIONS, ..IngestSettings::default() }
}

/// The n-th document: two readings at an instant of its own, so that a half of it can be
/// told from all of it. All are of the same length.
fn document(number: usize) -> String {
    let time = format!("2026-11-20T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60);
    let reading = |metric: &str| format!("<reading metric=\"{metric}\" time=\"{time}\">{number}</reading>");
    format!(
        "<push gateway=\"gw-0001\" key=\"{KEY}\" seq=\"{number:04}\"><sensor id=\"cut\">{}{}</sensor></push>",
        reading("a"),
        reading("b")
    )
}

fn ack(number: usize) -> String {
    format!("<ack seq=\"{number:04}\" readings=\"2\"/>")
}

/// The n-th document as a request.
fn request(number: usize) -> String {
    let document = document(number);
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{document}", document.len())
}

/// Numbers of four digits, so that documents are of the same length.
const FIRST: usize = 1000;

/// A server, and a gateway that pushes beside those that are cut.
struct World {
    server: Server,
    beside: Gateway,
    pushed: usize,
}

impl World {
    async fn new() -> Self {
        Self::of(Server::with(few_connections(), UnknownGateways::Refused).await).await
    }

    async fn of(server: Server) -> Self {
        Self { beside: server.connect().await, server, pushed: 0 }
    }

    /// A connection whose pieces are not put together on their way.
    async fn connect(&self) -> Gateway {
        let gateway = self.server.connect().await;
        gateway.stream.set_nodelay(true).unwrap();
        gateway
    }

    /// The gateway beside is served, now.
    async fn still_serves(&mut self) {
        let seq = self.pushed.to_string();
        let answer = self.beside.ask(&push(&seq, self.pushed, &[1.0])).await;
        assert_eq!(answer, format!("<ack seq=\"{seq}\" readings=\"1\"/>"));
        self.pushed += 1;
    }

    /// Sends what comes before a cut, which the server has read then, nearly always.
    async fn begin(&self, before: &str) -> Gateway {
        let mut gateway = self.connect().await;
        gateway.send(before).await;
        tokio::time::sleep(APART).await;
        gateway
    }

    /// Sends what comes before a cut and closes; answers what the server says.
    async fn closed(&self, before: &str) -> String {
        let mut gateway = self.begin(before).await;
        gateway.stream.shutdown().await.unwrap();
        gateway.rest().await
    }

    /// Sends what comes before a cut and resets the connection.
    async fn reset(&self, before: &str) {
        reset(self.begin(before).await);
    }

    /// Ends the server; answers which documents it has left, all of them whole. What was
    /// pushed beside them is there.
    async fn end(self) -> BTreeSet<usize> {
        let Self { server, beside, pushed } = self;
        drop(beside);
        server.shutdown.cancel();
        server.running.await.unwrap();
        let id = "gw-0001".parse().unwrap();
        let rows = server.store.reading_page(&id, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows;
        let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let (cut, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.sensor.as_str() == "cut");
        for row in cut {
            found.entry(row.value as usize).or_default().push(row.metric.to_string());
        }
        assert_eq!(others.len(), pushed);
        for (number, metrics) in &found {
            assert_eq!(metrics, &["a", "b"], "document {number} is there in part");
        }
        found.into_keys().collect()
    }
}

/// Ends a connection without a word: what is on its way is lost.
fn reset(gateway: Gateway) {
    gateway.stream.set_zero_linger().unwrap();
    drop(gateway);
}

#[tokio::test]
async fn a_document_cut_anywhere_whose_rest_follows_is_acked_and_stored_whole() {
    let mut world = World::new().await;
    let length = document(FIRST).len();
    // One stream of documents, of which the n-th is cut behind its n-th byte.
    let mut gateway = world.connect().await;
    for cut in 0..=length {
        let document = document(FIRST + cut);
        gateway.send(&document[..cut]).await;
        tokio::time::sleep(APART).await;
        assert_eq!(gateway.ask(&document[cut..]).await, ack(FIRST + cut), "cut at {cut}");
        world.still_serves().await;
    }
    assert_eq!(world.end().await, (FIRST..=FIRST + length).collect());
}

#[tokio::test]
async fn a_document_that_ends_anywhere_is_refused_and_nothing_of_it_is_stored() {
    let mut world = World::new().await;
    let length = document(FIRST).len();
    for cut in 0..=length {
        // One before it is answered and stored, whatever becomes of the next.
        let (before, number) = (FIRST + 2 * cut, FIRST + 2 * cut + 1);
        let said = world.closed(&format!("{}{}", document(before), &document(number)[..cut])).await;
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said[0], ack(before), "cut at {cut}");
        match said[1..] {
            [] => assert_eq!(cut, 0, "nothing is said of it"),
            [acked] if cut == length => assert_eq!(acked, ack(number)),
            [refused] => assert!(refused.starts_with("<nack ") && refused.contains("code=\"malformed\""), "{cut}: {refused}"),
            _ => panic!("cut at {cut}: {said:?}"),
        }
        world.still_serves().await;
    }
    let expected = (0..=length).map(|cut| FIRST + 2 * cut).chain([FIRST + 2 * length + 1]);
    assert_eq!(world.end().await, expected.collect());
}

#[tokio::test]
async fn a_document_whose_connection_is_reset_anywhere_is_stored_whole_or_not_at_all() {
    let mut world = World::new().await;
    let length = document(FIRST).len();
    for cut in 0..length {
        world.reset(&document(FIRST + cut)[..cut]).await;
        world.still_serves().await;
    }
    // All of it has come: reset before it is read, while it is written, and once its ack
    // lies there unread.
    let last = FIRST + length;
    for (number, pause) in (last..).zip([0, 1, 2, 5, 10, 500]) {
        let mut gateway = world.connect().await;
        gateway.send(&document(number)).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        reset(gateway);
        world.still_serves().await;
    }
    let stored = world.end().await;
    assert!(stored.iter().all(|number| *number >= last), "{stored:?}");
    assert!(stored.contains(&(last + 5)), "it was acked long before the reset: {stored:?}");
}

/// The next response of a connection that goes on: its status line and its body.
async fn response(gateway: &mut Gateway) -> (String, String) {
    let status = gateway.answer().await;
    loop {
        let line = gateway.answer().await;
        if line.starts_with('<') {
            return (status, line);
        }
    }
}

#[tokio::test]
async fn a_request_cut_anywhere_whose_rest_follows_is_acked_and_stored_whole() {
    let mut world = World::new().await;
    let length = request(FIRST).len();
    let mut gateway = world.connect().await;
    for cut in 0..=length {
        let request = request(FIRST + cut);
        gateway.send(&request[..cut]).await;
        tokio::time::sleep(APART).await;
        gateway.send(&request[cut..]).await;
        let (status, body) = response(&mut gateway).await;
        assert!(status.starts_with("HTTP/1.1 200"), "cut at {cut}: {status}");
        assert_eq!(body, ack(FIRST + cut), "cut at {cut}");
        world.still_serves().await;
    }
    assert_eq!(world.end().await, (FIRST..=FIRST + length).collect());
}

#[tokio::test]
async fn of_a_request_that_ends_or_is_reset_anywhere_nothing_is_stored() {
    let mut world = World::new().await;
    let length = request(FIRST).len();
    for cut in 0..length {
        let said = world.closed(&request(FIRST)[..cut]).await;
        assert!(!said.contains("<ack") && !said.contains(" 200 "), "cut at {cut}: {said}");
        world.reset(&request(FIRST)[..cut]).await;
        world.still_serves().await;
    }
    let said = world.closed(&request(FIRST)).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(&format!("{}\n", ack(FIRST))), "{said}");
    assert_eq!(world.end().await, BTreeSet::from([FIRST]));
}

#[tokio::test]
async fn a_reset_anywhere_in_a_handshake_costs_nobody_else_anything() {
    let Secured { server, certificate } = Secured::with(ClientCertificates::Off, few_connections()).await;
    let mut world = World::of(server).await;
    let config = Arc::new(Client::default().config(&certificate));
    let mut session = ClientConnection::new(config, localhost()).unwrap();
    let mut hello = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut hello).unwrap();
    }
    for cut in 1..=hello.len() {
        let mut gateway = world.connect().await;
        gateway.stream.write_all(&hello[..cut]).await.unwrap();
        if cut == hello.len() {
            // The server has answered, and waits for the end of the handshake.
            assert!(gateway.stream.read_u8().await.is_ok());
        } else if cut % 16 == 0 {
            tokio::time::sleep(APART).await;
        }
        reset(gateway);
        if cut % 16 == 0 {
            world.still_serves().await;
        }
    }
    assert!(world.end().await.is_empty());
}

#[tokio::test]
async fn a_document_under_tls_whose_connection_is_reset_is_stored_whole_or_not_at_all() {
    let secured = Secured::with(ClientCertificates::Off, few_connections()).await;
    let length = document(FIRST).len();
    let last = FIRST + length;
    for cut in (0..length).step_by(16) {
        let mut gateway = secured.connect(&Client::default()).await.unwrap();
        gateway.send(&document(FIRST + cut)[..cut]).await;
        tokio::time::sleep(APART).await;
        gateway.stream.get_ref().0.set_zero_linger().unwrap();
    }
    let mut gateway = secured.connect(&Client::default()).await.unwrap();
    assert_eq!(gateway.ask(&document(last)).await, ack(last));
    gateway.stream.get_ref().0.set_zero_linger().unwrap();
    drop(gateway);
    let mut world = World::of(secured.server).await;
    world.still_serves().await;
    assert_eq!(world.end().await, BTreeSet::from([last]));
}
