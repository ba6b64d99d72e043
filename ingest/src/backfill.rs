//! Live documents before history: what a gateway has kept for long goes to the store
//! in small turns, so that it is never far ahead of a document that has just come.
//!
//! While a gateway has history on its way its other documents take turns too: of two
//! documents with the same reading the later one has to be written last. So those of
//! a gateway have their turns one after the other, each until it has its place in the
//! order of the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_domain::GatewayId;
use heliograph_store::DocumentWrite;
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::turn::until_polled;

/// A document with a reading that is older than this when it comes is history.
const LIVE_MS: i64 = 3_600_000;
/// Readings of history that may be on their way to the store at once. The embedded
/// store writes as many in some 10 ms.
const AT_ONCE: usize = 8_192;

/// The turns of history.
#[derive(Debug, Clone)]
pub(crate) struct Backfill {
    readings: Arc<Semaphore>,
    gateways: Gateways,
}

/// Those of which documents have or wait for a turn.
type Gateways = Arc<Mutex<HashMap<GatewayId, Queue>>>;

/// The documents of a gateway.
#[derive(Debug, Default)]
struct Queue {
    documents: usize,
    /// Held by the one that is about to take its place in the order of the store.
    order: Arc<FairMutex<()>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    gateway: GatewayId,
    gateways: Gateways,
    order: Option<OwnedMutexGuard<()>>,
    /// Of readings, until the turn is over.
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Runs a write, which has its place in the order of the store once it has been
    /// polled. The next document of the gateway has its turn from then on, the next
    /// history once the write has ended.
    pub(crate) async fn run<T>(mut self, write: impl Future<Output = T>) -> T {
        until_polled(self.order.take(), write).await
    }
}

impl Default for Backfill {
    fn default() -> Self {
        Self { readings: Arc::new(Semaphore::new(AT_ONCE)), gateways: Arc::default() }
    }
}

impl Backfill {
    /// What to wait for until the document may go to the store; nothing, if it is live.
    /// It has its place among its gateway's documents once this has been polled.
    pub(crate) fn turn(&self, document: &DocumentWrite) -> Option<impl Future<Output = Turn> + use<>> {
        let (mut turn, order) = self.queue(document)?;
        let all = Arc::clone(&self.readings);
        let readings = u32::try_from(document.values.len().clamp(1, AT_ONCE)).unwrap_or(1);
        Some(async move {
            turn.order = Some(order.lock_owned().await);
            // Nobody closes it.
            turn.permit = all.acquire_many_owned(readings).await.ok();
            turn
        })
    }

    fn queue(&self, document: &DocumentWrite) -> Option<(Turn, Arc<FairMutex<()>>)> {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        if is_history(document) {
            metrics::counter!("heliograph_ingest_backfill_documents_total").increment(1);
        } else if !gateways.contains_key(&document.gateway) {
            return None;
        }
        let queue = gateways.entry(document.gateway.clone()).or_default();
        queue.documents += 1;
        let (gateway, gateways) = (document.gateway.clone(), Arc::clone(&self.gateways));
        Some((Turn { gateway, gateways, order: None, permit: None }, Arc::clone(&queue.order)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = gateways.get_mut(&self.gateway) {
            queue.documents -= 1;
            if queue.documents == 0 {
                gateways.remove(&self.gateway);
            }
        }
    }
}

fn is_history(document: &DocumentWrite) -> bool {
    document.values.iter().any(|value| document.received.millis_since(value.time) > LIVE_MS)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use heliograph_domain::Timestamp;

    use super::*;
    use crate::sample::power;

    const NOW: Timestamp = Timestamp::clamped(1_800_000_000_000);

    fn aged(gateway: &str, age_ms: i64, readings: usize) -> DocumentWrite {
        power(gateway, NOW, (0..readings).map(|reading| (NOW.plus_millis(-age_ms - reading as i64), 1.0)))
    }

    #[tokio::test]
    async fn history_waits_for_its_turn_and_live_documents_do_not() {
        let backfill = Backfill::default();
        let day = 86_400_000;
        let first = backfill.turn(&aged("gw-1", day, 2 * AT_ONCE)).unwrap().now_or_never().unwrap();
        let (old, live) = (aged("gw-2", day, 1), aged("gw-3", 1000, 100));
        let mut second = pin!(backfill.turn(&old).unwrap());
        assert!(second.as_mut().now_or_never().is_none(), "there is room for no more history");
        assert!(backfill.turn(&live).is_none());
        // What is live of a gateway with history on its way stays behind that.
        let after = aged("gw-2", 1000, 1);
        let mut third = pin!(backfill.turn(&after).unwrap());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        // However they are woken, the one that came first is the first in the store.
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut write = pin!(second.run(ended));
        assert!(write.as_mut().now_or_never().is_none());
        let third = third.now_or_never();
        assert!(third.is_some(), "the second one has its place, so the third one has its turn");
        end.send(()).unwrap();
        assert!(write.now_or_never().is_some());
        drop(third);
        assert!(backfill.turn(&after).is_none(), "nothing of its history is left");
        assert_eq!(backfill.readings.available_permits(), AT_ONCE);
    }
}
