//! What every backend has to do, told once and run on each.
//!
//! A backend is one line in [`backend::ALL`] and one arm in
//! [`backend::Backend::fresh`]; the tests know nothing else of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "figures stand in a test's output")]

mod alerts;
mod api_tokens;
mod archive;
mod audit;
mod backend;
mod clock_changes;
mod cluster;
mod corrections;
mod credentials;
mod damage;
mod device_clocks;
mod documents;
mod erasure;
mod failures;
mod gateways;
#[path = "../../../src/simulate/journal.rs"]
#[allow(dead_code, reason = "generators write it")]
mod journal;
mod judged;
mod logos;
mod mails;
mod mappings;
mod moving;
mod owners;
mod people;
mod points;
mod recovery;
mod refusals;
mod relay;
mod replays;
mod retention;
mod rollups;
mod setup;
mod sharing;
mod stalls;
mod stamps;
mod tampering;
mod tenancy;
mod tls;
