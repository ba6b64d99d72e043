//! People who sign in, their one-time links and their sessions.

use heliograph_domain::{Assignment, CustomerId, EmailAddress, KeyDigest, Timestamp, UserId, UserRole};
use serde_json::json;

use crate::customer::TheirMails;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of the records that say where installers work; their id is that of the person.
pub(crate) const ASSIGNMENT: &str = "assignment";

/// Somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Their id.
    pub id: UserId,
    /// Their address, which they sign in with.
    pub email: EmailAddress,
    /// What people call them.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// Whose data they see, where the role is customer.
    pub customer: Option<CustomerId>,
    /// Where they work and up to when, where the role is installer.
    pub assignment: Option<Assignment>,
    /// An argon2 hash in PHC form; `None` until they have chosen a password.
    pub password_hash: Option<String>,
    /// When they were added.
    pub created: Timestamp,
}

impl UserRecord {
    /// Whether they may sign in and see anything: an installer only while the assignment
    /// runs.
    #[must_use]
    pub fn may_enter(&self, now: Timestamp) -> bool {
        self.role != UserRole::Installer || self.assignment.as_ref().is_some_and(|assignment| assignment.runs_at(now))
    }

    /// As it is, of what their row and the record of an assignment say. Such a record
    /// counts while the row is that of [`kept_role`]: a release that knows no installers
    /// may have made them something else.
    pub(crate) fn assigned(self, assignment: Option<Assignment>) -> Self {
        match assignment {
            Some(assignment) if self.may_be_assigned() => {
                Self { role: UserRole::Installer, assignment: Some(assignment), ..self }
            }
            _ => self,
        }
    }

    /// Whether the row is one that an installer has.
    pub(crate) fn may_be_assigned(&self) -> bool {
        self.role == kept_role(UserRole::Installer) && self.customer.is_none()
    }

    /// The row without what stands in a record of its own.
    pub(crate) fn unassigned(self) -> Self {
        Self { role: kept_role(self.role), assignment: None, ..self }
    }
}

/// What a row says of a role. The release before knows no installers and could not read
/// such a row: to it they are people of a customer who is nobody, and see nothing.
pub(crate) const fn kept_role(role: UserRole) -> UserRole {
    match role {
        UserRole::Installer => UserRole::Customer,
        role => role,
    }
}

/// What the audit trail says of what somebody may do.
fn rights(role: UserRole, customer: Option<CustomerId>, assignment: Option<&Assignment>) -> serde_json::Value {
    match assignment {
        Some(assignment) => {
            json!({ "role": role, "until": assignment.until().to_string(), "locations": assignment.locations() })
        }
        None => json!({ "role": role, "customer": customer }),
    }
}

/// What can be changed of somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserUpdate {
    /// What people call them.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// Whose data they see, where the role is customer.
    pub customer: Option<CustomerId>,
    /// Where they work and up to when, where the role is installer.
    pub assignment: Option<Assignment>,
}

/// A session of the panel. Its token is kept as a digest only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the token.
    pub digest: KeyDigest,
    /// Who signed in, if anybody has yet.
    pub user: Option<UserId>,
    /// What the panel keeps with it.
    pub data: Vec<u8>,
    /// When it ends.
    pub expires: Timestamp,
}

impl ProviderStore {
    /// Adds somebody.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the address is taken, a customer's user names no
    /// customer or an installer no assignment; [`StoreError::NotFound`] where there is no
    /// such customer or location.
    pub async fn user_create(&self, user: UserRecord) -> Result<(), StoreError> {
        let detail = rights(user.role, user.customer, user.assignment.as_ref());
        let event = self.event("user.create", format_args!("user:{}", user.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::user::create(batch, &user)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.user_create(&user)).await,
        }
    }

    /// Everybody, by address.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn user_list(&self) -> Result<Vec<UserRecord>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(|connection| sqlite::user::list(connection, None, None)).await,
            Backend::Cassandra(db) => db.catalog().await?.people_by_email(),
        }
    }

    /// Somebody by id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody.
    pub async fn user_fetch(&self, user: UserId) -> Result<UserRecord, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let found = db.read(move |connection| sqlite::user::list(connection, Some(user), None)).await?;
                found.into_iter().next().ok_or(StoreError::NotFound("user"))
            }
            Backend::Cassandra(db) => {
                let catalog = db.catalog().await?;
                catalog.user(catalog.person(user)?)
            }
        }
    }

    /// Somebody by address, if there is anybody.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn user_find(&self, email: &EmailAddress) -> Result<Option<UserRecord>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let email = email.clone();
                Ok(db.read(move |connection| sqlite::user::list(connection, None, Some(&email))).await?.into_iter().next())
            }
            Backend::Cassandra(db) => {
                let catalog = db.catalog().await?;
                catalog.person_by_email(email).map(|person| catalog.user(person)).transpose()
            }
        }
    }

    /// Changes what somebody is called and may do, from their next request on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody, or no such customer or location;
    /// [`StoreError::Conflict`] where role, customer and assignment do not fit together, or
    /// no owner would remain.
    pub async fn user_update(&self, user: UserId, update: UserUpdate) -> Result<(), StoreError> {
        let detail = rights(update.role, update.customer, update.assignment.as_ref());
        let event = self.event("user.update", format_args!("user:{user}"), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::user::update(batch, user, &update)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.user_update(user, &update)).await,
        }
    }

    /// Sets a password's hash and ends all of the person's sessions, links and API tokens.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody.
    pub async fn user_set_password(&self, user: UserId, hash: String) -> Result<(), StoreError> {
        let event = self.event("user.password", format_args!("user:{user}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::user::set_password(batch, user, &hash)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.user_set_password(user, &hash)).await,
        }
    }

    /// Removes somebody with their sessions, links and API tokens, and erases mails about their way in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody; [`StoreError::Conflict`] where no
    /// owner would remain.
    pub async fn user_delete(&self, user: UserId) -> Result<(), StoreError> {
        let event = self.event("user.delete", format_args!("user:{user}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::user::delete(batch, user)).await,
            Backend::Cassandra(db) => {
                // What is broken off is done by removing again; what was put meanwhile goes last.
                db.outbox_erase(&TheirMails::of_person(user)).await?;
                db.sessions_erase(&[user]).await?;
                db.change(event, move |catalog| catalog.user_delete(user)).await?;
                db.sessions_erase(&[user]).await?;
                db.outbox_erase(&TheirMails::of_person(user)).await.map(drop)
            }
        }
    }

    /// Keeps a one-time link for somebody; only its digest is stored.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is nobody.
    pub async fn login_link_create(&self, digest: KeyDigest, user: UserId, expires: Timestamp) -> Result<(), StoreError> {
        let event = self.event("user.link", format_args!("user:{user}"), json!({ "until": expires.to_string() }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::user::create_link(batch, digest, user, expires)).await,
            Backend::Cassandra(db) => {
                // Said before it is there: no link works that nobody knows of.
                db.change(event, move |catalog| catalog.person(user).map(|_| Vec::new())).await?;
                db.login_link_create(digest, user, expires).await
            }
        }
    }

    /// Whose link this is, without using it up.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn login_link_peek(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::user::peek_link(connection, digest, now)).await,
            Backend::Cassandra(db) => db.login_link_peek(digest, now).await,
        }
    }

    /// Uses a one-time link up; `None` where it is unknown, used or expired.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn login_link_redeem(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::redeem_link(batch, digest, now)).await,
            Backend::Cassandra(db) => db.login_link_redeem(digest, now).await,
        }
    }

    /// Keeps a session, or replaces the one of the same digest.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn session_save(&self, session: SessionRow) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::save_session(batch, &session)).await,
            Backend::Cassandra(db) => db.session_save(session).await,
        }
    }

    /// A session that has not ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session_load(&self, digest: KeyDigest, now: Timestamp) -> Result<Option<SessionRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::user::load_session(connection, digest, now)).await,
            Backend::Cassandra(db) => db.session_load(digest, now).await,
        }
    }

    /// The sessions of somebody that have not ended, the last begun or used first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session_list(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        let mut sessions = match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::user::list_sessions(connection, user, now)).await,
            Backend::Cassandra(db) => db.session_list(user, now).await,
        }?;
        sessions.sort_by_key(|session| std::cmp::Reverse((session.expires, session.digest.0)));
        Ok(sessions)
    }

    /// Moves the end of a session; false where it has ended meanwhile, for a
    /// session that was ended never comes back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn session_prolong(&self, digest: KeyDigest, expires: Timestamp) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::prolong_session(batch, digest, expires)).await,
            Backend::Cassandra(db) => db.session_prolong(digest, expires).await,
        }
    }

    /// Ends a session, if there is one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn session_delete(&self, digest: KeyDigest) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::delete_session(batch, digest)).await,
            Backend::Cassandra(db) => db.session_delete(digest).await,
        }
    }

    /// Ends all sessions of a person.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn session_delete_by_user(&self, user: UserId) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::delete_sessions(batch, user)).await,
            Backend::Cassandra(db) => db.catalog_change(None, move |catalog| Ok(catalog.sessions_end(user))).await,
        }
    }

    /// Ends all sessions and API tokens of a person. It stands in the audit trail where
    /// there were tokens to end.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn user_sign_out(&self, user: UserId) -> Result<(), StoreError> {
        // Tokens that cannot be read may be theirs.
        let has_tokens = match self.api_token_list().await {
            Ok(tokens) => tokens.iter().any(|token| token.user == user),
            Err(_) => true,
        };
        let event = has_tokens.then(|| self.event("user.sign-out", format_args!("user:{user}"), json!({})));
        match (&self.backend, event) {
            (Backend::Sqlite(db), Some(event)) => db.change(event, move |batch| sqlite::user::sign_out(batch, user)).await,
            (Backend::Sqlite(db), None) => db.write(move |batch| sqlite::user::sign_out(batch, user)).await,
            (Backend::Cassandra(db), Some(event)) => db.change(event, move |catalog| Ok(catalog.signed_out(user))).await,
            (Backend::Cassandra(db), None) => db.catalog_change(None, move |catalog| Ok(catalog.signed_out(user))).await,
        }
    }

    /// Forgets sessions and links that have ended.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn session_expire(&self, now: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::user::expire(batch, now)).await,
            // Rows go by themselves.
            Backend::Cassandra(_) => Ok(()),
        }
    }
}

/// A user names a customer exactly when the role is customer, and has an assignment
/// exactly when it is installer.
pub(crate) fn role_fits(role: UserRole, customer: Option<CustomerId>, assignment: Option<&Assignment>) -> Result<(), StoreError> {
    if (role == UserRole::Customer) != customer.is_some() {
        return Err(StoreError::Conflict("a user names a customer exactly when the role is customer".to_owned()));
    }
    if (role == UserRole::Installer) != assignment.is_some() {
        return Err(StoreError::Conflict("a user has an assignment exactly when the role is installer".to_owned()));
    }
    Ok(())
}

/// Nobody could let anybody in any more.
pub(crate) fn no_owner() -> StoreError {
    StoreError::Conflict("no owner would remain".to_owned())
}
