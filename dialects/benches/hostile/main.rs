//! Time a MiB of hostile input, as a server spends it before anything is written:
//! framing in reads, decoding, canonical units, and for what is refused salvaging and
//! masking. Every element of every fixture is flooded in every way there is.
//!
//! `cargo bench -p heliograph-dialects --bench hostile`; a folder of `fixtures/` may be
//! named behind `--`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints its figures and cannot go on without fixtures")]

mod floods;
mod seeds;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_dialects::{Context, Frame, Framer, Limits, Mapping, canonical, decode, mask_credentials, salvage};
use heliograph_domain::{Timestamp, Zone};

use floods::{Flood, streams};
use seeds::{Seed, seeds};

/// What is asked for, milliseconds a MiB.
const ASKED: f64 = 50.0;
/// Bytes of a flood where all are looked for the worst.
const SHORT: usize = 128 << 10;
/// Bytes of those that are stated.
const LONG: usize = 1 << 20;
/// Of each folder so many are measured at length.
const WORST: usize = 6;
/// A document that has a reading in so few bytes is no attack but full: what it costs
/// is that of its readings, of which rates let through only so many.
const BYTES_A_READING: usize = 64;
/// When all of it is received.
const RECEIVED: Timestamp = Timestamp::clamped(1_795_176_000_000);
/// Bytes that a connection reads at once.
const READ: usize = 16 << 10;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    println!("{:<76}{:>10}{:>10}", "", "ms/MiB", "asked");
    let mut worst: f64 = 0.0;
    for folder in seeds::FOLDERS.iter().filter(|folder| named.is_empty() || named.iter().any(|name| name == *folder)) {
        worst = worst.max(folder_worst(folder));
    }
    if named.is_empty() {
        for (name, bytes) in streams(LONG) {
            let took = cost(&bytes, &[]);
            line(&format!("stream: {name}"), took);
            worst = worst.max(took);
        }
    }
    println!("the worst of all: {worst:.1} ms/MiB, {}", if worst <= ASKED { "as asked" } else { "missed" });
}

/// Measures every flood of a folder's fixtures shortly, and the worst at length; answers
/// the worst of all that are no readings.
fn folder_worst(folder: &str) -> f64 {
    let seeds = seeds(folder);
    let floods: Vec<(&Seed, Flood)> =
        seeds.iter().flat_map(|seed| floods::of(seed).into_iter().map(move |flood| (seed, flood))).collect();
    let (full, hostile): (Vec<_>, Vec<_>) = floods
        .into_iter()
        .partition(|(seed, flood)| readings(&flood.whole(seed, SHORT), &seed.mappings) > SHORT / BYTES_A_READING);
    if let Some((seed, flood)) = worst_of(full, 1).first() {
        let took = cost(&flood.bytes(seed, LONG), &seed.mappings);
        let readings = readings(&flood.whole(seed, LONG), &seed.mappings) as f64;
        let what = format!("{folder}, full of readings: {}, {}", seed.name, flood.name);
        println!("{what:<76}{took:>10.1}{:>10} {:.2} µs a reading", "-", took * 1e3 / readings);
    }
    let count = hostile.len();
    let mut worst: f64 = 0.0;
    for (seed, flood) in worst_of(hostile, WORST) {
        let took = cost(&flood.bytes(seed, LONG), &seed.mappings);
        line(&format!("{folder}, worst of {count}: {}, {}", seed.name, flood.name), took);
        worst = worst.max(took);
    }
    worst
}

/// Those that cost most, looked at shortly.
fn worst_of(floods: Vec<(&Seed, Flood)>, count: usize) -> Vec<(&Seed, Flood)> {
    let mut found: Vec<_> =
        floods.into_iter().map(|(seed, flood)| (cost(&flood.bytes(seed, SHORT), &seed.mappings), (seed, flood))).collect();
    found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    found.into_iter().take(count).map(|(_, found)| found).collect()
}

/// How many readings a document says, if it says any.
fn readings(document: &[u8], mappings: &[Arc<Mapping>]) -> usize {
    let zone = Zone::parse("UTC").unwrap();
    let context = Context { received: RECEIVED, zone: &zone, hello_gateway: None, mappings };
    decode(document, &context).map_or(0, |decoded| decoded.readings.len() + decoded.refused.len())
}

/// Milliseconds a MiB, the least of three.
fn cost(bytes: &[u8], mappings: &[Arc<Mapping>]) -> f64 {
    let mut least = Duration::MAX;
    let mut taken = 0;
    for _ in 0..3 {
        let began = Instant::now();
        taken = serve(bytes, mappings);
        least = least.min(began.elapsed());
    }
    // What ends a connection at once is no flood: a page of it counts at least.
    least.as_secs_f64() * 1e3 / (taken.max(READ) as f64 / f64::from(1 << 20))
}

/// Takes bytes as a server does; answers how many until the connection would close.
fn serve(bytes: &[u8], mappings: &[Arc<Mapping>]) -> usize {
    let mut framer = Framer::new(Limits::default());
    let (mut buffer, mut from): (Vec<u8>, usize) = (Vec::new(), 0);
    let mut taken = 0;
    for read in bytes.chunks(READ) {
        taken += read.len();
        buffer.drain(..std::mem::take(&mut from));
        buffer.extend_from_slice(read);
        loop {
            let unread = &buffer[from..];
            match framer.next(unread) {
                Ok(Frame::Incomplete { skip }) => {
                    from += skip;
                    break;
                }
                Ok(Frame::Document { start, end }) => {
                    judge(&unread[start..end], mappings);
                    from += end;
                }
                Err(_) => {
                    refuse(unread);
                    return taken;
                }
            }
        }
    }
    taken
}

/// What a server does with a document before it writes.
fn judge(document: &[u8], mappings: &[Arc<Mapping>]) {
    let zone = Zone::parse("America/St_Johns").unwrap();
    let context = Context { received: RECEIVED, zone: &zone, hello_gateway: None, mappings };
    match decode(document, &context) {
        Ok(decoded) => {
            decoded.readings.iter().for_each(|reading| drop(black_box(canonical(reading))));
            if !decoded.refused.is_empty() {
                refuse(document);
            }
        }
        Err(_) => refuse(document),
    }
}

/// What a server does with what goes to the quarantine.
fn refuse(bytes: &[u8]) {
    black_box((salvage(bytes), mask_credentials(bytes)));
}

fn line(what: &str, took: f64) {
    let verdict = if took <= ASKED { "" } else { "  missed" };
    println!("{what:<76}{took:>10.1}{ASKED:>10.0}{verdict}");
}
