//! The panel, asked through its router over a store of its own.

mod access;
mod forms;
mod keys;
mod login;
mod pages;
mod reports;
mod security;
mod served;
mod world;
