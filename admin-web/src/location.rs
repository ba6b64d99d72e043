//! Sites: their page and the form that makes and changes them. What reports follow and
//! what is installed there is in `location/manage.rs` and beside it.

mod arrays;
mod manage;
mod points;
mod targets;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Location, LocationId, Position, Zone};
use heliograph_report::export::{Export, Format};
use heliograph_report::{LocationReport, Scope, location_report};
use serde::Deserialize;

use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::figures::{Comparison, Status, Tile, completeness, expected_tile, kwh, source_note, tiles};
use crate::form::{Problems, parse_name, parse_optional_number};
use crate::panel::Panel;
use crate::period::{PeriodQuery, PeriodView};
use crate::report_file::report_file;
use crate::report_view::{BarRow, Charts, GapRow, InverterRow, bar_rows, gap_rows, inverter_rows};
use crate::settings::zone_names;
use crate::shell::{Section, Shell, encode};
use crate::token;

pub(crate) use arrays::{add_array, remove_array, save_array, show_array};
pub(crate) use manage::manage;
pub(crate) use points::{add_point, bind_point, end_point, remove_point, save_point, show_point, unbind_point};
pub(crate) use targets::{KWP, MONTHS, TargetForm, remove_targets, save_targets};

/// The largest plant there is has a few GW.
const MAX_KWP: f64 = 100e6;

struct GatewayRow {
    name: String,
    path: String,
    status: Status,
    produced: String,
    completeness: String,
    incomplete: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "location.html")]
struct LocationPage {
    shell: Shell,
    name: String,
    path: String,
    zone: String,
    kwp: String,
    position: String,
    period: PeriodView,
    tiles: Vec<Tile>,
    source: String,
    charts: Charts,
    bars: Vec<BarRow>,
    gateways: Vec<GatewayRow>,
    inverters: Vec<InverterRow>,
    gaps: Vec<GapRow>,
}

/// `GET /locations/{location}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(location): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Refusal> {
    let report = read_report(&panel, &location, &query).await?;
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
    Ok(LocationPage::new(&panel, shell, &report).into_response())
}

/// The report of all that was there, for somebody to whom the location is open as a whole.
pub(crate) async fn read_report(panel: &Panel, location: &str, query: &PeriodQuery) -> Result<LocationReport, Refusal> {
    let location: LocationId = read_id(location)?;
    let now = panel.now();
    let zone = panel.store().location_fetch(location).await?.zone;
    let period = query.parse(&zone, now)?;
    Ok(location_report(panel.store(), location, period, &Scope::everything(), now).await?)
}

/// `GET /locations/{location}/report.csv`, `.xlsx` and `.json`
pub(crate) async fn file(
    format: Format,
    State(panel): State<Panel>,
    _: Reader,
    Path(location): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Refusal> {
    let report = read_report(&panel, &location, &query).await?;
    let now = panel.now();
    report_file(format, move || Export::of_location(&report, now)).await
}

impl LocationPage {
    fn new(panel: &Panel, shell: Shell, report: &LocationReport) -> Self {
        let (now, location) = (panel.now(), &report.location);
        let path = format!("/locations/{}", location.id);
        let period = PeriodView::of(&report.period, path.clone(), &location.zone, now);
        let comparison = Comparison {
            change: report.change(),
            to_date: report.previous_to_date.is_some(),
            before: period.before,
            year_before: report.year_before.as_ref(),
        };
        let row = |line: &heliograph_report::GatewayFigures| GatewayRow {
            path: format!("/gateways/{}", encode(line.id.as_str())),
            name: line.name.clone(),
            status: Status::of(line.state, line.reachability, line.last_seen, now),
            produced: kwh(line.figures.produced),
            completeness: completeness(line.figures.completeness),
            incomplete: line.figures.completeness.is_incomplete(),
        };
        let mut tiles = tiles(&report.figures, report.performance, &comparison, &report.currency, &location.zone);
        if let Some(expected) = &report.expected {
            tiles.insert(1, expected_tile(expected));
        }
        Self {
            tiles,
            source: source_note(report.figures.produced),
            charts: Charts::of(&report.buckets, report.step, &format!("Energy of {}", location.name)),
            bars: bar_rows(&report.buckets, report.step),
            gateways: report.gateways.iter().map(row).collect(),
            inverters: inverter_rows(report),
            gaps: gap_rows(&report.gaps, &location.zone),
            zone: location.zone.to_string(),
            kwp: location.installed_kwp.map(|kwp| format!("{kwp} kWp")).unwrap_or_default(),
            position: location.position.as_ref().map(spell_position).unwrap_or_default(),
            name: location.name.clone(),
            path,
            period,
            shell,
        }
    }
}

fn spell_position(position: &Position) -> String {
    let side = |degrees: f64, positive: char, negative: char| {
        format!("{:.3}° {}", degrees.abs(), if degrees < 0.0 { negative } else { positive })
    };
    format!("{}, {}", side(position.latitude(), 'N', 'S'), side(position.longitude(), 'E', 'W'))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct LocationForm {
    pub(crate) name: String,
    pub(crate) zone: String,
    pub(crate) latitude: String,
    pub(crate) longitude: String,
    pub(crate) kwp: String,
}

impl LocationForm {
    fn of(location: &Location) -> Self {
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        Self {
            name: location.name.clone(),
            zone: location.zone.to_string(),
            latitude: number(location.position.map(|position| position.latitude())),
            longitude: number(location.position.map(|position| position.longitude())),
            kwp: number(location.installed_kwp),
        }
    }

    pub(crate) fn parse(&self, id: LocationId) -> Result<Location, Problems> {
        let mut problems = Problems::default();
        let name = problems.note("name", parse_name(&self.name).map_err(|problem| format!("the name {problem}")));
        let zone = problems.note("zone", Zone::parse(self.zone.trim()));
        let position = self.parse_position(&mut problems);
        let kwp = parse_optional_number(&self.kwp, 0.001, MAX_KWP).map_err(|problem| format!("the installed power {problem}"));
        let kwp = problems.note("kwp", kwp);
        match (name, zone, position, kwp) {
            (Some(name), Some(zone), Some(position), Some(installed_kwp)) => {
                Ok(Location { id, name, zone, position, installed_kwp })
            }
            _ => Err(problems),
        }
    }

    fn parse_position(&self, problems: &mut Problems) -> Option<Option<Position>> {
        let degrees = |text: &str, most: f64, what: &str| {
            parse_optional_number(text, -most, most).map_err(|problem| format!("the {what} {problem}"))
        };
        let latitude = problems.note("latitude", degrees(&self.latitude, 90.0, "latitude"))?;
        let longitude = problems.note("longitude", degrees(&self.longitude, 180.0, "longitude"))?;
        match (latitude, longitude) {
            (None, None) => Some(None),
            (Some(latitude), Some(longitude)) => problems.note("latitude", Position::new(latitude, longitude)).map(Some),
            (Some(_), None) => {
                problems.add("longitude", "A position needs both.");
                None
            }
            (None, Some(_)) => {
                problems.add("latitude", "A position needs both.");
                None
            }
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "location-form.html")]
struct LocationFormPage {
    shell: Shell,
    /// Empty where the location is new.
    name: String,
    path: String,
    form: LocationForm,
    problems: Problems,
    zones: Vec<String>,
}

async fn form_page(
    panel: &Panel,
    actor: &Actor,
    existing: Option<&Location>,
    form: LocationForm,
    problems: Problems,
) -> Result<Response, Refusal> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let page = LocationFormPage {
        name: existing.map(|location| location.name.clone()).unwrap_or_default(),
        path: existing.map(|location| format!("/locations/{}", location.id)).unwrap_or_default(),
        form,
        problems,
        zones: zone_names(),
        shell,
    };
    Ok((status, page).into_response())
}

/// `GET /locations/new`
pub(crate) async fn new(State(panel): State<Panel>, Staff(actor): Staff) -> Result<Response, Refusal> {
    let zone = panel.store().settings_fetch().await?.zone.to_string();
    form_page(&panel, &actor, None, LocationForm { zone, ..LocationForm::default() }, Problems::default()).await
}

/// `POST /locations/new`
pub(crate) async fn create(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<LocationForm>,
) -> Result<Response, Refusal> {
    let id = LocationId::new(token::fresh_uuid(panel.now()));
    match form.parse(id) {
        Ok(location) => {
            actor.store(&panel).location_save(location).await?;
            tracing::info!(user = %actor.user.id, location = %id, "location added");
            Ok(Redirect::to(&format!("/locations/{id}")).into_response())
        }
        Err(problems) => form_page(&panel, &actor, None, form, problems).await,
    }
}

/// `GET /locations/{location}/edit`
pub(crate) async fn edit(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
) -> Result<Response, Refusal> {
    let location = panel.store().location_fetch(read_id(&location)?).await?;
    form_page(&panel, &actor, Some(&location), LocationForm::of(&location), Problems::default()).await
}

/// `POST /locations/{location}/edit`
pub(crate) async fn save(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
    Form(form): Form<LocationForm>,
) -> Result<Response, Refusal> {
    let existing = panel.store().location_fetch(read_id(&location)?).await?;
    match form.parse(existing.id) {
        Ok(location) => {
            actor.store(&panel).location_save(location).await?;
            tracing::info!(user = %actor.user.id, location = %existing.id, "location changed");
            Ok(Redirect::to(&format!("/locations/{}", existing.id)).into_response())
        }
        Err(problems) => form_page(&panel, &actor, Some(&existing), form, problems).await,
    }
}
