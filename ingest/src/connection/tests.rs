//! How much a connection takes at once.

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use heliograph_domain::{ProviderId, ProviderSettings, Timestamp, UnknownGateways};
use heliograph_store::{Store, StoreUrl};
use tokio::net::TcpListener;

use super::*;
use crate::sample::power;
use crate::server::Ingest;

const NOW: Timestamp = Timestamp::clamped(1_795_176_000_000);
const DAY_MS: i64 = 86_400_000;
const DOCUMENTS: usize = 6;

/// A server in a folder, a connection to it that nobody looks after, and its peer.
async fn connection(folder: &Path) -> (Ingest, Box<Connection>, TcpStream) {
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let provider = ProviderSettings { unknown_gateways: UnknownGateways::Adopted, ..ProviderSettings::default() };
    store.settings_save(provider).await.unwrap();
    let settings = IngestSettings::default();
    let ingest = Ingest::open(store, settings, &folder.join("spool"), Arc::new(|| NOW)).await.unwrap();
    let room = RoomForDocuments::new(settings.room, settings.room_per_address);
    let shared = Shared { intake: Arc::clone(&ingest.intake), room, settings, shutdown: CancellationToken::new() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    (ingest, Connection::accepted(stream, address, Door::inner(), Arc::new(shared)), peer)
}

#[tokio::test]
async fn documents_under_way_are_bounded_by_their_bytes_however_many_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let (ingest, mut connection, _peer) = connection(folder.path()).await;
    // History of another gateway is on its way, as much as may be.
    let history = power("gw-2", NOW, (0..8192).map(|reading| (NOW.plus_millis(-DAY_MS - reading), 1.0)));
    let turn = ingest.intake.backfill.turn(&history).unwrap().await;
    let running =
        tokio::spawn(ingest.run(TcpListener::bind("127.0.0.1:0").await.unwrap(), "test".to_owned(), CancellationToken::new()));
    let document = format!(
        "<push gateway=\"gw-1\"><!--{}--><sensor id=\"s\"><reading metric=\"power\" unit=\"W\" time=\"{}\">1</reading></sensor></push>",
        "x".repeat(60 * 1024),
        NOW.plus_millis(-DAY_MS),
    );
    connection.buffer.extend_from_slice(document.repeat(DOCUMENTS).as_bytes());
    assert!(connection.frame().is_none());
    assert_eq!(connection.answers.len(), 2);
    assert!(connection.answers.gather().now_or_never().is_none(), "they wait for their turn");
    drop(turn);
    let mut answered = 0;
    while answered < DOCUMENTS {
        let under_way = connection.answers.len();
        tokio::time::timeout(Duration::from_secs(30), connection.answers.gather()).await.unwrap();
        connection.write().await.unwrap();
        answered += under_way - connection.answers.len();
        assert!(connection.frame().is_none());
        assert!(connection.answers.len() <= 2);
    }
    assert_eq!(connection.answers.bytes(), 0);
    running.abort();
}

#[tokio::test]
async fn a_large_document_that_has_come_waits_for_its_place_and_a_drain_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (ingest, mut connection, mut peer) = connection(folder.path()).await;
    let place = ingest.intake.decode_budget.acquire(IngestSettings::default().limits.document_bytes).await;
    let running =
        tokio::spawn(ingest.run(TcpListener::bind("127.0.0.1:0").await.unwrap(), "test".to_owned(), CancellationToken::new()));
    let document = |seq: u32, comment: usize| {
        let reading = format!("<reading metric=\"power\" time=\"{NOW}\">1</reading>");
        format!("<push gateway=\"gw-1\" seq=\"{seq}\"><!--{}--><sensor id=\"s\">{reading}</sensor></push>", "x".repeat(comment))
    };
    connection.buffer.extend_from_slice((document(1, 0) + &document(2, room::FREE) + &document(3, 0)).as_bytes());
    assert!(connection.frame().is_none());
    assert!(connection.waiting.is_some() && !connection.may_take());
    assert_eq!(connection.answers.len(), 1, "what is behind the large one waits too");
    let (answered, ()) = tokio::join!(connection.answer_the_rest(Stop::Draining), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(place);
    });
    answered.unwrap();
    assert!(connection.waiting.is_none());
    let mut said = [0; 64];
    let expected = "<ack seq=\"1\" readings=\"1\"/>\n<ack seq=\"2\" readings=\"1\"/>\n";
    let read = tokio::io::AsyncReadExt::read_exact(&mut peer, &mut said[..expected.len()]);
    tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
    assert_eq!(std::str::from_utf8(&said[..expected.len()]).unwrap(), expected);
    running.abort();
}

#[tokio::test]
async fn nobody_waits_behind_a_large_document_of_a_peer_that_reads_no_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (ingest, mut connection, _peer) = connection(folder.path()).await;
    let all = IngestSettings::default().limits.document_bytes;
    let (budget, intake) = (ingest.intake.decode_budget.clone(), Arc::clone(&ingest.intake));
    let first = budget.acquire(all).await;
    let document = format!("<push gateway=\"gw-1\"><!--{}--></push>", "x".repeat(room::FREE));
    connection.buffer.extend_from_slice(document.as_bytes());
    assert!(connection.frame().is_none() && connection.waiting.is_some());
    // It has its place in the line, and then there is no room for the answer to another one.
    let waits = permitted(&mut connection.waiting, &connection.shared);
    assert!(waits.now_or_never().is_none());
    let Wire::Plain(stream) = &connection.wire else { panic!("nothing is under TLS") };
    stream.writable().await.unwrap();
    while stream.try_write(&[b' '; 64 * 1024]).is_ok() {}
    connection.answers.push_last(Answer::Ack { seq: None, readings: 0, rejected: 0 }, None);
    let running = tokio::spawn(async move { connection.run().await.map(drop) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    let next = tokio::time::timeout(Duration::from_secs(10), budget.acquire(all)).await;
    assert!(next.is_ok(), "who reads no answers holds up all others");
    assert!(!running.is_finished());
    running.abort();
    drop(intake);
}
