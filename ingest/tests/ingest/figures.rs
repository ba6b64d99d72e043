//! What a server says of itself in figures.

use std::time::{Duration, Instant};

use heliograph_domain::UnknownGateways;
use heliograph_ingest::{IngestSettings, Rates};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::http::send;
use crate::server::{KEY, Server, push};

/// What is counted on the thread of one test, which is where its server runs.
pub(crate) fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// What a metric stands at, with its labels as they are rendered; 0 before anything is
/// counted.
pub(crate) fn figure(recorder: &PrometheusRecorder, metric: &str) -> f64 {
    let rendered = recorder.handle().render();
    let line = rendered.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

const SLOWED: &str = "heliograph_ingest_slowed_total";

#[tokio::test]
async fn gateways_within_their_rates_are_never_read_slower() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.send(&format!("<hello gateway=\"gw-0001\" key=\"{KEY}\"/>").repeat(100)).await;
    for _ in 0..100 {
        assert_eq!(gateway.answer().await, "<ack readings=\"0\"/>");
    }
    for seq in 0..20 {
        assert!(gateway.ask(&push(&seq.to_string(), seq, &[1.0])).await.starts_with("<ack"));
    }
    assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", push("h", 30, &[1.0]).as_bytes()).await.status, 200);
    assert_eq!(figure(&recorder, "heliograph_ingest_readings_total"), 21.0);
    assert_eq!(figure(&recorder, SLOWED), 0.0);
}

#[tokio::test]
async fn documents_are_counted_by_dialect_and_outcome_and_the_quarantine_by_code() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    let mut gateway = server.connect().await;
    gateway.ask(&format!("<hello gateway=\"gw-0001\" key=\"{KEY}\"/>")).await;
    gateway.ask(&push("1", 0, &[1.0])).await;
    gateway.ask(&push("2", 1, &[1.0, f64::NAN])).await;
    let senml = "<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml n='a' u='W' v='1'/></sensml>";
    gateway.ask(senml).await;
    gateway.ask("<inventory/>").await;
    assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", b"<DAS><mode></DAS>").await.status, 400);
    gateway.ask("hello").await;
    let documents = |dialect: &str, outcome: &str| {
        figure(&recorder, &format!("heliograph_ingest_documents_total{{dialect=\"{dialect}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!(documents("native", "ack"), 2.0);
    assert_eq!((documents("native", "partial"), documents("senml", "ack")), (1.0, 1.0));
    assert_eq!((documents("unknown", "unsupported"), documents("acquisuite", "malformed")), (1.0, 1.0));
    assert_eq!(documents("unknown", "malformed"), 1.0);
    let kept = |code: &str| figure(&recorder, &format!("heliograph_ingest_quarantined_total{{code=\"{code}\"}}"));
    assert_eq!([kept("bad-value"), kept("unsupported"), kept("malformed")], [1.0, 1.0, 2.0]);
    // It is looked at once at the start.
    while !recorder.handle().render().contains("heliograph_quarantine_documents ") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(recorder.handle().render().contains("heliograph_quarantine_bytes "));
}

/// The head of a request that pushes a body, and waits for a word before it sends that.
fn head(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn how_long_an_ack_took_by_http_is_told_without_what_its_sender_took() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]);
    let mut gateway = server.connect().await;
    gateway.send(&head(document.len())).await;
    assert_eq!(gateway.answer().await, "HTTP/1.1 100 Continue\r");
    assert_eq!(gateway.answer().await, "\r");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = Instant::now();
    gateway.send(&document).await;
    assert_eq!(gateway.answer().await, "HTTP/1.1 200 OK\r");
    let took = figure(&recorder, "heliograph_ingest_ack_seconds_sum");
    assert!(took > 0.0 && took <= sent.elapsed().as_secs_f64(), "{took} s");
}

#[tokio::test]
async fn an_ack_by_http_counts_before_it_is_held_back_for_a_rate() {
    let recorder = recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let rates = Rates { gateway_readings: 1, burst: Duration::from_secs(1), ..Rates::default() };
    let server = Server::with(IngestSettings { rates, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    let document = push("1", 0, &[1.0; 100]);
    let mut gateway = server.connect().await;
    gateway.send(&head(document.len())).await;
    assert_eq!(gateway.answer().await, "HTTP/1.1 100 Continue\r");
    assert_eq!(gateway.answer().await, "\r");
    gateway.send(&document).await;
    while figure(&recorder, "heliograph_ingest_ack_seconds_count") < 1.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It is held back for 20 seconds, or until the server drains.
    let early = gateway.stream.try_read(&mut [0; 1]);
    assert!(early.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it was counted with its answer");
    server.shutdown.cancel();
    assert_eq!(gateway.answer().await, "HTTP/1.1 200 OK\r");
}
