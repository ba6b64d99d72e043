//! The writing side of the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::journal::{Document, Entry};

pub(crate) struct Journal(File);

impl Journal {
    /// Opens a journal to go on with it; what a kill has left of a line is cut.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(whole as u64)?;
        Ok(Self(file))
    }

    pub(crate) fn sent(&mut self, document: &Document) -> io::Result<()> {
        self.write(&Entry::Sent { at: now(), document: document.clone() })
    }

    pub(crate) fn sent_again(&mut self, seq: &str) -> io::Result<()> {
        self.write(&Entry::SentAgain { at: now(), seq: seq.to_owned() })
    }

    pub(crate) fn acked(&mut self, seq: &str) -> io::Result<()> {
        self.write(&Entry::Acked { at: now(), seq: seq.to_owned() })
    }

    pub(crate) fn refused(&mut self, seq: &str, answer: &str) -> io::Result<()> {
        self.write(&Entry::Refused { at: now(), seq: seq.to_owned(), answer: answer.to_owned() })
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.sync_data()
    }
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
