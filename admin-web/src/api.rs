//! The API: what the panel shows and does, as JSON for programs.
//!
//! A program presents a token (`access.rs`), never a cookie. Each resource stands in
//! one file with the types that it has on the wire; these are the API's own, so that
//! nothing of the inside is promised by accident. The description (OpenAPI) is made of
//! the same attributes as the routes: what is served is described, and nothing else is.

#![expect(unused_qualifications, reason = "what describes an operation names types by their whole paths")]

mod access;
mod audit;
mod customer;
mod document;
mod gateway;
mod limit;
mod location;
mod mail;
mod page;
mod paging;
mod person;
mod problem;
mod provider;
mod quarantine;
mod reading;
mod report;
mod request;
mod sensor;
mod settings;
mod target;
mod wire;

use std::sync::LazyLock;

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::panel::Panel;

pub(crate) use document::description;
pub(crate) use limit::ApiLimits;
pub(crate) use page::show as page;
pub(crate) use problem::dress;

/// What the paths of the API begin with.
const PREFIX: &str = "/api/";

/// Whether a path is one of the API, served or not.
pub(crate) fn is_below(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// All operations.
fn all() -> OpenApiRouter<Panel> {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(provider::show))
        .routes(routes!(provider::token))
        .routes(routes!(location::list, location::create))
        .routes(routes!(location::show, location::replace))
        .routes(routes!(location::report))
        .routes(routes!(target::show, target::replace))
        .routes(routes!(gateway::list, gateway::commission))
        .routes(routes!(gateway::show, gateway::rename))
        .routes(routes!(gateway::relocate))
        .routes(routes!(gateway::retire))
        .routes(routes!(sensor::list))
        .routes(routes!(sensor::latest))
        .routes(routes!(gateway::report))
        .routes(routes!(reading::list))
        .routes(routes!(customer::list, customer::create))
        .routes(routes!(customer::show, customer::replace))
        .routes(routes!(customer::commissions, customer::commission))
        .routes(routes!(customer::end_commission))
        .routes(routes!(settings::show, settings::replace))
        .routes(routes!(quarantine::list))
        .routes(routes!(mail::list))
        .routes(routes!(person::list))
        .routes(routes!(audit::list))
}

/// The routes of all operations.
pub(crate) fn router() -> Router<Panel> {
    all().split_for_parts().0
}

/// The description of all operations.
fn described() -> &'static OpenApi {
    static DESCRIBED: LazyLock<OpenApi> = LazyLock::new(|| document::complete(all().split_for_parts().1));
    &DESCRIBED
}
