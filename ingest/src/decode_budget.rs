//! How many large documents are decoded at once: decoding one takes many times its bytes,
//! so that those that are at it are together no larger than the largest document. The
//! others wait, in the order in which they came; small ones never do.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::room;

/// The budget is given out in steps of this many bytes.
const STEP: usize = 16 * 1024;

/// The budget of all connections.
#[derive(Debug, Clone)]
pub(crate) struct DecodeBudget {
    steps: Arc<Semaphore>,
    all: usize,
}

/// A document's part of the budget, until this is dropped.
#[derive(Debug)]
pub(crate) struct DecodePermit(#[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>);

impl DecodePermit {
    /// Of a document so small that there may be any number of them.
    pub(crate) const SMALL: Self = Self(None);
}

impl DecodeBudget {
    /// Enough for one of the largest documents.
    pub(crate) fn new(document_bytes: usize) -> Self {
        let all = document_bytes.div_ceil(STEP).clamp(1, Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(all)), all }
    }

    /// Whether a document of so many bytes has to wait for its turn.
    pub(crate) fn is_for(bytes: usize) -> bool {
        bytes > room::FREE
    }

    /// Waits until there is room for a document of so many bytes.
    pub(crate) fn acquire(&self, bytes: usize) -> impl Future<Output = DecodePermit> + Send + use<> {
        let steps = DecodeBudget::is_for(bytes).then(|| bytes.div_ceil(STEP).min(self.all));
        let all = Arc::clone(&self.steps);
        async move {
            match steps.and_then(|steps| u32::try_from(steps).ok()) {
                // Nobody closes it.
                Some(steps) => DecodePermit(all.acquire_many_owned(steps).await.ok()),
                None => DecodePermit::SMALL,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn the_largest_is_there_alone_and_small_ones_never_wait() {
        let budget = DecodeBudget::new(8 * MIB);
        let first = budget.acquire(8 * MIB).await;
        let mut second = pin!(budget.acquire(8 * MIB));
        assert!(second.as_mut().now_or_never().is_none());
        // What comes behind one that waits does not overtake it.
        let mut third = pin!(budget.acquire(MIB));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(budget.acquire(room::FREE).now_or_never().is_some());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn as_many_are_there_at_once_as_are_one_of_the_largest() {
        let budget = DecodeBudget::new(8 * MIB);
        let there: Vec<DecodePermit> = (0..20).map_while(|_| budget.acquire(MIB).now_or_never()).collect();
        assert_eq!(there.len(), 8);
        drop(there);
        // One that is larger than it may be is refused later, and not kept waiting for ever.
        assert!(budget.acquire(100 * MIB).now_or_never().is_some());
    }
}
