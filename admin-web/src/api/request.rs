//! What a request says besides its path: the query and the body.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::problem::ApiRefusal;
use crate::form::sentence;
use crate::panel::Panel;

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Panel> for Asked<T> {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &Panel) -> Result<Self, ApiRefusal> {
        let asked =
            Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| ApiRefusal::bad(sentence(&rejection.body_text())))?;
        Ok(Self(asked.0))
    }
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Panel> for Body<T> {
    type Rejection = ApiRefusal;

    async fn from_request(request: Request, panel: &Panel) -> Result<Self, ApiRefusal> {
        if !is_json(request.headers()) {
            return Err(ApiRefusal::NotJson);
        }
        let bytes = match Bytes::from_request(request, panel).await {
            Ok(bytes) => bytes,
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(ApiRefusal::TooLarge);
            }
            Err(_) => return Err(ApiRefusal::bad("The body did not come whole.")),
        };
        read(&bytes).map(Self)
    }
}

/// Reads an object. A list of its members without their names would do for the parser.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiRefusal> {
    let refused = |error: serde_json::Error| match error.classify() {
        Category::Data => ApiRefusal::Unreadable(sentence(&error.to_string())),
        Category::Syntax | Category::Eof | Category::Io => ApiRefusal::bad(format!("The body is no JSON: {error}.")),
    };
    if bytes.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice(bytes).map_err(refused);
    }
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(refused)?;
    Err(ApiRefusal::Unreadable("The body must be an object.".to_owned()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
