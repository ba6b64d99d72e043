//! What one address may do within a minute: fail with its key, fill the quarantine.

use std::net::IpAddr;

use heliograph_domain::{Timestamp, block_of};

use crate::recent::Recent;

/// How long deeds are remembered.
const WINDOW_MS: i64 = 60_000;
/// Addresses remembered at once.
const ADDRESSES: usize = 10_000;

/// Counts deeds by address.
#[derive(Debug)]
pub(crate) struct Lockout {
    most: u32,
    deeds: Recent<IpAddr, u32>,
}

impl Lockout {
    /// At most so many deeds of an address within a minute.
    pub(crate) fn after(most: u32) -> Self {
        Self { most, deeds: Recent::new(WINDOW_MS, ADDRESSES) }
    }

    /// Whether the address has to wait.
    pub(crate) fn holds(&self, address: IpAddr, now: Timestamp) -> bool {
        self.deeds.get(&block_of(address), now).is_some_and(|count| count >= self.most)
    }

    /// Notes a deed.
    pub(crate) fn note(&self, address: IpAddr, now: Timestamp) {
        self.deeds.note(block_of(address), now, |count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_after_many_deeds_and_let_go_after_a_minute() {
        let (lockout, address) = (Lockout::after(20), IpAddr::from([127, 0, 0, 1]));
        let at = Timestamp::clamped;
        for i in 0..20 {
            assert!(!lockout.holds(address, at(i)));
            lockout.note(address, at(i));
        }
        assert!(lockout.holds(address, at(1_000)));
        assert!(!lockout.holds(IpAddr::from([127, 0, 0, 2]), at(1_000)));
        assert!(!lockout.holds(address, at(WINDOW_MS)));
        lockout.note(address, at(WINDOW_MS));
        assert!(!lockout.holds(address, at(WINDOW_MS)));
    }
}
