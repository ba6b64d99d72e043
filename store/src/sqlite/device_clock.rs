//! Records of gateways' clocks.

use std::collections::HashMap;

use heliograph_domain::{ClockCorrection, ClockCorrections, ClockSample, ClockSamples, GatewayId};
use rusqlite::Connection;

use super::{Batch, gateway, record};
use crate::device_clock::{CLOCK_CORRECTION, CLOCK_SAMPLES, Corrected, GatewayClock};
use crate::error::StoreError;

pub(crate) fn fetch(connection: &Connection, gateway: &GatewayId) -> Result<GatewayClock, StoreError> {
    gateway::number(connection, gateway)?;
    Ok(GatewayClock { samples: samples(connection, gateway)?, corrections: corrections_of(connection, gateway)? })
}

/// Of all gateways of which something is known.
pub(crate) fn list(connection: &Connection) -> Result<HashMap<GatewayId, GatewayClock>, StoreError> {
    let mut clocks: HashMap<GatewayId, GatewayClock> = HashMap::new();
    for (id, samples) in record::pairs(connection, CLOCK_SAMPLES)? {
        clocks.entry(GatewayId::parse(&id)?).or_default().samples = samples;
    }
    for (gateway, corrections) in corrections(connection)? {
        clocks.entry(gateway).or_default().corrections = corrections;
    }
    Ok(clocks)
}

fn samples(connection: &Connection, gateway: &GatewayId) -> Result<ClockSamples, StoreError> {
    Ok(record::find(connection, CLOCK_SAMPLES, gateway.as_str())?.unwrap_or_default())
}

fn corrections_of(connection: &Connection, gateway: &GatewayId) -> Result<ClockCorrections, StoreError> {
    let found: Option<Corrected> = record::find(connection, CLOCK_CORRECTION, gateway.as_str())?;
    Ok(found.map(|found| found.corrections).unwrap_or_default())
}

/// The corrections of all gateways.
pub(crate) fn corrections(connection: &Connection) -> Result<HashMap<GatewayId, ClockCorrections>, StoreError> {
    let all = record::list::<Corrected>(connection, CLOCK_CORRECTION)?;
    Ok(all.into_iter().map(|of| (of.gateway, of.corrections)).collect())
}

pub(crate) fn correct(batch: &mut Batch<'_>, gateway: &GatewayId, new: ClockCorrection) -> Result<(), StoreError> {
    gateway::number(batch.connection, gateway)?;
    let corrections = corrections_of(batch.connection, gateway)?.with(new);
    let corrected = Corrected { gateway: gateway.clone(), corrections };
    record::save(batch.connection, CLOCK_CORRECTION, gateway.as_str(), &corrected)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn seen(connection: &Connection, seen: &[(GatewayId, Vec<ClockSample>)]) -> Result<(), StoreError> {
    for (gateway, new) in seen {
        if gateway::find_number(connection, gateway)?.is_some() {
            let mut all = samples(connection, gateway)?;
            all.add(new.iter().copied());
            record::save(connection, CLOCK_SAMPLES, gateway.as_str(), &all)?;
        }
    }
    Ok(())
}
