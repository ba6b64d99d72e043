//! Segment files: records behind each other, each with its length and checksums.
//!
//! A record is `marker, length, check, crc` (4 bytes each, little endian) and
//! its payload. Marker and checksums depend on a random number that stands in
//! the file's name alone, so that nothing that somebody pushes can ever be taken
//! for a record. A segment is written once, from its beginning to its end; what
//! of it was synced is known to the process that writes it, and whoever finds it
//! later reads what is whole.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use heliograph_domain::Timestamp;

use super::disk::Disk;
use super::record::Record;

/// Says how records are laid out; another layout has another one.
pub(crate) const EXTENSION: &str = "spool1";
/// Segments are closed once they are this long.
pub(crate) const SEGMENT: u64 = 8 * 1024 * 1024;
const HEADER: usize = 16;

/// Where a record is kept: the segment, and where its payload begins there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordPlace {
    pub(crate) segment: PathBuf,
    pub(crate) at: usize,
}

/// A segment that is written no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    nonce: u64,
    /// How many bytes hold what was acked; `None` where that has to be found out.
    synced: Option<u64>,
    /// How many bytes it takes.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// When its first record arrived.
    pub(crate) oldest: Option<Timestamp>,
    /// Where the payloads of those records begin that have been dealt with. A process
    /// that ends forgets it: they are then dealt with again.
    pub(crate) done: HashSet<usize>,
}

impl Segment {
    /// A segment as somebody has left it; `None` where the file is none.
    pub(crate) fn found(disk: &Disk, path: &Path) -> io::Result<Option<Self>> {
        let Some(nonce) = nonce_of(path) else { return Ok(None) };
        let mut segment =
            Self { path: path.to_owned(), nonce, synced: None, bytes: 0, records: 0, oldest: None, done: HashSet::new() };
        let loaded = segment.load(disk)?;
        segment.bytes = loaded.bytes.len() as u64;
        segment.records = loaded.frames.len() as u64;
        segment.oldest = loaded.frames.first().and_then(|frame| loaded.record(frame)).map(|record| record.received());
        Ok(Some(segment))
    }

    /// Reads it. What cannot be read stands in [`Loaded::gaps`].
    pub(crate) fn load(&self, disk: &Disk) -> io::Result<Loaded> {
        let mut bytes = disk.read(&self.path)?;
        let mut missing = None;
        if let Some(synced) = self.synced.and_then(|synced| usize::try_from(synced).ok()) {
            missing = (bytes.len() < synced).then_some(bytes.len()..synced);
            bytes.truncate(synced);
        }
        let (frames, mut gaps) = scan(&bytes, self.nonce, self.synced.is_some());
        gaps.extend(missing);
        Ok(Loaded { bytes, frames, gaps })
    }
}

fn nonce_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    u64::from_str_radix(name.split_once('-')?.1, 16).ok()
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    bytes: Vec<u8>,
    /// Where the payloads of whole records are.
    pub(crate) frames: Vec<Range<usize>>,
    /// What is damaged.
    pub(crate) gaps: Vec<Range<usize>>,
}

impl Loaded {
    pub(crate) fn record(&self, frame: &Range<usize>) -> Option<Record> {
        Record::decode(self.bytes.get(frame.clone())?).ok()
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct Open {
    file: File,
    folder: PathBuf,
    segment: Segment,
}

impl Open {
    /// Makes the file; its name survives a power loss.
    pub(crate) fn create(disk: &Disk, folder: &Path, number: u64, nonce: u64) -> io::Result<Self> {
        let path = folder.join(format!("{number:010}-{nonce:016x}.{EXTENSION}"));
        let file = disk.create(&path)?;
        let segment = Segment { path, nonce, synced: Some(0), bytes: 0, records: 0, oldest: None, done: HashSet::new() };
        let open = Self { file, folder: folder.to_owned(), segment };
        match disk.sync_folder(folder) {
            Ok(()) => Ok(open),
            Err(error) => {
                drop(open.close(disk));
                Err(error)
            }
        }
    }

    /// Frames a record behind others that are to be appended together; answers where
    /// it will be.
    pub(crate) fn frame(&self, record: &Record, into: &mut Vec<u8>) -> Result<RecordPlace, postcard::Error> {
        let start = into.len();
        into.resize(start + HEADER, 0);
        record.encode(into)?;
        let payload = into.get(start + HEADER..).unwrap_or_default();
        let header = header(self.segment.nonce, payload);
        if let Some(place) = into.get_mut(start..start + HEADER) {
            place.copy_from_slice(&header);
        }
        // A segment is far shorter than what can be addressed.
        let at = usize::try_from(self.segment.bytes).unwrap_or(usize::MAX).saturating_add(start + HEADER);
        Ok(RecordPlace { segment: self.segment.path.clone(), at })
    }

    /// Appends framed records; they survive a power loss when this returns. After
    /// an error nobody knows what the file holds beyond what was there before, and
    /// an fsync that succeeds later proves nothing: the segment must be closed.
    pub(crate) fn append(&mut self, disk: &Disk, frames: &[u8], records: u64, oldest: Option<Timestamp>) -> io::Result<()> {
        disk.write(&self.file, frames)?;
        disk.sync(&self.file)?;
        self.segment.bytes += frames.len() as u64;
        self.segment.synced = Some(self.segment.bytes);
        self.segment.records += records;
        self.segment.oldest = self.segment.oldest.or(oldest);
        Ok(())
    }

    pub(crate) const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Ends the segment; one that holds nothing is removed.
    pub(crate) fn close(self, disk: &Disk) -> io::Result<Option<Segment>> {
        if self.segment.bytes > 0 {
            // What an append that failed has left behind it was never acked.
            drop(disk.cut(&self.file, self.segment.bytes));
            return Ok(Some(self.segment));
        }
        drop(self.file);
        disk.remove(&self.segment.path)?;
        disk.sync_folder(&self.folder)?;
        Ok(None)
    }
}

fn header(nonce: u64, payload: &[u8]) -> [u8; HEADER] {
    // Documents are bounded far below 4 GiB; a longer one could not be read back.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = [0; HEADER];
    let fields = [marker(nonce), length, check(nonce, length), crc(nonce, payload)];
    for (place, field) in header.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field);
    }
    header
}

const fn marker(nonce: u64) -> [u8; 4] {
    ((nonce >> 32) as u32).to_le_bytes()
}

fn check(nonce: u64, length: [u8; 4]) -> [u8; 4] {
    crc(nonce, &length)
}

fn crc(nonce: u64, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

/// What stands at a place in a segment.
enum Found {
    /// A whole record, and where the next one is.
    Record(Range<usize>),
    /// A record that the end of the file cuts, or none at all: nobody can tell it
    /// from one that was never written to its end.
    Cut,
    Damage,
}

fn look(bytes: &[u8], at: usize, nonce: u64) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((header, body)) = rest.split_first_chunk::<HEADER>() else { return Found::Cut };
    let mut fields = header.chunks_exact(4).map(|field| <[u8; 4]>::try_from(field).unwrap_or_default());
    let [found, length, checked, crc_of_payload] = [(); 4].map(|()| fields.next().unwrap_or_default());
    if found != marker(nonce) || checked != check(nonce, length) {
        // A file that grew before its bytes came to the disk ends in zeros.
        return if rest.iter().all(|byte| *byte == 0) { Found::Cut } else { Found::Damage };
    }
    let length = u32::from_le_bytes(length) as usize;
    match body.get(..length) {
        None => Found::Cut,
        Some(payload) if crc(nonce, payload) == crc_of_payload => Found::Record(at + HEADER..at + HEADER + length),
        Some(_) => Found::Damage,
    }
}

/// Whole records, and what lies between them. Where the segment is known to be
/// synced to its end, a cut end is damage.
fn scan(bytes: &[u8], nonce: u64, synced: bool) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let found = look(bytes, at, nonce);
        if let Found::Record(payload) = found {
            at = payload.end;
            frames.push(payload);
            continue;
        }
        let next = next_record(bytes, at + 1, nonce);
        if next.is_some() || synced || matches!(found, Found::Damage) {
            gaps.push(at..next.unwrap_or(bytes.len()));
        }
        at = next.unwrap_or(bytes.len());
    }
    (frames, gaps)
}

/// Where the next whole record begins.
fn next_record(bytes: &[u8], from: usize, nonce: u64) -> Option<usize> {
    let marker = marker(nonce);
    let tail = bytes.get(from..)?;
    tail.windows(marker.len())
        .enumerate()
        .filter(|(_, window)| *window == marker)
        .map(|(place, _)| from + place)
        .find(|place| matches!(look(bytes, *place, nonce), Found::Record(_)))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::document;
    use super::*;

    /// Three records in a segment, synced one by one, and where each begins.
    fn written(folder: &Path) -> (Segment, Vec<u64>) {
        let disk = Disk::default();
        let mut open = Open::create(&disk, folder, 1, 0xfeed_beef_0bad_cafe).unwrap();
        let mut begins = Vec::new();
        for number in 0..3 {
            begins.push(open.segment().bytes);
            let mut frames = Vec::new();
            open.frame(&document("gw-1", number), &mut frames).unwrap();
            open.append(&disk, &frames, 1, None).unwrap();
        }
        (open.close(&disk).unwrap().unwrap(), begins)
    }

    /// What whoever finds the file reads of it after a change.
    fn after(change: impl FnOnce(&mut Vec<u8>, &[u64])) -> (Vec<Record>, Vec<Range<usize>>) {
        let folder = tempfile::tempdir().unwrap();
        let (segment, begins) = written(folder.path());
        let mut bytes = std::fs::read(&segment.path).unwrap();
        change(&mut bytes, &begins);
        std::fs::write(&segment.path, bytes).unwrap();
        let found = Segment::found(&Disk::default(), &segment.path).unwrap().unwrap();
        let loaded = found.load(&Disk::default()).unwrap();
        (loaded.frames.iter().map(|frame| loaded.record(frame).unwrap()).collect(), loaded.gaps)
    }

    fn documents(numbers: &[i64]) -> Vec<Record> {
        numbers.iter().map(|number| document("gw-1", *number)).collect()
    }

    #[test]
    fn a_whole_segment_reads_back() {
        assert_eq!(after(|_, _| ()), (documents(&[0, 1, 2]), vec![]));
    }

    #[test]
    fn a_segment_cut_at_every_byte_keeps_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let (segment, begins) = written(folder.path());
        for length in 0..segment.bytes {
            let (records, gaps) = after(|bytes, _| bytes.truncate(length as usize));
            let whole = begins.iter().skip(1).filter(|begin| **begin <= length).count();
            assert_eq!(records, documents(&[0, 1][..whole]), "{length}");
            assert!(gaps.is_empty(), "{length}: what was never acked is no damage");
        }
    }

    #[test]
    fn an_end_of_zeros_was_never_acked() {
        assert_eq!(after(|bytes, _| bytes.extend([0; 4096])), (documents(&[0, 1, 2]), vec![]));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_costs_its_own_record_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (segment, begins) = written(folder.path());
        for at in 0..segment.bytes as usize {
            let hit = begins.iter().filter(|begin| **begin <= at as u64).count() as i64 - 1;
            let (records, gaps) = after(|bytes, _| bytes[at] ^= 1 << (at % 8));
            let left: Vec<i64> = (0..3).filter(|number| *number != hit).collect();
            assert_eq!(records, documents(&left), "{at}");
            assert_eq!(gaps.len(), 1, "{at}");
            assert!(gaps[0].contains(&at), "{at} in {gaps:?}");
        }
    }

    #[test]
    fn a_synced_segment_that_lost_its_end_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (segment, begins) = written(folder.path());
        let cut = begins[2] + 3;
        File::options().write(true).open(&segment.path).unwrap().set_len(cut).unwrap();
        let loaded = segment.load(&Disk::default()).unwrap();
        assert_eq!(loaded.frames.len(), 2);
        let lost: usize = loaded.gaps.iter().map(Range::len).sum();
        assert_eq!(lost as u64, segment.bytes - begins[2]);
    }

    #[test]
    fn a_record_inside_of_a_record_is_never_found() {
        // Somebody who pushes the bytes of another segment's record.
        let folder = tempfile::tempdir().unwrap();
        let (segment, _) = written(folder.path());
        let foreign = std::fs::read(&segment.path).unwrap();
        let own = 0x0123_4567_89ab_cdef;
        let mut bytes = header(own, &foreign).to_vec();
        bytes.extend(&foreign);
        bytes[3] ^= 1;
        assert_eq!(scan(&bytes, own, false).0, Vec::<Range<usize>>::new());
    }
}
