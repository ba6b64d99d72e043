//! How many may look at once: each stream holds a connection for minutes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use heliograph_domain::UserId;

/// Streams of one person: fewer than the connections of a browser, which needs some for
/// other pages.
const EACH: usize = 4;

/// Who looks.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Streams of all together.
    most: usize,
    seats: Mutex<HashMap<UserId, usize>>,
}

/// The right to one stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: Arc<Inner>,
    user: UserId,
}

impl Crowd {
    /// A crowd that leaves most of the connections to others.
    pub(crate) fn new(max_connections: usize) -> Self {
        Self { inner: Arc::new(Inner { most: (max_connections / 4).max(1), seats: Mutex::default() }) }
    }

    /// A seat for somebody; `None` where there is none.
    pub(crate) fn seat(&self, user: UserId) -> Option<Seat> {
        let mut seats = self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, own) = (seats.values().sum::<usize>(), seats.get(&user).copied().unwrap_or(0));
        if taken >= self.inner.most || own >= EACH {
            return None;
        }
        seats.insert(user, own + 1);
        Some(Seat { inner: Arc::clone(&self.inner), user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = seats.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                seats.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    #[test]
    fn nobody_takes_the_seats_of_others_and_each_comes_back() {
        let crowd = Crowd::new(8 * EACH);
        let mut own: Vec<_> = (0..EACH).map(|_| crowd.seat(user(1)).unwrap()).collect();
        assert!(crowd.seat(user(1)).is_none());
        let others: Vec<_> = (0..EACH).map(|_| crowd.seat(user(2)).unwrap()).collect();
        assert!(crowd.seat(user(3)).is_none(), "all are taken");
        own.pop();
        let seat = crowd.seat(user(3)).unwrap();
        drop((own, others, seat));
        assert!(crowd.inner.seats.lock().unwrap().is_empty());
    }
}
