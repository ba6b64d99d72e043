//! What a mapping would make of documents that are in quarantine. Nothing is written:
//! who sent them, and what is stored already, is looked at when they are replayed.

use std::sync::Arc;

use heliograph_dialects::{Context, Decoded, Mapping, canonical, decode};
use heliograph_domain::{GatewayId, RefusalCode};
use heliograph_store::QuarantineRow;

use crate::error::Refusal;
use crate::form::local_text;
use crate::panel::Panel;

/// Documents looked at, the newest first.
const DOCUMENTS: usize = 20;
/// Readings shown of each.
const READINGS: usize = 5;
/// Larger documents are tried by command.
const BYTES: usize = 1024 * 1024;
/// Entries listed at once, and how many lists are looked through.
const PAGE: usize = 200;
const PAGES: usize = 10;

/// What came of trying it.
pub(super) struct Trial {
    pub(super) results: Vec<Tried>,
}

/// What it makes of one document.
pub(super) struct Tried {
    pub(super) id: String,
    pub(super) received: String,
    pub(super) gateway: String,
    /// Why it is refused as a whole; empty where it is not.
    pub(super) problem: String,
    pub(super) readings: usize,
    pub(super) refused: usize,
    pub(super) shown: Vec<Shown>,
    /// The first reading that is refused.
    pub(super) reason: String,
}

/// A reading.
pub(super) struct Shown {
    pub(super) sensor: String,
    pub(super) metric: String,
    pub(super) value: String,
    pub(super) time: String,
}

impl Trial {
    pub(super) async fn of(panel: &Panel, mapping: Mapping) -> Result<Self, Refusal> {
        let zone = panel.store().settings_fetch().await?.zone;
        let mappings = [Arc::new(mapping)];
        let (mut results, mut before) = (Vec::new(), None);
        'pages: for _ in 0..PAGES {
            let page = panel.store().quarantine_page(before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.entry.received, last.entry.id));
            for listed in page.iter().filter(|row| may_be_for_a_mapping(row)) {
                if results.len() >= DOCUMENTS {
                    break 'pages;
                }
                let row = panel.store().quarantine_fetch(listed.entry.id).await?;
                if !mappings.iter().all(|mapping| mapping.is_for_document(&row.entry.raw)) {
                    continue;
                }
                let gateway = row.entry.gateway.as_deref().and_then(|gateway| GatewayId::parse(gateway).ok());
                let context =
                    Context { received: row.entry.received, zone: &zone, hello_gateway: gateway.as_ref(), mappings: &mappings };
                let decoded = decode(&row.entry.raw, &context).map_err(|error| error.message);
                results.push(Tried::of(&row, decoded, &zone));
            }
        }
        Ok(Self { results })
    }
}

/// What no mapping could read so far.
fn may_be_for_a_mapping(row: &QuarantineRow) -> bool {
    let code = row.entry.code;
    row.bytes <= BYTES && (matches!(code, RefusalCode::Unsupported | RefusalCode::NoReadings) || code.is_of_reading())
}

impl Tried {
    fn of(row: &QuarantineRow, decoded: Result<Decoded, String>, zone: &heliograph_domain::Zone) -> Self {
        let named = row.entry.gateway.clone().unwrap_or_default();
        let tried = Self {
            id: row.entry.id.to_string(),
            received: local_text(row.entry.received, zone),
            gateway: named,
            problem: String::new(),
            readings: 0,
            refused: 0,
            shown: Vec::new(),
            reason: String::new(),
        };
        match decoded {
            Err(problem) => Self { problem, ..tried },
            Ok(decoded) => Self {
                gateway: decoded.gateway.as_ref().map_or_else(String::new, ToString::to_string),
                readings: decoded.readings.len(),
                refused: decoded.refused.len(),
                shown: shown(&decoded, zone),
                reason: decoded.refused.first().map(|refused| refused.reason.clone()).unwrap_or_default(),
                ..tried
            },
        }
    }
}

fn shown(decoded: &Decoded, zone: &heliograph_domain::Zone) -> Vec<Shown> {
    let reading = |reading: &heliograph_dialects::DecodedReading| {
        let (unit, value) = canonical(reading);
        Shown {
            sensor: decoded.sensors.get(reading.sensor).map(|sensor| sensor.id.to_string()).unwrap_or_default(),
            metric: reading.metric.to_string(),
            value: format!("{value} {unit}"),
            time: local_text(reading.time, zone),
        }
    };
    decoded.readings.iter().take(READINGS).map(reading).collect()
}
