//! The fleet at a glance; to a customer, the gateways commissioned to it.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use heliograph_domain::{GatewayState, Location, Reachability};
use heliograph_report::chart::sparkline;
use heliograph_report::{FleetOverview, FleetTotals, GatewayLine, fleet_overview, format};

use crate::access::AnyActor;
use crate::error::Refusal;
use crate::figures::{Status, Tile, Tone, completeness, known};
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};

struct Row {
    name: String,
    /// Where that differs from the name.
    id: String,
    path: String,
    location: String,
    location_path: String,
    status: Status,
    seen_at: String,
    power: String,
    energy: String,
    completeness: String,
    sparkline: String,
}

struct Site {
    name: String,
    path: String,
    zone: String,
    kwp: String,
    gateways: usize,
    power: String,
    energy: String,
    attention: usize,
}

#[derive(Template, WebTemplate)]
#[template(path = "fleet.html")]
struct FleetPage {
    shell: Shell,
    tiles: Vec<Tile>,
    rows: Vec<Row>,
    retired: Vec<Row>,
    sites: Vec<Site>,
    waiting: usize,
    as_of: String,
}

/// `GET /`
pub(crate) async fn show(State(panel): State<Panel>, AnyActor(actor): AnyActor) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
    let now = panel.now();
    let scope = actor.scope(&panel).await?;
    let overview = fleet_overview(panel.store(), &scope, now).await?;
    let sees_all = actor.user.role.sees_everything();
    let sites = if sees_all { sites(&overview, panel.store().location_list().await?) } else { Vec::new() };
    let row = |line: &GatewayLine| row(line, &shell, sees_all, now);
    let of_state = |wanted: GatewayState| overview.gateways.iter().filter(move |line| line.state == wanted);
    let page = FleetPage {
        tiles: tiles(&overview.totals),
        rows: of_state(GatewayState::Commissioned).map(row).collect(),
        retired: of_state(GatewayState::Retired).map(row).collect(),
        sites,
        waiting: overview.totals.waiting,
        as_of: local_text(now, &shell.settings.zone),
        shell,
    };
    Ok(page.into_response())
}

fn tiles(totals: &FleetTotals) -> Vec<Tile> {
    let count = |label, count: usize, note: &'static str, tone: Tone| Tile {
        tone: if count > 0 { tone } else { Tone::Plain },
        ..Tile::new(label, count.to_string(), note)
    };
    let mut tiles = vec![
        Tile::new("Power now", known(totals.power_now_w, format::power), "By fresh readings"),
        Tile::new("Energy today", known(totals.energy_today_wh, format::energy), "Since local midnight"),
        count("Online", totals.online, "Heard in time", Tone::Good),
        count("Late", totals.late, "Quiet for over 35 min", Tone::Warn),
        count("Silent", totals.silent, "Quiet for over 6 h", Tone::Bad),
    ];
    if totals.never > 0 {
        tiles.push(count("Never heard", totals.never, "Commissioned, no data yet", Tone::Plain));
    }
    if totals.waiting > 0 {
        tiles.push(count("Waiting", totals.waiting, "To be commissioned", Tone::Warn));
    }
    tiles
}

fn row(line: &GatewayLine, shell: &Shell, sees_all: bool, now: heliograph_domain::Timestamp) -> Row {
    let id = line.id.to_string();
    Row {
        path: format!("/gateways/{}", encode(&id)),
        id: if id == line.name { String::new() } else { id },
        name: line.name.clone(),
        location: line.location.as_ref().map(|location| location.name.clone()).unwrap_or_default(),
        location_path: match &line.location {
            Some(location) if sees_all => format!("/locations/{}", location.id),
            _ => String::new(),
        },
        status: Status::of(line.state, line.reachability, line.last_seen, now),
        seen_at: line.last_seen.map(|seen| local_text(seen, &shell.settings.zone)).unwrap_or_default(),
        power: known(line.power_now_w, format::power),
        energy: known(line.energy_today_wh, format::kwh),
        completeness: completeness(line.completeness),
        sparkline: day_curve(&line.today_w),
    }
}

/// The curve of a day, as wide as a whole day however much of it has passed;
/// nothing where nothing was produced.
fn day_curve(hours: &[Option<f64>]) -> String {
    const HOURS: usize = 24;
    if !hours.iter().flatten().any(|watts| *watts > 0.0) {
        return String::new();
    }
    let mut day = hours.to_vec();
    day.resize(day.len().max(HOURS), None);
    sparkline(&day)
}

/// All locations, also those where nothing stands yet.
fn sites(overview: &FleetOverview, locations: Vec<Location>) -> Vec<Site> {
    let site = |location: Location| {
        let sums = overview.locations.iter().find(|line| line.location.id == location.id);
        let here = |line: &&GatewayLine| line.location.as_ref().is_some_and(|place| place.id == location.id);
        let gateways: Vec<&GatewayLine> =
            overview.gateways.iter().filter(|line| line.state == GatewayState::Commissioned).filter(here).collect();
        Site {
            path: format!("/locations/{}", location.id),
            zone: location.zone.to_string(),
            kwp: location.installed_kwp.map(|kwp| format!("{kwp} kWp")).unwrap_or_default(),
            power: known(sums.and_then(|sums| sums.power_now_w), format::power),
            energy: known(sums.and_then(|sums| sums.energy_today_wh), format::energy),
            attention: gateways.iter().filter(|line| line.reachability != Reachability::Online).count(),
            gateways: gateways.len(),
            name: location.name,
        }
    };
    locations.into_iter().map(site).collect()
}
