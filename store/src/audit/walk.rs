//! Walking a trail in the order of its numbers, and what is found.
//!
//! A walk ends at no fault. An archive whose trail has one may be restored all the
//! same; the entry that tells of it says what was wrong, and what it is chained to.
//! From there on the trail is walked anew, so that a known fault hides no later one.

use std::fmt;

use heliograph_domain::Timestamp;
use serde_json::{Value, json};

use super::{AuditFault, AuditHead, AuditRow};

/// What somebody does who restores an archive.
pub(crate) const RESTORE: &str = "archive.restore";
/// In the entry of a restore: the fault that the trail had.
const KNOWN: &str = "audit_fault";
/// Beside it: what the entry is chained to.
const AFTER: &str = "after";

/// What a trail looks like when it was walked from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The newest entry, as far as the trail is as it was written.
    pub head: AuditHead,
    /// The first thing that is wrong, if anything is.
    pub fault: Option<AuditFault>,
    /// How many of the newest entries do not stand in the trail's table yet: in a
    /// cluster the next change copies them there. They are part of the chain, and
    /// no fault.
    pub waiting: u64,
    /// Where an entry says that the trail was restored with a fault: how it goes on
    /// from there. Of several such entries it is the newest.
    pub restored: Option<AuditRestored>,
}

/// How a trail goes on that was restored although it had a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRestored {
    /// The entry that says so.
    pub seq: u64,
    /// When it was restored.
    pub at: Timestamp,
    /// What was wrong with it then.
    pub known: String,
    /// The newest entry, as far as the trail is as it was written from there on.
    pub head: AuditHead,
    /// The first thing that is wrong from there on, if anything is.
    pub fault: Option<AuditFault>,
}

impl AuditVerdict {
    /// What is wrong with the trail, in words; `None` where nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let fault = self.fault?;
        let problem = format!("{fault}; up to entry {} it is as it was written", self.head.seq);
        Some(match &self.restored {
            None => problem,
            Some(restored) => format!("{problem}; {restored}"),
        })
    }
}

impl fmt::Display for AuditRestored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, at, known, head, fault } = self;
        write!(f, "entry {seq} of {at} says that it was restored despite this: {known:?}; ")?;
        match fault {
            Some(fault) => write!(f, "but since then: {fault}, and up to entry {} it is as it was written", head.seq),
            None => write!(f, "from there on it is as it was written, head {head}"),
        }
    }
}

/// What a restore says of a trail that had a fault, to be part of its entry, which is
/// to follow after a head.
pub(crate) fn note_restored(detail: &mut Value, known: &str, after: AuditHead) {
    detail[KNOWN] = json!(known);
    detail[AFTER] = json!(after.to_string());
}

impl AuditRow {
    /// The fault that it says the trail had when it was restored, where it stands
    /// where that was done.
    fn restored_with(&self) -> Option<String> {
        if self.action != RESTORE {
            return None;
        }
        let detail: Value = serde_json::from_str(&self.detail).ok()?;
        let known = detail.get(KNOWN)?.as_str()?;
        let after = AuditHead::parse(detail.get(AFTER)?.as_str()?).ok()?;
        let chained = after.seq + 1 == self.seq && self.hash_after(after.hash) == self.hash;
        chained.then(|| known.to_owned())
    }
}

/// Walks a trail.
#[derive(Debug)]
pub(crate) struct AuditWalk {
    noted: Option<AuditHead>,
    waiting: u64,
    /// The newest row, whatever it looks like.
    seen: u64,
    /// The newest entry that is as it was written, since the last restore with a
    /// fault if there was one.
    reached: AuditHead,
    /// The first fault since.
    fault: Option<AuditFault>,
    /// The same up to the first such restore.
    earlier: Option<(AuditHead, AuditFault)>,
    restored: Option<(u64, Timestamp, String)>,
}

impl AuditWalk {
    /// From the beginning, with a head noted elsewhere if there is one.
    pub(crate) const fn new(noted: Option<AuditHead>) -> Self {
        Self { noted, waiting: 0, seen: 0, reached: AuditHead::NONE, fault: None, earlier: None, restored: None }
    }

    /// The number behind all rows that were seen.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.seen + 1
    }

    /// Takes the next entry.
    pub(crate) fn step(&mut self, row: &AuditRow) {
        self.step_with(row, None);
    }

    /// Takes the next entry, of which more may be kept beside the trail.
    pub(crate) fn step_with(&mut self, row: &AuditRow, kept: Option<&AuditRow>) {
        self.seen = self.seen.max(row.seq);
        let known = row.restored_with().filter(|_| kept.is_none_or(|kept| kept == row));
        let checked = if self.fault.is_none() { self.check(row, kept) } else { Ok(()) };
        if let Some(known) = known {
            let fault = self.fault.or(checked.err()).unwrap_or(AuditFault::Restored(row.seq));
            self.earlier.get_or_insert((self.reached, fault));
            self.restored = Some((row.seq, row.at, known));
            (self.reached, self.fault) = (row.head(), self.differs_from_noted(row));
        } else if let Err(fault) = checked {
            self.fault = Some(fault);
        } else if self.fault.is_none() {
            self.reached = row.head();
            self.fault = self.differs_from_noted(row);
        }
    }

    /// Takes the next entry, which is kept beside the trail alone as yet.
    pub(crate) fn step_waiting(&mut self, row: &AuditRow) {
        self.step(row);
        self.waiting += u64::from(self.fault.is_none());
    }

    /// Takes something for wrong, unless something before it is.
    pub(crate) fn fail(&mut self, fault: AuditFault) {
        self.fault.get_or_insert(fault);
    }

    /// Takes a row that cannot be read for the next entry: no release wrote it so.
    pub(crate) fn unreadable(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
        self.fail(AuditFault::Changed(seq));
    }

    fn check(&self, row: &AuditRow, kept: Option<&AuditRow>) -> Result<(), AuditFault> {
        let expected = self.reached.seq + 1;
        if row.seq > expected {
            return Err(AuditFault::Missing { from: expected, to: row.seq - 1 });
        }
        if kept.is_some_and(|kept| kept != row) {
            return Err(AuditFault::Differs(row.seq));
        }
        if row.seq < expected || row.hash_after(self.reached.hash) != row.hash {
            return Err(AuditFault::Changed(row.seq));
        }
        Ok(())
    }

    fn differs_from_noted(&self, row: &AuditRow) -> Option<AuditFault> {
        let noted = self.noted.filter(|noted| noted.seq == row.seq)?;
        (noted.hash != row.hash).then_some(AuditFault::Rewritten(row.seq))
    }

    /// The verdict once all entries were seen.
    pub(crate) fn end(self, stored: Option<AuditHead>) -> AuditVerdict {
        let (head, fault) = (self.reached, self.fault.or_else(|| self.fault_of_head(stored)));
        let Self { waiting, earlier, restored, .. } = self;
        match (earlier, restored) {
            (Some((sound, first)), Some((seq, at, known))) => {
                let restored = Some(AuditRestored { seq, at, known, head, fault });
                AuditVerdict { head: sound, fault: Some(first), waiting, restored }
            }
            _ => AuditVerdict { head, fault, waiting, restored: None },
        }
    }

    fn fault_of_head(&self, stored: Option<AuditHead>) -> Option<AuditFault> {
        let reached = self.reached;
        let missing = |until: AuditHead| AuditFault::Missing { from: reached.seq + 1, to: until.seq };
        match stored {
            None if reached.seq > 0 => return Some(AuditFault::NoHead),
            Some(head) if head.seq > reached.seq => return Some(missing(head)),
            Some(head) if head.seq < reached.seq => return Some(AuditFault::BeyondHead(head.seq + 1)),
            Some(head) if head.hash != reached.hash => return Some(AuditFault::Head(head.seq)),
            _ => {}
        }
        self.noted.filter(|noted| noted.seq > reached.seq).map(missing)
    }
}

#[cfg(test)]
mod tests;
