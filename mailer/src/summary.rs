//! From figures to what a mail says: words and numbers, ready for the templates.
//!
//! Numbers are spelled by the report's own format, single figures as the panel's
//! tiles and columns as its tables, so that both say the same to the digit. What
//! is not known is said in words and never as 0.

mod when;

use askama::Template;
use heliograph_domain::{Period, ProviderSettings, Zone};
use heliograph_report::{BucketFigures, BucketState, Energy, ExpectedOfAll, Figures, GatewayReport, Peak, format};

use crate::error::MailerError;
use crate::look::Look;
use crate::schedule::Report;

use when::When;

/// What a summary is made from.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) provider: &'a str,
    pub(crate) settings: &'a ProviderSettings,
    pub(crate) customer: &'a str,
    pub(crate) report: Report,
    pub(crate) period: Period,
    pub(crate) zone: &'a Zone,
    pub(crate) figures: &'a Figures,
    /// Of the period before, if the customer owned something in all of it.
    pub(crate) before: Option<&'a Figures>,
    pub(crate) expected: ExpectedOfAll,
    pub(crate) gateways: Vec<GatewayFacts<'a>>,
    /// The bars of the chart, a day each.
    pub(crate) bars: &'a [BucketFigures],
    /// The Content-ID of the chart, if there is one.
    pub(crate) chart: Option<String>,
    pub(crate) public_url: Option<&'a str>,
    /// Whom to write to about it.
    pub(crate) contact: &'a str,
}

/// One gateway's part.
#[derive(Debug)]
pub(crate) struct GatewayFacts<'a> {
    pub(crate) name: &'a str,
    pub(crate) location: &'a str,
    pub(crate) figures: &'a Figures,
}

impl<'a> GatewayFacts<'a> {
    pub(crate) fn of(report: &'a GatewayReport) -> Self {
        let location = report.location.as_ref().map_or("", |location| location.name.as_str());
        Self { name: &report.name, location, figures: &report.figures }
    }
}

/// A summary in words.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) subject: String,
    preheader: String,
    provider: String,
    customer: String,
    look: Look,
    kind: &'static str,
    /// What it is about: `Friday, 20 November 2026`.
    day: String,
    headline: Option<Headline>,
    comparison: Option<Comparison>,
    complete: bool,
    completeness: String,
    facts: Vec<Fact>,
    energy_column: &'static str,
    gateways: Vec<GatewayRow>,
    chart: Option<ChartWords>,
    link: Option<String>,
    footer: String,
}

#[derive(Debug)]
struct Headline {
    label: String,
    figure: String,
    origin: String,
}

#[derive(Debug)]
struct Comparison {
    change: Option<String>,
    text: String,
}

#[derive(Debug)]
struct Fact {
    label: &'static str,
    value: String,
    note: String,
}

#[derive(Debug)]
struct GatewayRow {
    name: String,
    location: String,
    energy: String,
    /// Where the energy comes from; empty where none is known.
    origin: String,
    peak: String,
    measured: String,
}

#[derive(Debug)]
struct ChartWords {
    content_id: String,
    title: String,
    alt: String,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    label: String,
    value: String,
}

#[derive(Template)]
#[template(path = "summary.html")]
struct Html<'a> {
    s: &'a Summary,
}

#[derive(Template)]
#[template(path = "summary.txt")]
struct Text<'a> {
    s: &'a Summary,
}

impl Summary {
    /// The HTML part.
    pub(crate) fn html(&self) -> Result<String, MailerError> {
        Ok(Html { s: self }.render()?)
    }

    /// The text part. Its spaces are plain, for people who search and copy.
    pub(crate) fn text(&self) -> Result<String, MailerError> {
        Ok(plain(&Text { s: self }.render()?))
    }

    /// Puts figures into words.
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let subjects = Subject::choose(facts.figures);
        let when = When::of(facts.report, &facts.period);
        let headline = subjects.and_then(|subject| Headline::of(subject, facts, &when));
        let figure = headline.as_ref().map_or_else(|| "no data".to_owned(), |headline| plain(&headline.figure));
        let (complete, completeness) = completeness(facts, subjects);
        Self {
            subject: format!("{}: {figure} {}", facts.provider, when.short),
            preheader: plain(&completeness),
            provider: facts.provider.to_owned(),
            customer: facts.customer.to_owned(),
            look: Look::of(&facts.settings.colour),
            kind: when.kind,
            day: when.title,
            comparison: subjects.map(|subject| compare(subject, facts, when.before)),
            headline,
            complete,
            completeness,
            facts: subjects.map(|subject| details(subject, facts)).unwrap_or_default(),
            energy_column: subjects.unwrap_or(Subject::Produced).verb(),
            gateways: facts.gateways.iter().map(|gateway| gateway_row(subjects, gateway)).collect(),
            chart: facts.chart.as_ref().map(|content_id| chart(subjects, facts, content_id.clone())),
            link: facts.public_url.map(str::to_owned),
            footer: footer(facts),
        }
    }
}

/// What the mail is mainly about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Produced,
    Consumed,
}

impl Subject {
    /// Production where it is known, else consumption; `None`: nothing arrived.
    fn choose(figures: &Figures) -> Option<Self> {
        [Self::Produced, Self::Consumed].into_iter().find(|subject| subject.energy(figures).is_some())
    }

    /// The energy, unless it is a zero that nobody measured.
    fn energy(self, figures: &Figures) -> Option<Energy> {
        let unheard = figures.completeness.expected_ms > 0 && figures.completeness.covered_ms == 0;
        let energy = match self {
            Self::Produced => figures.produced,
            Self::Consumed => figures.consumed,
        };
        energy.filter(|energy| !(unheard && energy.watt_hours == 0.0))
    }

    fn of_bar(self, bar: &BucketFigures) -> Option<Energy> {
        match self {
            Self::Produced => bar.produced,
            Self::Consumed => bar.consumed,
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Produced => "Produced",
            Self::Consumed => "Consumed",
        }
    }
}

impl Headline {
    fn of(subject: Subject, facts: &Facts<'_>, when: &When) -> Option<Self> {
        let energy = subject.energy(facts.figures)?;
        let label = format!("{} {}", subject.verb(), when.long);
        Some(Self { label, figure: format::energy(energy.watt_hours), origin: energy.origin() })
    }
}

/// Against the period before; in percent only where both were measured.
fn compare(subject: Subject, facts: &Facts<'_>, before: &str) -> Comparison {
    let now = subject.energy(facts.figures).map_or(0.0, |energy| energy.watt_hours);
    let known = facts.before.and_then(|figures| Some((figures, subject.energy(figures)?.watt_hours)));
    let Some((figures, then)) = known else {
        return Comparison { change: None, text: format!("Of {before} too little is known to compare with it.") };
    };
    let spelled = format::energy(then);
    if facts.figures.completeness.is_incomplete() || figures.completeness.is_incomplete() || then <= 0.0 {
        let share = figures.completeness.ratio().map(format::percent);
        let measured = share.map(|share| format!(" ({share} measured)")).unwrap_or_default();
        return Comparison { change: None, text: format!("For comparison, {before}: {spelled}{measured}.") };
    }
    Comparison { change: Some(format::change(now / then - 1.0)), text: format!("against {before} ({spelled})") }
}

/// Whether all is well, and the sentence that says so or does not.
fn completeness(facts: &Facts<'_>, subject: Option<Subject>) -> (bool, String) {
    let figures = facts.figures;
    let Some(subject) = subject else {
        let sentence = "If your plant was running, please check that its gateway has power and network.";
        return (false, sentence.to_owned());
    };
    let estimated = if subject.energy(figures).is_some_and(|energy| energy.estimated) {
        " Part of the energy was counted over a gap: right in sum, not in time."
    } else {
        ""
    };
    match figures.completeness.ratio() {
        Some(ratio) if figures.completeness.is_incomplete() => {
            let share = format::percent(ratio);
            (false, format!("Only {share} of the expected time was measured, so figures may be too low.{estimated}"))
        }
        Some(ratio) => (true, format!("{} of the expected time was measured.{estimated}", format::percent(ratio))),
        None => (true, format!("No measurements were expected beyond those that arrived.{estimated}")),
    }
}

fn details(subject: Subject, facts: &Facts<'_>) -> Vec<Fact> {
    let figures = facts.figures;
    let energy = |label, energy: Option<Energy>| {
        energy.map(|energy| Fact { label, value: format::energy(energy.watt_hours), note: energy.origin() })
    };
    let plain = |label, value: Option<String>| value.map(|value| Fact { label, value, note: String::new() });
    let consumed = figures.consumed.filter(|_| subject != Subject::Consumed);
    [
        energy("Consumed", consumed),
        energy("Drawn from the grid", figures.imported),
        energy("Fed into the grid", figures.exported),
        figures.peak.map(|peak| Fact {
            label: "Highest power",
            value: format::power(peak.watts),
            note: peak_time(&peak, facts.report, facts.zone),
        }),
        expected(facts.expected),
        plain("Specific yield", figures.specific_yield_kwh_per_kwp.map(format::specific_yield)),
        plain("CO₂ avoided", figures.co2_kg.map(format::co2)),
        plain("Self-sufficiency", figures.self_sufficiency.map(format::percent)),
        plain("Earned", figures.revenue.map(|amount| format::money(amount, &facts.settings.currency))),
        plain("Saved by own use", figures.savings.map(|amount| format::money(amount, &facts.settings.currency))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What was expected, and how much of that came; half a sum is none.
fn expected(of_all: ExpectedOfAll) -> Option<Fact> {
    let fact = |value: String, note: String| Some(Fact { label: "Expected", value, note });
    match of_all {
        ExpectedOfAll::Unset => None,
        ExpectedOfAll::Unknown => fact("not known of all locations".to_owned(), String::new()),
        ExpectedOfAll::Known(expected) => {
            let share = format::percent(expected.ratio()?);
            let known = expected.known.ratio().filter(|_| expected.known.is_incomplete()).map(format::percent);
            let measured = known.map(|known| format!(", {known} of the time measured")).unwrap_or_default();
            let days = if expected.is_part { format!("in {} days, ", expected.days) } else { String::new() };
            fact(format::energy(expected.due_wh), format!("{days}of which {share} was produced{measured}"))
        }
    }
}

fn peak_time(peak: &Peak, report: Report, zone: &Zone) -> String {
    let local = zone.civil(peak.at);
    let pattern = match report {
        Report::Daily => "at %H:%M",
        Report::Monthly => "on %-d %B at %H:%M",
    };
    local.strftime(pattern).to_string()
}

fn gateway_row(subject: Option<Subject>, gateway: &GatewayFacts<'_>) -> GatewayRow {
    let figures = gateway.figures;
    let energy = subject.unwrap_or(Subject::Produced).energy(figures);
    GatewayRow {
        name: gateway.name.to_owned(),
        location: gateway.location.to_owned(),
        energy: energy.map_or_else(|| "no data".to_owned(), |energy| format::kwh(energy.watt_hours)),
        origin: energy.map(|energy| energy.origin()).unwrap_or_default(),
        peak: figures.peak.filter(|_| energy.is_some()).map_or_else(|| "–".to_owned(), |peak| format::power(peak.watts)),
        measured: figures.completeness.ratio().map_or_else(|| "–".to_owned(), format::percent),
    }
}

fn chart(subject: Option<Subject>, facts: &Facts<'_>, content_id: String) -> ChartWords {
    let subject = subject.unwrap_or(Subject::Produced);
    let title = match facts.report {
        Report::Daily => format!("{} in the last 7 days", subject.verb()),
        Report::Monthly => format!("{} day by day", subject.verb()),
    };
    let bars: Vec<Bar> = facts.bars.iter().map(|bar| bar_words(subject, bar)).collect();
    let spoken: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.label, bar.value)).collect();
    ChartWords { content_id, alt: format!("{title}: {}.", spoken.join("; ")), title, bars }
}

fn bar_words(subject: Subject, bar: &BucketFigures) -> Bar {
    let label = bar.local.strftime("%a %-d %b").to_string();
    let value = match (bar.state(), subject.of_bar(bar)) {
        (BucketState::Idle, _) => "–".to_owned(),
        (BucketState::Missing, _) | (_, None) => "no data".to_owned(),
        (BucketState::Incomplete, Some(energy)) => format!("{} (incomplete)", format::kwh(energy.watt_hours)),
        (BucketState::Complete, Some(energy)) => format::kwh(energy.watt_hours),
    };
    Bar { label, value }
}

fn footer(facts: &Facts<'_>) -> String {
    let Facts { provider, customer, contact, .. } = facts;
    format!(
        "You get this mail because {provider} looks after gateways for {customer} and keeps this address for their summaries. \
         To change or stop it, write to {contact}."
    )
}

/// With plain spaces in place of those that do not break.
fn plain(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{PeriodKind, Timestamp};
    use heliograph_report::{Completeness, EnergySource, ExpectedYield};

    use super::*;

    fn energy(watt_hours: f64) -> Option<Energy> {
        Some(Energy { watt_hours, source: EnergySource::Counter, estimated: false, flagged: false })
    }

    fn whole() -> Figures {
        Figures { completeness: Completeness { expected_ms: 1000, covered_ms: 1000 }, ..Figures::default() }
    }

    fn text(figures: &Figures, before: Option<&Figures>) -> String {
        text_beside(figures, before, ExpectedOfAll::Unset)
    }

    fn text_beside(figures: &Figures, before: Option<&Figures>, expected: ExpectedOfAll) -> String {
        let (settings, zone) = (ProviderSettings::default(), Zone::utc());
        let summary = Summary::of(&Facts {
            provider: "Sunrise",
            settings: &settings,
            customer: "Anna",
            report: Report::Daily,
            period: Period::around(PeriodKind::Day, jiff::civil::date(2026, 11, 20)),
            zone: &zone,
            figures,
            before,
            expected,
            gateways: Vec::new(),
            bars: &[],
            chart: None,
            public_url: None,
            contact: "mail@sunrise.example",
        });
        format!("Subject: {}\n{}", summary.subject, summary.text().unwrap())
    }

    #[test]
    fn production_comes_first_and_consumption_beside_it() {
        let peak = Some(Peak { watts: 4_321.0, at: Timestamp::parse_rfc3339("2026-11-20T12:15:00Z").unwrap() });
        let figures = Figures {
            produced: energy(12_345.0),
            consumed: energy(8_000.0),
            imported: energy(1_000.0),
            exported: energy(5_345.0),
            peak,
            ..whole()
        };
        let said = text(&figures, Some(&Figures { produced: energy(10_000.0), ..whole() }));
        for expected in [
            "Subject: Sunrise: 12.3 kWh on 20 November 2026",
            "Produced on Friday, 20 November 2026: 12.3 kWh from counter\n+23 % against the day before (10.0 kWh)\n",
            "Consumed: 8.00 kWh from counter\nDrawn from the grid: 1.00 kWh from counter\n\
             Fed into the grid: 5.35 kWh from counter\nHighest power: 4.32 kW at 12:15",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }

    #[test]
    fn what_was_expected_says_how_much_of_it_came_and_was_measured() {
        let figures = Figures { produced: energy(9_000.0), ..whole() };
        let known = |covered_ms| Completeness { expected_ms: 100, covered_ms };
        let expected = ExpectedYield {
            due_wh: 10_000.0,
            produced_wh: Some(9_000.0),
            days: 1,
            known: known(100),
            ..ExpectedYield::default()
        };
        let said = |expected| text_beside(&figures, None, expected);
        assert!(said(ExpectedOfAll::Known(expected)).contains("Expected: 10.0 kWh of which 90 % was produced\n"));
        let partly = ExpectedYield { known: known(80), ..expected };
        assert!(said(ExpectedOfAll::Known(partly)).contains("of which 90 % was produced, 80 % of the time measured\n"));
        assert!(said(ExpectedOfAll::Unknown).contains("Expected: not known of all locations\n"));
        assert!(!said(ExpectedOfAll::Unset).contains("Expected"));
    }

    #[test]
    fn each_energy_says_where_it_comes_from() {
        let integrated = Energy { source: EnergySource::Power, ..energy(12_345.0).unwrap() };
        let estimated = Energy { source: EnergySource::Interval, estimated: true, ..energy(1_000.0).unwrap() };
        let figures = Figures { produced: Some(integrated), imported: Some(estimated), ..whole() };
        let said = text(&figures, None);
        for expected in [
            "Subject: Sunrise: 12.3 kWh on 20 November 2026\n",
            "Produced on Friday, 20 November 2026: 12.3 kWh from integrated power\n",
            "Drawn from the grid: 1.00 kWh from interval energy, partly estimated\n",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }

    #[test]
    fn where_nothing_is_produced_the_mail_is_about_consumption() {
        let said = text(&Figures { consumed: energy(8_000.0), ..whole() }, None);
        assert!(said.contains("Consumed on Friday, 20 November 2026: 8.00 kWh"), "{said}");
        assert!(!said.contains("Consumed: "), "{said}");
    }

    #[test]
    fn a_zero_that_was_measured_is_a_figure_and_one_that_was_not_is_none() {
        let measured = Figures { produced: energy(0.0), ..whole() };
        assert!(text(&measured, None).contains("Produced on Friday, 20 November 2026: 0 Wh"));
        let unheard = Figures { completeness: Completeness { expected_ms: 1000, covered_ms: 0 }, ..measured };
        assert!(text(&unheard, None).contains("Subject: Sunrise: no data on 20 November 2026"));
    }

    #[test]
    fn nothing_is_compared_in_percent_where_part_of_it_is_missing() {
        let half = Figures { produced: energy(4_000.0), completeness: Completeness { expected_ms: 2, covered_ms: 1 }, ..whole() };
        let full = Figures { produced: energy(8_000.0), ..whole() };
        for (figures, before, expected) in [
            (&half, Some(&full), "For comparison, the day before: 8.00 kWh (100 % measured)."),
            (&full, Some(&half), "For comparison, the day before: 4.00 kWh (50 % measured)."),
            (&full, None, "Of the day before too little is known to compare with it."),
        ] {
            let said = text(figures, before);
            assert!(said.contains(expected) && !said.contains(" % against"), "{said}");
        }
    }
}
