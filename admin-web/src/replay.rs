//! Trying a document of the quarantine again.
//!
//! What becomes of a document is for ingest to judge, and roles do not depend on each
//! other: so whoever runs the panel hands in how it is done.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use heliograph_domain::{QuarantineId, RefusalCode, Timestamp};
use heliograph_store::{ProviderStore, StoreError};

/// Whether something is done, or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// What would become of it; nothing changes.
    DryRun,
    /// It is done.
    ForGood,
}

/// What has become, or would become, of an entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tried {
    /// Whose readings are in it; none where it has none.
    pub gateway: Option<String>,
    /// Why all of it stays, where it does.
    pub stays: Option<(RefusalCode, String)>,
    /// Readings that were not stored.
    pub new: usize,
    /// Readings that are stored already.
    pub repeated: usize,
    /// What is stored otherwise, and replaced or kept.
    pub changes: Vec<Changed>,
    /// Why single readings are still refused.
    pub refusals: Vec<String>,
}

/// A reading of which another value is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// When it was measured.
    pub time: Timestamp,
    /// Sensor and metric.
    pub series: String,
    /// Its unit.
    pub unit: String,
    /// What is stored.
    pub stored: f64,
    /// What the document says.
    pub value: f64,
    /// Whether what is stored stays, since it was pushed later.
    pub stays: bool,
}

type Outcome = Result<Option<Tried>, StoreError>;
/// An outcome that takes its time.
type Trying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Tries entries in a store by somebody's hands: nothing where the entry is gone.
#[derive(Clone)]
pub struct Replay(Arc<dyn Fn(ProviderStore, QuarantineId, Try) -> Trying + Send + Sync>);

impl Replay {
    /// By a function.
    pub fn new(tries: impl Fn(ProviderStore, QuarantineId, Try) -> Trying + Send + Sync + 'static) -> Self {
        Self(Arc::new(tries))
    }

    pub(crate) async fn run(&self, store: ProviderStore, entry: QuarantineId, how: Try) -> Outcome {
        (self.0)(store, entry, how).await
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replay")
    }
}
