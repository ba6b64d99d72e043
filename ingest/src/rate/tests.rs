//! Rates, by a clock that the tests move.

use super::*;

fn gateway(number: usize) -> GatewayId {
    GatewayId::parse(&format!("gw-{number}")).unwrap()
}

fn rates() -> Rates {
    Rates { gateway_readings: 100, readings: 0, bytes_a_day: 0, burst: Duration::from_secs(2) }
}

fn pace(rates: Rates, now: Instant) -> Pace {
    Pace::new(rates, 1000, now)
}

fn note(pace: &Pace, who: Who<'_>, readings: usize, bytes: usize, now: Instant) -> Hold {
    pace.note(who, Pushed { readings, bytes, kept: bytes }, now).unwrap()
}

/// Pushes documents of 10 readings and 1,000 bytes as fast as it is let, until
/// an end; answers how many.
fn push(pace: &Pace, number: usize, from: Instant, until: Instant) -> u32 {
    let (mut now, mut documents) = (from, 0);
    while now < until {
        now = note(pace, Who::Gateway(&gateway(number)), 10, 1000, now).read;
        documents += 1;
    }
    documents
}

#[test]
fn a_gateway_ahead_of_its_rate_waits_and_loses_nothing() {
    let now = Instant::now();
    let pace = pace(rates(), now);
    // 2 s in advance and 60 s at 100 readings a second: 620 documents of 10.
    let documents = push(&pace, 1, now, now + Duration::from_mins(1));
    assert!((619..=622).contains(&documents), "{documents}");
    // Another one is not concerned.
    assert_eq!(note(&pace, Who::Gateway(&gateway(2)), 200, 0, now).read, now);
    // After a pause it may push a burst again.
    let later = now + Duration::from_mins(2);
    assert_eq!(note(&pace, Who::Gateway(&gateway(1)), 200, 0, later).read, later);
    let ahead = note(&pace, Who::Gateway(&gateway(1)), 100, 0, later);
    assert_eq!((ahead.turn, ahead.read), (later, later + Duration::from_secs(1)));
    // By another connection its document waits instead.
    assert_eq!(note(&pace, Who::Gateway(&gateway(1)), 1, 0, later).turn, later + Duration::from_secs(1));
    // However much it was, it is paid for some day.
    let hold = note(&pace, Who::Gateway(&gateway(1)), usize::MAX >> 12, 0, later);
    assert_eq!(hold.read, later + FURTHEST);
}

#[test]
fn all_connections_of_a_gateway_are_one_queue() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 10, burst: Duration::from_secs(1), ..rates() }, now);
    for before in 0..100 {
        // What waits is written once what came before it is paid for.
        let hold = note(&pace, Who::Gateway(&gateway(1)), 1000, 0, now);
        let turn = Duration::from_secs(100 * before).saturating_sub(Duration::from_secs(1));
        assert_eq!((hold.turn, hold.place.is_some()), (now + turn, before > 0));
        assert_eq!(hold.read, now + Duration::from_secs(100 * (before + 1) - 1));
        std::mem::forget(hold.place);
    }
    assert_eq!(note(&pace, Who::Gateway(&gateway(2)), 10, 0, now).turn, now);
}

#[test]
fn where_too_much_of_a_gateway_waits_nothing_more_of_it_is_taken_or_counts() {
    let now = Instant::now();
    let pace = pace(rates(), now);
    let push = || pace.note(Who::Gateway(&gateway(1)), Pushed { readings: 1000, bytes: 0, kept: 0 }, now);
    let waiting: Vec<Hold> = std::iter::from_fn(push).take(10_000).collect();
    assert!(waiting.len() > 100 && waiting.len() < 1000, "{}", waiting.len());
    assert!(push().is_none());
    let last = waiting.last().unwrap().read;
    assert_eq!(note(&pace, Who::Gateway(&gateway(2)), 10, 0, now).turn, now);
    drop(waiting);
    assert_eq!(push().unwrap().turn, last);
}

#[test]
fn without_a_rate_nobody_waits() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 0, ..rates() }, now);
    for _ in 0..1000 {
        assert_eq!(note(&pace, Who::Gateway(&gateway(1)), usize::MAX >> 12, 0, now).read, now);
    }
}

#[test]
fn where_all_are_ahead_only_those_wait_who_take_more_than_their_share() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
    // Nine take 50 readings a second each, one takes what it gets.
    let (mut noisy, mut taken) = (now, 0);
    for tick in 0..600 {
        let at = now + Duration::from_millis(tick * 100);
        for quiet in 1..10 {
            assert_eq!(note(&pace, Who::Gateway(&gateway(quiet)), 5, 0, at).read, at, "gateway {quiet} waits at {tick}");
        }
        while noisy <= at {
            noisy = note(&pace, Who::Gateway(&gateway(0)), 10, 0, at).read;
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
    let pace = pace(Rates { gateway_readings: 0, bytes_a_day: day, ..rates() }, now);
    let documents = push(&pace, 1, now, now + Duration::from_hours(1));
    // A day's worth at 1,000 bytes a document, and 1,000 bytes a second for an hour.
    assert!((89_990..=90_010).contains(&documents), "{documents}");
}

#[test]
fn bytes_beyond_a_days_worth_are_paid_for_in_full() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 0, bytes_a_day: 100_000, ..rates() }, now);
    let hold = note(&pace, Who::Gateway(&gateway(1)), 1, 4_000_000, now);
    assert_eq!((hold.turn, hold.read), (now, now + 39 * DAY));
    assert_eq!(note(&pace, Who::Gateway(&gateway(1)), 1, 100, now + DAY).turn, now + 39 * DAY);
}

/// Whoever makes ids up has one share of what all may push, and the others keep theirs.
#[test]
fn made_up_ids_at_an_address_are_one_pusher() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
    let stranger = IpAddr::from([192, 0, 2, 7]);
    let (mut noisy, mut taken) = (now, 0);
    for tick in 0..600 {
        let at = now + Duration::from_millis(tick * 100);
        // Nine gateways take 90 of 1,000 readings a second each.
        for quiet in 1..10 {
            assert_eq!(note(&pace, Who::Gateway(&gateway(quiet)), 9, 0, at).read, at, "gateway {quiet} waits at {tick}");
        }
        while noisy <= at {
            // Whatever it calls itself, it is one connection after the other.
            noisy = note(&pace, Who::Stranger(stranger), 10, 0, at).read;
            taken += 10;
        }
    }
    assert!((10_000..=190 * 60 + 2100).contains(&taken), "{taken}");
    assert_eq!(pace.state.lock().unwrap().strangers.len(), 1);
}

#[test]
fn however_many_strangers_there_are_half_of_the_shares_stay_with_the_gateways() {
    let now = Instant::now();
    let pace = pace(Rates { gateway_readings: 0, readings: 1000, ..rates() }, now);
    let stranger = |number: u32| Who::Stranger(IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes()));
    for tick in 0..100 {
        let at = now + Duration::from_millis(tick * 100);
        for number in 0..500 {
            note(&pace, stranger(number), 10, 0, at);
        }
        // Two gateways take 240 of 1,000 a second each.
        for quiet in 1..3 {
            assert_eq!(note(&pace, Who::Gateway(&gateway(quiet)), 24, 0, at).read, at, "gateway {quiet} waits at {tick}");
        }
    }
    let shares = pace.state.lock().unwrap().active;
    let all = 500.0 * shares.share(stranger(1)) + 2.0 * shares.share(Who::Gateway(&gateway(1)));
    assert!((all - 1.0).abs() < 1e-9, "{shares:?}");
}

#[test]
fn strangers_are_bounded_and_those_beyond_count_as_one() {
    let now = Instant::now();
    let pace = pace(rates(), now);
    let stranger = |number: u32| Who::Stranger(IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes()));
    for number in 0..3 * STRANGERS as u32 {
        note(&pace, stranger(number), 1, 0, now);
    }
    assert_eq!(pace.state.lock().unwrap().strangers.len(), STRANGERS + 1);
    // Two of those that are not remembered have one rate: 100 a second, 2 s at once.
    let [one, other] = [2 * STRANGERS as u32, 2 * STRANGERS as u32 + 1].map(stranger);
    assert!(note(&pace, one, 400, 0, now).read > now);
    assert!(note(&pace, other, 1, 0, now).turn > now);
    // One that is remembered is not concerned, nor is a gateway.
    assert_eq!(note(&pace, stranger(1), 1, 0, now).read, now);
    assert_eq!(note(&pace, Who::Gateway(&gateway(1)), 1, 0, now).read, now);
    let later = now + 10 * ACTIVE;
    note(&pace, one, 1, 0, later);
    assert_eq!(pace.state.lock().unwrap().strangers.len(), 1);
}

#[test]
fn gateways_that_are_gone_are_forgotten() {
    let now = Instant::now();
    let pace = pace(rates(), now);
    for number in 0..GATEWAYS + 10 {
        note(&pace, Who::Gateway(&gateway(number)), 1, 0, now);
    }
    let later = now + 2 * ACTIVE;
    note(&pace, Who::Gateway(&gateway(GATEWAYS + 11)), 1, 0, later);
    assert_eq!(pace.state.lock().unwrap().gateways.len(), 1);
}
