//! One segment into the store, and then away with it.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_store::ProviderStore;
use tokio::time::Instant;

use super::deliver::{self, Aside, Delivered, deliver};
use super::disk::{DISK_ERROR, Disk, blocking};
use super::record::Record;
use super::segment::{Loaded, RecordPlace, Segment};
use super::status::Status;
use super::waiting::Waiting;

/// Documents written to the store in one piece.
const BATCH: usize = 256;
/// The same where each is on its own, so that a store that is only slow shows
/// progress: those that are under way at once.
const BATCH_OF_EACH: usize = deliver::AT_ONCE;
/// Their bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// A segment that the disk fails to read so often is kept aside.
const READS: usize = 5;

/// The segment whose turn it is.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) segment: Segment,
    pub(crate) root: PathBuf,
    pub(crate) disk: Disk,
    /// When the store has last taken something.
    pub(crate) moved: Arc<Mutex<Option<Instant>>>,
    /// Who waits for it to take something.
    pub(crate) waiting: Arc<Waiting>,
}

impl Head {
    /// A name beside the folders of replicas, for something of this segment.
    fn beside(&self, of: &str) -> PathBuf {
        let path = &self.segment.path;
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        self.root.join(format!("{}-{}{of}", name(path.parent().and_then(Path::file_name)), name(path.file_stem())))
    }

    fn aside(&self, at: usize) -> Aside {
        Aside { disk: self.disk.clone(), root: self.root.clone(), path: self.beside(&format!("-{at}.refused")) }
    }
}

/// How a drain ended.
#[derive(Debug)]
pub(crate) enum Drained {
    /// All of the segment has been dealt with, and the segment is gone.
    Whole,
    /// What of it is not done has to be drained again, for this reason.
    Stopped(Segment, String),
}

/// Writes a segment to the store and removes it. One that is damaged is kept
/// aside, once what can be read of it is in the store.
pub(crate) async fn drain(store: ProviderStore, mut head: Head, status: Arc<Status>) -> Drained {
    let loaded = match load(&head).await {
        Ok(loaded) => loaded,
        // It was never made, or a person has taken it away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Drained::Whole,
        Err(error) if error.raw_os_error() == Some(DISK_ERROR) => {
            return kept_aside(&head, &format!("cannot be read: {error}")).await;
        }
        // Too many open files, say: that says nothing about the segment.
        Err(error) => return Drained::Stopped(head.segment, format!("the segment cannot be read now: {error}")),
    };
    let most = if store.orders_by_stamp() { BATCH_OF_EACH } else { BATCH };
    let mut gaps = loaded.gaps.clone();
    let (mut at, mut untaken) = (0, None);
    while at < loaded.frames.len() {
        let batch = Batch::next(&loaded, at, most, &head.segment.done, &mut gaps);
        at = batch.next;
        if batch.records.is_empty() {
            continue;
        }
        let (progress, reason) = write(&store, &mut head, &batch, &status).await;
        if let Some(reason) = reason {
            // Where order is of no account, and the store takes others, one that it
            // does not take now holds up none of those behind it.
            let goes_on = progress && store.orders_by_stamp();
            untaken = Some(reason);
            if !goes_on {
                break;
            }
        }
    }
    if let Some(reason) = untaken {
        return Drained::Stopped(head.segment, reason);
    }
    if gaps.is_empty() {
        return removed(head).await;
    }
    let lost: usize = gaps.iter().map(Range::len).sum();
    let places: Vec<String> = gaps.iter().map(|gap| format!("{}..{}", gap.start, gap.end)).collect();
    kept_aside(&head, &format!("is damaged: {lost} bytes cannot be read, at {}", places.join(", "))).await
}

async fn load(head: &Head) -> io::Result<Loaded> {
    let mut attempt = 0;
    loop {
        let (segment, disk) = (head.segment.clone(), head.disk.clone());
        let loaded = blocking(move || segment.load(&disk)).await;
        attempt += 1;
        if loaded.is_ok() || attempt == READS {
            return loaded;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Records that are written together.
struct Batch {
    records: Vec<Record>,
    frames: Vec<Range<usize>>,
    /// The frame after the last that was looked at.
    next: usize,
}

impl Batch {
    /// The records from a frame on that are not done yet. What cannot be read is
    /// added to the gaps.
    fn next(loaded: &Loaded, from: usize, most: usize, done: &HashSet<usize>, gaps: &mut Vec<Range<usize>>) -> Self {
        let mut batch = Self { records: Vec::new(), frames: Vec::new(), next: from };
        let mut bytes = 0;
        while let Some(frame) = loaded.frames.get(batch.next) {
            if !done.contains(&frame.start) {
                bytes += frame.len();
                if !batch.records.is_empty() && (batch.records.len() >= most || bytes > BATCH_BYTES) {
                    break;
                }
                match loaded.record(frame) {
                    Some(record) => {
                        batch.records.push(record);
                        batch.frames.push(frame.clone());
                    }
                    None => gaps.push(frame.clone()),
                }
            }
            batch.next += 1;
        }
        batch
    }
}

/// Writes records, and notes those that are done; answers whether there were any,
/// and why those are not done that are left.
async fn write(store: &ProviderStore, head: &mut Head, batch: &Batch, status: &Status) -> (bool, Option<String>) {
    let Delivered { outcomes, mut untaken } = deliver(store, &batch.records).await;
    let mut progress = false;
    for ((record, frame), outcome) in batch.records.iter().zip(&batch.frames).zip(outcomes) {
        let Some(outcome) = outcome else { continue };
        let place = RecordPlace { segment: head.segment.path.clone(), at: frame.start };
        let heard = head.waiting.tell(&place, outcome.clone());
        // Whoever waits for its ack learns that it is refused, and keeps it.
        if let Err(error) = outcome
            && !heard
            && let Err(reason) = deliver::set_aside(store, record, &error, head.aside(frame.start)).await
        {
            untaken = Some(reason);
            continue;
        }
        head.segment.done.insert(frame.start);
        status.note_drained(1, frame.len() as u64);
        progress = true;
    }
    if progress {
        *head.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
    (progress, untaken)
}

async fn removed(head: Head) -> Drained {
    let (path, disk) = (head.segment.path.clone(), head.disk.clone());
    let removed = blocking(move || {
        disk.remove(&path)?;
        disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
    });
    match removed.await {
        Ok(()) => Drained::Whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Drained::Whole,
        Err(error) => Drained::Stopped(head.segment, format!("the segment cannot be removed: {error}")),
    }
}

/// Renames a segment so that it is drained no more and a person can look at it.
async fn kept_aside(head: &Head, why: &str) -> Drained {
    let path = head.segment.path.clone();
    let aside = head.beside(".damaged");
    tracing::error!(segment = %path.display(), kept = %aside.display(), "segment {why}");
    metrics::counter!("heliograph_spool_damaged_total").increment(1);
    let (disk, root) = (head.disk.clone(), head.root.clone());
    let renamed = blocking(move || {
        disk.rename(&path, &aside)?;
        disk.sync_folder(&root)
    });
    match renamed.await {
        Ok(()) => Drained::Whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Drained::Whole,
        Err(error) => Drained::Stopped(head.segment.clone(), format!("the segment cannot be kept aside: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::document;
    use super::super::segment::Open;
    use super::*;

    #[test]
    fn what_was_drained_before_the_store_failed_is_not_drained_again() {
        let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let mut open = Open::create(&disk, folder.path(), 1, 7).unwrap();
        let (mut frames, count) = (Vec::new(), 300);
        let places: Vec<RecordPlace> =
            (0..count).map(|number| open.frame(&document("gw-1", number), &mut frames).unwrap()).collect();
        open.append(&disk, &frames, 300, None).unwrap();
        let mut segment = open.close(&disk).unwrap().unwrap();
        // All of the first batch but one, and one of the second.
        segment.done =
            places.iter().map(|place| place.at).enumerate().filter(|(n, _)| *n < 256 && *n != 9).map(|(_, at)| at).collect();
        segment.done.insert(places[299].at);
        let loaded = segment.load(&disk).unwrap();
        let mut gaps = Vec::new();
        let batch = Batch::next(&loaded, 0, BATCH, &segment.done, &mut gaps);
        let numbers: Vec<i64> = std::iter::once(9).chain(256..299).collect();
        let expected: Vec<Record> = numbers.into_iter().map(|number| document("gw-1", number)).collect();
        assert_eq!((batch.records, batch.next, gaps), (expected, 300, vec![]));
    }
}
