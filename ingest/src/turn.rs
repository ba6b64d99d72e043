//! Documents that wait for their turn, in memory: a bounded number of them, of each
//! gateway and of all, so that one that is far ahead of its rate takes neither the
//! connections nor the memory of the others. Those of a gateway are written in the order
//! in which they came, however they are woken: of two with the same reading the later one
//! has to be the last in the store.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::coop::unconstrained;

/// Bytes of a document in a place.
pub(crate) const PLACE: usize = 64 * 1024;
/// Places of one gateway, or of the strangers at an address.
const OF_ONE: usize = 256;

/// The places of all documents that wait.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    most: usize,
}

/// The documents of one gateway that wait.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    places: Arc<Semaphore>,
    /// Of that which is the next in the store.
    order: Arc<FairMutex<()>>,
}

impl Waiting {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(OF_ONE)), order: Arc::default() }
    }

    /// Whether one has not its place in the order of the store yet, though its turn may
    /// have come.
    pub(crate) fn is_any(&self) -> bool {
        self.order.try_lock().is_err()
    }
}

/// That a document is the next of its gateway, until it is dropped.
pub(crate) type Next = OwnedMutexGuard<()>;

/// The place of a document, until it is dropped.
pub(crate) struct Place {
    #[expect(dead_code, reason = "held until it is dropped")]
    permits: [OwnedSemaphorePermit; 2],
    next: MaybeDone<BoxFuture<'static, Next>>,
}

impl Place {
    /// Waits for those that came before it, and gives up its place.
    pub(crate) async fn leave(mut self: Box<Self>) -> Option<Next> {
        (&mut self.next).await;
        Pin::new(&mut self.next).take_output()
    }
}

/// Runs a future, and holds something until that has been polled once.
pub(crate) async fn until_polled<T>(held: impl Sized, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let first = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    drop(held);
    match first {
        Poll::Ready(done) => done,
        Poll::Pending => future.await,
    }
}

impl Places {
    /// So many for all.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(most)), most }
    }

    /// A place for a document of so many bytes beside others of its gateway, if there is
    /// one. The largest document fits where no other waits.
    pub(crate) fn take(&self, waiting: &mut Option<Waiting>, bytes: usize) -> Option<Place> {
        let size = u32::try_from((1 + bytes / PLACE).min(OF_ONE).min(self.most)).ok()?;
        let Waiting { places, order } = waiting.get_or_insert_with(Waiting::new);
        let own = Arc::clone(places).try_acquire_many_owned(size).ok()?;
        let permits = [own, Arc::clone(&self.all).try_acquire_many_owned(size).ok()?];
        // Who has asked first is the next, however much of its budget the task has left.
        let mut next = maybe_done(unconstrained(Arc::clone(order).lock_owned()).boxed());
        (&mut next).now_or_never();
        Some(Place { permits, next })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn places_are_bounded_of_each_and_of_all_and_given_back() {
        let places = Places::new(OF_ONE + 10);
        let (mut one, mut other) = (None, None);
        let mut held: Vec<Place> = (0..OF_ONE).map_while(|_| places.take(&mut one, 100)).collect();
        assert_eq!(held.len(), OF_ONE);
        assert!(places.take(&mut one, 100).is_none());
        let others: Vec<Place> = (0..OF_ONE).map_while(|_| places.take(&mut other, 100)).collect();
        assert_eq!(others.len(), 10);
        held.clear();
        assert!(places.take(&mut other, 8 << 20).is_some(), "it is as large as 129");
    }

    #[tokio::test]
    async fn those_of_a_gateway_are_written_in_the_order_in_which_they_came() {
        let (places, mut one) = (Places::new(10), None);
        let mut take = || Box::new(places.take(&mut one, 100).unwrap());
        let [first, given_up, second] = [take(), take(), take()];
        let mut second = pin!(second.leave());
        assert!(second.as_mut().now_or_never().is_none());
        drop(given_up);
        let next = first.leave().now_or_never().unwrap();
        assert!(second.as_mut().now_or_never().is_none(), "the first one is not in the store yet");
        let (end, ended) = oneshot::channel::<()>();
        let mut write = pin!(until_polled(next, ended));
        assert!(write.as_mut().now_or_never().is_none());
        let next = second.now_or_never().unwrap();
        assert!(next.is_some() && one.as_ref().unwrap().is_any());
        drop((next, end));
        assert!(!one.unwrap().is_any() && write.now_or_never().is_some());
    }

    #[test]
    fn the_largest_document_fits_where_no_other_waits() {
        let (places, mut one) = (Places::new(2), None);
        let held = places.take(&mut one, 64 << 20);
        assert!(held.is_some() && places.take(&mut None, 1).is_none());
        drop(held);
        assert!(places.take(&mut None, 1).is_some());
    }
}
