//! What was sent and what was answered, a line of JSON each, on the disk before
//! it counts. Whoever reads it knows what a store has to hold.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A reading as it was sent, in a canonical unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) sensor: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    /// Milliseconds UTC.
    pub(crate) time: i64,
    /// No two documents have one in common, so that it names its document.
    pub(crate) value: f64,
}

/// A document as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) provider: String,
    pub(crate) gateway: String,
    pub(crate) seq: String,
    /// SHA-256 of its bytes.
    pub(crate) hash: String,
    pub(crate) readings: Vec<Reading>,
}

/// A line of the journal. Times are milliseconds UTC.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Written before the first byte leaves.
    Sent {
        at: i64,
        document: Document,
    },
    /// The same bytes leave again.
    SentAgain {
        at: i64,
        seq: String,
    },
    Acked {
        at: i64,
        seq: String,
    },
    Refused {
        at: i64,
        seq: String,
        answer: String,
    },
}

/// A document and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) document: Document,
    /// When its first ack came.
    pub(crate) acked_at: Option<i64>,
    pub(crate) refusals: Vec<String>,
}

/// The journal of one gateway.
pub(crate) fn path_of(folder: &Path, provider: &str, gateway: &str) -> PathBuf {
    folder.join(format!("{provider}.{gateway}.journal"))
}

/// Reads a journal back, in the order of sending. A last line without its end
/// was never counted.
pub(crate) fn read(path: &Path) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut by_seq: HashMap<String, usize> = HashMap::new();
    let Ok(file) = File::open(path) else { return sent };
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        match serde_json::from_str(&line).unwrap() {
            Entry::Sent { document, .. } => {
                by_seq.insert(document.seq.clone(), sent.len());
                sent.push(Sent { document, acked_at: None, refusals: Vec::new() });
            }
            Entry::SentAgain { .. } => {}
            Entry::Acked { at, seq } => {
                sent[by_seq[&seq]].acked_at.get_or_insert(at);
            }
            Entry::Refused { seq, answer, .. } => sent[by_seq[&seq]].refusals.push(answer),
        }
        line.clear();
    }
    sent
}
