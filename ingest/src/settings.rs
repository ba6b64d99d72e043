//! What can be set about an ingest server.

use std::time::Duration;

use heliograph_dialects::Limits;

/// Limits of an ingest server; the defaults suit a fleet of thousands.
#[derive(Debug, Clone, Copy)]
pub struct IngestSettings {
    /// Limits on a document.
    pub limits: Limits,
    /// Connections at once; one more is answered `rate-limited`.
    pub connections: usize,
    /// A connection without a document under way is closed after this.
    pub idle: Duration,
    /// Bytes a second that a document must arrive with, on average since its
    /// first byte and after the grace.
    pub minimum_rate: u64,
    /// How long a document may take whatever its rate.
    pub grace: Duration,
    /// Documents of a connection that may wait for the store before reading stops.
    pub in_flight: usize,
    /// How long a drain may take.
    pub drain: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections: 10_000,
            idle: Duration::from_secs(600),
            minimum_rate: 64,
            grace: Duration::from_secs(20),
            in_flight: 32,
            drain: Duration::from_secs(10),
        }
    }
}
