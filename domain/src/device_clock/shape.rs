//! What the offset of a clock looks like: a zone, an hour, or nothing of the kind.

use std::fmt;

use crate::time::{Timestamp, Zone};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A right clock is this far ahead at most: those of servers differ, too.
const AHEAD_MS: i64 = MINUTE_MS;
/// What is measured arrives this much later at most, where its offset is to be named.
const DELAY_MS: i64 = 10 * MINUTE_MS;
/// No two zones lie further apart.
const ZONES_MS: i64 = 26 * HOUR_MS;
/// Where the clock changes, it does so within this time.
const SEASON_MS: i64 = 366 * 24 * HOUR_MS;

fn offset_ms(zone: &Zone, at: Timestamp) -> i64 {
    i64::from(zone.to_jiff().to_offset(at.to_jiff()).seconds()) * 1000
}

/// The offset of a zone in its other season, where it has one.
fn other_season_ms(zone: &Zone, at: Timestamp) -> Option<i64> {
    let next = zone.to_jiff().following(at.to_jiff()).next()?;
    let is_near = Timestamp::from(next.timestamp()).millis_since(at) <= SEASON_MS;
    let other = i64::from(next.offset().seconds()) * 1000;
    (is_near && other != offset_ms(zone, at)).then_some(other)
}

/// What the offset of a clock looks like. Delays make it look less than it is, so that
/// an offset is what it is named after, or up to ten minutes less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockShape {
    /// The clock is right.
    Right,
    /// It sends the local time of its location as if that were UTC; milliseconds.
    LocalAsUtc(i64),
    /// The same, without the change from or to summer time.
    OtherSeasonAsUtc(i64),
    /// What it sends as local time is UTC.
    UtcAsLocal(i64),
    /// It is off by what summer time is.
    SummerTime(i64),
    /// Whole hours.
    WholeHours(i64),
    /// Hours and a half.
    HalfHours(i64),
    /// Nothing in particular.
    Odd,
}

impl ClockShape {
    pub(super) fn of(ahead_ms: i64, zone: &Zone, at: Timestamp) -> Self {
        let (now, other) = (offset_ms(zone, at), other_season_ms(zone, at));
        // More likely ones first.
        let mut shapes = vec![Self::Right, Self::LocalAsUtc(now)];
        shapes.extend(other.map(Self::OtherSeasonAsUtc));
        shapes.extend(other.into_iter().flat_map(|other| [Self::SummerTime(now - other), Self::SummerTime(other - now)]));
        shapes.push(Self::UtcAsLocal(-now));
        // The next whole or half hour that is not less.
        let next = |step: i64| (ahead_ms - AHEAD_MS).div_euclid(step).saturating_add(1).saturating_mul(step);
        if ahead_ms.abs() <= ZONES_MS {
            shapes.extend([Self::WholeHours(next(HOUR_MS)), Self::HalfHours(next(HOUR_MS / 2))]);
        }
        shapes.into_iter().find(|shape| shape.fits(ahead_ms)).unwrap_or(Self::Odd)
    }

    /// Whether a clock that is so much ahead, at the least, may be of this shape.
    pub(super) fn fits(self, ahead_ms: i64) -> bool {
        self.ahead_ms().is_some_and(|named| (-AHEAD_MS..=DELAY_MS).contains(&(named - ahead_ms)))
    }

    /// The offset that it is named after, in milliseconds.
    #[must_use]
    pub fn ahead_ms(self) -> Option<i64> {
        match self {
            Self::Right => Some(0),
            Self::LocalAsUtc(ms)
            | Self::OtherSeasonAsUtc(ms)
            | Self::UtcAsLocal(ms)
            | Self::SummerTime(ms)
            | Self::WholeHours(ms)
            | Self::HalfHours(ms) => Some(ms),
            Self::Odd => None,
        }
    }

    /// Whether the offset changes with summer time, so that a correction holds for a
    /// season.
    #[must_use]
    pub fn follows_seasons(self, zone: &Zone, at: Timestamp) -> bool {
        let seasonal = matches!(self, Self::LocalAsUtc(_) | Self::UtcAsLocal(_) | Self::SummerTime(_));
        seasonal && other_season_ms(zone, at).is_some()
    }
}

/// In words that follow "as if".
impl fmt::Display for ClockShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "the clock were right",
            Self::LocalAsUtc(_) => "it sent the local time of its location as UTC",
            Self::OtherSeasonAsUtc(_) => "it sent local time as UTC and did not follow summer time",
            Self::UtcAsLocal(_) => "it sent UTC as the local time of its location",
            Self::SummerTime(_) => "it did not follow summer time",
            Self::WholeHours(_) => "its zone were set wrong, by whole hours",
            Self::HalfHours(_) => "its zone were set wrong, by hours and a half",
            Self::Odd => "its clock were set wrong",
        })
    }
}
