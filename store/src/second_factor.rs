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
    /// One that was just set up and proven by the code of a period of time.
    #[must_use]
    pub fn new(user: UserId, secret: String, since: Timestamp, step: u64, recovery: &[KeyDigest]) -> Self {
        Self { user, secret, since, last_step: step, recovery: recovery.iter().map(|digest| to_hex(&digest.0)).collect() }
    }

    /// How many recovery codes are left.
    #[must_use]
    pub const fn recovery_left(&self) -> usize {
        self.recovery.len()
    }

    /// As it is once something was proven; `None` where that has been used before, or
    /// is none of these codes.
    pub(crate) fn used(mut self, proof: SecondProof) -> Option<Self> {
        match proof {
            SecondProof::Step(step) if step > self.last_step => self.last_step = step,
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
    /// all sessions of the person.
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

    /// Uses what was proven up, so that it works once; false where it does not, or
    /// nothing is asked for.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn second_factor_use(&self, user: UserId, proof: SecondProof) -> Result<bool, StoreError> {
        let used = match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::second_factor::use_up(batch, user, proof)).await,
            Backend::Cassandra(db) => db.catalog_change(None, move |catalog| catalog.second_factor_use(user, proof)).await,
        };
        match used {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for it no longer.
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
