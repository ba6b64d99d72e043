//! The driver alone: prepared statements in a loop, the same durability.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::corpus::{self, SERIES};

/// How a file is laid out and kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Bytes of a page.
    pub(crate) page: u32,
    /// Pages of the log after which a commit moves it into the file; 0: somebody
    /// else does, ten times a second.
    pub(crate) checkpoint: u32,
    /// MiB of pages that are kept in memory.
    pub(crate) cache: i32,
}

/// What the store does.
pub(crate) const CHOSEN: Layout = Layout { page: 4096, checkpoint: 1000, cache: 16 };

fn open(path: &Path, layout: Layout) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "page_size", layout.page).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.pragma_update(None, "cache_size", -1024 * layout.cache).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", layout.checkpoint).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

/// One upsert a reading, 2,000 a transaction: what anybody writes first. Answers
/// readings a second.
pub(crate) fn rows(path: &Path, gateways: usize, instants: usize) -> f64 {
    let connection = open(path, CHOSEN);
    connection
        .execute_batch("CREATE TABLE reading (series INTEGER, ts INTEGER, value REAL, PRIMARY KEY (series, ts)) WITHOUT ROWID")
        .unwrap();
    let mut upsert =
        connection.prepare("INSERT INTO reading VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value").unwrap();
    let began = Instant::now();
    for instant in 0..instants {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for series in 0..gateways * SERIES {
            let value = corpus::value(series / SERIES, series % SERIES, instant as i64);
            upsert.execute(params![series, corpus::live_time(instant), value]).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    (gateways * instants * SERIES) as f64 / began.elapsed().as_secs_f64()
}

fn pack(gateway: usize, instant: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SERIES * 9);
    for series in 0..SERIES {
        bytes.push(u8::from(series > 0));
        bytes.extend_from_slice(&corpus::value(gateway, series, instant as i64).to_le_bytes());
    }
    bytes
}

const FRAMES: &str = "CREATE TABLE frame (gateway INTEGER, time INTEGER, data BLOB, PRIMARY KEY (gateway, time)) WITHOUT ROWID";

/// A row a gateway and instant, with nothing beside it, 100 rows a transaction.
pub(crate) fn frames_alone(path: &Path, layout: Layout, gateways: usize, instants: usize) -> f64 {
    let connection = open(path, layout);
    connection.execute_batch(FRAMES).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if layout.checkpoint == 0 {
            scope.spawn(|| checkpoint_aside(path, layout, &done));
        }
        let began = Instant::now();
        for instant in 0..instants {
            write_instant(&connection, gateways, instant);
        }
        done.store(true, Ordering::Relaxed);
        (gateways * instants * SERIES) as f64 / began.elapsed().as_secs_f64()
    })
}

fn write_instant(connection: &Connection, gateways: usize, instant: usize) {
    let mut upsert = connection
        .prepare_cached("INSERT INTO frame VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET data = excluded.data")
        .unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for gateway in 0..gateways {
        upsert.execute(params![gateway, corpus::live_time(instant), pack(gateway, instant)]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// Moves the log into the file by a connection of its own, beside the commits.
fn checkpoint_aside(path: &Path, layout: Layout, done: &AtomicBool) {
    let connection = open(path, layout);
    while !done.load(Ordering::Relaxed) {
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How readers reach the file beside its writer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Readers {
    /// Each by a connection of its own.
    Own(usize),
    /// All by the writer's connection, one at a time with it.
    Shared(usize),
}

/// Writes as [`frames_alone`] does while readers ask for the last hundred rows of
/// one gateway after the other; answers readings written and questions answered a
/// second.
pub(crate) fn frames_beside_readers(path: &Path, readers: Readers, gateways: usize, instants: usize) -> (f64, f64) {
    let connection = Mutex::new(open(path, CHOSEN));
    connection.lock().unwrap().execute_batch(FRAMES).unwrap();
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let read = |gateway: usize| {
        let own = matches!(readers, Readers::Own(_)).then(|| open(path, CHOSEN));
        let mut gateway = gateway;
        while !done.load(Ordering::Relaxed) {
            gateway = (gateway + 1) % gateways;
            match &own {
                Some(own) => last_rows(own, gateway),
                None => last_rows(&connection.lock().unwrap(), gateway),
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let (Readers::Own(count) | Readers::Shared(count)) = readers;
        for reader in 0..count {
            let read = &read;
            scope.spawn(move || read(reader));
        }
        let began = Instant::now();
        for instant in 0..instants {
            write_instant(&connection.lock().unwrap(), gateways, instant);
        }
        done.store(true, Ordering::Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        ((gateways * instants * SERIES) as f64 / seconds, answered.load(Ordering::Relaxed) as f64 / seconds)
    })
}

fn last_rows(connection: &Connection, gateway: usize) {
    let mut query = connection.prepare_cached("SELECT data FROM frame WHERE gateway = ?1 ORDER BY time DESC LIMIT 100").unwrap();
    let mut rows = query.query([gateway]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        std::hint::black_box(row.get_ref(0).unwrap().as_blob().unwrap());
    }
}

/// What a store writes for live documents, into a file that a store has made.
pub(crate) fn documents(path: &Path, gateways: usize, instants: usize, at_once: usize) -> f64 {
    let connection = open(path, CHOSEN);
    let mut frame = connection
        .prepare(
            "INSERT INTO frame (gateway, time, data, crc) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET data = excluded.data, crc = excluded.crc",
        )
        .unwrap();
    let mut dirty = connection.prepare("INSERT INTO dirty (gateway, start) VALUES (?1, ?2) ON CONFLICT DO NOTHING").unwrap();
    let mut latest = connection
        .prepare(
            "INSERT INTO latest (gateway, seen, address, documents, data) VALUES (?1, ?2, ?3, 1, ?4)
             ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen), address = excluded.address,
             documents = documents + 1, data = excluded.data",
        )
        .unwrap();
    let extents = vec![7u8; SERIES * 36];
    let all: Vec<(usize, usize)> =
        (0..instants).flat_map(|instant| (0..gateways).map(move |gateway| (gateway, instant))).collect();
    let began = Instant::now();
    for batch in all.chunks(at_once) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (gateway, instant) in batch {
            let (number, time) = (gateway + 1, corpus::live_time(*instant));
            frame.execute(params![number, time, pack(*gateway, *instant), 1]).unwrap();
            dirty.execute(params![number, time - time % 900_000]).unwrap();
            latest.execute(params![number, corpus::RECEIVED, "127.0.0.1:40000", extents]).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    (gateways * instants * SERIES) as f64 / began.elapsed().as_secs_f64()
}

/// Reads every reading of a file once.
pub(crate) fn scan(path: &Path) -> Duration {
    let connection = Connection::open(path).unwrap();
    let began = Instant::now();
    let mut query = connection.prepare("SELECT time, data FROM frame").unwrap();
    let mut rows = query.query([]).unwrap();
    let (mut count, mut sum) = (0_u64, 0.0);
    while let Some(row) = rows.next().unwrap() {
        for entry in row.get_ref(1).unwrap().as_blob().unwrap().as_chunks::<9>().0 {
            sum += f64::from_le_bytes([entry[1], entry[2], entry[3], entry[4], entry[5], entry[6], entry[7], entry[8]]);
            count += 1;
        }
    }
    std::hint::black_box((count, sum));
    began.elapsed()
}

/// Moves everything from the log into the file.
pub(crate) fn empty_log(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}
