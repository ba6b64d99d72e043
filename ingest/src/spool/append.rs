//! One batch of records on its way to the disk.

use std::io;
use std::path::PathBuf;

use super::NotKept;
use super::disk::Disk;
use super::folder::Folder;
use super::record::Record;
use super::segment::{Open, RecordPlace, SEGMENT, Segment};

/// What strangers had refused may fill the spool up to this part of it.
const STRANGERS_PART: u64 = 4;

/// How much the spool holds, and may hold, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) used: u64,
    pub(super) limit: u64,
}

impl Room {
    fn has(self, record: &Record, more: usize) -> bool {
        let limit = if record.is_strangers() { self.limit / STRANGERS_PART } else { self.limit };
        self.used + more as u64 <= limit
    }
}

/// One batch on its way to the disk, and what it is appended to.
pub(super) struct Writing {
    pub(super) disk: Disk,
    pub(super) root: PathBuf,
    /// What our own folder is called, should it have to be made.
    pub(super) name: String,
    pub(super) folder: Option<Folder>,
    pub(super) open: Option<Open>,
    /// Of the segment, should it have to be made.
    pub(super) number: u64,
    pub(super) nonce: u64,
    pub(super) room: Room,
}

/// What has become of a batch.
pub(super) struct Written {
    pub(super) folder: Option<Folder>,
    pub(super) open: Option<Open>,
    pub(super) closed: Option<Segment>,
    /// Where each record is kept, or why it is not.
    pub(super) outcomes: Vec<Result<RecordPlace, NotKept>>,
}

impl Writing {
    pub(super) fn write(mut self, records: &[Record]) -> Written {
        match self.try_write(records) {
            Ok((open, closed, outcomes)) => Written { folder: self.folder, open, closed, outcomes },
            Err(error) => {
                tracing::error!(%error, folder = %self.root.display(), "spool cannot be written");
                // Nobody knows what the file holds now: it is written no more.
                let closed = self.open.take().and_then(|open| open.close(&self.disk).ok().flatten());
                let outcomes = records.iter().map(|_| Err(NotKept::Disk(error.to_string()))).collect();
                Written { folder: self.folder, open: None, closed, outcomes }
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "the parts of Written")]
    fn try_write(
        &mut self,
        records: &[Record],
    ) -> Result<(Option<Open>, Option<Segment>, Vec<Result<RecordPlace, NotKept>>), io::Error> {
        if self.room.limit == 0 {
            return Ok((None, None, records.iter().map(|_| Err(NotKept::Full)).collect()));
        }
        let mut open = self.opened()?;
        let mut frames = Vec::new();
        let mut outcomes = Vec::with_capacity(records.len());
        for record in records {
            let before = frames.len();
            let framed = open.frame(record, &mut frames);
            let outcome = match framed {
                Err(error) => Err(NotKept::Disk(error.to_string())),
                Ok(_) if !self.room.has(record, frames.len()) => Err(NotKept::Full),
                Ok(place) => Ok(place),
            };
            if outcome.is_err() {
                frames.truncate(before);
            }
            outcomes.push(outcome);
        }
        let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        if count > 0
            && let Err(error) = open.append(&self.disk, &frames, count, records.first().map(Record::received))
        {
            self.open = Some(open);
            return Err(error);
        }
        if open.segment().bytes < SEGMENT.min(self.room.limit / 8) {
            return Ok((Some(open), None, outcomes));
        }
        let closed = open.close(&self.disk)?;
        Ok((None, closed, outcomes))
    }

    /// The open segment, in our folder, each made where it is missing.
    fn opened(&mut self) -> io::Result<Open> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => {
                self.disk.make_folder(&self.root)?;
                Folder::claim(&self.disk, &self.root, &self.name)?
            }
        };
        let open = Open::create(&self.disk, &folder.path, self.number, self.nonce);
        self.folder = Some(folder);
        open
    }
}
