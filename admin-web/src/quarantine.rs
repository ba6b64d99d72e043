//! What was refused, with the reason and the bytes as they came.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{QuarantineId, Timestamp, Zone, visible};
use heliograph_store::QuarantineRow;
use serde::Deserialize;

use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::form::local_text;
use crate::panel::Panel;
use crate::replay::{Changed, Tried, Try};
use crate::shell::{Done, Section, Shell};

/// Entries on a page.
const PAGE: usize = 50;
/// Changes and refusals of a trial that a page shows.
const TRIED: usize = 50;
/// Bytes of an entry that a page shows.
const SHOWN: usize = 64 * 1024;

struct Entry {
    id: String,
    received: String,
    gateway: String,
    address: String,
    code: &'static str,
    reason: String,
    size: String,
}

impl Entry {
    fn of(row: &QuarantineRow, shell: &Shell) -> Self {
        let entry = &row.entry;
        Self {
            id: entry.id.to_string(),
            received: local_text(entry.received, &shell.settings.zone),
            gateway: entry.gateway.clone().unwrap_or_default(),
            address: entry.address.clone(),
            code: entry.code.as_str(),
            reason: entry.reason.clone(),
            size: size(row.bytes),
        }
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Before {
    before: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "quarantine.html")]
struct QuarantinePage {
    shell: Shell,
    entries: Vec<Entry>,
    total: u64,
    held: String,
    older: Option<i64>,
    is_first: bool,
}

/// `GET /quarantine`
pub(crate) async fn list(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(query): Query<Before>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let before = parse_before(&query.before)?;
    let shell = Shell::of(&panel, &actor, Section::Quarantine).await?.saying(&done);
    let rows = panel.store().quarantine_list(before, PAGE).await?;
    let usage = panel.store().quarantine_usage().await?;
    let older = (rows.len() == PAGE).then(|| rows.last().map(|row| row.entry.received.as_millis())).flatten();
    let entries = rows.iter().map(|row| Entry::of(row, &shell)).collect();
    let held = size(usize::try_from(usage.bytes).unwrap_or(usize::MAX));
    Ok(QuarantinePage { shell, entries, total: usage.rows, held, older, is_first: before.is_none() }.into_response())
}

fn parse_before(text: &str) -> Result<Option<Timestamp>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let millis = text.parse::<i64>().ok().and_then(|millis| Timestamp::from_millis(millis).ok());
    millis.map(Some).ok_or_else(|| Refusal::BadRequest("The address names no point in time to go back from.".to_owned()))
}

#[derive(Template, WebTemplate)]
#[template(path = "quarantine-entry.html")]
struct EntryPage {
    shell: Shell,
    entry: Entry,
    reasons: Vec<String>,
    retry: bool,
    raw: String,
    cut: bool,
    /// Whether it may be tried here.
    can_retry: bool,
    /// Whether what would become of it has been said.
    may_do: bool,
    trial: Option<Trial>,
}

/// What became, or would become, of it.
struct Trial {
    /// Whether it was done.
    is_done: bool,
    /// Why all of it stays; empty where it does not.
    stays: String,
    code: &'static str,
    gateway: String,
    new: usize,
    repeated: usize,
    replaced: usize,
    kept: usize,
    shown: Vec<Row>,
    /// Changes that are not shown.
    more: usize,
    refusals: Vec<String>,
    more_refusals: usize,
}

/// A reading of which another value is stored.
struct Row {
    time: String,
    series: String,
    stored: String,
    value: String,
    stays: bool,
}

impl Trial {
    fn of(tried: Tried, how: Try, zone: &Zone) -> Self {
        let row = |changed: &Changed| Row {
            time: local_text(changed.time, zone),
            series: changed.series.clone(),
            stored: format!("{} {}", changed.stored, changed.unit),
            value: format!("{} {}", changed.value, changed.unit),
            stays: changed.stays,
        };
        let kept = tried.changes.iter().filter(|changed| changed.stays).count();
        let (code, stays) = tried.stays.map(|(code, reason)| (code.as_str(), reason)).unwrap_or_default();
        Self {
            is_done: how == Try::ForGood,
            stays,
            code,
            gateway: tried.gateway.unwrap_or_default(),
            new: tried.new,
            repeated: tried.repeated,
            replaced: tried.changes.len() - kept,
            kept,
            shown: tried.changes.iter().take(TRIED).map(row).collect(),
            more: tried.changes.len().saturating_sub(TRIED),
            more_refusals: tried.refusals.len().saturating_sub(TRIED),
            refusals: tried.refusals.into_iter().take(TRIED).collect(),
        }
    }

    /// Whether nothing of it is left to do.
    fn leaves(&self) -> bool {
        self.stays.is_empty() && self.refusals.is_empty()
    }
}

/// `GET /quarantine/{entry}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(entry): Path<String>,
) -> Result<Response, Refusal> {
    let row = panel.store().quarantine_fetch(read_id(&entry)?).await?;
    Ok(page(&panel, &actor, &row, None).await?.into_response())
}

async fn page(panel: &Panel, actor: &Actor, row: &QuarantineRow, trial: Option<Trial>) -> Result<EntryPage, Refusal> {
    let shell = Shell::of(panel, actor, Section::Quarantine).await?;
    let cut = row.entry.raw.len() > SHOWN;
    let raw = visible(row.entry.raw.get(..SHOWN).unwrap_or(&row.entry.raw));
    let reasons = row.entry.reason.lines().map(str::to_owned).collect();
    let retry = row.entry.code.retry();
    let can_retry = shell.may_change() && panel.settings().replay.is_some() && !row.entry.raw.is_empty();
    let may_do = trial.as_ref().is_some_and(|trial| !trial.is_done && trial.stays.is_empty());
    Ok(EntryPage { entry: Entry::of(row, &shell), shell, reasons, retry, raw, cut, can_retry, may_do, trial })
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct RetryForm {
    action: String,
}

/// `POST /quarantine/{entry}`: `action=retry` tries it again, all else says what would
/// become of it.
pub(crate) async fn retry(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(entry): Path<String>,
    Form(form): Form<RetryForm>,
) -> Result<Response, Refusal> {
    let id: QuarantineId = read_id(&entry)?;
    let row = panel.store().quarantine_fetch(id).await?;
    let Some(replay) = panel.settings().replay.clone() else {
        return Err(Refusal::Conflict("This panel cannot try it again; the command can.".to_owned()));
    };
    let how = if form.action == "retry" { Try::ForGood } else { Try::DryRun };
    let store = actor.store(&panel);
    if how == Try::ForGood {
        store.quarantine_retry_noted(1, true).await?;
        tracing::info!(user = %actor.user.id, entry = %id, "document of the quarantine tried again");
    }
    let tried = replay.run(store, id, how).await?.ok_or(Refusal::NotFound)?;
    let trial = Trial::of(tried, how, &panel.store().settings_fetch().await?.zone);
    if trial.is_done && trial.leaves() {
        return Ok(Redirect::to("/quarantine?done=replayed").into_response());
    }
    // Where it was stored in part, the entry says now what is left.
    let row = if trial.is_done { panel.store().quarantine_fetch(id).await? } else { row };
    Ok(page(&panel, &actor, &row, Some(trial)).await?.into_response())
}
