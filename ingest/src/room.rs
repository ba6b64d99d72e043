//! Room for documents on their way, bounded over all connections and of each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heliograph_domain::block_of;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every connection may buffer without asking, bytes; and how much of documents under
/// way it may have before it takes a further one.
pub(crate) const FREE: usize = 64 * 1024;
/// Room is given in steps of this many bytes.
const STEP: usize = 64 * 1024;

/// The room that all connections share.
#[derive(Debug, Clone)]
pub(crate) struct RoomForDocuments(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: Arc<Semaphore>,
    /// Steps that one address may hold.
    per_address: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

impl RoomForDocuments {
    /// So many bytes beyond what each connection may buffer anyway, and of these so
    /// many for one address.
    pub(crate) fn new(bytes: usize, per_address: usize) -> Self {
        let all = Arc::new(Semaphore::new((bytes / STEP).min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared { all, per_address: per_address / STEP, held: Mutex::default() }))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, steps: usize, address: IpAddr) -> Option<Held> {
        let permits = u32::try_from(steps).ok()?;
        let mut held = self.held();
        let of_address = held.get(&address).copied().unwrap_or_default();
        if of_address + steps > self.0.per_address {
            return None;
        }
        let permit = Arc::clone(&self.0.all).try_acquire_many_owned(permits).ok()?;
        held.insert(address, of_address + steps);
        drop(held);
        Some(Held { of: self.clone(), address, steps, permit })
    }
}

/// Room that is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of: RoomForDocuments,
    address: IpAddr,
    steps: usize,
    #[expect(dead_code, reason = "held until it is dropped")]
    permit: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.of.held();
        if let Some(of_address) = held.get_mut(&self.address) {
            *of_address -= self.steps;
            if *of_address == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// One connection's part of it.
#[derive(Debug)]
pub(crate) struct Room {
    shared: RoomForDocuments,
    address: IpAddr,
    held: Vec<Held>,
}

impl Room {
    pub(crate) fn of(shared: RoomForDocuments, address: IpAddr) -> Self {
        Self { shared, address: block_of(address), held: Vec::new() }
    }

    /// Takes or gives back room so that a buffer fits; false where there is none.
    pub(crate) fn make_for(&mut self, buffer: usize) -> bool {
        let wanted = buffer.saturating_sub(FREE).div_ceil(STEP);
        if wanted == 0 {
            self.held = Vec::new();
        }
        let held: usize = self.held.iter().map(|held| held.steps).sum();
        let Some(more) = wanted.checked_sub(held).filter(|more| *more > 0) else { return true };
        let Some(taken) = self.shared.take(more, self.address) else { return false };
        self.held.push(taken);
        true
    }

    /// Gives the room of a large document to whoever works on it.
    pub(crate) fn hand_over(&mut self, document: usize) -> Vec<Held> {
        if document > FREE { std::mem::take(&mut self.held) } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn room_is_shared_and_given_back() {
        let all = RoomForDocuments::new(4 * STEP, 4 * STEP);
        let (mut one, mut two) = (Room::of(all.clone(), HERE), Room::of(all.clone(), HERE));
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
        drop((one, two));
        assert!(all.held().is_empty());
    }

    #[test]
    fn no_address_holds_more_than_its_part() {
        let all = RoomForDocuments::new(100 * STEP, 4 * STEP);
        let at = |address: &str| Room::of(all.clone(), address.parse().unwrap());
        let (mut one, mut same, mut other) = (at("192.0.2.1"), at("::ffff:192.0.2.1"), at("192.0.2.2"));
        assert!(one.make_for(FREE + 3 * STEP));
        assert!(!same.make_for(FREE + 2 * STEP));
        assert!(same.make_for(FREE + STEP) && other.make_for(FREE + 4 * STEP));
        drop(one);
        assert!(same.make_for(FREE + 4 * STEP));
        let (mut one, mut neighbour, mut elsewhere) = (at("2001:db8::1"), at("2001:db8::2:3:4:5"), at("2001:db8:1::1"));
        assert!(one.make_for(FREE + 4 * STEP));
        assert!(!neighbour.make_for(FREE + STEP) && elsewhere.make_for(FREE + STEP));
    }
}
