//! Alerts: what is wrong, what was, and what people do about it. When nothing is judged
//! stands in `alert/maintenance.rs`, what raises alerts in `alert/settings.rs`.

pub(crate) mod maintenance;
pub(crate) mod settings;

use std::collections::HashMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Alert, AlertId, AlertKind, AlertState, Note, Timestamp, UserId};
use heliograph_report::{AlertNames, AlertWords, alert_span};
use heliograph_store::{AlertDeed, StoreError};
use serde::Deserialize;

use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::figures::Tone;
use crate::form::{Problems, ago, local_text};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};

/// Alerts that are over on a page.
const PAGE: usize = 50;

/// What people are called.
struct People(HashMap<UserId, String>);

impl People {
    async fn read(panel: &Panel) -> Result<Self, Refusal> {
        let users = panel.store().user_list().await?;
        Ok(Self(users.into_iter().map(|user| (user.id, user.name)).collect()))
    }

    fn name(&self, id: UserId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| "somebody who is not here any more".to_owned())
    }
}

/// An alert in a list.
struct Row {
    path: String,
    title: String,
    kind: &'static str,
    class: &'static str,
    place: String,
    place_path: String,
    since: String,
    lasts: String,
    state: &'static str,
    state_class: &'static str,
    /// Who took it up, or said that it was over.
    by: String,
    comments: usize,
}

/// How bad a kind is.
const fn tone(kind: AlertKind) -> Tone {
    match kind {
        AlertKind::MassSilence | AlertKind::Silent | AlertKind::SensorFault | AlertKind::Clock => Tone::Bad,
        AlertKind::LowYield | AlertKind::Incomplete | AlertKind::Quarantine => Tone::Warn,
    }
}

const fn state(state: AlertState) -> (&'static str, Tone) {
    match state {
        AlertState::Open => ("Open", Tone::Bad),
        AlertState::Acknowledged => ("Acknowledged", Tone::Warn),
        AlertState::Resolved => ("Resolved", Tone::Plain),
    }
}

impl Row {
    fn of(alert: &Alert, names: &AlertNames, people: &People, now: Timestamp) -> Self {
        let words = AlertWords::of(alert, names, now);
        let location = names.location(alert);
        let (word, state_tone) = state(alert.state());
        let until = alert.resolved.map_or(now, |end| end.at);
        let by = match (alert.resolved, alert.acknowledged) {
            (Some(end), _) => end.by.map_or_else(|| "by itself".to_owned(), |by| format!("by {}", people.name(by))),
            (None, Some(taken)) => format!("by {}", people.name(taken.by)),
            (None, None) => String::new(),
        };
        Self {
            path: format!("/alerts/{}", alert.id),
            title: words.title,
            kind: words.kind,
            class: if alert.is_open() { tone(alert.key.kind).class() } else { Tone::Plain.class() },
            place: location.map(|location| location.name.clone()).unwrap_or_default(),
            place_path: location.map(|location| format!("/locations/{}", location.id)).unwrap_or_default(),
            since: local_text(alert.since, names.zone(alert)),
            lasts: alert_span(until.millis_since(alert.since)),
            state: word,
            state_class: state_tone.class(),
            by,
            comments: alert.comments.len(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Paged {
    page: Option<usize>,
}

#[derive(Template, WebTemplate)]
#[template(path = "alerts.html")]
struct AlertsPage {
    shell: Shell,
    open: Vec<Row>,
    over: Vec<Row>,
    /// All that are over.
    all_over: usize,
    page: usize,
    has_more: bool,
    /// Since when nothing is taken in; empty while it is.
    away: String,
    /// How many gateways or locations are worked on.
    worked_on: usize,
}

/// `GET /alerts`
pub(crate) async fn list(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(paged): Query<Paged>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let (store, now) = (panel.store(), panel.now());
    let shell = Shell::of(&panel, &actor, Section::Alerts).await?.saying(&done);
    let (names, people) = (AlertNames::read(store).await?, People::read(&panel).await?);
    let (mut open, mut over): (Vec<Alert>, Vec<Alert>) = store.alert_list().await?.into_iter().partition(Alert::is_open);
    open.sort_by_key(|alert| (alert.state(), alert.key.kind, alert.since));
    over.sort_by_key(|alert| std::cmp::Reverse(alert.resolved.map(|end| end.at)));
    let page = paged.page.unwrap_or(1).max(1);
    let rows = |alerts: &[Alert]| alerts.iter().map(|alert| Row::of(alert, &names, &people, now)).collect::<Vec<_>>();
    let first = (page - 1).saturating_mul(PAGE);
    let shown: Vec<Alert> = over.iter().skip(first).take(PAGE).cloned().collect();
    if page > 1 && shown.is_empty() {
        return Err(Refusal::NotFound);
    }
    let intake = store.intake_fetch().await?;
    let away = intake.filter(|intake| intake.is_away(now)).map(|intake| ago(intake.seen, now)).unwrap_or_default();
    let works = store.maintenance_list().await?;
    let body = AlertsPage {
        open: rows(&open),
        has_more: over.len() > first.saturating_add(PAGE),
        over: rows(&shown),
        all_over: over.len(),
        page,
        away,
        worked_on: works.iter().filter(|window| window.window.contains(now)).count(),
        shell,
    };
    Ok(body.into_response())
}

/// Something that happened to an alert.
struct Event {
    when: String,
    what: String,
    /// What somebody wrote, line by line.
    text: Vec<String>,
}

#[derive(Template, WebTemplate)]
#[template(path = "alert.html")]
struct AlertPage {
    shell: Shell,
    row: Row,
    figures: Vec<(&'static str, String)>,
    advice: &'static str,
    /// Where there is more to see, and what that is called.
    links: Vec<(String, String)>,
    /// The maintenance form about the gateway; empty where there is none.
    maintenance: String,
    events: Vec<Event>,
    can_acknowledge: bool,
    can_resolve: bool,
    text: String,
    problems: Problems,
}

/// `GET /alerts/{alert}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(alert): Path<String>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let alert = panel.store().alert_fetch(read_id::<AlertId>(&alert)?).await?;
    let page = page(&panel, &actor, &alert, String::new(), Problems::default()).await?;
    Ok(AlertPage { shell: page.shell.saying(&done), ..page }.into_response())
}

async fn page(panel: &Panel, actor: &Actor, alert: &Alert, text: String, problems: Problems) -> Result<AlertPage, Refusal> {
    let (store, now) = (panel.store(), panel.now());
    let (names, people) = (AlertNames::read(store).await?, People::read(panel).await?);
    let words = AlertWords::of(alert, &names, now);
    let gateway = alert.key.subject.gateway();
    Ok(AlertPage {
        shell: Shell::of(panel, actor, Section::Alerts).await?,
        row: Row::of(alert, &names, &people, now),
        figures: words.figures,
        advice: words.advice,
        links: links(alert),
        maintenance: gateway
            .map(|gateway| format!("/alerts/maintenance?about={}", encode(&format!("gateway:{gateway}"))))
            .unwrap_or_default(),
        events: events(alert, &names, &people),
        can_acknowledge: alert.state() == AlertState::Open,
        can_resolve: alert.is_open(),
        text,
        problems,
    })
}

/// Where there is more to see.
fn links(alert: &Alert) -> Vec<(String, String)> {
    let link = |path: String, label: &str| (path, label.to_owned());
    let Some(gateway) = alert.key.subject.gateway() else {
        return match alert.key.kind {
            AlertKind::Quarantine => vec![link("/quarantine".to_owned(), "The quarantine")],
            _ => vec![link("/?state=silent".to_owned(), "Silent gateways")],
        };
    };
    let path = format!("/gateways/{}", encode(gateway.as_str()));
    let mut links = vec![link(path.clone(), "The gateway’s report")];
    if alert.key.kind == AlertKind::Clock {
        links.push(link(format!("{path}/manage#m-clock"), "Its clock"));
    }
    links
}

/// What happened, in order.
fn events(alert: &Alert, names: &AlertNames, people: &People) -> Vec<Event> {
    let zone = names.zone(alert);
    let event = |at: Timestamp, what: String, text: &str| {
        (at, Event { when: local_text(at, zone), what, text: text.lines().map(str::to_owned).collect() })
    };
    let mut events = vec![event(alert.raised, "Raised".to_owned(), "")];
    events.extend(alert.acknowledged.map(|taken| event(taken.at, format!("Acknowledged by {}", people.name(taken.by)), "")));
    events.extend(alert.comments.iter().map(|comment| event(comment.at, people.name(comment.by), comment.text.as_str())));
    events.extend(alert.resolved.map(|end| {
        let by = end.by.map_or_else(|| "Over by itself".to_owned(), |by| format!("Resolved by {}", people.name(by)));
        event(end.at, by, "")
    }));
    events.sort_by_key(|(at, _)| *at);
    events.into_iter().map(|(_, event)| event).collect()
}

/// Does something with an alert; where somebody was faster, the page says how it stands.
async fn act(panel: &Panel, actor: &Actor, alert: &str, deed: AlertDeed, done: &str) -> Result<Response, Refusal> {
    let id: AlertId = read_id(alert)?;
    match actor.store(panel).alert_do(id, actor.user.id, deed, panel.now()).await {
        Ok(()) => Ok(Redirect::to(&format!("/alerts/{id}?done={done}")).into_response()),
        Err(StoreError::Conflict(_)) => Ok(Redirect::to(&format!("/alerts/{id}?done=alert-stands")).into_response()),
        Err(error) => Err(error.into()),
    }
}

/// `POST /alerts/{alert}/acknowledge`
pub(crate) async fn acknowledge(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(alert): Path<String>,
) -> Result<Response, Refusal> {
    act(&panel, &actor, &alert, AlertDeed::Acknowledge, "acknowledged").await
}

/// `POST /alerts/{alert}/resolve`
pub(crate) async fn resolve(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(alert): Path<String>,
) -> Result<Response, Refusal> {
    act(&panel, &actor, &alert, AlertDeed::Resolve, "resolved").await
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CommentForm {
    text: String,
}

/// `POST /alerts/{alert}/comment`
pub(crate) async fn comment(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(alert): Path<String>,
    Form(form): Form<CommentForm>,
) -> Result<Response, Refusal> {
    let known = panel.store().alert_fetch(read_id::<AlertId>(&alert)?).await?;
    let mut problems = Problems::default();
    let text = problems.note("text", Note::parse(&form.text));
    if let Some(text) = text.clone() {
        problems.note("text", known.clone().comment(actor.user.id, text, panel.now()));
    }
    match text.filter(|_| problems.is_empty()) {
        Some(text) => act(&panel, &actor, &alert, AlertDeed::Comment(text), "commented").await,
        None => {
            let page = page(&panel, &actor, &known, form.text, problems).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}
