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
//! No lock is needed while another process writes: what is damaged is so a moment
//! later too, at the same place of a log with the same header.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::clock::Clock;
use crate::error::StoreError;

/// What a header begins with; the lowest bit says which end of a number comes first in
/// checksums.
const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// A log is looked through so far: more would take a start seconds.
const LONGEST: u64 = 128 << 20;
/// The pause between two looks at a log that seems to be damaged.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a new log is waited for: a writer waits meanwhile.
const BEGIN_ANEW: Duration = Duration::from_millis(200);
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

/// Where SQLite stops to read a log that goes on behind it: the frame that begins there
/// does not go on from the checksum before it.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    at: u64,
    header: [u8; HEADER],
    frame: Vec<u8>,
}

/// Keeps a copy of a file's log beside it where SQLite is about to leave out what was
/// committed; answers whether that is so.
///
/// # Errors
/// When there is such a log and no copy of it: opening the file would destroy it.
pub(super) fn keep_damaged(file: &Path) -> Result<bool, StoreError> {
    let file = &real(file);
    let log = beside(file, "");
    let damage = match look_twice(&log) {
        Ok(Some(damage)) => damage,
        Ok(None) => return Ok(false),
        Err(error) => {
            tracing::warn!(log = %log.display(), %error, "the log cannot be looked through");
            return Ok(false);
        }
    };
    let (copy, at) = (kept_before(file, &damage).map_or_else(|| keep(file, &log), Ok), damage.at);
    let copy = copy.map_err(|error| StoreError::Open {
        place: file.display().to_string(),
        problem: format!("its log is damaged at byte {at}, and no copy of it can be kept beside it: {error}"),
    })?;
    let what = "the log is damaged: what was committed behind that place and is not in the file yet is lost to the store";
    tracing::error!(log = %log.display(), at, copy = %copy.display(), "{what}, and kept in the copy");
    Ok(true)
}

/// The copy that was kept of a log before, when opening the file failed after that.
fn kept_before(file: &Path, damage: &Damage) -> Option<PathBuf> {
    let copies = damaged_copies(file).unwrap_or_default();
    copies.into_iter().find(|copy| look(copy).is_ok_and(|found| found.as_ref() == Some(damage)))
}

/// Copies a log; a copy that has its name is whole and stays.
fn keep(file: &Path, log: &Path) -> std::io::Result<PathBuf> {
    let time = Clock::system().now().to_jiff().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let (copy, part) = (beside(file, &format!("{COPY}{time}")), beside(file, ".part"));
    let copied = (|| {
        let mut written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        std::io::copy(&mut File::open(log)?, &mut written)?;
        written.sync_all()?;
        std::fs::hard_link(&part, &copy)
    })();
    drop(std::fs::remove_file(&part));
    copied?;
    File::open(folder(file))?.sync_all()?;
    Ok(copy)
}

/// Begins a new log, so that whoever opens the file next does not come upon what is
/// left of the damaged one. Where others are reading, a later one does it.
pub(super) fn begin_anew(connection: &Connection, patience: Duration) {
    let begun = connection
        .busy_timeout(BEGIN_ANEW)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
    match begun.and_then(|busy| connection.busy_timeout(patience).map(|()| busy)) {
        Ok(false) => {}
        Ok(true) => tracing::warn!("the damaged log is still in use and will be named again"),
        Err(error) => tracing::warn!(%error, "no new log is begun: the damaged one will be named again"),
    }
}

/// The copies of damaged logs that lie beside a file.
pub(crate) fn damaged_copies(file: &Path) -> std::io::Result<Vec<PathBuf>> {
    let file = real(file);
    let begin = beside(&file, COPY).file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder(&file))? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(&begin) {
            copies.push(file.with_file_name(entry.file_name()));
        }
    }
    copies.sort_unstable();
    Ok(copies)
}

/// The file that a link leads to: SQLite has the log beside that.
fn real(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push("-wal");
    name.push(end);
    name.into()
}

/// The damage of a log that is there at two looks. What another process was about to
/// write, roll back or begin anew is another one at the second.
fn look_twice(log: &Path) -> std::io::Result<Option<Damage>> {
    let Some(damage) = look(log)? else { return Ok(None) };
    std::thread::sleep(LOOK_AGAIN);
    Ok(look(log)?.filter(|again| *again == damage))
}

/// The first place that SQLite will not read of a log that goes on behind it, if there
/// is one.
fn look(log: &Path) -> std::io::Result<Option<Damage>> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    if bytes <= HEADER as u64 {
        return Ok(None);
    }
    if bytes > LONGEST {
        tracing::warn!(log = %log.display(), bytes, "of a long log only the first {LONGEST} bytes are looked through");
    }
    let mut log = BufReader::with_capacity(1 << 18, file);
    let mut first = [0; HEADER];
    log.read_exact(&mut first)?;
    let found = match Header::read(&first) {
        Some(header) => header.walk(&mut log, bytes.min(LONGEST))?,
        // A header that the power cut is not there at all.
        None => (first != [0; HEADER]).then(|| (0, Vec::new())),
    };
    Ok(found.map(|(at, frame)| Damage { at, header: first, frame }))
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

    /// Walks the frames of a log: where SQLite stops and what stands there, if a writer
    /// had gone on behind a commit after that.
    fn walk(&self, log: &mut BufReader<File>, bytes: u64) -> std::io::Result<Option<(u64, Vec<u8>)>> {
        let (mut frame, mut at) = (vec![0; FRAME_HEADER + self.page], HEADER as u64);
        let (mut before, mut stop, mut behind_commit) = (self.sum, None, false);
        while at + frame.len() as u64 <= bytes {
            log.read_exact(&mut frame)?;
            let follows = self.follows(&frame, before);
            if stop.is_none() && !follows {
                stop = Some((at, frame.clone()));
            } else if follows && behind_commit && stop.is_some() {
                return Ok(stop);
            }
            (before, behind_commit) = (stored_sum(&frame), number(&frame, 4).is_some_and(|pages| pages != 0));
            at += frame.len() as u64;
        }
        Ok(None)
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
