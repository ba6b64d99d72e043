//! One segment into the store, and then away with it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_store::ProviderStore;
use tokio::time::Instant;

use super::deliver::{self, deliver};
use super::disk::Disk;
use super::record::Record;
use super::segment::{Loaded, Segment};
use super::status::Status;

/// Documents written to the store at once.
const BATCH: usize = 256;
/// Their bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// A segment that the disk fails to read so often is kept aside.
const READS: usize = 5;
/// EIO, as the kernel numbers it: the disk itself has failed.
const DISK_ERROR: i32 = 5;

/// The segment whose turn it is.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) segment: Segment,
    pub(crate) root: PathBuf,
    pub(crate) disk: Disk,
    /// When the store has last taken something.
    pub(crate) moved: Arc<Mutex<Option<Instant>>>,
}

/// How a drain ended.
#[derive(Debug)]
pub(crate) enum Drained {
    /// All of the segment is in the store, and the segment is gone.
    Whole,
    /// It has to be drained again, for this reason.
    Stopped(Segment, String),
}

/// Writes a segment to the store and removes it. One that is damaged is kept
/// aside, once what can be read of it is in the store.
pub(crate) async fn drain(store: ProviderStore, head: Head, status: Arc<Status>) -> Drained {
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
    let mut gaps = loaded.gaps.clone();
    let mut at = 0;
    while at < loaded.frames.len() {
        let (records, next) = batch(&loaded, at, &mut gaps);
        if let Err(reason) = write(&store, &records).await {
            return Drained::Stopped(head.segment, reason);
        }
        let bytes: usize = loaded.frames.iter().skip(at).take(next - at).map(Range::len).sum();
        status.note_drained(records.len() as u64, bytes as u64);
        *head.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        at = next;
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

/// The records of the next batch, and where the one after begins.
fn batch(loaded: &Loaded, from: usize, gaps: &mut Vec<Range<usize>>) -> (Vec<Record>, usize) {
    let (mut records, mut bytes, mut at) = (Vec::new(), 0, from);
    while let Some(frame) = loaded.frames.get(at) {
        bytes += frame.len();
        if at > from && (records.len() >= BATCH || bytes > BATCH_BYTES) {
            break;
        }
        match loaded.record(frame) {
            Some(record) => records.push(record),
            None => gaps.push(frame.clone()),
        }
        at += 1;
    }
    (records, at)
}

async fn write(store: &ProviderStore, records: &[Record]) -> Result<(), String> {
    let outcomes = deliver(store, records).await.map_err(|error| error.to_string())?;
    for (record, outcome) in records.iter().zip(outcomes) {
        if let Err(error) = outcome {
            deliver::set_aside(store, record, &error).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
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
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let aside = head.root.join(format!("{}-{}.damaged", name(path.parent().and_then(Path::file_name)), name(path.file_stem())));
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
