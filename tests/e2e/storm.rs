//! More connections than there are files for, thousands that come back at once, and
//! thousands that send a byte now and then: ingest serves on, within its memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, ProviderId, TimeWindow};
use heliograph_store::{Store, StoreUrl};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::binary::free_address;
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Gateways that the connections of a storm are of.
const LANES: usize = 50;

async fn start(folder: &Path) -> Ingest {
    commission(folder, "sunrise", LANES).await;
    Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder)
}

/// A document of the n-th of many.
fn push(number: usize) -> String {
    let (lane, minute) = (number % LANES, number / LANES);
    let time = format!("2026-11-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60);
    format!(
        "<push gateway=\"gw-{lane}\" key=\"{KEY}\" seq=\"{number}\"><sensor id=\"m\">\
         <reading metric=\"power\" unit=\"W\" time=\"{time}\">{number}</reading></sensor></push>"
    )
}

/// Connects from one of several addresses of this machine: no address may have all
/// connections of a server.
async fn connect(to: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2 + (number % 4) as u8], 0)))?;
    socket.connect(to).await
}

/// Pushes one document on a new connection and waits for its ack, trying again as a
/// gateway does; answers the connection, which stays open.
async fn come_back(to: SocketAddr, number: usize) -> TcpStream {
    loop {
        if let Ok(stream) = connect(to, number).await {
            let mut stream = BufStream::new(stream);
            let mut line = String::new();
            let asked = async {
                stream.write_all(push(number).as_bytes()).await?;
                stream.flush().await?;
                stream.read_line(&mut line).await
            };
            if asked.await.is_ok() && line == format!("<ack seq=\"{number}\" readings=\"1\"/>\n") {
                return stream.into_inner();
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Lets so many gateways come at once; answers their connections and how long it took
/// until the last had its ack.
async fn storm(to: SocketAddr, numbers: std::ops::Range<usize>) -> (Vec<TcpStream>, Duration) {
    let (began, expected) = (Instant::now(), numbers.len());
    let mut coming: JoinSet<TcpStream> = numbers.map(|number| come_back(to, number)).collect();
    let mut streams = Vec::with_capacity(expected);
    while let Some(stream) = coming.join_next().await {
        streams.push(stream.unwrap());
    }
    (streams, began.elapsed())
}

/// How many readings there are of all gateways.
async fn stored(folder: &Path) -> usize {
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let mut readings = 0;
    for lane in 0..LANES {
        let gateway = GatewayId::parse(&format!("gw-{lane}")).unwrap();
        readings += store.reading_page(&gateway, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows.len();
    }
    store.close().await;
    readings
}

/// A figure of `/proc/PID/status`, KiB.
pub(crate) fn memory(process: &Child, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn without_a_file_left_the_accept_loop_lives_and_whoever_is_in_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut ingest = start(folder.path()).await;
    let inside = come_back(ingest.address, 0).await;
    let mut inside = BufStream::new(inside);
    let id = ingest.process.0.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as u64;
    let few = Rlimit { current: Some(open + 20), maximum: Some(open + 20) };
    prlimit(Pid::from_raw(id.cast_signed()), Resource::Nofile, few).unwrap();

    let mut crowd = Vec::new();
    for number in 0..100 {
        crowd.push(connect(ingest.address, number).await.unwrap());
    }
    let deadline = Instant::now() + PATIENCE;
    while !ingest.logged().contains("connection cannot be accepted") {
        assert!(Instant::now() < deadline, "there were files for all: {}", ingest.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in 1..=10 {
        inside.write_all(push(number * LANES).as_bytes()).await.unwrap();
        inside.flush().await.unwrap();
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, inside.read_line(&mut line)).await.unwrap().unwrap();
        assert_eq!(line, format!("<ack seq=\"{}\" readings=\"1\"/>\n", number * LANES));
    }
    drop(crowd);
    let back = tokio::time::timeout(PATIENCE, come_back(ingest.address, 11 * LANES)).await;
    assert!(back.is_ok(), "nobody is let in any more: {}", ingest.logged());
    assert!(ingest.runs());
    println!("{open} files open, {} KiB at most", memory(&ingest.process.0, "VmHWM"));
    drop((inside, back));
    ingest.terminate();
    assert_eq!(stored(folder.path()).await, 12);
}

/// So many gateways come, lose their connections, and come back at once.
async fn all_come_back(connections: usize, within: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let ingest = start(folder.path()).await;
    let (streams, first) = storm(ingest.address, 0..connections).await;
    drop(streams);
    let (streams, again) = storm(ingest.address, connections..2 * connections).await;
    println!(
        "{connections} connections: all acked after {first:?}, back after {again:?}; {} KiB at most",
        memory(&ingest.process.0, "VmHWM")
    );
    assert!(again < within, "{again:?}");
    drop(streams);
    ingest.terminate();
    assert_eq!(stored(folder.path()).await, 2 * connections);
}

#[tokio::test]
async fn a_thousand_gateways_that_come_back_at_once_are_all_acked() {
    all_come_back(1000, PATIENCE).await;
}

#[tokio::test]
#[ignore = "takes 20,000 files and an idle machine: make soak"]
async fn ten_thousand_gateways_that_come_back_at_once_are_all_acked() {
    all_come_back(10_000, Duration::from_secs(30)).await;
}

#[tokio::test]
#[ignore = "takes 20,000 files and an idle machine: make soak"]
async fn ten_thousand_slow_senders_are_gone_after_half_a_minute_and_hold_little() {
    let folder = tempfile::tempdir().unwrap();
    let connections = 10_000;
    let ingest = start(folder.path()).await;
    drop(come_back(ingest.address, 0).await);
    let before = memory(&ingest.process.0, "VmRSS");
    let began = Instant::now();
    let mut senders: JoinSet<Duration> = (0..connections).map(|number| send_slowly(ingest.address, number)).collect();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let held = memory(&ingest.process.0, "VmRSS").saturating_sub(before) as f64 / connections as f64;
    let answered = Instant::now();
    drop(come_back(ingest.address, LANES).await);
    println!("{held:.1} KiB a slow sender; another was acked after {:?}", answered.elapsed());
    let mut longest = Duration::ZERO;
    while let Some(took) = senders.join_next().await {
        longest = longest.max(took.unwrap());
    }
    println!("{connections} slow senders: the last was sent away after {longest:?}, all after {:?}", began.elapsed());
    assert!(longest < Duration::from_secs(30) && held < 16.0, "{longest:?}, {held:.1} KiB");
    ingest.terminate();
    assert_eq!(stored(folder.path()).await, 2);
}

/// Sends a byte a second until it is sent away; answers how long it was let in.
async fn send_slowly(to: SocketAddr, number: usize) -> Duration {
    let (mut reader, mut writer) = connect(to, number).await.unwrap().into_split();
    let began = Instant::now();
    let sending = async {
        for byte in push(number).bytes() {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        _ = reader.read_to_end(&mut said) => {}
        () = sending => {}
    }
    began.elapsed()
}
