//! What a plant was expected to give beside what it gave.
//!
//! Targets are of months, and the days of a month share theirs evenly: they say nothing of
//! clouds, so a single day is far above or below, and nothing of hours. Compared are whole
//! local days that are over and in which anything that produces was to be measured: neither
//! the time before a plant was commissioned counts against it, nor the day that goes on.

use std::iter::successors;

use heliograph_domain::{Bucket, InstalledArray, Location, Step, TimeWindow, Timestamp, YieldTargets, Zone};
use jiff::{ToSpan as _, civil};

use crate::energy::{Completeness, plus};
use crate::ledger::Ledger;

/// What a site was expected to produce, beside what it did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExpectedYield {
    /// Of the whole period, Wh.
    pub whole_wh: f64,
    /// Of the days that are compared, Wh.
    pub due_wh: f64,
    /// What was produced in these days, Wh; `None` where nothing of it is known.
    pub produced_wh: Option<f64>,
    /// How many days that are.
    pub days: u32,
    /// Whether the period has further days, that are not over or of which nothing was to
    /// be measured.
    pub is_part: bool,
    /// How much of the expected time of these days what produces was measured.
    pub known: Completeness,
}

impl ExpectedYield {
    /// What was produced beside what was expected, 1 where it is as much; `None` where no
    /// day can be compared.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let produced_wh = self.produced_wh.filter(|_| self.due_wh > 0.0)?;
        Some(produced_wh / self.due_wh)
    }

    /// Of two sites together.
    #[must_use]
    fn plus(self, other: Self) -> Self {
        Self {
            whole_wh: self.whole_wh + other.whole_wh,
            due_wh: self.due_wh + other.due_wh,
            produced_wh: plus(self.produced_wh, other.produced_wh),
            days: self.days.max(other.days),
            is_part: self.is_part || other.is_part,
            known: self.known.sum(other.known),
        }
    }
}

/// What several sites were expected to produce together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ExpectedOfAll {
    /// Of none of them it is set.
    #[default]
    Unset,
    /// It is set of some of them only, so of all together it is not known.
    Unknown,
    /// So much.
    Known(ExpectedYield),
}

impl ExpectedOfAll {
    /// The sum of sites, where each of them has one.
    pub(crate) fn of(sites: &[Option<ExpectedYield>]) -> Self {
        let known: Vec<ExpectedYield> = sites.iter().flatten().copied().collect();
        match known.len() {
            0 => Self::Unset,
            count if count < sites.len() => Self::Unknown,
            _ => Self::Known(known.into_iter().fold(ExpectedYield::default(), ExpectedYield::plus)),
        }
    }
}

/// The targets of a site, and what stands there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expectation<'a> {
    targets: &'a YieldTargets,
    /// Of its location.
    arrays: &'a [InstalledArray],
    /// What the location says itself, kW.
    kwp: Option<f64>,
    zone: &'a Zone,
}

impl<'a> Expectation<'a> {
    pub(crate) const fn new(targets: &'a YieldTargets, location: &'a Location, arrays: &'a [InstalledArray]) -> Self {
        Self { targets, arrays, kwp: location.installed_kwp, zone: &location.zone }
    }

    /// What is expected of a window of whole local days, Wh; `None` where the targets are
    /// for a peak power and that of the site is not known.
    fn of_window(&self, window: TimeWindow) -> Option<f64> {
        days(window, self.zone).map(|(day, window)| self.of_day(day, window)).sum()
    }

    fn of_day(&self, day: civil::Date, window: TimeWindow) -> Option<f64> {
        Some(self.targets.of_day(day) * 1000.0 * self.scale(window)?)
    }

    /// What stands there beside what the targets are for.
    fn scale(&self, window: TimeWindow) -> Option<f64> {
        let Some(planned) = self.targets.kwp() else { return Some(1.0) };
        if self.arrays.is_empty() {
            return self.kwp.map(|kwp| kwp / planned);
        }
        let standing = |array: &InstalledArray| array.window.intersect(&window).map_or(0.0, |part| array.kwp * length(&part));
        Some(self.arrays.iter().map(standing).sum::<f64>() / length(&window) / planned)
    }

    /// What was expected of a period, beside what the books say.
    pub(crate) fn beside(&self, ledger: &Ledger, period: TimeWindow, now: Timestamp) -> Option<ExpectedYield> {
        let mut expected = ExpectedYield::default();
        for (day, window) in days(period, self.zone) {
            let wh = self.of_day(day, window)?;
            expected.whole_wh += wh;
            let totals = ledger.totals(window);
            if window.end() > now || totals.production.expected_ms == 0 {
                expected.is_part = true;
                continue;
            }
            expected.due_wh += wh;
            expected.produced_wh = plus(expected.produced_wh, totals.produced.map(|energy| energy.watt_hours));
            expected.known = expected.known.sum(totals.production);
            expected.days += 1;
        }
        Some(expected)
    }

    /// What is expected of each bar, Wh; of bars below a day nothing is known.
    pub(crate) fn bars(&self, buckets: &[Bucket], step: Step) -> Vec<Option<f64>> {
        let has_days = matches!(step, Step::Day | Step::Month);
        buckets.iter().map(|bucket| has_days.then(|| self.of_window(bucket.window)).flatten()).collect()
    }
}

/// The local days of a window that begins and ends with one.
fn days(window: TimeWindow, zone: &Zone) -> impl Iterator<Item = (civil::Date, TimeWindow)> {
    let first = zone.civil(window.from).date();
    let all = successors(Some(first), |day| day.checked_add(1.day()).ok());
    all.map(move |day| (day, TimeWindow::between(zone.start_of_day(day), zone.start_of_day(day.saturating_add(1.day())))))
        .take_while(move |(_, day)| day.from < window.end())
}

fn length(window: &TimeWindow) -> f64 {
    window.end().millis_since(window.from) as f64
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{ArrayId, LocationId, Period, PeriodKind};
    use proptest::prelude::*;

    use super::*;

    fn place(zone: &str, kwp: Option<f64>) -> Location {
        let id = LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        Location { id, name: "x".into(), zone: Zone::parse(zone).unwrap(), position: None, installed_kwp: kwp }
    }

    fn array(kwp: f64, from: civil::Date, zone: &Zone) -> InstalledArray {
        let window = TimeWindow { from: zone.start_of_day(from), until: None };
        let id = ArrayId::parse("00000000-0000-7000-8000-000000000002").unwrap();
        InstalledArray { id, location: place("UTC", None).id, kwp, tilt: 30.0, azimuth: 180.0, window }
    }

    fn month() -> Period {
        Period::around(PeriodKind::Month, civil::date(2026, 6, 1))
    }

    #[test]
    fn targets_follow_the_peak_power_that_stands_there() {
        let check = |planned: Option<f64>, installed: Option<f64>, arrays: &[InstalledArray], expected: Option<f64>| {
            let location = place("Europe/Madrid", installed);
            let targets = YieldTargets::new(location.id, [3_000.0; 12], planned).unwrap();
            let got = Expectation::new(&targets, &location, arrays).of_window(month().window(&location.zone));
            assert_eq!(got.map(f64::round), expected, "{planned:?} {installed:?} {arrays:?}");
        };
        let zone = Zone::parse("Europe/Madrid").unwrap();
        check(None, None, &[], Some(3_000_000.0));
        check(Some(20.0), Some(20.0), &[], Some(3_000_000.0));
        check(Some(20.0), Some(10.0), &[], Some(1_500_000.0));
        check(Some(20.0), None, &[], None);
        let first = array(20.0, civil::date(2026, 1, 1), &zone);
        check(Some(20.0), None, std::slice::from_ref(&first), Some(3_000_000.0));
        // The other half came in the middle of the month; before the first one there was nothing.
        check(Some(40.0), None, &[first, array(20.0, civil::date(2026, 6, 16), &zone)], Some(2_250_000.0));
        check(Some(20.0), None, &[array(20.0, civil::date(2026, 7, 1), &zone)], Some(0.0));
    }

    #[test]
    fn of_several_sites_it_is_known_where_each_has_one() {
        let one = |whole_wh: f64, produced_wh: Option<f64>| {
            Some(ExpectedYield { whole_wh, due_wh: whole_wh / 2.0, produced_wh, days: 3, ..ExpectedYield::default() })
        };
        assert_eq!(ExpectedOfAll::of(&[]), ExpectedOfAll::Unset);
        assert_eq!(ExpectedOfAll::of(&[None, None]), ExpectedOfAll::Unset);
        assert_eq!(ExpectedOfAll::of(&[one(2.0, None), None]), ExpectedOfAll::Unknown);
        let ExpectedOfAll::Known(sum) = ExpectedOfAll::of(&[one(20.0, Some(6.0)), one(40.0, Some(12.0))]) else {
            panic!("each has one")
        };
        assert_eq!((sum.whole_wh, sum.due_wh, sum.days, sum.ratio()), (60.0, 30.0, 3, Some(0.6)));
    }

    #[test]
    fn nothing_is_compared_without_a_day_that_is_over() {
        let location = place("UTC", None);
        let targets = YieldTargets::new(location.id, [3_000.0; 12], None).unwrap();
        let window = month().window(&location.zone);
        let expected = Expectation::new(&targets, &location, &[]).beside(&Ledger::none(), window, window.from).unwrap();
        assert_eq!((expected.whole_wh.round(), expected.due_wh, expected.days), (3_000_000.0, 0.0, 0));
        assert_eq!((expected.ratio(), expected.is_part), (None, true));
    }

    proptest! {
        #[test]
        fn bars_add_up_to_the_period_whatever_clocks_do(
            zone in prop_oneof![Just("UTC"), Just("Europe/Madrid"), Just("Asia/Kathmandu"), Just("America/St_Johns"), Just("Africa/Cairo")],
            kwh in proptest::array::uniform12(1.0..2_000.0f64),
            kind in proptest::sample::select(PeriodKind::ALL),
            day in 0..366i64,
            planned in prop_oneof![Just(None), Just(Some(8.0))],
        ) {
            let location = place(zone, Some(10.0));
            let day = civil::date(2026, 1, 1).saturating_add(day.days());
            let period = Period::around(kind, day);
            let Ok(targets) = YieldTargets::new(location.id, kwh, planned) else { return Ok(()) };
            let arrays = [array(3.0, civil::date(2026, 3, 15), &location.zone)];
            let expectation = Expectation::new(&targets, &location, &arrays);
            let whole = expectation.of_window(period.window(&location.zone)).unwrap();
            for step in [Step::Day, Step::Month] {
                let bars = expectation.bars(&period.buckets(&location.zone, step), step);
                let sum: f64 = bars.iter().flatten().sum();
                prop_assert!((sum - whole).abs() < 1e-3, "{step}: {sum} is not {whole}");
            }
            let hours = expectation.bars(&period.buckets(&location.zone, Step::Hour), Step::Hour);
            prop_assert!(hours.iter().all(Option::is_none));
            let beside = expectation.beside(&Ledger::none(), period.window(&location.zone), Timestamp::MAX).unwrap();
            prop_assert!((beside.whole_wh - whole).abs() < 1e-3);
            if planned.is_none() && kind == PeriodKind::Year {
                prop_assert!((whole - targets.of_year() * 1000.0).abs() < 1e-3, "days where clocks change are as good as others");
            }
        }
    }
}
