//! Mails that are due or sent.

use axum::Json;
use axum::extract::State;
use heliograph_domain::{ApiScope, OutboxId, Timestamp};
use heliograph_store::{Letter, OutboxRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::ByReader;
use super::paging::{Page, Part, cursor, length, place};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::{Utc, utc};
use crate::mail::may_see;
use crate::panel::Panel;

/// What the cursors of this list begin with.
const LIST: &str = "mails";

/// A mail.
#[derive(Serialize, ToSchema)]
pub(super) struct Mail {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// What it is, such as `daily` or `monthly`.
    report: String,
    /// The period it is about.
    #[schema(example = "2026-06-17")]
    period: String,
    /// Who gets it.
    recipient: String,
    /// Its subject.
    subject: String,
    /// `waiting`, `sent` or `given-up`.
    state: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was made.
    created: Utc,
    /// When it is tried next, while it waits.
    due: Utc,
    /// When it was sent.
    sent: Option<Utc>,
    /// What the mail server answered last, or why it was given up.
    outcome: String,
    /// Its Message-ID.
    message_id: String,
}

impl From<OutboxRow> for Mail {
    fn from(row: OutboxRow) -> Self {
        Self {
            id: row.id.to_string(),
            report: row.key.report_name().to_owned(),
            recipient: row.key.recipient.to_string(),
            period: row.key.period,
            subject: row.subject,
            state: row.state.as_str().to_owned(),
            attempts: row.attempts,
            created: row.created.into(),
            due: row.due.max(row.created).into(),
            sent: utc(row.sent),
            outcome: row.outcome,
            message_id: row.message_id,
        }
    }
}

/// List the mails
///
/// The newest first. Mails about somebody's way in are told to owners alone, by a token with
/// the scope `people`; a part may hold fewer mails than it could, or none, because of them.
#[utoipa::path(
    get,
    path = "/api/v1/mails",
    operation_id = "listMails",
    tag = "Operation",
    params(Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Mail>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    ByReader(caller): ByReader,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Mail>>, ApiRefusal> {
    let length = length(part.limit)?;
    let before = place::<(i64, OutboxId)>(LIST, part.cursor.as_deref())?;
    let before = before.map(|(created, id)| (Timestamp::clamped(created), id));
    let mut rows = panel.store().outbox_list_before(before, length).await?;
    let last = rows.last().filter(|_| rows.len() == length);
    let next = last.and_then(|last| cursor(LIST, &(last.created.as_millis(), last.id)));
    let sees_letters = caller.token.has(ApiScope::People);
    rows.retain(|row| may_see(&caller.actor, &row.key) && (sees_letters || !Letter::is_one(&row.key)));
    Ok(Json(Page { items: rows.into_iter().map(Mail::from).collect(), next }))
}
