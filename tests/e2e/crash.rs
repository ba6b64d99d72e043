//! kill -9 of ingest under load, again and again: what was acked is there once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{CredentialId, GatewayId, KeyDigest, Location, LocationId, ProviderId, Timestamp, Zone};
use heliograph_store::{CredentialNew, GatewayCommissioning, Store, StoreUrl};
use uuid::Uuid;

use crate::binary::{NO_SPOOL, Process, connect, free_address, spawn_with, terminate};
use crate::load::{KEY, Plan};
use crate::oracle;

const LANES: usize = 4;
const ROUNDS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_was_acked_before_a_kill_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", LANES).await;
    let mut plan = Plan::new("sunrise", folder.path(), LANES);
    plan.in_flight = 4;
    // The gateways outlive the server: they come back where it is started again.
    let address = free_address();
    let load = plan.start(address);
    for round in 0..ROUNDS {
        let began = Instant::now();
        let mut ingest = start(folder.path(), "sunrise", address);
        plan.await_acks(1, PATIENCE);
        println!("round {round}: first ack after {} ms", began.elapsed().as_millis());
        std::thread::sleep(Duration::from_millis(150 + rand::random::<u64>() % 600));
        ingest.0.kill().unwrap();
        ingest.0.wait().unwrap();
        oracle::check(folder.path(), &[&plan]);
    }

    // What was lost in flight comes again; what is there stays once.
    let mut ingest = start(folder.path(), "sunrise", address);
    plan.await_acks(LANES * 4, PATIENCE);
    load.stop();
    let sent = plan.sent();
    assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some()), "a document was never acked");
    oracle::check_within(folder.path(), &[&plan], PATIENCE);
    let total = sent.iter().flatten().count();
    println!("{total} documents over {ROUNDS} kills");
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
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
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
