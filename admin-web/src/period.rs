//! The period of a report: read from the address, shown as a heading, tabs and
//! steps to the one before and after.

use heliograph_domain::{Period, PeriodKind, Timestamp, Zone};
use heliograph_report::export::Format;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Deserialize;

use crate::error::Refusal;

/// What an address says about a period.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(crate) struct PeriodQuery {
    period: String,
    date: String,
    from: String,
    to: String,
}

impl PeriodQuery {
    /// What a program says; what it leaves out is not said.
    pub(crate) fn of(period: Option<String>, date: Option<String>, from: Option<String>, to: Option<String>) -> Self {
        let said = Option::unwrap_or_default;
        Self { period: said(period), date: said(date), from: said(from), to: said(to) }
    }

    /// The period; what is not said is today, by day.
    pub(crate) fn parse(&self, zone: &Zone, now: Timestamp) -> Result<Period, Refusal> {
        let today = zone.civil(now).date();
        let kind = match self.period.as_str() {
            "" => PeriodKind::Day,
            text => PeriodKind::parse(text).map_err(|_| {
                Refusal::BadRequest(format!("“{text}” is no period. There are day, week, month, year and range."))
            })?,
        };
        if kind != PeriodKind::Range {
            return Ok(Period::around(kind, parse_day(&self.date, today)?));
        }
        let last = parse_day(&self.to, today)?;
        let first = parse_day(&self.from, last.saturating_sub(6.days()))?;
        Period::range(first, last).map_err(|problem| Refusal::BadRequest(crate::form::sentence(&problem.to_string())))
    }
}

fn parse_day(text: &str, otherwise: Date) -> Result<Date, Refusal> {
    if text.is_empty() {
        return Ok(otherwise);
    }
    let day = text.parse::<Date>().ok().filter(|day| (1970..=2999).contains(&day.year()));
    day.ok_or_else(|| Refusal::BadRequest(format!("“{text}” is no day. Write it like 2026-11-20.")))
}

/// One of the tabs.
pub(crate) struct Tab {
    pub(crate) label: &'static str,
    pub(crate) path: String,
    pub(crate) current: bool,
}

/// A period as a page shows it.
pub(crate) struct PeriodView {
    pub(crate) title: String,
    pub(crate) kind: &'static str,
    pub(crate) tabs: Vec<Tab>,
    pub(crate) previous: String,
    /// Empty where it would lie in the future.
    pub(crate) next: String,
    pub(crate) base: String,
    /// The same report as files: what they are called, and where they are.
    pub(crate) files: [(&'static str, String); 3],
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) today: String,
    pub(crate) is_range: bool,
    /// What the period before is called in a sentence.
    pub(crate) before: &'static str,
}

impl PeriodView {
    /// `base` is the path of the page.
    pub(crate) fn of(period: &Period, base: String, zone: &Zone, now: Timestamp) -> Self {
        let today = zone.civil(now).date();
        let next = period.next();
        Self {
            title: title(period),
            kind: period.kind().as_str(),
            tabs: tabs(period, &base, today),
            previous: path(&base, &period.previous()),
            next: if next.first() > today { String::new() } else { path(&base, &next) },
            files: Format::ALL.map(|format| (format.label(), path(&format!("{base}/report.{}", format.extension()), period))),
            first: period.first().to_string(),
            last: period.last().to_string(),
            today: today.to_string(),
            is_range: period.kind() == PeriodKind::Range,
            before: before(period.kind()),
            base,
        }
    }
}

fn tabs(period: &Period, base: &str, today: Date) -> Vec<Tab> {
    let anchor = if period.first() <= today && today <= period.last() { today } else { period.first() };
    let tab = |kind: &PeriodKind| Tab {
        label: label(*kind),
        path: match kind {
            PeriodKind::Range => {
                format!("{base}?period=range&from={}&to={}", period.first(), period.last().min(today).max(period.first()))
            }
            _ => format!("{base}?period={kind}&date={anchor}"),
        },
        current: *kind == period.kind(),
    };
    PeriodKind::ALL.iter().map(tab).collect()
}

fn path(base: &str, period: &Period) -> String {
    match period.kind() {
        PeriodKind::Range => format!("{base}?period=range&from={}&to={}", period.first(), period.last()),
        kind => format!("{base}?period={kind}&date={}", period.first()),
    }
}

const fn label(kind: PeriodKind) -> &'static str {
    match kind {
        PeriodKind::Day => "Day",
        PeriodKind::Week => "Week",
        PeriodKind::Month => "Month",
        PeriodKind::Year => "Year",
        PeriodKind::Range => "Range",
    }
}

const fn before(kind: PeriodKind) -> &'static str {
    match kind {
        PeriodKind::Day => "the day before",
        PeriodKind::Week => "the week before",
        PeriodKind::Month => "the month before",
        PeriodKind::Year => "the year before",
        PeriodKind::Range => "the same number of days before",
    }
}

fn title(period: &Period) -> String {
    let (first, last) = (period.first(), period.last());
    match period.kind() {
        PeriodKind::Day => first.strftime("%A, %-d %B %Y").to_string(),
        PeriodKind::Month => first.strftime("%B %Y").to_string(),
        PeriodKind::Year => first.strftime("%Y").to_string(),
        PeriodKind::Week | PeriodKind::Range if first == last => first.strftime("%-d %B %Y").to_string(),
        PeriodKind::Week | PeriodKind::Range => {
            let start = match (first.year() == last.year(), first.month() == last.month()) {
                (true, true) => first.strftime("%-d"),
                (true, false) => first.strftime("%-d %B"),
                _ => first.strftime("%-d %B %Y"),
            };
            format!("{start} – {}", last.strftime("%-d %B %Y"))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap()
    }

    fn parse(period: &str, date: &str, from: &str, to: &str) -> Result<Period, Refusal> {
        let query = PeriodQuery { period: period.into(), date: date.into(), from: from.into(), to: to.into() };
        query.parse(&Zone::utc(), now())
    }

    #[test]
    fn addresses_name_periods_and_what_makes_no_sense_is_refused() {
        assert_eq!(parse("", "", "", "").unwrap(), Period::around(PeriodKind::Day, date(2026, 11, 20)));
        assert_eq!(parse("month", "2026-02-14", "", "").unwrap().last(), date(2026, 2, 28));
        assert_eq!(parse("range", "", "2026-11-01", "2026-11-03").unwrap().days(), 3);
        assert_eq!(parse("range", "", "", "").unwrap().days(), 7);
        for (period, date, from, to) in [
            ("fortnight", "", "", ""),
            ("day", "yesterday", "", ""),
            ("day", "0001-01-01", "", ""),
            ("day", "9999-12-31", "", ""),
            ("range", "", "2026-11-03", "2026-11-01"),
            ("range", "", "1980-01-01", "2026-11-01"),
        ] {
            assert!(matches!(parse(period, date, from, to), Err(Refusal::BadRequest(_))), "{period} {date} {from} {to}");
        }
    }

    #[test]
    fn nobody_is_led_into_the_future() {
        let week = parse("week", "", "", "").unwrap();
        let view = PeriodView::of(&week, "/gateways/gw-1".to_owned(), &Zone::utc(), now());
        assert_eq!(view.title, "16 – 22 November 2026");
        assert_eq!(view.next, "");
        assert_eq!(view.previous, "/gateways/gw-1?period=week&date=2026-11-09");
        assert_eq!(view.files[0], ("CSV", "/gateways/gw-1/report.csv?period=week&date=2026-11-16".to_owned()));
        assert_eq!(view.files[2], ("JSON", "/gateways/gw-1/report.json?period=week&date=2026-11-16".to_owned()));
        assert!(view.tabs.iter().any(|tab| tab.path == "/gateways/gw-1?period=day&date=2026-11-20"));
    }

    #[test]
    fn headings_say_no_more_than_they_need() {
        assert_eq!(title(&Period::around(PeriodKind::Day, date(2026, 11, 20))), "Friday, 20 November 2026");
        assert_eq!(title(&Period::around(PeriodKind::Week, date(2026, 12, 31))), "28 December 2026 – 3 January 2027");
        assert_eq!(title(&Period::around(PeriodKind::Year, date(2026, 12, 31))), "2026");
    }
}
