//! Answers as requests get them: what each device takes for success, and for other
//! outcomes the status that fits (docs/protocol.md).

use bytes::Bytes;
use heliograph_dialects::Dialect;
use heliograph_domain::RefusalCode;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::answer::Answer;

/// Seconds after which a device may try again.
const AGAIN: &str = "30";

/// The response to a document of this dialect, as far as that can be told. `is_done`:
/// its sender's credentials are right, and the same request would end in the same way.
pub(super) fn to(answer: &Answer, dialect: Option<Dialect>, is_done: bool) -> Response<Full<Bytes>> {
    match answer {
        Answer::Ack { .. } => success(answer, dialect),
        // A logger would send for ever what is in quarantine already.
        Answer::Nack { code, .. } if is_done && would_repeat(dialect, *code) => success(answer, dialect),
        Answer::Nack { code, .. } => failure(answer, *code),
    }
}

/// A response, after which the connection ends where its request was not read to
/// the end: what is left of that is no further request.
pub(super) fn last(mut response: Response<Full<Bytes>>, is_whole: bool) -> Response<Full<Bytes>> {
    if !is_whole {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The response to a method that pushes nothing.
pub(super) fn method_not_allowed() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "documents are pushed by POST or PUT\n".to_owned());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT"));
    response
}

/// Whether a device would go on sending what is in quarantine: only those that speak the
/// native dialect know refusals.
fn would_repeat(dialect: Option<Dialect>, code: RefusalCode) -> bool {
    dialect != Some(Dialect::Native) && is_kept(code)
}

/// Whether what was refused so is in quarantine and will not be taken by being sent
/// again.
const fn is_kept(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Malformed
            | RefusalCode::TooLarge
            | RefusalCode::TooDeep
            | RefusalCode::Doctype
            | RefusalCode::Encoding
            | RefusalCode::Unsupported
            | RefusalCode::NoReadings
    )
}

fn success(answer: &Answer, dialect: Option<Dialect>) -> Response<Full<Bytes>> {
    match dialect {
        Some(Dialect::AcquiSuite) => xml(StatusCode::OK, "<DAS><result>SUCCESS</result></DAS>\n".to_owned()),
        Some(Dialect::SunSpec) => {
            xml(StatusCode::OK, "<sunSpecDataResponse><status>SUCCESS</status></sunSpecDataResponse>\n".to_owned())
        }
        Some(Dialect::Mii) => xml(StatusCode::ACCEPTED, answer.line()),
        _ => xml(StatusCode::OK, answer.line()),
    }
}

fn failure(answer: &Answer, code: RefusalCode) -> Response<Full<Bytes>> {
    let status = match code {
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::UnknownGateway | RefusalCode::BadKey => StatusCode::UNAUTHORIZED,
        RefusalCode::Unsupported | RefusalCode::NoReadings => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = xml(status, answer.line());
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"heliograph\", charset=\"UTF-8\""));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(AGAIN));
        }
        _ => {}
    }
    response
}

fn xml(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    of_type(status, body, "text/xml; charset=utf-8")
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    of_type(status, body, "text/plain; charset=utf-8")
}

fn of_type(status: StatusCode, body: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
