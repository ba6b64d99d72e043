//! What a gateway that waits has sent, for whoever is about to give it a place: what is
//! stored of it, where it was adopted, else the newest document that was refused.

use heliograph_domain::{GatewayId, Timestamp, Zone, visible};
use heliograph_store::{GatewayRecord, ProviderStore, QuarantineRow, SensorRecord, StoreError};

use crate::form::{ago, local_text};
use crate::report_view::reading;

/// Entries of the quarantine that are looked through, the newest first.
const LOOKED_AT: usize = 2_000;
const AT_ONCE: usize = 500;
/// Bytes of a document that are shown.
const SHOWN: usize = 4 * 1024;
/// Sensors that are shown.
const SENSORS: usize = 20;

pub(super) struct Heard {
    pub(super) first: String,
    pub(super) last: String,
    /// Empty for whoever may not know it.
    pub(super) address: String,
    pub(super) documents: u64,
    pub(super) sensors: Vec<SensorLine>,
    /// Sensors that are not shown.
    pub(super) more: usize,
    pub(super) sample: Option<Sample>,
}

/// What a sensor said last.
pub(super) struct SensorLine {
    pub(super) name: String,
    pub(super) values: Vec<(String, String)>,
    pub(super) at: String,
}

/// A document as it came.
pub(super) struct Sample {
    pub(super) received: String,
    pub(super) reason: String,
    pub(super) raw: String,
    pub(super) is_cut: bool,
    /// Its page in the quarantine; empty for whoever may not open it.
    pub(super) path: String,
}

impl Heard {
    /// `sees_everything`: whether the reader may know where it calls from, and open the
    /// quarantine.
    pub(super) async fn read(
        store: &ProviderStore,
        gateway: &GatewayRecord,
        zone: &Zone,
        now: Timestamp,
        sees_everything: bool,
    ) -> Result<Self, StoreError> {
        let sensors = store.sensor_list(&gateway.id).await?;
        let refused = if sensors.is_empty() { newest_refused(store, &gateway.id).await? } else { None };
        Ok(Self {
            first: local_text(gateway.first_seen, zone),
            last: gateway.last_seen.map(|seen| ago(seen, now)).unwrap_or_default(),
            address: gateway.last_address.clone().filter(|_| sees_everything).unwrap_or_default(),
            documents: gateway.documents,
            more: sensors.len().saturating_sub(SENSORS),
            sensors: sensors.iter().take(SENSORS).map(|sensor| SensorLine::of(sensor, zone)).collect(),
            sample: refused.map(|row| Sample::of(&row, zone, sees_everything)),
        })
    }
}

impl SensorLine {
    fn of(sensor: &SensorRecord, zone: &Zone) -> Self {
        let latest = || sensor.series.iter().filter_map(|series| Some((series, series.latest?)));
        let value = |(series, sample): (&heliograph_store::SeriesRecord, heliograph_domain::Sample)| {
            (series.metric.to_string(), reading(sample.value, series.unit.as_str()))
        };
        let at = latest().map(|(_, sample)| sample.at).max();
        Self {
            name: sensor.name().to_owned(),
            values: latest().map(value).collect(),
            at: at.map(|at| local_text(at, zone)).unwrap_or_default(),
        }
    }
}

impl Sample {
    fn of(row: &QuarantineRow, zone: &Zone, sees_everything: bool) -> Self {
        let raw = &row.entry.raw;
        Self {
            received: local_text(row.entry.received, zone),
            reason: row.entry.reason.lines().next().unwrap_or_default().to_owned(),
            raw: visible(raw.get(..SHOWN).unwrap_or(raw)),
            is_cut: raw.len() > SHOWN,
            path: if sees_everything { format!("/quarantine/{}", row.entry.id) } else { String::new() },
        }
    }
}

/// The newest document that names a gateway, of those that were refused of late.
async fn newest_refused(store: &ProviderStore, gateway: &GatewayId) -> Result<Option<QuarantineRow>, StoreError> {
    let mut before = None;
    for _ in 0..LOOKED_AT / AT_ONCE {
        let page = store.quarantine_page(before, AT_ONCE).await?;
        if let Some(found) = page.iter().find(|row| row.bytes > 0 && row.entry.gateway.as_deref() == Some(gateway.as_str())) {
            return match store.quarantine_fetch(found.entry.id).await {
                // It has made room for another since.
                Err(StoreError::NotFound(_)) => Ok(None),
                fetched => fetched.map(Some),
            };
        }
        let Some(last) = page.last().filter(|_| page.len() == AT_ONCE) else { break };
        before = Some((last.entry.received, last.entry.id));
    }
    Ok(None)
}
