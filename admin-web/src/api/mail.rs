//! Mails that are due or sent.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use heliograph_store::OutboxRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::ByReader;
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::{Utc, utc};
use crate::mail::may_see;
use crate::panel::Panel;

/// The newest mails that are told of.
const TOLD: usize = 5_000;

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
/// The newest 5,000, the newest first. Mails about somebody's way in are told to owners alone.
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
    let mut rows = panel.store().outbox_list(TOLD).await?;
    rows.retain(|row| may_see(&caller.actor, &row.key));
    cut("mails", &part, rows, |row| Reverse((row.created.as_millis(), row.id)), Mail::from).map(Json)
}
