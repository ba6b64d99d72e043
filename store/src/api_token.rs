//! Tokens by which programs use the API for somebody.

use heliograph_domain::{ApiScope, ApiTokenId, KeyDigest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::archive::tables::to_hex;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};
use crate::user::UserRecord;

/// The kind of its records; their id is the digest, in hexadecimal digits.
pub(crate) const API_TOKEN: &str = "api-token";

/// A token of somebody's. Of the token itself nothing is kept but its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id, which is no secret.
    pub id: ApiTokenId,
    /// For whom it speaks.
    pub user: UserId,
    /// What they call it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<ApiScope>,
    /// SHA-256 of the token, in hexadecimal digits.
    digest: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was last used, to an hour.
    #[serde(default)]
    pub used: Option<Timestamp>,
}

impl ApiToken {
    /// So many tokens somebody has at most.
    pub const MOST: usize = 20;
    /// None works for longer than this, ms.
    pub const LONGEST_MS: i64 = 366 * 86_400_000;

    /// One that was just made and never used.
    #[must_use]
    pub fn new(
        (id, user): (ApiTokenId, UserId),
        name: String,
        scopes: Vec<ApiScope>,
        digest: KeyDigest,
        (created, expires): (Timestamp, Timestamp),
    ) -> Self {
        Self { id, user, name, scopes, digest: to_hex(&digest.0), created, expires, used: None }
    }

    /// Whether it works at an instant.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires > now
    }

    /// Whether it may be used for this.
    #[must_use]
    pub fn has(&self, scope: ApiScope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The id of its record.
    pub(crate) fn key(&self) -> &str {
        &self.digest
    }

    /// As it is once it was used; an older use changes nothing.
    pub(crate) fn used_at(self, at: Timestamp) -> Self {
        Self { used: self.used.max(Some(at)), ..self }
    }

    /// Whether it may be kept beside those that its maker has.
    pub(crate) fn check(&self, others: &[Self]) -> Result<(), StoreError> {
        let lasts = self.expires.millis_since(self.created);
        if !(1..=Self::LONGEST_MS).contains(&lasts) {
            return Err(StoreError::Conflict("a token ends within a year after it is made".to_owned()));
        }
        if others.iter().filter(|other| other.user == self.user).count() >= Self::MOST {
            return Err(StoreError::Conflict(format!("nobody has more than {} tokens: end one first", Self::MOST)));
        }
        Ok(())
    }
}

/// Whether somebody still has the password, or none, that was proven for a new token:
/// whoever changes theirs ends all that was begun with the one before.
pub(crate) fn check_proven(owner: &UserRecord, seen: Option<&str>) -> Result<(), StoreError> {
    let is_same = owner.password_hash.as_deref() == seen;
    if is_same { Ok(()) } else { Err(StoreError::Conflict("the password was changed meanwhile".to_owned())) }
}

/// The id of the record of a token.
pub(crate) fn key_of(digest: KeyDigest) -> String {
    to_hex(&digest.0)
}

impl ProviderStore {
    /// Keeps a new token of somebody whose password's hash is still the one that was seen.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody; [`StoreError::Conflict`] where the
    /// password is another one, it does not end within a year, or somebody has
    /// [`ApiToken::MOST`].
    pub async fn api_token_create(&self, token: ApiToken, seen: Option<String>) -> Result<(), StoreError> {
        let detail = json!({ "user": token.user, "scopes": token.scopes, "until": token.expires.to_string() });
        let event = self.event("api-token.create", format_args!("api-token:{}", token.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::api_token::create(batch, &token, seen.as_deref())).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.api_token_create(&token, seen.as_deref())).await,
        }
    }

    /// The token of a digest, whether it has ended or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn api_token_find(&self, digest: KeyDigest) -> Result<Option<ApiToken>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::api_token::find(connection, digest)).await,
            Backend::Cassandra(db) => db.catalog().await?.api_token(digest),
        }
    }

    /// Everybody's tokens, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn api_token_list(&self) -> Result<Vec<ApiToken>, StoreError> {
        let mut tokens = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::api_token::list).await,
            Backend::Cassandra(db) => db.catalog().await?.api_tokens(),
        }?;
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created, token.id)));
        Ok(tokens)
    }

    /// Notes that a token was used. It is no change that anybody has to look at, and not
    /// audited.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn api_token_used(&self, digest: KeyDigest, at: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::api_token::used(batch, digest, at)).await,
            Backend::Cassandra(db) => db.catalog_change(None, move |catalog| catalog.api_token_used(digest, at)).await,
        }
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn api_token_remove(&self, id: ApiTokenId) -> Result<(), StoreError> {
        let event = self.event("api-token.remove", format_args!("api-token:{id}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::api_token::remove(batch, id)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.api_token_remove(id)).await,
        }
    }
}
