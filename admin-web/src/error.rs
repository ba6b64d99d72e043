//! What a handler answers when it does not answer with its page, and the one
//! place where such answers become pages and log lines.
//!
//! What the outside sees is the kind of refusal and nothing else; what went
//! wrong inside goes to the log with the request's id, which the page shows.

use std::str::FromStr;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use heliograph_report::ReportError;
use heliograph_report::export::ExportError;
use heliograph_store::StoreError;
use tower_http::request_id::RequestId;

use crate::api;
use crate::form::sentence;
use crate::off_thread::Ending;
use crate::panel::Panel;
use crate::password::HashError;
use crate::shell::Brand;

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nobody has signed in; the path to come back to afterwards.
    SignIn(Option<String>),
    /// There is no such thing, or not for whoever asks.
    NotFound,
    /// The role may look but not do this.
    Forbidden,
    /// The question makes no sense; the text says what is wrong with it.
    BadRequest(String),
    /// What was asked contradicts what is; the text says how.
    Conflict(String),
    /// A failure of ours, for the log only.
    Fault(String),
    /// The store does not answer now, for the log only.
    Unavailable(String),
}

/// What a refused request's page says in words.
#[derive(Debug, Clone)]
pub(crate) struct Said(pub(crate) String);

/// What the log says about a failure.
#[derive(Debug, Clone)]
struct Logged(String);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::NotFound,
            StoreError::Unavailable(_) => Self::Unavailable(error.to_string()),
            StoreError::Elsewhere => Self::Conflict(sentence(&error.to_string())),
            // A conflict that a form expects is shown at its field; the text of
            // any other may come from the database.
            other => Self::Fault(other.to_string()),
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NotFound => Self::NotFound,
            ReportError::Store(error) => error.into(),
        }
    }
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Fault(format!("{error}{cause}"))
    }
}

impl From<Ending> for Refusal {
    fn from(ending: Ending) -> Self {
        Self::Fault(ending.to_string())
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        Self::Fault(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(next) => Redirect::to(&sign_in_path(next.as_deref())).into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, said(text)).into_response(),
            Self::Conflict(text) => (StatusCode::CONFLICT, said(text)).into_response(),
            Self::Fault(text) => (StatusCode::INTERNAL_SERVER_ERROR, logged(text)).into_response(),
            Self::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, logged(text)).into_response(),
        }
    }
}

fn said(text: String) -> axum::Extension<Said> {
    axum::Extension(Said(text))
}

fn logged(text: String) -> axum::Extension<Logged> {
    axum::Extension(Logged(text))
}

fn sign_in_path(next: Option<&str>) -> String {
    match next {
        Some(next) if next != "/" => format!("/login?next={}", crate::shell::encode(next)),
        _ => "/login".to_owned(),
    }
}

/// Reads an id out of a path: what is no id at all is as unknown as any other.
pub(crate) fn read_id<T: FromStr>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound)
}

/// The page for a path that nobody knows.
pub(crate) async fn unknown_path() -> Refusal {
    Refusal::NotFound
}

/// The answer to a verb that a path does not take.
pub(crate) async fn unknown_verb() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    brand: &'a Brand,
    title: &'a str,
    text: &'a str,
    request: Option<&'a str>,
}

/// Puts the panel's page around every answer that is an error and has none.
pub(crate) async fn dress(State(panel): State<Panel>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok().map(str::to_owned));
    let is_of_api = api::is_below(request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    if let Some(Logged(problem)) = response.extensions().get::<Logged>() {
        tracing::error!(%status, problem, "request failed");
    }
    if !(status.is_client_error() || status.is_server_error()) || is_html(response.headers()) {
        return response;
    }
    if is_of_api {
        return api::dress(&panel, &response, id.as_deref());
    }
    let brand = Brand::of(&panel).await;
    let (title, text) = words(status);
    let text = response.extensions().get::<Said>().map_or(text, |said| said.0.as_str());
    // The body of a 404 tells nothing apart, not even by its id.
    let request = id.as_deref().filter(|_| status.is_server_error());
    let body = ErrorPage { brand: &brand, title, text, request }.render().unwrap_or_else(|_| title.to_owned());
    let mut dressed = (status, Html(body)).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER, header::SET_COOKIE] {
        if let Some(value) = response.headers().get(&name) {
            dressed.headers_mut().insert(name, value.clone());
        }
    }
    dressed
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

const fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::BAD_REQUEST => {
            ("That request makes no sense here", "Something in the address or the form is not what it should be.")
        }
        StatusCode::FORBIDDEN => ("Not allowed", "This request may not be made by you, or not from where it came."),
        StatusCode::NOT_FOUND => ("Nothing here", "There is no such page, or it is not for you to see."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("Not that way", "This address cannot be used like that. Go back and use the page's own buttons.")
        }
        StatusCode::CONFLICT => ("That is no longer so", "What you asked for contradicts what is there by now."),
        StatusCode::PAYLOAD_TOO_LARGE => ("Too much at once", "A form may have up to 64 KiB."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
            ("That form cannot be read", "It was not sent the way this page sends it, or a field is missing.")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            ("Not available right now", "The data cannot be reached at the moment. Try again in a minute.")
        }
        _ => ("Something went wrong", "It has been noted. Try again, and name the number below if it stays so."),
    }
}

/// Sets the security headers on whatever goes out.
pub(crate) async fn protect(State(panel): State<Panel>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    set(header::CACHE_CONTROL, "no-store");
    if panel.settings().is_https() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
    }
    response
}

const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; \
     frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
