//! Gateways: what they are, what they say, what is done with them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use heliograph_domain::{GatewayId, GatewayState, Reachability, Timestamp};
use heliograph_report::GatewayLine;
use heliograph_report::export::Export;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::{ByAnybody, ByStaff, Caller};
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::report::{Report, ReportPeriod};
use super::request::{Asked, Body};
use super::wire::{Utc, parse_instant, utc};
use crate::commissioning::{ALREADY, CommissionForm, Outcome, carry_out, not_ahead};
use crate::error::read_id;
use crate::fleet::{find, overview};
use crate::form::{Problems, parse_optional_name};
use crate::gateway::{fetch, fetch_commissioned, told_report};
use crate::panel::Panel;
use crate::report_file::report_object;
use crate::shell::encode;

/// A gateway, with what it gives today.
#[derive(Serialize, ToSchema)]
pub(super) struct Gateway {
    /// What it calls itself: any text, to be percent-encoded in a path.
    #[schema(example = "gw-0001")]
    id: String,
    /// What people call it.
    name: String,
    /// `waiting`, `commissioned` or `retired`.
    #[schema(value_type = String)]
    state: GatewayState,
    /// Whether it still talks: `online`, `late`, `silent`, `never`.
    #[schema(value_type = String)]
    reachability: Reachability,
    /// When it was last heard.
    last_seen: Option<Utc>,
    /// Where it is; null to customers.
    location: Option<Place>,
    /// What its sensors produce now, W; null where no reading is fresh.
    power_w: Option<f64>,
    /// Produced since local midnight, Wh.
    energy_today_wh: Option<f64>,
    /// The same for each kW of its peak power, kWh/kWp.
    yield_today_kwh_per_kwp: Option<f64>,
    /// How much of today was measured, 0 to 1.
    completeness_today: Option<f64>,
}

/// Where something is.
#[derive(Serialize, ToSchema)]
pub(super) struct Place {
    /// The location's id.
    #[schema(format = "uuid")]
    id: String,
    /// What it is called.
    name: String,
}

impl Gateway {
    fn of(line: &GatewayLine, caller: &Caller) -> Self {
        let place = line.location.as_ref().filter(|_| caller.actor.user.role.sees_everything());
        Self {
            id: line.id.to_string(),
            name: line.name.clone(),
            state: line.state,
            reachability: line.reachability,
            last_seen: utc(line.last_seen),
            location: place.map(|place| Place { id: place.id.to_string(), name: place.name.clone() }),
            power_w: line.power_now_w,
            energy_today_wh: line.energy_today_wh,
            yield_today_kwh_per_kwp: line.yield_today,
            completeness_today: line.completeness.ratio(),
        }
    }
}

/// Which gateways.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GatewayFilter {
    /// Words that stand in the name, the id or the name of the location.
    q: Option<String>,
    /// One of `online`, `late`, `silent`, `never`, `clock`, `low-yield`, `incomplete`,
    /// `waiting`, `retired`, as the list of the panel has them; all where nothing is said.
    state: Option<String>,
    /// The id of a location.
    location: Option<String>,
    /// Entries at most, 1 to 500; 100 where nothing is said.
    limit: Option<usize>,
    /// The `next` of the part before.
    cursor: Option<String>,
}

/// List the gateways
///
/// By id; to a customer those commissioned to it.
#[utoipa::path(
    get,
    path = "/api/v1/gateways",
    operation_id = "listGateways",
    tag = "Gateways",
    params(GatewayFilter),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Gateway>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Asked(filter): Asked<GatewayFilter>,
) -> Result<Json<Page<Gateway>>, ApiRefusal> {
    let overview = overview(&panel, &caller.actor.scope(&panel).await?).await?;
    let part = Part { limit: filter.limit, cursor: filter.cursor };
    let state = filter.state.as_deref().filter(|state| !state.is_empty());
    let mut found = find(&overview.gateways, filter.q.as_deref().unwrap_or_default(), state)?;
    if let Some(location) = &filter.location {
        let is_there = |line: &&GatewayLine| line.location.as_ref().is_some_and(|place| place.id.to_string() == *location);
        found.retain(|line| caller.actor.user.role.sees_everything() && is_there(line));
    }
    cut("gateways", &part, found, |line| line.id.to_string(), |line| Gateway::of(line, &caller)).map(Json)
}

/// Read a gateway
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}",
    operation_id = "showGateway",
    tag = "Gateways",
    params(("gateway" = String, Path, description = "The gateway’s id.")),
    security(("token" = ["read"])),
    responses((status = 200, description = "The gateway.", body = Gateway))
)]
pub(super) async fn show(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Path(gateway): Path<String>,
) -> Result<Json<Gateway>, ApiRefusal> {
    let id: GatewayId = read_id(&gateway)?;
    told(&panel, &caller, &id).await.map(Json)
}

async fn told(panel: &Panel, caller: &Caller, id: &GatewayId) -> Result<Gateway, ApiRefusal> {
    let overview = overview(panel, &caller.actor.scope(panel).await?).await?;
    let line = overview.gateways.iter().find(|line| line.id == *id).ok_or(ApiRefusal::NotFound)?;
    Ok(Gateway::of(line, caller))
}

/// A gateway that is to get a place and a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommissioningInput {
    /// What it calls itself when it pushes.
    #[schema(example = "gw-0001")]
    gateway: String,
    /// What people call it, if they call it something else.
    label: Option<String>,
    /// The id of the location where it stands.
    #[schema(format = "uuid")]
    location: String,
    /// Since when, RFC 3339; where nothing is said, a waiting one since it was first heard.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// A key that the device has already; one is made where nothing is said.
    key: Option<String>,
}

/// A gateway that has just been commissioned.
#[derive(Serialize, ToSchema)]
pub(super) struct Commissioned {
    /// What it calls itself.
    gateway: String,
    /// Its key, told here and never again.
    key: String,
}

/// Commission a gateway
///
/// Gives a waiting gateway, a retired one or one that has not called yet its place and its
/// key. The key is told once.
#[utoipa::path(
    post,
    path = "/api/v1/gateways",
    operation_id = "commissionGateway",
    tag = "Gateways",
    request_body = CommissioningInput,
    security(("token" = ["write"])),
    responses((status = 201, description = "It is commissioned; Location says where it is read.", body = Commissioned))
)]
pub(super) async fn commission(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Body(input): Body<CommissioningInput>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Commissioned>), ApiRefusal> {
    let now = panel.now();
    let from = match input.from.as_deref().map(|text| parse_past(text, now)).transpose() {
        Ok(from) => from,
        Err(problems) => return Err(ApiRefusal::fields(&problems, &[])),
    };
    let form = CommissionForm {
        gateway: input.gateway,
        label: input.label.unwrap_or_default(),
        location: input.location.to_lowercase(),
        key: input.key.unwrap_or_default(),
        ..CommissionForm::default()
    };
    let locations = panel.store().location_list().await?;
    let mut new = form.parse(&locations, now).map_err(|problems| ApiRefusal::fields(&problems, &[]))?;
    new.from = from;
    let gateway = new.gateway.clone();
    match carry_out(&panel, &caller.actor, new).await? {
        Outcome::Done(key) => {
            let place = [(header::LOCATION, format!("/api/v1/gateways/{}", encode(gateway.as_str())))];
            let told = Commissioned { gateway: gateway.to_string(), key: key.reveal().to_owned() };
            Ok((StatusCode::CREATED, place, Json(told)))
        }
        Outcome::Already => Err(ApiRefusal::conflict(ALREADY)),
        Outcome::TooMany(problem) => Err(ApiRefusal::conflict(problem)),
    }
}

fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, Problems> {
    let mut problems = Problems::default();
    let time = parse_instant("from", text, &mut problems).and_then(|time| problems.note("from", not_ahead(time, now)));
    time.ok_or(problems)
}

/// What people call a gateway.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameInput {
    /// The name; null: what it calls itself.
    label: Option<String>,
}

/// Rename a gateway
#[utoipa::path(
    patch,
    path = "/api/v1/gateways/{gateway}",
    operation_id = "renameGateway",
    tag = "Gateways",
    params(("gateway" = String, Path, description = "The gateway’s id.")),
    request_body = NameInput,
    security(("token" = ["write"])),
    responses((status = 200, description = "The gateway as it is now.", body = Gateway))
)]
pub(super) async fn rename(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(gateway): Path<String>,
    Body(input): Body<NameInput>,
) -> Result<Json<Gateway>, ApiRefusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let mut problems = Problems::default();
    let label = parse_optional_name(input.label.as_deref().unwrap_or_default());
    let label = problems.note("label", label.map_err(|problem| format!("the label {problem}")));
    let label = label.ok_or_else(|| ApiRefusal::fields(&problems, &[]))?;
    caller.actor.store(&panel).gateway_rename(&gateway.id, label).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, gateway = %gateway.id, "gateway renamed");
    told(&panel, &caller, &gateway.id).await.map(Json)
}

/// Where a gateway stands from now on, or since when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveInput {
    /// The id of the location.
    #[schema(format = "uuid")]
    location: String,
    /// Since when, RFC 3339; now where nothing is said.
    #[schema(format = DateTime)]
    from: Option<String>,
}

/// Move a gateway
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{gateway}/move",
    operation_id = "moveGateway",
    tag = "Gateways",
    params(("gateway" = String, Path, description = "The gateway’s id.")),
    request_body = MoveInput,
    security(("token" = ["write"])),
    responses((status = 200, description = "The gateway as it is now.", body = Gateway))
)]
pub(super) async fn relocate(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(gateway): Path<String>,
    Body(input): Body<MoveInput>,
) -> Result<Json<Gateway>, ApiRefusal> {
    let gateway = fetch_commissioned(&panel, &gateway, "a place").await?;
    let (now, mut problems) = (panel.now(), Problems::default());
    let locations = panel.store().location_list().await?;
    let location = locations.iter().find(|location| location.id.to_string() == input.location.to_lowercase());
    let location = problems.note("location", location.ok_or("choose where it stands"));
    let from = match &input.from {
        None => Some(now),
        Some(text) => parse_instant("from", text, &mut problems).and_then(|time| problems.note("from", not_ahead(time, now))),
    };
    let (Some(location), Some(from)) = (location, from) else { return Err(ApiRefusal::fields(&problems, &[])) };
    caller.actor.store(&panel).gateway_move(&gateway.id, location.id, from).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, gateway = %gateway.id, location = %location.id, "gateway moved");
    told(&panel, &caller, &gateway.id).await.map(Json)
}

/// Retire a gateway
///
/// Its keys are revoked; its history stays.
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{gateway}/retire",
    operation_id = "retireGateway",
    tag = "Gateways",
    params(("gateway" = String, Path, description = "The gateway’s id.")),
    security(("token" = ["write"])),
    responses((status = 200, description = "The gateway as it is now.", body = Gateway))
)]
pub(super) async fn retire(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(gateway): Path<String>,
) -> Result<Json<Gateway>, ApiRefusal> {
    let gateway = fetch(&panel, &gateway).await?;
    caller.actor.store(&panel).gateway_retire(&gateway.id, panel.now()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, gateway = %gateway.id, "gateway retired");
    told(&panel, &caller, &gateway.id).await.map(Json)
}

/// The report of a gateway
///
/// The figures of its page, as in the JSON file that the page offers. `figures` holds the
/// sums, `bars` the chart, `sensors` each sensor, `gaps` where data is missing; energies are
/// in Wh, powers in W, and each energy says where it comes from. To a customer it is of what
/// its commission covers.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/report",
    operation_id = "reportGateway",
    tag = "Reports",
    params(("gateway" = String, Path, description = "The gateway’s id."), ReportPeriod),
    security(("token" = ["read"])),
    responses((status = 200, description = "The report.", body = Report))
)]
pub(super) async fn report(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Path(gateway): Path<String>,
    Asked(period): Asked<ReportPeriod>,
) -> Result<Response, ApiRefusal> {
    let report = told_report(&panel, &caller.actor, &gateway, &period.query()).await?;
    let now = panel.now();
    Ok(report_object(move || Export::of_gateway(&report, now)).await?)
}
