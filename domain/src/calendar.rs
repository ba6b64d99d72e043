//! Report periods and their buckets, in a location's own calendar.

use jiff::{ToSpan, civil};

use crate::series::named_set;
use crate::text::ParseError;
use crate::time::{TimeWindow, Timestamp, Zone};

named_set! {
    /// How long a report's period is.
    PeriodKind {
        /// One local day.
        Day = "day",
        /// Monday to Sunday (ISO 8601).
        Week = "week",
        /// One calendar month.
        Month = "month",
        /// One calendar year.
        Year = "year",
        /// First to last day as chosen.
        Range = "range",
    }
}

named_set! {
    /// How wide the bars of a report are.
    Step {
        /// 15 minutes.
        Quarter = "quarter",
        /// One hour.
        Hour = "hour",
        /// One local day.
        Day = "day",
        /// One calendar month.
        Month = "month",
    }
}

/// A run of whole local days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    kind: PeriodKind,
    first: civil::Date,
    last: civil::Date,
}

/// One bar of a report: its window and the local time at which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The instants it covers.
    pub window: TimeWindow,
    /// Local date and time of its beginning.
    pub local: civil::DateTime,
}

impl Period {
    /// The longest free range, in days: ten years.
    pub const MAX_RANGE_DAYS: i32 = 3660;

    /// The period of a kind that holds a day. A range holds that day alone.
    #[must_use]
    pub fn around(kind: PeriodKind, day: civil::Date) -> Self {
        let (first, last) = match kind {
            PeriodKind::Day | PeriodKind::Range => (day, day),
            PeriodKind::Week => {
                let back = i64::from(day.weekday().to_monday_zero_offset());
                let first = day.saturating_sub(back.days());
                (first, first.saturating_add(6.days()))
            }
            PeriodKind::Month => (day.first_of_month(), day.last_of_month()),
            PeriodKind::Year => (day.first_of_year(), day.last_of_year()),
        };
        Self { kind, first, last }
    }

    /// A free range, both days included.
    ///
    /// # Errors
    /// When it ends before it begins or is longer than [`Self::MAX_RANGE_DAYS`].
    pub fn range(first: civil::Date, last: civil::Date) -> Result<Self, ParseError> {
        if last < first {
            return Err(ParseError::new("period", "ends before it begins"));
        }
        if days_between(first, last) >= Self::MAX_RANGE_DAYS {
            return Err(ParseError::new("period", format!("is longer than {} days", Self::MAX_RANGE_DAYS)));
        }
        Ok(Self { kind: PeriodKind::Range, first, last })
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> PeriodKind {
        self.kind
    }

    /// The first day.
    #[must_use]
    pub const fn first(&self) -> civil::Date {
        self.first
    }

    /// The last day, included.
    #[must_use]
    pub const fn last(&self) -> civil::Date {
        self.last
    }

    /// How many days it has.
    #[must_use]
    pub fn days(&self) -> i32 {
        days_between(self.first, self.last) + 1
    }

    /// The instants it covers in a zone.
    #[must_use]
    pub fn window(&self, zone: &Zone) -> TimeWindow {
        let after = self.last.saturating_add(1.day());
        TimeWindow::between(zone.start_of_day(self.first), zone.start_of_day(after))
    }

    /// The period of the same kind and length just before.
    #[must_use]
    pub fn previous(&self) -> Self {
        let day_before = self.first.saturating_sub(1.day());
        match self.kind {
            PeriodKind::Range => Self { kind: self.kind, first: self.first.saturating_sub(self.days().days()), last: day_before },
            kind => Self::around(kind, day_before),
        }
    }

    /// The period of the same kind and length just after.
    #[must_use]
    pub fn next(&self) -> Self {
        let day_after = self.last.saturating_add(1.day());
        match self.kind {
            PeriodKind::Range => Self { kind: self.kind, first: day_after, last: self.last.saturating_add(self.days().days()) },
            kind => Self::around(kind, day_after),
        }
    }

    /// The width of bars that shows it best.
    #[must_use]
    pub fn natural_step(&self) -> Step {
        match self.days() {
            ..=1 => Step::Quarter,
            2..=3 => Step::Hour,
            4..=92 => Step::Day,
            _ => Step::Month,
        }
    }

    /// Its bars, in order, without a gap; the first and last are cut to the
    /// period. Days have 23 or 25 hours where clocks change; hours are cut at
    /// the local hour, quarters at the quarter of UTC.
    #[must_use]
    pub fn buckets(&self, zone: &Zone, step: Step) -> Vec<Bucket> {
        let all = self.window(zone);
        match step {
            Step::Quarter => fixed_buckets(all, zone, 900_000),
            Step::Hour => fixed_buckets(all, zone, 3_600_000),
            Step::Day => civil_buckets(self, zone, |day| day.saturating_add(1.day())),
            Step::Month => civil_buckets(self, zone, |day| day.first_of_month().saturating_add(1.month())),
        }
    }
}

fn days_between(first: civil::Date, last: civil::Date) -> i32 {
    first.until(last).map_or(0, |span| span.get_days())
}

fn fixed_buckets(all: TimeWindow, zone: &Zone, width: i64) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let mut from = all.from;
    while from < all.end() {
        let until = from.plus_millis(width).min(all.end());
        buckets.push(Bucket { window: TimeWindow::between(from, until), local: zone.civil(from) });
        from = until;
    }
    buckets
}

fn civil_buckets(period: &Period, zone: &Zone, step: impl Fn(civil::Date) -> civil::Date) -> Vec<Bucket> {
    let after = period.last.saturating_add(1.day());
    let mut buckets = Vec::new();
    let mut day = period.first;
    let mut from: Timestamp = zone.start_of_day(day);
    while day < after {
        let next = step(day).min(after);
        let until = zone.start_of_day(next);
        buckets.push(Bucket { window: TimeWindow::between(from, until), local: day.to_datetime(civil::Time::midnight()) });
        if next <= day {
            break;
        }
        (day, from) = (next, until);
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(window: TimeWindow) -> i64 {
        window.end().millis_since(window.from) / 3_600_000
    }

    #[test]
    fn days_at_a_clock_change_have_23_or_25_hours() {
        let madrid = Zone::parse("Europe/Madrid").unwrap();
        let spring = Period::around(PeriodKind::Day, civil::date(2026, 3, 29));
        let autumn = Period::around(PeriodKind::Day, civil::date(2026, 10, 25));
        assert_eq!(hours(spring.window(&madrid)), 23);
        assert_eq!(hours(autumn.window(&madrid)), 25);
        assert_eq!(spring.buckets(&madrid, Step::Quarter).len(), 92);
        assert_eq!(autumn.buckets(&madrid, Step::Hour).len(), 25);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_hold_all_their_days() {
        let week = Period::around(PeriodKind::Week, civil::date(2026, 11, 22));
        assert_eq!((week.first(), week.last()), (civil::date(2026, 11, 16), civil::date(2026, 11, 22)));
        let feb = Period::around(PeriodKind::Month, civil::date(2028, 2, 10));
        assert_eq!(feb.days(), 29);
        assert_eq!(feb.previous().first(), civil::date(2028, 1, 1));
        assert_eq!(feb.next().last(), civil::date(2028, 3, 31));
    }

    #[test]
    fn buckets_tile_the_period() {
        for zone in ["UTC", "Europe/Madrid", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"] {
            let zone = Zone::parse(zone).unwrap();
            for kind in PeriodKind::ALL {
                let period = Period::around(*kind, civil::date(2026, 4, 5));
                for step in Step::ALL {
                    let buckets = period.buckets(&zone, *step);
                    let all = period.window(&zone);
                    assert_eq!(buckets.first().map(|b| b.window.from), Some(all.from));
                    assert_eq!(buckets.last().map(|b| b.window.end()), Some(all.end()));
                    assert!(buckets.windows(2).all(|pair| pair[0].window.end() == pair[1].window.from));
                }
            }
        }
    }

    #[test]
    fn ranges_are_bounded() {
        let day = civil::date(2026, 1, 1);
        assert!(Period::range(day, civil::date(2025, 12, 31)).is_err());
        assert!(Period::range(day, civil::date(2076, 1, 1)).is_err());
        let ten = Period::range(day, civil::date(2026, 1, 10)).unwrap();
        assert_eq!(ten.previous().first(), civil::date(2025, 12, 22));
        assert_eq!(ten.next().last(), civil::date(2026, 1, 20));
    }
}
