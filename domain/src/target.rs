//! What a site is expected to give in each month of a year.

use jiff::civil;
use serde::{Deserialize, Serialize};

use crate::id::LocationId;
use crate::text::ParseError;

/// The energy that a location is expected to produce, month by month, as the sheet of its
/// planner has it. The days of a month share it evenly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct YieldTargets {
    location: LocationId,
    /// kWh of January to December.
    kwh: [f64; 12],
    /// The peak power that they are for, kW.
    kwp: Option<f64>,
}

#[derive(Deserialize)]
struct Unchecked {
    location: LocationId,
    kwh: [f64; 12],
    #[serde(default)]
    kwp: Option<f64>,
}

impl YieldTargets {
    /// What a plant gives in a year for each kW of peak power, kWh: from the far north to
    /// trackers in a desert. What is beyond is in another unit, or for another plant.
    pub const USUAL_KWH_PER_KWP: std::ops::RangeInclusive<f64> = 100.0..=3_000.0;
    /// More than the largest plant there is gives in a month, kWh.
    pub const MOST_KWH: f64 = 50e9;
    /// The largest plant there is has a few GW, kW.
    const MOST_KWP: f64 = 100e6;

    /// From the energies of January to December in kWh, and the peak power in kW that they
    /// are for: where another one stands at a time, they are scaled by it. Without one they
    /// hold whatever stands there.
    ///
    /// # Errors
    /// When a month is below zero, all of them are zero, or a year gives less or more for
    /// each kW than any plant does.
    pub fn new(location: LocationId, kwh: [f64; 12], kwp: Option<f64>) -> Result<Self, ParseError> {
        let bad = |problem: String| Err(ParseError::new("expected yield", problem));
        if !kwh.iter().all(|month| (0.0..=Self::MOST_KWH).contains(month)) {
            return bad("has a month below zero or beyond what any plant gives".to_owned());
        }
        let targets = Self { location, kwh, kwp };
        if targets.of_year() <= 0.0 {
            return bad("is zero in every month".to_owned());
        }
        let Some(kwp) = kwp else { return Ok(targets) };
        if !(kwp > 0.0 && kwp <= Self::MOST_KWP) {
            return bad("needs a peak power above 0 kW".to_owned());
        }
        let each = targets.of_year() / kwp;
        if Self::USUAL_KWH_PER_KWP.contains(&each) {
            return Ok(targets);
        }
        let (least, most) = (Self::USUAL_KWH_PER_KWP.start(), Self::USUAL_KWH_PER_KWP.end());
        bad(format!(
            "comes to {} kWh a year for each kWp, and plants give {least} to {most}: look at the unit (1 MWh is 1000 kWh) \
             and at the peak power",
            round(each)
        ))
    }

    /// Whose they are.
    #[must_use]
    pub const fn location(&self) -> LocationId {
        self.location
    }

    /// kWh of January to December.
    #[must_use]
    pub const fn months(&self) -> &[f64; 12] {
        &self.kwh
    }

    /// The peak power that they are for, kW; `None`: whatever stands there.
    #[must_use]
    pub const fn kwp(&self) -> Option<f64> {
        self.kwp
    }

    /// kWh of a whole year.
    #[must_use]
    pub fn of_year(&self) -> f64 {
        self.kwh.iter().sum()
    }

    /// kWh of a day, whatever its length: an even share of its month.
    #[must_use]
    pub fn of_day(&self, day: civil::Date) -> f64 {
        let month = usize::try_from(day.month() - 1).ok().and_then(|month| self.kwh.get(month));
        month.map_or(0.0, |kwh| kwh / f64::from(day.days_in_month()))
    }
}

impl TryFrom<Unchecked> for YieldTargets {
    type Error = ParseError;
    fn try_from(read: Unchecked) -> Result<Self, ParseError> {
        Self::new(read.location, read.kwh, read.kwp)
    }
}

/// To three digits that say something.
fn round(number: f64) -> f64 {
    if number >= 10.0 { number.round() } else { (number * 100.0).round() / 100.0 }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn place() -> LocationId {
        LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap()
    }

    fn days(first: civil::Date, after: civil::Date) -> impl Iterator<Item = civil::Date> {
        first.series(1.day()).take_while(move |day| *day < after)
    }

    #[test]
    fn what_no_plant_gives_is_refused() {
        let year = |month: f64, kwp: Option<f64>| YieldTargets::new(place(), [month; 12], kwp).map_err(|error| error.to_string());
        assert!(year(1_500.0, Some(20.0)).is_ok());
        assert!(year(1_500.0, None).is_ok(), "of what stands there nothing is known");
        for (month, kwp, problem) in [
            (1.5, Some(20.0), "comes to 0.9 kWh a year for each kWp, and plants give 100 to 3000"),
            (1_500.0, Some(2.0), "comes to 9000 kWh a year"),
            (-1.0, None, "has a month below zero"),
            (f64::NAN, None, "has a month below zero"),
            (f64::INFINITY, None, "has a month below zero or beyond"),
            (0.0, None, "is zero in every month"),
            (1_500.0, Some(0.0), "needs a peak power above 0 kW"),
            (1_500.0, Some(f64::NAN), "needs a peak power above 0 kW"),
        ] {
            let error = year(month, kwp).unwrap_err();
            assert!(error.contains(problem), "{month} {kwp:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn days_add_up_to_their_month_and_months_to_the_year(kwh in proptest::array::uniform12(0.0..2_000.0f64), year in 2020i16..2032) {
            prop_assume!(kwh.iter().sum::<f64>() > 0.0);
            let targets = YieldTargets::new(place(), kwh, None).unwrap();
            let sum = |first: civil::Date, after: civil::Date| days(first, after).map(|day| targets.of_day(day)).sum::<f64>();
            for (month, kwh) in (1i8..).zip(kwh) {
                let first = date(year, month, 1);
                prop_assert!((sum(first, first.saturating_add(1.month())) - kwh).abs() < 1e-6, "{first}");
            }
            prop_assert!((sum(date(year, 1, 1), date(year + 1, 1, 1)) - targets.of_year()).abs() < 1e-6);
        }

        #[test]
        fn parts_of_a_month_add_up_to_it(kwh in 1.0..2_000.0f64, cut in 1i8..=28, month in 1i8..=12) {
            let targets = YieldTargets::new(place(), [kwh; 12], None).unwrap();
            let (first, middle) = (date(2028, month, 1), date(2028, month, cut));
            let sum = |first: civil::Date, after: civil::Date| days(first, after).map(|day| targets.of_day(day)).sum::<f64>();
            let parts = sum(first, middle) + sum(middle, first.saturating_add(1.month()));
            prop_assert!((parts - kwh).abs() < 1e-6);
        }
    }
}
