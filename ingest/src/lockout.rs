//! Addresses that fail too often with their credentials have to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use heliograph_domain::Timestamp;

/// Failures within [`WINDOW_MS`] before an address is locked out.
const FAILURES: u32 = 20;
/// How long failures are remembered.
const WINDOW_MS: i64 = 60_000;
/// Addresses remembered at once; beyond it those whose time is over are dropped,
/// then all.
const ADDRESSES: usize = 10_000;

/// Counts failed credentials by address, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug)]
struct Failures {
    since: Timestamp,
    count: u32,
}

impl Lockout {
    /// Whether the address has to wait.
    pub(crate) fn holds(&self, address: IpAddr, now: Timestamp) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&address).is_some_and(|failed| failed.count >= FAILURES && now.millis_since(failed.since) < WINDOW_MS)
    }

    /// Notes a failure.
    pub(crate) fn note(&self, address: IpAddr, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, failed| now.millis_since(failed.since) < WINDOW_MS);
            if failures.len() >= ADDRESSES {
                failures.clear();
            }
        }
        let failed = failures.entry(address).or_insert(Failures { since: now, count: 0 });
        if now.millis_since(failed.since) >= WINDOW_MS {
            *failed = Failures { since: now, count: 0 };
        }
        failed.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_after_many_failures_and_let_go_after_a_minute() {
        let (lockout, address) = (Lockout::default(), IpAddr::from([127, 0, 0, 1]));
        let at = Timestamp::clamped;
        for i in 0..FAILURES {
            assert!(!lockout.holds(address, at(i64::from(i))));
            lockout.note(address, at(i64::from(i)));
        }
        assert!(lockout.holds(address, at(1_000)));
        assert!(!lockout.holds(IpAddr::from([127, 0, 0, 2]), at(1_000)));
        assert!(!lockout.holds(address, at(WINDOW_MS)));
        lockout.note(address, at(WINDOW_MS));
        assert!(!lockout.holds(address, at(WINDOW_MS)));
    }
}
