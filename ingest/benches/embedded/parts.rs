//! The parts of the way of a reading, each alone, and all of it: parsing, the wire and
//! the store, which share the processors.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use heliograph_dialects::{Context, Frame, Framer, Limits, decode};
use heliograph_domain::{Timestamp, Zone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::corpus::{self, SERIES};
use crate::months::{GATEWAYS, write_all};
use crate::served::{self, Way};
use crate::{AT_ONCE, LIVE, bare, line, open, served_rate};

const ROUNDS: usize = 5;
const READINGS: f64 = (GATEWAYS * LIVE * SERIES) as f64;
/// Documents a transaction of the bare driver.
const BATCHES: [usize; 3] = [128, AT_ONCE, 2048];

/// Interleaved rounds of each, medians.
pub(crate) async fn measure(folder: &Path) {
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut rates: [Vec<f64>; 8] = Default::default();
    for round in 0..ROUNDS {
        let mut row = vec![parse_rate(1), parse_rate(cores), fixed_rate().await];
        for batch in BATCHES {
            row.push(driver_rate(folder, &format!("parts{round}_{batch}"), batch).await);
        }
        row.push(served_rate(&open(folder, &format!("parts{round}")), 0).await);
        row.push(null_rate(&open(folder, &format!("null{round}"))).await);
        rates.iter_mut().zip(row).for_each(|(rates, rate)| rates.push(rate));
    }
    let [one, all, wire, small, middle, large, served, null] = rates.map(median);
    let store = small.max(middle).max(large);
    let together = |parse: f64| 1.0 / (1.0 / parse + 1.0 / wire + 1.0 / store);
    line("P: parsed from memory, one core", one, 1.0);
    line(&format!("P: the same, {cores} cores"), all, all / one);
    line("N: accepted, framed, answered with a fixed ack", wire, wire / one);
    line(&format!("S: the bare driver, the best of {BATCHES:?} a transaction"), store, store / one);
    line("E: acked end to end, beside B with P on one core", served, served / together(one));
    line(&format!("E beside B with P on {cores} cores"), served, served / together(all));
    if null > 0.0 {
        line("E with a null store, beside P on one core", null, null / one);
        line(&format!("E with a null store, beside P on {cores} cores"), null, null / all);
    } else {
        println!("E with a null store: --features null-store");
    }
}

/// Readings a second, from bytes in memory, by so many threads.
fn parse_rate(threads: usize) -> f64 {
    let streams: Vec<String> = served::documents(GATEWAYS, 0..LIVE).iter().map(|documents| documents.concat()).collect();
    let began = Instant::now();
    let parsed: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = streams
            .chunks(streams.len().div_ceil(threads))
            .map(|part| scope.spawn(|| part.iter().map(|stream| parse(stream.as_bytes())).sum::<usize>()))
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    let rate = READINGS / began.elapsed().as_secs_f64();
    assert_eq!(parsed, GATEWAYS * LIVE * SERIES);
    rate
}

fn parse(mut stream: &[u8]) -> usize {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(corpus::RECEIVED), zone: &zone, hello_gateway: None, mappings: &[] };
    let (mut framer, mut readings) = (Framer::new(Limits::default()), 0);
    while let Ok(Frame::Document { start, end }) = framer.next(stream) {
        readings += std::hint::black_box(decode(&stream[start..end], &context)).unwrap().readings.len();
        stream = &stream[end..];
    }
    readings
}

/// Readings a second of a server that looks where documents end, and no further.
async fn fixed_rate() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            tokio::spawn(answer_all(listener.accept().await.unwrap().0));
        }
    });
    let documents = served::documents(GATEWAYS, 0..LIVE);
    let began = Instant::now();
    served::push_documents(address, documents, Way::Together).await;
    let rate = READINGS / began.elapsed().as_secs_f64();
    server.abort();
    rate
}

async fn answer_all(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (mut framer, mut buffer, mut acks) = (Framer::new(Limits::default()), bytes::BytesMut::new(), Vec::new());
    while stream.read_buf(&mut buffer).await.unwrap() > 0 {
        while let Frame::Document { end, .. } = framer.next(&buffer).unwrap() {
            drop(buffer.split_to(end));
            acks.extend_from_slice(b"<ack readings=\"20\"/>\n");
        }
        stream.write_all(&acks).await.unwrap();
        acks.clear();
        buffer.reserve(16 << 10);
    }
}

/// Readings a second of the driver alone, into a file that a store has made.
pub(crate) async fn driver_rate(folder: &Path, name: &str, at_once: usize) -> f64 {
    let store = open(folder, name);
    write_all(&store, AT_ONCE, (0..GATEWAYS).map(|gateway| corpus::live(gateway, 0))).await;
    store.close().await;
    bare::documents(&folder.join(format!("{name}.db")), GATEWAYS, LIVE, at_once)
}

/// Readings a second of a server that writes nothing; 0 where it was not built so.
async fn null_rate(store: &heliograph_store::ProviderStore) -> f64 {
    if cfg!(not(feature = "null-store")) {
        return 0.0;
    }
    served::commission(store, GATEWAYS).await;
    let folder = tempfile::tempdir().unwrap();
    let ingest = served::ingest(store, folder.path()).await;
    #[cfg(feature = "null-store")]
    let ingest = ingest.without_store();
    READINGS / served::serve(ingest, served::documents(GATEWAYS, 0..LIVE)).await.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
