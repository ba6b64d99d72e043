//! Sessions and one-time links. Who they belong to stands in the catalog, which
//! also says how many were ended at once: what is older than that is worthless.

use heliograph_domain::{KeyDigest, Timestamp, UserId};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::conditional::applied;
use super::{Database, at};
use crate::catalog::Catalog;
use crate::error::StoreError;
use crate::user::SessionRow;

/// How long an ended session's row may stay.
const GRACE_SECONDS: i64 = 86_400;
/// A row may stay no longer, in seconds: 20 years is what a cluster takes.
const MAX_TTL_SECONDS: i64 = 10 * 365 * 86_400;

const SESSION: &str = "session";
const LINK: &str = "link";

type Columns = (Option<String>, Option<Uuid>, Option<i64>, Option<Vec<u8>>, Option<CqlTimestamp>);

/// A row that has not ended.
struct Token {
    user: Option<UserId>,
    epoch: i64,
    data: Vec<u8>,
    expires: Timestamp,
}

impl Token {
    /// Whether its owner is still there and has not ended all of its kind.
    fn holds(&self, catalog: &Catalog, kind: &str) -> bool {
        let Some(user) = self.user else { return true };
        let counted = |person: &crate::catalog::Person| if kind == LINK { person.links } else { person.sessions };
        catalog.people.get(&user).is_some_and(|person| counted(person) == self.epoch)
    }
}

impl Database {
    pub(crate) async fn login_link_create(&self, digest: KeyDigest, user: UserId, expires: Timestamp) -> Result<(), StoreError> {
        let epoch = self.catalog().await?.person(user)?.links;
        self.token_save(digest, LINK, &Token { user: Some(user), epoch, data: Vec::new(), expires }).await
    }

    pub(crate) async fn login_link_peek(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        Ok(self.token_load(digest, LINK, now).await?.and_then(|link| link.user))
    }

    pub(crate) async fn login_link_redeem(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        let found = self.login_link_peek(digest, now).await?;
        // Of several that redeem it at once, one deletes it.
        Ok(if self.token_delete(digest).await? { found } else { None })
    }

    pub(crate) async fn session_save(&self, session: SessionRow) -> Result<(), StoreError> {
        let SessionRow { digest, user, data, expires } = session;
        let epoch = match user {
            Some(user) => self.catalog().await?.person(user)?.sessions,
            None => 0,
        };
        self.token_save(digest, SESSION, &Token { user, epoch, data, expires }).await
    }

    pub(crate) async fn session_load(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<SessionRow>, StoreError> {
        let found = self.token_load(digest, SESSION, now).await?;
        Ok(found.map(|Token { user, data, expires, .. }| SessionRow { digest, user, data, expires }))
    }

    /// Every session is looked at: there are as many as people who have signed in
    /// lately.
    pub(crate) async fn session_list(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        type Listed = (Vec<u8>, Option<String>, Option<i64>, Option<Vec<u8>>, Option<CqlTimestamp>);
        let cql = "SELECT digest, kind, epoch, data, expires FROM @.session WHERE user = ? ALLOW FILTERING";
        let (found, catalog) = (self.all::<Listed>(cql, (user.as_uuid(),)).await?, self.catalog().await?);
        let mut sessions = Vec::new();
        for (digest, kind, epoch, data, expires) in found {
            let (Ok(digest), Some(SESSION), Some(expires)) = (digest.try_into(), kind.as_deref(), expires) else { continue };
            let (epoch, data) = (epoch.unwrap_or_default(), data.unwrap_or_default());
            let token = Token { user: Some(user), epoch, data, expires: Timestamp::clamped(expires.0) };
            if token.expires > now && token.holds(&catalog, SESSION) {
                let Token { user, data, expires, .. } = token;
                sessions.push(SessionRow { digest: KeyDigest(digest), user, data, expires });
            }
        }
        Ok(sessions)
    }

    pub(crate) async fn session_prolong(&self, digest: KeyDigest, expires: Timestamp) -> Result<bool, StoreError> {
        match self.token_load(digest, SESSION, Timestamp::MIN).await? {
            Some(session) => self.token_replace(digest, SESSION, &Token { expires, ..session }).await,
            None => Ok(false),
        }
    }

    pub(crate) async fn session_delete(&self, digest: KeyDigest) -> Result<(), StoreError> {
        self.token_delete(digest).await.map(drop)
    }

    /// Deletes the sessions and links of some people who go, and whatever is left of those
    /// who have gone: a session says where its owner signed in from, and with what.
    pub(crate) async fn sessions_erase(&self, going: &[UserId]) -> Result<(), StoreError> {
        let rows = self.all::<(Vec<u8>, Option<Uuid>)>("SELECT digest, user FROM @.session", ()).await?;
        // Read after them: whoever signed in was there by then.
        let catalog = self.catalog().await?;
        let is_gone = |user: &UserId| going.contains(user) || !catalog.people.contains_key(user);
        for (digest, user) in rows {
            let (Some(_), Ok(digest)) = (user.map(UserId::new).filter(is_gone), digest.try_into()) else { continue };
            self.token_delete(KeyDigest(digest)).await?;
        }
        Ok(())
    }

    async fn token_load(&self, digest: KeyDigest, kind: &str, now: Timestamp) -> Result<Option<Token>, StoreError> {
        let cql = "SELECT kind, user, epoch, data, expires FROM @.session WHERE digest = ?";
        let found: Option<Columns> = self.row(cql, (&digest.0[..],)).await?;
        let Some((Some(found), user, epoch, data, Some(expires))) = found else { return Ok(None) };
        let token = Token {
            user: user.map(UserId::new),
            epoch: epoch.unwrap_or_default(),
            data: data.unwrap_or_default(),
            expires: Timestamp::clamped(expires.0),
        };
        if found != kind || token.expires <= now {
            return Ok(None);
        }
        Ok(token.holds(&*self.catalog().await?, kind).then_some(token))
    }

    async fn token_save(&self, digest: KeyDigest, kind: &str, token: &Token) -> Result<(), StoreError> {
        let cql = "INSERT INTO @.session (digest, kind, user, epoch, data, expires) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?";
        let Token { user, epoch, data, expires } = token;
        let values = (&digest.0[..], kind, user.map(|user| user.as_uuid()), *epoch, data, at(*expires), self.ttl(*expires));
        if applied(self.execute(cql, values).await?)? || self.token_replace(digest, kind, token).await? {
            return Ok(());
        }
        Err(StoreError::Conflict("the session ended meanwhile".to_owned()))
    }

    /// Replaces a row that is there.
    async fn token_replace(&self, digest: KeyDigest, kind: &str, token: &Token) -> Result<bool, StoreError> {
        let cql =
            "UPDATE @.session USING TTL ? SET kind = ?, user = ?, epoch = ?, data = ?, expires = ? WHERE digest = ? IF EXISTS";
        let Token { user, epoch, data, expires } = token;
        let user = user.map(|user| user.as_uuid());
        applied(self.execute(cql, (self.ttl(*expires), kind, user, *epoch, data, at(*expires), &digest.0[..])).await?)
    }

    async fn token_delete(&self, digest: KeyDigest) -> Result<bool, StoreError> {
        applied(self.execute("DELETE FROM @.session WHERE digest = ? IF EXISTS", (&digest.0[..],)).await?)
    }

    /// Seconds until a row may go: a while after its end, for clocks differ.
    fn ttl(&self, expires: Timestamp) -> i32 {
        let left = expires.millis_since(self.inner.clock.now()) / 1000;
        (left.max(0) + GRACE_SECONDS).min(MAX_TTL_SECONDS) as i32
    }
}
