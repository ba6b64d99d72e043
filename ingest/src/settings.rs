//! What can be set about an ingest server.

use std::time::Duration;

use heliograph_dialects::Limits;

use crate::rate::Rates;
use crate::turn;

/// Limits of an ingest server; the defaults suit a fleet of thousands.
#[derive(Debug, Clone, Copy)]
pub struct IngestSettings {
    /// Limits on a document.
    pub limits: Limits,
    /// Connections at once; one more is answered `rate-limited`.
    pub connections: usize,
    /// Of these, connections from one address.
    pub connections_per_address: usize,
    /// Bytes of documents on their way beyond 64 KiB a connection, over all
    /// connections.
    pub room: usize,
    /// Of these, bytes of documents from one address.
    pub room_per_address: usize,
    /// A connection without a document under way is closed after this.
    pub idle: Duration,
    /// Bytes a second that a document must arrive with, in every window (the longer of stall and
    /// grace) after the grace.
    pub minimum_rate: u64,
    /// How long a document may take whatever its rate.
    pub grace: Duration,
    /// A document of which no further byte comes for this long is cut.
    pub stall: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Documents of a connection that may wait for the store before reading stops; fewer
    /// where they are 64 KiB together.
    pub in_flight: usize,
    /// How long a drain may take, until the spool has closed its files.
    pub drain: Duration,
    /// A write that the store has not finished after this goes to the spool.
    pub store_deadline: Duration,
    /// Bytes that the spool may hold; 0: none.
    pub spool_bytes: u64,
    /// How fast gateways may push before they are read slower.
    pub rates: Rates,
}

impl IngestSettings {
    /// Places for documents that wait for their turn: they never hold more than half of
    /// the connections, or of the room.
    pub(crate) fn places(&self) -> usize {
        (self.connections / 2).min(self.room / turn::PLACE / 2)
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections: 12_000,
            connections_per_address: 5_000,
            room: 128 * 1024 * 1024,
            room_per_address: 32 * 1024 * 1024,
            idle: Duration::from_secs(600),
            minimum_rate: 64,
            grace: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            in_flight: 32,
            drain: Duration::from_secs(10),
            store_deadline: Duration::from_secs(2),
            spool_bytes: 1024 * 1024 * 1024,
            rates: Rates::default(),
        }
    }
}
