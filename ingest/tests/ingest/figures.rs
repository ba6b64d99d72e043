//! What a server says of itself in figures.

use std::time::Duration;

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
