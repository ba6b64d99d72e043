//! The period of a summary in words.

use heliograph_domain::Period;

use crate::schedule::Report;

/// A period in words.
pub(super) struct When {
    pub(super) kind: &'static str,
    pub(super) title: String,
    /// `on Friday, 20 November 2026`.
    pub(super) long: String,
    /// `on 20 November 2026`.
    pub(super) short: String,
    pub(super) before: &'static str,
}

impl When {
    pub(super) fn of(report: Report, period: &Period) -> Self {
        let spell = |format: &str| period.first().strftime(format).to_string();
        match report {
            Report::Daily => Self {
                kind: "Daily summary",
                title: spell("%A, %-d %B %Y"),
                long: spell("on %A, %-d %B %Y"),
                short: spell("on %-d %B %Y"),
                before: "the day before",
            },
            Report::Monthly => Self {
                kind: "Monthly summary",
                title: spell("%B %Y"),
                long: spell("in %B %Y"),
                short: spell("in %B %Y"),
                before: "the month before",
            },
        }
    }
}
