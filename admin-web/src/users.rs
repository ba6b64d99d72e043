//! Adding people, from the panel and from the command line alike.

use heliograph_domain::{CustomerId, EmailAddress, KeyDigest, Secret, Timestamp, UserId, UserRole};
use heliograph_store::{ProviderStore, StoreError, UserRecord};

use crate::form::parse_name;
use crate::password::{HashError, PasswordProblem, check_password, hash_password};
use crate::token;

/// How long a one-time link works.
pub const LINK_HOURS: i64 = 24;

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
    /// There is no such customer.
    #[error("there is no such customer")]
    NoCustomer,
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
/// When the name cannot be shown, the address is taken, the password is not good enough, or role and
/// customer do not fit together; see [`AddUserError`].
pub async fn add_user(
    store: &ProviderStore,
    email: EmailAddress,
    name: String,
    role: UserRole,
    customer: Option<CustomerId>,
    password: Option<Secret>,
    now: Timestamp,
) -> Result<AddedUser, AddUserError> {
    if (role == UserRole::Customer) != customer.is_some() {
        return Err(AddUserError::CustomerAndRole);
    }
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
    create(store, UserRecord { id, email, name, role, customer, password_hash, created: now }).await?;
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
    role: UserRole,
    customer: Option<CustomerId>,
    now: Timestamp,
) -> Result<UserRecord, AddUserError> {
    let (id, name) = (UserId::new(token::fresh_uuid(now)), parse_name(&name).map_err(AddUserError::Name)?);
    let user = UserRecord { id, email, name, role, customer, password_hash: None, created: now };
    create(store, user.clone()).await?;
    Ok(user)
}

async fn create(store: &ProviderStore, user: UserRecord) -> Result<(), AddUserError> {
    let email = user.email.clone();
    store.user_create(user).await.map_err(|error| match error {
        StoreError::Conflict(_) => AddUserError::Taken(email),
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
