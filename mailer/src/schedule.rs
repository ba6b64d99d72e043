//! Which mails are due: pure, from the time and a zone.

use heliograph_domain::{Period, PeriodKind, Timestamp, Zone};
use jiff::{ToSpan, civil};

/// A day that was missed is caught up this many days back, not further.
const DAYS_BACK: i64 = 3;

/// The summaries there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Yesterday, each day.
    Daily,
    /// The last month, on the first.
    Monthly,
}

impl Report {
    /// The text that stands for it in the outbox.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Monthly => "monthly",
        }
    }
}

/// A report that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) report: Report,
    pub(crate) period: Period,
    /// Since when.
    pub(crate) at: Timestamp,
}

impl Due {
    /// The period as the outbox knows it: `2026-11-20` or `2026-11`.
    pub(crate) fn period_text(&self) -> String {
        let first = self.period.first();
        match self.report {
            Report::Daily => first.to_string(),
            Report::Monthly => first.strftime("%Y-%m").to_string(),
        }
    }
}

/// What is due at `now` where people live by `zone`, the longest due first: the
/// summaries of the last days whose mail hour has come, and that of the last
/// month. An hour that the clock skips counts as the next one there is; of an
/// hour that happens twice the first counts.
pub(crate) fn due(now: Timestamp, zone: &Zone, hour: u8) -> Vec<Due> {
    let today = zone.civil(now).date();
    let day = |back: i64| (Report::Daily, PeriodKind::Day, today.saturating_sub(back.days()));
    let last_month = (Report::Monthly, PeriodKind::Month, today.first_of_month().saturating_sub(1.day()));

    let mut all: Vec<Due> = (1..=DAYS_BACK)
        .map(day)
        .chain([last_month])
        .map(|(report, kind, date)| {
            let period = Period::around(kind, date);
            Due { report, period, at: local_hour(period.next().first(), hour, zone) }
        })
        .filter(|due| due.at <= now)
        .collect();
    all.sort_by_key(|due| due.at);
    all
}

fn local_hour(day: civil::Date, hour: u8, zone: &Zone) -> Timestamp {
    let hour = i8::try_from(hour.min(23)).unwrap_or(23);
    day.at(hour, 0, 0, 0).to_zoned(zone.to_jiff().clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn texts(now: &str, zone_name: &str, hour: u8) -> Vec<String> {
        due(at(now), &zone(zone_name), hour).iter().map(|due| format!("{} {}", due.report.as_str(), due.period_text())).collect()
    }

    #[test]
    fn what_is_due_follows_the_table() {
        let cases: &[(&str, &str, u8, &[&str])] = &[
            // The hour has come, to the millisecond.
            ("2026-11-21T06:00:00Z", "UTC", 6, &["monthly 2026-10", "daily 2026-11-18", "daily 2026-11-19", "daily 2026-11-20"]),
            // It has not.
            ("2026-11-21T05:59:59.999Z", "UTC", 6, &["monthly 2026-10", "daily 2026-11-18", "daily 2026-11-19"]),
            // The zone decides which day it is.
            (
                "2026-11-20T21:00:00Z",
                "Asia/Tokyo",
                6,
                &["monthly 2026-10", "daily 2026-11-18", "daily 2026-11-19", "daily 2026-11-20"],
            ),
            ("2026-11-21T06:00:00Z", "America/New_York", 6, &["monthly 2026-10", "daily 2026-11-18", "daily 2026-11-19"]),
            // The first of a month, before and at the hour; and of a year.
            ("2026-12-01T05:00:00Z", "UTC", 6, &["daily 2026-11-28", "daily 2026-11-29"]),
            ("2027-01-01T06:00:00Z", "UTC", 6, &["daily 2026-12-29", "daily 2026-12-30", "daily 2026-12-31", "monthly 2026-12"]),
            // Midnight is an hour, too.
            ("2026-11-21T00:00:00Z", "UTC", 0, &["monthly 2026-10", "daily 2026-11-18", "daily 2026-11-19", "daily 2026-11-20"]),
        ];
        for (now, zone, hour, expected) in cases {
            assert_eq!(texts(now, zone, *hour), *expected, "{now} {zone} {hour}");
        }
    }

    #[test]
    fn a_skipped_hour_counts_as_the_next_and_a_repeated_one_as_the_first() {
        // Madrid skips 02:00 to 03:00 on 29 March 2026 and repeats 02:00 to 03:00 on 25 October.
        let spring = |now| due(at(now), &zone("Europe/Madrid"), 2).last().map(|due| (due.period_text(), due.at));
        assert_eq!(spring("2026-03-29T00:59:59Z").map(|(day, _)| day), Some("2026-03-27".to_owned()));
        assert_eq!(spring("2026-03-29T01:00:00Z"), Some(("2026-03-28".to_owned(), at("2026-03-29T01:00:00Z"))));
        assert_eq!(spring("2026-10-25T00:00:00Z"), Some(("2026-10-24".to_owned(), at("2026-10-25T00:00:00Z"))));
        assert_eq!(spring("2026-10-25T01:00:00Z"), Some(("2026-10-24".to_owned(), at("2026-10-25T00:00:00Z"))));
    }

    #[test]
    fn stepping_through_a_year_each_period_becomes_due_once() {
        for name in ["Europe/Madrid", "America/St_Johns", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia"] {
            let zone = zone(name);
            let mut first_due = std::collections::BTreeMap::new();
            let mut now = at("2026-01-04T00:00:00Z");
            while now < at("2027-01-04T00:00:00Z") {
                for due in due(now, &zone, 2) {
                    let key = (due.report.as_str(), due.period_text());
                    let before = first_due.insert(key.clone(), due.at);
                    assert!(before.is_none_or(|before| before == due.at), "{key:?}");
                }
                now = now.plus_millis(30 * 60_000);
            }
            let within = |period: &str| ("2026-02".."2026-12").contains(&period);
            let count = |report| first_due.keys().filter(|(name, period)| *name == report && within(period)).count();
            assert_eq!((count("daily"), count("monthly")), (303, 10), "{name}");
        }
    }
}
