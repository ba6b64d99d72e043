//! Another gateway takes over: what stands for the site's points and who owns it changes
//! hands at one instant, and the history of both stays.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{
    Binding, Commission, CommissionId, GatewayId, GatewayState, Point, PointId, SensorId, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayRecord, Placement, SensorRecord, StoreError, Takeover};
use serde::Deserialize;

use super::manage::{fetch, fetch_commissioned, path_of};
use super::zone_of;
use crate::access::{Actor, Staff};
use crate::error::Refusal;
use crate::form::{Problems, local_text, parse_local, sentence};
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};
use crate::token;

/// Before each field that says what stands for a point.
const POINT_FIELD: &str = "point-";

/// What the form says: which points' fields there are, depends on the gateway.
type Fields = BTreeMap<String, String>;

/// A point that follows the old gateway.
struct Followed {
    field: String,
    name: String,
    /// What stands for it now.
    sensor: String,
    /// What may stand for it then.
    choices: Vec<(String, String, bool)>,
}

/// A gateway that could take over.
struct Other {
    id: String,
    name: String,
    path: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "replace.html")]
struct ReplacePage {
    shell: Shell,
    name: String,
    path: String,
    zone: String,
    place: String,
    /// Those at its site.
    others: Vec<Other>,
    /// Those that wait, with the page that commissions them.
    waiting: Vec<Other>,
    /// The one that takes over, once it is chosen.
    by: String,
    by_name: String,
    at: String,
    retires: bool,
    points: Vec<Followed>,
    owners: Vec<String>,
    problems: Problems,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ByQuery {
    by: String,
}

/// `GET /gateways/{gateway}/replace`: by which gateway, then what changes hands.
pub(crate) async fn replace(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Query(query): Query<ByQuery>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let fields = Fields::from([("by".to_owned(), query.by), ("retire".to_owned(), "yes".to_owned())]);
    page(&panel, &actor, &gateway, &fields, Problems::default()).await
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", String::as_str)
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    gateway: &GatewayRecord,
    fields: &Fields,
    problems: Problems,
) -> Result<Response, Refusal> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let zone = zone_of(panel, gateway).await?;
    let all = panel.store().gateway_list().await?;
    let candidates = candidates(&all, gateway);
    let by = candidates.iter().find(|other| other.id.as_str() == field(fields, "by"));
    let sensors = match by {
        Some(by) => actor.sensors(panel, &by.id).await?,
        None => Vec::new(),
    };
    let waiting = all.iter().filter(|other| other.state == GatewayState::Waiting);
    let place = match gateway.location {
        Some(location) => panel.store().location_fetch(location).await?.name,
        None => String::new(),
    };
    let page = ReplacePage {
        name: gateway.name().to_owned(),
        path: path_of(&gateway.id),
        others: candidates.iter().map(|other| Other::of(other, path_of(&other.id))).collect(),
        waiting: waiting.map(|other| Other::of(other, commission_path(&other.id))).collect(),
        by: by.map(|by| by.id.to_string()).unwrap_or_default(),
        by_name: by.map(|by| by.name().to_owned()).unwrap_or_default(),
        at: field(fields, "at").to_owned(),
        retires: !field(fields, "retire").is_empty(),
        points: followed(panel, actor, gateway, &sensors, fields).await?,
        owners: if shell.role.sees_everything() { owners(panel, gateway, &zone).await? } else { Vec::new() },
        zone: zone.to_string(),
        place,
        problems,
        shell,
    };
    Ok((status, page).into_response())
}

fn commission_path(gateway: &GatewayId) -> String {
    format!("/waiting/commission?gateway={}", encode(gateway.as_str()))
}

impl Other {
    fn of(gateway: &GatewayRecord, path: String) -> Self {
        Self { id: gateway.id.to_string(), name: gateway.name().to_owned(), path }
    }
}

/// The gateways that could take over: what is in use at the same site.
fn candidates<'a>(all: &'a [GatewayRecord], old: &GatewayRecord) -> Vec<&'a GatewayRecord> {
    let fits = |other: &&GatewayRecord| {
        other.id != old.id
            && other.state == GatewayState::Commissioned
            && other.location.is_some()
            && other.location == old.location
    };
    all.iter().filter(fits).collect()
}

/// The points that follow a gateway at an instant, each with its binding.
fn bound(bindings: &[Binding], points: &[Point], gateway: &GatewayId, at: Timestamp) -> Vec<(Point, Binding)> {
    let here = bindings.iter().filter(|binding| binding.gateway == *gateway && binding.window.contains(at));
    here.filter_map(|binding| Some((points.iter().find(|point| point.id == binding.point)?.clone(), binding.clone()))).collect()
}

/// The points that somebody may bind.
async fn points(panel: &Panel, actor: &Actor) -> Result<Vec<Point>, Refusal> {
    let scope = actor.scope(panel).await?;
    let mut points = panel.store().point_list().await?;
    points.retain(|point| scope.has_location(point.location));
    Ok(points)
}

/// The points that follow it now, each with what of the new one may stand for it: what is
/// called the same is suggested, else the only sensor of its role.
async fn followed(
    panel: &Panel,
    actor: &Actor,
    gateway: &GatewayRecord,
    sensors: &[SensorRecord],
    fields: &Fields,
) -> Result<Vec<Followed>, Refusal> {
    let (points, bindings) = (points(panel, actor).await?, panel.store().binding_list().await?);
    let row = |(point, binding): (Point, Binding)| {
        let name = format!("{POINT_FIELD}{}", point.id);
        let of_role: Vec<&SensorRecord> = sensors.iter().filter(|sensor| sensor.role == point.role).collect();
        let alike = sensors.iter().find(|sensor| sensor.id == binding.sensor);
        let only = of_role.first().copied().filter(|_| of_role.len() == 1);
        let suggested = alike.or(only).map(|sensor| sensor.id.to_string()).unwrap_or_default();
        let chosen = fields.get(&name).cloned().unwrap_or(suggested);
        let choice = |sensor: &SensorRecord| {
            (sensor.id.to_string(), format!("{} ({})", sensor.name(), sensor.role), sensor.id.as_str() == chosen)
        };
        Followed {
            name: point.name.clone(),
            sensor: binding.sensor.to_string(),
            choices: sensors.iter().map(choice).collect(),
            field: name,
        }
    };
    Ok(bound(&bindings, &points, &gateway.id, panel.now()).into_iter().map(row).collect())
}

/// Who owns it now or later, in words.
async fn owners(panel: &Panel, gateway: &GatewayRecord, zone: &Zone) -> Result<Vec<String>, Refusal> {
    let now = panel.now();
    let customers = panel.store().customer_list().await?;
    let commissions = panel.store().commission_list_by_gateway(&gateway.id).await?;
    let text = |commission: Commission| {
        let customer = customers.iter().find(|customer| customer.id == commission.customer)?;
        let until = commission.window.until.map(|until| format!(" until {}", local_text(until, zone))).unwrap_or_default();
        Some(format!("{} since {}{until}", customer.name, local_text(commission.window.from, zone)))
    };
    Ok(commissions.into_iter().filter(|commission| now < commission.window.end()).filter_map(text).collect())
}

/// What stands for each point then, as the form says: nothing only where it says so.
fn chosen(
    bound: &[(Point, Binding)],
    sensors: &[SensorRecord],
    fields: &Fields,
    problems: &mut Problems,
) -> BTreeMap<PointId, SensorId> {
    let mut chosen = BTreeMap::new();
    for (point, _) in bound {
        let name = format!("{POINT_FIELD}{}", point.id);
        let text = fields.get(&name).map(String::as_str);
        let sensor = sensors.iter().find(|sensor| Some(sensor.id.as_str()) == text);
        match (text, sensor) {
            (Some(""), _) => {}
            (Some(_), Some(sensor)) => drop(chosen.insert(point.id, sensor.id.clone())),
            (Some(_), None) => problems.add(name, "The new gateway has no such sensor."),
            (None, _) => problems.add(name, "Choose what stands for it, or “Nothing”."),
        }
    }
    chosen
}

/// Before it was there, what a gateway measured is of another site.
fn check_placed(placements: &[Placement], by: &GatewayRecord, at: Timestamp, zone: &Zone) -> Result<(), String> {
    let current = placements.iter().find(|place| place.gateway == by.id && place.window.until.is_none());
    match current {
        Some(place) if place.window.from <= at => Ok(()),
        Some(place) => {
            let since = local_text(place.window.from, zone);
            Err(format!("“{}” is at this site only since {since}: choose a later time", by.name()))
        }
        None => Err(format!("“{}” is not at this site", by.name())),
    }
}

/// What is planned to follow a gateway later would be left with the old one.
fn check_planned(
    bindings: &[Binding],
    points: &[Point],
    gateway: &GatewayRecord,
    now: Timestamp,
    zone: &Zone,
) -> Result<(), String> {
    let Some(planned) = bindings.iter().find(|binding| binding.gateway == gateway.id && binding.window.from > now) else {
        return Ok(());
    };
    let name = points.iter().find(|point| point.id == planned.point).map_or("A point", |point| point.name.as_str());
    let from = local_text(planned.window.from, zone);
    Err(format!("“{name}” is planned to follow {} from {from} on: take that back at the point first", gateway.name()))
}

/// What is known when a takeover is planned.
struct Known<'a> {
    bindings: &'a [(Point, Binding)],
    commissions: &'a [Commission],
    at: Timestamp,
    now: Timestamp,
    zone: &'a Zone,
}

/// What changes hands: the bindings that run at that instant, the commissions that run
/// then, and those that are planned for later.
fn plan(
    known: &Known<'_>,
    by: &GatewayId,
    chosen: &BTreeMap<PointId, SensorId>,
    mut fresh: impl FnMut() -> CommissionId,
) -> Result<Takeover, String> {
    let mut takeover = Takeover::new(known.at, known.now);
    let earlier =
        |what: &str, since: Timestamp| format!("{what} only since {}: choose a later time", local_text(since, known.zone));
    for (point, binding) in known.bindings {
        if binding.window.from >= known.at {
            return Err(earlier(&format!("“{}” follows this gateway", point.name), binding.window.from));
        }
        takeover.ended.push(point.id);
        if let Some(sensor) = chosen.get(&point.id).cloned() {
            let window = TimeWindow { from: known.at, until: binding.window.until };
            takeover.bindings.push(Binding { point: point.id, gateway: by.clone(), sensor, window });
        }
    }
    for commission in known.commissions.iter().filter(|commission| known.at < commission.window.end()) {
        let window = commission.window;
        if window.from < known.at {
            takeover.commissions_ended.push(commission.id);
        } else if window.from > known.now {
            takeover.commissions_cancelled.push(commission.id);
        } else {
            return Err(earlier("A customer owns it", window.from));
        }
        let window = TimeWindow { from: window.from.max(known.at), ..window };
        takeover.commissions.push(Commission { id: fresh(), gateway: by.clone(), window, ..commission.clone() });
    }
    Ok(takeover)
}

/// `POST /gateways/{gateway}/replace`
pub(crate) async fn replace_by(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Refusal> {
    let gateway = fetch_commissioned(&panel, &gateway, "something to hand over").await?;
    let (now, zone) = (panel.now(), zone_of(&panel, &gateway).await?);
    let mut problems = Problems::default();
    let all = panel.store().gateway_list().await?;
    let by = candidates(&all, &gateway).into_iter().find(|other| other.id.as_str() == field(&fields, "by"));
    let by = problems.note("by", by.ok_or("choose a gateway of the same site"));
    let at = problems.note("at", parse_past(field(&fields, "at"), &zone, now));
    let (Some(by), Some(at)) = (by, at) else { return page(&panel, &actor, &gateway, &fields, problems).await };
    let (points, bindings) = (points(&panel, &actor).await?, panel.store().binding_list().await?);
    let sensors = actor.sensors(&panel, &by.id).await?;
    let bound = bound(&bindings, &points, &gateway.id, now);
    let chosen = chosen(&bound, &sensors, &fields, &mut problems);
    let placements = panel.store().placement_list().await?;
    for either in [by, &gateway] {
        problems.note("at", check_placed(&placements, either, at, &zone));
    }
    problems.note("by", check_planned(&bindings, &points, &gateway, now, &zone));
    if !problems.is_empty() {
        return page(&panel, &actor, &gateway, &fields, problems).await;
    }
    let known = Known {
        bindings: &bound,
        commissions: &panel.store().commission_list_by_gateway(&gateway.id).await?,
        at,
        now,
        zone: &zone,
    };
    let Some(takeover) = problems.note("at", plan(&known, &by.id, &chosen, || CommissionId::new(token::fresh_uuid(now)))) else {
        return page(&panel, &actor, &gateway, &fields, problems).await;
    };
    match actor.store(&panel).gateway_replace(&gateway.id, &by.id, takeover).await {
        Ok(()) => {}
        Err(StoreError::Conflict(problem)) => {
            problems.add("by", sentence(&problem));
            return page(&panel, &actor, &gateway, &fields, problems).await;
        }
        // Somebody has changed it since the page was shown.
        Err(StoreError::NotFound(what)) => {
            problems.add("by", format!("Somebody has changed a {what} meanwhile. Look at the page again."));
            return page(&panel, &actor, &gateway, &fields, problems).await;
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, by = %by.id, "gateway replaced");
    if !field(&fields, "retire").is_empty() && actor.user.role.may_change() {
        actor.store(&panel).gateway_retire(&gateway.id, now).await?;
        tracing::info!(user = %actor.user.id, gateway = %gateway.id, "gateway retired");
    }
    Ok(Redirect::to(&format!("{}/manage?done=replaced", path_of(&by.id))).into_response())
}

fn parse_past(text: &str, zone: &Zone, now: Timestamp) -> Result<Timestamp, String> {
    let at = parse_local(text, zone)?;
    if at > now { Err("must not lie in the future".to_owned()) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{CustomerId, LocationId, PointId, SensorRole};
    use uuid::Uuid;

    use super::*;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::clamped(hour * 3_600_000)
    }

    fn commission(number: u128, from: i64, until: Option<i64>) -> Commission {
        Commission {
            id: CommissionId::new(Uuid::from_u128(number)),
            customer: CustomerId::new(Uuid::from_u128(5)),
            gateway: GatewayId::parse("old").unwrap(),
            window: TimeWindow { from: hour(from), until: until.map(hour) },
        }
    }

    fn bound_since(from: i64) -> (Point, Binding) {
        let id = PointId::new(Uuid::from_u128(1));
        let location = LocationId::new(Uuid::from_u128(2));
        let point = Point { id, location, name: "Roof".to_owned(), role: SensorRole::Inverter };
        let (gateway, sensor) = (GatewayId::parse("old").unwrap(), SensorId::parse("inv").unwrap());
        (point, Binding { point: id, gateway, sensor, window: TimeWindow { from: hour(from), until: None } })
    }

    fn planned(bindings: &[(Point, Binding)], commissions: &[Commission], at: i64) -> Result<Takeover, String> {
        let zone = Zone::utc();
        let known = Known { bindings, commissions, at: hour(at), now: hour(100), zone: &zone };
        let mut next = 100;
        let fresh = || {
            next += 1;
            CommissionId::new(Uuid::from_u128(next))
        };
        let chosen = bindings.iter().map(|(point, _)| (point.id, SensorId::parse("inv-2").unwrap())).collect();
        plan(&known, &GatewayId::parse("new").unwrap(), &chosen, fresh)
    }

    #[test]
    fn what_runs_goes_on_with_the_new_gateway_and_what_is_over_stays() {
        let commissions = [commission(1, 0, Some(10)), commission(2, 10, Some(200)), commission(3, 200, None)];
        let takeover = planned(&[bound_since(0)], &commissions, 90).unwrap();
        assert_eq!((takeover.ended.len(), takeover.bindings.len()), (1, 1));
        let binding = takeover.bindings.first().unwrap();
        assert_eq!((binding.gateway.as_str(), binding.sensor.as_str(), binding.window.from), ("new", "inv-2", hour(90)));
        assert_eq!(takeover.commissions_ended, [commission(2, 0, None).id]);
        assert_eq!(takeover.commissions_cancelled, [commission(3, 0, None).id]);
        let windows: Vec<TimeWindow> = takeover.commissions.iter().map(|commission| commission.window).collect();
        assert_eq!(windows, [TimeWindow::between(hour(90), hour(200)), TimeWindow { from: hour(200), until: None }]);
    }

    #[test]
    fn nothing_changes_hands_before_it_began() {
        let refused = planned(&[bound_since(95)], &[], 90).unwrap_err();
        assert_eq!(refused, "“Roof” follows this gateway only since 4 Jan 1970, 23:00: choose a later time");
        let refused = planned(&[], &[commission(1, 95, None)], 90).unwrap_err();
        assert_eq!(refused, "A customer owns it only since 4 Jan 1970, 23:00: choose a later time");
        assert_eq!(planned(&[], &[], 90), Ok(Takeover::new(hour(90), hour(100))));
    }
}
