//! How fast gateways may push: readings a second of each, readings a second and
//! bytes a day of all.
//!
//! Nothing is dropped: who is ahead of its rate is read again only once it is not, or
//! after a minute: a device that waits for longer takes its connection for dead and
//! opens another one.
//! Each rate is a generic cell rate algorithm (ITU-T I.371): what was taken moves a
//! clock ahead of the real one, and the lead may be as long as the burst. Where all
//! together are ahead, only those wait who are ahead of an equal share as well, so
//! that what one gateway pushes costs the others nothing.
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
/// The longest that anybody waits.
const LONGEST: Duration = Duration::from_mins(1);

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

/// How long a gateway has to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    /// For the answer to its document: it was ahead before that came, so that a new
    /// connection for each document is of no use.
    pub(crate) answer: Instant,
    /// Until its connection is read on.
    pub(crate) read: Instant,
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
        let most = burst + LONGEST;
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
}

impl Pusher {
    fn new(now: Instant) -> Self {
        Self { seen: now, own: Cell(now), shares: [Cell(now); 2] }
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
    pub(crate) fn new(rates: Rates, now: Instant) -> Self {
        let active = Active { gateways: 0, strangers: 0, counted: now };
        let (gateways, strangers) = (HashMap::new(), HashMap::new());
        let state = State { gateways, strangers, readings: Cell(now), bytes: Cell(now), active };
        Self { rates, state: Mutex::new(state) }
    }

    /// Notes what somebody has pushed; answers for how long they have to wait.
    pub(crate) fn note(&self, who: Who<'_>, readings: usize, bytes: usize, now: Instant) -> Hold {
        let Rates { gateway_readings, readings: all_readings, bytes_a_day, burst } = self.rates;
        if gateway_readings == 0 && all_readings == 0 && bytes_a_day == 0 {
            return Hold { answer: now, read: now };
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
        let Some(pusher) = pusher else { return Hold { answer: now, read: now } };
        pusher.seen = now;
        let before = [pusher.own.is_due(burst, now), all.is_due(burst, now).min(pusher.shares[0].is_due(burst, now))];
        let before_today = volume.is_due(DAY, now).min(pusher.shares[1].is_due(DAY, now));
        // A document without readings costs something too.
        let (readings, bytes) = (readings.max(1) as u64, bytes as u64);
        let own = pusher.own.take(readings, f64::from(gateway_readings), burst, now);
        let rate = f64::from(all_readings);
        let together = all.take(readings, rate, burst, now);
        let share = pusher.shares[0].take(readings, rate * part, burst, now);
        let rate = bytes_a_day as f64 / DAY.as_secs_f64();
        let day = volume.take(bytes, rate, DAY, now);
        let share_of_day = pusher.shares[1].take(bytes, rate * part, DAY, now);
        Hold {
            answer: before.into_iter().fold(before_today, Instant::max),
            read: own.max(together.min(share)).max(day.min(share_of_day)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(number: usize) -> GatewayId {
        GatewayId::parse(&format!("gw-{number}")).unwrap()
    }

    fn rates() -> Rates {
        Rates { gateway_readings: 100, readings: 0, bytes_a_day: 0, burst: Duration::from_secs(2) }
    }

    /// Pushes documents of 10 readings and 1,000 bytes as fast as it is let, until
    /// an end; answers how many.
    fn push(pace: &Pace, number: usize, from: Instant, until: Instant) -> u32 {
        let (mut now, mut documents) = (from, 0);
        while now < until {
            now = pace.note(Who::Gateway(&gateway(number)), 10, 1000, now).read;
            documents += 1;
        }
        documents
    }

    #[test]
    fn a_gateway_ahead_of_its_rate_waits_and_loses_nothing() {
        let now = Instant::now();
        let pace = Pace::new(rates(), now);
        // 2 s in advance and 60 s at 100 readings a second: 620 documents of 10.
        let documents = push(&pace, 1, now, now + Duration::from_mins(1));
        assert!((619..=622).contains(&documents), "{documents}");
        // Another one is not concerned.
        assert_eq!(pace.note(Who::Gateway(&gateway(2)), 200, 0, now).read, now);
        // After a pause it may push a burst again.
        let later = now + Duration::from_mins(2);
        assert_eq!(pace.note(Who::Gateway(&gateway(1)), 200, 0, later).read, later);
        let ahead = pace.note(Who::Gateway(&gateway(1)), 100, 0, later);
        assert_eq!((ahead.answer, ahead.read), (later, later + Duration::from_secs(1)));
        // By another connection it waits for its answer instead.
        assert_eq!(pace.note(Who::Gateway(&gateway(1)), 1, 0, later).answer, later + Duration::from_secs(1));
        // However much it was, it is heard of again within a minute.
        let hold = pace.note(Who::Gateway(&gateway(1)), usize::MAX >> 12, 0, later);
        assert_eq!(hold.read, later + LONGEST);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let now = Instant::now();
        let pace = Pace::new(Rates { gateway_readings: 0, ..rates() }, now);
        for _ in 0..1000 {
            assert_eq!(pace.note(Who::Gateway(&gateway(1)), usize::MAX >> 12, 0, now).read, now);
        }
    }

    #[test]
    fn where_all_are_ahead_only_those_wait_who_take_more_than_their_share() {
        let now = Instant::now();
        let pace = Pace::new(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
        // Nine take 50 readings a second each, one takes what it gets.
        let (mut noisy, mut taken) = (now, 0);
        for tick in 0..600 {
            let at = now + Duration::from_millis(tick * 100);
            for quiet in 1..10 {
                assert_eq!(pace.note(Who::Gateway(&gateway(quiet)), 5, 0, at).read, at, "gateway {quiet} waits at {tick}");
            }
            while noisy <= at {
                noisy = pace.note(Who::Gateway(&gateway(0)), 10, 0, at).read;
                taken += 10;
            }
        }
        // 450 of 1,000 a second go to the others: what they leave is the noisy one's,
        // with what may come at once.
        assert!((30_000..=550 * 60 + 2100).contains(&taken), "{taken}");
    }

    #[test]
    fn a_days_bytes_may_come_at_once_and_then_evenly() {
        let now = Instant::now();
        let day = 86_400_000;
        let pace = Pace::new(Rates { gateway_readings: 0, bytes_a_day: day, ..rates() }, now);
        let documents = push(&pace, 1, now, now + Duration::from_hours(1));
        // A day's worth at 1,000 bytes a document, and 1,000 bytes a second for an hour.
        assert!((89_990..=90_010).contains(&documents), "{documents}");
    }

    /// Whoever makes ids up has one share of what all may push, and the others keep theirs.
    #[test]
    fn made_up_ids_at_an_address_are_one_pusher() {
        let now = Instant::now();
        let pace = Pace::new(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
        let stranger = IpAddr::from([192, 0, 2, 7]);
        let (mut noisy, mut taken) = (now, 0);
        for tick in 0..600 {
            let at = now + Duration::from_millis(tick * 100);
            // Nine gateways take 90 of 1,000 readings a second each.
            for quiet in 1..10 {
                assert_eq!(pace.note(Who::Gateway(&gateway(quiet)), 9, 0, at).read, at, "gateway {quiet} waits at {tick}");
            }
            while noisy <= at {
                // Whatever it calls itself, it is one connection after the other.
                noisy = pace.note(Who::Stranger(stranger), 10, 0, at).read;
                taken += 10;
            }
        }
        assert!((10_000..=190 * 60 + 2100).contains(&taken), "{taken}");
        assert_eq!(pace.state.lock().unwrap().strangers.len(), 1);
    }

    #[test]
    fn however_many_strangers_there_are_half_of_the_shares_stay_with_the_gateways() {
        let now = Instant::now();
        let pace = Pace::new(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
        let stranger = |number: u32| Who::Stranger(IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes()));
        for tick in 0..100 {
            let at = now + Duration::from_millis(tick * 100);
            for number in 0..500 {
                pace.note(stranger(number), 10, 0, at);
            }
            // Two gateways take 240 of 1,000 a second each.
            for quiet in 1..3 {
                assert_eq!(pace.note(Who::Gateway(&gateway(quiet)), 24, 0, at).read, at, "gateway {quiet} waits at {tick}");
            }
        }
        let shares = pace.state.lock().unwrap().active;
        let all = 500.0 * shares.share(stranger(1)) + 2.0 * shares.share(Who::Gateway(&gateway(1)));
        assert!((all - 1.0).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn strangers_are_bounded_and_those_beyond_count_as_one() {
        let now = Instant::now();
        let pace = Pace::new(rates(), now);
        let stranger = |number: u32| Who::Stranger(IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes()));
        for number in 0..3 * STRANGERS as u32 {
            pace.note(stranger(number), 1, 0, now);
        }
        assert_eq!(pace.state.lock().unwrap().strangers.len(), STRANGERS + 1);
        // Two of those that are not remembered have one rate: 100 a second, 2 s at once.
        let [one, other] = [2 * STRANGERS as u32, 2 * STRANGERS as u32 + 1].map(stranger);
        assert!(pace.note(one, 400, 0, now).read > now);
        assert!(pace.note(other, 1, 0, now).answer > now);
        // One that is remembered is not concerned, nor is a gateway.
        assert_eq!(pace.note(stranger(1), 1, 0, now).read, now);
        assert_eq!(pace.note(Who::Gateway(&gateway(1)), 1, 0, now).read, now);
        let later = now + 10 * ACTIVE;
        pace.note(one, 1, 0, later);
        assert_eq!(pace.state.lock().unwrap().strangers.len(), 1);
    }

    #[test]
    fn gateways_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let pace = Pace::new(rates(), now);
        for number in 0..GATEWAYS + 10 {
            pace.note(Who::Gateway(&gateway(number)), 1, 0, now);
        }
        let later = now + 2 * ACTIVE;
        pace.note(Who::Gateway(&gateway(GATEWAYS + 11)), 1, 0, later);
        assert_eq!(pace.state.lock().unwrap().gateways.len(), 1);
    }
}
