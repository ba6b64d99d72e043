//! Bad input: the right answer, a quarantine row, and the others unmoved.

use std::time::Duration;

use heliograph_dialects::Limits;
use heliograph_domain::{RefusalCode, UnknownGateways};
use heliograph_ingest::IngestSettings;

use crate::server::{Gateway, KEY, Server, push};

/// A connection in the middle of a document while another one sends bad input.
struct Neighbour {
    gateway: Gateway,
    rest: String,
}

impl Neighbour {
    async fn begin(server: &Server) -> Self {
        let mut document = push("1", 0, &[1.0]);
        let rest = document.split_off(50);
        let mut gateway = server.connect().await;
        gateway.send(&document).await;
        Self { gateway, rest }
    }

    /// Its document is acked as if nothing had happened, and so is the next one
    /// on the same connection.
    async fn goes_on(mut self) {
        assert_eq!(self.gateway.ask(&self.rest).await, "<ack seq=\"1\" readings=\"1\"/>");
        assert_eq!(self.gateway.ask(&push("2", 5, &[5.0])).await, "<ack seq=\"2\" readings=\"1\"/>");
    }
}

/// Sends bytes that end the connection, beside a gateway that goes on.
async fn refused(bytes: &str, code: RefusalCode, limits: Limits) {
    let server = Server::with(IngestSettings { limits, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    let neighbour = Neighbour::begin(&server).await;
    let mut gateway = server.connect().await;
    gateway.send(&push("0", 1, &[2.0])).await;
    gateway.send(bytes).await;
    let answers = gateway.rest().await;
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 2, "{answers}");
    assert_eq!(lines[0], "<ack seq=\"0\" readings=\"1\"/>");
    assert!(lines[1].starts_with("<nack") && lines[1].contains(&format!("code=\"{code}\"")), "{answers}");

    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].entry.code, code);
    assert!(!kept[0].entry.reason.is_empty());
    assert!(!kept[0].entry.raw.is_empty());
    assert!(!String::from_utf8_lossy(&kept[0].entry.raw).contains(KEY));

    neighbour.goes_on().await;
    assert_eq!(server.values().await, [1.0, 2.0, 5.0]);
}

/// Sends a document that is answered and leaves its connection open, beside a
/// gateway that goes on.
async fn answered(document: &str, answer: &str, code: RefusalCode) {
    let server = Server::start().await;
    let neighbour = Neighbour::begin(&server).await;
    let mut gateway = server.connect().await;
    let said = gateway.ask(document).await;
    assert!(said.starts_with(answer), "{said}");

    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].entry.code, code);
    assert!(kept[0].entry.reason.len() > code.to_string().len(), "{}", kept[0].entry.reason);
    let raw = String::from_utf8_lossy(&kept[0].entry.raw);
    assert!(raw.contains("seq=\"9\"") && !raw.contains(KEY), "{raw}");

    neighbour.goes_on().await;
    assert_eq!(gateway.ask(&push("10", 2, &[2.0])).await, "<ack seq=\"10\" readings=\"1\"/>");
    assert_eq!(server.values().await, [1.0, 2.0, 5.0]);
}

#[tokio::test]
async fn an_unknown_gateway_leaves_the_others_alone() {
    let stranger = push("9", 3, &[3.0]).replace("gw-0001", "gw-stranger");
    answered(&stranger, "<nack seq=\"9\" code=\"unknown-gateway\" retry=\"true\">", RefusalCode::UnknownGateway).await;
}

#[tokio::test]
async fn a_value_that_is_no_number_leaves_the_others_alone() {
    answered(&push("9", 3, &[f64::NAN]), "<ack seq=\"9\" readings=\"0\" rejected=\"1\"/>", RefusalCode::BadValue).await;
}

#[tokio::test]
async fn a_time_in_the_far_future_leaves_the_others_alone() {
    // The server's clock stands at noon of the 20th; up to 24 hours ahead is taken.
    for time in ["2026-11-21T12:00:01Z", "2126-11-20T12:00:00Z"] {
        let ahead = push("9", 3, &[3.0]).replace("2026-11-20T00:03:00Z", time);
        assert!(ahead.contains(time));
        answered(&ahead, "<ack seq=\"9\" readings=\"0\" rejected=\"1\"/>", RefusalCode::TimeInFuture).await;
    }
}

#[tokio::test]
async fn malformed_bytes_are_refused() {
    refused(&format!("<push gateway=\"gw-0001\" key=\"{KEY}\"><sensor></push>"), RefusalCode::Malformed, Limits::default()).await;
    refused("no xml at all", RefusalCode::Malformed, Limits::default()).await;
}

#[tokio::test]
async fn a_document_with_a_broken_attribute_is_refused_and_the_connection_closed() {
    let twice = push("5", 3, &[1.0]).replace("unit=\"W\"", "unit=\"W\" unit=\"kW\"");
    refused(&twice, RefusalCode::Malformed, Limits::default()).await;
}

#[tokio::test]
async fn limits_are_kept() {
    let small = Limits { document_bytes: 2_000, ..Limits::default() };
    refused(&push("2", 0, &[1.0; 40]), RefusalCode::TooLarge, small).await;
    refused(&"<a>".repeat(40), RefusalCode::TooDeep, Limits::default()).await;
}

#[tokio::test]
async fn an_internal_subset_is_refused_and_nothing_expands() {
    let bomb = "<!DOCTYPE push [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><push gateway=\"gw-0001\"><sensor id=\"&b;\"/></push>";
    refused(bomb, RefusalCode::Doctype, Limits::default()).await;
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_document_is_told_so() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.send(&push("1", 0, &[1.0])[..80]).await;
    tokio::io::AsyncWriteExt::shutdown(&mut gateway.stream).await.unwrap();
    let answer = gateway.rest().await;
    assert!(answer.contains("code=\"malformed\"") && answer.contains("seq=\"1\""), "{answer}");
    assert!(server.store.gateway_fetch(&"gw-0001".parse().unwrap()).await.unwrap().documents == 0);
}

#[tokio::test]
async fn an_unknown_root_is_refused_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let answer = gateway.ask("<weather-report/>").await;
    assert!(answer.contains("code=\"unsupported\" retry=\"false\""), "{answer}");
    assert_eq!(gateway.ask(&push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn single_readings_are_refused_and_the_rest_is_stored() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    let document = format!(
        "<push gateway=\"gw-0001\" key=\"{KEY}\" seq=\"3\"><sensor id=\"s\">
        <reading metric=\"power\" unit=\"W\" time=\"2026-11-20T10:00:00Z\">NaN</reading>
        <reading metric=\"power\" unit=\"W\" time=\"2026-11-20T10:01:00Z\">5</reading>
        <reading metric=\"power\" unit=\"W\" time=\"2026-11-21T12:00:01Z\">6</reading>
        <reading metric=\"power\" unit=\"W\" time=\"yesterday\">7</reading>
        <reading metric=\"power\" unit=\"W\" time=\"2026-11-21T11:59:59Z\">8</reading></sensor></push>"
    );
    assert_eq!(gateway.ask(&document).await, "<ack seq=\"3\" readings=\"2\" rejected=\"3\"/>");
    assert_eq!(server.values().await, [5.0, 8.0]);
    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 1);
    for reason in ["bad-value", "time-in-future", "bad-time", "line 2"] {
        assert!(kept[0].entry.reason.contains(reason), "{reason} in {}", kept[0].entry.reason);
    }
    let all = push("4", 0, &[f64::NAN]);
    assert_eq!(gateway.ask(&all).await, "<ack seq=\"4\" readings=\"0\" rejected=\"1\"/>");
}

#[tokio::test]
async fn a_document_without_readings_succeeds_with_none() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    assert_eq!(gateway.ask(&push("1", 0, &[])).await, "<ack seq=\"1\" readings=\"0\"/>");
}

#[tokio::test]
async fn excess_connections_are_told_so() {
    let settings = IngestSettings { connections: 2, ..IngestSettings::default() };
    let server = Server::with(settings, UnknownGateways::Refused).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    first.ask(&push("1", 0, &[1.0])).await;
    second.ask(&push("2", 0, &[1.0])).await;
    let answer = server.connect().await.rest().await;
    assert!(answer.contains("code=\"rate-limited\" retry=\"true\""), "{answer}");
    drop(first);
    for attempt in 0.. {
        let mut again = server.connect().await;
        again.send(&push("3", 0, &[1.0])).await;
        if again.answer().await.starts_with("<ack") {
            break;
        }
        assert!(attempt < 100, "the place of a connection that left is not given on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_flood_of_junk_keeps_what_gateways_had_refused() {
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.ask(&push("1", 0, &[f64::NAN])).await;
    let mut stranger = server.connect().await;
    let junk = "<a/>".repeat(1000);
    stranger.send(&junk).await;
    for _ in 0..1000 {
        assert!(stranger.answer().await.contains("unsupported"));
    }
    let kept = server.quarantine().await;
    assert!(kept.iter().any(|row| row.entry.trusted));
    assert!(kept.len() < 200, "{} entries", kept.len());
}

#[tokio::test]
async fn documents_that_never_end_share_a_bounded_room() {
    let settings = IngestSettings { room: 1024 * 1024, ..IngestSettings::default() };
    let server = Server::with(settings, UnknownGateways::Refused).await;
    let half = format!("<a>{}", "x".repeat(600 * 1024));
    let mut first = server.connect().await;
    first.send(&half).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut second = server.connect().await;
    // The server may close before it has read all of it.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut second.stream, half.as_bytes()).await;
    let answer = second.answer().await;
    assert!(answer.contains("rate-limited"), "{answer}");
    drop(first);
    assert_eq!(server.connect().await.ask(&push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn a_document_that_stops_in_the_middle_is_cut() {
    let settings = IngestSettings { stall: Duration::from_millis(300), ..IngestSettings::default() };
    let server = Server::with(settings, UnknownGateways::Refused).await;
    let mut gateway = server.connect().await;
    gateway.send(&format!("<a>{}", "x".repeat(100_000))).await;
    assert!(gateway.rest().await.contains("rate-limited"));
}

#[tokio::test]
async fn idle_and_slow_connections_are_let_go() {
    let settings = IngestSettings { idle: Duration::from_millis(400), ..IngestSettings::default() };
    let server = Server::with(settings, UnknownGateways::Refused).await;
    assert_eq!(server.connect().await.rest().await, "");
    // White space is no sign of life.
    let mut blank = server.connect().await;
    let began = std::time::Instant::now();
    while tokio::io::AsyncWriteExt::write_all(&mut blank.stream, b" ").await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "a connection that sends blanks stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_document_slower_than_the_minimum_rate_is_cut() {
    let settings = IngestSettings { grace: Duration::from_millis(300), ..IngestSettings::default() };
    let server = Server::with(settings, UnknownGateways::Refused).await;
    let mut gateway = server.connect().await;
    let document = push("1", 0, &[1.0]);
    gateway.send(&document[..60]).await;
    let answer = gateway.rest().await;
    assert!(answer.contains("64 bytes a second"), "{answer}");
}

#[tokio::test]
async fn what_came_fast_at_first_may_not_trickle_on_for_hours() {
    let (grace, stall) = (Duration::from_millis(300), Duration::from_secs(1));
    let server = Server::with(IngestSettings { grace, stall, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    for head in ["", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n"] {
        let mut gateway = server.connect().await;
        gateway.send(&format!("{head}<a>{}", "x".repeat(100_000))).await;
        let (mut reader, mut writer) = gateway.stream.into_split();
        let trickling = tokio::spawn(async move {
            while tokio::io::AsyncWriteExt::write_all(&mut writer, b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut answer = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut answer);
        // 100,000 bytes are worth 26 minutes at the minimum rate.
        tokio::time::timeout(Duration::from_secs(15), read).await.unwrap().unwrap();
        assert!(answer.contains("rate-limited") && answer.contains("64 bytes a second"), "{answer}");
        trickling.abort();
    }
}
