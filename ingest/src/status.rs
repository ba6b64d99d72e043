//! Whether a server can take documents, for whoever watches it.

use std::sync::Arc;

use heliograph_store::ProviderStore;

use crate::Clock;
use crate::directory::DirectoryFeed;
use crate::spool::Status;

/// How a server stands.
#[derive(Clone)]
pub struct IngestStatus {
    pub(crate) spool: Arc<Status>,
    pub(crate) directory: DirectoryFeed,
    pub(crate) clock: Clock,
    pub(crate) store: ProviderStore,
}

/// Whether documents are taken, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Documents go to the store.
    Straight,
    /// Documents are taken and acked from the spool; in words, how full it is.
    Spooling(String),
    /// Documents are answered `unavailable`, for this reason.
    Refusing(String),
}

impl IngestStatus {
    /// Whether there is a spool for what the store does not take.
    #[must_use]
    pub fn spools(&self) -> bool {
        self.spool.limit > 0
    }

    /// How the server stands now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.directory.now().is_none() {
            return Readiness::Refusing("gateways were never read from the store".to_owned());
        }
        if let Some(problem) = self.store.clock_known() {
            return Readiness::Refusing(problem);
        }
        let Some(level) = self.spool.level() else { return Readiness::Straight };
        let age = level.oldest.map_or(0, |oldest| (self.clock)().millis_since(oldest).max(0) / 1000);
        let text = format!("{} documents, {} of {} bytes, the oldest {age} s old", level.records, level.bytes, self.spool.limit);
        if self.spool.is_full() { Readiness::Refusing(format!("spool is full: {text}")) } else { Readiness::Spooling(text) }
    }
}
