//! Limits on failed attempts to sign in, by address, by account and by both
//! together, in a fixed amount of memory.
//!
//! What one address may try at one account is narrow; what all of them may try
//! at it is wide, so that somebody far away who knows an address does not keep
//! its owner out.
//!
//! Buckets stand in three tables of fixed size at a place that a keyed hash
//! chooses. Two that share a place share their tokens: with as many failures as
//! it takes to matter, the panel refuses too much rather than too little.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use heliograph_domain::{Timestamp, UserId};

/// Places of a table; 16 bytes each.
const PLACES: usize = 8192;

/// Failures at once and milliseconds until one more is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: f64,
    pub(crate) refill_ms: f64,
}

/// People of one household or office fail together.
const BY_ADDRESS: Rate = Rate { burst: 30.0, refill_ms: 3_000.0 };
/// Somebody who has forgotten a password tries fewer times than this.
const BY_BOTH: Rate = Rate { burst: 10.0, refill_ms: 60_000.0 };
/// Guessing from many addresses at once ends here.
const BY_ACCOUNT: Rate = Rate { burst: 100.0, refill_ms: 6_000.0 };

#[derive(Debug, Clone, Copy)]
struct Bucket {
    used: f64,
    at: Timestamp,
}

impl Bucket {
    const EMPTY: Self = Self { used: 0.0, at: Timestamp::MIN };

    /// What is still used up.
    fn used(&self, rate: Rate, now: Timestamp) -> f64 {
        let passed = now.millis_since(self.at).max(0) as f64;
        (self.used - passed / rate.refill_ms).max(0.0)
    }

    /// Seconds to wait; 0 where a token was taken.
    fn take(&mut self, rate: Rate, now: Timestamp) -> u64 {
        let used = self.used(rate, now);
        if used + 1.0 > rate.burst {
            return (((used + 1.0 - rate.burst) * rate.refill_ms / 1000.0).ceil() as u64).max(1);
        }
        *self = Self { used: used + 1.0, at: now };
        0
    }
}

/// The three tables.
#[derive(Debug)]
pub(crate) struct LoginLimits {
    hasher: RandomState,
    addresses: Mutex<Vec<Bucket>>,
    accounts: Mutex<Vec<Bucket>>,
    both: Mutex<Vec<Bucket>>,
}

impl Default for LoginLimits {
    fn default() -> Self {
        let empty = || Mutex::new(vec![Bucket::EMPTY; PLACES]);
        Self { hasher: RandomState::new(), addresses: empty(), accounts: empty(), both: empty() }
    }
}

impl LoginLimits {
    /// Takes a token for an attempt; where there is none, answers the seconds
    /// until there is. The account counts whether it exists or not.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(crate) fn attempt(&self, address: IpAddr, account: &str, now: Timestamp) -> Result<(), u64> {
        let (network, account) = (network(address), account.to_lowercase());
        // The narrower first: where it refuses, the wider ones are not used up.
        let tables = [
            (&self.both, self.place((network, &account)), BY_BOTH),
            (&self.addresses, self.place(network), BY_ADDRESS),
            (&self.accounts, self.place(&account), BY_ACCOUNT),
        ];
        for (table, place, rate) in tables {
            match take(table, place, rate, now) {
                0 => {}
                wait => return Err(wait),
            }
        }
        Ok(())
    }

    /// Gives the tokens of an attempt back that succeeded.
    pub(crate) fn succeeded(&self, address: IpAddr, account: &str) {
        let (network, account) = (network(address), account.to_lowercase());
        give_back(&self.both, self.place((network, &account)));
        give_back(&self.addresses, self.place(network));
        give_back(&self.accounts, self.place(&account));
    }

    fn place(&self, key: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key) % PLACES as u64).unwrap_or(0)
    }
}

/// One table with a rate of its own.
#[derive(Debug)]
pub(crate) struct Limit {
    rate: Rate,
    hasher: RandomState,
    buckets: Mutex<Vec<Bucket>>,
}

impl Limit {
    /// One that nobody has used yet.
    pub(crate) fn new(rate: Rate) -> Self {
        let buckets = Mutex::new(vec![Bucket::EMPTY; PLACES]);
        Self { rate, hasher: RandomState::new(), buckets }
    }

    /// Takes a token of whoever it is.
    ///
    /// # Errors
    /// With the seconds to wait, where there is none.
    pub(crate) fn attempt(&self, key: impl Hash, now: Timestamp) -> Result<(), u64> {
        match take(&self.buckets, self.place(key), self.rate, now) {
            0 => Ok(()),
            wait => Err(wait),
        }
    }

    /// Gives a token back that was taken for nothing.
    pub(crate) fn give_back(&self, key: impl Hash) {
        give_back(&self.buckets, self.place(key));
    }

    fn place(&self, key: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key) % PLACES as u64).unwrap_or(0)
    }
}

/// People that are kept in mind before those are forgotten who have used nothing of late.
const MANY_PEOPLE: usize = 4096;

/// A rate for each of those who have proven who they are. Nobody shares a bucket with
/// somebody else, and there are no more of them than people.
#[derive(Debug)]
pub(crate) struct PersonLimit {
    rate: Rate,
    buckets: Mutex<HashMap<UserId, Bucket>>,
}

impl PersonLimit {
    /// One that nobody has used yet.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes a token of somebody.
    ///
    /// # Errors
    /// With the seconds to wait, where there is none.
    pub(crate) fn attempt(&self, user: UserId, now: Timestamp) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY_PEOPLE && !buckets.contains_key(&user) {
            buckets.retain(|_, bucket| bucket.used(self.rate, now) > 0.0);
        }
        match buckets.entry(user).or_insert(Bucket::EMPTY).take(self.rate, now) {
            0 => Ok(()),
            wait => Err(wait),
        }
    }
}

/// Whoever has an IPv6 address has at least the 2⁶⁴ of its network.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
    }
}

/// Seconds to wait; 0 where a token was taken.
fn take(table: &Mutex<Vec<Bucket>>, place: usize, rate: Rate, now: Timestamp) -> u64 {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.get_mut(place).map_or(0, |bucket| bucket.take(rate, now))
}

fn give_back(table: &Mutex<Vec<Bucket>>, place: usize) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bucket) = table.get_mut(place) {
        bucket.used = (bucket.used - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(1_795_176_000_000 + minute * 60_000)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_address_has_ten_failures_at_one_account_and_then_one_a_minute() {
        let limits = LoginLimits::default();
        for _ in 0..10 {
            assert_eq!(limits.attempt(address(1), "Anna@example.com", minute(0)), Ok(()));
        }
        assert_eq!(limits.attempt(address(1), "anna@example.com", minute(0)), Err(60));
        assert_eq!(limits.attempt(address(1), "anna@example.com", minute(1)), Ok(()));
        assert!(limits.attempt(address(1), "anna@example.com", minute(1)).is_err());
    }

    #[test]
    fn who_fails_at_an_account_does_not_keep_its_owner_out() {
        let limits = LoginLimits::default();
        for _ in 0..1000 {
            let _refused_or_not = limits.attempt(address(1), "anna@example.com", minute(0));
        }
        assert_eq!(limits.attempt(address(2), "anna@example.com", minute(0)), Ok(()));
    }

    #[test]
    fn an_account_takes_a_hundred_failures_from_all_addresses_together() {
        let limits = LoginLimits::default();
        for attempt in 0..100 {
            assert_eq!(limits.attempt(address(attempt), "Anna@example.com", minute(0)), Ok(()));
        }
        assert_eq!(limits.attempt(address(150), "anna@example.com", minute(0)), Err(6));
        assert_eq!(limits.attempt(address(151), "anna@example.com", minute(1)), Ok(()));
    }

    #[test]
    fn an_address_takes_thirty_failures_over_all_accounts() {
        let limits = LoginLimits::default();
        for attempt in 0..30 {
            assert_eq!(limits.attempt(address(1), &format!("user{attempt}@example.com"), minute(0)), Ok(()));
        }
        assert_eq!(limits.attempt(address(1), "another@example.com", minute(0)), Err(3));
        assert_eq!(limits.attempt(address(2), "yet-another@example.com", minute(0)), Ok(()));
    }

    #[test]
    fn successes_cost_nothing_and_a_clock_set_back_gives_nothing() {
        let limits = LoginLimits::default();
        for _ in 0..100 {
            assert_eq!(limits.attempt(address(1), "anna@example.com", minute(0)), Ok(()));
            limits.succeeded(address(1), "anna@example.com");
        }
        for _ in 0..10 {
            assert_eq!(limits.attempt(address(1), "anna@example.com", minute(0)), Ok(()));
        }
        assert!(limits.attempt(address(1), "anna@example.com", minute(-60)).is_err());
    }

    #[test]
    fn nobody_shares_a_bucket_and_who_used_nothing_of_late_is_forgotten() {
        let limit = PersonLimit::new(Rate { burst: 1.0, refill_ms: 60_000.0 });
        let user = |number: usize| UserId::new(uuid::Uuid::from_u128(number as u128));
        for number in 0..3 * MANY_PEOPLE {
            assert_eq!(limit.attempt(user(number), minute(0)), Ok(()), "{number}");
        }
        assert_eq!(limit.attempt(user(7), minute(0)), Err(60), "none of them is forgotten too early");
        assert_eq!(limit.attempt(user(usize::MAX), minute(2)), Ok(()));
        assert_eq!(limit.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_together() {
        let limits = LoginLimits::default();
        for host in 0..30u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
            assert_eq!(limits.attempt(address, &format!("u{host}@example.com"), minute(0)), Ok(()));
        }
        assert!(limits.attempt(IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]), "x@example.com", minute(0)).is_err());
    }
}
