//! The readings and rollups of an SQLite file, read with plain SQL and a decoder of our
//! own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::Stored;
use super::rollups::{Figures, Kinds, Rolled};

type Series = HashMap<(i64, u32), (String, String, String)>;

/// Every reading of a provider's file.
pub(crate) fn read(path: &Path) -> Vec<Stored> {
    let connection = open(path);
    let mut query = connection.prepare("SELECT gateway, slot, sensor, metric, unit FROM series").unwrap();
    let series: Series = query
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?, row.get(4)?))))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut query =
        connection.prepare("SELECT g.number, g.id, f.time, f.data FROM frame f JOIN gateway g ON g.number = f.gateway").unwrap();
    let mut rows = query.query([]).unwrap();
    let mut readings = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let (number, gateway): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let (time, data): (i64, Vec<u8>) = (row.get(2).unwrap(), row.get(3).unwrap());
        for (slot, value) in decode(&data) {
            let (sensor, metric, unit) = series[&(number, slot)].clone();
            readings.push(Stored { gateway: gateway.clone(), sensor, metric, unit, time, value });
        }
    }
    readings
}

/// How many windows have to be rolled up still.
pub(crate) fn due(path: &Path) -> i64 {
    open(path).query_row("SELECT count(*) FROM dirty", [], |row| row.get(0)).unwrap()
}

/// What the series of a file are.
pub(super) fn kinds(path: &Path) -> Kinds {
    let connection = open(path);
    let sql = "SELECT g.id, s.sensor, s.metric, s.unit, s.kind FROM series s JOIN gateway g ON g.number = s.gateway";
    let mut query = connection.prepare(sql).unwrap();
    let kinds = query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?), row.get(4)?)));
    kinds.unwrap().collect::<Result<_, _>>().unwrap()
}

/// The rollups of a file.
pub(super) fn rolled(path: &Path) -> Vec<Rolled> {
    let connection = open(path);
    let sql = "SELECT g.id, s.sensor, s.metric, s.unit, r.step, r.start, r.count, r.min, r.max, r.first, r.last, r.increase FROM
        (SELECT 'quarter' AS step, gateway, slot, start, count, min, max, first, last, increase FROM rollup UNION ALL
         SELECT step, gateway, slot, start, count, min, max, first, last, increase FROM span) r
        JOIN gateway g ON g.number = r.gateway JOIN series s ON s.gateway = r.gateway AND s.slot = r.slot";
    let mut query = connection.prepare(sql).unwrap();
    let rows = query.query_map([], |row| {
        let figures = Figures {
            count: row.get(6)?,
            min: row.get(7)?,
            max: row.get(8)?,
            first: row.get(9)?,
            last: row.get(10)?,
            increase: row.get(11)?,
        };
        let series = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Rolled { series, step: row.get(4)?, start: row.get(5)?, figures })
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// What SQLite itself finds wrong with a file; empty when nothing is.
pub(crate) fn integrity(path: &Path) -> Vec<String> {
    let connection = open(path);
    let mut found: Vec<String> = Vec::new();
    for pragma in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let mut query = connection.prepare(pragma).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        found.extend(rows.map(|row| row.unwrap()).filter(|row: &String| row != "ok"));
    }
    found
}

/// Copies that a store kept of a file's log, which it took for damaged.
pub(crate) fn damaged_logs(path: &Path) -> Vec<PathBuf> {
    let begin = format!("{}-wal.damaged-", path.file_name().unwrap().to_str().unwrap());
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&begin)).collect()
}

pub(super) fn open(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// A run of values, each behind the distance of its slot from the one before, in
/// groups of seven bits from the lowest, the last without the high bit.
fn decode(data: &[u8]) -> Vec<(u32, f64)> {
    let mut values = Vec::new();
    let (mut at, mut slot) = (0, 0);
    while at < data.len() {
        let length = data[at..].iter().position(|byte| *byte < 0x80).unwrap() + 1;
        slot += data[at..at + length].iter().rev().fold(0, |number, byte| number * 128 + u32::from(byte % 128));
        at += length;
        values.push((slot, f64::from_le_bytes(data[at..at + 8].try_into().unwrap())));
        at += 8;
    }
    values
}
