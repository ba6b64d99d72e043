//! What was refused.

use axum::Json;
use axum::extract::State;
use heliograph_domain::{QuarantineId, Timestamp};
use heliograph_store::QuarantineRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::ByReader;
use super::paging::{Page, Part, cursor, length, place};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::Utc;
use crate::panel::Panel;

/// A document, or part of one, that was refused and kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Quarantined {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// When it came.
    received: Utc,
    /// The gateway that it names, as text: it may be no gateway's id at all.
    gateway: Option<String>,
    /// Where it came from.
    #[schema(example = "203.0.113.9:4711")]
    address: String,
    /// Why it was refused, such as `malformed` or `unknown-gateway`.
    code: String,
    /// The reason in words.
    reason: String,
    /// How many bytes it has.
    bytes: usize,
    /// Whether whoever sent it had proved itself.
    trusted: bool,
}

impl From<QuarantineRow> for Quarantined {
    fn from(row: QuarantineRow) -> Self {
        let entry = row.entry;
        Self {
            id: entry.id.to_string(),
            received: entry.received.into(),
            gateway: entry.gateway,
            address: entry.address,
            code: entry.code.to_string(),
            reason: entry.reason,
            bytes: row.bytes,
            trusted: entry.trusted,
        }
    }
}

fn key(row: &QuarantineRow) -> (i64, QuarantineId) {
    (row.entry.received.as_millis(), row.entry.id)
}

/// List the quarantine
///
/// The newest first, without the documents themselves.
#[utoipa::path(
    get,
    path = "/api/v1/quarantine",
    operation_id = "listQuarantine",
    tag = "Operation",
    params(Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Quarantined>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    _: ByReader,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Quarantined>>, ApiRefusal> {
    let length = length(part.limit)?;
    let before: Option<(i64, QuarantineId)> = place("quarantine", part.cursor.as_deref())?;
    let before = before.map(|(millis, id)| (Timestamp::clamped(millis), id));
    let mut rows = panel.store().quarantine_page(before, length + 1).await?;
    let has_more = rows.len() > length;
    rows.truncate(length);
    let next = rows.last().filter(|_| has_more).and_then(|last| cursor("quarantine", &key(last)));
    Ok(Json(Page { items: rows.into_iter().map(Quarantined::from).collect(), next }))
}
