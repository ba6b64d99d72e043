//! How much programs may ask.

use std::net::IpAddr;

use heliograph_domain::{ApiTokenId, Timestamp};

use crate::login::{Limit, Rate, network};

/// Ten a second for ever, a hundred at once.
const BY_TOKEN: Rate = Rate { burst: 100.0, refill_ms: 100.0 };
/// Tokens that do not work. Right ones are not held up by wrong ones.
const FAILED: Rate = Rate { burst: 30.0, refill_ms: 3_000.0 };

/// The limits on requests of programs.
pub(crate) struct ApiLimits {
    by_token: Limit,
    failed: Limit,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self { by_token: Limit::new(BY_TOKEN), failed: Limit::new(FAILED) }
    }
}

impl ApiLimits {
    /// Counts a request with a token that works.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(super) fn request(&self, token: ApiTokenId, now: Timestamp) -> Result<(), u64> {
        self.by_token.attempt(token, now)
    }

    /// Counts a request with a token that does not.
    ///
    /// # Errors
    /// With the seconds to wait.
    pub(super) fn failed(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        self.failed.attempt(network(address), now)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_token_has_a_hundred_requests_at_once_and_then_ten_a_second() {
        let limits = ApiLimits::default();
        let (token, other) = (ApiTokenId::new(Uuid::from_u128(1)), ApiTokenId::new(Uuid::from_u128(2)));
        let at = |millis: i64| Timestamp::clamped(1_795_176_000_000 + millis);
        let taken = (0..1000).filter(|_| limits.request(token, at(0)).is_ok()).count();
        assert_eq!(taken, 100);
        assert_eq!(limits.request(token, at(0)), Err(1));
        let taken = (0..1000).filter(|_| limits.request(token, at(60_000)).is_ok()).count();
        assert_eq!(taken, 100, "what was not used is not saved up beyond that");
        let taken = (0..600).filter(|step| limits.request(token, at(60_000 + (step + 1) * 100)).is_ok()).count();
        assert_eq!(taken, 600);
        assert_eq!(limits.request(other, at(0)), Ok(()));
    }
}
