//! People who sign in.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use heliograph_domain::{Assignment, UserId};
use heliograph_store::UserRecord;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::ByOwner;
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::request::Asked;
use super::wire::Utc;
use crate::panel::Panel;

/// Somebody who can sign in.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    /// Their id, by which the audit trail names them.
    #[schema(format = "uuid")]
    id: String,
    /// What they are called.
    name: String,
    /// The address that they sign in with.
    email: String,
    /// `owner`, `operator`, `installer`, `viewer` or `customer`.
    role: String,
    /// The id of the customer whose data they see, where that is their role.
    #[schema(format = "uuid")]
    customer: Option<String>,
    /// The ids of the locations where they work, where their role is installer.
    locations: Vec<String>,
    /// When their access ends by itself, where their role is installer.
    until: Option<Utc>,
    /// Whether they have chosen a password.
    has_password: bool,
    /// Whether signing in takes a second step.
    has_second_step: bool,
    /// When they were added.
    added: Utc,
}

impl Person {
    fn of(user: UserRecord, guarded: &HashSet<UserId>) -> Self {
        let places = user.assignment.as_ref().map_or(&[][..], Assignment::locations);
        Self {
            id: user.id.to_string(),
            email: user.email.to_string(),
            role: user.role.to_string(),
            customer: user.customer.map(|customer| customer.to_string()),
            locations: places.iter().map(ToString::to_string).collect(),
            until: user.assignment.as_ref().map(|assignment| assignment.until().into()),
            has_password: user.password_hash.is_some(),
            has_second_step: guarded.contains(&user.id),
            added: user.created.into(),
            name: user.name,
        }
    }
}

/// List the people
#[utoipa::path(
    get,
    path = "/api/v1/people",
    operation_id = "listPeople",
    tag = "People",
    params(Part),
    security(("token" = ["people"])),
    responses((status = 200, description = "A part of the list.", body = Page<Person>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    _: ByOwner,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Person>>, ApiRefusal> {
    let (all, guarded) = (panel.store().user_list().await?, panel.store().second_factor_users().await?);
    cut("people", &part, all, |user| user.id, |user| Person::of(user, &guarded)).map(Json)
}
