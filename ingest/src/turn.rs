//! Documents that wait for their turn, in memory: a bounded number of them, of each
//! gateway and of all, so that one that is far ahead of its rate takes neither the
//! connections nor the memory of the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
pub(crate) type Waiting = Arc<Semaphore>;

/// The place of a document, until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held until it is dropped")]
pub(crate) struct Place(OwnedSemaphorePermit, OwnedSemaphorePermit);

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
        let own = waiting.get_or_insert_with(|| Arc::new(Semaphore::new(OF_ONE)));
        let own = Arc::clone(own).try_acquire_many_owned(size).ok()?;
        Some(Place(own, Arc::clone(&self.all).try_acquire_many_owned(size).ok()?))
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_largest_document_fits_where_no_other_waits() {
        let (places, mut one) = (Places::new(2), None);
        let held = places.take(&mut one, 64 << 20);
        assert!(held.is_some() && places.take(&mut None, 1).is_none());
        drop(held);
        assert!(places.take(&mut None, 1).is_some());
    }
}
