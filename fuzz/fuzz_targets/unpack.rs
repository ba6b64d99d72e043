#![no_main]

mod served;

// What holds of a server looks for it at the root.
use served::{invariants, server};

libfuzzer_sys::fuzz_target!(|data: &[u8]| served::served(async |server| invariants::unpacking(server, data).await));
