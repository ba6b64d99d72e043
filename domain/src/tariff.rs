//! What a kilowatt hour costs or earns, and when.
//!
//! A [`Tariff`] is a list of rates as people write them, one a line; of those that hold
//! at a local time the last one counts. So the first line is what a kilowatt hour
//! usually costs, and the lines below say when it costs something else:
//!
//! ```text
//! 0.31
//! 0.24 22:00-06:00
//! 0.27 from 2026-01-01
//! 0.35 from 2026-01-01 to 2026-12-31 months 6-9 days mon-fri 08:00-20:00
//! ```

use std::fmt;

use jiff::civil;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::text::ParseError;

/// Rates by local time, at most [`Tariff::MOST_RATES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tariff(Vec<Rate>);

/// One line of a tariff.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rate {
    price: Decimal,
    /// The first day on which it holds.
    from: Option<civil::Date>,
    /// The last one.
    to: Option<civil::Date>,
    /// A bit for each month, January the lowest; of all months: all.
    months: Ring,
    /// A bit for each day of the week, Monday the lowest.
    days: Ring,
    /// From a minute of the day up to another one, which may lie on the next day.
    hours: Option<(u16, u16)>,
}

/// What lines and their numbers are called where they are refused.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) all: &'static str,
    pub(crate) one: &'static str,
    /// One that is shown.
    pub(crate) usual: &'static str,
}

const PRICES: Words = Words { all: "tariff", one: "price", usual: "0.31" };

/// Some of the members of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ring {
    bits: u16,
    len: u8,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES: u16 = 24 * 60;
/// Prices are looked up by the quarter of an hour.
const STEP_MINUTES: u16 = 15;

impl Tariff {
    /// More than any tariff has.
    pub const MOST_RATES: usize = 64;

    /// Parses rates, one a line; empty lines are passed over.
    ///
    /// # Errors
    /// When a line is no rate; the message names it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_as(text, PRICES)
    }

    /// The same of what is called otherwise.
    pub(crate) fn parse_as(text: &str, words: Words) -> Result<Self, ParseError> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty());
        let rates: Vec<Rate> = lines
            .map(|(number, line)| {
                Rate::parse(line, words).map_err(|problem| ParseError::new("line", format!("{number} {problem}")))
            })
            .collect::<Result<_, _>>()?;
        if rates.len() > Self::MOST_RATES {
            return Err(ParseError::new(words.all, format!("has more than {} lines", Self::MOST_RATES)));
        }
        Ok(Self(rates))
    }

    /// The same at all times.
    pub(crate) fn always(price: Decimal) -> Self {
        Self(vec![Rate::always(price)])
    }

    /// What holds at all times, where nothing else is said.
    pub(crate) fn constant(&self) -> Option<Decimal> {
        match self.0.as_slice() {
            [rate] if *rate == Rate::always(rate.price) => Some(rate.price),
            _ => None,
        }
    }

    /// The numbers of its lines.
    pub(crate) fn prices(&self) -> impl Iterator<Item = Decimal> {
        self.0.iter().map(|rate| rate.price)
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The price of a kilowatt hour in the quarter of an hour that begins at a local
    /// time; `None` where no rate holds.
    #[must_use]
    pub fn price(&self, at: civil::DateTime) -> Option<Decimal> {
        self.0.iter().rev().find(|rate| rate.holds(at)).map(|rate| rate.price)
    }
}

impl Rate {
    const fn always(price: Decimal) -> Self {
        Self { price, from: None, to: None, months: Ring::all(12), days: Ring::all(7), hours: None }
    }

    fn parse(line: &str, called: Words) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let mut rate = Self::always(parse_price(words.next().unwrap_or_default(), called)?);
        let mut said: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            let what = if word.contains(':') { "hours" } else { word };
            if said.contains(&what) {
                return Err(format!("says {what} twice"));
            }
            said.push(what);
            let mut value = || words.next().ok_or_else(|| format!("says nothing behind {word}"));
            match what {
                "hours" => rate.hours = Some(parse_hours(word)?),
                "from" => rate.from = Some(parse_date(value()?)?),
                "to" => rate.to = Some(parse_date(value()?)?),
                "months" => rate.months = Ring::parse(value()?, 12, month)?,
                "days" => rate.days = Ring::parse(value()?, 7, weekday)?,
                _ => return Err(format!("has {word:?}, which is none of: from, to, months, days, hours such as 08:00-20:00")),
            }
        }
        match (rate.from, rate.to) {
            (Some(from), Some(to)) if to < from => Err("ends before it begins".to_owned()),
            _ => Ok(rate),
        }
    }

    /// Hours of a night belong to the day on which they begin.
    fn holds(&self, at: civil::DateTime) -> bool {
        let minute = u16::try_from(i32::from(at.hour()) * 60 + i32::from(at.minute())).unwrap_or(0);
        match self.hours {
            None => self.holds_on(at.date()),
            Some((from, until)) if from < until => (from..until).contains(&minute) && self.holds_on(at.date()),
            Some((from, until)) => {
                let before = at.date().yesterday().unwrap_or(at.date());
                (minute >= from && self.holds_on(at.date())) || (minute < until && self.holds_on(before))
            }
        }
    }

    fn holds_on(&self, day: civil::Date) -> bool {
        self.from.is_none_or(|from| from <= day)
            && self.to.is_none_or(|to| day <= to)
            && self.months.contains(day.month() - 1)
            && self.days.contains(day.weekday().to_monday_zero_offset())
    }
}

fn parse_price(text: &str, called: Words) -> Result<Decimal, String> {
    let Words { one: what, usual, .. } = called;
    let price = Decimal::from_str_exact(&text.replace(',', ".")).map_err(|_| format!("begins with no {what} such as {usual}"))?;
    let is_usual = price.abs() <= Decimal::ONE_THOUSAND && price.scale() <= 9;
    if is_usual { Ok(price) } else { Err(format!("has a {what} beyond 1000, or with more than 9 decimals")) }
}

fn parse_date(text: &str) -> Result<civil::Date, String> {
    text.parse().map_err(|_| format!("has {text:?}, which is no date such as 2026-01-31"))
}

fn parse_hours(text: &str) -> Result<(u16, u16), String> {
    let bad = || format!("has {text:?}, which are no hours such as 08:00-20:00, in quarters of an hour");
    let (from, until) = text.split_once('-').ok_or_else(bad)?;
    let (from, until) = (parse_minute(from).ok_or_else(bad)?, parse_minute(until).ok_or_else(bad)?);
    if from == until || from == MINUTES { Err(bad()) } else { Ok((from, until)) }
}

/// A time of the day, `24:00` too.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |text: &str| (text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u16>().ok())?;
    let (hour, minute) = (digits(hour)?, digits(minute).filter(|minute| *minute < 60)?);
    let of_day = hour * 60 + minute;
    (of_day <= MINUTES && of_day.is_multiple_of(STEP_MINUTES)).then_some(of_day)
}

fn month(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|month| (1..=12).contains(month)).map(|month| month - 1)
}

fn weekday(text: &str) -> Option<u8> {
    let at = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))?;
    u8::try_from(at).ok()
}

impl Ring {
    const fn all(len: u8) -> Self {
        Self { bits: (1 << len) - 1, len }
    }

    /// Members and runs of them, as `mon-fri,sun`; a run may go over the end.
    fn parse(text: &str, len: u8, member: impl Fn(&str) -> Option<u8>) -> Result<Self, String> {
        let bad = || format!("has {text:?}, which is neither months such as 6-9,12 nor days such as mon-fri,sun");
        let mut bits = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (member(first).ok_or_else(bad)?, member(last).ok_or_else(bad)?);
            let count = (last + len - first) % len;
            bits |= (0..=count).fold(0, |bits, step| bits | 1 << ((first + step) % len));
        }
        Ok(Self { bits, len })
    }

    fn contains(self, member: i8) -> bool {
        u32::try_from(member).is_ok_and(|member| self.bits >> member & 1 == 1)
    }

    fn is_all(self) -> bool {
        self == Self::all(self.len)
    }

    /// As it is written: runs of members, none over the end.
    fn write(self, f: &mut fmt::Formatter<'_>, name: impl Fn(u8) -> String) -> fmt::Result {
        let mut at = 0;
        let mut separator = "";
        while at < self.len {
            let run = (at..self.len).take_while(|member| self.bits >> member & 1 == 1).count();
            let run = u8::try_from(run).unwrap_or(0);
            if run > 0 {
                write!(f, "{separator}{}", name(at))?;
                if run > 1 {
                    write!(f, "-{}", name(at + run - 1))?;
                }
                separator = ",";
            }
            at += run.max(1);
        }
        Ok(())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.price)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if !self.months.is_all() {
            f.write_str(" months ")?;
            self.months.write(f, |month| (month + 1).to_string())?;
        }
        if !self.days.is_all() {
            f.write_str(" days ")?;
            self.days.write(f, |day| DAYS.get(usize::from(day)).map_or_else(String::new, ToString::to_string))?;
        }
        if let Some((from, until)) = self.hours {
            write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tariff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rate) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{rate}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Tariff {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Tariff> for String {
    fn from(tariff: Tariff) -> Self {
        tariff.to_string()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const TARIFF: &str = "0.31\n0.24 22:00-06:00\n\n0,27 from 2026-01-01\n\
                          0.35 from 2026-01-01 to 2026-12-31 months 6-9 days mon-fri 08:00-20:00\n\
                          0.01 days sat,sun months 11-2 00:00-24:00";

    #[test]
    fn of_the_rates_that_hold_the_last_one_counts() {
        let tariff = Tariff::parse(TARIFF).unwrap();
        let check = |at: civil::DateTime, expected: &str| {
            assert_eq!(tariff.price(at).map(|price| price.to_string()).as_deref(), Some(expected), "{at}");
        };
        check(date(2025, 7, 1).at(12, 0, 0, 0), "0.31");
        check(date(2025, 7, 1).at(22, 0, 0, 0), "0.24");
        check(date(2025, 7, 1).at(5, 45, 0, 0), "0.24");
        check(date(2025, 7, 1).at(6, 0, 0, 0), "0.31");
        // From 2026 on there is no cheaper night, for a line below says so.
        check(date(2026, 1, 1).at(23, 0, 0, 0), "0.27");
        check(date(2026, 7, 1).at(8, 0, 0, 0), "0.35");
        check(date(2026, 7, 1).at(20, 0, 0, 0), "0.27");
        check(date(2026, 7, 4).at(12, 0, 0, 0), "0.27");
        check(date(2027, 7, 1).at(12, 0, 0, 0), "0.27");
        check(date(2026, 1, 3).at(23, 45, 0, 0), "0.01");
        check(date(2026, 11, 22).at(0, 0, 0, 0), "0.01");
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let tariff = Tariff::parse("0.20 days fri 22:00-06:00").unwrap();
        // 3 July 2026 is a Friday.
        let holds = |day: i8, hour: i8| tariff.price(date(2026, 7, day).at(hour, 0, 0, 0)).is_some();
        assert_eq!([holds(3, 21), holds(3, 22), holds(4, 5), holds(4, 6), holds(3, 5)], [false, true, true, false, false]);
    }

    #[test]
    fn where_no_rate_holds_there_is_no_price() {
        assert_eq!(Tariff::default().price(date(2026, 1, 1).at(0, 0, 0, 0)), None);
        let later = Tariff::parse("0.3 from 2026-01-01").unwrap();
        assert_eq!(later.price(date(2025, 12, 31).at(23, 45, 0, 0)), None);
    }

    #[test]
    fn what_is_no_rate_is_named_with_its_line() {
        for (text, problem) in [
            ("x", "line 1 begins with no price such as 0.31"),
            ("0.3\n\n1001", "line 3 has a price beyond 1000"),
            ("0.3 from", "line 1 says nothing behind from"),
            ("0.3 from 2026-02-30", "line 1 has \"2026-02-30\", which is no date"),
            ("0.3 from 2026-02-01 from 2026-02-02", "line 1 says from twice"),
            ("0.3 08:00-10:00 12:00-13:00", "line 1 says hours twice"),
            ("0.3 from 2026-02-02 to 2026-02-01", "line 1 ends before it begins"),
            ("0.3 08:10-09:00", "line 1 has \"08:10-09:00\", which are no hours"),
            ("0.3 08:00-08:00", "line 1 has \"08:00-08:00\", which are no hours"),
            ("0.3 24:00-08:00", "line 1 has \"24:00-08:00\", which are no hours"),
            ("0.3 25:00-26:00", "line 1 has \"25:00-26:00\", which are no hours"),
            ("0.3 months 0", "line 1 has \"0\", which is neither"),
            ("0.3 days lun", "line 1 has \"lun\", which is neither"),
            ("0.3 summer", "line 1 has \"summer\", which is none of"),
        ] {
            let error = Tariff::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{text:?}: {error}");
        }
        let error = Tariff::parse(&"0.1\n".repeat(65)).unwrap_err().to_string();
        assert_eq!(error, "tariff has more than 64 lines");
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let tariff = Tariff::parse(TARIFF).unwrap();
        assert_eq!(
            tariff.to_string(),
            "0.31\n0.24 22:00-06:00\n0.27 from 2026-01-01\n\
             0.35 from 2026-01-01 to 2026-12-31 months 6-9 days mon-fri 08:00-20:00\n\
             0.01 months 1-2,11-12 days sat-sun 00:00-24:00"
        );
    }

    proptest! {
        #[test]
        fn any_tariff_reads_as_it_is_written(text in "([0-9]{1,3}(\\.[0-9]{1,4})?( from 20[0-9]{2}-0[1-9]-1[0-9])?( months [1-9]-[1-9])?( days (mon|wed|sun)-(tue|sat))?( 0[0-9]:(00|45)-2[0-3]:15)?\n){0,5}") {
            let tariff = Tariff::parse(&text).unwrap();
            prop_assert_eq!(&Tariff::parse(&tariff.to_string()).unwrap(), &tariff);
        }

        #[test]
        fn no_text_makes_it_fail_but_by_an_error(text in ".{0,80}") {
            let _ = Tariff::parse(&text);
        }
    }
}
