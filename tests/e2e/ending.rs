//! SIGTERM of ingest: what is under way is answered, and it ends within ten seconds,
//! whatever its peers do.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpSocket;

use crate::binary::{NO_SPOOL, connect, free_address};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::{KEY, Plan};
use crate::oracle::{self, Sending, Stored};
use crate::simulation::{Pushing, Simulation};
use crate::soak;

const LANES: usize = 4;
const ROUNDS: u32 = 2;
const SOAK_ROUNDS: u32 = 40;
const PATIENCE: Duration = Duration::from_secs(60);
/// What a stop may take.
const DRAINED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn whatever_a_stop_under_load_leaves_in_the_store_was_acked() {
    check_stops(ROUNDS).await;
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn whatever_any_of_many_stops_under_load_leaves_in_the_store_was_acked() {
    check_stops(soak::rounds(SOAK_ROUNDS)).await;
}

/// Stops ingest while a closed loop, pipelined documents and requests by HTTP come.
/// All of them read their answers to the end, so that each document in the store has
/// its ack; what a sender does not read, nobody can hold against the server.
async fn check_stops(rounds: u32) {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", LANES).await;
    let plan = Plan { in_flight: 4, ..Plan::new("sunrise", folder.path(), LANES) };
    let mut random = StdRng::seed_from_u64(plan.seed);
    let by_tcp = Simulation { rate: 100, ..Simulation::new("sunrise", "tcp-", folder.path()) };
    let by_http = Simulation { dialect: "acquisuite", ..Simulation::new("sunrise", "http-", folder.path()) };
    let address = free_address();
    let load = plan.start(address);
    let pushing = [by_tcp.start(address), by_http.start(address)];
    let sendings = || vec![Sending::from(&plan), by_tcp.sending(), by_http.sending()];
    let check = || {
        let verdict = oracle::judge_folder(folder.path(), &["sunrise"], sendings);
        assert!(verdict.is_clean(), "{verdict}");
    };
    let file = folder.path().join("sunrise.db");
    let options = ["--store", "sqlite:.", "--unknown-gateways", "adopted"];
    for round in 0..rounds {
        let ingest = Ingest::start("sunrise", address, &options, &NO_SPOOL, folder.path());
        plan.await_acks(LANES, PATIENCE);
        by_tcp.await_acks(1, PATIENCE);
        by_http.await_acks(1, PATIENCE);
        std::thread::sleep(Duration::from_millis(random.random_range(100..800)));
        let took = ingest.terminate();
        println!("round {round}: drained in {took:?}");
        assert!(took <= DRAINED, "{took:?}");
        // Nobody is there whom a sender could ask again: its ack is one of before the end.
        await_acks_of(&oracle::sqlite::read(&file), sendings);
        check();
    }
    let ingest = Ingest::start("sunrise", address, &options, &NO_SPOOL, folder.path());
    plan.await_acks(LANES, PATIENCE);
    load.stop();
    for said in pushing.map(Pushing::stop) {
        assert_eq!(said["acked"], said["sent"], "{said}");
    }
    ingest.terminate();
    check();
}

/// Waits until every document of which something is stored was acked: senders may
/// still be reading what they were sent.
fn await_acks_of(stored: &[Stored], sendings: impl Fn() -> Vec<Sending>) {
    let found: HashSet<(&str, u64)> = stored.iter().map(|reading| (&*reading.gateway, reading.value.to_bits())).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = sendings();
        let sent = all.iter().flat_map(|sending| sending.sent.iter().flatten());
        let unacked = sent.filter(|sent| sent.acked_at.is_none()).map(|sent| &sent.document).filter(|document| {
            document.readings.iter().any(|reading| found.contains(&(&*document.gateway, reading.value.to_bits())))
        });
        let unacked: Vec<_> = unacked.map(|document| &document.seq).collect();
        if unacked.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "in the store and never acked: {unacked:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A document of `gw-0` with two readings.
fn push(number: usize) -> String {
    let time = format!("2026-10-{:02}T{:02}:{:02}:00Z", 1 + number / 1440, number / 60 % 24, number % 60);
    let reading = |metric: &str| format!("<reading metric=\"{metric}\" time=\"{time}\">{number}</reading>");
    format!(
        "<push gateway=\"gw-0\" key=\"{KEY}\" seq=\"{number:060}\"><sensor id=\"m\">{}{}</sensor></push>",
        reading("a"),
        reading("b")
    )
}

/// A peer that sends documents and never reads, until nothing more is taken of it.
pub(crate) async fn never_reads(to: SocketAddr, document: impl Fn(usize) -> String) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stream = socket.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    for number in 0.. {
        match stream.write_all(document(number).as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error} after {number} documents"),
        }
    }
    stream
}

/// A peer whose document, or request, does not end.
fn unfinished(to: SocketAddr, begin: &str) -> TcpStream {
    let mut stream = connect(to, PATIENCE);
    stream.write_all(begin.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn a_stop_waits_neither_for_who_never_reads_nor_for_what_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    let settings = [NO_SPOOL[0], NO_SPOOL[1], ("HELIOGRAPH__INGEST__DRAIN_SECONDS", "4")];
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &settings, folder.path());
    let mut good = BufReader::new(connect(ingest.address, PATIENCE));
    good.get_mut().write_all(push(30_000).as_bytes()).unwrap();
    let mut ack = String::new();
    good.read_line(&mut ack).unwrap();
    assert_eq!(ack, format!("<ack seq=\"{:060}\" readings=\"2\"/>\n", 30_000));

    let half = &push(30_001)[..150];
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n{half}");
    let mut others: Vec<_> = (0..20).map(|_| unfinished(ingest.address, half)).collect();
    others.push(unfinished(ingest.address, &request));
    let deaf = never_reads(ingest.address, |number| push(number % 20_000)).await;

    let took = ingest.terminate();
    println!("drained in {took:?}");
    assert!(took <= DRAINED, "{took:?}");
    for mut other in others {
        let mut said = String::new();
        // A body that was cut off may be answered so, or not at all.
        assert!(other.read_to_string(&mut said).is_err() || said.is_empty() || said.contains("<nack"), "{said}");
        assert!(!said.contains("<ack"), "{said}");
    }
    drop(deaf);
    check_whole(&folder.path().join("sunrise.db"));
}

/// Every document is there with both of its readings or with none, that which was
/// acked is, and none that did not end.
fn check_whole(file: &Path) {
    let (mut first, mut second) = (HashSet::new(), HashSet::new());
    for reading in oracle::sqlite::read(file) {
        assert!(if reading.metric == "a" { &mut first } else { &mut second }.insert(reading.value as u64), "{reading:?}");
    }
    assert_eq!(first, second);
    assert!(first.contains(&30_000) && !first.contains(&30_001), "{} documents", first.len());
}
