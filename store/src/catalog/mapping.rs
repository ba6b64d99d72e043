//! Mappings: the rules.

use heliograph_domain::{MappingName, ProviderMapping, Timestamp};

use super::point::put;
use super::{Catalog, Decision};
use crate::error::StoreError;
use crate::mapping::next;

const MAPPING: &str = "mapping";

impl Catalog {
    pub(crate) fn mapping_save(&self, name: MappingName, source: String, at: Timestamp) -> Decision {
        let mapping = next(&self.mappings()?, name, source, at)?;
        Ok(vec![put(MAPPING, mapping.name.as_str(), &mapping)?])
    }

    pub(crate) fn mappings(&self) -> Result<Vec<ProviderMapping>, StoreError> {
        self.read(MAPPING)
    }

    pub(crate) fn mapping_remove(&self, name: &MappingName) -> Decision {
        Ok(vec![self.take(MAPPING, name.as_str(), "mapping")?])
    }
}
