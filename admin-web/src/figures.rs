//! Figures as pages show them: tiles, and words for what stands behind them.

use heliograph_domain::{Currency, GatewayState, Reachability, Timestamp, Zone};
use heliograph_report::{Completeness, Energy, ExpectedYield, Figures, Performance, PerformanceKind, YearBefore, format};

use crate::form::ago;

/// How a tile or a pill is meant, besides what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// The class that the style sheet knows.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One figure with its name and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Tile {
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) note: String,
    pub(crate) tone: Tone,
    /// Where there is more of it; empty where there is nothing.
    pub(crate) path: String,
}

impl Tile {
    pub(crate) fn new(label: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { label, value: value.into(), note: note.into(), tone: Tone::Plain, path: String::new() }
    }

    /// The value without its unit.
    pub(crate) fn number(&self) -> &str {
        self.value.rsplit_once(NO_BREAK).map_or(&self.value, |(number, _)| number)
    }

    /// The unit, which formats join with a no-break space; empty without one.
    pub(crate) fn unit(&self) -> &str {
        self.value.rsplit_once(NO_BREAK).map_or("", |(_, unit)| unit)
    }

    fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

const NO_BREAK: char = '\u{a0}';

/// What stands where nothing is known.
pub(crate) const UNKNOWN: &str = "–";

/// What a report's tiles need besides the figures.
pub(crate) struct Comparison<'a> {
    pub(crate) change: Option<f64>,
    /// Whether the change is against a part of the period before.
    pub(crate) to_date: bool,
    pub(crate) before: &'a str,
    /// The same period a year before, if anything is known of it.
    pub(crate) year_before: Option<&'a YearBefore>,
}

impl Comparison<'_> {
    /// Against the period before, and the same one a year before.
    fn text(&self) -> String {
        let lately = self.change.map(|change| compared(change, self.before, self.to_date));
        let sentences: Vec<String> = lately.into_iter().chain(self.year_before.map(against_last_year)).collect();
        sentences.join(" · ")
    }
}

fn compared(change: f64, before: &str, to_date: bool) -> String {
    let by_now = if to_date { " by this time" } else { "" };
    let text = format::change(change);
    match text.strip_prefix(['+', '−']) {
        Some(share) => {
            let word = if change < 0.0 { "less" } else { "more" };
            format!("{share} {word} than {before}{by_now}")
        }
        None => format!("As much as {before}{by_now}"),
    }
}

/// Where too little is known of that time, says so instead.
fn against_last_year(last: &YearBefore) -> String {
    let little = |known: Completeness| known.ratio().filter(|ratio| *ratio < YearBefore::ENOUGH).map(format::percent);
    match (last.change, little(last.known), little(last.known_now)) {
        (Some(change), _, _) => compared(change, "a year before", last.to_date),
        (None, Some(ratio), _) => format!("Only {ratio} is known of a year before"),
        (None, None, Some(ratio)) => format!("Only {ratio} is known, too little to compare with a year before"),
        (None, None, None) => "Too little is known of a year before".to_owned(),
    }
}

/// The tiles of a report.
pub(crate) fn tiles(
    figures: &Figures,
    performance: Option<Performance>,
    comparison: &Comparison<'_>,
    currency: &Currency,
    zone: &Zone,
) -> Vec<Tile> {
    let mut tiles = vec![
        Tile::new("Energy produced", energy(figures.produced), comparison.text()),
        peak_tile(figures, zone),
        Tile::new("Specific yield", known(figures.specific_yield_kwh_per_kwp, format::specific_yield), yield_note(figures)),
        completeness_tile(figures.completeness),
    ];
    tiles.extend(performance.map(performance_tile));
    for (label, value) in
        [("Consumed", figures.consumed), ("Drawn from the grid", figures.imported), ("Fed into the grid", figures.exported)]
    {
        if value.is_some() {
            tiles.push(Tile::new(label, energy(value), sentence_start(&source_note(value))));
        }
    }
    let shares = [
        ("Self-consumption", figures.self_consumption, "Of what was produced, used on site"),
        ("Self-sufficiency", figures.self_sufficiency, "Of what was consumed, not drawn from the grid"),
    ];
    let shares = shares.into_iter().filter_map(|(label, share, note)| Some(Tile::new(label, format::percent(share?), note)));
    tiles.extend(shares);
    tiles.push(Tile::new("CO₂ avoided", known(figures.co2_kg, format::co2), ""));
    tiles.push(Tile::new("Revenue", figures.revenue.map_or(UNKNOWN.to_owned(), |sum| format::money(sum, currency)), ""));
    if let Some(savings) = figures.savings {
        tiles.push(Tile::new("Saved", format::money(savings, currency), "By what was used on site"));
    }
    tiles
}

fn sentence_start(note: &str) -> String {
    crate::form::sentence(note).trim_end_matches('.').to_owned()
}

fn peak_tile(figures: &Figures, zone: &Zone) -> Tile {
    let note = figures.peak.map(|peak| zone.civil(peak.at).strftime("%-d %b, %H:%M").to_string());
    Tile::new("Peak power", known(figures.peak.map(|peak| peak.watts), format::power), note.unwrap_or_default())
}

fn performance_tile(performance: Performance) -> Tile {
    let light = match performance.kind {
        PerformanceKind::Ratio => "Beside the measured light",
        PerformanceKind::ClearSkyIndex => "Beside a cloudless sky",
    };
    let note = match performance.completeness.ratio().filter(|_| performance.completeness.is_incomplete()) {
        Some(ratio) => format!("{light}, {} of the time", format::percent(ratio)),
        None => light.to_owned(),
    };
    Tile::new(performance.kind.label(), format::percent(performance.value), note)
}

/// What was produced beside what was expected, and of how much of the time that is known.
pub(crate) fn expected_tile(expected: &ExpectedYield) -> Tile {
    let Some(ratio) = expected.ratio() else {
        return Tile::new("Expected", format::energy(expected.whole_wh), "Compared by whole days, once they are over");
    };
    let days = match expected.days {
        _ if !expected.is_part => String::new(),
        1 => " in the one day that can be compared".to_owned(),
        days => format!(" in the {days} days that can be compared"),
    };
    let known = expected.known.ratio().filter(|_| expected.known.is_incomplete()).map(format::percent);
    let measured = known.map(|known| format!(", {known} of the time measured")).unwrap_or_default();
    let note = format!("Of {} expected{days}{measured}", format::energy(expected.due_wh));
    Tile::new("Against expectation", format::percent(ratio), note)
}

fn yield_note(figures: &Figures) -> &'static str {
    match figures.specific_yield_kwh_per_kwp {
        None => "No rated power is known",
        Some(_) => "",
    }
}

/// How complete the data is.
pub(crate) fn completeness_tile(completeness: Completeness) -> Tile {
    let tile = |value: String, note: &str| Tile::new("Completeness", value, note);
    match completeness.ratio() {
        None => tile(UNKNOWN.to_owned(), "Nothing was expected"),
        Some(ratio) if completeness.is_incomplete() => tile(format::percent(ratio), "Some data is missing").toned(Tone::Warn),
        Some(ratio) if ratio < 1.0 => tile(format::percent(ratio), "Hardly anything is missing").toned(Tone::Good),
        Some(ratio) => tile(format::percent(ratio), "Nothing is missing").toned(Tone::Good),
    }
}

/// A completeness in a table.
pub(crate) fn completeness(completeness: Completeness) -> String {
    known(completeness.ratio(), format::percent)
}

/// An energy in a tile.
pub(crate) fn energy(energy: Option<Energy>) -> String {
    known(energy.map(|energy| energy.watt_hours), format::energy)
}

/// An energy in a column of kWh.
pub(crate) fn kwh(energy: Option<Energy>) -> String {
    known(energy.map(|energy| energy.watt_hours), format::kwh)
}

/// Where an energy comes from, in words.
pub(crate) fn source_note(energy: Option<Energy>) -> String {
    energy.map_or_else(String::new, |energy| energy.origin())
}

pub(crate) fn known(value: Option<f64>, show: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// A gateway's state in a word, for a pill.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) word: &'static str,
    pub(crate) class: &'static str,
    pub(crate) seen: String,
}

impl Status {
    pub(crate) fn of(state: GatewayState, reachability: Reachability, last_seen: Option<Timestamp>, now: Timestamp) -> Self {
        let (word, tone) = match (state, reachability) {
            (GatewayState::Waiting, _) => ("Waiting", Tone::Warn),
            (GatewayState::Retired, _) => ("Retired", Tone::Plain),
            (GatewayState::Commissioned, Reachability::Online) => ("Online", Tone::Good),
            (GatewayState::Commissioned, Reachability::Late) => ("Late", Tone::Warn),
            (GatewayState::Commissioned, Reachability::Silent) => ("Silent", Tone::Bad),
            (GatewayState::Commissioned, Reachability::Never) => ("Never heard", Tone::Plain),
        };
        Self { word, class: tone.class(), seen: last_seen.map_or_else(|| "never".to_owned(), |seen| ago(seen, now)) }
    }
}

/// How long a gap is.
pub(crate) fn duration(millis: i64) -> String {
    let minutes = millis / 60_000;
    match minutes {
        ..60 => format!("{minutes} min"),
        60..2_880 => match minutes % 60 {
            0 => format!("{} h", minutes / 60),
            rest => format!("{} h {rest} min", minutes / 60),
        },
        _ => match (minutes / 60) % 24 {
            0 => format!("{} days", minutes / 1440),
            rest => format!("{} days {rest} h", minutes / 1440),
        },
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{Period, PeriodKind};
    use jiff::civil;

    use super::*;

    #[test]
    fn what_was_expected_is_of_days_that_can_be_compared() {
        let known = |covered_ms| Completeness { expected_ms: 100, covered_ms };
        let month = ExpectedYield {
            whole_wh: 30_000.0,
            due_wh: 20_000.0,
            produced_wh: Some(19_000.0),
            days: 20,
            is_part: true,
            known: known(100),
        };
        let check = |expected: ExpectedYield, value: &str, note: &str| {
            let tile = expected_tile(&expected);
            assert_eq!((tile.value.as_str(), tile.note.as_str()), (value, note));
        };
        check(month, "95\u{a0}%", "Of 20.0\u{a0}kWh expected in the 20 days that can be compared");
        let little = ExpectedYield { is_part: false, known: known(50), ..month };
        check(little, "95\u{a0}%", "Of 20.0\u{a0}kWh expected, 50\u{a0}% of the time measured");
        let none = ExpectedYield { due_wh: 0.0, produced_wh: None, days: 0, ..month };
        check(none, "30.0\u{a0}kWh", "Compared by whole days, once they are over");
    }

    #[test]
    fn where_two_years_are_not_compared_it_says_which_one_is_not_known() {
        let check = |change: Option<f64>, then: u64, now: u64, expected: &str| {
            let known = |covered_ms| Completeness { expected_ms: 100, covered_ms };
            // What is known of other sensors says nothing of that.
            let figures = Figures { completeness: known(10), ..Figures::default() };
            let period = Period::around(PeriodKind::Day, civil::date(2025, 6, 10));
            let last = YearBefore { period, to_date: false, figures, known: known(then), known_now: known(now), change };
            assert_eq!(against_last_year(&last), expected);
        };
        check(Some(0.25), 95, 95, "25\u{a0}% more than a year before");
        check(None, 50, 95, "Only 50\u{a0}% is known of a year before");
        check(None, 95, 50, "Only 50\u{a0}% is known, too little to compare with a year before");
        check(None, 95, 95, "Too little is known of a year before");
    }
}
