//! When a statement is sent again: as the driver does by itself, and where a node
//! has dropped a prepared statement more than once on its way.
//!
//! A node keeps prepared statements up to `prepared_statements_cache_size`, by
//! default 1/256 of its heap, for all its clients together. Where many providers
//! share a cluster, a statement can be gone again between its renewal, which the
//! driver does once, and its use. Such a statement was not run, whatever it is.

use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::retry::{DefaultRetryPolicy, RequestInfo, RetryDecision, RetryPolicy, RetrySession};

/// How often a statement is renewed again before its caller hears of it.
const RENEWALS: u32 = 10;

/// The driver's own policy, and renewal of what a node has forgotten.
#[derive(Debug, Default)]
pub(super) struct Renewing(DefaultRetryPolicy);

struct Attempts {
    usual: Box<dyn RetrySession>,
    renewals: u32,
}

impl RetryPolicy for Renewing {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Attempts { usual: self.0.new_session(), renewals: 0 })
    }
}

impl RetrySession for Attempts {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        let forgotten = matches!(request.error, RequestAttemptError::DbError(DbError::Unprepared { .. }, _));
        if !forgotten {
            return self.usual.decide_should_retry(request);
        }
        self.renewals += 1;
        if self.renewals > RENEWALS { RetryDecision::DontRetry } else { RetryDecision::RetrySameTarget(None) }
    }

    fn reset(&mut self) {
        self.usual.reset();
        self.renewals = 0;
    }
}
