//! What stands around a customer's readings: sites, sensors, what reports follow,
//! and what was corrected. Of each only what touches a commission, its time cut to
//! that of the commission.

use heliograph_domain::{Commission, GatewayId, LocationId, TimeWindow};
use heliograph_store::{ProviderStore, SensorRecord, SeriesRecord, StoreError};
use serde_json::{Value, json};

/// All of it, by the names under which it stands in the export.
pub(super) async fn of(store: &ProviderStore, commissions: &[Commission]) -> anyhow::Result<serde_json::Map<String, Value>> {
    let places = placements(store, commissions).await?;
    let mut found = serde_json::Map::new();
    found.insert("locations".to_owned(), locations(store, &places).await?);
    found.insert("placements".to_owned(), places.iter().map(Place::described).collect());
    found.insert("sensors".to_owned(), sensors(store, commissions).await?);
    found.insert("arrays".to_owned(), arrays(store, &places).await?);
    let (points, bindings) = points(store, commissions).await?;
    found.insert("points".to_owned(), points);
    found.insert("bindings".to_owned(), bindings);
    found.insert("corrections".to_owned(), corrections(store, commissions).await?);
    Ok(found)
}

/// Where a gateway was while it was the customer's.
struct Place {
    gateway: GatewayId,
    location: LocationId,
    window: TimeWindow,
}

impl Place {
    fn described(&self) -> Value {
        let Self { gateway, location, window } = self;
        json!({ "gateway": gateway, "location": location, "from": begin(window), "until": end(window) })
    }
}

/// When it begins; nothing where it always was.
fn begin(window: &TimeWindow) -> Option<String> {
    (window.from != heliograph_domain::Timestamp::MIN).then(|| window.from.to_string())
}

fn end(window: &TimeWindow) -> Option<String> {
    window.until.map(|until| until.to_string())
}

/// The parts of a time in which a gateway was the customer's.
fn owned<'a>(
    commissions: &'a [Commission],
    gateway: &'a GatewayId,
    window: &'a TimeWindow,
) -> impl Iterator<Item = TimeWindow> + 'a {
    let of_gateway = commissions.iter().filter(move |commission| commission.gateway == *gateway);
    of_gateway.filter_map(|commission| commission.window.intersect(window))
}

async fn placements(store: &ProviderStore, commissions: &[Commission]) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::new();
    for placement in store.placement_list().await? {
        for window in owned(commissions, &placement.gateway, &placement.window) {
            places.push(Place { gateway: placement.gateway.clone(), location: placement.location, window });
        }
    }
    Ok(places)
}

async fn locations(store: &ProviderStore, places: &[Place]) -> anyhow::Result<Value> {
    let all = store.location_list().await?;
    let theirs = all.iter().filter(|location| places.iter().any(|place| place.location == location.id));
    Ok(theirs.map(serde_json::to_value).collect::<Result<_, _>>()?)
}

async fn arrays(store: &ProviderStore, places: &[Place]) -> Result<Value, StoreError> {
    let mut found = Vec::new();
    for array in store.array_list().await? {
        let at = places.iter().filter(|place| place.location == array.location);
        for window in at.filter_map(|place| place.window.intersect(&array.window)) {
            found.push(json!({
                "id": array.id, "location": array.location, "kwp": array.kwp, "tilt": array.tilt, "azimuth": array.azimuth,
                "from": begin(&window), "until": end(&window)
            }));
        }
    }
    Ok(found.into())
}

/// Sensors that measured while their gateway was the customer's.
async fn sensors(store: &ProviderStore, commissions: &[Commission]) -> Result<Value, StoreError> {
    let mut found: Vec<Value> = Vec::new();
    for (number, commission) in commissions.iter().enumerate() {
        if commissions[..number].iter().any(|earlier| earlier.gateway == commission.gateway) {
            continue;
        }
        let windows: Vec<TimeWindow> = owned(commissions, &commission.gateway, &TimeWindow::ALWAYS).collect();
        for sensor in store.sensor_list(&commission.gateway).await? {
            let series: Vec<&SeriesRecord> = sensor.series.iter().filter(|series| measured(series, &windows)).collect();
            if !series.is_empty() {
                found.push(described_sensor(&commission.gateway, &sensor, &series));
            }
        }
    }
    Ok(found.into())
}

fn measured(series: &SeriesRecord, windows: &[TimeWindow]) -> bool {
    let Some(first) = series.first else { return false };
    let last = series.latest.map_or(first, |latest| latest.at.max(first));
    windows.iter().any(|window| first < window.end() && last >= window.from)
}

fn described_sensor(gateway: &GatewayId, sensor: &SensorRecord, series: &[&SeriesRecord]) -> Value {
    let series: Vec<Value> = series
        .iter()
        .map(|series| {
            json!({ "metric": series.metric, "unit": series.unit.as_str(), "kind": series.kind, "quantity": series.quantity })
        })
        .collect();
    json!({
        "gateway": gateway, "id": sensor.id, "name": sensor.name(), "role": sensor.role, "rated_w": sensor.rated_w,
        "series": series
    })
}

/// Points that a sensor of the customer's stood for, and when.
async fn points(store: &ProviderStore, commissions: &[Commission]) -> anyhow::Result<(Value, Value)> {
    let (mut bindings, mut bound) = (Vec::new(), Vec::new());
    for binding in store.binding_list().await? {
        for window in owned(commissions, &binding.gateway, &binding.window) {
            bound.push(binding.point);
            bindings.push(json!({
                "point": binding.point, "gateway": binding.gateway, "sensor": binding.sensor, "from": begin(&window),
                "until": end(&window)
            }));
        }
    }
    let all = store.point_list().await?;
    let points = all.iter().filter(|point| bound.contains(&point.id)).map(serde_json::to_value);
    Ok((points.collect::<Result<_, _>>()?, bindings.into()))
}

/// Corrections that act on what the customer sees, also those that were taken back.
async fn corrections(store: &ProviderStore, commissions: &[Commission]) -> anyhow::Result<Value> {
    let all = store.correction_list().await?;
    let theirs = all.iter().filter(|it| owned(commissions, &it.series.gateway, &it.window).next().is_some());
    Ok(theirs.map(serde_json::to_value).collect::<Result<_, _>>()?)
}
