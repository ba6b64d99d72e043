//! The audit trail, for the owner: who changed what and when, and whether the trail is
//! as it was written.

mod kind;
mod names;
mod trail;
mod verified;
mod words;

use std::str::FromStr as _;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use heliograph_domain::{Timestamp, UserId, Zone};
use heliograph_store::{AuditHead, AuditRow};
use jiff::{ToSpan as _, civil};
use serde::Deserialize;

use crate::access::{Actor, Owner};
use crate::error::Refusal;
use crate::form::{Problems, local_text};
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};

pub(crate) use names::{Names, correction as correction_text};
pub(crate) use verified::Verification;

use kind::Kind;
use trail::{Found, find};
use verified::Verified;
use words::{Line, lines};

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct AuditQuery {
    person: String,
    kind: String,
    from: String,
    to: String,
    before: String,
}

/// Who is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Somebody who signs in, or did.
    User(UserId),
    /// Whoever has the shell.
    Shell,
    /// A part of the platform.
    Platform,
    /// People who are no longer there.
    Erased,
}

impl Who {
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        match text {
            "" => Ok(None),
            "shell" => Ok(Some(Self::Shell)),
            "platform" => Ok(Some(Self::Platform)),
            "erased" => Ok(Some(Self::Erased)),
            id => UserId::from_str(id).map(|id| Some(Self::User(id))).map_err(|_| "choose somebody of the list"),
        }
    }

    fn is(self, actor: &str, names: &Names) -> bool {
        match self {
            Self::User(id) => actor.strip_prefix("user:").is_some_and(|known| known == id.to_string()),
            Self::Shell => actor == "operator",
            Self::Platform => actor.starts_with("system:"),
            Self::Erased => actor.strip_prefix("user:").is_some_and(|id| !names.knows_person(id)),
        }
    }
}

/// What is looked for.
#[derive(Debug, Default)]
struct Wanted {
    who: Option<Who>,
    kind: Option<Kind>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Wanted {
    fn is_all(&self) -> bool {
        self.who.is_none() && self.kind.is_none() && self.from.is_none() && self.until.is_none()
    }

    fn fits(&self, row: &AuditRow, names: &Names) -> bool {
        self.who.is_none_or(|who| who.is(&row.actor, names))
            && self.kind.is_none_or(|kind| Kind::of(&row.action) == kind)
            && self.from.is_none_or(|from| row.at >= from)
            && self.until.is_none_or(|until| row.at < until)
    }
}

impl AuditQuery {
    fn parse(&self, zone: &Zone) -> Result<Wanted, Problems> {
        let mut problems = Problems::default();
        let who = problems.note("person", Who::parse(&self.person));
        let kind = problems.note("kind", Kind::parse(&self.kind));
        let from = problems.note("from", parse_day(&self.from));
        let to = problems.note("to", parse_day(&self.to));
        if let (Some(Some(from)), Some(Some(to))) = (from, to)
            && to < from
        {
            problems.add("to", "The last day must not lie before the first.");
        }
        match (who, kind, from, to) {
            (Some(who), Some(kind), Some(from), Some(to)) if problems.is_empty() => Ok(Wanted {
                who,
                kind,
                from: from.map(|day| zone.start_of_day(day)),
                until: to.map(|day| zone.start_of_day(day.saturating_add(1.day()))),
            }),
            _ => Err(problems),
        }
    }

    /// The entry to go back from, which is left out.
    fn parse_before(&self) -> Result<Option<u64>, Refusal> {
        match self.before.as_str() {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| Refusal::BadRequest("The address names no entry to go back from.".to_owned()))
            }
        }
    }

    /// The address of the page with what is looked for, before an entry.
    fn path(&self, before: Option<u64>) -> String {
        let fields = [("person", &self.person), ("kind", &self.kind), ("from", &self.from), ("to", &self.to)];
        let filter = fields.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}={}", encode(text)));
        let parts: Vec<String> = filter.chain(before.map(|before| format!("before={before}"))).collect();
        if parts.is_empty() { "/audit".to_owned() } else { format!("/audit?{}", parts.join("&")) }
    }
}

fn parse_day(text: &str) -> Result<Option<civil::Date>, &'static str> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "is not a day such as 2026-11-20"),
    }
}

/// An entry as the page shows it.
struct Entry {
    seq: u64,
    at: String,
    actor: String,
    is_gone: bool,
    action: String,
    object: String,
    object_path: String,
    lines: Vec<Line>,
    raw: String,
    hash: String,
}

/// What a select offers.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// What the page says of the trail as a whole.
struct Mark {
    /// What is wrong; empty where nothing is.
    problem: String,
    /// When it was looked through.
    at: String,
    entries: u64,
    head: String,
    newest: String,
    waiting: u64,
    /// What a head that was noted elsewhere says; empty where none was given.
    noted: String,
}

impl Mark {
    fn of(verified: &Verified, zone: &Zone, noted: Option<AuditHead>) -> Self {
        let verdict = &verified.verdict;
        let problem = verdict.problem().unwrap_or_default();
        Self {
            noted: match noted {
                Some(noted) if problem.is_empty() => {
                    format!("Entry {} is the one whose head you noted: nobody has written the trail anew since then.", noted.seq)
                }
                _ => String::new(),
            },
            problem,
            at: local_text(verified.at, zone),
            entries: verdict.head.seq,
            head: verdict.head.to_string(),
            newest: verified.newest.map(|at| local_text(at, zone)).unwrap_or_default(),
            waiting: verdict.waiting,
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    query: AuditQuery,
    zone: String,
    mark: Option<Mark>,
    people: Vec<Choice>,
    kinds: Vec<Choice>,
    entries: Vec<Entry>,
    is_narrowed: bool,
    is_first: bool,
    newest: String,
    older: String,
    /// How many entries were looked at where that was not all that there are.
    looked_at: usize,
    is_unreadable: bool,
    noted: String,
    problems: Problems,
}

/// `GET /audit`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Refusal> {
    let before = query.parse_before()?;
    let verified = verified::current(&panel).await;
    let zone = panel.store().settings_fetch().await?.zone;
    let mark = verified.map(|verified| Mark::of(&verified, &zone, None));
    page(&panel, &actor, query, before, mark, String::new(), Problems::default()).await
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct VerifyForm {
    noted: String,
}

/// `POST /audit`: looks the trail through now, against a head that was noted elsewhere
/// if one is given.
pub(crate) async fn verify(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Form(form): Form<VerifyForm>,
) -> Result<Response, Refusal> {
    let noted = match form.noted.trim() {
        "" => Ok(None),
        text => AuditHead::parse(text.trim_start_matches("head ")).map(Some),
    };
    let zone = panel.store().settings_fetch().await?.zone;
    let mut problems = Problems::default();
    let mark = match problems.note("noted", noted) {
        Some(noted) => Some(Mark::of(verified::now(&panel, noted).await?.as_ref(), &zone, noted)),
        None => verified::current(&panel).await.map(|verified| Mark::of(&verified, &zone, None)),
    };
    page(&panel, &actor, AuditQuery::default(), None, mark, form.noted, problems).await
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    query: AuditQuery,
    before: Option<u64>,
    mark: Option<Mark>,
    noted: String,
    mut problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Audit).await?;
    let zone = shell.settings.zone.clone();
    let names = Names::read(panel, zone.clone()).await?;
    let wanted = match query.parse(&zone) {
        Ok(wanted) => Some(wanted),
        Err(found) => {
            problems = found;
            None
        }
    };
    let found = match &wanted {
        Some(wanted) => find(panel, before, |row| wanted.fits(row, &names)).await?,
        None => Found::default(),
    };
    let page = AuditPage {
        people: people(&query.person, &names),
        kinds: kinds(&query.kind),
        entries: found.shown().map(|(row, earlier)| entry(row, earlier, &names)).collect(),
        is_narrowed: wanted.is_none_or(|wanted| !wanted.is_all()),
        is_first: before.is_none(),
        newest: query.path(None),
        older: found.older.map(|older| query.path(Some(older))).unwrap_or_default(),
        looked_at: if found.is_cut { found.looked_at } else { 0 },
        is_unreadable: found.is_unreadable,
        zone: zone.to_string(),
        shell,
        query,
        mark,
        noted,
        problems,
    };
    let status = if page.problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, page).into_response())
}

fn entry(row: &AuditRow, earlier: Option<&AuditRow>, names: &Names) -> Entry {
    let (object, object_path) = names.object(&row.object);
    Entry {
        seq: row.seq,
        at: local_text(row.at, &names.zone),
        actor: names.actor(&row.actor),
        is_gone: Who::Erased.is(&row.actor, names),
        action: words::action(&row.action),
        object,
        object_path,
        lines: lines(row, earlier, names),
        raw: format!("{} {} {}", row.action, row.object, row.detail),
        hash: row.hash.to_string(),
    }
}

fn people(chosen: &str, names: &Names) -> Vec<Choice> {
    let fixed =
        [("", "Everybody"), ("shell", "Shell operator"), ("platform", "The platform itself"), ("erased", "Erased people")];
    let fixed = fixed.map(|(value, label)| (value.to_owned(), label.to_owned()));
    let all = fixed.into_iter().chain(names.people());
    all.map(|(value, label)| Choice { is_chosen: value == chosen, value, label }).collect()
}

fn kinds(chosen: &str) -> Vec<Choice> {
    let all = [("", "Everything")].into_iter().chain(Kind::ALL.iter().map(|kind| (kind.as_str(), kind.label())));
    all.map(|(value, label)| Choice { value: value.to_owned(), label: label.to_owned(), is_chosen: value == chosen }).collect()
}
