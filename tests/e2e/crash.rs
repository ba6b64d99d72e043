//! kill -9 of ingest under load, again and again: what was acked is there once, under
//! the provider that it was sent to. `heliograph simulate` pushes to two of them, and
//! a closed loop of documents that overwrite each other to one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{CredentialId, GatewayId, KeyDigest, Location, LocationId, ProviderId, Timestamp, Zone};
use heliograph_store::{CredentialNew, GatewayCommissioning, Store, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::binary::{NO_SPOOL, Process, connect, free_address, run_with_input, spawn_with, terminate};
use crate::load::{KEY, Plan};
use crate::oracle::{self, Sending};
use crate::simulation::{Pushing, Simulation};
use crate::soak;

/// Gateways of the closed loop.
const LANES: usize = 4;
/// What the other provider's gateways speak, by seed.
const DIALECTS: [&str; 8] = ["native", "senml", "acquisuite", "egauge", "rainforest", "sunspec", "mii", "sma"];
const ROUNDS: u32 = 5;
/// From a start to its first ack; half of the starts may have been held up.
const FIRST_ACK: Duration = Duration::from_secs(2);
/// Kills in `make soak`, and how many of them one store goes through.
const SOAK_ROUNDS: u32 = 200;
const SOAK_KILLS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the gateways are whose rollups are looked at: no day or month there begins with
/// one in UTC, nor with an hour.
pub(crate) const ZONE: &str = "Australia/Adelaide";

#[tokio::test]
async fn what_was_acked_before_a_kill_is_there_once() {
    check_kills(ROUNDS).await;
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn what_was_acked_before_any_of_many_kills_is_there_once() {
    let rounds = soak::rounds(SOAK_ROUNDS);
    // What is stored is read after each kill, so that it must not grow for ever.
    for first in (0..rounds).step_by(SOAK_KILLS as usize) {
        check_kills(SOAK_KILLS.min(rounds - first)).await;
    }
}

/// A provider, its ingest's address and gateways that outlive it: they come back
/// where it is started again.
struct Site {
    address: SocketAddr,
    simulation: Simulation,
}

impl Site {
    fn new(provider: &str, dialect: &'static str, folder: &Path) -> Self {
        Self { address: free_address(), simulation: Simulation { dialect, ..Simulation::new(provider, "sim-", folder) } }
    }

    fn start(&self, folder: &Path) -> Process {
        start_with(folder, &self.simulation.provider, self.address, &["--unknown-gateways", "adopted"])
    }
}

async fn check_kills(rounds: u32) {
    let folder = tempfile::tempdir().unwrap();
    let (url, gateways) = (StoreUrl::sqlite(folder.path()), (0..LANES).map(|lane| format!("gw-{lane}")));
    commission_at(url, "sunrise", gateways, ZONE).await;
    let mut plan = Plan::new("sunrise", folder.path(), LANES).across_months(ZONE);
    // Some of what comes late is of days before.
    (plan.in_flight, plan.spread) = (4, Duration::from_hours(1));
    let mut random = StdRng::seed_from_u64(plan.seed);
    let dialect = DIALECTS[random.random_range(0..DIALECTS.len())];
    println!("meridian's gateways speak {dialect}");
    let sites = [Site::new("sunrise", "native", folder.path()), Site::new("meridian", dialect, folder.path())];
    let load = plan.start(sites[0].address);
    let pushing = sites.each_ref().map(|site| site.simulation.start(site.address));
    let check = || {
        let sendings = || [Sending::from(&plan)].into_iter().chain(sites.iter().map(|site| site.simulation.sending())).collect();
        let verdict = oracle::judge_folder(folder.path(), &["sunrise", "meridian"], sendings);
        assert!(verdict.is_clean(), "{verdict}");
    };

    let mut first_acks = Vec::new();
    for round in 0..rounds {
        // Nobody waits for what a process does that is killed while it starts.
        let early = random.random_ratio(1, 4);
        let mut ingests = sites.each_ref().map(|site| {
            let (began, provider) = (Instant::now(), &site.simulation.provider);
            let ingest = site.start(folder.path());
            if !early && *provider == plan.provider {
                plan.await_acks(1, PATIENCE);
                first_acks.push(began.elapsed());
            }
            if !early {
                // Its gateways come back once a second at most.
                site.simulation.await_acks(1, PATIENCE);
                println!("round {round}, {provider}: first ack to a simulated gateway after {} ms", began.elapsed().as_millis());
            }
            ingest
        });
        let longest = if early { 50 } else { 600 };
        for ingest in &mut ingests {
            std::thread::sleep(Duration::from_millis(random.random_range(0..longest)));
            ingest.0.kill().unwrap();
        }
        for mut ingest in ingests {
            ingest.0.wait().unwrap();
        }
        check();
    }
    first_acks.sort();
    if let Some(usual) = first_acks.get(first_acks.len() / 2) {
        println!("first acks after {usual:?}, {:?} at most", first_acks[first_acks.len() - 1]);
        assert!(*usual <= FIRST_ACK, "the first ack comes {usual:?} after a start");
    }

    // What was lost in flight comes again; what is there stays once.
    let ingests = sites.each_ref().map(|site| site.start(folder.path()));
    plan.await_acks(LANES * 4, PATIENCE);
    sites.iter().for_each(|site| site.simulation.await_acks(10, PATIENCE));
    load.stop();
    let said = pushing.map(Pushing::stop);
    for (said, site) in said.iter().zip(&sites) {
        println!("{} over {rounds} kills: {said}", site.simulation.provider);
        assert_eq!(said["acked"], said["sent"], "{said}");
    }
    // Those that speak HTTP may connect for each document, and have nothing under way
    // at any of the kills.
    assert!(said[0]["connections_lost"].as_u64() > Some(0), "no kill was noticed: {}", said[0]);
    let sent = plan.sent();
    assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some()), "a document was never acked");
    check();
    let total = sent.iter().flatten().count();
    println!("{total} documents of the closed loop over {rounds} kills");
    assert!(total > LANES * 10, "hardly anything was pushed: {total} documents");

    for mut ingest in ingests {
        let began = Instant::now();
        terminate(&mut ingest);
        assert!(began.elapsed() < Duration::from_secs(15));
    }
    for site in &sites {
        let file = folder.path().join(format!("{}.db", site.simulation.provider));
        assert_eq!(oracle::sqlite::integrity(&file), Vec::<String>::new());
    }
    // Kills came while windows were rolled up, too: what is left of that is due.
    let store = format!("sqlite:{}", folder.path().display());
    run_with_input(&["rollup", "--provider", "sunrise", "--once", "--store", &store], folder.path(), "");
    oracle::rollups::check_file(&folder.path().join("sunrise.db"), ZONE);
}

/// Starts the ingest of a provider and waits until it listens. It has no spool:
/// what is acked is in the store at once, or not at all.
pub(crate) fn start(folder: &Path, provider: &str, address: SocketAddr) -> Process {
    start_with(folder, provider, address, &[])
}

/// As [`start`], with further options.
pub(crate) fn start_with(folder: &Path, provider: &str, address: SocketAddr, options: &[&str]) -> Process {
    let (store, listen) = (format!("sqlite:{}", folder.display()), address.to_string());
    let arguments = ["ingest", "--provider", provider, "--listen", &listen, "--store", &store];
    let ingest = spawn_with(&[&arguments, options].concat(), &NO_SPOOL, folder);
    drop(connect(address, PATIENCE));
    ingest
}

/// Makes a provider with the gateways of a load.
pub(crate) async fn commission(folder: &Path, provider: &str, lanes: usize) {
    commission_in(StoreUrl::sqlite(folder), provider, lanes).await;
}

pub(crate) async fn commission_in(url: StoreUrl, provider: &str, lanes: usize) {
    commission_named(url, provider, (0..lanes).map(|lane| format!("gw-{lane}"))).await;
}

/// Makes a provider with gateways of these names.
pub(crate) async fn commission_named(url: StoreUrl, provider: &str, gateways: impl IntoIterator<Item = String>) {
    commission_at(url, provider, gateways, "UTC").await;
}

/// The same in a zone.
pub(crate) async fn commission_at(url: StoreUrl, provider: &str, gateways: impl IntoIterator<Item = String>, zone: &str) {
    let store = Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
    let location = LocationId::new(Uuid::from_u128(1));
    let zone = Zone::parse(zone).unwrap();
    store.location_save(Location { id: location, name: "Roof".into(), zone, position: None, installed_kwp: None }).await.unwrap();
    let at = Timestamp::clamped(0);
    let digest = KeyDigest::of(KEY);
    for (number, gateway) in gateways.into_iter().enumerate() {
        let gateway = GatewayId::parse(&gateway).unwrap();
        let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(number as u128)), digest };
        store
            .gateway_commission(GatewayCommissioning { gateway, label: None, location, from: at, credential, at })
            .await
            .unwrap();
    }
    store.close().await;
}
