//! From the bytes of a document to what a store is given of it: what taking a
//! document and replaying one share.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_dialects::{Context, DecodeError, Decoded, Mapping, Refused, canonical, decode, salvage};
use heliograph_domain::{ClockShift, GatewayId, TimePolicy, Timestamp};
use heliograph_store::{SensorSeen, SeriesSeen, Value};

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
    let inside = if named.is_none() { salvage(bytes).gateway } else { None };
    let zone = directory.zone(named.or(inside.as_ref()));
    let decoded = decode(bytes, &Context { received, zone, hello_gateway: named, mappings })?;
    // Most dialects name their gateway somewhere inside, and with it a zone.
    let right = directory.zone(decoded.gateway.as_ref());
    match decoded.has_local_times && right.name() != zone.name() {
        true => decode(bytes, &Context { received, zone: right, hello_gateway: named, mappings }),
        false => Ok(decoded),
    }
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
    pub(crate) fn of(decoded: Decoded, shift: ClockShift, policy: &TimePolicy, received: Timestamp, now: Timestamp) -> Self {
        let mut refused = decoded.refused;
        let mut series: Vec<SeriesSeen> = Vec::new();
        let mut known: HashMap<SeriesSeen, usize> = HashMap::new();
        let mut values = Vec::with_capacity(decoded.readings.len());
        for reading in &decoded.readings {
            let time = if reading.own_time { reading.time.plus_millis(shift.as_millis()) } else { reading.time };
            let checked = policy.check(time, received).and_then(|()| policy.check_age(time, now));
            if let Err(code) = checked {
                let reason = format!("{time} of {} lies outside of what is kept", reading.metric);
                refused.push(Refused { code, line: 0, reason });
                continue;
            }
            let (unit, value) = canonical(reading);
            let seen = SeriesSeen {
                sensor: reading.sensor,
                metric: reading.metric.clone(),
                unit,
                kind: reading.kind,
                quantity: reading.quantity,
            };
            let index = *known.entry(seen).or_insert_with_key(|seen| {
                series.push(seen.clone());
                series.len() - 1
            });
            values.push(Value { series: index, time, value });
        }
        let sensors = decoded.sensors.into_iter().map(|sensor| SensorSeen { id: sensor.id, role: sensor.role }).collect();
        Self { sensors, series, values, refused }
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
