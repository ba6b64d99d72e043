//! kill -9 of ingest under load, again and again: what was acked is there once.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heliograph_domain::{CredentialId, GatewayId, KeyDigest, Location, LocationId, ProviderId, Timestamp, Zone};
use heliograph_store::{CredentialNew, GatewayCommissioning, Store, StoreUrl};
use uuid::Uuid;

use crate::binary::{Process, connect, free_address, spawn, terminate};
use crate::oracle::{self, Sent};

const KEY: &str = "crash-test-key";
pub(crate) const LANES: usize = 4;
const ROUNDS: u32 = 5;

#[tokio::test]
async fn what_was_acked_before_a_kill_is_there_once() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path()).await;
    let mut lanes: Vec<Vec<Sent>> = vec![Vec::new(); LANES];
    for round in 0..ROUNDS {
        let address = free_address();
        let began = Instant::now();
        let mut ingest = start(folder.path(), address);
        drop(connect(address, Duration::from_secs(30)));
        println!("round {round}: listens after {} ms", began.elapsed().as_millis());
        let stop = Arc::new(AtomicBool::new(false));
        let pushers: Vec<_> = lanes
            .drain(..)
            .enumerate()
            .map(|(lane, sent)| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || push(address, lane, sent, &stop))
            })
            .collect();
        let mixed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(round) * 1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(150 + mixed % 600));
        ingest.0.kill().unwrap();
        ingest.0.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        lanes = pushers.into_iter().map(|pusher| pusher.join().unwrap()).collect();
        for (lane, sent) in lanes.iter().enumerate() {
            oracle::check(folder.path(), "sunrise", &format!("gw-{lane}"), sent).await;
        }
    }

    // Everything again: what was lost in flight comes, what is there stays once.
    let address = free_address();
    let mut ingest = start(folder.path(), address);
    for (lane, sent) in lanes.iter_mut().enumerate() {
        let mut line = BufReader::new(connect(address, Duration::from_secs(30)));
        for (number, document) in sent.iter_mut().enumerate() {
            document.acked = ask(&mut line, &xml(lane, number, document));
            assert!(document.acked);
        }
        oracle::check(folder.path(), "sunrise", &format!("gw-{lane}"), sent).await;
    }
    let total: usize = lanes.iter().map(Vec::len).sum();
    println!("{total} documents over {ROUNDS} kills");
    assert!(total > LANES * 10, "hardly anything was pushed: {total} documents");

    let began = Instant::now();
    terminate(&mut ingest);
    assert!(began.elapsed() < Duration::from_secs(15));
}

pub(crate) fn start(folder: &Path, address: SocketAddr) -> Process {
    let store = format!("sqlite:{}", folder.display());
    spawn(&["ingest", "--provider", "sunrise", "--listen", &address.to_string(), "--store", &store], folder)
}

pub(crate) async fn commission(folder: &Path) {
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let location = LocationId::new(Uuid::from_u128(1));
    let zone = Zone::utc();
    store.location_save(Location { id: location, name: "Roof".into(), zone, position: None, installed_kwp: None }).await.unwrap();
    let at = Timestamp::clamped(0);
    let digest = KeyDigest::of(KEY);
    for lane in 0..LANES {
        let gateway = GatewayId::parse(&format!("gw-{lane}")).unwrap();
        let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(lane as u128)), digest };
        store
            .gateway_commission(GatewayCommissioning { gateway, label: None, location, from: at, credential, at })
            .await
            .unwrap();
    }
    store.close().await;
}

/// Pushes one document after the other until told to stop or cut off.
pub(crate) fn push(address: SocketAddr, lane: usize, mut sent: Vec<Sent>, stop: &AtomicBool) -> Vec<Sent> {
    let Ok(stream) = TcpStream::connect(address) else { return sent };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut line = BufReader::new(stream);
    while !stop.load(Ordering::Relaxed) {
        let number = sent.len();
        let readings = (0..5).map(|i| (1_780_000_000_000 + (number * 5 + i) as i64 * 1000, (number * 10 + i) as f64)).collect();
        // The journal comes first: a document is known before it is sent.
        sent.push(Sent { readings, acked: false });
        let Some(document) = sent.last_mut() else { return sent };
        if !ask(&mut line, &xml(lane, number, document)) {
            return sent;
        }
        document.acked = true;
    }
    sent
}

fn ask(line: &mut BufReader<TcpStream>, document: &str) -> bool {
    let mut answer = String::new();
    let asked = line.get_mut().write_all(document.as_bytes()).and_then(|()| line.read_line(&mut answer));
    match asked {
        Ok(_) if answer.ends_with('\n') => {
            assert!(answer.starts_with("<ack") && answer.contains("readings=\"5\""), "{answer}");
            true
        }
        _ => false,
    }
}

fn xml(lane: usize, number: usize, document: &Sent) -> String {
    let readings: String = document
        .readings
        .iter()
        .map(|(time, value)| {
            format!("<reading metric=\"power\" unit=\"W\" time=\"{}\">{value}</reading>", Timestamp::clamped(*time))
        })
        .collect();
    format!("<push gateway=\"gw-{lane}\" key=\"{KEY}\" seq=\"{number}\"><sensor id=\"inverter-1\">{readings}</sensor></push>")
}
