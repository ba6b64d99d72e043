//! What somebody proves beside the password.

use std::collections::HashSet;
use std::fmt;

use heliograph_domain::{KeyDigest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::archive::tables::to_hex;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of its records; their id is that of the person.
pub(crate) const SECOND_FACTOR: &str = "second-factor";

/// A secret that an app of somebody's shares (RFC 6238), and codes for when that app is
/// lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// Whose it is.
    pub user: UserId,
    /// The secret, in Base32.
    pub secret: String,
    /// Since when it is asked for.
    pub since: Timestamp,
    /// The period of time, of 30 s, of the last code that was used: neither that nor one
    /// before it works again.
    pub last_step: u64,
    /// Wrong codes since the last right one.
    #[serde(default)]
    pub failures: u32,
    /// Digests of the recovery codes that were not used yet, in hexadecimal digits.
    recovery: Vec<String>,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactor").field("user", &self.user).field("since", &self.since).finish_non_exhaustive()
    }
}

/// What was proven: a code of the app, or a recovery code.
#[derive(Debug, Clone, Copy)]
pub enum SecondProof {
    /// The code of this period of time.
    Step(u64),
    /// A recovery code, by its digest.
    Recovery(KeyDigest),
}

impl SecondFactor {
    /// After so many wrong codes one behind the other the app is believed no more, so that
    /// its six digits can't be guessed however long somebody tries: a recovery code lets
    /// in, or an owner (NIST SP 800-63B, 5.2.2).
    pub const MOST_FAILURES: u32 = 100;

    /// Whether the app's codes count, or too many wrong ones came.
    #[must_use]
    pub const fn believes_app(&self) -> bool {
        self.failures < Self::MOST_FAILURES
    }

    /// One that was just set up and proven by the code of a period of time.
    #[must_use]
    pub fn new(user: UserId, secret: String, since: Timestamp, step: u64, recovery: &[KeyDigest]) -> Self {
        let recovery = recovery.iter().map(|digest| to_hex(&digest.0)).collect();
        Self { user, secret, since, last_step: step, failures: 0, recovery }
    }

    /// How many recovery codes are left.
    #[must_use]
    pub const fn recovery_left(&self) -> usize {
        self.recovery.len()
    }

    /// As it is after one more wrong code.
    pub(crate) fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }

    /// As it is once something was proven that was looked at beside `seen`; `None` where
    /// that has been used before, is none of these codes, or another one was set up.
    pub(crate) fn used(mut self, seen: &Self, proof: SecondProof) -> Option<Self> {
        if self.secret != seen.secret {
            return None;
        }
        let believes_app = self.believes_app();
        self.failures = 0;
        match proof {
            SecondProof::Step(step) if step > self.last_step && believes_app => self.last_step = step,
            SecondProof::Step(_) => return None,
            SecondProof::Recovery(digest) => {
                let digest = to_hex(&digest.0);
                let place = self.recovery.iter().position(|known| *known == digest)?;
                self.recovery.remove(place);
            }
        }
        Some(self)
    }
}

impl ProviderStore {
    /// What somebody has to prove beside the password, if anything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn second_factor_fetch(&self, user: UserId) -> Result<Option<SecondFactor>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::second_factor::find(connection, user)).await,
            Backend::Cassandra(db) => db.catalog().await?.second_factor(user),
        }
    }

    /// Who has to prove something beside the password.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn second_factor_users(&self) -> Result<HashSet<UserId>, StoreError> {
        let all = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::second_factor::list).await,
            Backend::Cassandra(db) => db.catalog().await?.second_factors(),
        }?;
        Ok(all.into_iter().map(|factor| factor.user).collect())
    }

    /// Has it asked for from now on. It takes the place of one that was there, and ends
    /// all sessions and API tokens of the person.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody.
    pub async fn second_factor_save(&self, factor: SecondFactor) -> Result<(), StoreError> {
        let event = self.event("user.second-factor.set", format_args!("user:{}", factor.user), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::second_factor::save(batch, &factor)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.second_factor_save(&factor)).await,
        }
    }

    /// Uses what was proven up, so that it works once; false where it does not any more,
    /// or something else is asked for than was `seen`. A recovery code stands in the
    /// audit trail.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn second_factor_use(&self, seen: SecondFactor, proof: SecondProof) -> Result<bool, StoreError> {
        let event = matches!(proof, SecondProof::Recovery(_)).then(|| {
            let left = seen.recovery_left().saturating_sub(1);
            self.event("user.second-factor.recovery", format_args!("user:{}", seen.user), json!({ "left": left }))
        });
        let used = match (&self.backend, event) {
            (Backend::Sqlite(db), Some(event)) => {
                db.change(event, move |batch| sqlite::second_factor::use_up(batch, &seen, proof)).await
            }
            (Backend::Sqlite(db), None) => db.write(move |batch| sqlite::second_factor::use_up(batch, &seen, proof)).await,
            (Backend::Cassandra(db), Some(event)) => {
                db.change(event, move |catalog| catalog.second_factor_use(&seen, proof)).await
            }
            (Backend::Cassandra(db), None) => {
                db.catalog_change(None, move |catalog| catalog.second_factor_use(&seen, proof)).await
            }
        };
        match used {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Counts a wrong code.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn second_factor_failed(&self, user: UserId) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::second_factor::failed(batch, user)).await,
            Backend::Cassandra(db) => db.catalog_change(None, move |catalog| catalog.second_factor_failed(user)).await,
        }
    }

    /// Asks for it no longer, and ends all sessions and API tokens of the person: what was
    /// lost with it may be signed in, or hold some.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where nothing was asked for.
    pub async fn second_factor_remove(&self, user: UserId) -> Result<(), StoreError> {
        let event = self.event("user.second-factor.remove", format_args!("user:{user}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::second_factor::remove(batch, user)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.second_factor_remove(user)).await,
        }
    }
}

/// It was used before, or is no code of theirs.
pub(crate) fn unproven() -> StoreError {
    StoreError::Conflict("the code does not work, or not any more".to_owned())
}
