//! Servers that turn pushed documents into stored readings: XML over TCP or by HTTP,
//! either under TLS.
//!
//! A connection is one task: `connection.rs` turns bytes into documents and
//! answers into bytes, `intake.rs` turns one document into one answer, and
//! `directory.rs` keeps the gateways and the policy that it asks. An `ack` leaves
//! after the store, or in its absence the spool (`spool.rs`), says that the
//! document survives, never before.

mod adoption;
mod answer;
mod answers;
mod apart;
mod arrival;
mod backfill;
mod connection;
mod damage_worker;
mod decode_budget;
mod decoding;
mod device_clocks;
mod directory;
mod heartbeat;
mod http;
mod intake;
mod knocks;
mod linger;
mod lockout;
mod mappings;
mod minimum_rate;
mod peer;
mod quarantine;
mod rate;
mod recent;
mod replay;
mod replay_worker;
mod retention_worker;
mod rollup_worker;
mod room;
#[cfg(test)]
mod sample;
mod server;
mod settings;
mod snapshot;
mod spool;
mod status;
mod tls;
mod turn;
mod usage;
mod wire;

use std::sync::Arc;

use heliograph_domain::Timestamp;

pub use rate::Rates;
pub use replay::{Judged, Proof, Replayer, Verdict};
pub use server::{Ingest, IngestError};
pub use settings::IngestSettings;
pub use status::{IngestStatus, Readiness};
pub use tls::{ClientCertificates, Tls, TlsError, TlsSettings};

/// Tells the time. An argument, so that tests choose it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
