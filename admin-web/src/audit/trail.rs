//! Reading the trail from its end, a bounded piece at a time.

use std::collections::HashMap;

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
    /// Of each what it has to do with a before.
    links: Vec<Link>,
    /// Which entry about each subject is the oldest that was read.
    oldest: HashMap<String, usize>,
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

/// What an entry has to do with what was there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It is of nothing that has a before.
    None,
    /// That was not read, so far.
    Untold,
    /// The entry that says it.
    Told(usize),
}

impl Found {
    /// Takes older entries in, the newest of them first. Each is parsed once, here.
    fn take(&mut self, rows: impl Iterator<Item = AuditRow>) {
        for row in rows {
            let index = self.read.len();
            let subject = subject(&row);
            self.links.push(if subject.is_some() { Link::Untold } else { Link::None });
            self.read.push(row);
            let newer = subject.and_then(|subject| self.oldest.insert(subject, index));
            if let Some(link) = newer.and_then(|newer| self.links.get_mut(newer)) {
                *link = Link::Told(index);
            }
        }
    }

    /// What is shown, each entry with the one that says what was there before, where it
    /// is of something that has a before and that was found.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&AuditRow, Option<&AuditRow>)> {
        self.shown.iter().filter_map(|index| {
            let earlier = match self.links.get(*index)? {
                Link::Told(earlier) => self.read.get(*earlier),
                Link::None | Link::Untold => None,
            };
            Some((self.read.get(*index)?, earlier))
        })
    }

    /// Whether nothing earlier was read about what some shown entry is about.
    fn is_untold(&self) -> bool {
        self.shown.iter().any(|index| self.links.get(*index) == Some(&Link::Untold))
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
    while top > 1 && found.read.len() < enough && found.is_untold() {
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
            found.take(rows.into_iter().rev().filter(|row| row.seq < top));
            // Other requests wait for this thread.
            tokio::task::yield_now().await;
            Ok(Some(low))
        }
        Err(StoreError::Damaged(_)) => {
            found.is_unreadable = true;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::Timestamp;
    use heliograph_store::AuditHash;

    use super::*;

    fn row(seq: u64, action: &str, object: &str) -> AuditRow {
        AuditRow {
            seq,
            at: Timestamp::clamped(0),
            actor: "operator".to_owned(),
            action: action.to_owned(),
            object: object.to_owned(),
            detail: "{}".to_owned(),
            hash: AuditHash::NONE,
        }
    }

    #[test]
    fn each_entry_knows_the_one_before_about_the_same() {
        let mut found = Found::default();
        let rows = [
            row(9, "location.save", "location:a"),
            row(8, "location.save", "location:b"),
            row(7, "gateway.retire", "gateway:g"),
            row(6, "location.save", "location:a"),
        ];
        found.take(rows.into_iter());
        found.shown = vec![0, 1, 2];
        let before =
            |found: &Found| found.shown().map(|(row, earlier)| (row.seq, earlier.map(|row| row.seq))).collect::<Vec<_>>();
        assert_eq!(before(&found), [(9, Some(6)), (8, None), (7, None)]);
        assert!(found.is_untold(), "nothing was read of b");
        found.take([row(5, "location.save", "location:a"), row(4, "location.save", "location:b")].into_iter());
        assert_eq!(before(&found), [(9, Some(6)), (8, Some(4)), (7, None)]);
        assert!(!found.is_untold());
        found.shown.push(3);
        assert_eq!(before(&found).last(), Some(&(6, Some(5))));
    }
}
