//! What one address may do within a minute: fail with its key, fill the quarantine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use heliograph_domain::{Timestamp, block_of};

/// How long deeds are remembered.
const WINDOW_MS: i64 = 60_000;
/// Addresses remembered at once; beyond it those whose time is over are dropped,
/// then all.
const ADDRESSES: usize = 10_000;

/// Counts deeds by address, in bounded memory.
#[derive(Debug)]
pub(crate) struct Lockout {
    most: u32,
    deeds: Mutex<HashMap<IpAddr, Deeds>>,
}

#[derive(Debug)]
struct Deeds {
    since: Timestamp,
    count: u32,
}

impl Lockout {
    /// At most so many deeds of an address within a minute.
    pub(crate) fn after(most: u32) -> Self {
        Self { most, deeds: Mutex::default() }
    }

    /// Whether the address has to wait.
    pub(crate) fn holds(&self, address: IpAddr, now: Timestamp) -> bool {
        let deeds = self.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        deeds.get(&block_of(address)).is_some_and(|done| done.count >= self.most && now.millis_since(done.since) < WINDOW_MS)
    }

    /// Notes a deed.
    pub(crate) fn note(&self, address: IpAddr, now: Timestamp) {
        let mut deeds = self.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        if deeds.len() >= ADDRESSES {
            deeds.retain(|_, done| now.millis_since(done.since) < WINDOW_MS);
            if deeds.len() >= ADDRESSES {
                deeds.clear();
            }
        }
        let done = deeds.entry(block_of(address)).or_insert(Deeds { since: now, count: 0 });
        if now.millis_since(done.since) >= WINDOW_MS {
            *done = Deeds { since: now, count: 0 };
        }
        done.count += 1;
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
