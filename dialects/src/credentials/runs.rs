//! Runs of letters that look like a generated key, wherever they stand.

use std::ops::Range;

use heliograph_domain::GatewayKey;

/// Letters in a block of a key, and blocks in a key.
const LETTERS: usize = 8;
const BLOCKS: usize = 4;

/// A key as it is spelled: blocks with a hyphen between them.
const LENGTH: usize = BLOCKS * (LETTERS + 1) - 1;

/// Every such run, also within longer ones, by where it begins. Keys that were
/// typed in capitals count too.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memchr_iter(b'-', bytes).filter_map(|hyphen| {
        let start = hyphen.checked_sub(LETTERS)?;
        let run = start..start + LENGTH;
        is_key(bytes.get(run.clone())?).then_some(run)
    })
}

fn is_key(run: &[u8]) -> bool {
    let is_hyphen = |at: usize| at % (LETTERS + 1) == LETTERS;
    run.iter().enumerate().all(|(at, byte)| if is_hyphen(at) { *byte == b'-' } else { LETTER[usize::from(*byte)] })
}

/// Whether a byte is a letter of generated keys.
const LETTER: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < GatewayKey::ALPHABET.len() {
        let letter = GatewayKey::ALPHABET[at];
        table[letter as usize] = true;
        table[letter.to_ascii_uppercase() as usize] = true;
        at += 1;
    }
    table
};
