//! Reading the trail from its end, a bounded piece at a time.

use std::collections::HashSet;

use heliograph_store::{AuditRow, StoreError};

use super::words::subject;
use crate::error::Refusal;
use crate::panel::Panel;

/// Entries on a page.
const PAGE: usize = 50;
/// Entries that are read at once.
const CHUNK: u64 = 500;
/// Entries that one request looks at for those that fit.
const LOOKED_AT: usize = 10_000;
/// Entries that it looks at further back for what was there before a change.
const LOOKED_BACK: usize = 2_000;

/// Entries that were read, the newest first, and which of them are shown.
#[derive(Debug, Default)]
pub(super) struct Found {
    read: Vec<AuditRow>,
    shown: Vec<usize>,
    /// Where to go on, if there is more.
    pub(super) older: Option<u64>,
    /// How many were looked at for those that fit.
    pub(super) looked_at: usize,
    /// Whether there are older ones that nobody has looked at for this page.
    pub(super) is_cut: bool,
    /// Whether an entry cannot be read.
    pub(super) is_unreadable: bool,
}

impl Found {
    /// What is shown, each entry with the one that says what was there before, where it
    /// is of something that has a before and that was found.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&AuditRow, Option<&AuditRow>)> {
        self.shown.iter().filter_map(|index| {
            let row = self.read.get(*index)?;
            let earlier =
                subject(row).and_then(|of| self.read.iter().skip(index + 1).find(|other| subject(other).as_ref() == Some(&of)));
            Some((row, earlier))
        })
    }

    /// What shown entries are about of which nothing earlier was read.
    fn untold(&self) -> HashSet<String> {
        let unmatched = self.shown().filter(|(_, earlier)| earlier.is_none());
        unmatched.filter_map(|(row, _)| subject(row)).collect()
    }
}

/// The newest entries below `before` that fit.
pub(super) async fn find(panel: &Panel, before: Option<u64>, fits: impl Fn(&AuditRow) -> bool) -> Result<Found, Refusal> {
    let newest = panel.store().audit_newest().await?;
    let mut top = before.map_or(newest + 1, |before| before.min(newest + 1));
    let mut found = Found::default();
    while top > 1 && found.shown.len() < PAGE && found.looked_at < LOOKED_AT {
        let Some(low) = read(panel, &mut found, top).await? else { return Ok(found) };
        look(&mut found, &fits);
        top = low;
    }
    if found.shown.len() == PAGE {
        found.older = found.shown.last().and_then(|index| found.read.get(*index)).map(|row| row.seq).filter(|seq| *seq > 1);
    } else if top > 1 {
        (found.older, found.is_cut) = (Some(top), true);
    }
    look_back(panel, &mut found, top).await?;
    Ok(found)
}

/// Marks those that fit of what was read last, until the page is full.
fn look(found: &mut Found, fits: &impl Fn(&AuditRow) -> bool) {
    for (index, row) in found.read.iter().enumerate().skip(found.looked_at) {
        found.looked_at = index + 1;
        if fits(row) {
            found.shown.push(index);
        }
        if found.shown.len() == PAGE {
            return;
        }
    }
}

/// Reads on for what was there before the changes that are shown.
async fn look_back(panel: &Panel, found: &mut Found, mut top: u64) -> Result<(), Refusal> {
    let enough = found.read.len() + LOOKED_BACK;
    while top > 1 && found.read.len() < enough && !found.untold().is_empty() {
        match read(panel, found, top).await? {
            Some(low) => top = low,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Reads the entries just below a number; answers the lowest number that was asked for.
/// `None` where one of them cannot be read: the walk of the whole trail says more.
async fn read(panel: &Panel, found: &mut Found, top: u64) -> Result<Option<u64>, Refusal> {
    let low = top.saturating_sub(CHUNK).max(1);
    let limit = usize::try_from(top - low).unwrap_or(usize::MAX);
    match panel.store().audit_list(low, limit).await {
        Ok(rows) => {
            found.read.extend(rows.into_iter().rev().filter(|row| row.seq < top));
            Ok(Some(low))
        }
        Err(StoreError::Damaged(_)) => {
            found.is_unreadable = true;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
