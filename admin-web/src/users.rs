//! Adding people, from the panel and from the command line alike.

use heliograph_domain::{Assignment, CustomerId, EmailAddress, KeyDigest, Secret, Timestamp, UserId, UserRole, Zone};
use heliograph_store::{ProviderStore, StoreError, UserRecord};
use jiff::civil::Date;

use crate::form::parse_name;
use crate::password::{HashError, PasswordProblem, check_password, hash_password};
use crate::token;

/// How long a one-time link works.
pub const LINK_HOURS: i64 = 24;

/// What somebody may do, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What they may do.
    pub role: UserRole,
    /// Whose data they see, where the role is customer.
    pub customer: Option<CustomerId>,
    /// Where they work and up to when, where the role is installer.
    pub assignment: Option<Assignment>,
}

impl Rights {
    /// Those of a role that needs nothing besides.
    #[must_use]
    pub const fn of(role: UserRole) -> Self {
        Self { role, customer: None, assignment: None }
    }

    /// Those of a customer's user.
    #[must_use]
    pub const fn of_customer(customer: CustomerId) -> Self {
        Self { role: UserRole::Customer, customer: Some(customer), assignment: None }
    }

    /// Those that somebody has.
    #[must_use]
    pub fn held_by(user: &UserRecord) -> Self {
        Self { role: user.role, customer: user.customer, assignment: user.assignment.clone() }
    }

    /// Those of an installer.
    #[must_use]
    pub const fn of_installer(assignment: Assignment) -> Self {
        Self { role: UserRole::Installer, customer: None, assignment: Some(assignment) }
    }
}

/// The instant at which an assignment ends that lasts up to a day and through it; `None`
/// where the calendar ends before.
#[must_use]
pub fn end_of_day(day: Date, zone: &Zone) -> Option<Timestamp> {
    day.tomorrow().ok().map(|next| zone.start_of_day(next))
}

/// The last day of an assignment.
#[must_use]
pub fn last_day(assignment: &Assignment, zone: &Zone) -> Date {
    zone.civil(assignment.until().plus_millis(-1)).date()
}

/// Somebody who was added.
#[derive(Debug)]
pub struct AddedUser {
    /// Their id.
    pub id: UserId,
    /// Where no password was given: the token of the link `/welcome/<token>`
    /// by which they set one, within 24 hours. It is kept nowhere.
    pub one_time_link_token: Option<Secret>,
}

/// Why nobody was added.
#[derive(Debug, thiserror::Error)]
pub enum AddUserError {
    /// The name is not 1 to 80 characters on one line.
    #[error("the name {0}")]
    Name(&'static str),
    /// The password is not taken.
    #[error("password {0}")]
    Password(PasswordProblem),
    /// Somebody signs in with this address already.
    #[error("somebody signs in with {0} already")]
    Taken(EmailAddress),
    /// A customer's user names a customer; nobody else does.
    #[error("a user names a customer exactly when the role is customer")]
    CustomerAndRole,
    /// An installer has an assignment; nobody else does.
    #[error("a user has locations and an end exactly when the role is installer")]
    AssignmentAndRole,
    /// There is no such customer.
    #[error("there is no such customer")]
    NoCustomer,
    /// There is no such location.
    #[error("there is no such location")]
    NoLocation,
    /// The password could not be hashed.
    #[error("hash password")]
    Hash(#[source] HashError),
    /// The store does not answer.
    #[error("write user")]
    Store(#[source] StoreError),
}

/// Adds somebody, with a password or else with a one-time link.
///
/// # Errors
/// When the name cannot be shown, the address is taken, the password is not good enough, or
/// the rights do not fit together; see [`AddUserError`].
pub async fn add_user(
    store: &ProviderStore,
    email: EmailAddress,
    name: String,
    rights: Rights,
    password: Option<Secret>,
    now: Timestamp,
) -> Result<AddedUser, AddUserError> {
    check_rights(&rights)?;
    let name = parse_name(&name).map_err(AddUserError::Name)?;
    let password_hash = match password {
        Some(password) => {
            check_password(&password, &email).map_err(AddUserError::Password)?;
            Some(hash_password(password).await.map_err(AddUserError::Hash)?)
        }
        None => None,
    };
    let wants_link = password_hash.is_none();
    let id = UserId::new(token::fresh_uuid(now));
    create(store, record(id, email, name, rights, password_hash, now)).await?;
    let one_time_link_token = if wants_link { Some(link_user(store, id, now).await.map_err(AddUserError::Store)?) } else { None };
    Ok(AddedUser { id, one_time_link_token })
}

/// Adds somebody who cannot sign in yet.
///
/// # Errors
/// As of [`add_user`].
pub(crate) async fn add_without_way_in(
    store: &ProviderStore,
    email: EmailAddress,
    name: String,
    rights: Rights,
    now: Timestamp,
) -> Result<UserRecord, AddUserError> {
    let (id, name) = (UserId::new(token::fresh_uuid(now)), parse_name(&name).map_err(AddUserError::Name)?);
    let user = record(id, email, name, rights, None, now);
    create(store, user.clone()).await?;
    Ok(user)
}

fn check_rights(rights: &Rights) -> Result<(), AddUserError> {
    let Rights { role, customer, assignment } = rights;
    if (*role == UserRole::Customer) != customer.is_some() {
        return Err(AddUserError::CustomerAndRole);
    }
    if (*role == UserRole::Installer) != assignment.is_some() {
        return Err(AddUserError::AssignmentAndRole);
    }
    Ok(())
}

fn record(
    id: UserId,
    email: EmailAddress,
    name: String,
    rights: Rights,
    password_hash: Option<String>,
    created: Timestamp,
) -> UserRecord {
    let Rights { role, customer, assignment } = rights;
    UserRecord { id, email, name, role, customer, assignment, password_hash, created }
}

async fn create(store: &ProviderStore, user: UserRecord) -> Result<(), AddUserError> {
    let email = user.email.clone();
    store.user_create(user).await.map_err(|error| match error {
        StoreError::Conflict(_) => AddUserError::Taken(email),
        StoreError::NotFound("location") => AddUserError::NoLocation,
        StoreError::NotFound(_) => AddUserError::NoCustomer,
        other => AddUserError::Store(other),
    })
}

/// Makes a one-time link for somebody, and answers its token. Until it is used,
/// what they had before goes on working.
///
/// # Errors
/// [`StoreError::NotFound`] where there is nobody.
pub async fn link_user(store: &ProviderStore, user: UserId, now: Timestamp) -> Result<Secret, StoreError> {
    let token = token::random_token();
    store.login_link_create(KeyDigest::of(token.reveal()), user, now.plus_millis(LINK_HOURS * 3_600_000)).await?;
    Ok(token)
}
