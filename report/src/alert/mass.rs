//! Gateways that fell silent together: a line, a provider of mobile data or a server is
//! gone, not each of them.

use std::collections::HashSet;

use heliograph_domain::{GatewayId, Reachability, Timestamp};

/// So many have to fall silent together, and half of those that were heard until then.
const LEAST: usize = 5;
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
}

impl Quiet {
    fn usual_ms(&self) -> i64 {
        self.usual_ms.unwrap_or(Reachability::LATE_AFTER_MS)
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.quiet_ms >= self.allowed_ms.min(self.usual_ms().saturating_mul(2).saturating_add(OVERDUE_MS))
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
}

/// The instant at which most fell silent, if these are many.
pub(super) fn fell_together(all: &[Quiet]) -> Option<Mass> {
    let overdue: Vec<&Quiet> = all.iter().filter(|one| one.is_overdue()).collect();
    // Most are in their time between two documents at an instant at which one begins.
    let at_once = |at: Timestamp| overdue.iter().filter(|one| one.heard <= at && at <= one.fell_by()).count();
    let mut ends: Vec<(Timestamp, bool)> = overdue.iter().flat_map(|one| [(one.heard, false), (one.fell_by(), true)]).collect();
    // At the same instant one begins before another ends.
    ends.sort_unstable();
    let (mut running, mut most, mut at) = (0_usize, 0, None);
    for (time, is_end) in ends {
        if is_end {
            running = running.saturating_sub(1);
        } else {
            running += 1;
            if running >= most {
                (most, at) = (running, Some(time));
            }
        }
    }
    let at = at.filter(|at| at_once(*at) >= LEAST)?;
    let members: HashSet<GatewayId> =
        overdue.iter().filter(|one| one.heard <= at && at <= one.fell_by()).map(|one| one.gateway.clone()).collect();
    let later = all.iter().filter(|one| one.heard >= at && !members.contains(&one.gateway)).count();
    let of = members.len() + later;
    (members.len() * 2 >= of).then_some(Mass { members, of, at })
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
    fn who_is_not_overdue_is_not_silent() {
        check(&[(985, 5); 9], None);
        check(&[(975, 5); 9], Some((9, 9)));
    }
}
