//! Room for documents on their way, bounded over all connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every connection may buffer without asking, bytes.
const FREE: usize = 64 * 1024;
/// Room is given in steps of this many bytes.
const STEP: usize = 64 * 1024;

/// The room that all connections share.
#[derive(Debug, Clone)]
pub(crate) struct RoomForDocuments(Arc<Semaphore>);

impl RoomForDocuments {
    /// So many bytes beyond what each connection may buffer anyway.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / STEP).min(Semaphore::MAX_PERMITS))))
    }
}

/// One connection's part of it.
#[derive(Debug)]
pub(crate) struct Room {
    shared: RoomForDocuments,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn of(shared: RoomForDocuments) -> Self {
        Self { shared, held: None }
    }

    /// Takes or gives back room so that a buffer fits; false where there is none.
    pub(crate) fn make_for(&mut self, buffer: usize) -> bool {
        let wanted = buffer.saturating_sub(FREE).div_ceil(STEP);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted == 0 {
            self.held = None;
        }
        let Some(more) = wanted.checked_sub(held).and_then(|more| u32::try_from(more).ok()).filter(|more| *more > 0) else {
            return true;
        };
        let Ok(permit) = Arc::clone(&self.shared.0).try_acquire_many_owned(more) else { return false };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        true
    }

    /// Gives the room of a large document to whoever works on it.
    pub(crate) fn hand_over(&mut self, document: usize) -> Option<OwnedSemaphorePermit> {
        if document > FREE { self.held.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared_and_given_back() {
        let all = RoomForDocuments::new(4 * STEP);
        let (mut one, mut two) = (Room::of(all.clone()), Room::of(all));
        assert!(one.make_for(FREE));
        assert!(one.make_for(FREE + 3 * STEP));
        assert!(one.make_for(FREE + 2 * STEP));
        assert!(!two.make_for(FREE + 2 * STEP));
        assert!(two.make_for(FREE + STEP));
        let working = one.hand_over(FREE + 3 * STEP);
        assert!(one.make_for(0));
        assert!(!two.make_for(FREE + 2 * STEP));
        drop(working);
        assert!(two.make_for(FREE + 4 * STEP));
    }
}
