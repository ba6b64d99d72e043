//! What locations are expected to give: the rules.

use heliograph_domain::{LocationId, YieldTargets};

use super::point::put;
use super::{Catalog, Decision};
use crate::error::StoreError;
use crate::target::YIELD_TARGETS;

impl Catalog {
    pub(crate) fn targets(&self) -> Result<Vec<YieldTargets>, StoreError> {
        self.read(YIELD_TARGETS)
    }

    pub(crate) fn target_save(&self, targets: &YieldTargets) -> Decision {
        self.require_location(targets.location())?;
        Ok(vec![put(YIELD_TARGETS, &targets.location().to_string(), targets)?])
    }

    pub(crate) fn target_remove(&self, location: LocationId) -> Decision {
        Ok(vec![self.take(YIELD_TARGETS, &location.to_string(), "expected yield")?])
    }
}
