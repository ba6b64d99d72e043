//! What was sent and what was answered, a line of JSON each, on the disk before
//! it counts. Whoever reads it knows what a store has to hold.
//!
//! Tests read it too, and their own load generator writes the same.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

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

impl Entry {
    /// The document that it is about.
    pub(crate) fn seq(&self) -> &str {
        match self {
            Self::Sent { document, .. } => &document.seq,
            Self::SentAgain { seq, .. } | Self::Acked { seq, .. } | Self::Refused { seq, .. } => seq,
        }
    }

    /// Its line, with the line feed.
    ///
    /// # Errors
    /// Where a value is no number that JSON knows.
    pub(crate) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A document and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) document: Document,
    /// When its first ack came.
    pub(crate) acked_at: Option<i64>,
    pub(crate) refusals: Vec<String>,
}

/// Reads a journal back, in the order of sending; one that is not there is empty. A
/// last line without its end was never counted.
///
/// # Errors
/// When the file cannot be read, or a line of it is none of a journal.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Sent>> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut by_seq: HashMap<String, usize> = HashMap::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sent),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let entry = serde_json::from_str(&line)?;
        if let Entry::Sent { document, .. } = entry {
            by_seq.insert(document.seq.clone(), sent.len());
            sent.push(Sent { document, acked_at: None, refusals: Vec::new() });
        } else {
            let told = by_seq.get(entry.seq()).and_then(|place| sent.get_mut(*place));
            let told = told.ok_or_else(|| io::Error::other(format!("{} was never sent", entry.seq())))?;
            match entry {
                Entry::Acked { at, .. } => drop(told.acked_at.get_or_insert(at)),
                Entry::Refused { answer, .. } => told.refusals.push(answer),
                Entry::Sent { .. } | Entry::SentAgain { .. } => {}
            }
        }
        line.clear();
    }
    Ok(sent)
}

/// Opens a journal to go on with it; what a kill has left of a line is cut.
///
/// # Errors
/// When the file cannot be opened or cut.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    file.set_len(whole as u64)?;
    Ok(file)
}

/// Now, in milliseconds UTC.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
