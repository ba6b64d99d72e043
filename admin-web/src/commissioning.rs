//! Gateways that nobody has given a place yet, and giving them one: a label, a
//! location, a key. Many at once are registered by `commissioning/register.rs`.

mod heard;
mod register;
mod sheet;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use heliograph_domain::{CredentialId, GatewayId, GatewayKey, GatewayState, KeyDigest, Location, LocationId, Timestamp};
use heliograph_store::{CredentialNew, GatewayCommissioning, GatewayRecord, StoreError};
use serde::Deserialize;

use crate::access::{Actor, Reader, Staff};
use crate::error::Refusal;
use crate::form::{Problems, ago, local_text, parse_local, parse_optional_name, sentence};
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};
use crate::token;
use heard::Heard;

pub(crate) use register::{MAX_FORM_BYTES, show as register_form, submit as register};

struct WaitingRow {
    id: String,
    path: String,
    first_seen: String,
    last_seen: String,
    address: String,
    documents: u64,
}

#[derive(Template, WebTemplate)]
#[template(path = "waiting.html")]
struct WaitingPage {
    shell: Shell,
    rows: Vec<WaitingRow>,
    adopts: bool,
    has_locations: bool,
}

/// `GET /waiting`
pub(crate) async fn list(State(panel): State<Panel>, Reader(actor): Reader) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Waiting).await?;
    let mut waiting = panel.store().gateway_list().await?;
    waiting.retain(|gateway| gateway.state == GatewayState::Waiting);
    waiting.sort_by_key(|gateway| std::cmp::Reverse(gateway.last_seen));
    let now = panel.now();
    let rows = waiting.into_iter().map(|gateway| WaitingRow {
        path: format!("/waiting/commission?gateway={}", encode(gateway.id.as_str())),
        first_seen: local_text(gateway.first_seen, &shell.settings.zone),
        last_seen: gateway.last_seen.map(|seen| ago(seen, now)).unwrap_or_default(),
        address: gateway.last_address.unwrap_or_default(),
        documents: gateway.documents,
        id: gateway.id.to_string(),
    });
    let rows = rows.collect();
    let adopts = shell.settings.unknown_gateways == heliograph_domain::UnknownGateways::Adopted;
    let has_locations = !places(&panel, &actor).await?.is_empty();
    Ok(WaitingPage { shell, rows, adopts, has_locations }.into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CommissionForm {
    pub(crate) gateway: String,
    pub(crate) label: String,
    pub(crate) location: String,
    pub(crate) from: String,
    /// A key that the device has already.
    pub(crate) key: String,
    /// The id that the key will have, made with the form: sending the form a
    /// second time does not make a second key.
    pub(crate) credential: String,
}

pub(crate) struct Commissioning {
    pub(crate) gateway: GatewayId,
    label: Option<String>,
    location: LocationId,
    /// None: as [`start_of`] says.
    pub(crate) from: Option<Timestamp>,
    /// None: one is made.
    key: Option<GatewayKey>,
    credential: CredentialId,
}

/// A key that a device has, in characters; a shorter one is guessed.
const SHORTEST_KEY: usize = 8;

fn parse_key(text: &str) -> Result<Option<GatewayKey>, String> {
    match text.trim() {
        "" => Ok(None),
        text if text.chars().count() < SHORTEST_KEY => Err(format!("must have at least {SHORTEST_KEY} characters")),
        text => GatewayKey::parse(text).map(Some).map_err(|error| error.to_string()),
    }
}

impl CommissionForm {
    pub(crate) fn parse(&self, locations: &[Location], now: Timestamp) -> Result<Commissioning, Problems> {
        let mut problems = Problems::default();
        let gateway = problems.note("gateway", GatewayId::parse(self.gateway.trim()));
        let label = problems.note("label", parse_optional_name(&self.label).map_err(|problem| format!("the label {problem}")));
        let location = locations.iter().find(|location| location.id.to_string() == self.location);
        let location = problems.note("location", location.ok_or("choose where it stands"));
        let from = match (self.from.trim(), location) {
            ("", _) => Some(None),
            (text, Some(location)) => problems.note("from", parse_past(text, location, now)).map(Some),
            (_, None) => Some(None),
        };
        let credential = CredentialId::parse(&self.credential).unwrap_or_else(|_| fresh_credential(now));
        let key = problems.note("key", parse_key(&self.key));
        match (gateway, label, location, from, key) {
            (Some(gateway), Some(label), Some(location), Some(from), Some(key)) => {
                Ok(Commissioning { gateway, label, location: location.id, from, key, credential })
            }
            _ => Err(problems),
        }
    }
}

/// A local time of a location that is not ahead.
pub(crate) fn parse_past(text: &str, location: &Location, now: Timestamp) -> Result<Timestamp, String> {
    not_ahead(parse_local(text, &location.zone)?, now)
}

/// An instant that is not ahead.
pub(crate) fn not_ahead(time: Timestamp, now: Timestamp) -> Result<Timestamp, String> {
    if time > now { Err("must not lie in the future".to_owned()) } else { Ok(time) }
}

pub(crate) fn fresh_credential(now: Timestamp) -> CredentialId {
    CredentialId::new(token::fresh_uuid(now))
}

#[derive(Template, WebTemplate)]
#[template(path = "commission.html")]
struct CommissionPage {
    shell: Shell,
    form: CommissionForm,
    locations: Vec<Location>,
    /// What it has sent, where it waits.
    heard: Option<Heard>,
    problems: Problems,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CommissionQuery {
    gateway: String,
}

/// `GET /waiting/commission`: for the gateway named, or one that has not
/// called yet.
pub(crate) async fn form(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Query(query): Query<CommissionQuery>,
) -> Result<Response, Refusal> {
    let mut form =
        CommissionForm { gateway: query.gateway, credential: fresh_credential(panel.now()).to_string(), ..Default::default() };
    if let Ok(gateway) = GatewayId::parse(&form.gateway)
        && let Some(known) = offered(&panel, &actor, &gateway).await?
    {
        form.location = known.location.map(|location| location.to_string()).unwrap_or_default();
        form.label = known.label.unwrap_or_default();
    }
    page(&panel, &actor, form, Problems::default(), StatusCode::OK).await
}

/// The locations where somebody may put a gateway.
async fn places(panel: &Panel, actor: &Actor) -> Result<Vec<Location>, Refusal> {
    let scope = actor.scope(panel).await?;
    let mut places = panel.store().location_list().await?;
    places.retain(|location| scope.has_location(location.id));
    Ok(places)
}

/// A gateway that is known, to somebody who may hear of it: who sees a part of the
/// locations hears of what stands there and of what waits.
async fn offered(panel: &Panel, actor: &Actor, gateway: &GatewayId) -> Result<Option<GatewayRecord>, Refusal> {
    let known = find(panel, gateway).await?;
    let scope = actor.scope(panel).await?;
    Ok(known.filter(|known| known.state == GatewayState::Waiting || scope.window(gateway, panel.now()).is_some()))
}

async fn find(panel: &Panel, gateway: &GatewayId) -> Result<Option<GatewayRecord>, Refusal> {
    match panel.store().gateway_fetch(gateway).await {
        Ok(gateway) => Ok(Some(gateway)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    form: CommissionForm,
    problems: Problems,
    status: StatusCode,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Waiting).await?;
    let locations = places(panel, actor).await?;
    let waiting = match GatewayId::parse(form.gateway.trim()) {
        Ok(gateway) => offered(panel, actor, &gateway).await?.filter(|known| known.state == GatewayState::Waiting),
        Err(_) => None,
    };
    let heard = match waiting {
        Some(gateway) => {
            let (zone, sees_everything) = (&shell.settings.zone, shell.role.sees_everything());
            Some(Heard::read(panel.store(), &gateway, zone, panel.now(), sees_everything).await?)
        }
        None => None,
    };
    Ok((status, CommissionPage { shell, form, locations, heard, problems }).into_response())
}

/// `POST /waiting/commission`: answers with the key, which is shown here and
/// never again.
pub(crate) async fn submit(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<CommissionForm>,
) -> Result<Response, Refusal> {
    let now = panel.now();
    let locations = places(&panel, &actor).await?;
    let new = match form.parse(&locations, now) {
        Ok(new) => new,
        Err(problems) => return page(&panel, &actor, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    if !actor.user.role.may_change() && offered(&panel, &actor, &new.gateway).await?.is_none() {
        let mut problems = Problems::default();
        problems.add("gateway", "No such gateway waits. It appears once it has called.");
        return page(&panel, &actor, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let gateway = new.gateway.clone();
    match carry_out(&panel, &actor, new).await? {
        Outcome::Done(key) => {
            let shell = Shell::of(&panel, &actor, Section::Waiting).await?;
            Ok(KeyPage::new(shell, &gateway, key.reveal()).into_response())
        }
        Outcome::Already => {
            let mut problems = Problems::default();
            problems.add("gateway", ALREADY);
            page(&panel, &actor, form, problems, StatusCode::CONFLICT).await
        }
        Outcome::TooMany(problem) => {
            let mut problems = Problems::default();
            problems.add("gateway", problem);
            page(&panel, &actor, form, problems, StatusCode::CONFLICT).await
        }
    }
}

/// What came of a wish to commission a gateway.
pub(crate) enum Outcome {
    /// It has this key.
    Done(GatewayKey),
    /// It has a place and a key.
    Already,
    /// There are as many as there may be, in words.
    TooMany(String),
}

/// What to say of a gateway that has a place and a key.
pub(crate) const ALREADY: &str = "This gateway is commissioned already. A key is shown once; its page can make another.";

/// Commissions a gateway.
pub(crate) async fn carry_out(panel: &Panel, actor: &Actor, new: Commissioning) -> Result<Outcome, Refusal> {
    let now = panel.now();
    let known = find(panel, &new.gateway).await?;
    if known.as_ref().is_some_and(is_commissioned) {
        return Ok(Outcome::Already);
    }
    let key = new.key.unwrap_or_else(token::random_gateway_key);
    let credential = CredentialNew { id: new.credential, digest: KeyDigest::of(key.reveal()) };
    let from = new.from.unwrap_or_else(|| start_of(known.as_ref(), now));
    let commissioning = GatewayCommissioning {
        gateway: new.gateway.clone(),
        label: new.label,
        location: new.location,
        from,
        credential,
        at: now,
    };
    match actor.store(panel).gateway_commission(commissioning).await {
        Ok(()) => {}
        // Somebody was faster.
        Err(StoreError::Conflict(_)) if find(panel, &new.gateway).await?.as_ref().is_some_and(is_commissioned) => {
            return Ok(Outcome::Already);
        }
        Err(StoreError::Conflict(_)) => return Err(key_was_shown()),
        Err(error @ StoreError::TooManyGateways(_)) => return Ok(Outcome::TooMany(sentence(&error.to_string()))),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %new.gateway, "gateway commissioned");
    Ok(Outcome::Done(key))
}

fn is_commissioned(gateway: &GatewayRecord) -> bool {
    gateway.state == GatewayState::Commissioned
}

/// Since when a gateway stands where it is put, if nobody says: a waiting one
/// since it first called, so that what it has sent counts. A retired one has
/// stood elsewhere in between, and that must not be overwritten.
fn start_of(known: Option<&GatewayRecord>, now: Timestamp) -> Timestamp {
    known.filter(|gateway| gateway.state == GatewayState::Waiting).map_or(now, |gateway| gateway.first_seen)
}

/// The refusal of a form that is sent a second time.
pub(crate) fn key_was_shown() -> Refusal {
    Refusal::Conflict("This key was made already and is shown only once. The gateway's page can make another.".to_owned())
}

/// The page that shows a key once.
#[derive(Template, WebTemplate)]
#[template(path = "key.html")]
pub(crate) struct KeyPage {
    shell: Shell,
    gateway: String,
    key: String,
    path: String,
}

impl KeyPage {
    pub(crate) fn new(shell: Shell, gateway: &GatewayId, key: &str) -> Self {
        let path = format!("/gateways/{}", encode(gateway.as_str()));
        Self { shell, gateway: gateway.to_string(), key: key.to_owned(), path }
    }
}
