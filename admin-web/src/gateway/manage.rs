//! What an owner, an operator or, but for its place and its end, an installer does with a gateway: its name, its place, its sensors,
//! its end. Its keys are in `gateway/keys.rs`, its clock in `gateway/clock.rs`.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Correction, GatewayId, GatewayState, Location, SensorId, SensorRole, TimeWindow, Timestamp, Zone};
use heliograph_store::{GatewayRecord, SensorRecord, SensorUpdate};
use serde::Deserialize;

use super::clock::ClockFields;
use super::keys::{CertificateRow, KeyRow};
use super::zone_of;
use crate::access::{Actor, Reader, Staff, sensors_within};
use crate::commissioning::{fresh_credential, parse_past};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_text, parse_optional_name, parse_optional_number};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};

/// No device delivers more: 1 TW.
const MAX_RATED_W: f64 = 1e12;

struct SensorFields {
    id: String,
    /// Names the fields of this sensor on a page with many.
    number: usize,
    metrics: String,
    label: String,
    role: String,
    rated_w: String,
    /// Whether the problems of the page are about this one.
    asked: bool,
}

struct OwnerRow {
    customer: String,
    path: String,
    from: String,
    until: String,
    is_current: bool,
}

/// What was typed, where it has to be typed again.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Entered {
    label: String,
    location: String,
    from: String,
    sensor: String,
    role: String,
    rated_w: String,
    pub(super) credential: String,
    pub(super) until: String,
    pub(super) shift: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "manage.html")]
struct ManagePage {
    shell: Shell,
    name: String,
    id: String,
    path: String,
    called: String,
    is_retired: bool,
    is_waiting: bool,
    place: String,
    zone: String,
    locations: Vec<Location>,
    chosen: String,
    from: String,
    keys: Vec<KeyRow>,
    certificates: Vec<CertificateRow>,
    new_key: String,
    clock: ClockFields,
    shift: String,
    sensors: Vec<SensorFields>,
    roles: &'static [SensorRole],
    owners: Vec<OwnerRow>,
    /// How many corrections count.
    corrections: usize,
    /// Where points of its site are.
    equipment: String,
    problems: Problems,
}

/// `GET /gateways/{gateway}/manage`
pub(crate) async fn manage(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(gateway): Path<String>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?.saying(&done);
    Ok(page(&panel, &actor, shell, gateway, (None, Problems::default())).await?.into_response())
}

pub(crate) async fn fetch(panel: &Panel, gateway: &str) -> Result<GatewayRecord, Refusal> {
    let gateway: GatewayId = read_id(gateway)?;
    Ok(panel.store().gateway_fetch(&gateway).await?)
}

/// A gateway that has what only commissioned ones have, or the word that it is none.
pub(crate) async fn fetch_commissioned(panel: &Panel, gateway: &str, what: &str) -> Result<GatewayRecord, Refusal> {
    let gateway = fetch(panel, gateway).await?;
    if gateway.state == GatewayState::Commissioned {
        return Ok(gateway);
    }
    Err(Refusal::Conflict(format!("Only a commissioned gateway has {what}.")))
}

pub(super) async fn refused(
    panel: &Panel,
    actor: &Actor,
    gateway: GatewayRecord,
    entered: Entered,
    problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let page = page(panel, actor, shell, gateway, (Some(entered), problems)).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    shell: Shell,
    gateway: GatewayRecord,
    (entered, problems): (Option<Entered>, Problems),
) -> Result<ManagePage, Refusal> {
    let now = panel.now();
    let zone = zone_of(panel, &gateway).await?;
    let locations = panel.store().location_list().await?;
    let place = locations.iter().find(|location| Some(location.id) == gateway.location);
    let keys = panel.store().credential_list(&gateway.id).await?;
    let certificates = panel.store().certificate_list(&gateway.id).await?;
    let clock = ClockFields::of(&panel.store().gateway_clock(&gateway.id).await?, &zone);
    let seen = actor.seen(panel, &gateway.id).await?;
    let sensors = sensors_within(panel.store().sensor_list(&gateway.id).await?, seen);
    let asked = |wanted: &'static str| entered.as_ref().filter(|_| !problems.of(wanted).is_empty());
    Ok(ManagePage {
        name: gateway.name().to_owned(),
        path: path_of(&gateway.id),
        called: asked("label").map_or_else(|| gateway.label.clone().unwrap_or_default(), |entered| entered.label.clone()),
        is_retired: gateway.state == GatewayState::Retired,
        is_waiting: gateway.state == GatewayState::Waiting,
        place: place.map(|location| location.name.clone()).unwrap_or_default(),
        zone: zone.to_string(),
        chosen: entered.as_ref().map(|entered| entered.location.clone()).unwrap_or_default(),
        from: entered.as_ref().map(|entered| entered.from.clone()).unwrap_or_default(),
        keys: keys.iter().map(|key| KeyRow::of(key, &zone, now)).collect(),
        certificates: certificates.iter().map(|of| CertificateRow::of(of, &zone)).collect(),
        new_key: fresh_credential(now).to_string(),
        shift: entered.as_ref().map(|entered| entered.shift.clone()).unwrap_or_else(|| clock.suggested.clone()),
        clock,
        sensors: sensors.iter().enumerate().map(|(number, sensor)| sensor_fields(number, sensor, entered.as_ref())).collect(),
        roles: SensorRole::ALL,
        owners: if shell.role.sees_everything() { owners(panel, &gateway.id, &zone).await? } else { Vec::new() },
        corrections: count_corrections(panel, &gateway.id, seen).await?,
        equipment: place.map(|location| format!("/locations/{}/manage", location.id)).unwrap_or_default(),
        id: gateway.id.to_string(),
        locations,
        problems,
        shell,
    })
}

/// How many corrections of it count, of those that somebody sees.
async fn count_corrections(panel: &Panel, gateway: &GatewayId, seen: TimeWindow) -> Result<usize, Refusal> {
    let all = panel.store().correction_list().await?;
    let counts = |correction: &&Correction| {
        correction.series.gateway == *gateway && correction.reverted.is_none() && correction.window.from >= seen.from
    };
    Ok(all.iter().filter(counts).count())
}

pub(super) fn path_of(gateway: &GatewayId) -> String {
    format!("/gateways/{}", encode(gateway.as_str()))
}

fn sensor_fields(number: usize, sensor: &SensorRecord, entered: Option<&Entered>) -> SensorFields {
    let id = sensor.id.to_string();
    let metrics: Vec<&str> = sensor.series.iter().map(|series| series.metric.as_str()).collect();
    let metrics = metrics.join(", ");
    match entered.filter(|entered| entered.sensor == id) {
        Some(entered) => SensorFields {
            number,
            metrics,
            label: entered.label.clone(),
            role: entered.role.clone(),
            rated_w: entered.rated_w.clone(),
            asked: true,
            id,
        },
        None => SensorFields {
            number,
            metrics,
            label: sensor.label.clone().unwrap_or_default(),
            role: sensor.role.to_string(),
            rated_w: sensor.rated_w.map(|watts| watts.to_string()).unwrap_or_default(),
            asked: false,
            id,
        },
    }
}

async fn owners(panel: &Panel, gateway: &GatewayId, zone: &Zone) -> Result<Vec<OwnerRow>, Refusal> {
    let now = panel.now();
    let customers = panel.store().customer_list().await?;
    let commissions = panel.store().commission_list_by_gateway(gateway).await?;
    let row = |commission: heliograph_domain::Commission| {
        let customer = customers.iter().find(|customer| customer.id == commission.customer)?;
        Some(OwnerRow {
            customer: customer.name.clone(),
            path: format!("/customers/{}", customer.id),
            from: local_text(commission.window.from, zone),
            until: commission.window.until.map(|until| local_text(until, zone)).unwrap_or_default(),
            is_current: commission.window.contains(now),
        })
    };
    Ok(commissions.into_iter().filter_map(row).collect())
}

/// `POST /gateways/{gateway}/rename`
pub(crate) async fn rename(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let mut problems = Problems::default();
    let label = problems.note("label", parse_optional_name(&entered.label).map_err(|problem| format!("the label {problem}")));
    let Some(label) = label else { return refused(&panel, &actor, gateway, entered, problems).await };
    actor.store(&panel).gateway_rename(&gateway.id, label).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, "gateway renamed");
    Ok(back(&gateway.id, "saved"))
}

pub(super) fn back(gateway: &GatewayId, done: &str) -> Response {
    Redirect::to(&format!("{}/manage?done={done}", path_of(gateway))).into_response()
}

/// `POST /gateways/{gateway}/move`
pub(crate) async fn relocate(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch_commissioned(&panel, &gateway, "a place").await?;
    let now = panel.now();
    let locations = panel.store().location_list().await?;
    let mut problems = Problems::default();
    let location = locations.iter().find(|location| location.id.to_string() == entered.location);
    let location = problems.note("location", location.ok_or("choose where it stands"));
    let from: Option<Timestamp> = match (entered.from.trim(), location) {
        ("", _) => Some(now),
        (text, Some(location)) => problems.note("from", parse_past(text, location, now)),
        (_, None) => None,
    };
    let (Some(location), Some(from)) = (location, from) else {
        return refused(&panel, &actor, gateway, entered, problems).await;
    };
    actor.store(&panel).gateway_move(&gateway.id, location.id, from).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, location = %location.id, "gateway moved");
    Ok(back(&gateway.id, "moved"))
}

/// `POST /gateways/{gateway}/retire`
pub(crate) async fn retire(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    actor.store(&panel).gateway_retire(&gateway.id, panel.now()).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, "gateway retired");
    Ok(back(&gateway.id, "retired"))
}

/// Whether a gateway has stood where somebody does not see it: what its sensors are, counts
/// for all of their readings.
async fn has_stood_elsewhere(panel: &Panel, actor: &Actor, gateway: &GatewayId) -> Result<bool, Refusal> {
    let seen = actor.seen(panel, gateway).await?;
    let placements = panel.store().placement_list().await?;
    Ok(placements.iter().any(|placement| placement.gateway == *gateway && placement.window.from < seen.from))
}

/// `POST /gateways/{gateway}/sensor`: which one is in the form, since its id
/// may be any text.
pub(crate) async fn save_sensor(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let sensor: SensorId = read_id(&entered.sensor)?;
    let sensors = actor.sensors(&panel, &gateway.id).await?;
    let known = sensors.iter().find(|known| known.id == sensor).ok_or(Refusal::NotFound)?;
    let mut problems = Problems::default();
    let label =
        problems.note("sensor-label", parse_optional_name(&entered.label).map_err(|problem| format!("the label {problem}")));
    let role = problems.note("sensor-role", SensorRole::parse(&entered.role).map_err(|_| "choose a role"));
    let rated = parse_optional_number(&entered.rated_w, 1.0, MAX_RATED_W).map_err(|problem| format!("the rated power {problem}"));
    let rated_w = problems.note("sensor-rated", rated);
    let (Some(label), Some(role), Some(rated_w)) = (label, role, rated_w) else {
        return refused(&panel, &actor, gateway, entered, problems).await;
    };
    if (role, rated_w) != (known.role, known.rated_w) && has_stood_elsewhere(&panel, &actor, &gateway.id).await? {
        problems.add(
            "sensor-role",
            "It has measured at another site before, of which this would change what is known. Ask the owner.",
        );
        return refused(&panel, &actor, gateway, entered, problems).await;
    }
    actor.store(&panel).sensor_update(&gateway.id, &sensor, SensorUpdate { label, role, rated_w }).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, %sensor, "sensor changed");
    Ok(back(&gateway.id, "saved"))
}
