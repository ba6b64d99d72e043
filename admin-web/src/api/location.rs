//! Sites.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use heliograph_domain::{self as domain, LocationId};
use heliograph_report::export::Export;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{ByReader, ByStaff};
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::report::{Report, ReportPeriod};
use super::request::{Asked, Body};
use super::wire::typed;
use crate::error::read_id;
use crate::location::{LocationForm, read_report};
use crate::panel::Panel;
use crate::report_file::report_object;
use crate::token;

/// A site.
#[derive(Serialize, ToSchema)]
pub(super) struct Location {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// What it is called.
    name: String,
    /// The time zone whose calendar its reports follow (IANA).
    #[schema(example = "Europe/Madrid")]
    zone: String,
    /// Degrees north, WGS 84.
    latitude_deg: Option<f64>,
    /// Degrees east, WGS 84.
    longitude_deg: Option<f64>,
    /// Installed peak power, kW.
    installed_kwp: Option<f64>,
}

impl From<domain::Location> for Location {
    fn from(location: domain::Location) -> Self {
        Self {
            id: location.id.to_string(),
            name: location.name,
            zone: location.zone.to_string(),
            latitude_deg: location.position.map(|position| position.latitude()),
            longitude_deg: location.position.map(|position| position.longitude()),
            installed_kwp: location.installed_kwp,
        }
    }
}

/// What is said of a site to make or change it. What is left out is not known.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LocationInput {
    /// What it is called: 1 to 80 characters on one line.
    #[schema(example = "Haro winery")]
    name: String,
    /// Its time zone (IANA).
    #[schema(example = "Europe/Madrid")]
    zone: String,
    /// Degrees north, WGS 84; with `longitude_deg`.
    latitude_deg: Option<f64>,
    /// Degrees east, WGS 84; with `latitude_deg`.
    longitude_deg: Option<f64>,
    /// Installed peak power, kW.
    #[schema(example = 20.0)]
    installed_kwp: Option<f64>,
}

impl LocationInput {
    fn parse(self, id: LocationId) -> Result<domain::Location, ApiRefusal> {
        let form = LocationForm {
            name: self.name,
            zone: self.zone,
            latitude: typed(self.latitude_deg),
            longitude: typed(self.longitude_deg),
            kwp: typed(self.installed_kwp),
        };
        let names = [("latitude", "latitude_deg"), ("longitude", "longitude_deg"), ("kwp", "installed_kwp")];
        form.parse(id).map_err(|problems| ApiRefusal::fields(&problems, &names))
    }
}

/// List the locations
///
/// All of them, by id.
#[utoipa::path(
    get,
    path = "/api/v1/locations",
    operation_id = "listLocations",
    tag = "Locations",
    params(Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Location>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    _: ByReader,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Location>>, ApiRefusal> {
    let all = panel.store().location_list().await?;
    cut("locations", &part, all, |location| location.id, Location::from).map(Json)
}

/// Add a location
#[utoipa::path(
    post,
    path = "/api/v1/locations",
    operation_id = "createLocation",
    tag = "Locations",
    request_body = LocationInput,
    security(("token" = ["write"])),
    responses((status = 201, description = "It is there; Location says where.", body = Location))
)]
pub(super) async fn create(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Body(input): Body<LocationInput>,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<Location>), ApiRefusal> {
    let id = LocationId::new(token::fresh_uuid(panel.now()));
    let location = input.parse(id)?;
    caller.actor.store(&panel).location_save(location.clone()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, location = %id, "location added");
    let place = [(header::LOCATION, format!("/api/v1/locations/{id}"))];
    Ok((StatusCode::CREATED, place, Json(location.into())))
}

/// Read a location
#[utoipa::path(
    get,
    path = "/api/v1/locations/{location}",
    operation_id = "showLocation",
    tag = "Locations",
    params(("location" = String, Path, description = "The location’s id.")),
    security(("token" = ["read"])),
    responses((status = 200, description = "The location.", body = Location))
)]
pub(super) async fn show(
    State(panel): State<Panel>,
    _: ByReader,
    Path(location): Path<String>,
) -> Result<Json<Location>, ApiRefusal> {
    let location = panel.store().location_fetch(read_id(&location)?).await?;
    Ok(Json(location.into()))
}

/// Change a location
///
/// All of it: what is left out is not known any more.
#[utoipa::path(
    put,
    path = "/api/v1/locations/{location}",
    operation_id = "replaceLocation",
    tag = "Locations",
    params(("location" = String, Path, description = "The location’s id.")),
    request_body = LocationInput,
    security(("token" = ["write"])),
    responses((status = 200, description = "The location as it is now.", body = Location))
)]
pub(super) async fn replace(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(location): Path<String>,
    Body(input): Body<LocationInput>,
) -> Result<Json<Location>, ApiRefusal> {
    let existing = panel.store().location_fetch(read_id(&location)?).await?;
    let location = input.parse(existing.id)?;
    caller.actor.store(&panel).location_save(location.clone()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, location = %location.id, "location changed");
    Ok(Json(location.into()))
}

/// The report of a location
///
/// The figures of its page, as in the JSON file that the page offers. `figures` holds the
/// sums, `bars` the chart, `gateways` each gateway, `gaps` where data is missing; energies
/// are in Wh, powers in W, and each energy says where it comes from.
#[utoipa::path(
    get,
    path = "/api/v1/locations/{location}/report",
    operation_id = "reportLocation",
    tag = "Reports",
    params(("location" = String, Path, description = "The location’s id."), ReportPeriod),
    security(("token" = ["read"])),
    responses((status = 200, description = "The report.", body = Report))
)]
pub(super) async fn report(
    State(panel): State<Panel>,
    _: ByReader,
    Path(location): Path<String>,
    Asked(period): Asked<ReportPeriod>,
) -> Result<Response, ApiRefusal> {
    let report = read_report(&panel, &location, &period.query()).await?;
    let now = panel.now();
    Ok(report_object(move || Export::of_location(&report, now)).await?)
}
