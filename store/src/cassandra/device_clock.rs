//! What was seen of gateways' clocks: a text each in the table `control`, since the
//! catalog is no place for what changes every few minutes.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{ClockSample, ClockSamples, GatewayId};

use super::Database;
use crate::device_clock::{CLOCK_SAMPLES, GatewayClock};
use crate::error::StoreError;

/// Gateways that are written at once.
const AT_ONCE: usize = 16;

/// Where the samples of a gateway stand, as JSON in `holder`.
fn name(gateway: &GatewayId) -> String {
    format!("{CLOCK_SAMPLES}:{gateway}")
}

fn read_samples(name: &str, text: &str) -> Result<ClockSamples, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("{name}: {error}")))
}

impl Database {
    pub(crate) async fn gateway_clock(&self, gateway: &GatewayId) -> Result<GatewayClock, StoreError> {
        let catalog = self.catalog().await?;
        catalog.gateway(gateway)?;
        let corrections = catalog.clock_corrections()?.remove(gateway).unwrap_or_default();
        Ok(GatewayClock { samples: self.clock_samples(gateway).await?, corrections })
    }

    /// Of all gateways of which something is known.
    pub(crate) async fn gateway_clock_list(&self) -> Result<HashMap<GatewayId, GatewayClock>, StoreError> {
        let mut clocks: HashMap<GatewayId, GatewayClock> = HashMap::new();
        let rows: Vec<(String, Option<String>)> = self.all("SELECT name, holder FROM @.control", ()).await?;
        for (name, text) in rows {
            let id = name.strip_prefix(CLOCK_SAMPLES).and_then(|rest| rest.strip_prefix(':'));
            let (Some(id), Some(text)) = (id, text) else { continue };
            clocks.entry(GatewayId::parse(id)?).or_default().samples = read_samples(&name, &text)?;
        }
        for (gateway, corrections) in self.catalog().await?.clock_corrections()? {
            clocks.entry(gateway).or_default().corrections = corrections;
        }
        Ok(clocks)
    }

    async fn clock_samples(&self, gateway: &GatewayId) -> Result<ClockSamples, StoreError> {
        let cql = "SELECT holder FROM @.control WHERE name = ?";
        let row: Option<(Option<String>,)> = self.row(cql, (name(gateway),)).await?;
        let Some(text) = row.and_then(|(text,)| text) else { return Ok(ClockSamples::default()) };
        read_samples(&name(gateway), &text)
    }

    /// Where two processes write of a gateway at the same moment, the samples of one of
    /// them are lost, and come again.
    pub(crate) async fn gateway_clock_seen(&self, seen: Vec<(GatewayId, Vec<ClockSample>)>) -> Result<(), StoreError> {
        let note = |(gateway, new): (GatewayId, Vec<ClockSample>)| async move { self.clock_note(&gateway, new).await };
        stream::iter(seen).map(note).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn clock_note(&self, gateway: &GatewayId, new: Vec<ClockSample>) -> Result<(), StoreError> {
        let mut all = self.clock_samples(gateway).await?;
        all.add(new);
        let text = serde_json::to_string(&all).map_err(|error| StoreError::Conflict(error.to_string()))?;
        self.execute("UPDATE @.control SET holder = ? WHERE name = ?", (text, name(gateway))).await.map(drop)
    }
}
