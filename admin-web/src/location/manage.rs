//! What reports follow at a site, and what is installed there.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use heliograph_domain::{Binding, GatewayId, Location, Point, SensorId, SensorRole, TimeWindow, Timestamp, Zone};
use heliograph_store::{GatewayRecord, SensorRecord};

use super::arrays::{ArrayForm, ArrayRow};
use super::points::PointForm;
use super::targets::TargetForm;
use crate::access::{Actor, Reader, sensors_within};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_text};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};

/// The longest name of a point, in characters.
const LONGEST_NAME: usize = 80;

/// A sensor of a gateway that is or was at the site.
pub(super) struct Source {
    pub(super) gateway: GatewayId,
    pub(super) sensor: SensorId,
    pub(super) role: SensorRole,
    /// What the form calls it.
    pub(super) value: String,
    pub(super) label: String,
    /// What a point of its own is called.
    pub(super) name: String,
    /// Whether its gateway is at the site now.
    pub(super) is_here: bool,
    /// From when on it may stand for a point, for whoever asks.
    pub(super) since: Timestamp,
}

impl Source {
    fn of(gateway: &GatewayRecord, sensor: &SensorRecord, here: &Location, since: Timestamp) -> Self {
        Self {
            value: source_value(&gateway.id, &sensor.id),
            label: format!("{} · {} ({})", gateway.name(), sensor.name(), sensor.role),
            name: format!("{} · {}", gateway.name(), sensor.name()).chars().take(LONGEST_NAME).collect(),
            gateway: gateway.id.clone(),
            sensor: sensor.id.clone(),
            role: sensor.role,
            is_here: gateway.location == Some(here.id),
            since,
        }
    }

    /// From when on it stands for a point, where somebody says so or not.
    pub(super) fn since(&self, said: Option<Timestamp>, zone: &Zone) -> Result<Timestamp, String> {
        match said {
            Some(since) if since < self.since => {
                Err(format!("its gateway has stood here since {}: choose a later time", local_text(self.since, zone)))
            }
            _ => Ok(said.unwrap_or(self.since)),
        }
    }

    /// All of a site, those of gateways that were there too for whoever sees these.
    pub(super) async fn all(panel: &Panel, actor: &Actor, location: &Location) -> Result<Vec<Self>, Refusal> {
        let (placements, scope) = (panel.store().placement_list().await?, actor.scope(panel).await?);
        let mut sources = Vec::new();
        for gateway in panel.store().gateway_list().await? {
            let Some(seen) = scope.window(&gateway.id, panel.now()) else { continue };
            if placements.iter().any(|placement| placement.gateway == gateway.id && placement.location == location.id) {
                let sensors = sensors_within(panel.store().sensor_list(&gateway.id).await?, seen);
                sources.extend(sensors.iter().map(|sensor| Self::of(&gateway, sensor, location, seen.from)));
            }
        }
        sources.sort_by(|a, b| b.is_here.cmp(&a.is_here).then_with(|| a.label.cmp(&b.label)));
        Ok(sources)
    }
}

/// Ids are any text, so they stand encoded on either side of a slash.
fn source_value(gateway: &GatewayId, sensor: &SensorId) -> String {
    format!("{}/{}", encode(gateway.as_str()), encode(sensor.as_str()))
}

/// What stood for a point, for how long.
pub(super) struct BindingRow {
    pub(super) sensor: String,
    pub(super) gateway_path: String,
    pub(super) from: String,
    /// Empty where it has no end.
    pub(super) until: String,
    pub(super) is_current: bool,
    /// What tells it from the point's others.
    pub(super) begins: i64,
}

impl BindingRow {
    pub(super) fn of(binding: &Binding, sources: &[Source], zone: &Zone, now: Timestamp) -> Self {
        let source = sources.iter().find(|source| source.gateway == binding.gateway && source.sensor == binding.sensor);
        let (from, until) = window_texts(&binding.window, zone);
        Self {
            sensor: source.map_or_else(|| format!("{} · {}", binding.gateway, binding.sensor), |source| source.label.clone()),
            gateway_path: format!("/gateways/{}", encode(binding.gateway.as_str())),
            from,
            until,
            is_current: binding.window.contains(now),
            begins: binding.window.from.as_millis(),
        }
    }
}

/// Both ends as people read them; an empty end is none.
pub(super) fn window_texts(window: &TimeWindow, zone: &Zone) -> (String, String) {
    let from = if window.from == Timestamp::MIN { "always".to_owned() } else { local_text(window.from, zone) };
    (from, window.until.map(|until| local_text(until, zone)).unwrap_or_default())
}

struct PointRow {
    path: String,
    name: String,
    role: SensorRole,
    bindings: Vec<BindingRow>,
}

/// Roles whose sensors count through points.
pub(super) const ROLES: [SensorRole; 6] =
    [SensorRole::Inverter, SensorRole::Production, SensorRole::Grid, SensorRole::Load, SensorRole::Battery, SensorRole::Weather];

/// Sensors that are at the site now and that count nowhere, because points stand for
/// their role and none of them is bound to them.
pub(super) fn left_out<'a>(points: &[Point], bindings: &[Binding], sources: &'a [Source], now: Timestamp) -> Vec<&'a Source> {
    let has_point = |role: SensorRole| points.iter().any(|point| point.role == role);
    let is_bound = |source: &&Source| {
        bindings
            .iter()
            .any(|binding| binding.gateway == source.gateway && binding.sensor == source.sensor && binding.window.contains(now))
    };
    sources.iter().filter(|source| source.is_here && has_point(source.role) && !is_bound(source)).collect()
}

#[derive(Template, WebTemplate)]
#[template(path = "location-manage.html")]
struct ManagePage {
    shell: Shell,
    name: String,
    path: String,
    zone: String,
    points: Vec<PointRow>,
    left_out: Vec<String>,
    sources: Vec<Source>,
    roles: [SensorRole; 6],
    point: PointForm,
    arrays: Vec<ArrayRow>,
    sum: String,
    plain_kwp: String,
    array: ArrayForm,
    targets: TargetForm,
    problems: Problems,
}

/// `GET /locations/{location}/manage`
pub(crate) async fn manage(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(location): Path<String>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?.saying(&done);
    let forms = (PointForm::fresh(), ArrayForm::default());
    let page = ManagePage::new(&panel, &actor, shell, &location, forms, Problems::default()).await?;
    Ok(page.into_response())
}

pub(super) async fn fetch(panel: &Panel, location: &str) -> Result<Location, Refusal> {
    Ok(panel.store().location_fetch(read_id(location)?).await?)
}

pub(super) fn path_of(location: &Location) -> String {
    format!("/locations/{}", location.id)
}

/// The page again, with what was typed and what is wrong with it.
pub(super) async fn refused(
    panel: &Panel,
    actor: &Actor,
    location: &Location,
    point: PointForm,
    array: ArrayForm,
    problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let page = ManagePage::new(panel, actor, shell, location, (point, array), problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// The same for what the site is expected to give.
pub(super) async fn refused_targets(
    panel: &Panel,
    actor: &Actor,
    location: &Location,
    targets: TargetForm,
    problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let page = ManagePage::new(panel, actor, shell, location, (PointForm::fresh(), ArrayForm::default()), problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, ManagePage { targets, ..page }).into_response())
}

impl ManagePage {
    async fn new(
        panel: &Panel,
        actor: &Actor,
        shell: Shell,
        location: &Location,
        (point, array): (PointForm, ArrayForm),
        problems: Problems,
    ) -> Result<Self, Refusal> {
        let now = panel.now();
        let sources = Source::all(panel, actor, location).await?;
        let (mut points, bindings) = (panel.store().point_list().await?, panel.store().binding_list().await?);
        points.retain(|point| point.location == location.id);
        let mut arrays = panel.store().array_list().await?;
        arrays.retain(|array| array.location == location.id);
        let standing: f64 = arrays.iter().filter(|array| array.window.contains(now)).map(|array| array.kwp).sum();
        let path = path_of(location);
        let row = |point: &Point| PointRow {
            path: format!("{path}/points/{}", point.id),
            name: point.name.clone(),
            role: point.role,
            bindings: bindings
                .iter()
                .filter(|binding| binding.point == point.id)
                .map(|binding| BindingRow::of(binding, &sources, &location.zone, now))
                .collect(),
        };
        Ok(Self {
            name: location.name.clone(),
            zone: location.zone.to_string(),
            points: points.iter().map(row).collect(),
            left_out: left_out(&points, &bindings, &sources, now).into_iter().map(|source| source.label.clone()).collect(),
            roles: ROLES,
            point,
            arrays: arrays.iter().map(|array| ArrayRow::of(array, location, now)).collect(),
            sum: format!("{} kWp", rounded(standing)),
            plain_kwp: location.installed_kwp.map(|kwp| format!("{kwp} kWp")).unwrap_or_default(),
            array,
            targets: match panel.store().target_find(location.id).await? {
                Some(targets) => TargetForm::of(&targets),
                None => TargetForm::fresh(if arrays.is_empty() { location.installed_kwp } else { Some(rounded(standing)) }),
            },
            problems,
            sources,
            path,
            shell,
        })
    }
}

/// A sum without the digits that adding makes up.
fn rounded(kwp: f64) -> f64 {
    (kwp * 1000.0).round() / 1000.0
}
