//! Corrections of a gateway: made with a reason after their effect was shown, listed with
//! who made them, taken back.

mod form;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Correction, CorrectionId, CorrectionKind, SeriesCorrections, TimeWindow, Timestamp, Zone};
use heliograph_report::{CorrectedDay, CorrectionPreview, DayFigure, correction_preview, format};
use heliograph_store::{CorrectionNew, GatewayRecord, SensorRecord, StoreError};
use serde::Deserialize;

use super::manage::{fetch, path_of};
use super::zone_of;
use crate::access::{Actor, Reader, Staff};
use crate::audit::{Names, correction_text};
use crate::error::{Refusal, read_id};
use crate::figures::UNKNOWN;
use crate::form::{Problems, local_text, sentence};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell};
use crate::token;

use form::{Choice, CorrectionForm, Way};

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
    Ok(page(&panel, &actor, shell, &gateway, form, None, Problems::default()).await?.into_response())
}

/// Whether what a correction changes, once it is made or taken back, lies within what
/// somebody sees: a shift reaches to where readings come from, and go to.
async fn is_within(panel: &Panel, correction: &Correction, seen: TimeWindow) -> Result<bool, Refusal> {
    let all = panel.store().correction_list().await?;
    let others = all.iter().filter(|other| other.series == correction.series && other.id != correction.id);
    let touched = SeriesCorrections::of(others).touched(correction);
    Ok(touched.iter().all(|window| seen.from <= window.from))
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    shell: Shell,
    gateway: &GatewayRecord,
    form: CorrectionForm,
    effect: Option<(Effect, String)>,
    problems: Problems,
) -> Result<CorrectionsPage, Refusal> {
    let seen = actor.seen(panel, &gateway.id).await?;
    let zone = zone_of(panel, gateway).await?;
    let names = Names::read(panel, zone.clone()).await?;
    let mut all = panel.store().correction_list().await?;
    all.retain(|correction| correction.series.gateway == gateway.id && correction.window.from >= seen.from);
    let (effect, sealed) = effect.map_or((None, String::new()), |(effect, sealed)| (Some(effect), sealed));
    let way = Way::parse(&form.kind);
    let mut choices = choices(panel, actor, gateway).await?;
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

async fn choices(panel: &Panel, actor: &Actor, gateway: &GatewayRecord) -> Result<Vec<Choice>, Refusal> {
    let sensors = actor.sensors(panel, &gateway.id).await?;
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
    let choices = choices(&panel, &actor, &gateway).await?;
    let Some(way) = Way::parse(&form.kind) else {
        return Err(Refusal::BadRequest("The form names no kind of correction.".to_owned()));
    };
    let seen = actor.seen(&panel, &gateway.id).await?;
    let (choice, window, kind) = match form.parse(way, &choices, &zone) {
        Ok(parsed) => parsed,
        Err(problems) => return refused(&panel, &actor, &gateway, form, problems).await,
    };
    let id = CorrectionId::new(token::fresh_uuid(panel.now()));
    let new = CorrectionNew { id, series: choice.key.clone(), window, kind, reason: form.reason.trim().to_owned() };
    let unmade = unmade(&new, panel.now());
    if seen.from > window.from || !is_within(&panel, &unmade, seen).await? {
        let mut problems = Problems::default();
        problems.add("from", format!("It has stood here since {}: choose a later time.", local_text(seen.from, &zone)));
        return refused(&panel, &actor, &gateway, form, problems).await;
    }
    let sealed = panel.store().sealed_until().await?;
    if kind.moves_readings() && window.from < sealed {
        let mut problems = Problems::default();
        let since = local_text(sealed, &zone);
        problems.add(
            "from",
            format!("Readings of before are gone, and figures before {since} stay as they are: choose that time or a later one."),
        );
        return refused(&panel, &actor, &gateway, form, problems).await;
    }
    if form.action != "save" {
        let shown = effect(&panel, &unmade, &zone, (seen, sealed)).await?;
        let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
        let page = page(&panel, &actor, shell, &gateway, form, Some(shown), Problems::default()).await?;
        return Ok(page.into_response());
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
    let page = page(panel, actor, shell, gateway, form, None, problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// A correction as it would be.
fn unmade(new: &CorrectionNew, now: Timestamp) -> Correction {
    let CorrectionNew { id, series, window, kind, reason } = new.clone();
    Correction { id, series, window, kind, reason, by: String::new(), at: now, reverted: None }
}

/// What it would change of the whole days that somebody sees, and up to when readings are
/// gone that it would be about.
async fn effect(
    panel: &Panel,
    unmade: &Correction,
    zone: &Zone,
    (seen, sealed): (TimeWindow, Timestamp),
) -> Result<(Effect, String), Refusal> {
    let mut preview = correction_preview(panel.store(), unmade, zone, panel.now()).await?;
    if let Some(preview) = &mut preview {
        preview.days.retain(|changed| seen.from <= zone.start_of_day(changed.day));
    }
    let sealed = if unmade.window.from < sealed { local_text(sealed, zone) } else { String::new() };
    Ok((Effect::of(preview.as_ref(), unmade.series.unit.as_str()), sealed))
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
    let seen = actor.seen(&panel, &gateway.id).await?;
    let is_it = |known: &&Correction| known.id == correction && known.series.gateway == gateway.id;
    let known = all.iter().find(is_it).filter(|known| known.window.from >= seen.from).ok_or(Refusal::NotFound)?;
    if !is_within(&panel, known, seen).await? {
        return Err(Refusal::Conflict("It reaches to where the gateway stood before. Ask the owner.".to_owned()));
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
