//! The description of the API (OpenAPI 3.1), made of the attributes of its operations.

use axum::Json;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi as _};

use super::problem::{FieldProblem, Problem};

/// What stands above all operations.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Heliograph API",
        version = "1.0.0",
        description = "What a provider's panel shows and does, as JSON. A request presents a token: `Authorization: Bearer hgt_…`. \
            A token never reaches further than the role of whoever made it, and a customer's finds what the customer sees now.",
        license(name = "Apache-2.0")
    ),
    tags(
        (name = "Provider", description = "The provider, and the token that asks."),
        (name = "Locations", description = "Sites."),
        (name = "Gateways", description = "What pushes, where it stands, what it has."),
        (name = "Readings", description = "What gateways have measured."),
        (name = "Reports", description = "Figures by period, the same as on the pages and in the files of the panel."),
        (name = "Customers", description = "Who owns which gateway for how long."),
        (name = "Settings", description = "What the provider sets for itself."),
        (name = "Operation", description = "What was refused, and what was sent."),
        (name = "People", description = "Who has access, and who changed what. For owners.")
    ),
    components(schemas(Problem, FieldProblem)),
    modifiers(&Token)
)]
struct Head;

/// How a request says who asks.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some("A token of the panel’s page Account, API tokens. Scopes: read, write, people.".to_owned());
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description without operations.
pub(super) fn head() -> OpenApi {
    Head::openapi()
}

/// Says what attributes do not: of every operation what is answered where it is refused, one
/// kind of body for all statuses; and that an answer has all of its members, null or not.
pub(super) fn complete(mut openapi: OpenApi) -> OpenApi {
    let schemas = openapi.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (_, schema) in schemas.filter(|(name, _)| !may_lack(name)) {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.required = object.properties.keys().cloned().collect();
        }
    }
    for item in openapi.paths.paths.values_mut() {
        operations(item).for_each(refusable);
    }
    openapi
}

/// Whether members of an object may be left out: of what is sent, also where it is sent as
/// it was read; of reports; and where there is nothing to say of fields.
fn may_lack(schema: &str) -> bool {
    schema.ends_with("Input") || ["Settings", "Problem", "Report"].contains(&schema)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn refusable(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("Anything else is a problem (RFC 9457); see the table of errors.")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
}

/// `GET /api/v1/openapi.json`: for everybody; it says nothing of the provider.
pub(crate) async fn description() -> Json<&'static OpenApi> {
    Json(super::described())
}
