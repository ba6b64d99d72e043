//! 200 gateways that push at a pace, alone and beside 10,000 connections that say
//! nothing: how long they wait for their acks, and what memory all of it takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::corpus;
use crate::idle::{First, open};
use crate::served::KEY;
use crate::server::{GATEWAYS, Server};

const IDLE: usize = 10_000;
const ROUNDS: usize = 3;
/// Documents of a gateway in a round.
const DOCUMENTS: usize = 60;
/// Between two documents of a gateway.
const EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    push_all(server.address, 0).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        alone.push(push_all(server.address, 1 + 2 * round).await);
        let idle = open(server.address, 0..IDLE, None, First::Hello).await;
        beside.push(push_all(server.address, 2 + 2 * round).await);
        drop(idle);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let most = server.memory("VmHWM") >> 20;
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "ack p99 of {GATEWAYS} busy connections: {alone:?}; beside {IDLE} idle ones: {beside:?}, {:.2} x (asked: 2)",
        beside.as_secs_f64() / alone.as_secs_f64()
    );
    println!("the server {most} MiB at most (asked: 128)");
}

/// The 99th percentile of how long an ack takes, from when its document was due. Coming
/// in is not measured here: the first documents alone would be more than a hundredth.
async fn push_all(to: SocketAddr, round: usize) -> Duration {
    let mut streams = Vec::new();
    for _ in 0..GATEWAYS {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(BufReader::new(stream));
    }
    let began = Instant::now() + Duration::from_millis(200);
    let push = |(gateway, stream)| tokio::spawn(push(stream, gateway, round, began));
    let pushers: Vec<_> = streams.into_iter().enumerate().map(push).collect();
    let mut latencies = Vec::new();
    for pusher in pushers {
        latencies.extend(pusher.await.unwrap());
    }
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}

async fn push(mut stream: BufReader<TcpStream>, gateway: usize, round: usize, began: Instant) -> Vec<Duration> {
    let first = began + EVERY * gateway as u32 / GATEWAYS as u32;
    let (mut latencies, mut answer) = (Vec::new(), String::new());
    for number in 0..DOCUMENTS {
        let due = first + EVERY * number as u32;
        let document = corpus::live_xml(gateway, round * DOCUMENTS + number, KEY);
        tokio::time::sleep_until(due).await;
        stream.write_all(document.as_bytes()).await.unwrap();
        answer.clear();
        stream.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("<ack"), "{answer}");
        latencies.push(due.elapsed());
    }
    latencies
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
