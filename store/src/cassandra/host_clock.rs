//! Whether this machine's clock goes with the nodes'. A document's stamp is when it
//! came by the clock of the machine that took it, and the later stamp of a key wins;
//! so a machine whose clock is a year ahead would hide what others take for a year.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Database, stamping};
use crate::clock::Clock;
use crate::error::StoreError;

/// How far the clocks may be apart. No two pushes of a key that matter come that close
/// to each other by different machines.
const MOST_APART_MS: i64 = 5 * 60_000;
/// How often they are compared while they go together.
const COMPARED: Duration = Duration::from_secs(10);

/// How far this machine's clock was ahead of the nodes', ms, and when that was seen.
#[derive(Debug, Default)]
pub(super) struct Apart(Mutex<Option<(Instant, i64)>>);

impl Apart {
    /// Whether it is time to compare. Clocks that do not go together are compared each
    /// time, so that it is seen at once when one is set right.
    fn is_due(&self, now: Instant) -> bool {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_none_or(|(at, apart)| is_fault(apart) || now.saturating_duration_since(at) >= COMPARED)
    }

    fn note(&self, apart: i64, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, apart));
    }

    fn fault(&self) -> Option<String> {
        let (_, apart) = self.0.lock().unwrap_or_else(PoisonError::into_inner).filter(|(_, apart)| is_fault(*apart))?;
        let (minutes, side) = (apart.unsigned_abs() / 60_000, if apart > 0 { "ahead of" } else { "behind" });
        Some(format!("this machine's clock is {minutes} minutes {side} those of the store's nodes: set right whichever is wrong"))
    }
}

const fn is_fault(apart: i64) -> bool {
    apart.unsigned_abs() > MOST_APART_MS.unsigned_abs()
}

impl Database {
    /// Compares the clocks, if they were not compared a moment ago. Where they differ
    /// other nodes are asked, by chance: one that is wrong alone stops nobody.
    pub(crate) async fn clock_check(&self, clock: &Clock) -> Result<Option<String>, StoreError> {
        if self.inner.apart.is_due(Instant::now()) {
            let mut least = i64::MAX;
            for _ in 0..stamping::ASKED {
                let told = self.told().await? / 1000;
                let apart = clock.now().as_millis().saturating_sub(told);
                least = if apart.unsigned_abs() < least.unsigned_abs() { apart } else { least };
                if !is_fault(least) {
                    break;
                }
            }
            self.inner.apart.note(least, Instant::now());
        }
        Ok(self.clock_known())
    }

    /// What the last comparison said.
    pub(crate) fn clock_known(&self) -> Option<String> {
        self.inner.apart.fault()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_five_minutes_apart_go_together_and_no_further_ones() {
        let (apart, now) = (Apart::default(), Instant::now());
        assert_eq!((apart.fault(), apart.is_due(now)), (None, true), "until they are compared nothing is wrong");
        for close in [0, MOST_APART_MS, -MOST_APART_MS] {
            apart.note(close, now);
            assert_eq!((apart.fault(), apart.is_due(now)), (None, false), "{close}");
            assert!(apart.is_due(now + COMPARED));
        }
        for (far, said) in [(MOST_APART_MS + 1, "5 minutes ahead of"), (-31_536_000_000, "525600 minutes behind")] {
            apart.note(far, now);
            assert!(apart.fault().is_some_and(|fault| fault.contains(said)), "{far}");
            assert!(apart.is_due(now), "it may be set right any moment");
        }
    }
}
