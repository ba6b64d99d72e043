//! One gateway: its report, as a page and as files. What changes it is in
//! `gateway/manage.rs`.

mod clock;
mod corrections;
mod keys;
mod manage;
mod replace;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use heliograph_domain::{GatewayId, Zone};
use heliograph_report::export::{Export, Format};
use heliograph_report::{GatewayReport, gateway_report};
use heliograph_store::GatewayRecord;

use crate::access::{Actor, AnyActor};
use crate::error::{Refusal, read_id};
use crate::figures::{Comparison, Status, Tile, source_note, tiles};
use crate::form::local_text;
use crate::panel::Panel;
use crate::period::{PeriodQuery, PeriodView};
use crate::report_file::report_file;
use crate::report_view::{BarRow, Charts, GapRow, HeatMap, SensorRow, bar_rows, gap_rows, sensor_rows};
use crate::shell::{Section, Shell, encode};

pub(crate) use clock::correct_clock;
pub(crate) use corrections::{correct, corrections, revert};
pub(crate) use keys::{add_key, end_key, revoke_key};
pub(crate) use manage::{fetch, fetch_commissioned, manage, relocate, rename, retire, save_sensor};
pub(crate) use replace::{replace, replace_by};

#[derive(Template, WebTemplate)]
#[template(path = "gateway.html")]
struct GatewayPage {
    shell: Shell,
    name: String,
    id: String,
    path: String,
    location: String,
    location_path: String,
    zone: String,
    status: Status,
    seen_at: String,
    period: PeriodView,
    tiles: Vec<Tile>,
    source: String,
    charts: Charts,
    heat: Option<HeatMap>,
    bars: Vec<BarRow>,
    sensors: Vec<SensorRow>,
    gaps: Vec<GapRow>,
    limited: String,
}

/// `GET /gateways/{gateway}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Path(gateway): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Refusal> {
    let report = read_report(&panel, &actor, &gateway, &query).await?;
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
    Ok(GatewayPage::new(&panel, shell, &actor, &report).into_response())
}

impl GatewayPage {
    fn new(panel: &Panel, shell: Shell, actor: &Actor, report: &GatewayReport) -> Self {
        let now = panel.now();
        let id = report.id.to_string();
        let path = format!("/gateways/{}", encode(&id));
        let zone = &report.zone;
        let period = PeriodView::of(&report.period, path.clone(), zone, now);
        let comparison = Comparison {
            change: report.change(),
            to_date: report.previous_to_date.is_some(),
            before: period.before,
            year_before: report.year_before.as_ref(),
        };
        let sees_place = actor.user.role.sees_locations();
        Self {
            tiles: tiles(&report.figures, report.performance, &comparison, &report.currency, zone),
            source: source_note(report.figures.produced),
            charts: Charts::of(&report.buckets, report.step, &format!("Energy of {}", report.name)),
            heat: HeatMap::of(&report.hours, &report.name),
            bars: bar_rows(&report.buckets, report.step),
            sensors: sensor_rows(&report.sensors, zone),
            gaps: gap_rows(&report.gaps, zone),
            limited: limited_note(report, zone, sees_place),
            location: report.location.as_ref().filter(|_| sees_place).map(|location| location.name.clone()).unwrap_or_default(),
            location_path: match &report.location {
                Some(location) if sees_place => format!("/locations/{}", location.id),
                _ => String::new(),
            },
            zone: zone.to_string(),
            status: Status::of(report.state, report.reachability, report.last_seen, now),
            seen_at: report.last_seen.map(|seen| local_text(seen, zone)).unwrap_or_default(),
            name: report.name.clone(),
            id: if id == report.name { String::new() } else { id },
            path,
            period,
            shell,
        }
    }
}

/// What is said where a commission covers a part of the period, or the gateway has stood
/// at a location for a part of it.
fn limited_note(report: &GatewayReport, zone: &Zone, sees_place: bool) -> String {
    let all = report.period.window(zone);
    if report.window == all {
        return String::new();
    }
    if sees_place {
        return "The gateway stood here for a part of this period; the figures are of that time.".to_owned();
    }
    if report.window.is_empty() {
        return "Your commission of this gateway does not reach into this period.".to_owned();
    }
    let (from, until) = (local_text(report.window.from, zone), local_text(report.window.end(), zone));
    format!("Your commission covers {from} to {until} of this period; the figures are of that time.")
}

/// `GET /gateways/{gateway}/report.csv`, `.xlsx` and `.json`
pub(crate) async fn file(
    format: Format,
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Path(gateway): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Refusal> {
    let report = told_report(&panel, &actor, &gateway, &query).await?;
    let now = panel.now();
    report_file(format, move || Export::of_gateway(&report, now)).await
}

/// A report as files and programs are told it.
pub(crate) async fn told_report(
    panel: &Panel,
    actor: &Actor,
    gateway: &str,
    query: &PeriodQuery,
) -> Result<GatewayReport, Refusal> {
    let mut report = read_report(panel, actor, gateway, query).await?;
    if !actor.user.role.sees_locations() {
        // A customer's page does not name it either.
        report.location = None;
    }
    Ok(report)
}

async fn read_report(panel: &Panel, actor: &Actor, gateway: &str, query: &PeriodQuery) -> Result<GatewayReport, Refusal> {
    let gateway: GatewayId = read_id(gateway)?;
    let now = panel.now();
    let scope = actor.scope(panel).await?;
    scope.window(&gateway, now).ok_or(Refusal::NotFound)?;
    let record = panel.store().gateway_fetch(&gateway).await?;
    let period = query.parse(&zone_of(panel, &record).await?, now)?;
    Ok(gateway_report(panel.store(), &gateway, period, &scope, now).await?)
}

/// The zone of a gateway's location, else the provider's.
pub(crate) async fn zone_of(panel: &Panel, gateway: &GatewayRecord) -> Result<Zone, Refusal> {
    Ok(match gateway.location {
        Some(location) => panel.store().location_fetch(location).await?.zone,
        None => panel.store().settings_fetch().await?.zone,
    })
}
