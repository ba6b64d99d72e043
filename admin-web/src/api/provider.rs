//! The provider, and the token that asks.

use axum::Json;
use axum::extract::State;
use heliograph_domain::{ApiScope, UserRole};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::ByAnybody;
use super::problem::ApiRefusal;
use super::wire::Utc;
use crate::panel::Panel;

/// The provider whose data this is.
#[derive(Serialize, ToSchema)]
pub(super) struct Provider {
    /// Its id.
    #[schema(example = "sunrise")]
    id: String,
    /// What it is called.
    name: String,
    /// The time zone of what belongs to no location (IANA).
    #[schema(example = "Europe/Madrid")]
    zone: String,
    /// The currency of revenues (ISO 4217).
    #[schema(example = "EUR")]
    currency: String,
}

/// The provider
#[utoipa::path(
    get,
    path = "/api/v1/provider",
    operation_id = "showProvider",
    tag = "Provider",
    security(("token" = ["read"])),
    responses((status = 200, description = "The provider.", body = Provider))
)]
pub(super) async fn show(State(panel): State<Panel>, _: ByAnybody) -> Result<Json<Provider>, ApiRefusal> {
    let settings = panel.store().settings_fetch().await?;
    Ok(Json(Provider {
        id: panel.store().provider().to_string(),
        name: settings.name,
        zone: settings.zone.to_string(),
        currency: settings.currency.to_string(),
    }))
}

/// The token that a request presents.
#[derive(Serialize, ToSchema)]
pub(super) struct Token {
    /// Its id, which is no secret.
    #[schema(format = "uuid")]
    id: String,
    /// What it is called.
    name: String,
    /// What it may be used for: `read`, `write`, `people`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<ApiScope>,
    /// The role of whoever made it, which it never reaches beyond: `owner`, `operator`, `viewer`, `customer`.
    #[schema(value_type = String)]
    role: UserRole,
    /// When it was made.
    created: Utc,
    /// When it ends.
    expires: Utc,
}

/// The token that asks
///
/// What it is for and when it ends: a program can look before it begins.
#[utoipa::path(
    get,
    path = "/api/v1/token",
    operation_id = "showToken",
    tag = "Provider",
    security(("token" = ["read"])),
    responses((status = 200, description = "The token.", body = Token))
)]
pub(super) async fn token(ByAnybody(caller): ByAnybody) -> Json<Token> {
    let token = caller.token;
    Json(Token {
        id: token.id.to_string(),
        name: token.name,
        scopes: token.scopes,
        role: caller.actor.user.role,
        created: token.created.into(),
        expires: token.expires.into(),
    })
}
