//! A provider moves from a file to a cluster, by the commands of an operator: its
//! history goes along, and its gateways push on.

use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{
    CredentialId, Customer, CustomerId, EmailAddress, GatewayId, KeyDigest, Location, LocationId, Period, PeriodKind, ProviderId,
    Secret, Timestamp, Zone,
};
use heliograph_report::{LocationReport, Scope, location_report};
use heliograph_store::{CredentialNew, GatewayCommissioning, ProviderStore, Store, StoreUrl};
use jiff::civil;
use uuid::Uuid;

use crate::binary::{connect, free_address, run, run_with_input, spawn, terminate};
use crate::cluster::{PATIENCE, STORE, push};
use crate::day;
use crate::tenant::Tenant;

const KEY: &str = "one key for both stores";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn location() -> LocationId {
    LocationId::new(Uuid::from_u128(1))
}

fn embedded(folder: &Path) -> ProviderStore {
    let url = StoreUrl::sqlite(folder.join("data"));
    Store::open(url).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

fn clustered(provider: &Tenant) -> ProviderStore {
    let url = StoreUrl::parse(STORE).unwrap().signed_in("cassandra", Secret::new("cassandra"));
    Store::open(url).unwrap().provider(&ProviderId::parse(&provider.id).unwrap()).unwrap()
}

async fn set_up(store: &ProviderStore) {
    let zone = Zone::parse("Europe/Madrid").unwrap();
    store
        .location_save(Location { id: location(), name: "Mill".into(), zone, position: None, installed_kwp: Some(9.5) })
        .await
        .unwrap();
    let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(2)), digest: KeyDigest::of(KEY) };
    let gateway = GatewayId::parse("gw-0001").unwrap();
    let (from, at) = (at("2020-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    let commissioning = GatewayCommissioning { gateway, label: None, location: location(), from, credential, at };
    store.gateway_commission(commissioning).await.unwrap();
    let customer = Customer {
        id: CustomerId::new(Uuid::from_u128(3)),
        name: "Frieda Niemand".to_owned(),
        email: Some(EmailAddress::parse("frieda@niemand.example").unwrap()),
    };
    store.customer_save(customer).await.unwrap();
    store.close().await;
}

/// The week of the pushed days.
async fn report(store: &ProviderStore) -> LocationReport {
    let week = Period::around(PeriodKind::Week, civil::date(2026, 6, 15));
    location_report(store, location(), week, &Scope::everything(), at("2026-06-30T00:00:00Z")).await.unwrap()
}

fn produced(report: &LocationReport) -> f64 {
    report.figures.produced_wh().unwrap()
}

#[tokio::test]
async fn a_provider_with_history_moves_to_a_cluster_and_goes_on_there() {
    let provider = Tenant::set_up(STORE);
    let folder = provider.path();
    set_up(&embedded(folder)).await;
    let on_file = ["--provider", "sunrise", "--store", "sqlite:data"];
    let address = free_address();
    let listen = address.to_string();
    let mut ingest = spawn(&[&["ingest", "--listen", &listen], &on_file[..]].concat(), folder);
    drop(connect(address, PATIENCE));
    let first = day::load("day-sunrise.xml", "2026-06-15");
    push(address, KEY, &first.xml, first.readings);
    terminate(&mut ingest);

    let said = |command: &[&str], of: &[&str]| run_with_input(&[command, of].concat(), folder, "");
    said(&["archive", "create", "a.archive"], &on_file);
    let as_id = ["--provider", "sunrise", "--as", &provider.id];
    let cut = std::fs::read(folder.join("a.archive")).unwrap();
    std::fs::write(folder.join("cut.archive"), &cut[..cut.len() - 700]).unwrap();
    let refused = run(&[&["archive", "restore", "cut.archive"], &as_id[..]].concat(), folder);
    let problem = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && problem.contains("it is broken"), "{problem}");
    said(&["archive", "restore", "a.archive"], &as_id);
    let again = run(&[&["archive", "restore", "a.archive"], &as_id[..]].concat(), folder);
    let problem = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && problem.contains("has data already"), "{problem}");

    let on_cluster = ["--provider", &provider.id];
    let readings = ["readings", "--gateway", "gw-0001", "--csv"];
    // Series of one instant are in the order of their names on a cluster.
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (before, after) = (said(&readings, &on_file), said(&readings, &on_cluster));
    assert_eq!(before.lines().count(), first.readings + 1);
    assert_eq!(sorted(after), sorted(before));
    said(&["audit", "verify"], &on_cluster);
    let trail = said(&["audit", "list"], &on_cluster);
    assert!(trail.contains("gateway.commission") && trail.contains("archive.restore"), "{trail}");
    let (before, after) = (report(&embedded(folder)).await, report(&clustered(&provider)).await);
    assert!((produced(&before) - first.produced_wh).abs() < 1e-6);
    assert_eq!(after.figures, before.figures);
    assert_eq!(after.buckets, before.buckets);
    assert_eq!(after.gaps, before.gaps);

    // Its gateway goes on with the key that it has.
    let (address, ops) = (free_address(), free_address());
    let mut ingest = provider.start("ingest", address, ops);
    let second = day::load("day-sunrise.xml", "2026-06-16");
    push(address, KEY, &second.xml, second.readings);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let week = produced(&report(&clustered(&provider)).await);
        // The same counters a day later: what they fell by over night counts for nothing.
        if week > 1.9 * first.produced_wh {
            break;
        }
        assert!(Instant::now() < deadline, "{week} Wh");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    terminate(&mut ingest);
    let lines = said(&readings, &on_cluster).lines().count();
    assert_eq!(lines, first.readings + second.readings + 1);

    // What is personal can be taken out there, and all of it put into a file again.
    let customer = Uuid::from_u128(3).to_string();
    let which = ["--customer", &customer];
    said(&[&["customer", "export", "--out", "frieda"], &which[..]].concat(), &on_cluster);
    let exported = std::fs::read_to_string(folder.join("frieda/customer.json")).unwrap();
    assert!(exported.contains("frieda@niemand.example"), "{exported}");
    said(&[&["customer", "erase", "--yes"], &which[..]].concat(), &on_cluster);
    said(&["archive", "create", "b.archive"], &on_cluster);
    said(&["archive", "verify", "b.archive"], &on_cluster);
    let back = ["--provider", &provider.id, "--as", "dusk", "--store", "sqlite:data"];
    said(&["archive", "restore", "b.archive"], &back);
    let on_file = ["--provider", "dusk", "--store", "sqlite:data"];
    assert_eq!(said(&readings, &on_file).lines().count(), lines);
    said(&["audit", "verify"], &on_file);
    let database = std::fs::read(folder.join("data/dusk.db")).unwrap();
    assert!(!database.windows(14).any(|bytes| bytes == b"Frieda Niemand"), "an erased name came back");
}
