//! The fixture of one day, and what has to come out of it, read from its text
//! by means that share nothing with the decoders.

use std::collections::BTreeMap;
use std::path::Path;

/// A document of one day, moved to another date.
pub(crate) struct Day {
    pub(crate) xml: String,
    /// What the inverters' counters rose over the day, Wh.
    pub(crate) produced_wh: f64,
    pub(crate) readings: usize,
}

/// Reads a fixture and moves it from 2026-06-15 to `date`.
pub(crate) fn load(name: &str, date: &str) -> Day {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/native").join(name);
    let xml = std::fs::read_to_string(path).unwrap().replace("2026-06-15", date);
    let mut counters: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut sensor = String::new();
    let mut readings = 0;
    for line in xml.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("<sensor id=\"") {
            rest.split('"').next().unwrap().clone_into(&mut sensor);
        }
        if line.starts_with("<reading ") {
            readings += 1;
        }
        if line.contains("metric=\"energy\" unit=\"Wh\"") && sensor.starts_with("inverter") {
            let value = line.split('>').nth(1).unwrap().split('<').next().unwrap();
            counters.entry(sensor.clone()).or_default().push(value.parse().unwrap());
        }
    }
    let produced_wh = counters.values().map(|values| values.last().unwrap() - values.first().unwrap()).sum();
    Day { xml, produced_wh, readings }
}
