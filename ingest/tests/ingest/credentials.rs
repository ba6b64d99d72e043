//! Who may push: keys, hello, waiting gateways and policy.

use std::time::Duration;

use heliograph_domain::{GatewayState, RefusalCode, UnknownGateways};
use heliograph_ingest::IngestSettings;

use crate::server::{KEY, Server, commission, push};

#[tokio::test]
async fn a_wrong_or_missing_key_is_refused_and_closes() {
    let server = Server::start().await;
    for document in [push("1", 0, &[1.0]).replace(KEY, "wrong"), push("1", 0, &[1.0]).replace(&format!(" key=\"{KEY}\""), "")] {
        let mut gateway = server.connect().await;
        gateway.send(&document).await;
        let answer = gateway.rest().await;
        assert!(answer.contains("seq=\"1\" code=\"bad-key\" retry=\"false\""), "{answer}");
    }
    assert!(server.values().await.is_empty());
    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|row| row.entry.code == RefusalCode::BadKey));
    assert!(kept.iter().all(|row| !String::from_utf8_lossy(&row.entry.raw).contains("wrong")));
}

#[tokio::test]
async fn nobody_may_speak_for_another_gateway_after_hello() {
    let server = Server::start().await;
    commission(&server.store, "gw-0002", "UTC", 2).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut gateway = server.connect().await;
    gateway.ask(&format!("<hello gateway=\"gw-0002\" key=\"{KEY}\"/>")).await;
    gateway.send(&push("1", 0, &[1.0])).await;
    assert!(gateway.rest().await.contains("code=\"bad-key\""));
    assert!(server.values().await.is_empty());
}

#[tokio::test]
async fn an_unknown_gateway_waits_and_is_let_in_when_it_is_commissioned() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let document = push("1", 0, &[1.0]).replace("gw-0001", "gw-new");
    let answer = gateway.ask(&document).await;
    assert!(answer.contains("code=\"unknown-gateway\" retry=\"true\""), "{answer}");
    let waiting = server.store.gateway_fetch(&"gw-new".parse().unwrap()).await.unwrap();
    assert_eq!(waiting.state, GatewayState::Waiting);
    assert_eq!(waiting.last_address, Some(gateway.stream.local_addr().unwrap().to_string()));
    assert_eq!(server.quarantine().await[0].entry.gateway.as_deref(), Some("gw-new"));

    commission(&server.store, "gw-new", "UTC", 2).await;
    for attempt in 0.. {
        if gateway.ask(&document).await == "<ack seq=\"1\" readings=\"1\"/>" {
            break;
        }
        assert!(attempt < 100, "the new key does not come into force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.readings("gw-new").await.len(), 1);
}

#[tokio::test]
async fn an_adopted_gateway_is_stored_without_a_key() {
    let server = Server::with(IngestSettings::default(), UnknownGateways::Adopted).await;
    let mut gateway = server.connect().await;
    let document = push("1", 0, &[1.0]).replace("gw-0001", "gw-new").replace(&format!(" key=\"{KEY}\""), "");
    assert_eq!(gateway.ask(&document).await, "<ack seq=\"1\" readings=\"1\"/>");
    let record = server.store.gateway_fetch(&"gw-new".parse().unwrap()).await.unwrap();
    assert_eq!((record.state, record.location, record.documents), (GatewayState::Waiting, None, 1));
    // A commissioned one still needs its key.
    gateway.send(&push("2", 0, &[1.0]).replace(&format!(" key=\"{KEY}\""), "")).await;
    assert!(gateway.rest().await.contains("code=\"bad-key\""));
}

#[tokio::test]
async fn a_document_that_names_no_gateway_needs_a_hello() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let answer = gateway.ask("<sensml xmlns=\"urn:ietf:params:xml:ns:senml\"><senml n=\"a\" v=\"1\"/></sensml>").await;
    assert!(answer.contains("code=\"unknown-gateway\""), "{answer}");
    let answer = gateway.ask("<hello gateway=\"gw-nobody\" key=\"x\"/>").await;
    assert!(answer.contains("code=\"unknown-gateway\""), "{answer}");
}

#[tokio::test]
async fn a_retired_gateway_is_refused_whatever_the_policy() {
    let server = Server::with(IngestSettings::default(), UnknownGateways::Adopted).await;
    let mut gateway = server.connect().await;
    gateway.ask(&push("1", 0, &[1.0])).await;
    server.store.gateway_retire(&"gw-0001".parse().unwrap(), crate::server::now()).await.unwrap();
    for attempt in 0.. {
        let answer = gateway.ask(&push("2", 0, &[9.0])).await;
        if answer.contains("no longer in use") {
            break;
        }
        assert!(attempt < 100, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let keyless = push("3", 0, &[8.0]).replace(&format!(" key=\"{KEY}\""), "");
    assert!(server.connect().await.ask(&keyless).await.contains("unknown-gateway"));
    assert!(!server.values().await.contains(&8.0));
}

#[tokio::test]
async fn wrong_keys_of_one_do_not_shut_others_of_its_address_out() {
    let server = Server::start().await;
    for _ in 0..30 {
        let mut guesser = server.connect().await;
        guesser.send(&push("1", 0, &[1.0]).replace(KEY, "guess")).await;
        guesser.rest().await;
    }
    assert_eq!(server.connect().await.ask(&push("2", 0, &[1.0])).await, "<ack seq=\"2\" readings=\"1\"/>");
}

#[tokio::test]
async fn nothing_is_taken_behind_a_wrong_key() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.send(&format!("{}{}", push("1", 0, &[1.0]).replace(KEY, "wrong"), push("2", 0, &[2.0]))).await;
    let answers = gateway.rest().await;
    assert_eq!(answers.lines().count(), 1, "{answers}");
    assert!(server.values().await.is_empty());
}

#[tokio::test]
async fn guessing_keys_is_slowed_down() {
    let server = Server::start().await;
    let mut limited = false;
    for _ in 0..40 {
        let mut gateway = server.connect().await;
        gateway.send(&push("1", 0, &[1.0]).replace(KEY, "guess")).await;
        limited |= gateway.rest().await.contains("code=\"rate-limited\"");
    }
    assert!(limited);
    assert!(server.quarantine().await.len() <= 20);
}
