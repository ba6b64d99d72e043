//! What gateways send before anybody has commissioned them.

use std::time::Duration;

use heliograph_domain::{GatewayId, KeyDigest, MappingName, QuarantineId, RefusalCode, Timestamp, UnknownGateways};
use heliograph_ingest::{IngestSettings, Proof, Replayer, Verdict};
use heliograph_store::{QuarantineNew, Was};
use uuid::Uuid;

use crate::http::{basic, send};
use crate::mapped::{GREENHOUSE, STATION, greenhouse};
use crate::server::{KEY, Server, commission, now, push};

pub(crate) fn of(gateway: &str, document: &str) -> String {
    document.replace("gw-0001", gateway)
}

/// Waits until so many entries are left.
pub(crate) async fn left(server: &Server, expected: usize) {
    for attempt in 0.. {
        let entries = server.quarantine().await;
        if entries.len() == expected {
            return;
        }
        assert!(attempt < 150, "{expected} expected, {} there: {:?}", entries.len(), entries.first());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_is_held_of_a_gateway_is_stored_when_it_is_commissioned() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    // Its clock is not used: these readings are of the moment in which they came.
    let timeless =
        "<push gateway=\"gw-new\" key=\"correct-horse\"><sensor id=\"s\"><reading metric=\"m\">7</reading></sensor></push>";
    for document in [&of("gw-new", &push("1", 0, &[1.0])), &of("gw-new", &push("2", 1, &[2.0])), timeless] {
        let answer = gateway.ask(document).await;
        assert!(answer.contains("code=\"unknown-gateway\" retry=\"true\""), "{answer}");
    }
    left(&server, 3).await;
    commission(&server.store, "gw-new", "Europe/Madrid", 2).await;
    left(&server, 0).await;
    let rows = server.readings("gw-new").await;
    let found: Vec<_> = rows.iter().map(|row| (row.time.to_string(), row.value)).collect();
    let at = |time: &str| time.to_owned();
    assert_eq!(found, [(at("2026-11-20T00:00:00Z"), 1.0), (at("2026-11-20T00:01:00Z"), 2.0), (now().to_string(), 7.0)]);
}

#[tokio::test]
async fn a_stranger_gets_nothing_into_a_gateway_by_guessing_its_id() {
    let server = Server::start().await;
    let document = of("gw-new", &push("1", 0, &[1.0]));
    let mut stranger = server.connect().await;
    for forged in [document.replace(KEY, "wrong"), document.replace(&format!(" key=\"{KEY}\""), "")] {
        stranger.ask(&forged).await;
    }
    // Nor with the mask in place of a key, as the quarantine shows it.
    stranger.ask(&document.replace(KEY, "***").replace("seq=\"1\"", "seq=\"2\"")).await;
    let mut gateway = server.connect().await;
    gateway.ask(&of("gw-new", &push("3", 5, &[5.0]))).await;
    left(&server, 4).await;
    commission(&server.store, "gw-new", "UTC", 2).await;
    left(&server, 3).await;
    assert_eq!(server.readings("gw-new").await.iter().map(|row| row.value).collect::<Vec<_>>(), [5.0]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(server.quarantine().await.len(), 3, "they stay for the owner to look at");

    // Whoever looks after the store may vouch for them.
    let replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
    for row in server.quarantine().await {
        let judged = replayer.judge(row.entry.id, Proof::Key, now()).await.unwrap();
        assert!(matches!(judged.verdict, Verdict::Refuse { code: RefusalCode::BadKey, .. }), "{judged:?}");
        let judged = replayer.judge(row.entry.id, Proof::Vouched, now()).await.unwrap();
        assert_eq!(replayer.replay(&judged).await.unwrap(), None);
    }
    left(&server, 0).await;
    assert_eq!(server.readings("gw-new").await.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0, 5.0]);
}

#[tokio::test]
async fn a_document_is_not_replayed_where_a_mask_took_something_from_what_it_says() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let document = of("gw-new", &push("1", 0, &[1.0]));
    let sensor = document.split_once("<sensor id=\"").unwrap().1.split('"').next().unwrap();
    let sensor = format!("<sensor id=\"{sensor}\"");
    for (seq, from, to) in [
        ("2", sensor.as_str(), "<sensor id=\"5dr8k2mz-77wq3xbn-0c1vnf4t-9hjse6ay\""),
        ("3", sensor.as_str(), "<key>K<b/></key><sensor id=\"other\""),
    ] {
        gateway.ask(&document.replace("seq=\"1\"", &format!("seq=\"{seq}\"")).replace(from, to)).await;
    }
    gateway.ask(&document).await;
    left(&server, 3).await;
    commission(&server.store, "gw-new", "UTC", 2).await;
    left(&server, 2).await;
    let replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
    for row in server.quarantine().await {
        let judged = replayer.judge(row.entry.id, Proof::Vouched, now()).await.unwrap();
        let Verdict::Refuse { code, reason } = &judged.verdict else { panic!("{judged:?}") };
        assert!(*code == RefusalCode::Unsupported && reason.contains("masked"), "{code} {reason}");
    }
    assert_eq!(server.readings("gw-new").await.len(), 1);
}

#[tokio::test]
async fn a_key_that_is_revoked_while_entries_are_tried_lets_no_further_one_in() {
    let server = Server::start().await;
    commission(&server.store, "gw-2", "UTC", 2).await;
    for number in [1, 2] {
        let (entry, presented) = held(number, KEY);
        // The server itself tries what is held alone.
        let entry = QuarantineNew { code: RefusalCode::Unsupported, ..entry };
        server.store.quarantine_add_with(entry, Some(presented)).await.unwrap();
    }
    let mut replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
    let [first, second] = [1, 2].map(|number| QuarantineId::new(Uuid::from_u128(number)));
    let judged = replayer.judge(first, Proof::Key, now()).await.unwrap();
    assert!(matches!(judged.verdict, Verdict::Take { .. }), "{judged:?}");
    let gateway = GatewayId::parse("gw-2").unwrap();
    let key = server.store.credential_list(&gateway).await.unwrap()[0].id;
    server.store.credential_revoke(&gateway, key, now()).await.unwrap();
    replayer.renew().await.unwrap();
    let judged = replayer.judge(second, Proof::Key, now()).await.unwrap();
    assert!(matches!(judged.verdict, Verdict::Refuse { code: RefusalCode::BadKey, .. }), "{judged:?}");
}

/// A document of `gw-2` as another process would have held it, and what is kept of
/// the key that came with it.
fn held(number: u128, key: &str) -> (QuarantineNew, KeyDigest) {
    let id = QuarantineId::new(Uuid::from_u128(number));
    let entry = QuarantineNew {
        id,
        received: Timestamp::parse_rfc3339("2026-11-20T10:00:00Z").unwrap(),
        gateway: Some("gw-2".to_owned()),
        address: "192.0.2.1:1".to_owned(),
        code: RefusalCode::UnknownGateway,
        reason: "gateway gw-2 is not commissioned yet".to_owned(),
        raw: of("gw-2", &push("1", number as usize, &[1.0])).replace(KEY, "***").into_bytes(),
        trusted: false,
    };
    (entry, KeyDigest::of(key).bound_to(id))
}

#[tokio::test]
async fn a_key_beside_the_document_counts_as_one_in_it() {
    let server = Server::start().await;
    let log = "<DAS><mode>LOGFILEUPLOAD</mode><serial>00A0C9</serial><devices><device><address>1</address><records><record>\
        <time zone=\"UTC\">2026-11-20 11:00:00</time><error>0</error><point name=\"Power\" units=\"kW\" value=\"1.5\"/></record></records>\
        </device></devices></DAS>";
    let senml = "<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml bn='roof' bt='1795172400' u='W' v='5'/></sensml>";
    for (gateway, document) in [("00A0C9", log), ("roof-gw", senml)] {
        let reply = send(&server, &format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic(gateway, KEY)), document.as_bytes()).await;
        assert_eq!(reply.status, 401, "{}", reply.body);
    }
    // SenML names no gateway: a hello before it does, let in or not.
    let mut gateway = server.connect().await;
    gateway.ask(&format!("<hello gateway=\"field\" key=\"{KEY}\"/>")).await;
    let answer = gateway.ask(senml).await;
    assert!(answer.contains("gateway field is not commissioned yet"), "{answer}");
    left(&server, 4).await;
    for row in server.quarantine().await {
        let raw = String::from_utf8_lossy(&row.entry.raw).into_owned();
        assert!(!raw.contains(KEY) && !row.entry.reason.contains(KEY), "{raw}");
    }
    for (number, gateway) in ["00A0C9", "roof-gw", "field"].iter().enumerate() {
        commission(&server.store, gateway, "UTC", 2 + number as u128).await;
    }
    left(&server, 0).await;
    for gateway in ["00A0C9", "roof-gw", "field"] {
        assert_eq!(server.readings(gateway).await.len(), 1, "{gateway}");
    }
    for attempt in 0.. {
        // On the same connection, without another hello.
        if gateway.ask(senml).await == "<ack readings=\"1\"/>" {
            break;
        }
        assert!(attempt < 100, "the new key does not come into force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_document_that_a_waiting_gateway_repeats_is_held_once() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    for _ in 0..30 {
        gateway.ask(&of("gw-new", &push("1", 0, &[1.0]))).await;
    }
    gateway.ask(&of("gw-new", &push("2", 1, &[1.0]))).await;
    assert_eq!(server.quarantine().await.len(), 2);
}

#[tokio::test]
async fn what_another_process_holds_is_stored_too() {
    let server = Server::start().await;
    commission(&server.store, "gw-2", "UTC", 2).await;
    // As if another process had held them, before anybody knew the gateway here.
    for (number, key) in [(1, KEY), (2, KEY), (3, "another")] {
        let (entry, presented) = held(number, key);
        server.store.quarantine_add_with(entry, Some(presented)).await.unwrap();
    }
    commission(&server.store, "gw-3", "UTC", 3).await;
    left(&server, 1).await;
    assert_eq!(server.readings("gw-2").await.len(), 2);
}

#[tokio::test]
async fn a_held_document_that_cannot_be_read_says_why_once_its_gateway_is_known() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let bad = of("gw-new", &push("1", 0, &[1.0, f64::NAN]));
    gateway.ask(&bad).await;
    commission(&server.store, "gw-new", "UTC", 2).await;
    for attempt in 0.. {
        let kept = server.quarantine().await;
        if kept[0].entry.code == RefusalCode::BadValue {
            assert!(kept[0].entry.reason.contains("line 1: bad-value"), "{}", kept[0].entry.reason);
            break;
        }
        assert!(attempt < 100, "{}", kept[0].entry.reason);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.readings("gw-new").await.len(), 1);
}

#[tokio::test]
async fn what_a_mapping_would_change_is_told_before_it_does() {
    let server = Server::with(IngestSettings::default(), UnknownGateways::Refused).await;
    let mut gateway = server.connect().await;
    gateway.ask(&format!("<hello gateway=\"gw-0001\" key=\"{KEY}\"/>")).await;
    gateway.ask(STATION).await;
    let id = server.quarantine().await[0].entry.id;
    let replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
    let judged = replayer.judge(id, Proof::Key, now()).await.unwrap();
    assert!(matches!(judged.verdict, Verdict::Refuse { code: RefusalCode::Unsupported, .. }), "{judged:?}");

    let mapping = heliograph_dialects::Mapping::parse(GREENHOUSE).unwrap();
    let replayer = Replayer::open(server.store.clone(), Some(mapping.into()), false).await.unwrap();
    let judged = replayer.judge(id, Proof::Key, now()).await.unwrap();
    let Verdict::Take { document, refused } = &judged.verdict else { panic!("{judged:?}") };
    assert!(refused.is_empty());
    let differences = replayer.preview(document).await.unwrap();
    assert_eq!((differences.len(), differences[0].value, differences[0].was), (1, 21.5, Was::Nothing));
    assert!(server.values().await.is_empty() && server.quarantine().await.len() == 1, "nothing has changed");

    // The provider's own does the same.
    server.store.mapping_save(greenhouse(), GREENHOUSE.to_owned()).await.unwrap();
    server.store.mapping_save(MappingName::parse("z").unwrap(), GREENHOUSE.replace("21", "z")).await.unwrap();
    let replayer = Replayer::open(server.store.clone(), None, false).await.unwrap();
    let judged = replayer.judge(id, Proof::Key, now()).await.unwrap();
    assert_eq!(replayer.replay(&judged).await.unwrap(), None);
    assert_eq!(server.values().await, [21.5]);
    assert!(server.quarantine().await.is_empty());
}
