//! XML of no dialect, read by the mappings of a provider.

use std::time::Duration;

use heliograph_domain::{MappingName, RefusalCode};

use crate::http::{basic, send};
use crate::server::{KEY, Server};

/// A greenhouse's own XML.
pub(crate) const STATION: &str =
    "<station serial='gw-0001'><row name='north' at='2026-11-20T11:00:00Z'><temp>21,5</temp></row></station>";

/// How to read it.
pub(crate) const GREENHOUSE: &str = "name = 'greenhouse'\nroot = 'station'\ngateway = '{/station/@serial}'\n[[reading]]\neach = '/station/row/temp'\n\
    sensor = '{../@name}'\nmetric = 'temperature'\nunit = 'C'\nvalue = '{.}'\nnumber = 'decimal-comma'\ntime = '{../@at}'\n";

pub(crate) fn greenhouse() -> MappingName {
    MappingName::parse("greenhouse").unwrap()
}

fn hello() -> String {
    format!("<hello gateway=\"gw-0001\" key=\"{KEY}\"/>")
}

#[tokio::test]
async fn a_mapping_is_taken_up_and_given_up_without_a_restart() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.ask(&hello()).await;
    let answer = gateway.ask(STATION).await;
    assert!(answer.contains("code=\"unsupported\" retry=\"false\""), "{answer}");
    server.store.mapping_save(greenhouse(), GREENHOUSE.to_owned()).await.unwrap();
    asked_until(&mut gateway, STATION, "<ack readings=\"1\"/>").await;
    assert_eq!(server.values().await, [21.5]);
    let row = &server.readings("gw-0001").await[0];
    assert_eq!((row.sensor.as_str(), row.unit.as_str()), ("north", "°C"));

    // One that is changed, too.
    let changed = GREENHOUSE.replace("'temperature'", "'air'");
    server.store.mapping_save(greenhouse(), changed).await.unwrap();
    for attempt in 0.. {
        gateway.ask(STATION).await;
        if server.readings("gw-0001").await.iter().any(|row| row.metric.as_str() == "air") {
            break;
        }
        assert!(attempt < 100, "the changed mapping does not come into force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.store.mapping_remove(greenhouse()).await.unwrap();
    asked_until(&mut gateway, STATION, "code=\"unsupported\"").await;
}

async fn asked_until(gateway: &mut crate::server::Gateway, document: &str, expected: &str) {
    for attempt in 0.. {
        let answer = gateway.ask(document).await;
        if answer.contains(expected) {
            return;
        }
        assert!(attempt < 100, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_mapping_that_finds_nothing_says_so_and_a_dialect_goes_before_it() {
    let server = Server::start().await;
    let native = GREENHOUSE.replace("root = 'station'", "root = 'push'").replace("'greenhouse'", "'thief'");
    server.store.mapping_save(greenhouse(), GREENHOUSE.to_owned()).await.unwrap();
    server.store.mapping_save(MappingName::parse("thief").unwrap(), native).await.unwrap();
    // The directory is renewed within a second or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut gateway = server.connect().await;
    gateway.ask(&hello()).await;
    let answer = gateway.ask("<station serial='gw-0001'/>").await;
    assert!(answer.contains("code=\"no-readings\" retry=\"false\""), "{answer}");
    assert_eq!(server.quarantine().await[0].entry.code, RefusalCode::NoReadings);
    assert_eq!(gateway.ask(&crate::server::push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn a_known_logger_of_unknown_xml_need_not_send_it_for_ever() {
    let server = Server::start().await;
    let known = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    let reply = send(&server, &known, STATION.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("code=\"unsupported\""), "it is told what became of it: {}", reply.body);
    assert_eq!(server.quarantine().await[0].entry.raw, STATION.as_bytes());
    // What is not whole, or not one document, comes again as it is: it is kept, too.
    for broken in ["", "<station", "<station/><station/>"] {
        let reply = send(&server, &known, broken.as_bytes()).await;
        assert_eq!(reply.status, 200, "{broken}: {}", reply.body);
        assert!(reply.body.contains("code=\"malformed\""), "{broken}: {}", reply.body);
        assert_eq!(server.quarantine().await[0].entry.raw, broken.as_bytes());
    }
    assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", STATION.as_bytes()).await.status, 422);

    server.store.mapping_save(greenhouse(), GREENHOUSE.to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for refused in ["<station serial='gw-0001'/>", "<station serial='gw-0001'><row></station>"] {
        let reply = send(&server, &known, refused.as_bytes()).await;
        assert_eq!(reply.status, 200, "{refused}: {}", reply.body);
    }
}
