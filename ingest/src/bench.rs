//! The bench on which large documents are worked on: decoding one takes many times its
//! bytes, so that no more of them are at it at once than are together as large as the
//! largest document. The others wait, in the order in which they came; small ones never do.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::room;

/// Room on the bench is given in steps of this many bytes.
const STEP: usize = 16 * 1024;

/// The bench of all connections.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    steps: Arc<Semaphore>,
    all: usize,
}

/// That a document is on the bench, until this is dropped.
#[derive(Debug)]
pub(crate) struct OnBench(#[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>);

impl OnBench {
    /// Of a document so small that there may be any number of them.
    pub(crate) const SMALL: Self = Self(None);
}

impl Bench {
    /// With room for one of the largest documents.
    pub(crate) fn new(document_bytes: usize) -> Self {
        let all = document_bytes.div_ceil(STEP).clamp(1, Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(all)), all }
    }

    /// Whether a document of so many bytes has to wait for its turn.
    pub(crate) fn is_for(bytes: usize) -> bool {
        bytes > room::FREE
    }

    /// Waits until there is room for a document of so many bytes.
    pub(crate) fn place(&self, bytes: usize) -> impl Future<Output = OnBench> + Send + use<> {
        let steps = Bench::is_for(bytes).then(|| bytes.div_ceil(STEP).min(self.all));
        let all = Arc::clone(&self.steps);
        async move {
            match steps.and_then(|steps| u32::try_from(steps).ok()) {
                // Nobody closes it.
                Some(steps) => OnBench(all.acquire_many_owned(steps).await.ok()),
                None => OnBench::SMALL,
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
        let bench = Bench::new(8 * MIB);
        let first = bench.place(8 * MIB).await;
        let mut second = pin!(bench.place(8 * MIB));
        assert!(second.as_mut().now_or_never().is_none());
        // What comes behind one that waits does not overtake it.
        let mut third = pin!(bench.place(MIB));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(bench.place(room::FREE).now_or_never().is_some());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn as_many_are_there_at_once_as_are_one_of_the_largest() {
        let bench = Bench::new(8 * MIB);
        let there: Vec<OnBench> = (0..20).map_while(|_| bench.place(MIB).now_or_never()).collect();
        assert_eq!(there.len(), 8);
        drop(there);
        // One that is larger than it may be is refused later, and not kept waiting for ever.
        assert!(bench.place(100 * MIB).now_or_never().is_some());
    }
}
