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

mod walk;

use std::fmt;

use heliograph_domain::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};
pub use walk::{AuditRestored, AuditVerdict};
pub(crate) use walk::{AuditWalk, RESTORE, note_restored};

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
    /// No trail gets as far as this. What bears a higher number was put there by
    /// somebody, and nothing follows after it: there would soon be no number left.
    pub(crate) const FURTHEST: u64 = 1 << 62;

    /// Parses `SEQ:HASH`, as it prints.
    ///
    /// # Errors
    /// When it is not a number that an entry can have, a colon and 64 hexadecimal
    /// digits.
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
        let seq = seq.parse().ok().filter(|seq| *seq <= Self::FURTHEST).ok_or_else(bad)?;
        Ok(Self { seq, hash: AuditHash(hash) })
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
    /// Nothing else is wrong up to an entry which says that the trail had a fault.
    #[error("entry {0} says that the trail had a fault when it was restored")]
    Restored(u64),
}

impl ProviderStore {
    /// What this handle's holder is about to do, for the audit trail. `detail`
    /// holds references and settings only, never a name or an address.
    pub(crate) fn event(&self, action: &str, object: impl fmt::Display, mut detail: Value) -> AuditEvent {
        if let (Some(token), Value::Object(members)) = (self.token, &mut detail) {
            members.insert("token".to_owned(), token.to_string().into());
        }
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

    /// The number of the newest entry of the audit trail; 0 where there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_newest(&self) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(|connection| Ok(sqlite::audit::last(connection)?.seq)).await,
            Backend::Cassandra(db) => Ok(db.catalog().await?.trail_head().map_or(0, |head| head.seq)),
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

    #[test]
    fn heads_read_as_they_print() {
        let head = AuditHead { seq: 6, hash: AuditHash([0xa5; 32]) };
        assert_eq!(AuditHead::parse(&head.to_string()).unwrap(), head);
        let beyond = format!("{}:{}", u64::MAX, "0".repeat(64));
        for bad in ["", "1", "1:ab", "x:00", &format!("1:{}é", "0".repeat(62)), &beyond] {
            assert!(AuditHead::parse(bad).is_err(), "{bad}");
        }
    }
}
