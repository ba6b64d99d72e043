//! What of a gateway needs somebody.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use heliograph_domain::{ClockEstimate, ClockShape, LocationId, Reachability};

use super::GatewayLine;

/// What of a gateway in use needs somebody, the worst first. One that is late has
/// none of it: it may come back by itself, and else is silent before long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// It has not been heard for long.
    Silent,
    /// Its clock is wrong, and what it measures stands at wrong times.
    Clock,
    /// It gave far less for each kW of its peak power than its neighbours.
    LowYield,
    /// Much of today is missing.
    Incomplete,
    /// It was commissioned and never heard.
    Never,
}

impl Need {
    /// All of them, the worst first.
    pub const ALL: [Self; 5] = [Self::Silent, Self::Clock, Self::LowYield, Self::Incomplete, Self::Never];
    /// Below this part of what its neighbours gave a gateway gave far less.
    pub const LOW_YIELD: f64 = 0.5;
    /// Before its neighbours gave as much for each kW, kWh, a gateway may lie in shadow
    /// or to the west.
    pub const ENOUGH_YIELD: f64 = 0.5;
    /// So many gateways have a median that says something, all or those of a location.
    pub const NEIGHBOURS: usize = 3;
    /// Much is missing where of one sensor no less than this is, in milliseconds: more
    /// than an inverter may sleep after sunrise and before sunset together.
    pub const MISSING_MS: u64 = 2 * 3_600_000;
    /// And no less than one part in so many of what was expected of it.
    pub const MISSING_PART: u64 = 4;
}

/// Says of each gateway what it needs; answers the median of what they gave today for
/// each kW of peak power.
pub(super) fn judge(lines: &mut [GatewayLine]) -> Option<f64> {
    let mut all = Vec::new();
    let mut here: BTreeMap<LocationId, Vec<f64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.is_commissioned()) {
        let Some(given) = line.yield_today.filter(|given| given.is_finite()) else { continue };
        all.push(given);
        if let Some(location) = line.location.as_ref().filter(|_| is_whole(line)) {
            here.entry(location.id).or_default().push(given);
        }
    }
    let medians: BTreeMap<LocationId, f64> = here
        .into_iter()
        .filter(|(_, given)| given.len() >= Need::NEIGHBOURS)
        .filter_map(|(location, given)| Some((location, median(given)?)))
        .filter(|(_, median)| *median >= Need::ENOUGH_YIELD)
        .collect();
    for line in lines.iter_mut().filter(|line| line.is_commissioned()) {
        let median = line.location.as_ref().and_then(|location| medians.get(&location.id));
        line.yield_share = line.yield_today.zip(median).filter(|_| line.since_midnight).map(|(given, median)| given / median);
        line.need = need(line);
    }
    if all.len() < Need::NEIGHBOURS { None } else { median(all) }
}

/// Whether what it gave today is all that it could give.
fn is_whole(line: &GatewayLine) -> bool {
    line.since_midnight && !line.lacks_much && line.reachability == Reachability::Online
}

/// What explains the rest comes first.
fn need(line: &GatewayLine) -> Option<Need> {
    match line.reachability {
        Reachability::Never => return Some(Need::Never),
        Reachability::Silent => return Some(Need::Silent),
        Reachability::Online | Reachability::Late => {}
    }
    if line.clock.as_ref().is_some_and(is_surely_wrong) {
        return Some(Need::Clock);
    }
    if line.reachability == Reachability::Late {
        return None;
    }
    if line.lacks_much {
        return Some(Need::Incomplete);
    }
    line.yield_share.filter(|share| *share < Need::LOW_YIELD).map(|_| Need::LowYield)
}

/// A clock that is behind by nothing in particular looks like a gateway that sends late.
pub(crate) fn is_surely_wrong(clock: &ClockEstimate) -> bool {
    clock.ahead_ms > 0 || clock.shape != ClockShape::Odd
}

/// The lower one of the two in the middle of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// The gateways of each need, the worst first.
pub(super) fn sorted(lines: &[GatewayLine]) -> Vec<(Need, Vec<&GatewayLine>)> {
    let of = |need: Need| {
        let mut these: Vec<&GatewayLine> = lines.iter().filter(|line| line.need == Some(need)).collect();
        these.sort_by(|a, b| worse(need, a, b));
        (need, these)
    };
    Need::ALL.into_iter().map(of).filter(|(_, these)| !these.is_empty()).collect()
}

/// Those that are as bad stay in the order of their names.
fn worse(need: Need, a: &GatewayLine, b: &GatewayLine) -> Ordering {
    let wrong_by = |line: &GatewayLine| line.clock.as_ref().map_or(0, |clock| clock.ahead_ms.unsigned_abs());
    let measured = |line: &GatewayLine| line.completeness.ratio().unwrap_or(1.0);
    let share = |line: &GatewayLine| line.yield_share.unwrap_or(1.0);
    match need {
        Need::Silent => a.last_seen.cmp(&b.last_seen),
        Need::Clock => wrong_by(b).cmp(&wrong_by(a)),
        Need::LowYield => share(a).total_cmp(&share(b)),
        Need::Incomplete => measured(a).total_cmp(&measured(b)),
        Need::Never => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{ClockSample, ClockSamples, ClockState, GatewayId, GatewayState, Timestamp, Zone};

    use super::*;
    use crate::energy::Completeness;
    use crate::site::LocationRef;

    fn line(name: &str, given: f64) -> GatewayLine {
        let id = LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        GatewayLine {
            id: GatewayId::parse(name).unwrap(),
            name: name.to_owned(),
            state: GatewayState::Commissioned,
            location: Some(LocationRef { id, name: "Roof".to_owned() }),
            reachability: Reachability::Online,
            last_seen: Some(Timestamp::clamped(0)),
            power_now_w: None,
            energy_today_wh: None,
            yield_today: Some(given),
            yield_share: None,
            since_midnight: true,
            completeness: measured(10, 10),
            lacks_much: false,
            today_w: Vec::new(),
            clock: None,
            need: None,
        }
    }

    /// Hours that were measured, of hours that were expected.
    fn measured(covered: u64, expected: u64) -> Completeness {
        Completeness { covered_ms: covered * 3_600_000, expected_ms: expected * 3_600_000 }
    }

    fn wrong_clock(ahead_ms: i64) -> GatewayLine {
        let mut samples = ClockSamples::default();
        samples.add((0..10).map(|minute| ClockSample { received: Timestamp::clamped(minute * 60_000), lag_ms: -ahead_ms }));
        let ClockState::Known(estimate) = samples.judge(&Zone::utc()) else { unreachable!("ten samples agree") };
        GatewayLine { clock: Some(estimate), ..line("clock", 4.0) }
    }

    fn check(mut lines: Vec<GatewayLine>, expected: &[(&str, Option<Need>)]) {
        judge(&mut lines);
        let got: Vec<(&str, Option<Need>)> = lines.iter().map(|line| (line.name.as_str(), line.need)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn far_less_than_its_neighbours_is_told_of_three_and_of_enough_light() {
        let these = |given: [f64; 3]| vec![line("a", given[0]), line("b", given[1]), line("c", given[2])];
        check(these([4.0, 4.4, 1.9]), &[("a", None), ("b", None), ("c", Some(Need::LowYield))]);
        check(these([4.0, 4.4, 2.1]), &[("a", None), ("b", None), ("c", None)]);
        // Too early in the day to say.
        check(these([0.4, 0.44, 0.0]), &[("a", None), ("b", None), ("c", None)]);
        // Of two nobody knows which one is wrong.
        check(vec![line("a", 4.0), line("b", 0.1)], &[("a", None), ("b", None)]);
        // Elsewhere the sky is another one.
        let elsewhere = GatewayLine { location: None, ..line("d", 0.1) };
        check([these([4.0, 4.4, 4.1]), vec![elsewhere]].concat(), &[("a", None), ("b", None), ("c", None), ("d", None)]);
    }

    #[test]
    fn what_gave_less_because_it_was_not_there_all_day_is_no_neighbour() {
        let begun = |given| GatewayLine { since_midnight: false, ..line("begun", given) };
        let these = |last| vec![line("a", 4.0), line("b", 4.4), line("c", 4.2), last];
        check(these(begun(1.5)), &[("a", None), ("b", None), ("c", None), ("begun", None)]);
        // Nor does it hide those that give less than they could.
        let silent = || GatewayLine { reachability: Reachability::Silent, ..line("silent", 0.1) };
        let mut lines = vec![line("a", 4.0), line("b", 4.4), line("c", 1.9), silent(), silent(), silent()];
        judge(&mut lines);
        assert_eq!(lines.iter().filter(|line| line.need == Some(Need::LowYield)).count(), 1);
    }

    #[test]
    fn a_clock_that_may_be_a_late_sender_needs_nobody() {
        assert_eq!(wrong_clock(-15 * 60_000).clock.unwrap().shape, ClockShape::Odd);
        check(vec![wrong_clock(-15 * 60_000)], &[("clock", None)]);
        check(vec![wrong_clock(15 * 60_000)], &[("clock", Some(Need::Clock))]);
        check(vec![wrong_clock(-3_600_000)], &[("clock", Some(Need::Clock))]);
    }

    #[test]
    fn what_explains_the_rest_is_what_is_told() {
        let silent = GatewayLine { reachability: Reachability::Silent, completeness: measured(1, 10), ..line("silent", 0.1) };
        let late = GatewayLine { reachability: Reachability::Late, completeness: measured(1, 10), ..line("late", 0.1) };
        let gaps = GatewayLine { completeness: measured(8, 10), lacks_much: true, ..line("gaps", 0.1) };
        let short = GatewayLine { completeness: Completeness { expected_ms: 1000, covered_ms: 0 }, ..line("short", 4.0) };
        let never = GatewayLine { reachability: Reachability::Never, last_seen: None, yield_today: None, ..line("never", 0.0) };
        let retired = GatewayLine { state: GatewayState::Retired, reachability: Reachability::Silent, ..line("retired", 0.0) };
        let fine = || line("fine", 4.0);
        check(
            vec![silent, late, gaps, short, never, retired, wrong_clock(3_600_000), fine(), fine()],
            &[
                ("silent", Some(Need::Silent)),
                ("late", None),
                ("gaps", Some(Need::Incomplete)),
                ("short", None),
                ("never", Some(Need::Never)),
                ("retired", None),
                ("clock", Some(Need::Clock)),
                ("fine", None),
                ("fine", None),
            ],
        );
    }

    #[test]
    fn the_worst_comes_first() {
        let silent = |name: &str, seen: i64| GatewayLine {
            reachability: Reachability::Silent,
            last_seen: Some(Timestamp::clamped(seen)),
            ..line(name, 4.0)
        };
        let gaps =
            |name: &str, hours: u64| GatewayLine { completeness: measured(hours, 10), lacks_much: true, ..line(name, 4.0) };
        let mut lines = vec![gaps("half", 5), gaps("most", 8), wrong_clock(60 * 60_000), wrong_clock(-9 * 3_600_000)];
        lines.extend([silent("young", 9), silent("old", 1), line("low", 0.1), line("lower", 0.0)]);
        lines.extend([line("fine", 4.0), line("fine", 4.0)]);
        judge(&mut lines);
        let told: Vec<(Need, Vec<&str>)> = sorted(&lines)
            .into_iter()
            .map(|(need, these)| (need, these.iter().map(|line| line.name.as_str()).collect()))
            .collect();
        assert_eq!(
            told,
            [
                (Need::Silent, vec!["old", "young"]),
                (Need::Clock, vec!["clock", "clock"]),
                (Need::LowYield, vec!["lower", "low"]),
                (Need::Incomplete, vec!["half", "most"]),
            ]
        );
        let clocks: Vec<i64> =
            sorted(&lines)[1].1.iter().filter_map(|line| Some(line.clock.as_ref()?.ahead_ms / 3_600_000)).collect();
        assert_eq!(clocks, [-9, 1]);
    }

    #[test]
    fn of_an_even_number_the_median_is_the_lower_one() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0]), Some(1.0));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }
}
