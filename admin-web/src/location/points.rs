//! Points of a site: what reports follow, and which sensor stands for it when.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Binding, Location, Point, PointId, SensorRole, TimeWindow, Timestamp};
use heliograph_store::StoreError;
use serde::Deserialize;

use super::arrays::ArrayForm;
use super::manage::{BindingRow, ROLES, Source, fetch, left_out, path_of, refused};
use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, parse_local, parse_name, parse_optional_local, sentence};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell};
use crate::token;

/// What forms about points have, each some of it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PointForm {
    pub(super) point_name: String,
    pub(super) point_role: String,
    pub(super) source: String,
    pub(super) since: String,
    pub(super) ends: String,
    end_at: String,
    /// Whether the other sensors of the role get points of their own.
    pub(super) others: String,
    /// When a binding begins that is to be taken back, in milliseconds.
    begins: String,
}

impl PointForm {
    /// Before anybody has typed anything.
    pub(super) fn fresh() -> Self {
        Self { others: "yes".to_owned(), ..Self::default() }
    }

    fn parse(&self, problems: &mut Problems) -> Option<(String, SensorRole)> {
        let name = problems.note("point_name", parse_name(&self.point_name).map_err(|problem| format!("the name {problem}")));
        let role = SensorRole::parse(&self.point_role).ok().filter(|role| ROLES.contains(role));
        name.zip(problems.note("point_role", role.ok_or("choose what it is to the site")))
    }

    fn source<'a>(&self, sources: &'a [Source], problems: &mut Problems) -> Option<&'a Source> {
        let source = sources.iter().find(|source| source.value == self.source);
        problems.note("source", source.ok_or("choose a sensor"))
    }
}

/// `POST /locations/{location}/points`: a point, with the sensor that stands for it if
/// one is chosen.
pub(crate) async fn add_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
    Form(form): Form<PointForm>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let sources = Source::all(&panel, &actor, &location).await?;
    let mut problems = Problems::default();
    let named = form.parse(&mut problems);
    let first = match form.source.as_str() {
        "" => None,
        _ => form.source(&sources, &mut problems),
    };
    let since = problems.note("since", parse_optional_local(&form.since, &location.zone));
    let since = match first {
        Some(source) => since.and_then(|since| problems.note("since", source.since(since, &location.zone))),
        None => since.map(|since| since.unwrap_or(Timestamp::MIN)),
    };
    let (Some((name, role)), Some(since), true) = (named, since, problems.is_empty()) else {
        return refused(&panel, &actor, &location, form, ArrayForm::default(), problems).await;
    };
    let id = PointId::new(token::fresh_uuid(panel.now()));
    let store = actor.store(&panel);
    store.point_save(Point { id, location: location.id, name, role }).await?;
    if let Some(source) = first {
        let window = TimeWindow { from: since, until: None };
        let binding = Binding { point: id, gateway: source.gateway.clone(), sensor: source.sensor.clone(), window };
        if let Err(error) = store.binding_create(binding).await {
            // A point for which nothing stands would take its role away from all sensors.
            store.point_remove(id).await?;
            problems.add("source", conflict(error)?);
            return refused(&panel, &actor, &location, form, ArrayForm::default(), problems).await;
        }
    }
    if !form.others.is_empty() {
        add_others(&panel, &actor, &location, &sources, role).await?;
    }
    tracing::info!(user = %actor.user.id, point = %id, location = %location.id, "point added");
    Ok(Redirect::to(&format!("{}/points/{id}?done=point-added", path_of(&location))).into_response())
}

/// Gives each sensor of a role that would count nowhere a point of its own.
async fn add_others(
    panel: &Panel,
    actor: &Actor,
    location: &Location,
    sources: &[Source],
    role: SensorRole,
) -> Result<(), Refusal> {
    let store = actor.store(panel);
    let (mut points, bindings) = (store.point_list().await?, store.binding_list().await?);
    points.retain(|point| point.location == location.id);
    for source in left_out(&points, &bindings, sources, panel.now()).into_iter().filter(|source| source.role == role) {
        let own = bindings.iter().filter(|binding| binding.gateway == source.gateway && binding.sensor == source.sensor);
        // It may have stood for another point before; one that will is left to that.
        let from = own.map(|binding| binding.window.end()).max().unwrap_or(source.since).max(source.since);
        if from > panel.now() {
            continue;
        }
        let id = PointId::new(token::fresh_uuid(panel.now()));
        store.point_save(Point { id, location: location.id, name: source.name.clone(), role }).await?;
        let (gateway, sensor) = (source.gateway.clone(), source.sensor.clone());
        let window = TimeWindow { from, until: None };
        store.binding_create(Binding { point: id, gateway, sensor, window }).await?;
    }
    Ok(())
}

/// What the store says against it, for the field; any other failure is ours.
fn conflict(error: StoreError) -> Result<String, Refusal> {
    match error {
        StoreError::Conflict(problem) => Ok(sentence(&problem)),
        StoreError::NotFound("sensor") => Ok("This sensor has sent nothing yet.".to_owned()),
        error => Err(error.into()),
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "point.html")]
struct PointPage {
    shell: Shell,
    location: String,
    location_path: String,
    name: String,
    path: String,
    zone: String,
    roles: [SensorRole; 6],
    bindings: Vec<BindingRow>,
    sources: Vec<Source>,
    has_current: bool,
    form: PointForm,
    problems: Problems,
}

/// The point of a location that a path names. Stands behind who asks, so that nobody else
/// learns what there is.
pub(crate) struct Named {
    location: Location,
    point: Point,
}

impl FromRequestParts<Panel> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        let names = Path::<(String, String)>::from_request_parts(parts, panel).await;
        let Path((location, point)) = names.map_err(|_| Refusal::NotFound)?;
        let location = fetch(panel, &location).await?;
        let point: PointId = read_id(&point)?;
        let points = panel.store().point_list().await?;
        let point = points.into_iter().find(|known| known.id == point && known.location == location.id);
        Ok(Self { location, point: point.ok_or(Refusal::NotFound)? })
    }
}

impl Named {
    async fn page(
        &self,
        panel: &Panel,
        actor: &Actor,
        shell: Shell,
        form: PointForm,
        problems: Problems,
    ) -> Result<Response, Refusal> {
        let Self { location, point } = self;
        let sources = Source::all(panel, actor, location).await?;
        let bindings = panel.store().binding_list().await?;
        let own = bindings.iter().filter(|binding| binding.point == point.id);
        let row = |binding| BindingRow::of(binding, &sources, &location.zone, panel.now());
        let bindings: Vec<BindingRow> = own.map(row).collect();
        let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let page = PointPage {
            location: location.name.clone(),
            location_path: path_of(location),
            name: point.name.clone(),
            path: self.path(),
            zone: location.zone.to_string(),
            roles: ROLES,
            has_current: bindings.iter().any(|binding| binding.is_current),
            bindings,
            sources,
            form,
            problems,
            shell,
        };
        Ok((status, page).into_response())
    }

    async fn refused(&self, panel: &Panel, actor: &Actor, form: PointForm, problems: Problems) -> Result<Response, Refusal> {
        let shell = Shell::of(panel, actor, Section::Fleet).await?;
        self.page(panel, actor, shell, form, problems).await
    }

    fn path(&self) -> String {
        format!("{}/points/{}", path_of(&self.location), self.point.id)
    }

    /// What was done, for the log and for the page.
    fn back(&self, actor: &Actor, what: &str, done: &str) -> Response {
        tracing::info!(user = %actor.user.id, point = %self.point.id, location = %self.location.id, "{what}");
        Redirect::to(&format!("{}?done={done}", self.path())).into_response()
    }
}

/// `GET /locations/{location}/points/{point}`
pub(crate) async fn show_point(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    named: Named,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?.saying(&done);
    named.page(&panel, &actor, shell, PointForm::of(&named.point), Problems::default()).await
}

impl PointForm {
    fn of(point: &Point) -> Self {
        Self { point_name: point.name.clone(), point_role: point.role.to_string(), ..Self::default() }
    }

    /// What the page shows of the point beside the form that was refused.
    fn beside(self, point: &Point) -> Self {
        Self { source: self.source, since: self.since, ends: self.ends, end_at: self.end_at, ..Self::of(point) }
    }
}

/// `POST /locations/{location}/points/{point}`: its name and role.
pub(crate) async fn save_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    named: Named,
    Form(form): Form<PointForm>,
) -> Result<Response, Refusal> {
    let mut problems = Problems::default();
    let Some((name, role)) = form.parse(&mut problems) else {
        return named.refused(&panel, &actor, form, problems).await;
    };
    actor.store(&panel).point_save(Point { name, role, ..named.point.clone() }).await?;
    Ok(named.back(&actor, "point changed", "saved"))
}

/// `POST /locations/{location}/points/{point}/bind`: a sensor takes over; the one that
/// stood for the point ends there.
pub(crate) async fn bind_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    named: Named,
    Form(form): Form<PointForm>,
) -> Result<Response, Refusal> {
    let sources = Source::all(&panel, &actor, &named.location).await?;
    let mut problems = Problems::default();
    let source = form.source(&sources, &mut problems);
    let since = problems.note("since", parse_local(&form.since, &named.location.zone));
    let since = match source {
        Some(source) => since.and_then(|since| problems.note("since", source.since(Some(since), &named.location.zone))),
        None => since,
    };
    let until = problems.note("ends", parse_optional_local(&form.ends, &named.location.zone));
    if let (Some(since), Some(Some(until))) = (since, until)
        && until <= since
    {
        problems.add("ends", "It must end after it begins.");
    }
    let (Some(source), Some(from), Some(until), true) = (source, since, until, problems.is_empty()) else {
        return named.refused(&panel, &actor, form.beside(&named.point), problems).await;
    };
    let (gateway, sensor) = (source.gateway.clone(), source.sensor.clone());
    let binding = Binding { point: named.point.id, gateway, sensor, window: TimeWindow { from, until } };
    if let Err(error) = actor.store(&panel).binding_replace(binding).await {
        problems.add("source", conflict(error)?);
        return named.refused(&panel, &actor, form.beside(&named.point), problems).await;
    }
    Ok(named.back(&actor, "sensor bound to a point", "bound"))
}

/// `POST /locations/{location}/points/{point}/end`: nothing stands for it from then on.
pub(crate) async fn end_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    named: Named,
    Form(form): Form<PointForm>,
) -> Result<Response, Refusal> {
    let mut problems = Problems::default();
    let Some(at) = problems.note("end_at", parse_local(&form.end_at, &named.location.zone)) else {
        return named.refused(&panel, &actor, form.beside(&named.point), problems).await;
    };
    match actor.store(&panel).binding_end(named.point.id, at).await {
        Ok(()) => {}
        Err(StoreError::NotFound(_)) => {
            problems.add("end_at", "Nothing stands for it at that time.");
            return named.refused(&panel, &actor, form.beside(&named.point), problems).await;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(named.back(&actor, "binding ended", "saved"))
}

/// `POST /locations/{location}/points/{point}/unbind`: as if it had never been.
pub(crate) async fn unbind_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    named: Named,
    Form(form): Form<PointForm>,
) -> Result<Response, Refusal> {
    let begins = form.begins.parse().ok().and_then(|millis| Timestamp::from_millis(millis).ok()).ok_or(Refusal::NotFound)?;
    actor.store(&panel).binding_remove(named.point.id, begins).await?;
    Ok(named.back(&actor, "binding taken back", "unbound"))
}

/// `POST /locations/{location}/points/{point}/remove`
pub(crate) async fn remove_point(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Named { location, point }: Named,
) -> Result<Response, Refusal> {
    actor.store(&panel).point_remove(point.id).await?;
    tracing::info!(user = %actor.user.id, point = %point.id, location = %location.id, "point taken away");
    Ok(Redirect::to(&format!("{}/manage?done=taken-away", path_of(&location))).into_response())
}
