//! What the API answers where it does not answer what was asked: problems by RFC 9457.
//!
//! A handler's refusal says its status and what may be told; [`dress`] makes the body of
//! it, and of whatever the layers around refuse (unknown paths and verbs, bodies that are
//! too large, requests that take too long).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use heliograph_domain::ApiScope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Refusal, Said};
use crate::form::Problems;
use crate::panel::Panel;

/// The media type of a problem.
const MEDIA_TYPE: &str = "application/problem+json";

/// Why there is no answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// The kind of the problem, an address at which it is explained.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words, always the same.
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong in this case.
    detail: String,
    /// The id of the request, by which it is found in the log.
    request_id: String,
    /// What is wrong with which field of the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldProblem>,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FieldProblem {
    /// The field.
    field: String,
    /// What is wrong with it.
    detail: String,
}

/// What is wrong with fields, for whoever makes the body.
#[derive(Debug, Clone)]
struct Fields(Vec<FieldProblem>);

/// Why an operation is refused.
#[derive(Debug)]
pub(super) enum ApiRefusal {
    /// As a page would be.
    Panel(Refusal),
    /// No token that works was presented.
    NoToken,
    /// There is no such thing, or not for whoever asks.
    NotFound,
    /// The role does not reach so far.
    Role,
    /// The token is not for this.
    Scope(ApiScope),
    /// Too many requests; the seconds to wait.
    TooMany(u64),
    /// The body is not said to be JSON.
    NotJson,
    /// The body is too large.
    TooLarge,
    /// The body is JSON of another shape; the text says how.
    Unreadable(String),
    /// Fields are not what they should be.
    Invalid(Vec<FieldProblem>),
    /// A change that names no state that it is based on.
    Unconditional,
    /// A change that is based on a state which is no longer so.
    Changed,
}

impl<E: Into<Refusal>> From<E> for ApiRefusal {
    fn from(error: E) -> Self {
        Self::Panel(error.into())
    }
}

impl ApiRefusal {
    /// Refuses fields, by what a form calls them and what the API does where that differs.
    pub(super) fn fields(problems: &Problems, names: &[(&str, &str)]) -> Self {
        let name =
            |field: &str| names.iter().find(|(form, _)| *form == field).map_or(field.to_owned(), |(_, name)| (*name).to_owned());
        let told = problems.all().map(|(field, detail)| FieldProblem { field: name(field), detail: detail.to_owned() });
        Self::Invalid(told.collect())
    }

    /// Refuses a question that makes no sense.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::Panel(Refusal::BadRequest(text.into()))
    }

    /// Refuses what contradicts what is.
    pub(super) fn conflict(text: impl Into<String>) -> Self {
        Self::Panel(Refusal::Conflict(text.into()))
    }
}

fn said(status: StatusCode, text: impl Into<String>) -> Response {
    (status, axum::Extension(Said(text.into()))).into_response()
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Panel(Refusal::SignIn(_)) | Self::NoToken => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"heliograph\"")];
                (StatusCode::UNAUTHORIZED, challenge).into_response()
            }
            Self::Panel(refusal) => refusal.into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Role => said(StatusCode::FORBIDDEN, "The role of whoever made the token does not reach so far."),
            Self::Scope(scope) => said(StatusCode::FORBIDDEN, format!("The token does not have the scope “{scope}”.")),
            Self::TooMany(seconds) => {
                let wait = [(header::RETRY_AFTER, HeaderValue::from(seconds))];
                (StatusCode::TOO_MANY_REQUESTS, wait).into_response()
            }
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::Unreadable(text) => said(StatusCode::UNPROCESSABLE_ENTITY, text),
            Self::Invalid(fields) => (StatusCode::UNPROCESSABLE_ENTITY, axum::Extension(Fields(fields))).into_response(),
            Self::Unconditional => StatusCode::PRECONDITION_REQUIRED.into_response(),
            Self::Changed => StatusCode::PRECONDITION_FAILED.into_response(),
        }
    }
}

/// A kind of problem.
pub(super) struct Kind {
    pub(super) status: StatusCode,
    /// The end of its address.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What is said where nothing more is known.
    pub(super) detail: &'static str,
}

const fn kind(status: StatusCode, name: &'static str, title: &'static str, detail: &'static str) -> Kind {
    Kind { status, name, title, detail }
}

/// Every kind, by status.
pub(super) const KINDS: [Kind; 14] = [
    kind(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request makes no sense",
        "Something in the address or the body is not what it should be.",
    ),
    kind(
        StatusCode::UNAUTHORIZED,
        "no-token",
        "No token that works",
        "Send “Authorization: Bearer hgt_…” with a token that has not ended.",
    ),
    kind(StatusCode::FORBIDDEN, "forbidden", "Not allowed", "This may not be asked by you, or not from where it came."),
    kind(StatusCode::NOT_FOUND, "not-found", "Nothing here", "There is no such thing, or it is not for you to see."),
    kind(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "Not that way",
        "This path does not take that method; the header Allow says which it takes.",
    ),
    kind(
        StatusCode::CONFLICT,
        "conflict",
        "That contradicts what is there",
        "What you asked for contradicts what is there by now.",
    ),
    kind(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        "It was changed meanwhile",
        "Read it again, and send the change with the ETag that it has now.",
    ),
    kind(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", "A body may have up to 64 KiB."),
    kind(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The body is not JSON", "Send the body as application/json."),
    kind(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Fields are not what they should be", "See “errors” for each field."),
    kind(
        StatusCode::PRECONDITION_REQUIRED,
        "no-condition",
        "A condition is needed",
        "Send the ETag of what you have read as If-Match, so that nobody's change is lost.",
    ),
    kind(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "Too many requests",
        "Come again after as many seconds as the header Retry-After says.",
    ),
    kind(
        StatusCode::INTERNAL_SERVER_ERROR,
        "fault",
        "Something went wrong",
        "It has been noted. Name the request id if it stays so.",
    ),
    kind(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "Not available right now",
        "The data cannot be reached at the moment. Try again in a minute.",
    ),
];

/// The kind of a status; of one that is not in the table, that of its class.
fn kind_of(status: StatusCode) -> &'static Kind {
    let [bad_request, .., fault, _unavailable] = &KINDS;
    let otherwise = if status.is_client_error() { bad_request } else { fault };
    KINDS.iter().find(|kind| kind.status == status).unwrap_or(otherwise)
}

/// The answer to a request of the API that was refused.
pub(crate) fn dress(panel: &Panel, response: &Response, request: Option<&str>) -> Response {
    let (status, extensions) = (response.status(), response.extensions());
    let kind = kind_of(status);
    let problem = Problem {
        kind: panel.link(&format!("/api/v1/#{}", kind.name)),
        title: kind.title,
        status: status.as_u16(),
        detail: extensions.get::<Said>().map_or_else(|| kind.detail.to_owned(), |said| said.0.clone()),
        request_id: request.unwrap_or_default().to_owned(),
        errors: extensions.get::<Fields>().map_or_else(Vec::new, |fields| fields.0.clone()),
    };
    let mut dressed = (status, Json(problem)).into_response();
    dressed.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            dressed.headers_mut().insert(name, value.clone());
        }
    }
    dressed
}
