//! What was refused, tried again: by a mapping that came later, and once its gateway
//! was commissioned.

use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_store::StoreUrl;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::binary::{connect, free_address, run, run_with_input, spawn, terminate};
use crate::browser::Browser;
use crate::cluster;
use crate::crash::{commission, commission_in};
use crate::gateway::Gateway;
use crate::ingest::Ingest;
use crate::load::KEY;
use crate::points::heliograph;
use crate::sample::{GREENHOUSE, STATION};
use crate::tenant::Tenant;

/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn readings(folder: &Path, provider: &str) -> Vec<Value> {
    let output = run(&["readings", "--provider", provider, "--gateway", "gw-0", "--json"], folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An ingest, and the gateway of its provider signed in to it.
async fn served(folder: &Path) -> (Ingest, Gateway) {
    commission(&folder.join("data"), "sunrise", 1).await;
    let ingest = Ingest::start("sunrise", free_address(), &[], &[], folder);
    let mut gateway = Gateway::connect(ingest.address);
    gateway.hello("gw-0", KEY);
    (ingest, gateway)
}

#[tokio::test]
async fn a_mapping_reads_what_was_refused_before_there_was_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ingest, mut gateway) = served(folder).await;
    assert!(gateway.ask(STATION).contains("code=\"unsupported\" retry=\"false\""));
    // What a terminal would obey is shown, not sent.
    assert!(gateway.ask("<inventory>\u{9b}2J\u{202e}</inventory>").contains("unsupported"));

    let (_, listed) = heliograph(folder, "quarantine list --json");
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 2);
    let station = listed[1]["id"].as_str().unwrap();
    assert_eq!((listed[1]["gateway"].as_str(), listed[1]["bytes"].as_u64()), (Some("gw-0"), Some(STATION.len() as u64)));
    let (_, shown) = heliograph(folder, &format!("quarantine show {}", listed[0]["id"].as_str().unwrap()));
    assert!(shown.contains("<inventory>⟨U+009B⟩2J⟨U+202E⟩</inventory>"), "{shown}");
    assert_eq!(heliograph(folder, "quarantine list --limit 1 --code unsupported").1.lines().count(), 1);
    assert_eq!(heliograph(folder, "quarantine list --gateway gw-7"), (Some(0), String::new()));

    // A mapping is tried before it is stored.
    std::fs::write(folder.join("broken.toml"), GREENHOUSE.replace("'{../@name}'", "'{../@name'")).unwrap();
    std::fs::write(folder.join("greenhouse.toml"), GREENHOUSE).unwrap();
    for command in ["mapping set broken.toml", "quarantine retry --mapping broken.toml --all"] {
        let (code, said) = heliograph(folder, command);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("broken.toml") && said.contains("reading 1: sensor"), "{said}");
    }
    let (code, said) = heliograph(folder, &format!("quarantine retry {station} --mapping greenhouse.toml --dry-run"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("would store readings of gw-0: 1 new, 0 repeated, 0 changed"), "{said}");
    assert!(readings(folder, "sunrise").is_empty());
    let (code, said) = heliograph(folder, "quarantine retry --code unsupported");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("0 have left the quarantine, 0 in part, 2 stay"), "{said}");

    let (code, said) = heliograph(folder, "mapping set greenhouse.toml");
    assert_eq!((code, said.as_str()), (Some(0), "greenhouse: root station, revision 1"));
    assert!(heliograph(folder, "mapping list").1.starts_with("greenhouse"));
    assert_eq!(heliograph(folder, "mapping show greenhouse").1, GREENHOUSE.trim_end());
    let (_, said) = heliograph(folder, "quarantine retry --code unsupported");
    assert!(said.contains("stored readings of gw-0: 1 new") && said.contains("1 have left the quarantine"), "{said}");
    let stored = readings(folder, "sunrise");
    assert_eq!((stored.len(), stored[0]["sensor"].as_str(), stored[0]["value"].as_f64()), (1, Some("north"), Some(21.5)));
    assert_eq!(heliograph(folder, "quarantine list").1.lines().count(), 1);

    // What comes now is read as it comes.
    let deadline = Instant::now() + PATIENCE;
    while gateway.ask(STATION) != "<ack readings=\"1\"/>\n" {
        assert!(Instant::now() < deadline, "the mapping does not come into force: {}", ingest.logged());
        std::thread::sleep(Duration::from_millis(200));
    }
    let (_, said) = heliograph(folder, "quarantine retry --code unsupported --dry-run");
    assert!(said.contains("1 repeated"), "{said}");
    assert_eq!(heliograph(folder, "mapping remove greenhouse"), (Some(0), String::new()));
    let (_, trail) = heliograph(folder, "audit list");
    for action in ["mapping.save", "mapping.remove", "quarantine.retry"] {
        assert!(trail.contains(action), "{action} in {trail}");
    }
    ingest.terminate();
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (command, code, named) in [
        ("quarantine retry --dry-run", 64, "--all"),
        ("quarantine retry --all --gateway gw-0", 64, "cannot be used with"),
        ("quarantine show 00000000-0000-7000-8000-000000000001", 1, "no entry"),
        ("quarantine list --code nonsense", 64, "nonsense"),
        ("mapping set", 64, "FILE"),
        ("mapping set missing.toml", 1, "missing.toml"),
        ("mapping set --profile nonsense", 1, "kostal"),
        ("mapping show nonsense", 1, "nonsense"),
        ("mapping remove nonsense", 1, "mapping does not exist"),
    ] {
        let (found, said) = heliograph(folder.path(), command);
        assert_eq!(found, Some(code), "{command}: {said}");
        assert!(said.contains(named), "{command}: {said}");
    }
    let (code, said) = heliograph(folder.path(), "mapping set --profile kostal");
    assert_eq!(code, Some(0), "{said}");
    assert!(heliograph(folder.path(), "mapping show kostal").1.contains("root = "));
    let profiles = run(&["mapping", "profiles"], folder.path());
    let listed = String::from_utf8(profiles.stdout).unwrap();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let known = heliograph_dialects::profiles().iter().map(|profile| profile.name());
    assert_eq!(names, known.collect::<Vec<_>>());
    assert!(names.contains(&"kostal") && names.contains(&"idigi"), "{names:?}");
}

/// Documents that are held; fewer than an address may have refused in a minute.
const HELD: usize = 100;
const KILLS: u32 = 6;

/// Holds documents of a gateway, commissions it, and kills ingest while it replays,
/// at most `longest` milliseconds after each start.
async fn replay_over_kills(provider: &str, url: StoreUrl, folder: &Path, longest: u64) {
    let address = free_address();
    let start = || Ingest::start(provider, address, &[], &[], folder);
    let ingest = start();
    let mut gateway = Gateway::connect(address);
    for number in 0..HELD {
        let time = format!("2026-06-15T{:02}:{:02}:00Z", number / 60, number % 60);
        let answer = gateway.ask(&format!(
            "<push gateway=\"gw-0\" key=\"{KEY}\"><sensor id=\"meter\"><reading metric=\"power\" unit=\"W\" time=\"{time}\">{number}</reading></sensor></push>"
        ));
        assert!(answer.contains("unknown-gateway"), "{answer}");
    }
    // Somebody else has guessed its id.
    let forged = "<push gateway=\"gw-0\" key=\"guess\"><sensor id=\"meter\"><reading metric=\"power\" unit=\"W\" time=\"2026-06-15T00:00:00Z\">-1</reading></sensor></push>";
    assert!(gateway.ask(forged).contains("unknown-gateway"));
    ingest.kill();
    commission_in(url, provider, 1).await;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let left =
        || run(&["quarantine", "list", "--provider", provider, "--json"], folder).stdout.split(|byte| *byte == b'\n').count() - 1;
    for round in 0..KILLS {
        let ingest = start();
        std::thread::sleep(Duration::from_millis(random.random_range(0..longest)));
        ingest.kill();
        println!("kill {round}: {} entries are left", left());
    }
    let ingest = start();
    let deadline = Instant::now() + 2 * PATIENCE;
    while left() > 1 {
        assert!(Instant::now() < deadline, "{} entries are left: {}", left(), ingest.logged());
        std::thread::sleep(Duration::from_millis(200));
    }
    let stored: Vec<f64> = readings(folder, provider).iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!(stored, (0..HELD).map(|number| number as f64).collect::<Vec<_>>());
    let output = run(&["quarantine", "retry", "--provider", provider, "--all"], folder);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("stays: bad-key: the key that came with it is none of gateway gw-0"), "{said}");
    ingest.terminate();
}

#[tokio::test]
async fn what_is_held_is_stored_once_however_often_ingest_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    replay_over_kills("sunrise", StoreUrl::sqlite(folder.path().join("data")), folder.path(), 300).await;
}

#[tokio::test]
async fn what_is_held_on_a_cluster_is_stored_once_however_often_ingest_is_killed() {
    let tenant = Tenant::set_up(cluster::STORE);
    replay_over_kills(&tenant.id, tenant.store(), tenant.path(), 1500).await;
}

/// The page says what would change, and the button that does it comes with that.
#[tokio::test]
async fn the_panel_tries_a_document_again_as_the_command_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_ingest, mut gateway) = served(folder).await;
    assert!(gateway.ask(STATION).contains("code=\"unsupported\""));
    std::fs::write(folder.join("greenhouse.toml"), GREENHOUSE).unwrap();
    assert_eq!(heliograph(folder, "mapping set greenhouse.toml").0, Some(0));
    let (_, listed) = heliograph(folder, "quarantine list --json");
    let entry: Value = serde_json::from_str(listed.trim()).unwrap();
    let entry = entry["id"].as_str().unwrap();

    let (email, password) = ("mara@example.com", "a calm sunny terrace");
    let person = ["user", "add", "--provider", "sunrise", "--email", email, "--name", "Mara", "--role", "owner"];
    run_with_input(&person, folder, &format!("{password}\n"));
    let panel = free_address();
    let mut admin = spawn(&["admin", "--provider", "sunrise", "--listen", &panel.to_string()], folder);
    drop(connect(panel, PATIENCE));
    let browser = Browser::open(format!("http://{panel}")).await;
    browser.go("/login").await;
    browser.fill("#email", email).await;
    browser.fill("#password", password).await;
    browser.submit("#password").await;
    browser.go(&format!("/quarantine/{entry}")).await;
    browser.press("button[value=preview]").await;
    let page = browser.page().await;
    assert!(page.contains("Readings of gw-0: 1 new, 0 stored already"), "{page}");
    assert!(readings(folder, "sunrise").is_empty(), "nothing is written yet");
    browser.press("button[value=retry]").await;
    let page = browser.page().await;
    assert!(page.contains("It is stored and has left the quarantine."), "{page}");
    browser.close().await;
    terminate(&mut admin);
    assert_eq!(readings(folder, "sunrise").len(), 1);
    assert_eq!(heliograph(folder, "quarantine list"), (Some(0), String::new()));
}
