//! How many connections each address has, so that none takes them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::login::network;

/// What each address may have at least, since whole offices share one.
const LEAST: usize = 16;

/// Counts connections by address. It knows no more addresses than there are
/// connections.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    seated: Mutex<HashMap<u64, usize>>,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    network: u64,
}

impl Crowd {
    /// A quarter of all connections for each address.
    pub(super) fn new(max_connections: usize) -> Arc<Self> {
        Arc::new(Self { most: (max_connections / 4).max(LEAST), seated: Mutex::default() })
    }

    /// Counts one more, if its address may have it.
    pub(super) fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let network = network(address);
        let mut seated = self.seated.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seated.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(seated);
        Some(Seat { crowd: Arc::clone(self), network })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seated = self.crowd.seated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = seated.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                seated.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_quarter_of_all_seats_and_gets_them_back() {
        let crowd = Crowd::new(80);
        let [one, other] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        let mut seats: Vec<Seat> = (0..20).map(|_| crowd.seat(one).unwrap()).collect();
        assert!(crowd.seat(one).is_none());
        let elsewhere = crowd.seat(other).unwrap();
        seats.pop();
        seats.push(crowd.seat(one).unwrap());
        assert!(crowd.seat(one).is_none());
        drop((seats, elsewhere));
        assert!(crowd.seated.lock().unwrap().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn however_few_connections_there_are_an_address_may_have_sixteen() {
        let crowd = Crowd::new(20);
        let address = IpAddr::from([192, 0, 2, 1]);
        let seats: Vec<Seat> = (0..16).map(|_| crowd.seat(address).unwrap()).collect();
        assert!(crowd.seat(address).is_none());
        drop(seats);
    }
}
