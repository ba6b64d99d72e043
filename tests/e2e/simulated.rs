//! `heliograph simulate` against a real ingest, and its journal before the oracle.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heliograph_store::StoreUrl;

use crate::binary::{HELIOGRAPH, NO_SPOOL, Process, connect, free_address, run, spawn_with, terminate};
use crate::crash::{commission_named, start_with};
use crate::ingest::Ingest;
use crate::journal::Reading;
use crate::load::KEY;
use crate::oracle::{self, Stored};
use crate::secured::certificate;
use crate::simulation::Simulation;
use crate::soak;

const PATIENCE: Duration = Duration::from_secs(30);

fn start(folder: &Path, address: SocketAddr) -> Process {
    start_with(folder, "sunrise", address, &["--unknown-gateways", "adopted"])
}

#[test]
fn what_was_acked_to_simulated_gateways_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut ingest = start(folder.path(), address);
    let simulation = Simulation { gateways: 40, rate: 200, ..Simulation::new("sunrise", "sim-", folder.path()) };
    let running = simulation.command(address, 5).stderr(Stdio::piped()).spawn().unwrap();
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
    simulation.run(address, 1);
    let sent = simulation.sending().sent;
    assert_eq!(sent.iter().flatten().count(), 1200);
    assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some()));
    terminate(&mut ingest);
    let verdict = oracle::judge(&sent, &[], &oracle::sqlite::read(&folder.path().join("sunrise.db")));
    assert!(verdict.is_clean(), "{verdict}");
}

/// Gateways that have a key and push less than once a second, as some dialects know
/// whole seconds only: all that the journal says is in the store, and nothing else.
#[tokio::test]
async fn simulated_gateways_of_every_dialect_are_acked_and_stored_as_their_journals_say() {
    let folder = tempfile::tempdir().unwrap();
    let dialects = ["native", "senml", "acquisuite", "egauge", "rainforest", "sunspec", "mii", "sma"];
    let prefixes = ["native-", "senml-", "acquisuite-", "egauge-", "rainforest-", "sunspec-", "mii-", "sma-"];
    let (gateways, readings) = (3, 13);
    let simulations = dialects.into_iter().zip(prefixes).map(|(dialect, prefix)| Simulation {
        dialect,
        gateways,
        rate: 2,
        readings,
        key: Some(KEY),
        ..Simulation::new("sunrise", prefix, folder.path())
    });
    let simulations: Vec<_> = simulations.collect();
    let named = prefixes.iter().flat_map(|prefix| {
        let maker = if *prefix == "mii-" { "simulated/" } else { "" };
        (0..gateways).map(move |number| format!("{maker}{prefix}{number}"))
    });
    commission_named(StoreUrl::sqlite(folder.path()), "sunrise", named).await;
    let address = free_address();
    let mut ingest = start_with(folder.path(), "sunrise", address, &[]);
    let running: Vec<_> = simulations.iter().map(|simulation| simulation.command(address, 3).spawn().unwrap()).collect();
    for (child, simulation) in running.into_iter().zip(&simulations) {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}: {said}", simulation.dialect);
        let result: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&result["sent"], &result["acked"]), (&6.into(), &6.into()), "{}: {said}", simulation.dialect);
    }
    terminate(&mut ingest);

    let sendings: Vec<_> = simulations.iter().map(Simulation::sending).collect();
    let sent = sendings.iter().flat_map(|sending| sending.sent.iter().flatten());
    let mut said: Vec<_> =
        sent.flat_map(|sent| sent.document.readings.iter().map(|reading| exact(&sent.document.gateway, reading))).collect();
    let stored = oracle::sqlite::read(&folder.path().join("sunrise.db"));
    let mut stored: Vec<_> = stored
        .into_iter()
        .map(|Stored { gateway, sensor, metric, unit, time, value }| {
            exact(&gateway, &Reading { sensor, metric, unit, time, value })
        })
        .collect();
    said.sort();
    stored.sort();
    assert_eq!(said.len(), dialects.len() * 6 * readings as usize);
    assert_eq!(stored, said);
}

/// All of a reading, to the last bit.
fn exact(gateway: &str, reading: &Reading) -> (String, String, String, String, i64, u64) {
    let Reading { sensor, metric, unit, time, value } = reading.clone();
    (gateway.to_owned(), sensor, metric, unit, time, value.to_bits())
}

#[test]
#[ignore = "takes 10,000 files and a minute: make soak"]
fn what_five_thousand_simulated_gateways_were_acked_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [NO_SPOOL[0], NO_SPOOL[1], ("HELIOGRAPH__INGEST__CONNECTIONS_PER_ADDRESS", "6000")];
    let options = ["--store", "sqlite:.", "--unknown-gateways", "adopted"];
    let ingest = Ingest::start("sunrise", free_address(), &options, &settings, folder.path());
    let simulation = Simulation { gateways: 5000, rate: 500, ..Simulation::new("sunrise", "sim-", folder.path()) };
    let result = simulation.run(ingest.address, soak::seconds(40).as_secs() as u32);
    println!("{result}");
    assert_eq!(result["acked"], result["sent"], "{result}");
    ingest.terminate();
    let sent = simulation.sending().sent;
    assert_eq!(sent.len(), 5000, "every gateway has pushed");
    let verdict = oracle::judge(&sent, &[], &oracle::sqlite::read(&folder.path().join("sunrise.db")));
    assert!(verdict.is_clean(), "{verdict}");
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
    // Without --ca whatever the system trusts is trusted, and nothing else.
    let by_system = |trusted: &str| {
        let mut command = Command::new(HELIOGRAPH);
        command.args(["simulate", "--to", &to, "--gateways", "3", "--rate", "3", "--for", "2s", "--tls"]);
        let output =
            command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = by_system("server.pem");
    assert!(code == Some(0) && said.contains("readings acked   120,"), "{said}");
    certificate(folder.path(), "another");
    let began = Instant::now();
    let (code, said) = by_system("another.pem");
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("the server's certificate is not trusted") && said.contains("--ca FILE"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "it does not try for ever");
    let (code, said) = by_system("missing.pem");
    assert!(code == Some(1) && said.contains("this system has no certificates to trust") && said.contains("--ca FILE"), "{said}");
    terminate(&mut ingest);
    let output = run(
        &["simulate", "--to", &to, "--gateways", "1", "--rate", "1", "--for", "1s", "--tls", "--ca", "missing.pem"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("read missing.pem"));
}
