//! The same period a year before, and whether enough is known of it to compare with.

use heliograph_domain::{Period, PeriodKind, TimeWindow, Timestamp, Zone};
use jiff::ToSpan as _;

use crate::energy::{Completeness, Figures};
use crate::ledger::{Ledger, Totals};
use crate::site::{Terms, part_to_date};

/// What was produced in the same period a year before; of one that still runs, in as much
/// of it.
#[derive(Debug, Clone, PartialEq)]
pub struct YearBefore {
    /// The period.
    pub period: Period,
    /// Whether the figures are of a part of it.
    pub to_date: bool,
    /// Its figures.
    pub figures: Figures,
    /// How much of the expected time what produces was measured then.
    pub known: Completeness,
    /// And how much in the period of the report.
    pub known_now: Completeness,
    /// What production changed since (0.1: a tenth more); `None` where too little is known
    /// of either time.
    pub change: Option<f64>,
}

impl YearBefore {
    /// Below this part of what was expected, too little is known to compare with.
    pub const ENOUGH: f64 = 0.9;

    /// `None` where nothing at all is known of it.
    pub(crate) fn of(
        this: &Totals,
        window: TimeWindow,
        earlier: &Earlier,
        ledger: &Ledger,
        terms: &Terms,
        now: Timestamp,
    ) -> Option<Self> {
        let part = part_to_date(window, earlier.window, now);
        let asked = part.unwrap_or(earlier.window);
        let totals = ledger.totals(asked);
        if !totals.is_known() {
            return None;
        }
        Some(Self {
            period: earlier.period,
            to_date: part.is_some(),
            figures: terms.figures(ledger, asked, &earlier.zone),
            known: totals.production,
            known_now: this.production,
            change: change(this, &totals),
        })
    }
}

/// The time of the same period a year before.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    pub(crate) period: Period,
    pub(crate) window: TimeWindow,
    zone: Zone,
}

impl Earlier {
    /// `None` of a year.
    pub(crate) fn of(period: &Period, zone: &Zone) -> Option<Self> {
        let period = year_before(period)?;
        Some(Self { window: period.window(zone), period, zone: zone.clone() })
    }
}

/// The same period a year before: the same dates, of a week the same days of the week. A
/// year has none, because that is the period before.
fn year_before(period: &Period) -> Option<Period> {
    let back = period.first().saturating_sub(1.year());
    match period.kind() {
        PeriodKind::Year => None,
        PeriodKind::Week => Some(Period::around(PeriodKind::Week, period.first().saturating_sub(52.weeks()))),
        PeriodKind::Range => Period::range(back, period.last().saturating_sub(1.year())).ok(),
        kind => Some(Period::around(kind, back)),
    }
}

/// A year apart the sun is the same, so it is compared wherever nearly all is known of
/// as much time: of what produces, whatever is known of other sensors.
fn change(this: &Totals, before: &Totals) -> Option<f64> {
    let is_known = |totals: &Totals| totals.production.ratio().is_some_and(|known| known >= YearBefore::ENOUGH);
    let as_long = before.production.expected_ms * 10 >= this.production.expected_ms * 9;
    let (now, then) = (this.produced?.watt_hours, before.produced?.watt_hours);
    (is_known(this) && is_known(before) && as_long && then > 0.0).then(|| now / then - 1.0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};

    use super::*;
    use crate::energy::{Energy, EnergySource};

    #[test]
    fn a_year_before_is_the_same_time_of_the_year() {
        let check = |period: Period, expected: Option<(Date, Date)>| {
            let before = year_before(&period).map(|before| (before.first(), before.last()));
            assert_eq!(before, expected, "{period:?}");
        };
        let around = |kind, day| Period::around(kind, day);
        check(around(PeriodKind::Day, date(2028, 2, 29)), Some((date(2027, 2, 28), date(2027, 2, 28))));
        check(around(PeriodKind::Week, date(2026, 6, 18)), Some((date(2025, 6, 16), date(2025, 6, 22))));
        check(around(PeriodKind::Month, date(2025, 2, 1)), Some((date(2024, 2, 1), date(2024, 2, 29))));
        check(around(PeriodKind::Year, date(2026, 2, 1)), None);
        let range = Period::range(date(2026, 3, 3), date(2026, 4, 5)).unwrap();
        check(range, Some((date(2025, 3, 3), date(2025, 4, 5))));
    }

    fn totals(kwh: f64, expected: u64, covered: u64) -> Totals {
        let energy = Energy { watt_hours: kwh * 1000.0, source: EnergySource::Counter, estimated: false, flagged: false };
        let production = Completeness { expected_ms: expected, covered_ms: covered };
        Totals { produced: Some(energy), production, ..Totals::default() }
    }

    #[test]
    fn what_is_known_of_a_part_only_is_not_compared() {
        let this = totals(90.0, 100, 100);
        assert_eq!(change(&this, &totals(100.0, 100, 95)).map(|change| (change * 100.0).round()), Some(-10.0));
        assert_eq!(change(&this, &totals(100.0, 100, 89)), None, "much was not measured");
        assert_eq!(change(&this, &totals(100.0, 80, 80)), None, "it began later");
        assert_eq!(change(&this, &totals(0.0, 100, 100)), None);
        assert_eq!(change(&totals(90.0, 100, 50), &totals(100.0, 100, 100)), None, "much of this time was not measured");
        // A grid meter that is there all the time, or silent, tells nothing of production.
        let silent = Completeness { expected_ms: 100, covered_ms: 0 };
        let other = Totals { completeness: silent, ..totals(100.0, 100, 95) };
        assert_eq!(change(&this, &other).map(|change| (change * 100.0).round()), Some(-10.0));
        let all = Completeness { expected_ms: 1000, covered_ms: 990 };
        assert_eq!(change(&this, &Totals { completeness: all, ..totals(100.0, 100, 80) }), None);
    }
}
