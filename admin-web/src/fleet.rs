//! The fleet at a glance; to a customer, the gateways commissioned to it.

pub(crate) mod board;
mod query;
mod todo;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use heliograph_domain::{GatewayState, Reachability, Timestamp};
use heliograph_report::chart::sparkline;
use heliograph_report::{FleetOverview, FleetTotals, GatewayLine, LocationLine, Need, Scope, fleet_overview, format};

pub(crate) use self::query::find;
use self::query::{FleetQuery, Key, Paging, Show, Sort, View, Wanted};
use self::todo::Todo;
use crate::access::AnyActor;
use crate::error::Refusal;
use crate::figures::{Status, Tile, Tone, completeness, known};
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};

/// Gateways on a page.
const GATEWAYS: usize = 50;
/// A customer with no more gateways than this has no need to search them.
const FEW: usize = 8;
/// Locations on a page.
const LOCATIONS: usize = 48;

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
    yield_today: String,
    /// Beside the median of the fleet.
    share: String,
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

/// Something to choose from.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// A column by which the list can be ordered.
struct Column {
    path: String,
    /// What `aria-sort` says; empty where another column decides.
    order: &'static str,
}

/// The columns of the list.
struct Columns {
    name: Column,
    heard: Column,
    energy: Column,
    yield_today: Column,
}

/// One of the two lists.
enum List {
    Gateways(Vec<Row>),
    Locations(Vec<Site>),
}

#[derive(Template, WebTemplate)]
#[template(path = "fleet.html")]
struct FleetPage {
    shell: Shell,
    as_of: String,
    /// How old the figures are; empty where they are of now.
    age: String,
    /// Whether it is the page that is come to first: lists that are searched or turned
    /// stand alone.
    is_start: bool,
    todo: Todo,
    tiles: Vec<Tile>,
    list: List,
    paging: Paging,
    text: String,
    shows: Vec<Choice>,
    sorts: Vec<Choice>,
    columns: Columns,
    has_filter: bool,
    is_narrowed: bool,
    in_use: usize,
    retired: usize,
    locations: usize,
    median: String,
}

/// `GET /`
pub(crate) async fn show(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Query(query): Query<FleetQuery>,
) -> Result<Response, Refusal> {
    let wanted = query.parse()?;
    let scope = actor.scope(&panel).await?;
    if wanted.view == View::Locations && !actor.user.role.sees_locations() {
        return Err(Refusal::NotFound);
    }
    let overview = overview(&panel, &scope).await?;
    let shell = match scope {
        Scope::Everything => Shell::around(&panel, &actor, Section::Fleet, overview.totals.waiting).await?,
        _ => Shell::of(&panel, &actor, Section::Fleet).await?,
    };
    Ok(FleetPage::new(shell, &overview, &wanted, panel.now()).into_response())
}

/// What somebody sees of a part is computed for that person alone.
pub(crate) async fn overview(panel: &Panel, scope: &Scope) -> Result<FleetOverview, Refusal> {
    let overview = match scope {
        Scope::Everything => {
            let figures = board::figures(panel).await?;
            FleetOverview::read(panel.store(), &figures, panel.now()).await?
        }
        Scope::Customer(_) | Scope::Locations { .. } => fleet_overview(panel.store(), scope, panel.now()).await?,
    };
    Ok(overview)
}

impl FleetPage {
    fn new(shell: Shell, overview: &FleetOverview, wanted: &Wanted, now: Timestamp) -> Self {
        let (list, paging) = match wanted.view {
            View::Gateways => {
                let (lines, paging) = Paging::cut(wanted, wanted.gateways(&overview.gateways), GATEWAYS);
                let row = |line: &GatewayLine| row(line, overview.median_yield, &shell, now);
                (List::Gateways(lines.into_iter().map(row).collect()), paging)
            }
            View::Locations => {
                let (lines, paging) = Paging::cut(wanted, wanted.locations(&overview.locations), LOCATIONS);
                (List::Locations(lines.into_iter().map(site).collect()), paging)
            }
        };
        Self {
            as_of: local_text(overview.at, &shell.settings.zone),
            age: age(now.millis_since(overview.at)),
            is_start: *wanted == Wanted::all(),
            todo: Todo::of(overview, now),
            tiles: tiles(&overview.totals),
            list,
            paging,
            text: wanted.text.clone(),
            shows: shows(overview, wanted, &shell),
            sorts: sorts(wanted),
            columns: Columns {
                name: column(wanted, Key::Name),
                heard: column(wanted, Key::Heard),
                energy: column(wanted, Key::Energy),
                yield_today: column(wanted, Key::Yield),
            },
            has_filter: shell.role.sees_everything() && !overview.gateways.is_empty()
                || overview.gateways.len() > FEW
                || *wanted != Wanted::all(),
            is_narrowed: wanted.is_narrowed(),
            in_use: overview.totals.commissioned(),
            retired: overview.totals.retired,
            locations: overview.locations.len(),
            median: overview.median_yield.map(format::specific_yield).unwrap_or_default(),
            shell,
        }
    }

    fn is_empty(&self) -> bool {
        self.in_use == 0
    }

    fn is_of_locations(&self) -> bool {
        matches!(self.list, List::Locations(_))
    }
}

fn age(millis: i64) -> String {
    match millis / 1000 {
        ..5 => String::new(),
        seconds @ 5..120 => format!("{seconds} s old"),
        seconds => format!("{} min old", seconds / 60),
    }
}

fn tiles(totals: &FleetTotals) -> Vec<Tile> {
    let count = |show: Show, count: usize, label, note: &'static str, tone: Tone| Tile {
        tone: if count > 0 { tone } else { Tone::Plain },
        path: if count > 0 { Wanted { show, ..Wanted::all() }.path() } else { String::new() },
        ..Tile::new(label, count.to_string(), note)
    };
    let heard = Show::Heard;
    let mut tiles = vec![
        Tile::new("Power now", known(totals.power_now_w, format::power), "By fresh readings"),
        Tile::new("Energy today", known(totals.energy_today_wh, format::energy), "Since local midnight"),
        count(heard(Reachability::Online), totals.online, "Online", "Heard in time", Tone::Good),
        count(heard(Reachability::Late), totals.late, "Late", "Quiet for over 35 min", Tone::Warn),
        count(heard(Reachability::Silent), totals.silent, "Silent", "Quiet for over 6 h", Tone::Bad),
    ];
    if totals.never > 0 {
        tiles.push(count(heard(Reachability::Never), totals.never, "Never heard", "Commissioned, no data yet", Tone::Plain));
    }
    if totals.waiting > 0 {
        tiles.push(count(Show::Waiting, totals.waiting, "Waiting", "To be commissioned", Tone::Warn));
    }
    tiles
}

/// What may be shown, with how many there are of each.
fn shows(overview: &FleetOverview, wanted: &Wanted, shell: &Shell) -> Vec<Choice> {
    let sees_all = shell.role.sees_everything();
    let is_offered = |show: &Show| sees_all || !matches!(show, Show::Waiting | Show::Needs(Need::Clock));
    let choice = |show: Show| {
        let count = overview.gateways.iter().filter(|line| show.takes(line)).count();
        Choice { value: show.as_str().to_owned(), label: format!("{} ({count})", show.label()), is_chosen: show == wanted.show }
    };
    Show::ALL.into_iter().filter(is_offered).map(choice).collect()
}

fn sorts(wanted: &Wanted) -> Vec<Choice> {
    let choice =
        |(sort, label): (Sort, &str)| Choice { value: sort.text(), label: label.to_owned(), is_chosen: sort == wanted.sort };
    Sort::ALL.into_iter().map(choice).collect()
}

/// A further click on a column turns its order round.
fn column(wanted: &Wanted, key: Key) -> Column {
    let is_this = wanted.sort.key == key;
    let order = match (is_this, wanted.sort.is_descending) {
        (false, _) => "",
        (true, false) => "ascending",
        (true, true) => "descending",
    };
    Column { path: wanted.by(Sort { key, is_descending: is_this && !wanted.sort.is_descending }).path(), order }
}

fn row(line: &GatewayLine, median: Option<f64>, shell: &Shell, now: Timestamp) -> Row {
    let id = line.id.to_string();
    let share = line.yield_today.zip(median.filter(|median| *median > 0.0)).map(|(given, median)| given / median);
    Row {
        path: match line.state {
            GatewayState::Waiting if shell.may_change() => format!("/waiting/commission?gateway={}", encode(&id)),
            _ => format!("/gateways/{}", encode(&id)),
        },
        id: if id == line.name { String::new() } else { id },
        name: line.name.clone(),
        location: line.location.as_ref().map(|location| location.name.clone()).unwrap_or_default(),
        location_path: match &line.location {
            Some(location) if shell.role.sees_locations() => format!("/locations/{}", location.id),
            _ => String::new(),
        },
        status: Status::of(line.state, line.reachability, line.last_seen, now),
        seen_at: line.last_seen.map(|seen| local_text(seen, &shell.settings.zone)).unwrap_or_default(),
        power: known(line.power_now_w, format::power),
        energy: known(line.energy_today_wh, format::kwh),
        yield_today: known(line.yield_today, format::specific_yield),
        share: share.map(|share| format!("{} of median", format::percent(share))).unwrap_or_default(),
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

fn site(line: &LocationLine) -> Site {
    Site {
        name: line.location.name.clone(),
        path: format!("/locations/{}", line.location.id),
        zone: line.zone.to_string(),
        kwp: line.installed_kwp.map(|kwp| format!("{kwp} kWp")).unwrap_or_default(),
        gateways: line.gateways,
        power: known(line.power_now_w, format::power),
        energy: known(line.energy_today_wh, format::energy),
        attention: line.not_online,
    }
}
