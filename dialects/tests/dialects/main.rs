//! What the crate promises, seen from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod corpus;
mod differential;
mod fixtures;
mod framing;
mod invariants;
mod local_times;
mod protocol;
mod recognition;
mod robustness;
mod schema;
