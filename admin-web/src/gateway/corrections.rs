//! Corrections of a gateway: made with a reason after their effect was shown, listed with
//! who made them, taken back.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Correction, CorrectionId, CorrectionKind, Kind, SeriesKey, TimeWindow, Timestamp, Zone, canonical_unit};
use heliograph_report::{CorrectedDay, CorrectionPreview, DayFigure, correction_preview, format};
use heliograph_store::{CorrectionNew, GatewayRecord, SensorRecord, SeriesRecord, StoreError};
use serde::Deserialize;

use super::manage::{fetch, path_of};
use super::zone_of;
use crate::access::{Actor, Reader, Staff};
use crate::audit::{Names, correction_text};
use crate::error::{Refusal, read_id};
use crate::figures::UNKNOWN;
use crate::form::{Problems, local_text, parse_local, parse_optional_local, sentence};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};
use crate::token;

/// What was wrong, by which the form differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Exclude,
    Scale,
    Shift,
    Manual,
    MeterSwap,
}

impl Way {
    const ALL: [Self; 5] = [Self::MeterSwap, Self::Exclude, Self::Scale, Self::Shift, Self::Manual];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::Manual => "manual",
            Self::MeterSwap => "meter-swap",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Exclude => "Leave readings out",
            Self::Scale => "Multiply values",
            Self::Shift => "Move times",
            Self::Manual => "Set a value",
            Self::MeterSwap => "A meter was swapped",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Exclude => "For readings that are nonsense. What they said counts nowhere.",
            Self::Scale => {
                "For a sensor that says a tenth or ten times what it should. Of a counter, what it rises is multiplied."
            }
            Self::Shift => "For readings that carry wrong times, because a clock was wrong.",
            Self::Manual => {
                "For a time of which you know better than the sensor. A value of the moment is held; of a counter it is what it stood at."
            }
            Self::MeterSwap => {
                "The old meter ends with its last value and the new one begins with its first, so that the step between them counts as nothing."
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == text)
    }

    fn has_end(self) -> bool {
        self != Self::MeterSwap
    }

    /// Whether it can be done to a series of a kind.
    fn fits(self, kind: Kind) -> bool {
        self != Self::MeterSwap || kind.accumulates()
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct CorrectionForm {
    kind: String,
    series: String,
    from: String,
    until: String,
    factor: String,
    shift: String,
    value: String,
    last: String,
    first: String,
    reason: String,
    action: String,
}

/// A series of the gateway, for the form.
struct Choice {
    value: String,
    label: String,
    key: SeriesKey,
    kind: Kind,
}

impl Choice {
    fn of(gateway: &GatewayRecord, sensor: &SensorRecord, series: &SeriesRecord) -> Self {
        let key = SeriesKey {
            gateway: gateway.id.clone(),
            sensor: sensor.id.clone(),
            metric: series.metric.clone(),
            unit: series.unit.clone(),
        };
        let unit = if series.unit.as_str().is_empty() { String::new() } else { format!(" in {}", series.unit) };
        Self {
            value: [sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()].map(encode).join("/"),
            label: format!("{} · {}{unit}", sensor.name(), series.metric),
            key,
            kind: series.kind,
        }
    }
}

impl CorrectionForm {
    /// All fields, to be sent once more.
    fn hidden(&self) -> [(&'static str, &str); 10] {
        [
            ("kind", self.kind.as_str()),
            ("series", &self.series),
            ("from", &self.from),
            ("until", &self.until),
            ("factor", &self.factor),
            ("shift", &self.shift),
            ("value", &self.value),
            ("last", &self.last),
            ("first", &self.first),
            ("reason", &self.reason),
        ]
    }

    fn parse<'a>(
        &self,
        way: Way,
        choices: &'a [Choice],
        zone: &Zone,
    ) -> Result<(&'a Choice, TimeWindow, CorrectionKind), Problems> {
        let mut problems = Problems::default();
        let choice = choices.iter().find(|choice| choice.value == self.series);
        let choice = problems.note("series", choice.ok_or("choose what was wrong"));
        if choice.is_some_and(|choice| !way.fits(choice.kind)) {
            problems.add("series", "Only a counter goes on from one meter to the next.");
        }
        let window = self.parse_window(way, zone, &mut problems);
        let change = choice.and_then(|choice| self.parse_change(way, choice, &mut problems));
        let reason = self.reason.trim().chars().count();
        if reason == 0 || reason > Correction::MAX_REASON {
            problems.add("reason", "A reason is needed, of up to 500 characters.");
        }
        match (choice, window, change) {
            (Some(choice), Some(window), Some(change)) if problems.is_empty() => Ok((choice, window, change)),
            _ => Err(problems),
        }
    }

    fn parse_window(&self, way: Way, zone: &Zone, problems: &mut Problems) -> Option<TimeWindow> {
        let from = problems.note("from", parse_local(&self.from, zone));
        let until = match way.has_end() {
            true => problems.note("until", parse_optional_local(&self.until, zone)),
            false => Some(None),
        };
        let window = TimeWindow { from: from?, until: until? };
        let problem = match (way, window.until) {
            _ if window.is_empty() => "It must end after it begins.",
            (Way::Manual, None) => "One value must have an end.",
            (Way::Manual, Some(until)) if until.millis_since(window.from) > Correction::MAX_MANUAL_MS => {
                "One value must end within a year."
            }
            _ => return Some(window),
        };
        problems.add("until", problem);
        None
    }

    fn parse_change(&self, way: Way, choice: &Choice, problems: &mut Problems) -> Option<CorrectionKind> {
        let unit = choice.key.unit.as_str();
        match way {
            Way::Exclude => Some(CorrectionKind::Exclude),
            Way::Scale => problems.note("factor", parse_factor(&self.factor)).map(|factor| CorrectionKind::Scale { factor }),
            Way::Shift => problems.note("shift", parse_shift(&self.shift)).map(|millis| CorrectionKind::Shift { millis }),
            Way::Manual => problems.note("value", parse_value(&self.value, unit)).map(|value| CorrectionKind::Manual { value }),
            Way::MeterSwap => {
                let last = problems.note("last", parse_value(&self.last, unit));
                let first = problems.note("first", parse_value(&self.first, unit));
                last.zip(first).map(|(last_old, first_new)| CorrectionKind::MeterSwap { last_old, first_new })
            }
        }
    }
}

fn parse_factor(text: &str) -> Result<f64, &'static str> {
    let factor = text.trim().replace(',', ".").parse::<f64>().map_err(|_| "the factor is not a number")?;
    if factor.is_finite() && factor != 0.0 { Ok(factor) } else { Err("the factor must be a number other than 0") }
}

/// By how much times are moved, in milliseconds.
fn parse_shift(text: &str) -> Result<i64, &'static str> {
    let shift: jiff::SignedDuration =
        text.trim().trim_start_matches('+').parse().map_err(|_| "it is not a time such as 1h or -30m")?;
    match i64::try_from(shift.as_millis()) {
        Ok(0) => Err("it must be moved by something"),
        Ok(millis) if millis.saturating_abs() <= Correction::MAX_SHIFT_MS => Ok(millis),
        _ => Err("readings can be moved by up to 20 years"),
    }
}

/// A value in the unit of its series, or in one that can be turned into it: `12345 kWh`.
fn parse_value(text: &str, unit: &str) -> Result<f64, String> {
    let text = text.trim().replace(',', ".");
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (digits, spelled) = text.split_at(end);
    let number: f64 = digits.parse().map_err(|_| "it is not a number such as 12345.6".to_owned())?;
    let spelled = spelled.trim();
    if spelled.is_empty() || spelled == unit {
        return Ok(number);
    }
    match canonical_unit(spelled) {
        Some(scaled) if scaled.unit == unit => Ok(scaled.apply(number)),
        _ => Err(format!("“{spelled}” cannot be turned into {}", if unit.is_empty() { "a bare number" } else { unit })),
    }
}

/// A correction as the page lists it.
struct Row {
    id: CorrectionId,
    what: String,
    series: String,
    from: String,
    until: String,
    reason: String,
    by: String,
    at: String,
    /// Who took it back and when; empty where it counts.
    reverted: String,
}

impl Row {
    fn of(correction: &Correction, names: &Names, zone: &Zone) -> Self {
        let Correction { id, series, window, kind, reason, by, at, reverted } = correction;
        let is_instant = matches!(kind, CorrectionKind::MeterSwap { .. });
        Self {
            id: *id,
            what: sentence(&correction_text(kind, series.unit.as_str())),
            series: format!("{} · {}", series.sensor, series.metric),
            from: if window.from == Timestamp::MIN { "the beginning".to_owned() } else { local_text(window.from, zone) },
            until: match window.until {
                _ if is_instant => String::new(),
                Some(until) => format!("to {}", local_text(until, zone)),
                None => "on".to_owned(),
            },
            reason: reason.clone(),
            by: names.actor(by),
            at: local_text(*at, zone),
            reverted: match reverted {
                Some(back) => format!("by {}, {}", names.actor(&back.by), local_text(back.at, zone)),
                None => String::new(),
            },
        }
    }
}

/// What a correction would change, as the page shows it.
struct Effect {
    what: &'static str,
    days: Vec<(String, String, String)>,
    sum: Option<(String, String)>,
    note: String,
}

impl Effect {
    fn of(preview: Option<&CorrectionPreview>, unit: &str) -> Self {
        let Some(preview) = preview else {
            let note = "There are too many readings to say beforehand which figures change.".to_owned();
            return Self { what: "", days: Vec::new(), sum: None, note };
        };
        let show = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), |value| shown(value, preview.figure, unit));
        let row = |day: &CorrectedDay| (day.day.strftime("%-d %b %Y").to_string(), show(day.before), show(day.after));
        let total = |side: fn(&CorrectedDay) -> Option<f64>| preview.days.iter().filter_map(side).sum::<f64>();
        let adds_up = preview.figure != DayFigure::Mean && preview.days.len() > 1;
        Self {
            what: match preview.figure {
                DayFigure::Mean => "Mean",
                DayFigure::Rise | DayFigure::Energy => "Energy",
            },
            days: preview.days.iter().map(row).collect(),
            sum: adds_up.then(|| (show(Some(total(|day| day.before))), show(Some(total(|day| day.after))))),
            note: match (preview.until, preview.days.is_empty()) {
                (Some(until), _) => format!("It goes on; days from {} on were not looked at.", until.strftime("%-d %b %Y")),
                (None, true) => "No day’s figure of this series would change.".to_owned(),
                (None, false) => String::new(),
            },
        }
    }
}

fn shown(value: f64, figure: DayFigure, unit: &str) -> String {
    match (figure, unit) {
        (DayFigure::Energy, _) | (DayFigure::Rise, "Wh") => format::energy(value),
        _ => format!("{value:.3}\u{a0}{unit}"),
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "corrections.html")]
struct CorrectionsPage {
    shell: Shell,
    name: String,
    path: String,
    zone: String,
    ways: [Way; 5],
    way: Option<Way>,
    choices: Vec<Choice>,
    form: CorrectionForm,
    effect: Option<Effect>,
    /// Up to when readings are gone, where the correction begins before.
    sealed: String,
    rows: Vec<Row>,
    problems: Problems,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct WayQuery {
    kind: String,
}

/// `GET /gateways/{gateway}/corrections`
pub(crate) async fn corrections(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(gateway): Path<String>,
    Query(query): Query<WayQuery>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?.saying(&done);
    let form = CorrectionForm { kind: query.kind, ..CorrectionForm::default() };
    let seen = seen(&panel, &actor, &gateway).await?;
    Ok(page(&panel, (shell, seen), &gateway, form, None, Problems::default()).await?.into_response())
}

/// What of a gateway somebody sees, and may correct.
async fn seen(panel: &Panel, actor: &Actor, gateway: &GatewayRecord) -> Result<TimeWindow, Refusal> {
    actor.scope(panel).await?.window(&gateway.id, panel.now()).ok_or(Refusal::NotFound)
}

async fn page(
    panel: &Panel,
    (shell, seen): (Shell, TimeWindow),
    gateway: &GatewayRecord,
    form: CorrectionForm,
    effect: Option<(Effect, String)>,
    problems: Problems,
) -> Result<CorrectionsPage, Refusal> {
    let zone = zone_of(panel, gateway).await?;
    let names = Names::read(panel, zone.clone()).await?;
    let mut all = panel.store().correction_list().await?;
    all.retain(|correction| correction.series.gateway == gateway.id && correction.window.from >= seen.from);
    let (effect, sealed) = effect.map_or((None, String::new()), |(effect, sealed)| (Some(effect), sealed));
    let way = Way::parse(&form.kind);
    let mut choices = choices(panel, gateway).await?;
    choices.retain(|choice| way.is_none_or(|way| way.fits(choice.kind)));
    Ok(CorrectionsPage {
        name: gateway.name().to_owned(),
        path: path_of(&gateway.id),
        zone: zone.to_string(),
        ways: Way::ALL,
        way,
        choices,
        form,
        effect,
        sealed,
        rows: all.iter().rev().map(|correction| Row::of(correction, &names, &zone)).collect(),
        problems,
        shell,
    })
}

async fn choices(panel: &Panel, gateway: &GatewayRecord) -> Result<Vec<Choice>, Refusal> {
    let sensors = panel.store().sensor_list(&gateway.id).await?;
    let of_sensor = |sensor: &SensorRecord| -> Vec<Choice> {
        sensor.series.iter().map(|series| Choice::of(gateway, sensor, series)).collect()
    };
    Ok(sensors.iter().flat_map(of_sensor).collect())
}

/// `POST /gateways/{gateway}/corrections`: shows what would change, then makes it.
pub(crate) async fn correct(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(form): Form<CorrectionForm>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let zone = zone_of(&panel, &gateway).await?;
    let choices = choices(&panel, &gateway).await?;
    let Some(way) = Way::parse(&form.kind) else {
        return Err(Refusal::BadRequest("The form names no kind of correction.".to_owned()));
    };
    let seen = seen(&panel, &actor, &gateway).await?;
    let (choice, window, kind) = match form.parse(way, &choices, &zone) {
        Ok(parsed) if parsed.1.from >= seen.from => parsed,
        Ok(_) => {
            let mut problems = Problems::default();
            problems.add("from", format!("It has stood here since {}: choose a later time.", local_text(seen.from, &zone)));
            return refused(&panel, &actor, &gateway, form, problems).await;
        }
        Err(problems) => return refused(&panel, &actor, &gateway, form, problems).await,
    };
    let id = CorrectionId::new(token::fresh_uuid(panel.now()));
    let new = CorrectionNew { id, series: choice.key.clone(), window, kind, reason: form.reason.trim().to_owned() };
    if form.action != "save" {
        let shown = effect(&panel, &new, &zone).await?;
        let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
        return Ok(page(&panel, (shell, seen), &gateway, form, Some(shown), Problems::default()).await?.into_response());
    }
    match actor.store(&panel).correction_create(new).await {
        Ok(_) => {}
        Err(StoreError::Conflict(problem)) => {
            let mut problems = Problems::default();
            problems.add("series", sentence(&problem));
            return refused(&panel, &actor, &gateway, form, problems).await;
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, correction = %id, kind = kind.as_str(), "correction made");
    Ok(back(&gateway, "corrected"))
}

async fn refused(
    panel: &Panel,
    actor: &Actor,
    gateway: &GatewayRecord,
    form: CorrectionForm,
    problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let seen = seen(panel, actor, gateway).await?;
    let page = page(panel, (shell, seen), gateway, form, None, problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// What it would change, and up to when readings are gone that it would be about.
async fn effect(panel: &Panel, new: &CorrectionNew, zone: &Zone) -> Result<(Effect, String), Refusal> {
    let CorrectionNew { id, series, window, kind, reason } = new.clone();
    let unmade = Correction { id, series, window, kind, reason, by: String::new(), at: panel.now(), reverted: None };
    let preview = correction_preview(panel.store(), &unmade, zone, panel.now()).await?;
    let sealed = panel.store().sealed_until().await?;
    let sealed = if window.from < sealed { local_text(sealed, zone) } else { String::new() };
    Ok((Effect::of(preview.as_ref(), new.series.unit.as_str()), sealed))
}

fn back(gateway: &GatewayRecord, done: &str) -> Response {
    Redirect::to(&format!("{}/corrections?done={done}", path_of(&gateway.id))).into_response()
}

/// `POST /gateways/{gateway}/corrections/{correction}/revert`
pub(crate) async fn revert(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((gateway, correction)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let correction: CorrectionId = read_id(&correction)?;
    let all = panel.store().correction_list().await?;
    let seen = seen(&panel, &actor, &gateway).await?;
    let is_theirs = |known: &Correction| known.series.gateway == gateway.id && known.window.from >= seen.from;
    if !all.iter().any(|known| known.id == correction && is_theirs(known)) {
        return Err(Refusal::NotFound);
    }
    match actor.store(&panel).correction_revert(correction).await {
        Ok(_) => {}
        Err(StoreError::Conflict(problem)) => return Err(Refusal::Conflict(sentence(&problem))),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, %correction, "correction taken back");
    Ok(back(&gateway, "reverted"))
}

impl CorrectionsPage {
    fn is_chosen(&self, way: &Way) -> bool {
        self.way == Some(*way)
    }

    /// The address of the form for a kind.
    fn way_path(&self, way: &Way) -> String {
        format!("{}/corrections?kind={}", self.path, way.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_any_unit_that_can_be_turned_into_the_series_own() {
        for (text, expected) in [("12345", Ok(12345.0)), ("12,5 kWh", Ok(12500.0)), (" 3MWh ", Ok(3e6)), ("7 Wh", Ok(7.0))] {
            assert_eq!(parse_value(text, "Wh"), expected, "{text}");
        }
        for bad in ["", "kWh", "1.2.3", "5 W", "5 apples"] {
            assert!(parse_value(bad, "Wh").is_err(), "{bad}");
        }
        assert_eq!(parse_value("5 W", "Wh"), Err("“W” cannot be turned into Wh".to_owned()));
    }

    #[test]
    fn times_are_moved_by_something_and_not_for_ever() {
        assert_eq!(parse_shift("1h"), Ok(3_600_000));
        assert_eq!(parse_shift("+30m"), Ok(1_800_000));
        assert_eq!(parse_shift("-2h"), Ok(-7_200_000));
        for bad in ["", "0s", "soon", "200000h"] {
            assert!(parse_shift(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_factor_changes_something_and_is_finite() {
        assert_eq!(parse_factor("0,1"), Ok(0.1));
        for bad in ["0", "NaN", "inf", "ten"] {
            assert!(parse_factor(bad).is_err(), "{bad}");
        }
    }
}
