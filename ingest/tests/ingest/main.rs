//! The ingest server over real sockets, on an embedded store of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod corpus;
mod credentials;
mod cut;
mod device_clocks;
mod draining;
mod fairness;
mod figures;
mod held;
mod http;
mod invariants;
mod mapped;
mod rates;
mod refusals;
mod requests;
mod server;
mod tls;
mod wire;
mod wrong_clock;
