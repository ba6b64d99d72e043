//! Maintenance windows: when nothing of a gateway or a location is judged.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{
    GatewayId, GatewayState, Location, LocationId, Maintenance, MaintenanceId, MaintenanceSubject, Note, TimeWindow, Timestamp,
    Zone,
};
use heliograph_store::{GatewayRecord, StoreError};
use serde::Deserialize;

use super::People;
use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::figures::Tone;
use crate::form::{Problems, local_text, parse_local};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};
use crate::token;

/// A window may begin this long ago, ms: what was worked on yesterday is no silence.
const LATEST_MS: i64 = 30 * 86_400_000;

/// What can be worked on.
struct Places {
    gateways: Vec<GatewayRecord>,
    locations: Vec<Location>,
    zone: Zone,
}

impl Places {
    async fn read(panel: &Panel, shell: &Shell) -> Result<Self, Refusal> {
        let mut gateways = panel.store().gateway_list().await?;
        gateways.retain(|record| record.state == GatewayState::Commissioned);
        gateways.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(Self { gateways, locations: panel.store().location_list().await?, zone: shell.settings.zone.clone() })
    }

    fn location(&self, id: Option<LocationId>) -> Option<&Location> {
        self.locations.iter().find(|location| Some(location.id) == id)
    }

    fn gateway(&self, id: &GatewayId) -> Option<&GatewayRecord> {
        self.gateways.iter().find(|record| record.id == *id)
    }

    /// The zone in which times of it are typed and shown.
    fn zone(&self, subject: &MaintenanceSubject) -> &Zone {
        let location = match subject {
            MaintenanceSubject::Gateway(id) => self.gateway(id).and_then(|record| record.location),
            MaintenanceSubject::Location(id) => Some(*id),
        };
        self.location(location).map_or(&self.zone, |location| &location.zone)
    }

    /// What it is called, and its page.
    fn name(&self, subject: &MaintenanceSubject) -> (String, String) {
        match subject {
            MaintenanceSubject::Gateway(id) => {
                let name = self.gateway(id).map_or(id.as_str(), GatewayRecord::name).to_owned();
                (name, format!("/gateways/{}", encode(id.as_str())))
            }
            MaintenanceSubject::Location(id) => {
                let name = self.location(Some(*id)).map_or_else(|| id.to_string(), |location| location.name.clone());
                (name, format!("/locations/{id}"))
            }
        }
    }

    fn choices(&self, chosen: &str) -> Vec<Choice> {
        let choice = |value: String, label: String| Choice { is_chosen: value == chosen, value, label };
        let location = |location: &Location| choice(format!("location:{}", location.id), format!("All of {}", location.name));
        let gateway = |record: &GatewayRecord| {
            let place = self.location(record.location).map(|location| format!(", {}", location.name)).unwrap_or_default();
            choice(format!("gateway:{}", record.id), format!("{}{place}", record.name()))
        };
        self.locations.iter().map(location).chain(self.gateways.iter().map(gateway)).collect()
    }

    /// What is chosen, where it is there.
    fn parse(&self, about: &str) -> Result<MaintenanceSubject, &'static str> {
        let unknown = "choose a gateway or a location";
        match about.split_once(':') {
            Some(("gateway", id)) => {
                let id = GatewayId::parse(id).map_err(|_| unknown)?;
                self.gateway(&id).map(|_| MaintenanceSubject::Gateway(id)).ok_or(unknown)
            }
            Some(("location", id)) => {
                let id = LocationId::parse(id).map_err(|_| unknown)?;
                self.location(Some(id)).map(|_| MaintenanceSubject::Location(id)).ok_or(unknown)
            }
            _ => Err(unknown),
        }
    }
}

/// Something to choose from.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

struct Row {
    id: MaintenanceId,
    name: String,
    path: String,
    from: String,
    until: String,
    zone: String,
    reason: String,
    by: String,
    state: &'static str,
    class: &'static str,
    /// What ending it now means; empty where it is over.
    end: &'static str,
}

impl Row {
    fn of(window: &Maintenance, places: &Places, people: &People, now: Timestamp) -> Self {
        let (name, path) = places.name(&window.subject);
        let zone = places.zone(&window.subject);
        let (state, tone, end) = if window.window.contains(now) {
            ("Now", Tone::Warn, "End now")
        } else if window.window.from > now {
            ("Planned", Tone::Plain, "Take back")
        } else {
            ("Over", Tone::Plain, "")
        };
        Self {
            id: window.id,
            name,
            path,
            from: local_text(window.window.from, zone),
            until: local_text(window.window.end(), zone),
            zone: zone.to_string(),
            reason: window.reason.as_str().to_owned(),
            by: people.name(window.by),
            state,
            class: tone.class(),
            end,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct MaintenanceForm {
    about: String,
    from: String,
    until: String,
    reason: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "maintenance.html")]
struct MaintenancePage {
    shell: Shell,
    rows: Vec<Row>,
    choices: Vec<Choice>,
    form: MaintenanceForm,
    problems: Problems,
}

async fn page(panel: &Panel, shell: Shell, form: MaintenanceForm, problems: Problems) -> Result<MaintenancePage, Refusal> {
    let (places, people) = (Places::read(panel, &shell).await?, People::read(panel).await?);
    let now = panel.now();
    let mut windows = panel.store().maintenance_list().await?;
    // What goes on comes before what is planned, and what is over last.
    windows.sort_by_key(|window| (!window.window.contains(now), window.window.from <= now));
    let rows = windows.iter().map(|window| Row::of(window, &places, &people, now)).collect();
    Ok(MaintenancePage { shell, rows, choices: places.choices(&form.about), form, problems })
}

/// What the form begins with, in the address.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct About {
    about: String,
}

/// `GET /alerts/maintenance`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(about): Query<About>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Alerts).await?.saying(&done);
    let places = Places::read(&panel, &shell).await?;
    let zone = places.parse(&about.about).map_or(places.zone.clone(), |subject| places.zone(&subject).clone());
    let field = |at: Timestamp| zone.civil(at).strftime("%Y-%m-%dT%H:%M").to_string();
    let now = panel.now();
    let form = MaintenanceForm {
        about: about.about,
        from: field(now),
        until: field(now.plus_millis(4 * 3_600_000)),
        reason: String::new(),
    };
    Ok(page(&panel, shell, form, Problems::default()).await?.into_response())
}

impl MaintenanceForm {
    fn parse(&self, places: &Places, now: Timestamp) -> Result<(MaintenanceSubject, TimeWindow, Note), Problems> {
        let mut problems = Problems::default();
        let about = problems.note("about", places.parse(&self.about));
        let zone = about.as_ref().map_or(&places.zone, |about| places.zone(about));
        let from = problems.note("from", parse_local(&self.from, zone));
        let until = problems.note("until", parse_local(&self.until, zone));
        let reason = problems.note("reason", Note::parse(&self.reason));
        let (Some(from), Some(until)) = (from, until) else { return Err(problems) };
        if from < now.plus_millis(-LATEST_MS) {
            problems.add("from", "That is more than 30 days ago.");
        }
        if until <= from {
            problems.add("until", "The end comes after the beginning.");
        } else if until <= now {
            problems.add("until", "That is over already.");
        } else if until.millis_since(from) > Maintenance::LONGEST_MS {
            problems.add("until", "A window lasts 90 days at most.");
        }
        match (about, reason) {
            (Some(about), Some(reason)) if problems.is_empty() => Ok((about, TimeWindow::between(from, until), reason)),
            _ => Err(problems),
        }
    }
}

/// `POST /alerts/maintenance`
pub(crate) async fn add(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<MaintenanceForm>,
) -> Result<Response, Refusal> {
    let now = panel.now();
    let shell = Shell::of(&panel, &actor, Section::Alerts).await?;
    let places = Places::read(&panel, &shell).await?;
    let problems = match form.parse(&places, now) {
        Ok((subject, window, reason)) => {
            let id = MaintenanceId::new(token::fresh_uuid(now));
            match save(&panel, &actor, Maintenance { id, subject, window, reason, by: actor.user.id }).await? {
                Ok(response) => return Ok(response),
                Err(problems) => problems,
            }
        }
        Err(problems) => problems,
    };
    let page = page(&panel, shell, form, problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn save(panel: &Panel, actor: &Actor, window: Maintenance) -> Result<Result<Response, Problems>, Refusal> {
    match actor.store(panel).maintenance_save(window, panel.now()).await {
        Ok(()) => Ok(Ok(Redirect::to("/alerts/maintenance?done=saved").into_response())),
        Err(StoreError::Conflict(problem)) => {
            let mut problems = Problems::default();
            problems.note("about", Err::<(), _>(problem));
            Ok(Err(problems))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /alerts/maintenance/{window}/end`
pub(crate) async fn end(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(window): Path<String>,
) -> Result<Response, Refusal> {
    let id: MaintenanceId = read_id(&window)?;
    actor.store(&panel).maintenance_end(id, panel.now()).await?;
    Ok(Redirect::to("/alerts/maintenance?done=work-ended").into_response())
}
