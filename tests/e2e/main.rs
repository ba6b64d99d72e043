//! The whole platform through the real binary: commands, processes that are
//! killed, containers on the real engine, pages in real Chromium, mails over
//! real SMTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod binary;
mod browser;
mod commands;
mod crash;
mod day;
mod demo;
mod oracle;
mod platform;
mod together;
