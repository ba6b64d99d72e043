//! What stands behind a gateway, and what it says now.

use axum::Json;
use axum::extract::{Path, State};
use heliograph_domain::{GatewayId, Quantity, Reachability, SensorId, TimeWindow};
use heliograph_report::{GatewayLive, LatestValue};
use heliograph_store::{SensorRecord, SeriesRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{ByAnybody, Caller};
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::{Utc, utc};
use crate::access::sensors_within;
use crate::error::read_id;
use crate::panel::Panel;

/// A sensor of a gateway.
#[derive(Serialize, ToSchema)]
pub(super) struct Sensor {
    /// What its gateway calls it.
    #[schema(example = "inverter-1")]
    id: String,
    /// What people call it.
    name: String,
    /// What it is to its site: `inverter`, `production`, `grid`, `load`, `battery`, `weather`, `other`.
    role: String,
    /// Its rated power, W.
    rated_power_w: Option<f64>,
    /// What it measures.
    series: Vec<Series>,
}

/// What a sensor measures in one unit.
#[derive(Serialize, ToSchema)]
pub(super) struct Series {
    /// The metric.
    #[schema(example = "power")]
    metric: String,
    /// The unit; empty where there is none.
    #[schema(example = "W")]
    unit: String,
    /// How its numbers behave: `gauge`, `counter`, `net-counter`, `interval-energy`, `day-counter`.
    kind: String,
    /// What they mean, such as `power-ac` or `energy-produced`.
    quantity: String,
    /// The time of the first reading that may be seen.
    first: Option<Utc>,
    /// The time of the latest.
    latest: Option<Utc>,
}

impl Sensor {
    /// As somebody sees it who sees `visible` only.
    fn of(record: &SensorRecord, visible: TimeWindow) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name().to_owned(),
            role: record.role.to_string(),
            rated_power_w: record.rated_w,
            series: record.series.iter().map(|series| Series::of(series, visible)).collect(),
        }
    }
}

impl Series {
    fn of(record: &SeriesRecord, visible: TimeWindow) -> Self {
        Self {
            metric: record.metric.to_string(),
            unit: record.unit.as_str().to_owned(),
            kind: record.kind.to_string(),
            quantity: record.quantity.to_string(),
            first: utc(record.first.map(|first| first.max(visible.from))),
            latest: utc(record.latest.map(|sample| sample.at)),
        }
    }
}

/// What of a gateway may be seen by whoever asks; nothing where that is nothing.
pub(super) async fn visible(panel: &Panel, caller: &Caller, gateway: &str) -> Result<(GatewayId, TimeWindow), ApiRefusal> {
    let id: GatewayId = read_id(gateway)?;
    let window = caller.actor.scope(panel).await?.window(&id, panel.now()).ok_or(ApiRefusal::NotFound)?;
    panel.store().gateway_fetch(&id).await?;
    Ok((id, window))
}

/// List the sensors of a gateway
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/sensors",
    operation_id = "listSensors",
    tag = "Gateways",
    params(("gateway" = String, Path, description = "The gateway’s id."), Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Sensor>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Path(gateway): Path<String>,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Sensor>>, ApiRefusal> {
    let (id, window) = visible(&panel, &caller, &gateway).await?;
    let sensors = sensors_within(panel.store().sensor_list(&id).await?, window);
    let seen = sensors.iter().map(|sensor| Sensor::of(sensor, window)).collect();
    cut("sensors", &part, seen, |sensor: &Sensor| sensor.id.clone(), |sensor| sensor).map(Json)
}

/// The latest reading of a series.
#[derive(Serialize, ToSchema)]
pub(super) struct Latest {
    /// The sensor.
    sensor: String,
    /// The metric.
    metric: String,
    /// The unit; empty where there is none.
    unit: String,
    /// What it means.
    #[schema(value_type = String)]
    quantity: Quantity,
    /// When it was measured.
    at: Utc,
    /// What was measured, in the unit.
    value: f64,
}

/// What is latest of a gateway.
#[derive(Serialize, ToSchema)]
pub(super) struct LatestValues {
    /// Whether it still talks: `online`, `late`, `silent`, `never`.
    #[schema(value_type = String)]
    reachability: Reachability,
    /// When it was last heard.
    last_seen: Option<Utc>,
    /// The latest reading of each series.
    values: Vec<Latest>,
}

/// The latest values of a gateway
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/latest",
    operation_id = "latestValues",
    tag = "Readings",
    params(("gateway" = String, Path, description = "The gateway’s id.")),
    security(("token" = ["read"])),
    responses((status = 200, description = "The latest values.", body = LatestValues))
)]
pub(super) async fn latest(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Path(gateway): Path<String>,
) -> Result<Json<LatestValues>, ApiRefusal> {
    let (id, window) = visible(&panel, &caller, &gateway).await?;
    let (store, now) = (panel.store(), panel.now());
    let live = GatewayLive::of(&store.gateway_fetch(&id).await?, &store.sensor_list(&id).await?, window, now);
    let latest = |sensor: &str, value: LatestValue| Latest {
        sensor: sensor.to_owned(),
        metric: value.metric,
        unit: value.unit.as_str().to_owned(),
        quantity: value.quantity,
        at: value.sample.at.into(),
        value: value.sample.value,
    };
    let of_sensor =
        |(sensor, values): (SensorId, Vec<LatestValue>)| values.into_iter().map(move |value| latest(sensor.as_str(), value));
    let values = live.sensors.into_iter().flat_map(of_sensor).collect();
    Ok(Json(LatestValues { reachability: live.reachability, last_seen: utc(live.last_seen), values }))
}
