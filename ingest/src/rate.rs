//! How fast gateways may push: readings a second of each, readings a second and
//! bytes a day of all.
//!
//! Nothing is dropped: who is ahead of its rate is read again only once it is not. What
//! came by another connection meanwhile waits unwritten for its turn, so that all the
//! connections of a gateway are one queue. What may wait is bounded (`turn.rs`).
//! Each rate is a generic cell rate algorithm (ITU-T I.371): what was taken moves a
//! clock ahead of the real one, and the lead may be as long as the burst before anybody
//! waits. Where all together are ahead, only those wait who are ahead of an equal share
//! as well, so that what one gateway pushes costs the others nothing.
//!
//! Anybody can make up ids where unknown gateways are adopted. So a stranger is an
//! address, whatever it calls itself: it has one rate and one share, and all strangers
//! together have no more shares than the gateways that have proved themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use heliograph_domain::{GatewayId, block_of};
use tokio::time::Instant;

use crate::turn::{Place, Places, Waiting};

/// Gateways remembered at once; beyond it those that are not ahead are forgotten. More
/// than this are remembered only where more have proved themselves.
const GATEWAYS: usize = 20_000;
/// Addresses of strangers remembered at once; beyond it those that are not ahead are
/// forgotten, and where all are ahead, further ones count as one.
const STRANGERS: usize = 4_096;
/// Where strangers beyond that are counted: nobody pushes from it.
const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// A gateway that has pushed within this time has a share of what all may push.
const ACTIVE: Duration = Duration::from_mins(1);
/// How often the active ones are counted.
const COUNT: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// How far a clock may run ahead beyond its burst; whatever was pushed is paid for after
/// this.
const FURTHEST: Duration = Duration::from_hours(24 * 365);

/// What gateways may push. None of it is a limit on what is stored in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Readings a second of one gateway; 0: any.
    pub gateway_readings: u32,
    /// Readings a second of all gateways of the provider; 0: any.
    pub readings: u32,
    /// Bytes of documents a day of all gateways of the provider; 0: any. A day's
    /// worth may come at once, and is given back evenly over a day.
    pub bytes_a_day: u64,
    /// For how long gateways may push without a rate, as it were: what comes at
    /// once may be this long at the rate.
    pub burst: Duration,
}

impl Default for Rates {
    fn default() -> Self {
        Self { gateway_readings: 20_000, readings: 0, bytes_a_day: 0, burst: Duration::from_secs(10) }
    }
}

/// Who pushes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who<'a> {
    /// A gateway that has proved itself.
    Gateway(&'a GatewayId),
    /// Somebody at an address, by whatever name.
    Stranger(IpAddr),
}

/// What somebody has pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed {
    pub(crate) readings: usize,
    /// Of the document.
    pub(crate) bytes: usize,
    /// What it takes of memory while it waits.
    pub(crate) kept: usize,
}

/// How long a gateway has to wait.
pub(crate) struct Hold {
    /// For its document to be written: it was ahead before that came, so that many
    /// connections, or a new one for each document, are of no use.
    pub(crate) turn: Instant,
    /// For its connection to be read on.
    pub(crate) read: Instant,
    /// The place of a document that waits for that, or for those before it.
    pub(crate) place: Option<Box<Place>>,
}

impl Hold {
    /// Nobody waits.
    pub(crate) const fn none(now: Instant) -> Self {
        Self { turn: now, read: now, place: None }
    }
}

/// A clock that runs ahead with what is taken.
#[derive(Debug, Clone, Copy)]
struct Cell(Instant);

impl Cell {
    /// Takes so much at a rate a second; answers when the lead is within the burst
    /// again. A rate of 0 is any.
    fn take(&mut self, amount: u64, rate: f64, burst: Duration, now: Instant) -> Instant {
        if rate <= 0.0 {
            return now;
        }
        let most = burst + FURTHEST;
        let cost = Duration::from_secs_f64((amount as f64 / rate).min(most.as_secs_f64()));
        self.0 = (self.0.max(now) + cost).min(now + most);
        self.is_due(burst, now)
    }

    /// When the lead is within the burst.
    fn is_due(self, burst: Duration, now: Instant) -> Instant {
        self.0.checked_sub(burst).map_or(now, |due| due.max(now))
    }
}

/// The rates of a server, and how far ahead of them everybody is.
#[derive(Debug)]
pub(crate) struct Pace {
    rates: Rates,
    /// Of gateways that have proved themselves.
    places: Places,
    /// Of strangers: however many addresses they have, they take none of the others'.
    of_strangers: Places,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gateways: HashMap<GatewayId, Pusher>,
    strangers: HashMap<IpAddr, Pusher>,
    readings: Cell,
    bytes: Cell,
    /// Gateways and strangers that pushed of late, and when they were counted.
    active: Active,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    gateways: usize,
    strangers: usize,
    counted: Instant,
}

impl Active {
    /// The part of what all may push that is one pusher's.
    fn share(self, who: Who<'_>) -> f64 {
        let (gateways, strangers) = (self.gateways.max(1) as f64, self.strangers as f64);
        // As many shares as there are strangers, and no more than gateways have.
        let theirs = strangers.min(gateways);
        match who {
            Who::Gateway(_) => 1.0 / (gateways + theirs),
            // Without any gateway all of it is theirs.
            Who::Stranger(_) if self.gateways == 0 => 1.0 / strangers.max(1.0),
            Who::Stranger(_) => theirs / strangers.max(1.0) / (gateways + theirs),
        }
    }
}

#[derive(Debug)]
struct Pusher {
    seen: Instant,
    /// Beside its own rate.
    own: Cell,
    /// Beside an equal share of what all may push: readings, bytes.
    shares: [Cell; 2],
    /// Those of its documents that wait, once one does.
    waiting: Option<Waiting>,
}

impl Pusher {
    fn new(now: Instant) -> Self {
        Self { seen: now, own: Cell(now), shares: [Cell(now); 2], waiting: None }
    }

    fn is_active(&self, now: Instant) -> bool {
        now.duration_since(self.seen) <= ACTIVE
    }

    fn is_idle(&self, now: Instant) -> bool {
        let cells = [self.own, self.shares[0], self.shares[1]];
        !self.is_active(now) && cells.iter().all(|cell| cell.0 <= now)
    }
}

impl State {
    /// Counts who pushed of late, and forgets others where there are many.
    fn count(&mut self, now: Instant) {
        if now.duration_since(self.active.counted) < COUNT {
            return;
        }
        let gateways = count(&mut self.gateways, GATEWAYS, now);
        let strangers = count(&mut self.strangers, STRANGERS, now);
        self.active = Active { gateways, strangers, counted: now };
    }

    /// Where whoever pushes is remembered.
    fn place_of(&self, address: IpAddr) -> IpAddr {
        let block = block_of(address);
        if self.strangers.len() >= STRANGERS && !self.strangers.contains_key(&block) { CROWD } else { block }
    }

    /// Remembers whoever pushes.
    fn remember(&mut self, who: Who<'_>, now: Instant) {
        match who {
            // Almost always there: the id is copied for a new one only.
            Who::Gateway(gateway) if self.gateways.contains_key(gateway) => {}
            Who::Gateway(gateway) => {
                self.gateways.insert(gateway.clone(), Pusher::new(now));
                self.active.gateways += 1;
            }
            Who::Stranger(place) if self.strangers.contains_key(&place) => {}
            Who::Stranger(place) => {
                self.strangers.insert(place, Pusher::new(now));
                self.active.strangers += 1;
            }
        }
    }
}

/// Counts those that pushed of late; where there are as many as may be remembered,
/// those that are of no account are forgotten.
fn count<K: Eq + Hash>(pushers: &mut HashMap<K, Pusher>, most: usize, now: Instant) -> usize {
    if pushers.len() >= most {
        pushers.retain(|_, pusher| !pusher.is_idle(now));
    }
    pushers.values().filter(|pusher| pusher.is_active(now)).count()
}

impl Pace {
    /// With so many places for documents that wait for their turn, half of them for those of
    /// strangers.
    pub(crate) fn new(rates: Rates, places: usize, now: Instant) -> Self {
        let active = Active { gateways: 0, strangers: 0, counted: now };
        let (gateways, strangers) = (HashMap::new(), HashMap::new());
        let state = State { gateways, strangers, readings: Cell(now), bytes: Cell(now), active };
        Self { rates, places: Places::new(places / 2), of_strangers: Places::new(places / 2), state: Mutex::new(state) }
    }

    /// Notes what somebody has pushed; answers for how long they have to wait. `None`
    /// where too much waits already: then nothing of it counts, and it cannot be taken.
    pub(crate) fn note(&self, who: Who<'_>, pushed: Pushed, now: Instant) -> Option<Hold> {
        let Rates { gateway_readings, readings: all_readings, bytes_a_day, burst } = self.rates;
        if gateway_readings == 0 && all_readings == 0 && bytes_a_day == 0 {
            return Some(Hold::none(now));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count(now);
        let who = match who {
            Who::Stranger(address) => Who::Stranger(state.place_of(address)),
            gateway @ Who::Gateway(_) => gateway,
        };
        state.remember(who, now);
        let part = state.active.share(who);
        let State { gateways, strangers, readings: all, bytes: volume, .. } = &mut *state;
        let pusher = match who {
            Who::Gateway(gateway) => gateways.get_mut(gateway),
            Who::Stranger(place) => strangers.get_mut(&place),
        };
        let Some(pusher) = pusher else { return Some(Hold::none(now)) };
        pusher.seen = now;
        let before = [pusher.own.is_due(burst, now), all.is_due(burst, now).min(pusher.shares[0].is_due(burst, now))];
        let before_today = volume.is_due(DAY, now).min(pusher.shares[1].is_due(DAY, now));
        let turn = before.into_iter().fold(before_today, Instant::max);
        let places = if matches!(who, Who::Gateway(_)) { &self.places } else { &self.of_strangers };
        let waits = turn > now || pusher.waiting.as_ref().is_some_and(Waiting::is_any);
        let place = if waits { Some(Box::new(places.take(&mut pusher.waiting, pushed.kept)?)) } else { None };
        // A document without readings costs something too.
        let (readings, bytes) = (pushed.readings.max(1) as u64, pushed.bytes as u64);
        let own = pusher.own.take(readings, f64::from(gateway_readings), burst, now);
        let rate = f64::from(all_readings);
        let together = all.take(readings, rate, burst, now);
        let share = pusher.shares[0].take(readings, rate * part, burst, now);
        let rate = bytes_a_day as f64 / DAY.as_secs_f64();
        let day = volume.take(bytes, rate, DAY, now);
        let share_of_day = pusher.shares[1].take(bytes, rate * part, DAY, now);
        let read = own.max(together.min(share)).max(day.min(share_of_day));
        Some(Hold { turn, read, place })
    }
}

#[cfg(test)]
mod tests;
