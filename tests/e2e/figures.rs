//! What a role says of itself: its figures, and whose log lines these are.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use serde_json::Value;

use crate::binary::{connect, free_address};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

#[tokio::test]
async fn figures_have_the_values_that_were_pushed_and_every_log_line_its_provider() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder.path());
    let mut gateway = connect(ingest.address, Duration::from_secs(60));
    let hello = format!("<hello gateway=\"gw-0\" key=\"{KEY}\"/>");
    write!(gateway, "{}<inventory/>", hello.repeat(500)).unwrap();
    gateway.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    gateway.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("<ack").count(), 500, "{answers}");

    let metrics = ingest.get("/metrics");
    let figure = |name: &str, labels: &[&str]| {
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        metrics.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let documents = "heliograph_ingest_documents_total";
    assert_eq!(figure(documents, &["provider=\"sunrise\"", "dialect=\"native\"", "outcome=\"ack\""]), Some(500.0), "{metrics}");
    assert_eq!(figure(documents, &["dialect=\"unknown\"", "outcome=\"unsupported\""]), Some(1.0), "{metrics}");
    assert_eq!(figure("heliograph_ingest_quarantined_total", &["code=\"unsupported\""]), Some(1.0), "{metrics}");
    // None of them was ahead of a rate.
    assert_eq!(figure("heliograph_ingest_slowed_total", &[]), None, "{metrics}");

    let log = ingest.log.clone();
    ingest.terminate();
    let logged = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "draining"), "{logged}");
    assert!(lines.iter().all(|line| line["provider"] == "sunrise"), "{logged}");
}
