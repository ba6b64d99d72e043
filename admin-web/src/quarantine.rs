//! What was refused, with the reason and the bytes as they came.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use heliograph_domain::{Timestamp, visible};
use heliograph_store::QuarantineRow;
use serde::Deserialize;

use crate::access::Reader;
use crate::error::{Refusal, read_id};
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::{Section, Shell};

/// Entries on a page.
const PAGE: usize = 50;
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
) -> Result<Response, Refusal> {
    let before = parse_before(&query.before)?;
    let shell = Shell::of(&panel, &actor, Section::Quarantine).await?;
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
}

/// `GET /quarantine/{entry}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(entry): Path<String>,
) -> Result<Response, Refusal> {
    let row = panel.store().quarantine_fetch(read_id(&entry)?).await?;
    let shell = Shell::of(&panel, &actor, Section::Quarantine).await?;
    let cut = row.entry.raw.len() > SHOWN;
    let raw = visible(row.entry.raw.get(..SHOWN).unwrap_or(&row.entry.raw));
    let reasons = row.entry.reason.lines().map(str::to_owned).collect();
    let retry = row.entry.code.retry();
    Ok(EntryPage { entry: Entry::of(&row, &shell), shell, reasons, retry, raw, cut }.into_response())
}
