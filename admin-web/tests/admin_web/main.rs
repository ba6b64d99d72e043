//! The panel, asked through its router over a store of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod alerts;
mod api;
mod api_tokens;
mod audit;
mod clocks;
mod corrections;
mod equipment;
mod fleet;
mod forms;
mod installers;
mod keys;
mod letters;
mod live;
mod login;
mod logos;
mod mappings;
mod pages;
mod registering;
mod replacing;
mod reports;
mod retries;
mod second_step;
mod security;
mod served;
mod targets;
mod world;
