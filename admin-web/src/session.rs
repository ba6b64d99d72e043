//! Sessions: a random token in a cookie, its digest in the provider's store.
//!
//! A few functions over the store rather than `tower-sessions`: that crate saves
//! a session whenever it was touched, which would bring back one that a logout
//! or a change of password has ended meanwhile; and it keeps the id itself where
//! we keep its digest only.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use heliograph_domain::{KeyDigest, Timestamp, UserId};
use heliograph_store::SessionRow;
use uuid::Uuid;

use crate::error::Refusal;
use crate::panel::{Panel, PanelSettings};
use crate::token;

/// A session that has not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// Who signed in.
    pub(crate) user: UserId,
}

/// One in which the first step of two was proven. Its row belongs to nobody, so that it
/// opens nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    /// Who it would be.
    pub(crate) user: UserId,
    /// Of the hash of the password that was proven.
    pub(crate) password: KeyDigest,
}

/// A session as the person whose it is sees it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The digest of its token, by which it can be ended.
    pub(crate) digest: KeyDigest,
    /// When they signed in.
    pub(crate) began: Timestamp,
    /// When it was last used, to a minute.
    pub(crate) used: Timestamp,
    /// Where they signed in from.
    pub(crate) address: String,
    /// What their browser calls itself.
    pub(crate) agent: String,
    /// Whether it is the one that asks.
    pub(crate) is_this: bool,
}

/// When, where from and with what somebody signed in, as the row of a session says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// When.
    pub at: Timestamp,
    /// The network address.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
}

impl SignedIn {
    /// From the row of a session.
    #[must_use]
    pub fn of(row: &SessionRow) -> Self {
        let text = String::from_utf8_lossy(row.data.get(8..).unwrap_or_default()).into_owned();
        let (address, agent) = text.split_once('\n').unwrap_or((&text, ""));
        Self { at: began(row), address: address.to_owned(), agent: agent.to_owned() }
    }
}

/// How much later a session must end for its row to be written again, so that
/// not every request writes.
const RENEWAL_MS: i64 = 60_000;

/// How long the second step may take.
const HALF_MS: i64 = 5 * 60_000;
/// Letters that are kept of what a browser calls itself.
const AGENT_LETTERS: usize = 200;

/// Begins a session for somebody who has just proven who they are, always with
/// a new token, and ends the one they came with. Answers the cookie to set.
pub(crate) async fn begin(panel: &Panel, headers: &HeaderMap, address: IpAddr, user: UserId) -> Result<HeaderValue, Refusal> {
    let now = panel.now();
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let mut data = now.as_millis().to_be_bytes().to_vec();
    data.extend(format!("{address}\n{}", agent.chars().take(AGENT_LETTERS).collect::<String>()).into_bytes());
    make(panel, headers, Some(user), data, expiry(panel.settings(), now, now)).await
}

/// Begins one for somebody who has proven the first step of two.
pub(crate) async fn begin_half(
    panel: &Panel,
    headers: &HeaderMap,
    user: UserId,
    password: KeyDigest,
) -> Result<HeaderValue, Refusal> {
    let data = [&user.as_uuid().as_bytes()[..], &password.0].concat();
    make(panel, headers, None, data, panel.now().plus_millis(HALF_MS)).await
}

async fn make(
    panel: &Panel,
    headers: &HeaderMap,
    user: Option<UserId>,
    data: Vec<u8>,
    expires: Timestamp,
) -> Result<HeaderValue, Refusal> {
    end(panel, headers).await?;
    panel.store().session_expire(panel.now()).await?;
    let token = token::random_token();
    panel.store().session_save(SessionRow { digest: KeyDigest::of(token.reveal()), user, data, expires }).await?;
    cookie(panel, token.reveal(), "")
}

/// What the request's session has proven of two steps, if it is one of those.
pub(crate) async fn half(panel: &Panel, headers: &HeaderMap) -> Result<Option<Half>, Refusal> {
    let Some(digest) = presented(panel, headers) else { return Ok(None) };
    let Some(row) = panel.store().session_load(digest, panel.now()).await? else { return Ok(None) };
    let Some((user, password)) = row.data.split_first_chunk::<16>().filter(|_| row.user.is_none()) else { return Ok(None) };
    let Ok(password) = password.try_into() else { return Ok(None) };
    Ok(Some(Half { user: UserId::new(Uuid::from_bytes(*user)), password: KeyDigest(password) }))
}

/// The sessions of somebody, the last used first.
pub(crate) async fn list(panel: &Panel, headers: &HeaderMap, user: UserId) -> Result<Vec<Listed>, Refusal> {
    let (now, this) = (panel.now(), presented(panel, headers));
    let rows = panel.store().session_list(user, now).await?;
    let idle = millis(panel.settings().session_idle);
    let listed = rows.into_iter().filter(|row| expiry(panel.settings(), began(row), now) > now).map(|row| {
        let SignedIn { at: began, address, agent } = SignedIn::of(&row);
        let used = row.expires.plus_millis(-idle).max(began);
        Listed { digest: row.digest, began, used, address, agent, is_this: this == Some(row.digest) }
    });
    Ok(listed.collect())
}

/// The session that a request belongs to, if any, which lasts longer by it.
pub(crate) async fn find(panel: &Panel, headers: &HeaderMap) -> Result<Option<Session>, Refusal> {
    let Some(Open { row, user, expires }) = open(panel, headers).await? else { return Ok(None) };
    if expires.millis_since(row.expires) >= RENEWAL_MS && !panel.store().session_prolong(row.digest, expires).await? {
        return Ok(None);
    }
    Ok(Some(Session { user }))
}

/// Whose session it is that a request belongs to, if any; it lasts no longer by it.
pub(crate) async fn look_up(panel: &Panel, headers: &HeaderMap) -> Result<Option<UserId>, Refusal> {
    Ok(open(panel, headers).await?.map(|open| open.user))
}

/// A session that has not ended, and when it will where it is used now.
struct Open {
    row: SessionRow,
    user: UserId,
    expires: Timestamp,
}

async fn open(panel: &Panel, headers: &HeaderMap) -> Result<Option<Open>, Refusal> {
    let Some(digest) = presented(panel, headers) else { return Ok(None) };
    let now = panel.now();
    let Some(row) = panel.store().session_load(digest, now).await? else { return Ok(None) };
    let Some(user) = row.user else { return Ok(None) };
    let expires = expiry(panel.settings(), began(&row), now);
    Ok((expires > now).then_some(Open { row, user, expires }))
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
    let bytes = row.data.first_chunk().copied().unwrap_or_default();
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
