//! Reports over a real embedded store, whose sums each test computes itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod alerts;
mod balance;
mod calendar;
mod charts;
mod completeness;
mod corrections;
mod customers;
mod energies;
mod exports;
mod fleet;
mod heat;
mod performance;
mod points;
mod site;
mod table;
mod takeover;
mod targets;
mod visibility;
mod workbook;
mod years;
