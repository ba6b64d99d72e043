//! Instants in UTC milliseconds, half-open windows of them, and IANA time zones.

use std::fmt;

use jiff::civil;
use serde::{Deserialize, Serialize};

use crate::text::ParseError;

/// An instant, in milliseconds since 1970-01-01T00:00:00Z, within the years
/// that a calendar can name (0 to 9999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant that can be named.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The last instant that can be named.
    pub const MAX: Self = Self(253_402_128_000_000);

    /// From milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the instant lies outside the years 0 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self, ParseError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(ParseError::new("time", "lies outside the years 0 to 9999"))
        }
    }

    /// From milliseconds since the Unix epoch, moved to the nearest instant
    /// that can be named.
    #[must_use]
    pub const fn clamped(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Parses RFC 3339 with `Z` or an offset; digits below the millisecond are cut.
    ///
    /// # Errors
    /// When the text is not such an instant.
    pub fn parse_rfc3339(text: &str) -> Result<Self, ParseError> {
        text.parse::<jiff::Timestamp>()
            .map(Self::from)
            .map_err(|_| ParseError::new("time", format!("{text:?} is not RFC 3339 with Z or an offset")))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved by `millis`, stopping at the ends of time.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::clamped(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this; negative where it is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// As a `jiff` instant.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(instant: jiff::Timestamp) -> Self {
        Self::clamped(instant.as_millisecond())
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = ParseError;
    fn try_from(millis: i64) -> Result<Self, ParseError> {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for i64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

/// The instants from `from` (included) to `until` (excluded; `None`: no end yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindow {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after, if it has an end.
    pub until: Option<Timestamp>,
}

impl TimeWindow {
    /// All of time.
    pub const ALWAYS: Self = Self { from: Timestamp::MIN, until: None };

    /// A window with both ends.
    #[must_use]
    pub const fn between(from: Timestamp, until: Timestamp) -> Self {
        Self { from, until: Some(until) }
    }

    /// Whether an instant lies inside.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && self.until.is_none_or(|end| time < end)
    }

    /// The first instant after, or the end of time.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.until.unwrap_or(Timestamp::MAX)
    }

    /// Whether no instant lies inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end() <= self.from
    }

    /// What both windows share; `None` where they do not meet.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let from = self.from.max(other.from);
        let until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let shared = Self { from, until };
        (!shared.is_empty()).then_some(shared)
    }
}

/// An IANA time zone, such as `Europe/Madrid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(jiff::tz::TimeZone);

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }

    /// Looks a zone up by its IANA name.
    ///
    /// # Errors
    /// When no zone has that name.
    pub fn parse(name: &str) -> Result<Self, ParseError> {
        if name == "UTC" {
            return Ok(Self::utc());
        }
        let unknown = || ParseError::new("time zone", format!("{name:?} is not an IANA zone such as Europe/Madrid"));
        let zone = jiff::tz::db().get(name).map_err(|_| unknown())?;
        if zone.iana_name().is_none() {
            return Err(unknown());
        }
        Ok(Self(zone))
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The zone for calendar arithmetic.
    #[must_use]
    pub fn to_jiff(&self) -> &jiff::tz::TimeZone {
        &self.0
    }

    /// The instant at which a local day begins: midnight, or the first instant
    /// after it where the clock skips midnight.
    #[must_use]
    pub fn start_of_day(&self, day: civil::Date) -> Timestamp {
        day.to_zoned(self.0.clone())
            .and_then(|zoned| zoned.start_of_day())
            .map_or(Timestamp::MIN, |zoned| zoned.timestamp().into())
    }

    /// The local date and time of an instant.
    #[must_use]
    pub fn civil(&self, time: Timestamp) -> civil::DateTime {
        self.0.to_datetime(time.to_jiff())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Zone {
    type Error = ParseError;
    fn try_from(name: String) -> Result<Self, ParseError> {
        Self::parse(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn instants_read_and_print_as_rfc3339() {
        assert_eq!(at("2026-11-20T12:00:00Z").as_millis(), 1_795_176_000_000);
        assert_eq!(at("2026-11-20T13:00:00+01:00"), at("2026-11-20T12:00:00Z"));
        assert_eq!(at("2026-11-20T12:00:00.1239Z").to_string(), "2026-11-20T12:00:00.123Z");
        assert!(Timestamp::parse_rfc3339("2026-11-20T12:00:00").is_err());
        assert!(Timestamp::parse_rfc3339("2021-03-3T15:00:00Z").is_err());
        assert!(Timestamp::from_millis(i64::MAX).is_err());

        assert_ne!(Timestamp::MAX.to_jiff(), jiff::Timestamp::UNIX_EPOCH);
        assert_ne!(Timestamp::MIN.to_jiff(), jiff::Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn windows_are_half_open() {
        let day = TimeWindow::between(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        assert!(day.contains(at("2026-01-01T00:00:00Z")));
        assert!(!day.contains(at("2026-01-02T00:00:00Z")));
        let after = TimeWindow { from: at("2026-01-02T00:00:00Z"), until: None };
        assert_eq!(day.intersect(&after), None);
        assert_eq!(TimeWindow::ALWAYS.intersect(&day), Some(day));
    }

    #[test]
    fn zones_are_iana_names_and_know_their_midnights() {
        assert!(Zone::parse("Mars/Olympus").is_err());
        assert!(Zone::parse("").is_err());
        let madrid = Zone::parse("Europe/Madrid").unwrap();
        assert_eq!(madrid.name(), "Europe/Madrid");
        assert_eq!(madrid.start_of_day(civil::date(2026, 7, 1)), at("2026-06-30T22:00:00Z"));
        // Beirut skips midnight on the last Sunday of March.
        let beirut = Zone::parse("Asia/Beirut").unwrap();
        assert_eq!(beirut.start_of_day(civil::date(2026, 3, 29)), at("2026-03-28T22:00:00Z"));
    }
}
