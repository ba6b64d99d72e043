//! The mailer over a real store: into folders, to a server that misbehaves at
//! every step, and to a real one.

// Calls that wait for a cluster lie deep in each other.
#![recursion_limit = "256"]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "modules of a test binary share their items")]

mod alerts;
mod folder;
mod letters;
mod look;
mod misbehaving;
mod parse;
mod plant;
mod real;
mod replicas;
mod smtp;
mod tls;
