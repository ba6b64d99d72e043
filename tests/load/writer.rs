//! The writing side of the journal.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::journal::{self, Document, Entry, now};

/// The journal of one gateway.
pub(crate) fn path_of(folder: &Path, provider: &str, gateway: &str) -> PathBuf {
    folder.join(format!("{provider}.{gateway}.journal"))
}

pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        journal::open(path).map(Self)
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
        self.0.write_all(&entry.line()?)?;
        self.0.sync_data()
    }
}
