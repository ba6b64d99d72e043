//! kill -9 of ingest under load, again and again: what was acked is there once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{CredentialId, GatewayId, KeyDigest, Location, LocationId, ProviderId, Timestamp, Zone};
use heliograph_store::{CredentialNew, GatewayCommissioning, Store, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::binary::{NO_SPOOL, Process, connect, free_address, spawn_with, terminate};
use crate::load::{KEY, Plan};
use crate::oracle;
use crate::soak;

const LANES: usize = 4;
const ROUNDS: u32 = 5;
/// From a start to its first ack; half of the starts may have been held up.
const FIRST_ACK: Duration = Duration::from_secs(2);
/// Kills in `make soak`, and how many of them one store goes through.
const SOAK_ROUNDS: u32 = 200;
const SOAK_KILLS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

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

async fn check_kills(rounds: u32) {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", LANES).await;
    let mut plan = Plan::new("sunrise", folder.path(), LANES);
    plan.in_flight = 4;
    let mut random = StdRng::seed_from_u64(plan.seed);
    // The gateways outlive the server: they come back where it is started again.
    let address = free_address();
    let load = plan.start(address);
    let mut first_acks = Vec::new();
    for round in 0..rounds {
        let began = Instant::now();
        let mut ingest = start(folder.path(), "sunrise", address);
        plan.await_acks(1, PATIENCE);
        first_acks.push(began.elapsed());
        println!("round {round}: first ack after {} ms", began.elapsed().as_millis());
        std::thread::sleep(Duration::from_millis(random.random_range(150..750)));
        ingest.0.kill().unwrap();
        ingest.0.wait().unwrap();
        oracle::check(folder.path(), &[&plan]);
    }

    first_acks.sort();
    let usual = first_acks[first_acks.len() / 2];
    assert!(usual <= FIRST_ACK, "the first ack comes {usual:?} after a start");

    // What was lost in flight comes again; what is there stays once.
    let mut ingest = start(folder.path(), "sunrise", address);
    plan.await_acks(LANES * 4, PATIENCE);
    load.stop();
    let sent = plan.sent();
    assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some()), "a document was never acked");
    oracle::check_within(folder.path(), &[&plan], PATIENCE);
    let total = sent.iter().flatten().count();
    println!("{total} documents over {rounds} kills");
    assert!(total > LANES * 10, "hardly anything was pushed: {total} documents");

    let began = Instant::now();
    terminate(&mut ingest);
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// Starts the ingest of a provider and waits until it listens. It has no spool:
/// what is acked is in the store at once, or not at all.
pub(crate) fn start(folder: &Path, provider: &str, address: SocketAddr) -> Process {
    let store = format!("sqlite:{}", folder.display());
    let arguments = ["ingest", "--provider", provider, "--listen", &address.to_string(), "--store", &store];
    let ingest = spawn_with(&arguments, &NO_SPOOL, folder);
    drop(connect(address, PATIENCE));
    ingest
}

/// Makes a provider with the gateways of a load.
pub(crate) async fn commission(folder: &Path, provider: &str, lanes: usize) {
    commission_in(StoreUrl::sqlite(folder), provider, lanes).await;
}

pub(crate) async fn commission_in(url: StoreUrl, provider: &str, lanes: usize) {
    let store = Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
    let location = LocationId::new(Uuid::from_u128(1));
    let zone = Zone::utc();
    store.location_save(Location { id: location, name: "Roof".into(), zone, position: None, installed_kwp: None }).await.unwrap();
    let at = Timestamp::clamped(0);
    let digest = KeyDigest::of(KEY);
    for lane in 0..lanes {
        let gateway = GatewayId::parse(&format!("gw-{lane}")).unwrap();
        let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(lane as u128)), digest };
        store
            .gateway_commission(GatewayCommissioning { gateway, label: None, location, from: at, credential, at })
            .await
            .unwrap();
    }
    store.close().await;
}
