//! What sites are expected to give.

use axum::Json;
use axum::extract::{Path, State};
use heliograph_domain::YieldTargets;
use heliograph_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{ByReader, ByStaff};
use super::problem::ApiRefusal;
use super::request::Body;
use crate::error::read_id;
use crate::form::Problems;
use crate::location::{KWP, MONTHS, TargetForm};
use crate::panel::Panel;

/// What a site is expected to give.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedYield {
    /// kWh of each month of the whole site, January first; null: nothing is expected.
    #[schema(min_items = 12, max_items = 12, example = json!([820.0, 990.0, 1540.0, 1780.0, 2050.0, 2140.0, 2300.0, 2090.0, 1620.0, 1180.0, 830.0, 710.0]))]
    kwh_by_month: Option<Vec<f64>>,
    /// The peak power that they are for, kW: where another one stands there, they are scaled
    /// by it. null: they hold whatever stands there.
    #[schema(example = 12.5)]
    kwp: Option<f64>,
}

impl From<Option<YieldTargets>> for ExpectedYield {
    fn from(targets: Option<YieldTargets>) -> Self {
        Self {
            kwh_by_month: targets.as_ref().map(|targets| targets.months().to_vec()),
            kwp: targets.and_then(|targets| targets.kwp()),
        }
    }
}

/// Read what a location is expected to give
#[utoipa::path(
    get,
    path = "/api/v1/locations/{location}/expected-yield",
    operation_id = "showExpectedYield",
    tag = "Locations",
    params(("location" = String, Path, description = "The location’s id.")),
    security(("token" = ["read"])),
    responses((status = 200, description = "What is expected.", body = ExpectedYield))
)]
pub(super) async fn show(
    State(panel): State<Panel>,
    _: ByReader,
    Path(location): Path<String>,
) -> Result<Json<ExpectedYield>, ApiRefusal> {
    let location = panel.store().location_fetch(read_id(&location)?).await?;
    Ok(Json(panel.store().target_find(location.id).await?.into()))
}

/// Change what a location is expected to give
///
/// Reports of the location say what was produced beside it, by whole days.
#[utoipa::path(
    put,
    path = "/api/v1/locations/{location}/expected-yield",
    operation_id = "replaceExpectedYield",
    tag = "Locations",
    params(("location" = String, Path, description = "The location’s id.")),
    request_body = ExpectedYield,
    security(("token" = ["write"])),
    responses((status = 200, description = "What is expected now.", body = ExpectedYield))
)]
pub(super) async fn replace(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(location): Path<String>,
    Body(input): Body<ExpectedYield>,
) -> Result<Json<ExpectedYield>, ApiRefusal> {
    let location = panel.store().location_fetch(read_id(&location)?).await?;
    let store = caller.actor.store(&panel);
    let Some(kwh) = input.kwh_by_month else {
        match store.target_remove(location.id).await {
            Ok(()) | Err(StoreError::NotFound(_)) => return Ok(Json(None.into())),
            Err(error) => return Err(error.into()),
        }
    };
    if kwh.len() != MONTHS.len() {
        let mut problems = Problems::default();
        problems.add("kwh_by_month", "Twelve numbers are needed, January first.");
        return Err(ApiRefusal::fields(&problems, &[]));
    }
    let read = TargetForm::of_numbers(&kwh, input.kwp).read(&panel, &location).await?;
    let names: Vec<(&str, &str)> = MONTHS.iter().map(|(field, _)| (*field, "kwh_by_month")).chain([(KWP, "kwp")]).collect();
    let targets = read.map_err(|problems| ApiRefusal::fields(&problems, &names))?;
    store.target_save(targets.clone()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, location = %location.id, "expected yield saved");
    Ok(Json(Some(targets).into()))
}
