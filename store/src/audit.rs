//! The audit trail: who changed what, when, each entry chained to the one before
//! it by its hash.
//!
//! An entry refers to people and things by their ids and never holds a name or an
//! address, so that erasing somebody leaves the chain as it is. It is written in
//! the transaction of the change that it tells of.
//!
//! The chain and its head are kept apart, so that a changed, removed or swapped
//! entry is found, and a trail that was cut at its end too. Whoever may write
//! everything can still compute a whole new chain with a new head; that shows only
//! against a head that was noted elsewhere, see [`ProviderStore::audit_verify`].

use std::fmt;

use heliograph_domain::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// SHA-256 over an entry and the hash of the entry before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditHash(pub [u8; 32]);

impl AuditHash {
    /// What the first entry is chained to.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The newest entry of a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number, from 1.
    pub seq: u64,
    /// Its hash.
    pub hash: AuditHash,
}

impl AuditHead {
    /// Before the first entry.
    pub const NONE: Self = Self { seq: 0, hash: AuditHash::NONE };

    /// Parses `SEQ:HASH`, as it prints.
    ///
    /// # Errors
    /// When it is not a number, a colon and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bad = || "must be SEQ:HASH, as audit verify prints it";
        let (seq, hex) = text.split_once(':').ok_or_else(bad)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Self { seq: seq.parse().map_err(|_| bad())?, hash: AuditHash(hash) })
    }

    /// The entry that an event becomes after this one.
    pub(crate) fn follow(&self, event: AuditEvent) -> AuditRow {
        let AuditEvent { at, actor, action, object, detail } = event;
        let mut row = AuditRow { seq: self.seq + 1, at, actor, action, object, detail, hash: AuditHash::NONE };
        row.hash = row.hash_after(self.hash);
        row
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A change that was made, before it has its place in the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditEvent {
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) detail: String,
}

/// An entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When the change was made.
    pub at: Timestamp,
    /// Who made it: `user:ID`, `operator`, `system:PART`.
    pub actor: String,
    /// What was done, such as `gateway.retire`.
    pub action: String,
    /// What it was done to, such as `gateway:gw-1`.
    pub object: String,
    /// References and settings, as JSON.
    pub detail: String,
    /// The hash that chains it to the entry before.
    pub hash: AuditHash,
}

impl AuditRow {
    /// The trail's head when this is its newest entry.
    #[must_use]
    pub const fn head(&self) -> AuditHead {
        AuditHead { seq: self.seq, hash: self.hash }
    }

    /// The hash that the entry has after one of the hash `previous`. Each field
    /// goes in with its length before it, so that no text can move from one field
    /// to its neighbour.
    fn hash_after(&self, previous: AuditHash) -> AuditHash {
        let (seq, at) = (self.seq.to_be_bytes(), self.at.as_millis().to_be_bytes());
        let texts = [&self.actor, &self.action, &self.object, &self.detail].map(String::as_bytes);
        let mut hash = Sha256::new_with_prefix(previous.0);
        for field in [&seq[..], &at[..]].into_iter().chain(texts) {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        AuditHash(hash.finalize().into())
    }
}

/// The first thing that is wrong with a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The entry and its hash do not belong together after the entry before it.
    #[error("entry {0} is not what was written there")]
    Changed(u64),
    /// Entries that were there are not.
    #[error("entries {from} to {to} are missing")]
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// There are entries, but nothing says which is the newest.
    #[error("the head of the trail is missing")]
    NoHead,
    /// The head names an entry before the newest.
    #[error("entry {0} follows after the head of the trail, which has been set back")]
    BeyondHead(u64),
    /// The entry and what is kept of it beside the trail are different.
    #[error("entry {0} is not what the catalog keeps of it")]
    Differs(u64),
    /// There is an entry where none belongs.
    #[error("entry {0} stands where none belongs: it was added, or the trail's head or months were set back")]
    Added(u64),
    /// The head and its entry have different hashes.
    #[error("the head of the trail does not fit entry {0}")]
    Head(u64),
    /// The trail is another one than when its head was noted.
    #[error("entry {0} is another one than was noted: the trail has been written anew")]
    Rewritten(u64),
}

/// What a trail looks like when it was walked from end to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The newest entry, as far as the trail is as it was written.
    pub head: AuditHead,
    /// The first thing that is wrong, if anything is.
    pub fault: Option<AuditFault>,
    /// How many of the newest entries do not stand in the trail's table yet: in a
    /// cluster the next change copies them there. They are part of the chain, and
    /// no fault.
    pub waiting: u64,
}

/// Walks a trail in the order of its numbers.
#[derive(Debug)]
pub(crate) struct AuditWalk {
    reached: AuditHead,
    noted: Option<AuditHead>,
    waiting: u64,
}

impl AuditWalk {
    /// From the beginning, with a head noted elsewhere if there is one.
    pub(crate) const fn new(noted: Option<AuditHead>) -> Self {
        Self { reached: AuditHead::NONE, noted, waiting: 0 }
    }

    /// The number of the entry that is checked next.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.reached.seq + 1
    }

    /// Checks the next entry.
    pub(crate) fn step(&mut self, row: &AuditRow) -> Result<(), AuditFault> {
        self.step_with(row, None)
    }

    /// Checks the next entry, of which more may be kept beside the trail.
    pub(crate) fn step_with(&mut self, row: &AuditRow, kept: Option<&AuditRow>) -> Result<(), AuditFault> {
        let expected = self.next_seq();
        if row.seq > expected {
            return Err(AuditFault::Missing { from: expected, to: row.seq - 1 });
        }
        if kept.is_some_and(|kept| kept != row) {
            return Err(AuditFault::Differs(row.seq));
        }
        if row.seq < expected || row.hash_after(self.reached.hash) != row.hash {
            return Err(AuditFault::Changed(row.seq));
        }
        self.reached = row.head();
        match self.noted.filter(|noted| noted.seq == row.seq) {
            Some(noted) if noted.hash != row.hash => Err(AuditFault::Rewritten(row.seq)),
            _ => Ok(()),
        }
    }

    /// Checks the next entry, which is kept beside the trail alone as yet.
    pub(crate) fn step_waiting(&mut self, row: &AuditRow) -> Result<(), AuditFault> {
        self.step(row)?;
        self.waiting += 1;
        Ok(())
    }

    /// The verdict once all entries were seen, or the first fault.
    pub(crate) fn end(self, outcome: Result<(), AuditFault>, stored: Option<AuditHead>) -> AuditVerdict {
        let fault = outcome.err().or_else(|| self.fault_of_head(stored));
        AuditVerdict { head: self.reached, fault, waiting: self.waiting }
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

impl ProviderStore {
    /// What this handle's holder is about to do, for the audit trail. `detail`
    /// holds references and settings only, never a name or an address.
    #[expect(clippy::needless_pass_by_value, reason = "callers make the value for this")]
    pub(crate) fn event(&self, action: &str, object: impl fmt::Display, detail: Value) -> AuditEvent {
        AuditEvent {
            at: self.clock.now(),
            actor: self.actor.to_string(),
            action: action.to_owned(),
            object: object.to_string(),
            detail: detail.to_string(),
        }
    }

    /// Entries of the audit trail from a number on, in order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_list(&self, from: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::audit::list(connection, from, limit)).await,
            Backend::Cassandra(db) => db.audit_list(from, limit).await,
        }
    }

    /// Walks the whole audit trail and names the first entry that is not as it was
    /// written. With a head that was noted elsewhere, a trail that somebody wrote
    /// anew from before it, or replaced by an older copy, is found too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_verify(&self, noted: Option<AuditHead>) -> Result<AuditVerdict, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::audit::verify(connection, noted)).await,
            Backend::Cassandra(db) => db.audit_verify(noted).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str) -> AuditEvent {
        AuditEvent {
            at: Timestamp::clamped(1_700_000_000_000),
            actor: "operator".to_owned(),
            action: "gateway.retire".to_owned(),
            object: object.to_owned(),
            detail: "{}".to_owned(),
        }
    }

    fn trail() -> Vec<AuditRow> {
        let mut head = AuditHead::NONE;
        (1..=6)
            .map(|number| {
                let row = head.follow(event(&format!("gateway:gw-{number}")));
                head = row.head();
                row
            })
            .collect()
    }

    fn walk(rows: &[AuditRow], stored: Option<AuditHead>, noted: Option<AuditHead>) -> Option<AuditFault> {
        let mut walk = AuditWalk::new(noted);
        let outcome = rows.iter().try_for_each(|row| walk.step(row));
        walk.end(outcome, stored).fault
    }

    #[test]
    fn a_trail_as_it_was_written_has_no_fault() {
        let rows = trail();
        let head = rows.last().map(AuditRow::head);
        assert_eq!(walk(&rows, head, None), None);
        assert_eq!(walk(&rows, head, Some(rows[2].head())), None);
        assert_eq!(walk(&[], None, None), None);
    }

    #[test]
    fn every_field_is_part_of_the_hash() {
        let rows = trail();
        let head = rows.last().map(AuditRow::head);
        let changes: [fn(&mut AuditRow); 6] = [
            |row| row.at = row.at.plus_millis(1),
            |row| row.actor.push('x'),
            |row| row.action.push('x'),
            |row| row.object.push('x'),
            |row| row.detail.push('x'),
            // One text's end as the next one's beginning.
            |row| {
                row.object = format!("{}{}", row.action.pop().unwrap(), row.object);
            },
        ];
        for change in changes {
            let mut changed = rows.clone();
            change(&mut changed[3]);
            assert_eq!(walk(&changed, head, None), Some(AuditFault::Changed(4)));
        }
    }

    #[test]
    fn removed_swapped_and_cut_entries_are_named() {
        let rows = trail();
        let head = rows.last().map(AuditRow::head);
        let mut removed = rows.clone();
        removed.remove(2);
        assert_eq!(walk(&removed, head, None), Some(AuditFault::Missing { from: 3, to: 3 }));
        let mut swapped = rows.clone();
        swapped.swap(1, 4);
        (swapped[1].seq, swapped[4].seq) = (2, 5);
        assert_eq!(walk(&swapped, head, None), Some(AuditFault::Changed(2)));
        assert_eq!(walk(&rows[..4], head, None), Some(AuditFault::Missing { from: 5, to: 6 }));
        assert_eq!(walk(&rows, Some(rows[3].head()), None), Some(AuditFault::BeyondHead(5)));
        assert_eq!(walk(&rows, None, None), Some(AuditFault::NoHead));
    }

    #[test]
    fn a_trail_written_anew_does_not_fit_a_noted_head() {
        let rows = trail();
        let noted = rows[3].head();
        let mut head = AuditHead::NONE;
        let anew: Vec<AuditRow> = (1..=6)
            .map(|number| {
                let row = head.follow(event(&format!("gateway:other-{number}")));
                head = row.head();
                row
            })
            .collect();
        assert_eq!(walk(&anew, Some(head), None), None);
        assert_eq!(walk(&anew, Some(head), Some(noted)), Some(AuditFault::Rewritten(4)));
        let older = &rows[..2];
        assert_eq!(walk(older, Some(rows[1].head()), Some(noted)), Some(AuditFault::Missing { from: 3, to: 4 }));
    }

    #[test]
    fn an_entry_is_held_against_what_is_kept_of_it() {
        let rows = trail();
        let (mut forged, mut walk) = (AuditHead::NONE.follow(event("gateway:other")), AuditWalk::new(None));
        assert_eq!(walk.step_with(&forged, Some(&rows[0])), Err(AuditFault::Differs(1)));
        forged.seq = 3;
        assert_eq!(walk.step_with(&forged, Some(&rows[2])), Err(AuditFault::Missing { from: 1, to: 2 }));
        assert_eq!(walk.step_with(&rows[0], Some(&rows[0])), Ok(()));
        assert_eq!(walk.step_waiting(&rows[1]), Ok(()));
        let verdict = walk.end(Ok(()), Some(rows[1].head()));
        assert_eq!(verdict, AuditVerdict { head: rows[1].head(), fault: None, waiting: 1 });
    }

    #[test]
    fn heads_read_as_they_print() {
        let head = trail()[5].head();
        assert_eq!(AuditHead::parse(&head.to_string()).unwrap(), head);
        for bad in ["", "1", "1:ab", "x:00", &format!("1:{}é", "0".repeat(62))] {
            assert!(AuditHead::parse(bad).is_err(), "{bad}");
        }
    }
}
