//! Logs as SQLite writes them, whole, cut short and damaged.

use std::ops::Range;

use tempfile::TempDir;

use super::super::schema;
use super::*;
use crate::url::AckLevel;

const FRAME: usize = FRAME_HEADER + 4096;
const COMMITS: i64 = 6;

/// A file and its log as a killed process leaves them.
struct Left {
    folder: TempDir,
    log: Vec<u8>,
}

impl Left {
    /// What is left after some work on a file that has a table `t`.
    fn after(work: impl FnOnce(&Connection)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let living = folder.path().join("living.db");
        let connection = Connection::open(&living).unwrap();
        let begin = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (i INTEGER PRIMARY KEY, b BLOB);";
        connection.execute_batch(begin).unwrap();
        work(&connection);
        let left = Self { log: std::fs::read(beside(&living, "")).unwrap(), folder };
        std::fs::copy(&living, left.file()).unwrap();
        left.lay(&left.log);
        left
    }

    /// Commits of several pages each.
    fn committed() -> Self {
        Self::after(|connection| (0..COMMITS).for_each(|number| insert(connection, number)))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sunrise.db")
    }

    fn lay(&self, log: &[u8]) {
        std::fs::write(beside(&self.file(), ""), log).unwrap();
    }

    fn look_at(&self, log: &[u8]) -> Option<u64> {
        self.lay(log);
        look(&beside(&self.file(), "")).unwrap().map(|damage| damage.at)
    }

    /// The frames of each transaction as bytes of the log.
    fn transactions(&self) -> Vec<Range<usize>> {
        let mut begin = HEADER;
        let ends = (HEADER..self.log.len()).step_by(FRAME).filter(|at| number(&self.log, at + 4) != Some(0));
        ends.map(|at| std::mem::replace(&mut begin, at + FRAME)..at + FRAME).collect()
    }

    fn flipped(&self, byte: usize) -> Vec<u8> {
        let mut log = self.log.clone();
        log[byte] ^= 1 << (byte % 8);
        log
    }
}

fn insert(connection: &Connection, number: i64) {
    connection.execute("INSERT INTO t VALUES (?1, randomblob(9000))", [number]).unwrap();
}

fn count(file: &Path) -> i64 {
    Connection::open(file).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_log_that_ends_anywhere_is_not_damaged() {
    let left = Left::committed();
    assert!(left.transactions().len() > COMMITS as usize);
    for end in (0..left.log.len()).step_by(701).chain([left.log.len()]) {
        assert_eq!(left.look_at(&left.log[..end]), None, "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_a_writer_went_on_behind_it() {
    let left = Left::committed();
    let transactions = left.transactions();
    let [.., before, last] = transactions.as_slice() else { panic!("{transactions:?}") };
    for byte in (0..HEADER).chain((HEADER..before.start).step_by(211)) {
        let frame = (byte.saturating_sub(HEADER) / FRAME * FRAME + HEADER) as u64;
        let expected = if byte < HEADER { 0 } else { frame };
        assert_eq!(left.look_at(&left.flipped(byte)), Some(expected), "byte {byte}");
    }
    // Salts and checksums of one frame.
    for byte in transactions[2].start..transactions[2].start + FRAME_HEADER {
        assert_eq!(left.look_at(&left.flipped(byte)), Some(transactions[2].start as u64), "byte {byte}");
    }
    // The power may have cut the last one anywhere and in any order.
    for byte in last.clone().step_by(211) {
        assert_eq!(left.look_at(&left.flipped(byte)), None, "byte {byte}");
    }
}

#[test]
fn what_was_rolled_back_behind_the_last_commit_is_not_damage() {
    let left = Left::after(|connection| {
        insert(connection, 0);
        let spilled = "PRAGMA cache_size = 2; BEGIN;
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
            INSERT INTO t SELECT i, randomblob(9000) FROM n;
            ROLLBACK;";
        connection.execute_batch(spilled).unwrap();
        insert(connection, 1);
    });
    let last = left.transactions().last().unwrap().end;
    assert!(left.log.len() > last + 20 * FRAME, "nothing was rolled back: {last} of {}", left.log.len());
    assert_eq!(left.look_at(&left.log), None);
}

#[test]
fn an_older_round_of_the_log_is_not_damage() {
    let left = Left::after(|connection| {
        (0..COMMITS).for_each(|number| insert(connection, number));
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        insert(connection, COMMITS);
    });
    assert!(left.log.len() > 10 * FRAME);
    assert_eq!(left.look_at(&left.log), None);
}

#[test]
fn a_log_that_is_being_written_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sunrise.db");
    let connection = Connection::open(&file).unwrap();
    let begin = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 20; CREATE TABLE t (i INTEGER PRIMARY KEY, b BLOB);";
    connection.execute_batch(begin).unwrap();
    let spilled = "PRAGMA cache_size = 2; BEGIN;
        WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1010)
        INSERT INTO t SELECT i, randomblob(9000) FROM n;
        ROLLBACK;";
    let writer = std::thread::spawn(move || {
        for number in 0..300 {
            insert(&connection, number);
            if number % 10 == 0 {
                connection.execute_batch(spilled).unwrap();
            }
        }
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        assert_eq!(look_twice(&beside(&file, "")).unwrap(), None, "look {looks}");
        looks += 1;
    }
    writer.join().unwrap();
}

#[test]
fn a_file_is_opened_beside_a_copy_of_its_damaged_log_that_holds_what_is_left_out() {
    let left = Left::committed();
    let damaged = left.flipped(left.transactions()[2].start + 1_000);
    left.lay(&damaged);
    let first = schema::open_migrated(&left.file(), AckLevel::PowerLoss).unwrap();
    assert!(count(&left.file()) < COMMITS, "nothing was left out");
    let copies = damaged_copies(&left.file()).unwrap();
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(std::fs::read(&copies[0]).unwrap(), damaged);
    // Others that come after it find a log that is sound, whatever has been written.
    for number in 100..103 {
        insert(&first, number);
        drop(schema::open_migrated(&left.file(), AckLevel::PowerLoss).unwrap());
        assert_eq!(look(&beside(&left.file(), "")).unwrap(), None);
    }
    assert_eq!(damaged_copies(&left.file()).unwrap(), copies);
}

#[test]
fn a_damaged_log_that_cannot_be_kept_is_left_as_it_is_and_kept_once_where_it_can() {
    let left = Left::committed();
    let damaged = left.flipped(left.transactions()[2].start + 1_000);
    left.lay(&damaged);
    // Something lies where the copy is made.
    let part = beside(&left.file(), ".part");
    std::fs::create_dir(&part).unwrap();
    let refused = schema::open_migrated(&left.file(), AckLevel::PowerLoss).unwrap_err().to_string();
    assert!(refused.contains("damaged at byte") && refused.contains("no copy"), "{refused}");
    assert_eq!(std::fs::read(beside(&left.file(), "")).unwrap(), damaged);
    assert_eq!(damaged_copies(&left.file()).unwrap(), Vec::<PathBuf>::new());

    std::fs::remove_dir(&part).unwrap();
    for _ in 0..3 {
        assert!(keep_damaged(&left.file()).unwrap());
    }
    let copies = damaged_copies(&left.file()).unwrap();
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(std::fs::read(&copies[0]).unwrap(), damaged);
    assert!(!part.exists());
}
