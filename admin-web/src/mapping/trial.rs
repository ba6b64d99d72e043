//! What a mapping would make of documents that are in quarantine. Nothing is written:
//! who sent them, and what is stored already, is looked at when they are replayed.

use std::sync::Arc;

use heliograph_dialects::{Context, DecodeError, Decoded, Mapping, canonical, decode, loss_by_mask};
use heliograph_domain::{GatewayId, RefusalCode, Zone};
use heliograph_store::{QuarantineRow, StoreError};
use tokio::sync::Semaphore;

use crate::error::Refusal;
use crate::form::local_text;
use crate::off_thread::off_thread;
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

/// Documents decoded at once, of all who try mappings: others wait, and pages are
/// served meanwhile.
static DECODING: Semaphore = Semaphore::const_new(2);

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
        let mapping = Arc::new(mapping);
        let (mut results, mut before) = (Vec::new(), None);
        'pages: for _ in 0..PAGES {
            let page = panel.store().quarantine_page(before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.entry.received, last.entry.id));
            for listed in page.iter().filter(|row| may_be_for_a_mapping(row)) {
                if results.len() >= DOCUMENTS {
                    break 'pages;
                }
                let row = match panel.store().quarantine_fetch(listed.entry.id).await {
                    Ok(row) => row,
                    // It may have gone meanwhile, or be damaged.
                    Err(StoreError::NotFound(_)) => continue,
                    Err(StoreError::Damaged(problem)) => {
                        tracing::error!(entry = %listed.entry.id, problem, "a document is damaged and left out");
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let (mapping, zone) = (Arc::clone(&mapping), zone.clone());
                results.extend(off_thread(&DECODING, move || Tried::by(mapping, &row, &zone)).await?);
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
    /// Tries a mapping on a document; nothing where it is not for it.
    fn by(mapping: Arc<Mapping>, row: &QuarantineRow, zone: &Zone) -> Option<Self> {
        let raw = &row.entry.raw;
        if !mapping.is_for_document(raw) {
            return None;
        }
        let gateway = row.entry.gateway.as_deref().and_then(|gateway| GatewayId::parse(gateway).ok());
        let mappings = [mapping];
        let context = Context { received: row.entry.received, zone, hello_gateway: gateway.as_ref(), mappings: &mappings };
        let decode = |bytes: &[u8]| decode(bytes, &context);
        let decoded = decode(raw).map_err(|DecodeError { message, .. }| message).and_then(|decoded| {
            loss_by_mask(raw, &decoded, decode).map_or(Ok(decoded), |loss| Err(format!("it is not as it came: {loss}")))
        });
        Some(Self::of(row, decoded, zone))
    }

    fn of(row: &QuarantineRow, decoded: Result<Decoded, String>, zone: &Zone) -> Self {
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

fn shown(decoded: &Decoded, zone: &Zone) -> Vec<Shown> {
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
