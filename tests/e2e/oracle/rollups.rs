//! The rollups of an SQLite file against its readings: of each window of 15 minutes
//! how many there are, the least and the greatest, the first and the last. Gauges but
//! for power, of which a load pushes more than a sensor can deliver.

use std::collections::BTreeMap;
use std::path::Path;

/// A gauge and a window: gateway, sensor, metric, unit, beginning.
type Key = (String, String, String, String, i64);
/// Count, least, greatest, first, last.
type Figures = (i64, f64, f64, f64, f64);

const QUARTER_MS: i64 = 900_000;

/// Fails unless nothing is due any more and each rollup of a gauge is what its
/// readings make.
pub(crate) fn check(path: &Path) {
    let connection = super::sqlite::open(path);
    let due: i64 = connection.query_row("SELECT count(*) FROM dirty", [], |row| row.get(0)).unwrap();
    assert_eq!(due, 0, "windows are due still");
    let mut query = connection
        .prepare(
            "SELECT g.id, s.sensor, s.metric, s.unit, r.start, r.count, r.min, r.max, r.first, r.last FROM rollup r
             JOIN gateway g ON g.number = r.gateway JOIN series s ON s.gateway = r.gateway AND s.slot = r.slot
             WHERE s.kind = 'gauge' AND s.unit <> 'W' AND r.count > 0",
        )
        .unwrap();
    let rolled = query.query_map([], |row| {
        let key: Key = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let figures: Figures = (row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?);
        Ok((key, figures))
    });
    let rolled: BTreeMap<Key, Figures> = rolled.unwrap().collect::<Result<_, _>>().unwrap();
    let gauges = "SELECT g.id, s.sensor, s.metric, s.unit FROM series s JOIN gateway g ON g.number = s.gateway
        WHERE s.kind = 'gauge' AND s.unit <> 'W'";
    let mut query = connection.prepare(gauges).unwrap();
    let gauges = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let gauges: Vec<(String, String, String, String)> = gauges.unwrap().collect::<Result<_, _>>().unwrap();
    assert!(!gauges.is_empty() && !rolled.is_empty(), "{} gauges, {} windows", gauges.len(), rolled.len());

    let expected = of_readings(path, &gauges);
    let different = expected.iter().filter(|(key, figures)| rolled.get(*key) != Some(*figures));
    let different: Vec<_> = different.map(|(key, figures)| (key, figures, rolled.get(key))).take(5).collect();
    assert!(different.is_empty(), "not what their readings make: {different:?}");
    let strays: Vec<_> = rolled.keys().filter(|key| !expected.contains_key(*key)).take(5).collect();
    assert!(strays.is_empty(), "of no readings: {strays:?}");
}

fn of_readings(path: &Path, gauges: &[(String, String, String, String)]) -> BTreeMap<Key, Figures> {
    let mut readings = super::sqlite::read(path);
    readings.sort_by_key(|reading| reading.time);
    let mut windows: BTreeMap<Key, Figures> = BTreeMap::new();
    for reading in readings {
        let series = (reading.gateway, reading.sensor, reading.metric, reading.unit);
        if !gauges.contains(&series) {
            continue;
        }
        let (value, start) = (reading.value, reading.time.div_euclid(QUARTER_MS) * QUARTER_MS);
        let key = (series.0, series.1, series.2, series.3, start);
        let (count, min, max, _, last) = windows.entry(key).or_insert((0, value, value, value, value));
        (*count, *min, *max, *last) = (*count + 1, min.min(value), max.max(value), value);
    }
    windows
}
