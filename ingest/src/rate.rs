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

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use heliograph_domain::GatewayId;
use tokio::time::Instant;

/// Gateways remembered at once; beyond it those that are not ahead are forgotten.
const GATEWAYS: usize = 20_000;
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
    readings: Cell,
    bytes: Cell,
    /// Gateways that pushed of late, and when they were counted.
    active: (usize, Instant),
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
    fn is_idle(&self, now: Instant) -> bool {
        let cells = [self.own, self.shares[0], self.shares[1]];
        now.duration_since(self.seen) > ACTIVE && cells.iter().all(|cell| cell.0 <= now)
    }
}

impl Pace {
    pub(crate) fn new(rates: Rates, now: Instant) -> Self {
        let state = State { gateways: HashMap::new(), readings: Cell(now), bytes: Cell(now), active: (1, now) };
        Self { rates, state: Mutex::new(state) }
    }

    /// Notes what a gateway has pushed; answers for how long it has to wait.
    pub(crate) fn note(&self, gateway: &GatewayId, readings: usize, bytes: usize, now: Instant) -> Hold {
        let Rates { gateway_readings, readings: all_readings, bytes_a_day, burst } = self.rates;
        if gateway_readings == 0 && all_readings == 0 && bytes_a_day == 0 {
            return Hold { answer: now, read: now };
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { gateways, readings: all, bytes: volume, active } = &mut *state;
        if now.duration_since(active.1) >= COUNT {
            if gateways.len() >= GATEWAYS {
                gateways.retain(|_, pusher| !pusher.is_idle(now));
            }
            let count = gateways.values().filter(|pusher| now.duration_since(pusher.seen) <= ACTIVE).count();
            *active = (count.max(1), now);
        }
        let sharers = active.0 as f64;
        let new = || Pusher { seen: now, own: Cell(now), shares: [Cell(now); 2] };
        if !gateways.contains_key(gateway) {
            gateways.insert(gateway.clone(), new());
            active.0 += 1;
        }
        let Some(pusher) = gateways.get_mut(gateway) else { return Hold { answer: now, read: now } };
        pusher.seen = now;
        let before = [pusher.own.is_due(burst, now), all.is_due(burst, now).min(pusher.shares[0].is_due(burst, now))];
        let before_today = volume.is_due(DAY, now).min(pusher.shares[1].is_due(DAY, now));
        // A document without readings costs something too.
        let (readings, bytes) = (readings.max(1) as u64, bytes as u64);
        let own = pusher.own.take(readings, f64::from(gateway_readings), burst, now);
        let rate = f64::from(all_readings);
        let together = all.take(readings, rate, burst, now);
        let share = pusher.shares[0].take(readings, rate / sharers, burst, now);
        let rate = bytes_a_day as f64 / DAY.as_secs_f64();
        let day = volume.take(bytes, rate, DAY, now);
        let share_of_day = pusher.shares[1].take(bytes, rate / sharers, DAY, now);
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
            now = pace.note(&gateway(number), 10, 1000, now).read;
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
        assert_eq!(pace.note(&gateway(2), 200, 0, now).read, now);
        // After a pause it may push a burst again.
        let later = now + Duration::from_mins(2);
        assert_eq!(pace.note(&gateway(1), 200, 0, later).read, later);
        let ahead = pace.note(&gateway(1), 100, 0, later);
        assert_eq!((ahead.answer, ahead.read), (later, later + Duration::from_secs(1)));
        // By another connection it waits for its answer instead.
        assert_eq!(pace.note(&gateway(1), 1, 0, later).answer, later + Duration::from_secs(1));
        // However much it was, it is heard of again within a minute.
        let hold = pace.note(&gateway(1), usize::MAX >> 12, 0, later);
        assert_eq!(hold.read, later + LONGEST);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let now = Instant::now();
        let pace = Pace::new(Rates { gateway_readings: 0, ..rates() }, now);
        for _ in 0..1000 {
            assert_eq!(pace.note(&gateway(1), usize::MAX >> 12, 0, now).read, now);
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
                assert_eq!(pace.note(&gateway(quiet), 5, 0, at).read, at, "gateway {quiet} waits at {tick}");
            }
            while noisy <= at {
                noisy = pace.note(&gateway(0), 10, 0, at).read;
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

    #[test]
    fn gateways_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let pace = Pace::new(rates(), now);
        for number in 0..GATEWAYS + 10 {
            pace.note(&gateway(number), 1, 0, now);
        }
        let later = now + 2 * ACTIVE;
        pace.note(&gateway(GATEWAYS + 11), 1, 0, later);
        assert_eq!(pace.state.lock().unwrap().gateways.len(), 1);
    }
}
