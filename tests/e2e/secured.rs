//! Keys that are rotated and connections under TLS, by the commands of an operator
//! and what stands at the other end of the wire: OpenSSL.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use crate::binary::{free_address, run};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `heliograph gateway …` on the provider's store; answers its exit code, what
/// it printed and what it said beside that.
fn gateway(folder: &Path, words: &[&str], rest: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["gateway"], words, &["--provider", "sunrise", "--store", "sqlite:.", "gw-0"], rest].concat(), folder);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn start(folder: &Path, address: SocketAddr, options: &[&str]) -> Ingest {
    Ingest::start("sunrise", address, &[&["--store", "sqlite:."], options].concat(), &[], folder)
}

fn push(key: &str, seq: &str) -> String {
    let key = if key.is_empty() { String::new() } else { format!(" key=\"{key}\"") };
    format!(
        "<push gateway=\"gw-0\"{key} seq=\"{seq}\"><sensor id=\"m\"><reading metric=\"power\" unit=\"W\">5</reading></sensor></push>"
    )
}

/// The answer to a document on a connection of its own.
fn ask(address: SocketAddr, document: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(document.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks until an answer holds something: changes take effect within some seconds.
fn ask_until(address: SocketAddr, document: &str, says: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(address, document);
        if answer.contains(says) {
            return;
        }
        assert!(Instant::now() < deadline, "not {says:?} but {answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test]
async fn a_key_is_rotated_while_the_gateway_pushes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    commission(folder, "sunrise", 1).await;
    let address = free_address();
    let ingest = start(folder, address, &[]);
    assert!(ask(address, &push(KEY, "1")).starts_with("<ack seq=\"1\""));

    let (code, new, said) = gateway(folder, &["key", "rotate"], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(new.len(), 35, "{new}");
    assert!(said.contains("stays valid until it is revoked"), "{said}");
    ask_until(address, &push(&new, "2"), "<ack seq=\"2\"");
    assert!(ask(address, &push(KEY, "3")).starts_with("<ack seq=\"3\""), "both are valid");
    let (code, none, said) = gateway(folder, &["key", "rotate"], &[]);
    assert_eq!((code, none.as_str()), (Some(1), ""));
    assert!(said.contains("2 valid keys already"), "{said}");

    // The use of a key is written within some seconds, or when ingest ends.
    ingest.terminate();
    let (_, listed, _) = gateway(folder, &["key", "list"], &[]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with("  valid") && !line.contains("never")), "{listed}");
    assert!(!listed.contains(&new) && !listed.contains(KEY));
    let old = lines[1].split(' ').next().unwrap().to_owned();
    let ingest = start(folder, address, &[]);
    assert_eq!(gateway(folder, &["key", "end"], &["--key", &old, "--at", "2026-01-01"]).0, Some(0));
    ask_until(address, &push(KEY, "4"), "bad-key");
    assert!(gateway(folder, &["key", "list"], &[]).1.lines().nth(1).unwrap().ends_with("  ended 2026-01-01T00:00:00Z"));
    assert_eq!(gateway(folder, &["key", "end"], &["--key", &old, "--at", "never"]).0, Some(0));
    ask_until(address, &push(KEY, "5"), "<ack seq=\"5\"");
    assert_eq!(gateway(folder, &["key", "revoke"], &["--key", &old]).0, Some(0));
    ask_until(address, &push(KEY, "6"), "bad-key");
    assert!(ask(address, &push(&new, "7")).starts_with("<ack seq=\"7\""));
    let (code, _, said) = gateway(folder, &["key", "revoke"], &["--key", &old]);
    assert_eq!(code, Some(1), "{said}");
    ingest.terminate();

    // An end that was set comes no later for a further key.
    let (_, listed, _) = gateway(folder, &["key", "list"], &[]);
    let second = listed.split(' ').next().unwrap().to_owned();
    assert_eq!(gateway(folder, &["key", "end"], &["--key", &second, "--at", "2090-01-01"]).0, Some(0));
    let (code, _, said) = gateway(folder, &["key", "rotate"], &["--old-until", "2099-01-01"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("key {second} stays valid until 2090-01-01T00:00:00Z")), "{said}");
    let (_, listed, _) = gateway(folder, &["key", "list"], &[]);
    assert!(listed.lines().nth(1).unwrap().ends_with("  valid until 2090-01-01T00:00:00Z"), "{listed}");

    let trail = run(&["audit", "list", "--provider", "sunrise", "--store", "sqlite:."], folder);
    let trail = String::from_utf8(trail.stdout).unwrap();
    for action in ["credential.add", "credential.end", "credential.revoke"] {
        assert!(trail.contains(action), "{action} in {trail}");
    }
    assert!(!trail.contains(&new) && !trail.contains(KEY));
}

/// A certificate of its own, as two files.
pub(crate) fn certificate(folder: &Path, name: &str) -> CertifiedKey<KeyPair> {
    let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certified.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), certified.signing_key.serialize_pem()).unwrap();
    certified
}

/// Sends a document by `openssl s_client`, which trusts `server.pem`.
fn s_client(folder: &Path, address: SocketAddr, options: &[&str], document: &str) -> Output {
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-no_ign_eof",
            "-verify_return_error",
            "-servername",
            "localhost",
            "-connect",
            &address.to_string(),
        ])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("openssl cannot be run, deploy/dev/install.sh installs it: {error}"));
    let mut input = client.stdin.take().unwrap();
    // One that was refused has gone already.
    let _ = input.write_all(document.as_bytes());
    let mut answer = [0; 1];
    let mut output = client.stdout.take().unwrap();
    let mut said = Vec::new();
    while output.read(&mut answer).unwrap() == 1 {
        said.push(answer[0]);
        if answer[0] == b'\n' {
            break;
        }
    }
    drop(input);
    let mut ended = client.wait_with_output().unwrap();
    ended.stdout = said;
    ended
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const TLS: [&str; 4] = ["--tls-certificate", "server.pem", "--tls-key", "server.key"];

#[tokio::test]
async fn openssl_pushes_under_tls_and_a_certificate_is_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    commission(folder, "sunrise", 2).await;
    certificate(folder, "server");
    certificate(folder, "gateway");
    let (address, own) = (free_address(), free_address());
    let listen = own.to_string();
    let options = [&TLS[..], &["--tls-listen", &listen, "--client-certificates", "optional"]].concat();
    let ingest = start(folder, address, &options);
    let trusts = ["-CAfile", "server.pem"];
    for (to, version) in [(address, "-tls1_2"), (address, "-tls1_3"), (own, "-tls1_3")] {
        let output = s_client(folder, to, &[&trusts[..], &[version]].concat(), &push(KEY, "1"));
        assert!(said(&output).starts_with("<ack seq=\"1\""), "{version}: {output:?}");
    }
    assert!(ask(address, &push(KEY, "2")).starts_with("<ack"), "the first port still speaks XML");
    assert_eq!(ask(own, &push(KEY, "2")), "", "the other one speaks TLS alone");
    let old = s_client(folder, address, &[&trusts[..], &["-tls1_1"]].concat(), &push(KEY, "1"));
    assert!(!old.status.success() && said(&old).is_empty(), "{old:?}");

    let shows = [&trusts[..], &["-cert", "gateway.pem", "-key", "gateway.key"]].concat();
    assert!(said(&s_client(folder, address, &shows, &push("", "3"))).contains("bad-key"));
    let (code, fingerprint, problem) = gateway(folder, &["certificate", "add"], &["gateway.pem"]);
    assert_eq!((code, fingerprint.len()), (Some(0), 64), "{problem}");
    let openssl = Command::new("openssl")
        .args(["x509", "-in", "gateway.pem", "-noout", "-fingerprint", "-sha256"])
        .current_dir(folder)
        .output();
    let printed = String::from_utf8(openssl.unwrap().stdout).unwrap();
    assert!(printed.replace(':', "").to_lowercase().contains(&fingerprint), "{printed}");
    let deadline = Instant::now() + PATIENCE;
    while !said(&s_client(folder, address, &shows, &push("", "4"))).starts_with("<ack seq=\"4\"") {
        assert!(Instant::now() < deadline, "the certificate is not taken");
    }
    let foreign = s_client(folder, address, &shows, &push(KEY, "5").replace("gw-0", "gw-1"));
    assert!(said(&foreign).contains("bad-key"), "{foreign:?}");
    assert_eq!(ingest.metric("heliograph_ingest_tls_stale"), 0.0);
    ingest.terminate();
    let (_, listed, _) = gateway(folder, &["certificate", "list"], &[]);
    assert!(listed.starts_with(&fingerprint) && !listed.contains("never"), "{listed}");
    assert_eq!(gateway(folder, &["certificate", "remove"], &[printed.trim()]).0, Some(0));
    assert_eq!(gateway(folder, &["certificate", "list"], &[]).1, "");
}

#[tokio::test]
async fn a_certificate_is_renewed_at_sighup_and_a_broken_one_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    commission(folder, "sunrise", 1).await;
    certificate(folder, "server");
    let address = free_address();
    let ingest = start(folder, address, &TLS);
    let old = std::fs::read(folder.join("server.pem")).unwrap();
    std::fs::write(folder.join("old.pem"), &old).unwrap();
    let hangup = || {
        let process = ingest.process.0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    };
    let takes = |trusts: &str| said(&s_client(folder, address, &["-CAfile", trusts], &push(KEY, "1"))).starts_with("<ack");
    let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: {}", ingest.logged());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert!(takes("old.pem"));
    std::fs::write(folder.join("server.pem"), "no certificate").unwrap();
    hangup();
    wait_until("it is reported", &|| ingest.metric("heliograph_ingest_tls_stale") == 1.0);
    assert!(ingest.logged().contains("the old one stays in force"));
    assert!(takes("old.pem"));
    certificate(folder, "server");
    hangup();
    wait_until("the new one is in force", &|| takes("server.pem"));
    assert!(!takes("old.pem"));
    assert_eq!(ingest.metric("heliograph_ingest_tls_stale"), 0.0);
    ingest.terminate();
}

#[test]
fn what_is_wrong_with_tls_is_named_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificate(folder, "server");
    certificate(folder, "other");
    for (options, named) in [
        (&["--tls-certificate", "server.pem"][..], "ingest.tls_key"),
        (&["--tls-key", "server.key"], "ingest.tls_certificate"),
        (&["--tls-certificate", "server.pem", "--tls-key", "other.key"], "certificate and key"),
        (&["--tls-certificate", "server.key", "--tls-key", "server.key"], "holds no certificate"),
        (&["--tls-certificate", "nowhere.pem", "--tls-key", "server.key"], "nowhere.pem"),
        (&["--tls-listen", "127.0.0.1:0"], "ingest.tls_listen"),
        (&["--client-certificates", "required"], "ingest.client_certificates"),
        (&["--client-certificates", "maybe"], "off, optional or required"),
    ] {
        let output = run(&[&["ingest", "--provider", "sunrise", "--listen", "127.0.0.1:0"], options].concat(), folder);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{options:?}: {said}");
        assert!(said.contains(named), "{options:?}: {said}");
    }
}
