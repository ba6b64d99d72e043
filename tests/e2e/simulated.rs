//! `heliograph simulate` against a real ingest, and its journal before the oracle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::binary::{HELIOGRAPH, NO_SPOOL, Process, connect, free_address, run, spawn_with, terminate};
use crate::journal::{self, Sent};
use crate::oracle;
use crate::secured::certificate;

const PATIENCE: Duration = Duration::from_secs(30);

fn start(folder: &Path, address: SocketAddr) -> Process {
    let (store, address_text) = (format!("sqlite:{}", folder.display()), address.to_string());
    let arguments =
        ["ingest", "--provider", "sunrise", "--listen", &address_text, "--store", &store, "--unknown-gateways", "adopted"];
    let ingest = spawn_with(&arguments, &NO_SPOOL, folder);
    drop(connect(address, PATIENCE));
    ingest
}

/// What a journal says, gateway by gateway.
fn sent(journal: &Path) -> Vec<Vec<Sent>> {
    let mut by_gateway: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    for sent in journal::read(journal).unwrap() {
        by_gateway.entry(sent.document.gateway.clone()).or_default().push(sent);
    }
    by_gateway.into_values().collect()
}

#[test]
fn what_was_acked_to_simulated_gateways_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut ingest = start(folder.path(), address);
    let journal = folder.path().join("simulate.journal");
    let simulate = |seconds: &str| {
        let to = address.to_string();
        let mut command = Command::new(HELIOGRAPH);
        command.args(["simulate", "--to", &to, "--gateways", "40", "--rate", "200", "--for", seconds, "--json", "--journal"]);
        command.arg(&journal).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let running = simulate("5s").spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    ingest.0.kill().unwrap();
    ingest.0.wait().unwrap();
    ingest = start(folder.path(), address);
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((result["sent"].as_u64(), result["unanswered"].as_u64()), (Some(1000), Some(0)), "{result}");
    assert_eq!(result["acked"], result["sent"], "{result}");
    assert!(result["connections_lost"].as_u64() > Some(0), "the kill was not noticed: {result}");
    // Who waits for a server that is away waits from when the document was due.
    let latency = |name: &str| result["latency_ms"][name].as_f64().unwrap();
    assert!(latency("p50") > 0.1 && latency("max") > 40.0, "{result}");

    // A further run goes on where the journal ends.
    assert!(simulate("1s").status().unwrap().success());
    let sent = sent(&journal);
    assert_eq!(sent.iter().flatten().count(), 1200);
    assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some()));
    terminate(&mut ingest);
    let verdict = oracle::judge(&sent, &[], &oracle::sqlite::read(&folder.path().join("sunrise.db")));
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn simulated_gateways_speak_senml_and_http() {
    for dialect in ["senml", "acquisuite"] {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut ingest = start(folder.path(), address);
        let to = address.to_string();
        // Less than a document a second of each: an AcquiSuite knows no fractions.
        let arguments = ["simulate", "--to", &to, "--gateways", "5", "--rate", "4", "--for", "3s", "--dialect", dialect];
        let output = run(&arguments, folder.path());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("documents sent   12 by 5 gateways") && said.contains("readings acked   240,"), "{said}");
        terminate(&mut ingest);
        assert_eq!(oracle::sqlite::read(&folder.path().join("sunrise.db")).len(), 240, "{dialect}");
    }
}

#[test]
fn a_refusal_is_shown_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let (store, to) = (format!("sqlite:{}", folder.path().display()), address.to_string());
    let arguments = ["ingest", "--provider", "sunrise", "--listen", &to, "--store", &store];
    let _ingest = spawn_with(&arguments, &NO_SPOOL, folder.path());
    drop(connect(address, PATIENCE));
    let arguments = ["simulate", "--to", &to, "--gateways", "2", "--rate", "4", "--for", "1s", "--dialect", "acquisuite"];
    let output = run(&arguments, folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("refused          4") && said.contains("refused with     401"), "{said}");
    let output = run(&["simulate", "--to", &to, "--gateways", "0", "--rate", "4", "--for", "1s"], folder.path());
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn simulated_gateways_push_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "server");
    let address = free_address();
    let to = address.to_string();
    let arguments = ["ingest", "--provider", "sunrise", "--listen", &to, "--store", "sqlite:.", "--unknown-gateways", "adopted"];
    let tls = ["--tls-certificate", "server.pem", "--tls-key", "server.key"];
    let mut ingest = spawn_with(&[&arguments[..], &tls].concat(), &NO_SPOOL, folder.path());
    drop(connect(address, PATIENCE));
    for dialect in ["native", "acquisuite"] {
        let arguments = ["simulate", "--to", &to, "--gateways", "3", "--rate", "3", "--for", "2s", "--dialect", dialect];
        let trusted = run(&[&arguments[..], &["--tls", "--ca", "server.pem"]].concat(), folder.path());
        let said = String::from_utf8(trusted.stdout).unwrap();
        assert!(trusted.status.success() && said.contains("readings acked   120,"), "{said}");
    }
    terminate(&mut ingest);
    let output = run(
        &["simulate", "--to", &to, "--gateways", "1", "--rate", "1", "--for", "1s", "--tls", "--ca", "missing.pem"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("read missing.pem"));
}
