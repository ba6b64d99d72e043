#![no_main]

#[path = "../../dialects/tests/dialects/invariants.rs"]
#[allow(dead_code)]
mod invariants;

use heliograph_dialects::Dialect;
use libfuzzer_sys::Corpus;

// Only what is of the dialect is worth keeping.
libfuzzer_sys::fuzz_target!(|data: &[u8]| -> Corpus {
    if invariants::decoding(Some(Dialect::Native), data) { Corpus::Keep } else { Corpus::Reject }
});
