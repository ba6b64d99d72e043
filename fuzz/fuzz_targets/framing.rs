#![no_main]

#[path = "../../dialects/tests/dialects/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::framing(data));
