//! How much CO2 a kilowatt hour avoids, and when.

use std::fmt;

use jiff::civil;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::tariff::{Tariff, Words};
use crate::text::ParseError;

const FACTORS: Words = Words { all: "CO₂ factors", one: "factor", usual: "0.38" };

/// Kilograms of CO2 that a produced kWh avoids: lines as those of a [`Tariff`], of which
/// the last one that holds counts. None is below zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Co2Factors(Tariff);

impl Co2Factors {
    /// Parses factors, one a line; empty lines are passed over.
    ///
    /// # Errors
    /// When a line is no factor; the message names it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let factors = Tariff::parse_as(text, FACTORS)?;
        if factors.prices().any(|factor| factor < Decimal::ZERO) {
            return Err(ParseError::new(FACTORS.all, "must not be below zero"));
        }
        Ok(Self(factors))
    }

    /// The same at all times.
    #[must_use]
    pub fn always(factor: Decimal) -> Self {
        Self(Tariff::always(factor))
    }

    /// Whether nothing is said at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one factor that holds at all times, where there is no other.
    #[must_use]
    pub fn constant(&self) -> Option<Decimal> {
        self.0.constant()
    }

    /// That of the first line.
    #[must_use]
    pub fn first(&self) -> Option<Decimal> {
        self.0.prices().next()
    }

    /// The factor in the quarter of an hour that begins at a local time; `None` where no
    /// line holds.
    #[must_use]
    pub fn factor(&self, at: civil::DateTime) -> Option<Decimal> {
        self.0.price(at)
    }
}

impl fmt::Display for Co2Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Co2Factors {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Co2Factors> for String {
    fn from(factors: Co2Factors) -> Self {
        factors.to_string()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn factors_are_lines_of_which_the_last_one_that_holds_counts() {
        let factors = Co2Factors::parse("0.38\n0,35 from 2027-01-01\n").unwrap();
        let at = |year: i16, month: i8, day: i8| factors.factor(date(year, month, day).at(0, 0, 0, 0)).unwrap().to_string();
        assert_eq!((at(2026, 12, 31).as_str(), at(2027, 1, 1).as_str()), ("0.38", "0.35"));
        assert_eq!((factors.constant(), factors.first()), (None, Some(Decimal::new(38, 2))));
        assert_eq!(factors.to_string(), "0.38\n0.35 from 2027-01-01");
        assert_eq!(Co2Factors::parse("0.38").unwrap().constant(), Some(Decimal::new(38, 2)));
        assert_eq!(Co2Factors::parse("0.38 from 2027-01-01").unwrap().constant(), None);
    }

    #[test]
    fn what_is_no_factor_is_named_with_its_line() {
        for (text, problem) in [
            ("much", "line 1 begins with no factor such as 0.38"),
            ("0.38\n1001", "line 2 has a factor beyond 1000"),
            ("0.38\n-0.1 from 2027-01-01", "CO₂ factors must not be below zero"),
            ("0.38 summer", "line 1 has \"summer\""),
        ] {
            let error = Co2Factors::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{text:?}: {error}");
        }
    }
}
