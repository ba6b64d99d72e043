//! How much programs may ask.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use heliograph_domain::{KeyDigest, Timestamp, UserId};

use crate::login::{Limit, PersonLimit, Rate, network};

/// Ten a second for ever, a hundred at once: of a person, however many tokens they have.
const BY_PERSON: Rate = Rate { burst: 100.0, refill_ms: 100.0 };
/// Fifty new tokens a day: each stays in the audit trail for ever.
const MADE: Rate = Rate { burst: 50.0, refill_ms: 1_728_000.0 };
/// Tokens that do not work.
const FAILED: Rate = Rate { burst: 30.0, refill_ms: 3_000.0 };
/// Digests that are kept in mind; 32 bytes each.
const MOST_KNOWN: usize = 16_384;

/// The limits on requests of programs.
pub(crate) struct ApiLimits {
    by_person: PersonLimit,
    made: PersonLimit,
    failed: Limit,
    known: Mutex<HashSet<KeyDigest>>,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            by_person: PersonLimit::new(BY_PERSON),
            made: PersonLimit::new(MADE),
            failed: Limit::new(FAILED),
            known: Mutex::default(),
        }
    }
}

impl ApiLimits {
    /// Counts a request with a token of somebody's that works.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(super) fn request(&self, user: UserId, now: Timestamp) -> Result<(), u64> {
        self.by_person.attempt(user, now)
    }

    /// Counts a token that somebody makes.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(crate) fn make(&self, user: UserId, now: Timestamp) -> Result<(), u64> {
        self.made.attempt(user, now)
    }

    /// Counts a request that may be a guess, before the store is asked.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(super) fn guess(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.failed.attempt(network(address), now)
    }

    /// Takes back that a request counted as a guess.
    pub(super) fn no_guess(&self, address: IpAddr) {
        self.failed.give_back(network(address));
    }

    /// Whether a token has worked of late, so that it is no guess: those of others at the
    /// same address do not hold it up.
    pub(super) fn knows(&self, digest: KeyDigest) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    /// Keeps in mind that a token works, or that it does no more.
    pub(super) fn learn(&self, digest: KeyDigest, works: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !works {
            known.remove(&digest);
        } else if !known.contains(&digest) {
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::clamped(1_795_176_000_000 + millis)
    }

    #[test]
    fn a_person_has_a_hundred_requests_at_once_and_then_ten_a_second() {
        let limits = ApiLimits::default();
        let taken = (0..1000).filter(|_| limits.request(user(1), at(0)).is_ok()).count();
        assert_eq!(taken, 100);
        assert_eq!(limits.request(user(1), at(0)), Err(1));
        let taken = (0..1000).filter(|_| limits.request(user(1), at(60_000)).is_ok()).count();
        assert_eq!(taken, 100, "what was not used is not saved up beyond that");
        let taken = (0..600).filter(|step| limits.request(user(1), at(60_000 + (step + 1) * 100)).is_ok()).count();
        assert_eq!(taken, 600);
        assert_eq!(limits.request(user(2), at(0)), Ok(()));
    }

    #[test]
    fn a_person_makes_fifty_tokens_a_day() {
        let limits = ApiLimits::default();
        let taken = (0..1000).filter(|_| limits.make(user(1), at(0)).is_ok()).count();
        assert_eq!((taken, limits.make(user(1), at(0))), (50, Err(1728)));
        assert_eq!(limits.make(user(2), at(0)), Ok(()));
        let taken = (0..1000).filter(|_| limits.make(user(1), at(86_400_000)).is_ok()).count();
        assert_eq!(taken, 50);
    }

    #[test]
    fn what_is_kept_in_mind_of_tokens_is_bounded() {
        let limits = ApiLimits::default();
        for number in 0..=MOST_KNOWN {
            limits.learn(KeyDigest::of(&number.to_string()), true);
        }
        assert_eq!(limits.known.lock().unwrap().len(), 1);
        assert!(limits.knows(KeyDigest::of(&MOST_KNOWN.to_string())));
        limits.learn(KeyDigest::of(&MOST_KNOWN.to_string()), false);
        assert!(!limits.knows(KeyDigest::of(&MOST_KNOWN.to_string())));
    }
}
