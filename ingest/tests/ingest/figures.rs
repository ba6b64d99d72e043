//! What a server says of itself in figures.

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
