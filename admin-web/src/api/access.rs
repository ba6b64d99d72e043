//! Whose token it is that a request presents, and what it may be used for. A handler
//! takes one of these as its first argument, as those of pages do.
//!
//! | extractor | scope | owner | operator | viewer | customer |
//! |---|---|---|---|---|---|
//! | [`ByAnybody`] | read | yes | yes | yes | yes |
//! | [`ByReader`] | read | yes | yes | yes | 404 |
//! | [`ByStaff`] | write | yes | yes | 403 | 404 |
//! | [`ByOwner`] | people | yes | 403 | 403 | 404 |
//!
//! Installers work in the panel alone: a token that somebody made who is one now is no
//! token.
//!
//! The role is asked before the scope, so that a customer's token finds nothing where
//! there is nothing for customers, whatever it is for. The role is that of now.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use heliograph_domain::{ApiScope, KeyDigest, Timestamp, UserRole};
use heliograph_store::{ApiToken, StoreError};

use super::problem::ApiRefusal;
use crate::access::Actor;
use crate::login::ClientAddress;
use crate::panel::Panel;
use crate::token::API_TOKEN_PREFIX;

/// A use is noted when the last one that was is this old, ms.
const NOTED_AGAIN_MS: i64 = 3_600_000;
/// More than any token has, bytes.
const LONGEST_TOKEN: usize = 128;

/// Who asks, and by which token.
pub(super) struct Caller {
    pub(super) actor: Actor,
    pub(super) token: ApiToken,
}

/// Whoever has a token that reads.
pub(super) struct ByAnybody(pub(super) Caller);
/// Owner, operator or viewer, by one that reads.
pub(super) struct ByReader(pub(super) Caller);
/// Owner or operator, by one that changes.
pub(super) struct ByStaff(pub(super) Caller);
/// Owner, by one that reads of people.
pub(super) struct ByOwner(#[expect(dead_code, reason = "that there is one is enough")] pub(super) Caller);

impl FromRequestParts<Panel> for ByAnybody {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, ApiRefusal> {
        Caller::of(parts, panel, ApiScope::Read, |_| true).await.map(Self)
    }
}

impl FromRequestParts<Panel> for ByReader {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, ApiRefusal> {
        Caller::of(parts, panel, ApiScope::Read, UserRole::sees_everything).await.map(Self)
    }
}

impl FromRequestParts<Panel> for ByStaff {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, ApiRefusal> {
        Caller::of(parts, panel, ApiScope::Write, UserRole::may_change).await.map(Self)
    }
}

impl FromRequestParts<Panel> for ByOwner {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, ApiRefusal> {
        Caller::of(parts, panel, ApiScope::People, |role| role == UserRole::Owner).await.map(Self)
    }
}

impl Caller {
    async fn of(
        parts: &mut Parts,
        panel: &Panel,
        scope: ApiScope,
        enough: impl FnOnce(UserRole) -> bool + Send,
    ) -> Result<Self, ApiRefusal> {
        let now = panel.now();
        let caller = Self::proven(parts, panel, now).await?;
        panel.api_limits().request(caller.actor.user.id, now).map_err(ApiRefusal::TooMany)?;
        match caller.actor.user.role {
            role if enough(role) => {}
            UserRole::Customer | UserRole::Installer => return Err(ApiRefusal::NotFound),
            _ => return Err(ApiRefusal::Role),
        }
        if caller.token.has(scope) { Ok(caller) } else { Err(ApiRefusal::Scope(scope)) }
    }

    /// Whose token is presented. From an address that has sent many which do not work, only
    /// those are looked for that have worked of late: others cost the store nothing.
    async fn proven(parts: &mut Parts, panel: &Panel, now: Timestamp) -> Result<Self, ApiRefusal> {
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, panel).await;
        let (limits, digest) = (panel.api_limits(), presented(parts));
        let is_known = digest.is_some_and(|digest| limits.knows(digest));
        if !is_known {
            limits.guess(address, now).map_err(ApiRefusal::TooMany)?;
        }
        let Some(digest) = digest else { return Err(ApiRefusal::NoToken) };
        let found = Self::find(digest, panel, now).await;
        match &found {
            Ok(None) if is_known => {
                limits.learn(digest, false);
                limits.guess(address, now).map_err(ApiRefusal::TooMany)?;
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(_) if is_known => {}
            Ok(Some(_)) => {
                limits.learn(digest, true);
                limits.no_guess(address);
            }
            Err(_) => limits.no_guess(address),
        }
        found?.ok_or(ApiRefusal::NoToken)
    }

    /// Whose token has a digest, if it works. What is looked for is the digest of what
    /// came, so that the time it takes says nothing about tokens that there are.
    async fn find(digest: KeyDigest, panel: &Panel, now: Timestamp) -> Result<Option<Self>, ApiRefusal> {
        let token = panel.store().api_token_find(digest).await?;
        let Some(token) = token.filter(|token| token.is_valid(now)) else { return Ok(None) };
        let user = match panel.store().user_fetch(token.user).await {
            Ok(user) if user.role == UserRole::Installer => return Ok(None),
            Ok(user) => user,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if token.used.is_none_or(|used| now.millis_since(used) >= NOTED_AGAIN_MS) {
            // It has happened: where it cannot be noted, only the log says so.
            if let Err(error) = panel.store().api_token_used(digest, now).await {
                tracing::warn!(%error, token = %token.id, "use of an API token cannot be noted");
            }
        }
        Ok(Some(Self { actor: Actor { user, token: Some(token.id) }, token }))
    }
}

/// The digest of the token that a request presents (RFC 6750, section 2.1), if it looks
/// like one.
fn presented(parts: &Parts) -> Option<KeyDigest> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let looks = scheme.eq_ignore_ascii_case("bearer") && token.starts_with(API_TOKEN_PREFIX) && token.len() <= LONGEST_TOKEN;
    looks.then(|| KeyDigest::of(token))
}
