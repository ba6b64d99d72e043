//! Documents by seed: live ones, backfill over many instants, late ones, ones
//! that meet others at the same instant or overwrite what was sent before.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

use crate::journal::{Document, Reading};

/// Between two live documents of a gateway.
const STEP_MS: i64 = 10_000;
/// The last one is a counter, which rises from one document to the next by less than a
/// sensor can deliver: values do, and none of it comes late.
const METRICS: [(&str, &str); 4] = [("power", "W"), ("voltage", "V"), ("current", "A"), ("energy", "Wh")];
/// Readings that one document may have, so that values stay whole numbers.
const MOST: u64 = 1 << 14;

/// Who pushes.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) provider: String,
    /// Told apart in values.
    pub(crate) provider_number: u64,
    pub(crate) lane: u64,
    pub(crate) key: String,
    pub(crate) seed: u64,
    /// The time of the first document, in milliseconds UTC.
    pub(crate) since: i64,
    /// Instants of a backfill document, at most.
    pub(crate) backfill: u64,
    /// How far apart they are, in milliseconds: a multiple of [`STEP_MS`], or 0 for
    /// next to each other.
    pub(crate) spread: i64,
    /// Of so many documents one has a reading that is refused; 0: none has.
    pub(crate) in_part: u64,
}

/// What the number of a document ends in of which a reading is refused.
pub(crate) const IN_PART: &str = ":in-part";
/// The reading that is, for it is of no time that anybody can have measured at.
const REFUSED: &str =
    "<sensor id=\"inverter-9\"><reading metric=\"power\" unit=\"W\" time=\"2090-01-01T00:00:00Z\">1</reading></sensor>";

impl Gateway {
    pub(crate) fn id(&self) -> String {
        format!("gw-{}", self.lane)
    }

    /// The document with a number, and its bytes.
    pub(crate) fn document(&self, number: u64) -> (Document, String) {
        let mut random = StdRng::seed_from_u64(self.seed ^ (self.provider_number << 56) ^ (self.lane << 40) ^ number);
        let at = self.since + number as i64 * STEP_MS;
        let earlier = |random: &mut StdRng| self.since + random.random_range(0..=number) as i64 * STEP_MS;
        let mut keys = match random.random_range(0..100) {
            // Live: everything at one instant.
            0..60 => keys([at], 0..2, 0..4),
            // What has piled up, over many instants between two live ones.
            60..75 => {
                let instants = random.random_range(2..=self.backfill.max(2)) as i64;
                keys((0..instants).map(|i| at + 1 + i - i * self.spread), 0..1, 0..2)
            }
            // Late, beside what is there.
            75..85 => keys([earlier(&mut random) - 5_000], 0..2, 0..3),
            // Other sensors at an instant that a document had before.
            85..93 => keys([earlier(&mut random)], 2..4, 0..2),
            // Another value for keys that a document had before.
            _ => keys([earlier(&mut random)], 0..1, 0..3),
        };
        keys.truncate(MOST as usize);
        let readings = keys
            .into_iter()
            .enumerate()
            .map(|(index, (time, sensor, metric))| {
                let (metric, unit) = METRICS[metric];
                Reading {
                    sensor: format!("inverter-{sensor}"),
                    metric: metric.to_owned(),
                    unit: unit.to_owned(),
                    time,
                    value: self.value(number, index),
                }
            })
            .collect();
        self.write(number, readings)
    }

    /// A whole number that only this reading has.
    fn value(&self, number: u64, index: usize) -> f64 {
        let document = (self.provider_number * 64 + self.lane) * (1 << 22) + number;
        (document * MOST + index as u64) as f64
    }

    fn write(&self, number: u64, readings: Vec<Reading>) -> (Document, String) {
        // It names its document over all gateways and providers.
        let in_part = self.in_part > 0 && number.is_multiple_of(self.in_part);
        let seq = format!("{}:{}:{number}{}", self.provider, self.id(), if in_part { IN_PART } else { "" });
        let mut xml = format!("<push gateway=\"{}\" key=\"{}\" seq=\"{seq}\">", self.id(), self.key);
        for sensor in readings.chunk_by(|a, b| a.sensor == b.sensor) {
            let _ = write!(xml, "<sensor id=\"{}\">", sensor[0].sensor);
            for Reading { metric, unit, time, value, .. } in sensor {
                let time = jiff::Timestamp::from_millisecond(*time).unwrap();
                let _ = write!(xml, "<reading metric=\"{metric}\" unit=\"{unit}\" time=\"{time}\">{value}</reading>");
            }
            xml.push_str("</sensor>");
        }
        xml.push_str(if in_part { REFUSED } else { "" });
        xml.push_str("</push>");
        let hash = Sha256::digest(xml.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        (Document { provider: self.provider.clone(), gateway: self.id(), seq, hash, readings }, xml)
    }
}

/// Sensor by sensor, instant by instant.
fn keys(
    times: impl IntoIterator<Item = i64>,
    sensors: std::ops::Range<usize>,
    metrics: std::ops::Range<usize>,
) -> Vec<(i64, usize, usize)> {
    let times: Vec<i64> = times.into_iter().collect();
    sensors
        .flat_map(|sensor| times.iter().map(move |time| (*time, sensor)).collect::<Vec<_>>())
        .flat_map(|(time, sensor)| metrics.clone().map(move |metric| (time, sensor, metric)))
        .collect()
}
