//! The audit trail in an archive, walked as its rows pass.

use super::tables::{Cell, Table};
use crate::audit::{AuditHash, AuditHead, AuditRow, AuditVerdict, AuditWalk};
use heliograph_domain::Timestamp;

/// The trail of an archive that is written, checked or restored.
#[derive(Debug)]
pub(crate) struct ArchivedTrail {
    walk: AuditWalk,
    head: Option<AuditHead>,
}

impl Default for ArchivedTrail {
    fn default() -> Self {
        Self { walk: AuditWalk::new(None), head: None }
    }
}

impl ArchivedTrail {
    /// Takes a row of any table.
    pub(super) fn take(&mut self, table: &Table, cells: &[Cell]) {
        match (table.name, cells) {
            ("audit", cells) => match entry(cells) {
                Some(row) => self.walk.step(&row),
                None => self.walk.unreadable(number(cells)),
            },
            ("audit_head", [Cell::Text(head)]) => self.head = AuditHead::parse(head).ok(),
            _ => {}
        }
    }

    /// What was found once all rows have passed.
    pub(super) fn end(self) -> AuditVerdict {
        self.walk.end(self.head)
    }
}

/// The entry in a row; `None` where no release has written it so.
fn entry(cells: &[Cell]) -> Option<AuditRow> {
    let [Cell::Int(_), Cell::Int(_), texts @ .., Cell::Bytes(hash)] = cells else { return None };
    let whole = hash.len() == AuditHash::NONE.0.len() && texts.iter().all(|cell| matches!(cell, Cell::Text(_)));
    whole.then(|| readable(cells))
}

/// The entry in a row, as much of it as can be read: what cannot is empty, so that
/// its hash does not fit.
pub(crate) fn readable(cells: &[Cell]) -> AuditRow {
    let text = |column: usize| match cells.get(column) {
        Some(Cell::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let hash = match cells.get(6) {
        Some(Cell::Bytes(hash)) => hash.as_slice().try_into().map_or(AuditHash::NONE, AuditHash),
        _ => AuditHash::NONE,
    };
    let at = match cells.get(1) {
        Some(Cell::Int(at)) => Timestamp::clamped(*at),
        _ => Timestamp::clamped(0),
    };
    AuditRow { seq: number(cells), at, actor: text(2), action: text(3), object: text(4), detail: text(5), hash }
}

/// The row of an entry.
pub(crate) fn archived(entry: AuditRow) -> Vec<Cell> {
    let AuditRow { seq, at, actor, action, object, detail, hash } = entry;
    let [actor, action, object, detail] = [actor, action, object, detail].map(Cell::Text);
    let seq = Cell::Int(i64::try_from(seq).unwrap_or(i64::MAX));
    vec![seq, Cell::Int(at.as_millis()), actor, action, object, detail, Cell::Bytes(hash.0.to_vec())]
}

/// Whether a row stands behind all that a trail can have. The entry of the restore says
/// that it was there; restored, it would be in the way of what follows.
pub(crate) fn is_stray(cells: &[Cell]) -> bool {
    number(cells) > AuditHead::FURTHEST
}

fn number(cells: &[Cell]) -> u64 {
    match cells.first() {
        Some(Cell::Int(seq)) => u64::try_from(*seq).unwrap_or(0),
        _ => 0,
    }
}
