//! Who changed what.

use axum::Json;
use axum::extract::State;
use heliograph_store::AuditRow;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::access::ByOwner;
use super::paging::{Page, Part, cursor, length, place};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::Utc;
use crate::panel::Panel;

/// No trail gets as far as this, whatever a cursor says.
const FURTHEST: u64 = 1 << 62;

/// An entry of the audit trail.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// Its number, from 1, without gaps.
    seq: u64,
    /// When the change was made.
    at: Utc,
    /// Who made it: `user:ID`, `operator` or `system:PART`.
    actor: String,
    /// What was done.
    #[schema(example = "gateway.retire")]
    action: String,
    /// What it was done to.
    #[schema(example = "gateway:gw-0001")]
    object: String,
    /// References and settings.
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash that chains it to the entry before.
    hash: String,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at.into(),
            actor: row.actor,
            action: row.action,
            object: row.object,
            detail: serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
            hash: row.hash.to_string(),
        }
    }
}

/// List the audit trail
///
/// In order, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "listAudit",
    tag = "People",
    params(Part),
    security(("token" = ["people"])),
    responses((status = 200, description = "A part of the trail.", body = Page<AuditEntry>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    _: ByOwner,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<AuditEntry>>, ApiRefusal> {
    let length = length(part.limit)?;
    let after: Option<u64> = place("audit", part.cursor.as_deref())?;
    let from = after.map_or(1, |seq| seq.min(FURTHEST) + 1);
    let mut rows = panel.store().audit_list(from, length + 1).await?;
    let has_more = rows.len() > length;
    rows.truncate(length);
    let next = rows.last().filter(|_| has_more).and_then(|last| cursor("audit", &last.seq));
    Ok(Json(Page { items: rows.into_iter().map(AuditEntry::from).collect(), next }))
}
