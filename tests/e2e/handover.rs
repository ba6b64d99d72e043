//! An upgrade under load: the successor of an ingest begins while that one still drains,
//! on a port of its own or on the same one, on one store.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::binary::{NO_SPOOL, free_address};
use crate::crash::commission;
use crate::ending::never_reads;
use crate::ingest::Ingest;
use crate::load::KEY;
use crate::oracle;
use crate::simulation::{Pushing, Simulation};

const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_successor_on_another_port_serves_while_the_old_one_drains() {
    check_upgrades([free_address(), free_address()]).await;
}

#[tokio::test]
async fn a_successor_takes_the_port_over_while_the_old_one_drains() {
    let address = free_address();
    check_upgrades([address; 2]).await;
}

fn start(address: SocketAddr, folder: &Path) -> Ingest {
    // Long enough for a successor to begin meanwhile on a busy machine.
    let settings = [&NO_SPOOL[..], &[("HELIOGRAPH__INGEST__DRAIN_SECONDS", "30")]].concat();
    Ingest::start("sunrise", address, &["--store", "sqlite:.", "--unknown-gateways", "adopted"], &settings, folder)
}

/// Waits until nobody listens any more.
fn await_closed(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "{address} is still listened on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets two addresses take turns while gateways push to each. Whatever was acked, by the
/// old one or the new one, is stored once, and in the end all of it is acked.
async fn check_upgrades(addresses: [SocketAddr; 2]) {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    let simulations = [(addresses[0], "one-"), (addresses[1], "two-")]
        .map(|(address, prefix)| (address, Simulation { rate: 50, ..Simulation::new("sunrise", prefix, folder.path()) }));
    let mut old = start(addresses[0], folder.path());
    let pushing = simulations.each_ref().map(|(address, simulation)| simulation.start(*address));
    for round in 1..=ROUNDS {
        let next = round % 2;
        simulations[1 - next].1.await_acks(20, PATIENCE);
        // Whoever reads no answers holds the drain up.
        let deaf = never_reads(old.address, |_| format!("<hello gateway=\"gw-0\" key=\"{KEY}\"/>")).await;
        old.tell_to_end();
        let began = Instant::now();
        await_closed(old.address);
        let successor = start(addresses[next], folder.path());
        simulations[next].1.await_acks(20, PATIENCE);
        println!("round {round}: the successor acks {:?} after the old one was told to end", began.elapsed());
        assert!(old.runs(), "it had ended before its successor was there");
        drop(deaf);
        old.await_end();
        old = successor;
    }
    // Whoever pushes to an address that nobody serves any more is answered there in the end.
    let unserved = BTreeSet::from(addresses).into_iter().find(|address| *address != old.address);
    let other = unserved.map(|address| start(address, folder.path()));
    for said in pushing.map(Pushing::stop) {
        assert_eq!(said["acked"], said["sent"], "{said}");
        assert!(said["connections_lost"].as_u64() > Some(0), "no upgrade was noticed: {said}");
    }
    for ingest in [Some(old), other].into_iter().flatten() {
        ingest.terminate();
    }
    let sendings = || simulations.iter().map(|(_, simulation)| simulation.sending()).collect();
    let verdict = oracle::judge_folder(folder.path(), &["sunrise"], sendings);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(oracle::sqlite::integrity(&folder.path().join("sunrise.db")), Vec::<String>::new());
}
