//! Documents over the wire, however they are cut.

use crate::server::{KEY, Server, push};

#[tokio::test]
async fn a_document_is_acked_after_it_is_stored() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    assert_eq!(gateway.ask(&push("17", 0, &[1.0, 2.5])).await, "<ack seq=\"17\" readings=\"2\"/>");
    assert_eq!(server.values().await, [1.0, 2.5]);
}

#[tokio::test]
async fn one_byte_a_segment_makes_no_difference() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.stream.set_nodelay(true).unwrap();
    for byte in push("1", 0, &[7.0]).as_bytes() {
        gateway.send(&char::from(*byte).to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.answer().await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn documents_back_to_back_are_answered_in_order() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let mut stream = String::new();
    for seq in 0..100 {
        stream.push_str(&push(&seq.to_string(), seq, &[seq as f64]));
        stream.push_str(["", "\r\n", " \0 ", "\0"][seq % 4]);
    }
    gateway.send(&stream).await;
    for seq in 0..100 {
        assert_eq!(gateway.answer().await, format!("<ack seq=\"{seq}\" readings=\"1\"/>"));
    }
    assert_eq!(server.values().await.len(), 100);
}

#[tokio::test]
async fn a_repeated_document_gets_the_same_ack_and_is_there_once() {
    let server = Server::start().await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    let document = push("9", 0, &[1.0, 2.0]);
    let acks = (first.ask(&document).await, second.ask(&document).await);
    assert_eq!(acks.0, acks.1);
    assert_eq!(server.values().await, [1.0, 2.0]);
}

#[tokio::test]
async fn hello_carries_the_key_for_senml() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    assert_eq!(gateway.ask(&format!("<hello gateway=\"gw-0001\" key=\"{KEY}\"/>")).await, "<ack readings=\"0\"/>");
    let pack = "<sensml xmlns=\"urn:ietf:params:xml:ns:senml\"><senml bn=\"inv:\" n=\"temp\" u=\"K\" v=\"300\"/></sensml>";
    assert_eq!(gateway.ask(pack).await, "<ack readings=\"1\"/>");
    let rows = server.readings("gw-0001").await;
    assert_eq!((rows[0].sensor.as_str(), rows[0].unit.as_str()), ("inv:temp", "°C"));
    assert!((rows[0].value - 26.85).abs() < 1e-9);
}

#[tokio::test]
async fn a_time_without_a_zone_is_the_locations() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let document = format!(
        "<push gateway=\"gw-0001\" key=\"{KEY}\"><sensor id=\"s\"><reading metric=\"power\" unit=\"kW\" time=\"2026-11-20T09:00:00\">2</reading></sensor></push>"
    );
    assert_eq!(gateway.ask(&document).await, "<ack readings=\"1\"/>");
    let row = server.readings("gw-0001").await.remove(0);
    assert_eq!((row.time.to_string().as_str(), row.value), ("2026-11-20T08:00:00Z", 2000.0));
}

#[tokio::test]
async fn the_last_of_equal_keys_in_a_document_wins() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let twice = push("1", 5, &[1.0])
        .replace("</sensor>", "<reading metric=\"power\" unit=\"kW\" time=\"2026-11-20T00:05:00Z\">3</reading></sensor>");
    assert_eq!(gateway.ask(&twice).await, "<ack seq=\"1\" readings=\"2\"/>");
    assert_eq!(server.values().await, [3000.0]);
}

#[tokio::test]
async fn a_peer_that_only_closes_its_half_still_gets_its_answers() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.send(&push("1", 0, &[1.0])).await;
    tokio::io::AsyncWriteExt::shutdown(&mut gateway.stream).await.unwrap();
    assert_eq!(gateway.rest().await, "<ack seq=\"1\" readings=\"1\"/>\n");
}
