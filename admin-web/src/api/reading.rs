//! Readings as they came, of a gateway or one of its series.

use axum::Json;
use axum::extract::{Path, State};
use heliograph_domain::{GatewayId, TimeWindow, Timestamp};
use heliograph_store::ReadingRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::ByAnybody;
use super::paging::{Page, cursor, length, place};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::sensor::visible;
use super::wire::Utc;
use crate::panel::Panel;

/// The longest window, days.
const LONGEST_DAYS: i64 = 366;
/// Readings that are read at once.
const READ: usize = 4_000;
/// Readings that are looked at for one answer; where they are not what is wanted, the answer
/// holds less than it may, and the next one goes on.
const LOOKED_AT: usize = 100_000;

/// A reading.
#[derive(Serialize, ToSchema)]
pub(super) struct Reading {
    /// The sensor.
    #[schema(example = "inverter-1")]
    sensor: String,
    /// The metric.
    #[schema(example = "power")]
    metric: String,
    /// The unit; empty where there is none.
    #[schema(example = "W")]
    unit: String,
    /// When it was measured.
    at: Utc,
    /// What was measured, in the unit.
    value: f64,
}

impl From<ReadingRow> for Reading {
    fn from(row: ReadingRow) -> Self {
        Self {
            sensor: row.sensor.to_string(),
            metric: row.metric.to_string(),
            unit: row.unit.as_str().to_owned(),
            at: row.time.into(),
            value: row.value,
        }
    }
}

/// Which readings.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadingFilter {
    /// From this instant on, RFC 3339.
    #[param(format = DateTime)]
    from: String,
    /// Before this instant, RFC 3339; now where nothing is said. At most 366 days after `from`.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Of this sensor alone.
    sensor: Option<String>,
    /// Of this metric alone.
    metric: Option<String>,
    /// In this unit alone.
    unit: Option<String>,
    /// Entries at most, 1 to 500; 100 where nothing is said.
    limit: Option<usize>,
    /// The `next` of the part before.
    cursor: Option<String>,
}

/// What readings are ordered by: time, sensor, metric, unit.
type Place = (i64, String, String, String);

fn place_of(row: &ReadingRow) -> Place {
    (row.time.as_millis(), row.sensor.to_string(), row.metric.to_string(), row.unit.as_str().to_owned())
}

impl ReadingFilter {
    fn window(&self, now: Timestamp) -> Result<TimeWindow, ApiRefusal> {
        let from = parse("from", &self.from)?;
        let until = self.until.as_deref().map_or(Ok(now), |text| parse("until", text))?;
        if until <= from || until.millis_since(from) > LONGEST_DAYS * 86_400_000 {
            return Err(ApiRefusal::bad(format!("“until” must lie after “from”, by {LONGEST_DAYS} days at most.")));
        }
        Ok(TimeWindow::between(from, until))
    }

    fn takes(&self, row: &ReadingRow) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        is(&self.sensor, row.sensor.as_str()) && is(&self.metric, row.metric.as_str()) && is(&self.unit, row.unit.as_str())
    }
}

fn parse(name: &str, text: &str) -> Result<Timestamp, ApiRefusal> {
    let bad = |_| ApiRefusal::bad(format!("“{name}” must be an instant such as 2026-06-18T13:07:00Z."));
    Timestamp::parse_rfc3339(text.trim()).map_err(bad)
}

/// List readings
///
/// What gateways pushed, as it came, in time order: the last push of a time counts. No
/// corrections are in them; reports have them. A part may hold fewer entries than it could,
/// or none, and still have a `next`.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/readings",
    operation_id = "listReadings",
    tag = "Readings",
    params(("gateway" = String, Path, description = "The gateway’s id."), ReadingFilter),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the readings.", body = Page<Reading>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    ByAnybody(caller): ByAnybody,
    Path(gateway): Path<String>,
    Asked(filter): Asked<ReadingFilter>,
) -> Result<Json<Page<Reading>>, ApiRefusal> {
    let (id, seen) = visible(&panel, &caller, &gateway).await?;
    let (length, window) = (length(filter.limit)?, filter.window(panel.now())?);
    let after: Option<Place> = place("readings", filter.cursor.as_deref())?;
    let Some(window) = window.intersect(&seen) else { return Ok(Json(Page { items: Vec::new(), next: None })) };
    let part = read(&panel, &id, window, &filter, (after, length)).await?;
    let next = part.next.and_then(|next| cursor("readings", &next));
    Ok(Json(Page { items: part.rows.into_iter().map(Reading::from).collect(), next }))
}

/// Some readings, and behind which place the next ones begin.
struct Found {
    rows: Vec<ReadingRow>,
    next: Option<Place>,
}

async fn read(
    panel: &Panel,
    gateway: &GatewayId,
    window: TimeWindow,
    filter: &ReadingFilter,
    (after, length): (Option<Place>, usize),
) -> Result<Found, ApiRefusal> {
    let begins = after.as_ref().map_or(window.from, |(millis, ..)| Timestamp::clamped(*millis).max(window.from));
    if begins >= window.end() {
        return Ok(Found { rows: Vec::new(), next: None });
    }
    let (mut from, mut looked_at) = (begins, 0);
    let mut rows: Vec<ReadingRow> = Vec::new();
    loop {
        let page = panel.store().reading_page(gateway, TimeWindow { from, ..window }, READ).await?;
        looked_at += page.rows.len();
        let is_wanted = |row: &ReadingRow| filter.takes(row) && after.as_ref().is_none_or(|after| place_of(row) > *after);
        rows.extend(page.rows.into_iter().filter(is_wanted));
        // One more than wanted says that there are more.
        if rows.len() > length {
            rows.sort_by_cached_key(place_of);
            rows.truncate(length);
            let next = rows.last().map(place_of);
            return Ok(Found { rows, next });
        }
        match page.next {
            None => {
                rows.sort_by_cached_key(place_of);
                return Ok(Found { rows, next: None });
            }
            Some(next) if looked_at >= LOOKED_AT => {
                rows.sort_by_cached_key(place_of);
                // No text comes before an empty one: all of that instant follows.
                let next = (next.as_millis(), String::new(), String::new(), String::new());
                return Ok(Found { rows, next: Some(next) });
            }
            Some(next) => from = next,
        }
    }
}
