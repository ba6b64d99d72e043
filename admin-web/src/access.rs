//! Who may do what. A handler takes one of these as its first argument, so that
//! the question is settled before anything of the request is looked at.
//!
//! | extractor | owner | operator | viewer | installer | customer | nobody |
//! |---|---|---|---|---|---|---|
//! | [`AnyActor`], [`Onlooker`] | yes | yes | yes | where listed | yes | sign in |
//! | [`Reader`] | yes | yes | yes | where listed | 404 | sign in |
//! | [`Staff`] | yes | yes | 403 | where listed | 404 | sign in |
//! | [`Owner`] | yes | 403 | 403 | 404 | 404 | sign in |
//!
//! To a customer the rest of the panel does not exist; a viewer knows that it
//! does, and learns that the role does not reach so far. To an installer there is what
//! `access/field.rs` lists, at the locations of the assignment; once that has ended
//! they are nobody.

mod field;
mod sensors;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::Method;
use axum::http::request::Parts;
use heliograph_domain::{ApiTokenId, UserId, UserRole};
use heliograph_report::Scope;
use heliograph_store::{ProviderStore, StoreError, UserRecord};

use crate::error::Refusal;
use crate::panel::Panel;
use crate::session;

pub(crate) use sensors::sensors_within;

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// Who, as of now: a change of role counts at once.
    pub(crate) user: UserRecord,
    /// The token by which a program asks for them; none where they have signed in.
    pub(crate) token: Option<ApiTokenId>,
}

impl Actor {
    /// The provider's data in this person's hands: what is changed through it
    /// stands under their reference in the audit trail.
    pub(crate) fn store(&self, panel: &Panel) -> ProviderStore {
        let store = panel.store().acting_as(heliograph_domain::Actor::User(self.user.id));
        match self.token {
            Some(token) => store.by_token(token),
            None => store,
        }
    }

    /// What of the provider's data this person may see.
    pub(crate) async fn scope(&self, panel: &Panel) -> Result<Scope, Refusal> {
        let UserRecord { role, customer, assignment, .. } = &self.user;
        // What is live goes on for longer than a request.
        if !self.user.may_enter(panel.now()) {
            return Err(Refusal::NotFound);
        }
        match (role.sees_everything(), customer, assignment) {
            (true, ..) => Ok(Scope::everything()),
            (false, _, Some(assignment)) => Ok(Scope::of_locations(panel.store(), assignment.locations()).await?),
            (false, Some(customer), None) => Ok(Scope::of_customer(panel.store(), *customer).await?),
            (false, None, None) => Err(Refusal::Fault("a user of some of the data names none of it".to_owned())),
        }
    }
}

/// Anybody who has signed in.
pub(crate) struct AnyActor(pub(crate) Actor);
/// Anybody who has signed in, whose session lasts no longer by this.
pub(crate) struct Onlooker(pub(crate) Actor);
/// Owner, operator or viewer; an installer where that is listed.
pub(crate) struct Reader(pub(crate) Actor);
/// Owner or operator; an installer where that is listed.
pub(crate) struct Staff(pub(crate) Actor);
/// Owner.
pub(crate) struct Owner(pub(crate) Actor);

impl FromRequestParts<Panel> for AnyActor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        let user = session::find(panel, &parts.headers).await?.map(|session| session.user);
        person(panel, parts, user).await.map(Self)
    }
}

impl FromRequestParts<Panel> for Onlooker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        let user = session::look_up(panel, &parts.headers).await?;
        person(panel, parts, user).await.map(Self)
    }
}

/// Whoever has a session, or the way to get one.
async fn person(panel: &Panel, parts: &mut Parts, user: Option<UserId>) -> Result<Actor, Refusal> {
    let back = Refusal::SignIn(way_back(parts));
    let Some(user) = user else { return Err(back) };
    let actor = match panel.store().user_fetch(user).await {
        Ok(user) if user.may_enter(panel.now()) => Actor { user, token: None },
        Ok(_) | Err(StoreError::NotFound(_)) => return Err(back),
        Err(error) => return Err(error.into()),
    };
    if actor.user.role == UserRole::Installer {
        field::admit(parts, panel, &actor).await?;
    }
    Ok(actor)
}

/// Where to go after signing in: the page that was asked for, if it was a page.
fn way_back(parts: &Parts) -> Option<String> {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    (parts.method == Method::GET).then(|| uri.path_and_query().map_or_else(String::new, ToString::to_string))
}

async fn with_role(parts: &mut Parts, panel: &Panel, enough: impl FnOnce(UserRole) -> bool + Send) -> Result<Actor, Refusal> {
    let AnyActor(actor) = AnyActor::from_request_parts(parts, panel).await?;
    match actor.user.role {
        role if enough(role) => Ok(actor),
        UserRole::Customer | UserRole::Installer => Err(Refusal::NotFound),
        _ => Err(Refusal::Forbidden),
    }
}

impl FromRequestParts<Panel> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        with_role(parts, panel, |role| role.sees_everything() || role == UserRole::Installer).await.map(Self)
    }
}

impl FromRequestParts<Panel> for Staff {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        with_role(parts, panel, UserRole::may_install).await.map(Self)
    }
}

impl FromRequestParts<Panel> for Owner {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Refusal> {
        with_role(parts, panel, |role| role == UserRole::Owner).await.map(Self)
    }
}
