//! From the bytes of a document to what a store is given of it: what taking a
//! document and replaying one share.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use heliograph_dialects::{Context, DecodeError, Decoded, DecodedReading, Mapping, Refused, canonical_text, decode};
use heliograph_domain::{ClockShift, GatewayId, TimePolicy, Timestamp, Unit};
use heliograph_store::{ProviderStore, SensorSeen, SeriesSeen, StoreError, Value};

use crate::directory::Directory;

/// Reasons listed for a document with refused readings.
const REASONS: usize = 100;

/// Decodes a document; local times are those of the gateway that it names, or that
/// was `named` beside it.
pub(crate) fn decode_for(
    directory: &Directory,
    named: Option<&GatewayId>,
    mappings: &[Arc<Mapping>],
    bytes: &[u8],
    received: Timestamp,
) -> Result<Decoded, DecodeError> {
    decode(bytes, &Context { received, zone: directory, hello_gateway: named, mappings })
}

/// What of a document is taken, in canonical units, and what is refused.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) sensors: Vec<SensorSeen>,
    pub(crate) series: Vec<SeriesSeen>,
    pub(crate) values: Vec<Value>,
    pub(crate) refused: Vec<Refused>,
}

impl Content {
    /// Puts readings into canonical units and refuses those whose time the policy
    /// refuses: too far ahead of when the document was received, or too old now. What
    /// the gateway's clock says is moved before that.
    ///
    /// # Errors
    /// [`StoreError::TooManySeries`] where the document alone has more than a gateway may
    /// have: the store would say the same, of all of it.
    pub(crate) fn of(
        decoded: Decoded,
        shift: ClockShift,
        policy: &TimePolicy,
        received: Timestamp,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut refused = decoded.refused;
        let mut series = SeriesOfDocument::default();
        let mut values = Vec::with_capacity(decoded.readings.len());
        for reading in decoded.readings {
            let time = if reading.own_time { reading.time.plus_millis(shift.as_millis()) } else { reading.time };
            let checked = policy.check(time, received).and_then(|()| policy.check_age(time, now));
            if let Err(code) = checked {
                let reason = format!("{time} of {} lies outside of what is kept", reading.metric);
                refused.push(Refused { code, line: 0, reason });
                continue;
            }
            let (index, value) = series.index(reading);
            if index >= ProviderStore::SERIES_OF_GATEWAY {
                return Err(StoreError::TooManySeries(ProviderStore::SERIES_OF_GATEWAY));
            }
            values.push(Value { series: index, time, value });
        }
        let sensors = decoded.sensors.into_iter().map(|sensor| SensorSeen { id: sensor.id, role: sensor.role }).collect();
        Ok(Self { sensors, series: series.list, values, refused })
    }
}

/// The series of one document, each once. Nearly every reading of a document is of a
/// series of its own, so that names are not copied to look for one.
#[derive(Default)]
struct SeriesOfDocument {
    list: Vec<SeriesSeen>,
    /// Indexes into the list, found by the hash of what they are.
    known: HashTable<usize>,
    hasher: RandomState,
}

impl SeriesOfDocument {
    /// The index of a reading's series, which is added if it is new, and its value in
    /// the canonical unit.
    fn index(&mut self, reading: DecodedReading) -> (usize, f64) {
        let (unit, value) = canonical_text(&reading);
        let DecodedReading { sensor, kind, quantity, .. } = reading;
        let (list, hasher) = (&self.list, &self.hasher);
        let hash = hasher.hash_one((sensor, reading.metric.as_str(), unit, kind, quantity));
        let is_same = |seen: &SeriesSeen| {
            seen.sensor == sensor
                && seen.metric == reading.metric
                && seen.unit.as_str() == unit
                && (seen.kind, seen.quantity) == (kind, quantity)
        };
        if let Some(index) = self.known.find(hash, |index| list.get(*index).is_some_and(is_same)) {
            return (*index, value);
        }
        let rehash = |index: &usize| {
            let one = list.get(*index);
            one.map_or(0, |one| hasher.hash_one((one.sensor, one.metric.as_str(), one.unit.as_str(), one.kind, one.quantity)))
        };
        let index = list.len();
        self.known.insert_unique(hash, index, rehash);
        let unit = Unit::parse(unit).unwrap_or_else(|_| reading.unit.clone());
        self.list.push(SeriesSeen { sensor, metric: reading.metric, unit, kind, quantity });
        (index, value)
    }
}

/// Why readings were refused, one a line.
pub(crate) fn reasons(refused: &[Refused]) -> String {
    let mut lines: Vec<String> = refused
        .iter()
        .take(REASONS)
        .map(|refused| match refused.line {
            0 => format!("{}: {}", refused.code, refused.reason),
            line => format!("line {line}: {}: {}", refused.code, refused.reason),
        })
        .collect();
    if refused.len() > REASONS {
        lines.push(format!("and {} more", refused.len() - REASONS));
    }
    lines.join("\n")
}
