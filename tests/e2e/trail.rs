//! `heliograph audit` over what other commands have changed.

use heliograph_domain::ProviderId;
use heliograph_store::{Store, StoreUrl};

use crate::binary::{run, run_with_input};

#[tokio::test]
async fn the_trail_is_verified_listed_and_found_out_when_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["o", "p", "q"] {
        let address = format!("{name}@sunrise.example");
        let add = ["user", "add", "--provider", "sunrise", "--role", "owner", "--email", &address, "--password-stdin"];
        run_with_input(&add, folder.path(), "a long enough phrase\n");
    }
    let verified = run_with_input(&["audit", "verify", "--provider", "sunrise"], folder.path(), "");
    let head = verified.lines().find_map(|line| line.strip_prefix("head ")).unwrap();
    assert!(verified.starts_with("3 entries") && head.starts_with("3:"), "{verified}");
    run_with_input(&["audit", "verify", "--provider", "sunrise", "--noted", head], folder.path(), "");
    let listed = run_with_input(&["audit", "list", "--provider", "sunrise", "--json", "--from", "2"], folder.path(), "");
    let entries: Vec<serde_json::Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!((&entries[0]["actor"], &entries[0]["action"]), (&"operator".into(), &"user.create".into()));
    assert!(!listed.contains("sunrise.example"), "{listed}");

    // An older copy of the store, put back.
    let store = Store::open(StoreUrl::sqlite(folder.path().join("data"))).unwrap();
    let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    assert_eq!(store.audit_verify(None).await.unwrap().head.seq, 3);
    let later = format!("5:{}", "0".repeat(64));
    let output = run(&["audit", "verify", "--provider", "sunrise", "--noted", &later], folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("entries 4 to 5 are missing"), "{said}");
    assert_eq!(run(&["audit", "verify", "--provider", "sunrise", "--noted", "x"], folder.path()).status.code(), Some(64));
}
