//! What waiting gateways send again and again: each document is held once.

use std::hash::{BuildHasher, RandomState};

use heliograph_domain::{GatewayId, KeyDigest, Timestamp};

use crate::recent::Recent;

/// How long a document is remembered; whoever sends it later has it held again.
const WINDOW_MS: i64 = 10 * 60_000;
/// Documents remembered at once.
const DOCUMENTS: usize = 20_000;

/// Remembers documents by their hashes.
#[derive(Debug)]
pub(crate) struct Knocks {
    hasher: RandomState,
    seen: Recent<u64, ()>,
}

impl Default for Knocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), seen: Recent::new(WINDOW_MS, DOCUMENTS) }
    }
}

impl Knocks {
    /// What a document of a gateway, with a key, is known by.
    pub(crate) fn mark(&self, gateway: &GatewayId, key: Option<&KeyDigest>, raw: &[u8]) -> u64 {
        self.hasher.hash_one((gateway, key, raw))
    }

    /// Whether it was held a moment ago.
    pub(crate) fn holds(&self, mark: u64, now: Timestamp) -> bool {
        self.seen.get(&mark, now).is_some()
    }

    /// Notes that it is held.
    pub(crate) fn note(&self, mark: u64, now: Timestamp) {
        self.seen.note(mark, now, |()| ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_remembered_for_a_while_and_told_from_others() {
        let (knocks, at) = (Knocks::default(), Timestamp::clamped);
        let [one, other] = ["gw-1", "gw-2"].map(|id| GatewayId::parse(id).unwrap());
        let key = KeyDigest::of("correct-horse");
        let mark = knocks.mark(&one, Some(&key), b"<a/>");
        assert!(!knocks.holds(mark, at(0)));
        knocks.note(mark, at(0));
        assert!(knocks.holds(mark, at(WINDOW_MS - 1)) && !knocks.holds(mark, at(WINDOW_MS)));
        let others =
            [knocks.mark(&other, Some(&key), b"<a/>"), knocks.mark(&one, Some(&key), b"<b/>"), knocks.mark(&one, None, b"<a/>")];
        for different in others {
            assert!(!knocks.holds(different, at(0)));
        }
    }
}
