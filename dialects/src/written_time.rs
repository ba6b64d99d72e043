//! Times as devices write them: an instant, or a local time without its zone.

use heliograph_domain::Timestamp;
use jiff::civil;

/// What a text says about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrittenTime {
    /// With `Z` or an offset.
    Instant(Timestamp),
    /// Without a zone.
    Local(civil::DateTime),
}

/// Reads `2026-11-20T12:00:00.250Z`: RFC 3339 with a `T` or one space in the
/// middle, whose seconds and zone may be missing. Digits below the millisecond
/// are cut; second 60 counts as 59. White space around it is not accepted.
///
/// `None` where it is no such text, no such day, or outside the years 0 to 9999.
pub(crate) fn parse_time(text: &str) -> Option<WrittenTime> {
    let mut rest = Digits { bytes: text.as_bytes() };
    let (year, month, day) = (rest.number(4)?, rest.after(b'-', 2)?, rest.after(b'-', 2)?);
    rest.one_of(b"Tt ")?;
    let (hour, minute) = (rest.number(2)?, rest.after(b':', 2)?);
    let (second, milli) = rest.seconds()?;
    let second = if second == 60 { 59 } else { second };
    let (year, month, day) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let (hour, minute, second) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?);
    let local = civil::DateTime::new(year, month, day, hour, minute, second, milli * 1_000_000).ok()?;
    match rest.offset_minutes()? {
        None => Some(WrittenTime::Local(local)),
        Some(minutes) => {
            let millis = utc_millis(local) - minutes * 60_000;
            Timestamp::from_millis(millis).ok().map(WrittenTime::Instant)
        }
    }
}

/// Milliseconds since 1970 of a local time, as if its clock ran on UTC. The days
/// come from Howard Hinnant's `days_from_civil`.
pub(crate) fn utc_millis(local: civil::DateTime) -> i64 {
    let (month, day) = (i64::from(local.month()), i64::from(local.day()));
    let year = i64::from(local.year()) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let minutes = i64::from(local.hour()) * 60 + i64::from(local.minute());
    (days * 86_400 + minutes * 60 + i64::from(local.second())) * 1000 + i64::from(local.millisecond())
}

struct Digits<'a> {
    bytes: &'a [u8],
}

impl Digits<'_> {
    fn number(&mut self, digits: usize) -> Option<i32> {
        let (taken, rest) = self.bytes.split_at_checked(digits)?;
        self.bytes = rest;
        taken.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
    }

    fn after(&mut self, separator: u8, digits: usize) -> Option<i32> {
        self.one_of(&[separator])?;
        self.number(digits)
    }

    fn one_of(&mut self, expected: &[u8]) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        expected.contains(first).then_some(*first)
    }

    /// Seconds and milliseconds; none of them is 0.
    fn seconds(&mut self) -> Option<(i32, i32)> {
        if self.bytes.first() != Some(&b':') {
            return Some((0, 0));
        }
        let second = self.after(b':', 2).filter(|second| *second <= 60)?;
        if self.bytes.first() != Some(&b'.') {
            return Some((second, 0));
        }
        let fraction = self.bytes.get(1..)?;
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = fraction.split_at_checked(length)?;
        self.bytes = rest;
        if digits.is_empty() {
            return None;
        }
        let milli = (0..3).fold(0, |sum, i| sum * 10 + digits.get(i).map_or(0, |byte| i32::from(byte - b'0')));
        Some((second, milli))
    }

    /// `Z`, `±hh:mm`, `±hhmm` or `±hh`, to the end. `Some(None)`: nothing is left.
    fn offset_minutes(&mut self) -> Option<Option<i64>> {
        let (sign, digits) = match self.bytes {
            [] => return Some(None),
            [b'Z' | b'z'] => return Some(Some(0)),
            [b'+', digits @ ..] => (1, digits),
            [b'-', digits @ ..] => (-1, digits),
            _ => return None,
        };
        let mut rest = Digits { bytes: digits };
        let hours = rest.number(2).filter(|hours| *hours <= 23)?;
        let minutes = match rest.bytes {
            [] => 0,
            [b':', ..] => rest.after(b':', 2)?,
            _ => rest.number(2)?,
        };
        (rest.bytes.is_empty() && minutes <= 59).then(|| Some(i64::from(sign * (hours * 60 + minutes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_local_times_are_read() {
        let instants = [
            ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"),
            ("2026-11-20 12:00:00Z", "2026-11-20T12:00:00Z"),
            ("2026-11-20t12:00:00z", "2026-11-20T12:00:00Z"),
            ("2026-11-20T12:00Z", "2026-11-20T12:00:00Z"),
            ("2026-11-20T12:00:00.1239Z", "2026-11-20T12:00:00.123Z"),
            ("2026-11-20T12:00:00.5Z", "2026-11-20T12:00:00.5Z"),
            ("2026-11-20T12:00:00+01:00", "2026-11-20T11:00:00Z"),
            ("2026-11-20T12:00:00-0530", "2026-11-20T17:30:00Z"),
            ("2026-11-20T12:00:00+05", "2026-11-20T07:00:00Z"),
            ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ];
        for (text, expected) in instants {
            let expected = Timestamp::parse_rfc3339(expected).unwrap();
            assert_eq!(parse_time(text), Some(WrittenTime::Instant(expected)), "{text}");
        }
        let noon = civil::date(2026, 11, 20).at(12, 0, 0, 0);
        for text in ["2026-11-20T12:00:00", "2026-11-20 12:00:00", "2026-11-20 12:00"] {
            assert_eq!(parse_time(text), Some(WrittenTime::Local(noon)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_times() {
        let bad = [
            "",
            "now",
            "2026-11-20",
            "2026-11-20T",
            "2026-11-20T12",
            "2026-11-20T12:00:00.Z",
            "2021-03-3T15:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T12:60:00Z",
            "2026-11-20T12:00:61Z",
            "2026-11-20T12:00:00+24:00",
            "2026-11-20T12:00:00+1:00",
            "2026-11-20T12:00:00Z ",
            " 2026-11-20T12:00:00Z",
            "2026-11-20T12:00:00 Z",
            "2026-11-20T12:00:00ZZ",
            "+2026-11-20T12:00:00Z",
            "12026-11-20T12:00:00Z",
            "2026-11-20T12:00:00[Europe/Madrid]",
            "20261120T120000Z",
            "1795176000",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59Z",
            "2026-11-20T12:00:00,5Z",
            "２026-11-20T12:00:00Z",
        ];
        for text in bad {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_calendar_agrees_with_jiff_over_all_years() {
        for days in (-719_528..2_932_000).step_by(97) {
            let date = civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            assert_eq!(utc_millis(date.at(0, 0, 1, 2_000_000)), i64::from(days) * 86_400_000 + 1002, "{date}");
        }
    }
}
