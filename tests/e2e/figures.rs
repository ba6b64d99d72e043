//! What a role says of itself: its figures, and whose log lines these are.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rusqlite::Connection;
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

    // Who looks whether it listens has come and gone, this one stays.
    let staying = connect(ingest.address, Duration::from_secs(60));
    ingest.await_metric("heliograph_ingest_connections_total", |all| all == 3.0);
    ingest.await_metric("heliograph_ingest_connections", |open| open == 1.0);
    let metrics = ingest.get("/metrics");
    let figure = |name: &str, labels: &[&str]| {
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        metrics.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let documents = "heliograph_ingest_documents_total";
    assert_eq!(figure(documents, &["provider=\"sunrise\"", "dialect=\"native\"", "outcome=\"ack\""]), Some(500.0), "{metrics}");
    assert_eq!(figure(documents, &["dialect=\"unknown\"", "outcome=\"unsupported\""]), Some(1.0), "{metrics}");
    assert_eq!(figure("heliograph_ingest_quarantined_total", &["code=\"unsupported\""]), Some(1.0), "{metrics}");
    assert_eq!(figure("heliograph_ingest_connections_total", &["provider=\"sunrise\""]), Some(3.0), "{metrics}");
    assert_eq!(
        figure("heliograph_ingest_bytes_total", &[]),
        Some((500 * hello.len() + "<inventory/>".len()) as f64),
        "{metrics}"
    );
    assert_eq!(figure("heliograph_store_errors_total", &[]), None, "{metrics}");
    drop(staying);
    // None of them was ahead of a rate.
    assert_eq!(figure("heliograph_ingest_slowed_total", &[]), None, "{metrics}");

    let log = ingest.log.clone();
    ingest.terminate();
    let logged = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "draining"), "{logged}");
    assert!(lines.iter().all(|line| line["provider"] == "sunrise"), "{logged}");
}

#[tokio::test]
async fn writes_that_the_store_does_not_take_count_though_the_spool_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    let settings = [("HELIOGRAPH__INGEST__STORE_DEADLINE_MS", "300")];
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &settings, folder.path());
    let errors = |operation: &str| {
        let (metrics, label) = (ingest.get("/metrics"), format!("operation=\"{operation}\""));
        let mut lines = metrics.lines().filter(|line| line.starts_with("heliograph_store_errors_total") && line.contains(&label));
        lines.next().map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    let push = |seq: u32, document: &str| {
        let mut gateway = connect(ingest.address, Duration::from_secs(60));
        write!(gateway, "<hello gateway=\"gw-0\" key=\"{KEY}\" seq=\"{seq}\"/>{document}").unwrap();
        gateway.shutdown(Shutdown::Write).unwrap();
        std::io::read_to_string(gateway).unwrap()
    };
    let reading = "<push gateway=\"gw-0\"><sensor id=\"s\"><reading metric=\"m\">1</reading></sensor></push>";
    assert!(push(1, reading).ends_with("<ack readings=\"1\"/>\n"));
    assert_eq!((errors("document_write"), errors("spool_drain")), (0, 0));

    let lock = Connection::open(folder.path().join("sunrise.db")).unwrap();
    lock.busy_timeout(Duration::from_secs(60)).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (refused, taken) = (push(2, "<inventory/>"), push(3, reading));
    assert!(refused.contains("unsupported") && taken.ends_with("<ack readings=\"1\"/>\n"), "{refused}{taken}");
    // The first one finds out, what comes behind it goes to the spool at once.
    assert_eq!(errors("quarantine_add"), 1);
    ingest.await_metric("heliograph_spool_documents", |documents| documents == 2.0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while errors("spool_drain") == 0 {
        assert!(Instant::now() < deadline, "attempts to drain fail and do not count: {}", ingest.get("/metrics"));
        std::thread::sleep(Duration::from_millis(200));
    }
    lock.execute_batch("ROLLBACK").unwrap();
    ingest.await_metric("heliograph_spool_documents", |documents| documents == 0.0);
    let before = errors("spool_drain");
    assert!(push(4, reading).ends_with("<ack readings=\"1\"/>\n"));
    assert_eq!((errors("quarantine_add"), errors("document_write"), errors("spool_drain")), (1, 0, before));
    ingest.terminate();
}
