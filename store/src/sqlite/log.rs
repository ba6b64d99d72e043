//! What SQLite leaves out without a word: what was committed behind a damaged place
//! of the log (`-wal`) that a killed process has left.
//!
//! SQLite reads a log up to the first frame that is not as it was written, for behind
//! the last commit there may be anything: what the power cut, what was rolled back,
//! what an older round of the log has left. Each frame's checksum goes on from that of
//! the frame before, so that two frames show whether they were written one behind the
//! other, whatever stands before them. Where a writer went on behind a commit, that
//! commit was done: if SQLite will not get there, the log is damaged. Of the last
//! commit of a log nobody can tell. (Format: sqlite.org/fileformat2.html, section 4.)
//!
//! No lock is needed while another process writes: frames are written in their order,
//! and a log that begins anew has another header.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::clock::Clock;

/// What a header begins with; the lowest bit says which end of a number comes first in
/// checksums.
const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Longer logs are not looked through: a start would take seconds.
const LONGEST: u64 = 128 << 20;
/// What follows the name of a log in that of its copy, before the time.
const COPY: &str = ".damaged-";

/// The running checksum of a log.
type Sum = (u32, u32);

/// What a log says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    big_endian: bool,
    page: usize,
    salts: [u8; 8],
    sum: Sum,
}

/// Where SQLite stops to read a log: the frame that begins there does not go on from
/// the checksum before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stop {
    at: u64,
    before: Sum,
}

/// Keeps a copy of a file's log beside it where SQLite is about to leave out what was
/// committed; answers whether that is so. Never in the way of opening the file.
pub(super) fn keep_damaged(file: &Path) -> bool {
    let log = beside(file, "");
    let at = match look(&log) {
        Ok(Some(at)) => at,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!(log = %log.display(), %error, "the log cannot be looked through");
            return false;
        }
    };
    let time = Clock::system().now().to_jiff().strftime("%Y%m%dT%H%M%SZ").to_string();
    let copy = beside(file, &format!("{COPY}{time}"));
    let kept = std::fs::copy(&log, &copy).and_then(|_| File::open(&copy)?.sync_all());
    let what = "the log is damaged: what was committed behind that place is lost to the store";
    match kept {
        Ok(()) => tracing::error!(log = %log.display(), at, copy = %copy.display(), "{what}, and kept in the copy"),
        Err(error) => tracing::error!(log = %log.display(), at, %error, "{what}, and no copy can be kept"),
    }
    true
}

/// Begins a new log, so that whoever opens the file next does not come upon what is
/// left of the damaged one. Where others are reading, a later one does it.
pub(super) fn begin_anew(connection: &Connection) {
    let begun = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    match begun {
        Ok(false) => {}
        Ok(true) => tracing::warn!("the damaged log is still in use and will be named again"),
        Err(error) => tracing::warn!(%error, "no new log is begun: the damaged one will be named again"),
    }
}

/// The copies of damaged logs that lie beside a file.
pub(crate) fn damaged_copies(file: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (folder, begin) = (file.parent().unwrap_or(Path::new("")), beside(file, COPY));
    let begin = begin.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(&begin) {
            copies.push(file.with_file_name(entry.file_name()));
        }
    }
    copies.sort_unstable();
    Ok(copies)
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push("-wal");
    name.push(end);
    name.into()
}

/// The first byte that SQLite will not read of a log that goes on behind it, if there
/// is one.
fn look(log: &Path) -> std::io::Result<Option<u64>> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    if bytes <= HEADER as u64 || bytes > LONGEST {
        return Ok(None);
    }
    let mut log = BufReader::with_capacity(1 << 18, file);
    let mut first = [0; HEADER];
    log.read_exact(&mut first)?;
    let Some(header) = Header::read(&first) else {
        // A header that the power cut is not there at all.
        return Ok((first != [0; HEADER]).then_some(0));
    };
    let found = header.walk(&mut log, bytes)?;
    log.seek(SeekFrom::Start(0))?;
    let mut again = [0; HEADER];
    log.read_exact(&mut again)?;
    Ok(found.filter(|_| again == first))
}

impl Header {
    /// The header of a log; `None` where it is not as it was written.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let (begin, sum) = bytes.split_at(HEADER - 8);
        let magic = number(begin, 0)?;
        let page = usize::try_from(number(begin, 8)?).ok()?;
        if magic & !1 != MAGIC || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
            return None;
        }
        let big_endian = magic & 1 == 1;
        let salts = begin.get(16..24)?.try_into().ok()?;
        let sum = (number(sum, 0)?, number(sum, 4)?);
        (checksum(big_endian, (0, 0), begin) == sum).then_some(Self { big_endian, page, salts, sum })
    }

    /// Walks the frames of a log: where SQLite stops, if a writer had gone on behind a
    /// commit after that.
    fn walk(&self, log: &mut BufReader<File>, bytes: u64) -> std::io::Result<Option<u64>> {
        let (mut frame, mut at) = (vec![0; FRAME_HEADER + self.page], HEADER as u64);
        let (mut before, mut stop, mut behind_commit) = (self.sum, None, false);
        while at + frame.len() as u64 <= bytes {
            log.read_exact(&mut frame)?;
            let follows = self.follows(&frame, before);
            match stop {
                None if !follows => stop = Some(Stop { at, before }),
                Some(stop) if follows && behind_commit => return self.still(log, stop, frame),
                _ => {}
            }
            (before, behind_commit) = (stored_sum(&frame), number(&frame, 4).is_some_and(|pages| pages != 0));
            at += frame.len() as u64;
        }
        Ok(None)
    }

    /// Whether a frame is still what SQLite stops at: another process may just have
    /// been writing it.
    fn still(&self, log: &mut BufReader<File>, stop: Stop, mut frame: Vec<u8>) -> std::io::Result<Option<u64>> {
        log.seek(SeekFrom::Start(stop.at))?;
        log.read_exact(&mut frame)?;
        Ok((!self.follows(&frame, stop.before)).then_some(stop.at))
    }

    /// Whether a frame was written in this round of the log, behind one with a
    /// checksum.
    fn follows(&self, frame: &[u8], before: Sum) -> bool {
        let (Some(page), Some(begin)) = (frame.get(FRAME_HEADER..), frame.get(..8)) else { return false };
        frame.get(8..16) == Some(&self.salts[..])
            && checksum(self.big_endian, checksum(self.big_endian, before, begin), page) == stored_sum(frame)
    }
}

/// A number of a header, of four bytes.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The checksum that a frame says it ends with.
fn stored_sum(frame: &[u8]) -> Sum {
    (number(frame, 16).unwrap_or_default(), number(frame, 20).unwrap_or_default())
}

fn checksum(big_endian: bool, (mut a, mut b): Sum, bytes: &[u8]) -> Sum {
    let word = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    for pair in bytes.as_chunks::<8>().0 {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = *pair;
        a = a.wrapping_add(word([a0, a1, a2, a3])).wrapping_add(b);
        b = b.wrapping_add(word([b0, b1, b2, b3])).wrapping_add(a);
    }
    (a, b)
}

#[cfg(test)]
mod tests;
