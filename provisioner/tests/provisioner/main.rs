//! The provisioner from outside: the fleet file, plans, and a real Docker engine.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod engine;
mod fleet;
mod model;
mod plans;
mod property;
