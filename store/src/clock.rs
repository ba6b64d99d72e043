//! The only place of this crate that reads the machine's clock: the audit trail
//! and what a cluster orders by time need the moment of the write itself.

use std::fmt;
use std::sync::Arc;

use heliograph_domain::Timestamp;

/// What time it is for a store.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub(crate) fn system() -> Self {
        Self(Arc::new(|| jiff::Timestamp::now().into()))
    }

    /// Any other clock, for tests.
    pub(crate) fn of(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(…)")
    }
}
