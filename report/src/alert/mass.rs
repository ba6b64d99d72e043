//! Gateways that fell silent together: a line, a provider of mobile data or a server is
//! gone, not each of them.

use std::collections::HashSet;

use heliograph_domain::{GatewayId, Reachability, Timestamp};

/// So many have to fall silent together, and half of those that were heard until then.
const LEAST: usize = 5;
/// It is over when fewer are silent, or fewer than this part of those that it was raised
/// for.
const FEW: usize = 3;
const STILL: usize = 4;
/// Who is silent for so much longer than is allowed was silent long before, ms.
const LONG_MS: i64 = 86_400_000;
/// What happens within this time happens together, ms.
const TOGETHER_MS: i64 = 5 * 60_000;
/// A gateway is overdue after twice its usual pause and this long, ms: before a single
/// one counts as silent.
const OVERDUE_MS: i64 = 15 * 60_000;

/// For how long a gateway has been silent.
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    pub(super) gateway: GatewayId,
    pub(super) heard: Timestamp,
    /// Its usual longest pause, ms.
    pub(super) usual_ms: Option<i64>,
    /// For how long it could have been heard and was not, ms.
    pub(super) quiet_ms: i64,
    /// After which it counts as silent, ms.
    pub(super) allowed_ms: i64,
    /// Whether people were told that it is silent.
    pub(super) is_told: bool,
}

impl Quiet {
    fn usual_ms(&self) -> i64 {
        self.usual_ms.unwrap_or(Reachability::LATE_AFTER_MS)
    }

    /// Of one without a rhythm nobody knows earlier than that it is silent.
    pub(super) fn is_overdue(&self) -> bool {
        let by_rhythm = self.usual_ms.map(|usual| usual.saturating_mul(2).saturating_add(OVERDUE_MS));
        self.quiet_ms >= by_rhythm.map_or(self.allowed_ms, |by_rhythm| by_rhythm.min(self.allowed_ms))
    }

    /// Whether it fell silent of late, so that it may have done so with others.
    fn is_news(&self) -> bool {
        self.is_overdue() && !self.is_told && self.quiet_ms < self.allowed_ms.saturating_add(LONG_MS)
    }

    /// By when it had fallen silent, at the latest: it was going to be heard by then.
    fn fell_by(&self) -> Timestamp {
        self.heard.plus_millis(self.usual_ms().saturating_add(TOGETHER_MS))
    }
}

/// Many that fell silent together.
#[derive(Debug, Clone)]
pub(super) struct Mass {
    pub(super) members: HashSet<GatewayId>,
    /// Of how many that had been heard until then.
    pub(super) of: usize,
    /// When.
    pub(super) at: Timestamp,
    /// Whether it is so, or over.
    pub(super) is_many: bool,
}

/// An alert about many that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenMass {
    /// When they fell silent.
    pub(super) at: Timestamp,
    /// How many, when it was raised.
    pub(super) silent: usize,
}

/// The instant at which most fell silent of those at which these are many.
pub(super) fn fell_together(all: &[Quiet]) -> Option<Mass> {
    let falling: Vec<&Quiet> = all.iter().filter(|one| one.is_news()).collect();
    let (overdue, reached): (Vec<&Quiet>, Vec<&Quiet>) = all.iter().partition(|one| one.is_overdue());
    let mut heard: Vec<Timestamp> = overdue.iter().map(|one| one.heard).collect();
    heard.sort_unstable();
    let heard_after = |at: Timestamp| heard.len() - heard.partition_point(|heard| *heard <= at);
    // Most are in their time between two documents at an instant at which one begins.
    let mut ends: Vec<(Timestamp, bool)> = falling.iter().flat_map(|one| [(one.heard, false), (one.fell_by(), true)]).collect();
    // At the same instant one begins before another ends.
    ends.sort_unstable();
    let (mut running, mut best) = (0_usize, None::<(usize, usize, Timestamp)>);
    for (at, is_end) in ends {
        if is_end {
            running = running.saturating_sub(1);
            continue;
        }
        running += 1;
        let of = running + reached.len() + heard_after(at);
        let is_many = running >= LEAST && running * 2 >= of;
        if is_many && best.is_none_or(|(most, ..)| running >= most) {
            best = Some((running, of, at));
        }
    }
    let (_, of, at) = best?;
    let is_in_it = |one: &&&Quiet| one.heard <= at && at <= one.fell_by();
    let members = falling.iter().filter(is_in_it).map(|one| one.gateway.clone()).collect();
    Some(Mass { members, of, at, is_many: true })
}

/// Who has been silent since an alert about many was raised, and has not been heard again:
/// those that it was raised for, and those that fell silent while it was open.
pub(super) fn still_silent(all: &[Quiet], open: OpenMass) -> Mass {
    let members: HashSet<GatewayId> =
        all.iter().filter(|one| one.is_overdue() && one.fell_by() >= open.at).map(|one| one.gateway.clone()).collect();
    let is_many = members.len() >= FEW && members.len() * STILL >= open.silent;
    Mass { of: all.len(), at: open.at, is_many, members }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(minute * 60_000)
    }

    /// Gateways by the minute at which they were heard last and their usual pause, at
    /// minute 1,000.
    fn check(gateways: &[(i64, i64)], expected: Option<(usize, usize)>) {
        let quiet = |(number, (heard, usual)): (usize, &(i64, i64))| Quiet {
            gateway: GatewayId::parse(&format!("gw-{number}")).unwrap(),
            heard: minute(*heard),
            usual_ms: Some(usual * 60_000),
            quiet_ms: (1_000 - heard) * 60_000,
            allowed_ms: (2 * usual + 60) * 60_000,
            is_told: false,
        };
        let all: Vec<Quiet> = gateways.iter().enumerate().map(quiet).collect();
        let got = fell_together(&all).map(|mass| (mass.members.len(), mass.of));
        assert_eq!(got, expected, "{gateways:?}");
    }

    #[test]
    fn many_are_five_and_half_of_those_that_were_heard() {
        check(&[], None);
        check(&[(900, 5); 4], None);
        check(&[(900, 5); 5], Some((5, 5)));
        check(&[[(900, 5); 5], [(999, 5); 5]].concat(), Some((5, 10)));
        check(&[&[(900, 5); 5][..], &[(999, 5); 6]].concat(), None);
        // Those that had been silent for long before do not count.
        check(&[&[(900, 5); 5][..], &[(10, 5), (200, 5), (300, 5)]].concat(), Some((5, 5)));
    }

    #[test]
    fn one_after_the_other_is_not_together() {
        check(&[(900, 5), (880, 5), (860, 5), (840, 5), (820, 5), (800, 5)], None);
        check(&[(900, 5), (898, 5), (896, 5), (895, 5), (892, 5)], Some((5, 5)));
        // Each hour: they may all have been going to be heard by minute 865.
        check(&[(840, 60), (830, 60), (820, 60), (810, 60), (800, 60), (999, 1)], Some((5, 6)));
    }

    #[test]
    fn the_instant_at_which_most_fell_silent_hides_no_other_one() {
        // Seven were not half of fifteen, and are gone when five of eight fall silent.
        check(&[&[(700, 5); 7][..], &[(900, 5); 5], &[(999, 5); 3]].concat(), Some((5, 8)));
    }

    #[test]
    fn who_was_silent_long_before_or_was_told_of_does_not_count() {
        check(&[(-500, 5); 5], Some((5, 5)));
        check(&[(-511, 5); 5], None);
        let quiet = |number: usize| Quiet {
            gateway: GatewayId::parse(&format!("gw-{number}")).unwrap(),
            heard: minute(900),
            usual_ms: Some(300_000),
            quiet_ms: 6_000_000,
            allowed_ms: 4_200_000,
            is_told: number == 0,
        };
        let five = |from: usize| (from..from + 5).map(quiet).collect::<Vec<_>>();
        assert!(fell_together(&five(0)).is_none());
        assert!(fell_together(&five(1)).is_some());
    }

    #[test]
    fn without_a_rhythm_nobody_is_overdue_before_six_hours() {
        let hours = |hours: i64| Quiet {
            gateway: GatewayId::parse("gw").unwrap(),
            heard: minute(0),
            usual_ms: None,
            quiet_ms: hours * 3_600_000,
            allowed_ms: Reachability::SILENT_AFTER_MS,
            is_told: false,
        };
        assert_eq!([1, 5, 6].map(|span| hours(span).is_overdue()), [false, false, true]);
    }

    #[test]
    fn who_is_not_overdue_is_not_silent() {
        check(&[(985, 5); 9], None);
        check(&[(975, 5); 9], Some((9, 9)));
    }
}
