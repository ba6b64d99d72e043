//! Sessions: a random token in a cookie, its digest in the provider's store.
//!
//! A few functions over the store rather than `tower-sessions`: that crate saves
//! a session whenever it was touched, which would bring back one that a logout
//! or a change of password has ended meanwhile; and it keeps the id itself where
//! we keep its digest only.

use axum::http::{HeaderMap, HeaderValue, header};
use heliograph_domain::{KeyDigest, Timestamp, UserId};
use heliograph_store::SessionRow;

use crate::error::Refusal;
use crate::panel::{Panel, PanelSettings};
use crate::token;

/// A session that has not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// Who signed in.
    pub(crate) user: UserId,
}

/// How much later a session must end for its row to be written again, so that
/// not every request writes.
const RENEWAL_MS: i64 = 60_000;

/// Begins a session for somebody who has just proven who they are, always with
/// a new token, and ends the one they came with. Answers the cookie to set.
pub(crate) async fn begin(panel: &Panel, headers: &HeaderMap, user: UserId) -> Result<HeaderValue, Refusal> {
    end(panel, headers).await?;
    let now = panel.now();
    panel.store().session_expire(now).await?;
    let token = token::random_token();
    let row = SessionRow {
        digest: KeyDigest::of(token.reveal()),
        user: Some(user),
        data: now.as_millis().to_be_bytes().to_vec(),
        expires: expiry(panel.settings(), now, now),
    };
    panel.store().session_save(row).await?;
    cookie(panel, token.reveal(), "")
}

/// The session that a request belongs to, if any, which lasts longer by it.
pub(crate) async fn find(panel: &Panel, headers: &HeaderMap) -> Result<Option<Session>, Refusal> {
    let Some(digest) = presented(panel, headers) else { return Ok(None) };
    let now = panel.now();
    let Some(row) = panel.store().session_load(digest, now).await? else { return Ok(None) };
    let Some(user) = row.user else { return Ok(None) };
    let expires = expiry(panel.settings(), began(&row), now);
    if expires <= now {
        return Ok(None);
    }
    if expires.millis_since(row.expires) >= RENEWAL_MS && !panel.store().session_prolong(digest, expires).await? {
        return Ok(None);
    }
    Ok(Some(Session { user }))
}

/// Ends the session that a request belongs to, if any.
pub(crate) async fn end(panel: &Panel, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(digest) = presented(panel, headers) {
        panel.store().session_delete(digest).await?;
    }
    Ok(())
}

/// The cookie that makes a browser forget its session.
pub(crate) fn farewell(panel: &Panel) -> Result<HeaderValue, Refusal> {
    cookie(panel, "", "; Max-Age=0")
}

fn began(row: &SessionRow) -> Timestamp {
    let bytes = row.data.as_slice().try_into().unwrap_or_default();
    Timestamp::clamped(i64::from_be_bytes(bytes))
}

fn expiry(settings: &PanelSettings, began: Timestamp, now: Timestamp) -> Timestamp {
    let idle = now.plus_millis(millis(settings.session_idle));
    idle.min(began.plus_millis(millis(settings.session_absolute)))
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The provider is part of the name because browsers share cookies between the
/// ports of a host, where other providers' panels may be.
fn cookie_name(panel: &Panel) -> String {
    let prefix = if panel.settings().is_https() { "__Host-" } else { "" };
    format!("{prefix}heliograph_{}", panel.store().provider())
}

fn presented(panel: &Panel, headers: &HeaderMap) -> Option<KeyDigest> {
    let name = cookie_name(panel);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, token)| *key == name && !token.is_empty())
        .map(|(_, token)| KeyDigest::of(token))
}

fn cookie(panel: &Panel, token: &str, more: &str) -> Result<HeaderValue, Refusal> {
    let secure = if panel.settings().is_https() { "; Secure" } else { "" };
    let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{more}", cookie_name(panel));
    HeaderValue::from_str(&text).map_err(|_| Refusal::Fault("build cookie: not a header value".to_owned()))
}
