//! Rows of people, one-time links and sessions.

use heliograph_domain::{Assignment, CustomerId, EmailAddress, KeyDigest, Timestamp, UserId, UserRole};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, api_token, location, outbox, overwrite, record};
use crate::customer::TheirMails;
use crate::error::StoreError;
use crate::second_factor::SECOND_FACTOR;
use crate::user::{ASSIGNMENT, SessionRow, UserRecord, UserUpdate, kept_role, no_owner, role_fits};

pub(crate) fn create(batch: &mut Batch<'_>, user: &UserRecord) -> Result<(), StoreError> {
    check_role(batch.connection, user.role, user.customer, user.assignment.as_ref())?;
    let added = batch.connection.execute(
        "INSERT INTO user (id, email, name, role, customer, password_hash, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (email) DO NOTHING",
        params![
            user.id.to_string(),
            user.email.as_str(),
            user.name,
            kept_role(user.role).as_str(),
            user.customer.map(|customer| customer.to_string()),
            user.password_hash,
            user.created.as_millis(),
        ],
    )?;
    batch.config_changed();
    if added != 1 {
        return Err(StoreError::Conflict(format!("somebody signs in with {} already", user.email)));
    }
    assign(batch.connection, user.id, user.assignment.as_ref())
}

/// Keeps where somebody works, or that they work nowhere.
fn assign(connection: &Connection, user: UserId, assignment: Option<&Assignment>) -> Result<(), StoreError> {
    match assignment {
        Some(assignment) => record::save(connection, ASSIGNMENT, &user.to_string(), assignment),
        None => record::remove(connection, ASSIGNMENT, &user.to_string()).map(drop),
    }
}

fn check_role(
    connection: &Connection,
    role: UserRole,
    customer: Option<CustomerId>,
    assignment: Option<&Assignment>,
) -> Result<(), StoreError> {
    role_fits(role, customer, assignment)?;
    assignment.map_or(&[][..], Assignment::locations).iter().try_for_each(|place| location::require(connection, *place))?;
    match customer {
        Some(customer) if super::customer::list(connection, Some(customer))?.is_empty() => Err(StoreError::NotFound("customer")),
        _ => Ok(()),
    }
}

pub(crate) fn update(batch: &mut Batch<'_>, user: UserId, update: &UserUpdate) -> Result<(), StoreError> {
    check_role(batch.connection, update.role, update.customer, update.assignment.as_ref())?;
    let was = list(batch.connection, Some(user), None)?.into_iter().next().ok_or(StoreError::NotFound("user"))?;
    let steps_down = was.role == UserRole::Owner && update.role != UserRole::Owner;
    if steps_down && !has_other_owner(batch.connection, user)? {
        return Err(no_owner());
    }
    // A name that has changed is gone from the file.
    overwrite::wholly(batch.connection, || {
        batch.connection.execute(
            "UPDATE user SET name = ?2, role = ?3, customer = ?4 WHERE id = ?1",
            params![
                user.to_string(),
                update.name,
                kept_role(update.role).as_str(),
                update.customer.map(|customer| customer.to_string())
            ],
        )
    })?;
    assign(batch.connection, user, update.assignment.as_ref())?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn list(
    connection: &Connection,
    id: Option<UserId>,
    email: Option<&EmailAddress>,
) -> Result<Vec<UserRecord>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, email, name, role, customer, password_hash, created FROM user
         WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR email = ?2) ORDER BY email",
    )?;
    let mut rows = query.query(params![id.map(|id| id.to_string()), email.map(EmailAddress::as_str)])?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        let user = UserRecord {
            id: UserId::parse(&row.get::<_, String>(0)?)?,
            email: EmailAddress::parse(&row.get::<_, String>(1)?)?,
            name: row.get(2)?,
            role: UserRole::parse(&row.get::<_, String>(3)?)?,
            customer: row.get::<_, Option<String>>(4)?.map(|id| CustomerId::parse(&id)).transpose()?,
            assignment: None,
            password_hash: row.get(5)?,
            created: Timestamp::clamped(row.get(6)?),
        };
        let assignment = if user.may_be_assigned() { record::find(connection, ASSIGNMENT, &user.id.to_string())? } else { None };
        users.push(user.assigned(assignment));
    }
    Ok(users)
}

pub(crate) fn set_password(batch: &mut Batch<'_>, user: UserId, hash: &str) -> Result<(), StoreError> {
    let changed =
        batch.connection.execute("UPDATE user SET password_hash = ?2 WHERE id = ?1", params![user.to_string(), hash])?;
    if changed == 0 {
        return Err(StoreError::NotFound("user"));
    }
    sign_out(batch, user)?;
    batch.connection.execute("DELETE FROM login_link WHERE user = ?1", [user.to_string()])?;
    batch.config_changed();
    Ok(())
}

fn has_other_owner(connection: &Connection, user: UserId) -> Result<bool, StoreError> {
    let other = "SELECT 1 FROM user WHERE role = 'owner' AND id <> ?1";
    Ok(connection.prepare_cached(other)?.exists([user.to_string()])?)
}

pub(crate) fn delete(batch: &mut Batch<'_>, user: UserId) -> Result<(), StoreError> {
    let is_owner = list(batch.connection, Some(user), None)?.iter().any(|user| user.role == UserRole::Owner);
    if is_owner && !has_other_owner(batch.connection, user)? {
        return Err(no_owner());
    }
    let delete = || {
        erase_mails(batch.connection, user)?;
        record::remove(batch.connection, SECOND_FACTOR, &user.to_string())?;
        assign(batch.connection, user, None)?;
        api_token::remove_of(batch.connection, user)?;
        Ok::<_, StoreError>(batch.connection.execute("DELETE FROM user WHERE id = ?1", [user.to_string()])?)
    };
    let deleted = overwrite::wholly(batch.connection, delete)?;
    batch.config_changed();
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound("user")) }
}

/// Erases mails about somebody's way in. One that cannot be read is passed over, and
/// keeps nobody from being removed.
fn erase_mails(connection: &Connection, user: UserId) -> Result<(), StoreError> {
    let theirs = TheirMails::of_person(user);
    let letters = outbox::letters(connection)?;
    letters.iter().filter(|mail| theirs.contains(mail)).try_for_each(|mail| outbox::erase(connection, mail))
}

pub(crate) fn create_link(batch: &mut Batch<'_>, digest: KeyDigest, user: UserId, expires: Timestamp) -> Result<(), StoreError> {
    if list(batch.connection, Some(user), None)?.is_empty() {
        return Err(StoreError::NotFound("user"));
    }
    batch.connection.execute(
        "INSERT INTO login_link (digest, user, expires) VALUES (?1, ?2, ?3)",
        params![digest.0, user.to_string(), expires.as_millis()],
    )?;
    Ok(())
}

pub(crate) fn peek_link(connection: &Connection, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
    let mut query = connection.prepare_cached("SELECT user FROM login_link WHERE digest = ?1 AND expires > ?2")?;
    let user: Option<String> = query.query_row(params![digest.0, now.as_millis()], |row| row.get(0)).optional()?;
    Ok(user.map(|id| UserId::parse(&id)).transpose()?)
}

pub(crate) fn redeem_link(batch: &Batch<'_>, digest: KeyDigest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
    let user = peek_link(batch.connection, digest, now)?;
    batch.connection.execute("DELETE FROM login_link WHERE digest = ?1", [digest.0])?;
    Ok(user)
}

pub(crate) fn save_session(batch: &Batch<'_>, session: &SessionRow) -> Result<(), StoreError> {
    batch
        .connection
        .prepare_cached(
            "INSERT INTO session (digest, user, data, expires) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET user = excluded.user, data = excluded.data, expires = excluded.expires",
        )?
        .execute(params![
            session.digest.0,
            session.user.map(|user| user.to_string()),
            session.data,
            session.expires.as_millis()
        ])?;
    Ok(())
}

pub(crate) fn load_session(connection: &Connection, digest: KeyDigest, now: Timestamp) -> Result<Option<SessionRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT user, data, expires FROM session WHERE digest = ?1 AND expires > ?2")?;
    let mut rows = query.query(params![digest.0, now.as_millis()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let user = row.get::<_, Option<String>>(0)?.map(|id| UserId::parse(&id)).transpose()?;
    Ok(Some(SessionRow { digest, user, data: row.get(1)?, expires: Timestamp::clamped(row.get(2)?) }))
}

pub(crate) fn list_sessions(connection: &Connection, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT digest, data, expires FROM session WHERE user = ?1 AND expires > ?2")?;
    let mut rows = query.query(params![user.to_string(), now.as_millis()])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        let digest = KeyDigest(row.get(0)?);
        sessions.push(SessionRow { digest, user: Some(user), data: row.get(1)?, expires: Timestamp::clamped(row.get(2)?) });
    }
    Ok(sessions)
}

pub(crate) fn prolong_session(batch: &Batch<'_>, digest: KeyDigest, expires: Timestamp) -> Result<bool, StoreError> {
    let changed =
        batch.connection.execute("UPDATE session SET expires = ?2 WHERE digest = ?1", params![digest.0, expires.as_millis()])?;
    Ok(changed == 1)
}

pub(crate) fn delete_session(batch: &Batch<'_>, digest: KeyDigest) -> Result<(), StoreError> {
    end_sessions(batch, "DELETE FROM session WHERE digest = ?1", [digest.0])
}

pub(crate) fn delete_sessions(batch: &Batch<'_>, user: UserId) -> Result<(), StoreError> {
    end_sessions(batch, "DELETE FROM session WHERE user = ?1", [user.to_string()])
}

/// Deletes sessions, which say where their owners signed in from, and with what.
fn end_sessions(batch: &Batch<'_>, sql: &str, of: impl rusqlite::Params) -> Result<(), StoreError> {
    overwrite::wholly(batch.connection, || batch.connection.execute(sql, of).map(drop).map_err(StoreError::from))
}

/// Ends all sessions and API tokens of somebody.
pub(crate) fn sign_out(batch: &mut Batch<'_>, user: UserId) -> Result<(), StoreError> {
    delete_sessions(batch, user)?;
    batch.config_changed();
    overwrite::wholly(batch.connection, || api_token::remove_of(batch.connection, user))
}

pub(crate) fn expire(batch: &Batch<'_>, now: Timestamp) -> Result<(), StoreError> {
    end_sessions(batch, "DELETE FROM session WHERE expires <= ?1", [now.as_millis()])?;
    batch.connection.execute("DELETE FROM login_link WHERE expires <= ?1", [now.as_millis()])?;
    Ok(())
}
