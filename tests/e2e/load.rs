//! The load generator, run as a process of its own, and what its journals say: a
//! closed loop of documents that are late, that meet and overwrite each other, by
//! seed. It stands beside [`crate::simulation`], which pushes live documents at a
//! rate, whatever the answers do; the journal and the oracle are the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use crate::journal::{self, Entry, Sent};

/// The key of every gateway of a load.
pub(crate) const KEY: &str = "a key that every gateway of a load has";
const LOAD: &str = env!("CARGO_BIN_EXE_heliograph-load");
/// From here documents are measured, so that nothing is ahead of the clock.
const AGO_MS: i64 = 400 * 86_400_000;

/// What to push, where.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) provider: String,
    /// Told apart in values.
    pub(crate) provider_number: u64,
    pub(crate) journal: PathBuf,
    pub(crate) seed: u64,
    pub(crate) since: i64,
    pub(crate) first_lane: usize,
    pub(crate) lanes: usize,
    /// Of each gateway; `None` until it is stopped.
    pub(crate) documents: Option<u64>,
    pub(crate) in_flight: usize,
    pub(crate) every: Duration,
    /// Instants of a backfill document, at most.
    pub(crate) backfill: u64,
    /// Between these, back into the past, in whole ten seconds.
    pub(crate) spread: Duration,
    /// Of so many documents one has a reading that is refused; 0: none has.
    pub(crate) in_part: u64,
}

/// What the number of such a document ends in.
pub(crate) const IN_PART: &str = ":in-part";

impl Plan {
    /// A closed loop for `lanes` gateways, with a seed that is printed.
    pub(crate) fn new(provider: &str, folder: &Path, lanes: usize) -> Self {
        let seed = rand::random::<u32>().into();
        println!("seed {seed}");
        let now = jiff::Timestamp::now().as_millisecond();
        Self {
            provider: provider.to_owned(),
            provider_number: 0,
            journal: folder.to_owned(),
            seed,
            since: (now - AGO_MS) / 60_000 * 60_000,
            first_lane: 0,
            lanes,
            documents: None,
            in_flight: 1,
            every: Duration::ZERO,
            backfill: 30,
            spread: Duration::ZERO,
            in_part: 0,
        }
    }

    /// The same from ten minutes before a month of a zone begins, so that documents fall
    /// into two of its days and months.
    pub(crate) fn across_months(self, zone: &str) -> Self {
        let zone = TimeZone::get(zone).unwrap();
        let month = jiff::Timestamp::from_millisecond(self.since).unwrap().to_zoned(zone.clone()).date().first_of_month();
        let since = month.to_zoned(zone).unwrap().timestamp().as_millisecond() - 600_000;
        Self { since, ..self }
    }

    /// Starts to push.
    pub(crate) fn start(&self, address: SocketAddr) -> Load {
        let mut arguments = vec![
            ("address", address.to_string()),
            ("provider", self.provider.clone()),
            ("provider-number", self.provider_number.to_string()),
            ("key", KEY.to_owned()),
            ("journal", self.journal.display().to_string()),
            ("seed", self.seed.to_string()),
            ("since", self.since.to_string()),
            ("lanes", self.lanes.to_string()),
            ("first-lane", self.first_lane.to_string()),
            ("in-flight", self.in_flight.to_string()),
            ("every", self.every.as_millis().to_string()),
            ("backfill", self.backfill.to_string()),
            ("spread", self.spread.as_millis().to_string()),
            ("in-part", self.in_part.to_string()),
        ];
        arguments.extend(self.documents.map(|documents| ("documents", documents.to_string())));
        let arguments = arguments.into_iter().map(|(name, value)| format!("--{name}={value}"));
        let mut child = Command::new(LOAD).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It says its seed once it runs.
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        Load(child)
    }

    /// Pushes until everything is acked.
    pub(crate) fn run(&self, address: SocketAddr) {
        let mut load = self.start(address);
        // Waiting closes it, which would stop the load.
        let input = load.0.stdin.take();
        let status = load.0.wait().unwrap();
        assert!(status.success(), "the load generator failed");
        drop(input);
    }

    /// What each of the gateways has sent so far.
    pub(crate) fn sent(&self) -> Vec<Vec<Sent>> {
        self.journals().map(|path| journal::read(&path).unwrap()).collect()
    }

    /// How often the bytes of each document have left.
    pub(crate) fn transmissions(&self) -> HashMap<String, usize> {
        let mut left = HashMap::new();
        for journal in self.journals() {
            for line in std::fs::read_to_string(journal).unwrap().lines() {
                let entry: Entry = serde_json::from_str(line).unwrap();
                if matches!(entry, Entry::Sent { .. } | Entry::SentAgain { .. }) {
                    *left.entry(entry.seq().to_owned()).or_default() += 1;
                }
            }
        }
        left
    }

    fn journals(&self) -> impl Iterator<Item = PathBuf> {
        let lanes = self.first_lane..self.first_lane + self.lanes;
        lanes.map(|lane| self.journal.join(format!("{}.gw-{lane}.journal", self.provider)))
    }

    /// Documents acked so far.
    pub(crate) fn acked(&self) -> usize {
        self.journals().map(|path| acked(&path)).sum()
    }

    /// Waits until further documents were acked.
    pub(crate) fn await_acks(&self, further: usize, patience: Duration) {
        await_acks(&self.journals().collect::<Vec<_>>(), further, patience);
    }
}

/// Waits until journals say that so many further documents were acked. What they said
/// before, which may be much, is not read.
pub(crate) fn await_acks(journals: &[PathBuf], further: usize, patience: Duration) {
    let end = |journal: &PathBuf| std::fs::metadata(journal).map_or(0, |file| file.len());
    let mut read: Vec<u64> = journals.iter().map(end).collect();
    let (mut acked, deadline) = (0, Instant::now() + patience);
    loop {
        acked += journals.iter().zip(&mut read).map(|(journal, from)| acked_since(journal, from)).sum::<usize>();
        if acked >= further {
            return;
        }
        assert!(Instant::now() < deadline, "no {further} further acks within {patience:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many documents a journal says were acked; a document is acked once.
pub(crate) fn acked(journal: &Path) -> usize {
    acked_since(journal, &mut 0)
}

/// The same of the whole lines from a place on, which moves behind them.
fn acked_since(journal: &Path, from: &mut u64) -> usize {
    let Ok(mut file) = File::open(journal) else { return 0 };
    file.seek(SeekFrom::Start(*from)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let (mut acked, mut length) = (0, 0);
    for line in whole {
        acked += usize::from(line.starts_with(b"{\"Acked\""));
        length += line.len() as u64;
    }
    *from += length;
    acked
}

/// A generator that runs.
pub(crate) struct Load(Child);

impl Load {
    /// Lets it wait for the answers under way, and end.
    pub(crate) fn stop(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "the load generator failed");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
