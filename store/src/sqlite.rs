//! The embedded backend: one SQLite file a provider.
//!
//! All writes of a process go through one thread, which takes what is queued,
//! runs it in one transaction and commits once: the fsync is shared by all
//! connections. Each job runs in a savepoint of its own, so that one that fails
//! takes nothing with it. Readers have connections of their own and see the
//! last commit (WAL). Several processes may use one file: writers take turns.

pub(crate) mod alert;
mod anew;
pub(crate) mod api_token;
pub(crate) mod archive;
pub(crate) mod audit;
#[cfg(test)]
mod before;
pub(crate) mod check;
mod copy;
pub(crate) mod correction;
pub(crate) mod credential;
pub(crate) mod customer;
pub(crate) mod device_clock;
pub(crate) mod document;
pub(crate) mod frame;
pub(crate) mod gateway;
mod latest;
pub(crate) mod location;
pub(crate) mod log;
pub(crate) mod logo;
pub(crate) mod mapping;
pub(crate) mod outbox;
mod overwrite;
pub(crate) mod point;
pub(crate) mod quarantine;
pub(crate) mod quarter;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod rollup;
mod schema;
pub(crate) mod second_factor;
pub(crate) mod sensor;
pub(crate) mod settings;
pub(crate) mod span;
pub(crate) mod target;
pub(crate) mod user;
mod writer;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliograph_domain::{TimeWindow, Timestamp};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::url::AckLevel;
pub(crate) use writer::Batch;
use writer::{CallReply, DocumentJob, Job};

/// Writers of several processes take turns; one may wait this long for its own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often and how long it is tried to empty the log while others read, and the
/// pause in which they write.
const LOG_ATTEMPTS: usize = 10;
const LOG_TIMEOUT: Duration = Duration::from_millis(100);
const LOG_PAUSE: Duration = Duration::from_millis(200);
/// Jobs that may wait for the writer thread before callers have to wait.
const QUEUE: usize = 4096;
/// Connections for reading, each with a page cache of its own.
const READERS: usize = 4;
/// How long a query may wait for one of them.
const READER_TIMEOUT: Duration = Duration::from_secs(20);

/// An open file, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    /// Turns true when the writer has closed its connection.
    ended: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Database {
    pub(crate) fn open(path: &Path, ack: AckLevel) -> Result<Self, StoreError> {
        Self::start(path, ack, Some(schema::open_migrated(path, ack)?))
    }

    /// Opens the file at the first use that finds it; until then calls fail.
    pub(crate) fn open_later(path: &Path, ack: AckLevel) -> Result<Self, StoreError> {
        Self::start(path, ack, None)
    }

    fn start(path: &Path, ack: AckLevel, connection: Option<Connection>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (end, ended) = watch::channel(false);
        let writer_path = path.to_owned();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                writer::run(&writer_path, ack, connection, queue);
                end.send_replace(true);
            })
            .map_err(|error| StoreError::Open { place: path.display().to_string(), problem: error.to_string() })?;
        let readers = Readers { path: path.to_owned(), idle: Mutex::default(), permits: Arc::new(Semaphore::new(READERS)) };
        Ok(Self { jobs, readers: Arc::new(readers), ended })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.readers.path
    }

    /// Runs a job in the next transaction; answers after its commit.
    pub(crate) async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job = Job::Call(Box::new(move |batch| {
            let outcome = batch.and_then(job);
            let failed = outcome.is_err();
            let reply: CallReply = Box::new(move |commit| {
                // A caller that has gone away needs no answer.
                drop(answer.send(commit.and(outcome)));
            });
            (failed, reply)
        }));
        self.jobs.send(job).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// Writes a document in the next transaction; answers after its commit.
    pub(crate) async fn write_document(&self, document: Arc<DocumentWrite>) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        // The caller keeps it too, so that giving its memory back is not the writer's work.
        let job = Job::Document(DocumentJob { document: Arc::clone(&document), answer });
        self.jobs.send(job).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// Runs a query on a reading connection, off the async threads.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let permit = readers.permit(READER_TIMEOUT).await?;
        tokio::task::spawn_blocking(move || {
            // The permit goes with the query, which runs on when its caller leaves.
            let _permit = permit;
            let connection = readers.take()?;
            let result = query(&connection);
            readers.give_back(connection);
            result
        })
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("read task ended early: {error}"))))
    }

    /// Moves all of the log into the file and leaves nothing of it, also while others
    /// have the file open; whoever reads the file is waited for a while. Answers
    /// whether that was done.
    pub(crate) async fn empty_log(&self) -> Result<bool, StoreError> {
        for attempt in 0..LOG_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(LOG_PAUSE).await;
            }
            let emptied = self.read(|connection| {
                // While it waits nobody else writes.
                connection.busy_timeout(LOG_TIMEOUT)?;
                let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
                connection.busy_timeout(BUSY_TIMEOUT)?;
                Ok(!busy?)
            });
            match emptied.await {
                Ok(false) => {}
                Err(error) if attempt + 1 < LOG_ATTEMPTS => tracing::debug!(%error, "the log is not emptied yet"),
                emptied => return emptied,
            }
        }
        Ok(false)
    }

    pub(crate) async fn close(&self) {
        self.readers.permits.close();
        let last = Job::Call(Box::new(|batch| {
            if let Ok(batch) = batch {
                batch.end_after_this();
            }
            (false, Box::new(drop))
        }));
        let mut ended = self.ended.clone();
        if self.jobs.send(last).await.is_ok() {
            // An error means that the thread is gone, which is as good.
            drop(ended.wait_for(|ended| *ended).await);
        }
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Readers {
    /// The right to use a connection, waited for in turn.
    async fn permit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, StoreError> {
        let waited = tokio::time::timeout(patience, Arc::clone(&self.permits).acquire_owned()).await;
        let busy = |_| {
            let waited = patience.as_secs();
            StoreError::Unavailable(format!("too much is read at once: all {READERS} readers were busy for {waited} s"))
        };
        waited.map_err(busy)?.map_err(|_| closed())
    }

    fn take(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -8 * 1024)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// Makes the folder and proves that files can be written in it. Roles in
/// containers share a folder and all have process id 1, so the name of the proof
/// is random.
pub(crate) fn check_directory(directory: &Path) -> Result<(), StoreError> {
    let open = |error: std::io::Error| StoreError::Open {
        place: directory.display().to_string(),
        problem: format!("{error}; choose a folder that this user can write with --store sqlite:DIR"),
    };
    let missing: Vec<&Path> = directory.ancestors().take_while(|folder| !is_there(folder)).collect();
    // Personal data and digests of secrets lie here: nobody else's business.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(open)?;
    for folder in missing {
        sync_parent(folder).map_err(open)?;
    }
    // A process that ended in between may have made it; some places cannot be
    // synced, and are none of ours.
    drop(sync_parent(directory));
    let probe = directory.join(format!(".heliograph-probe-{:016x}", RandomState::new().build_hasher().finish()));
    std::fs::File::create_new(&probe).map_err(open)?;
    std::fs::remove_file(&probe).map_err(open)
}

fn is_there(folder: &Path) -> bool {
    folder.as_os_str().is_empty() || folder.exists()
}

/// Makes the name of a folder survive a power loss: what is in a file that nobody
/// can find is lost.
fn sync_parent(folder: &Path) -> std::io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(parent)?.sync_all()
}

/// A window from its two columns.
pub(crate) fn window(row: &rusqlite::Row<'_>, from: usize, until: usize) -> Result<TimeWindow, StoreError> {
    let until: Option<i64> = row.get(until)?;
    Ok(TimeWindow { from: Timestamp::clamped(row.get(from)?), until: until.map(Timestamp::clamped) })
}

/// A column that is not what this release writes there.
#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
pub(crate) fn damaged(error: rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_reader_hears_that_all_are_busy_and_gets_the_next_that_is_not() {
        let permits = Arc::new(Semaphore::new(1));
        let readers = Readers { path: PathBuf::new(), idle: Mutex::default(), permits };
        let held = readers.permit(READER_TIMEOUT).await.unwrap();
        let refused = readers.permit(Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Unavailable(text) if text.contains("busy")), "{refused}");
        let (next, ()) = tokio::join!(readers.permit(READER_TIMEOUT), async { drop(held) });
        drop(next.unwrap());
        readers.permits.close();
        assert_eq!(readers.permit(READER_TIMEOUT).await.unwrap_err().to_string(), closed().to_string());
    }
}
