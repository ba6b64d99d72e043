//! Gateways that push as fast as they are answered, or at a pace, and write down
//! what they sent and what was acked before they count it. A process of its own:
//! what happens to the server does not happen to it. It goes on where a journal
//! ends: documents without an ack are sent again, the same bytes.
//!
//! It ends when all is acked, or when its standard input does; then it waits for
//! the answers that are under way.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a generator that cannot go on fails its test")]

mod document;
#[path = "../../src/simulate/journal.rs"]
mod journal;
mod writer;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use document::{Gateway, IN_PART};
use writer::Journal;

/// How long an answer may take; a connection without one is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before a server is asked again that is away or full.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Parser)]
struct Args {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    provider: String,
    /// A number of the provider that shows in values.
    #[arg(long, default_value_t = 0)]
    provider_number: u64,
    #[arg(long)]
    key: String,
    /// Where the journals are.
    #[arg(long)]
    journal: PathBuf,
    #[arg(long)]
    seed: u64,
    /// Gateways.
    #[arg(long, default_value_t = 4)]
    lanes: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first_lane: u64,
    /// Documents of each gateway, over all runs.
    #[arg(long, default_value_t = u64::MAX)]
    documents: u64,
    /// Documents of a gateway that wait for their answer at once; 1 is a closed loop.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Milliseconds between two documents of a gateway, at least.
    #[arg(long, default_value_t = 0)]
    every: u64,
    /// Instants of a backfill document, at most.
    #[arg(long, default_value_t = 30)]
    backfill: u64,
    /// Milliseconds between these, back into the past; 0: next to each other.
    #[arg(long, default_value_t = 0)]
    spread: i64,
    /// Of so many documents one has a reading that is refused; 0: none has.
    #[arg(long, default_value_t = 0)]
    in_part: u64,
    /// When the first document was measured, in milliseconds UTC.
    #[arg(long)]
    since: i64,
}

static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    let args = Args::parse();
    println!("seed {}", args.seed);
    std::thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        STOP.store(true, Ordering::Relaxed);
    });
    std::thread::scope(|scope| {
        for lane in args.first_lane..args.first_lane + args.lanes {
            let args = &args;
            scope.spawn(move || Lane::open(args, lane).run());
        }
    });
}

/// One gateway.
struct Lane<'a> {
    args: &'a Args,
    gateway: Gateway,
    journal: Journal,
    /// Documents to send again before new ones.
    again: VecDeque<u64>,
    /// The hashes of documents that an earlier run sent.
    before: Vec<String>,
    next: u64,
    last: Instant,
}

/// A document that waits for its answer.
struct Waiting {
    number: u64,
    seq: String,
}

impl<'a> Lane<'a> {
    fn open(args: &'a Args, lane: u64) -> Self {
        let gateway = Gateway {
            provider: args.provider.clone(),
            provider_number: args.provider_number,
            lane,
            key: args.key.clone(),
            seed: args.seed,
            since: args.since,
            backfill: args.backfill,
            spread: args.spread,
            in_part: args.in_part,
        };
        let path = writer::path_of(&args.journal, &args.provider, &gateway.id());
        let before = journal::read(&path).unwrap();
        let again = (0..).zip(&before).filter(|(_, sent)| sent.acked_at.is_none()).map(|(number, _)| number).collect();
        let journal = Journal::open(&path).unwrap();
        let next = before.len() as u64;
        let before = before.into_iter().map(|sent| sent.document.hash).collect();
        Self { args, gateway, journal, again, before, next, last: Instant::now() }
    }

    fn run(mut self) {
        while !self.done() {
            let Ok(stream) = TcpStream::connect(self.args.address) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut waiting = VecDeque::new();
            let lost = self.converse(&mut BufReader::new(stream), &mut waiting);
            // Whatever is unanswered may be stored or not; it comes again, in order.
            for Waiting { number, .. } in waiting.into_iter().rev() {
                self.again.push_front(number);
            }
            if lost.is_err() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn done(&self) -> bool {
        STOP.load(Ordering::Relaxed) || (self.again.is_empty() && self.next >= self.args.documents)
    }

    fn converse(&mut self, line: &mut BufReader<TcpStream>, waiting: &mut VecDeque<Waiting>) -> std::io::Result<()> {
        let mut broken = false;
        loop {
            // What was answered before it broke is still read, up to its end.
            while !broken && waiting.len() < self.args.in_flight && !self.done() {
                broken = self.send(line.get_mut(), waiting).is_err();
            }
            let Some(first) = waiting.front() else { return Ok(()) };
            let mut answer = String::new();
            line.read_line(&mut answer)?;
            if !answer.ends_with('\n') {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            assert!(answer.contains(&format!("seq=\"{}\"", first.seq)), "{answer} for {}", first.seq);
            if answer.starts_with("<ack") && answer.contains("rejected") == first.seq.ends_with(IN_PART) {
                self.journal.acked(&first.seq).unwrap();
                waiting.pop_front();
            } else {
                self.journal.refused(&first.seq, answer.trim_end()).unwrap();
                // Those behind it are given up with the connection.
                return Err(ErrorKind::Other.into());
            }
        }
    }

    fn send(&mut self, stream: &mut TcpStream, waiting: &mut VecDeque<Waiting>) -> std::io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.args.every).saturating_sub(self.last.elapsed()));
        self.last = Instant::now();
        let (number, known) = match self.again.pop_front() {
            Some(number) => (number, true),
            None => (self.next, false),
        };
        let (document, xml) = self.gateway.document(number);
        waiting.push_back(Waiting { number, seq: document.seq.clone() });
        if known {
            let hash = self.before.get(number as usize).unwrap_or(&document.hash);
            assert_eq!(*hash, document.hash, "{} was sent with other bytes", document.seq);
            self.journal.sent_again(&document.seq).unwrap();
        } else {
            self.journal.sent(&document).unwrap();
            self.next += 1;
        }
        stream.write_all(xml.as_bytes())
    }
}
