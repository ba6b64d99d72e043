//! Mappings as a provider keeps them: how to read XML that is of no dialect.

use serde::{Deserialize, Serialize};

use crate::id::MappingName;
use crate::time::Timestamp;

/// A mapping of a provider. Whoever saves one has compiled it before; what it
/// means, the crate of the dialects knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderMapping {
    /// What it calls itself; a provider has one of each name.
    pub name: MappingName,
    /// The mapping itself, TOML.
    pub source: String,
    /// How often it has been saved, from 1.
    pub revision: u32,
    /// When it was saved last.
    pub changed: Timestamp,
}

impl ProviderMapping {
    /// Bytes of a mapping at most: it has to fit into one write to a cluster.
    pub const BYTES: usize = 32 * 1024;
    /// Mappings that a provider has at most.
    pub const COUNT: usize = 50;
}
