//! The whole platform through the real binary: commands, processes that are
//! killed, containers on the real engine, pages in real Chromium, mails over
//! real SMTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "seeds and figures stand in a test's output")]

mod binary;
mod browser;
mod clock;
mod cluster;
mod commands;
mod crash;
mod damage;
mod day;
mod demo;
mod ending;
mod failing;
mod figures;
mod flipped;
mod full;
mod gateway;
mod handover;
mod ingest;
#[path = "../../src/simulate/journal.rs"]
#[allow(dead_code, reason = "generators write it")]
mod journal;
mod keeping;
mod load;
mod moving;
mod nodes;
mod oracle;
mod outage;
mod outside;
mod overload;
mod panel;
mod platform;
mod points;
mod power;
mod quarantine;
mod quorum;
mod readings;
mod resent;
mod sample;
mod secured;
mod simulated;
mod simulation;
mod slow;
mod soak;
mod spool;
mod steady;
mod storm;
mod supervised;
mod tenant;
mod together;
mod trail;
mod worst;
