//! Corrections of gateways' clocks: the rules.

use std::collections::HashMap;

use heliograph_domain::{ClockCorrection, ClockCorrections, GatewayId};

use super::point::put;
use super::{Catalog, Decision};
use crate::device_clock::{CLOCK_CORRECTION, Corrected};
use crate::error::StoreError;

impl Catalog {
    pub(crate) fn clock_correct(&self, id: &GatewayId, new: ClockCorrection) -> Decision {
        self.gateway(id)?;
        let corrections = self.clock_corrections()?.remove(id).unwrap_or_default().with(new);
        Ok(vec![put(CLOCK_CORRECTION, id.as_str(), &Corrected { gateway: id.clone(), corrections })?])
    }

    /// The corrections of all gateways.
    pub(crate) fn clock_corrections(&self) -> Result<HashMap<GatewayId, ClockCorrections>, StoreError> {
        let all: Vec<Corrected> = self.read(CLOCK_CORRECTION)?;
        Ok(all.into_iter().map(|of| (of.gateway, of.corrections)).collect())
    }
}
