//! Documents by HTTP, on the port that speaks XML: many loggers push no other way.
//!
//! A request is one document, and its answer is the one that the device expects.
//! Who pushes stands in the document, in the path (`/push/<gateway>/<key>`) or in
//! Basic credentials.

mod body;
mod credentials;
mod patient;
mod reply;

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heliograph_dialects::{Dialect, Frame, Framer};
use heliograph_domain::RefusalCode;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use patient::Patient;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::answers::WRITE_TIMEOUT;
use crate::apart::apart;
use crate::connection::{Connection, Shared};
use crate::intake::Taken;
use crate::linger;
use crate::peer::Peer;
use crate::room::Room;
use crate::settings::IngestSettings;
use crate::wire::Begun;

/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;

/// The methods of HTTP (RFC 9110 section 9, RFC 5789), with the space behind them.
const METHODS: [&[u8]; 9] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// Letters of a method that is none of these, at most.
const METHOD: usize = 32;
/// Bytes of the line of a request with such a method, at most.
const LINE: usize = 8 * 1024;
const VERSION: &[u8] = b"HTTP/1.";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    Request,
    Other,
    /// The bytes behind them tell.
    Unclear,
}

/// Whether the first bytes of a connection are those of a request. XML begins with no
/// letter, so that those of the usual methods tell at once. Of others (RFC 9110 section
/// 16.1) the whole line does, up to the version: something else may begin with letters.
pub(crate) fn begins(bytes: &[u8]) -> Beginning {
    let is_usual = |method: &&[u8]| bytes.iter().zip(*method).all(|(found, wanted)| found == wanted);
    if !bytes.is_empty() && METHODS.iter().any(is_usual) {
        return Beginning::Request;
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let is_method = |part: &[u8]| {
        let is_letter = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
        (1..=METHOD).contains(&part.len()) && part.iter().all(is_letter)
    };
    let fits = parts.next().is_some_and(is_method) && parts.next().is_none_or(|_| line.len() <= LINE);
    match parts.next() {
        Some(version) if fits && version.starts_with(VERSION) => Beginning::Request,
        Some(version) if !VERSION.starts_with(version) => Beginning::Other,
        _ if fits && end.is_none() => Beginning::Unclear,
        _ => Beginning::Other,
    }
}

/// Serves the requests of a connection whose first bytes are read already.
pub(crate) async fn serve(connection: Connection) {
    let Connection { wire, buffer, peer, shared, .. } = connection;
    let (shutdown, settings) = (shared.shutdown.clone(), shared.settings);
    let requests = Arc::new(Requests { peer, shared });
    let service = service_fn(move |request| {
        let requests = Arc::clone(&requests);
        Box::pin(async move { Ok::<_, Infallible>(handle(request, &requests).await) })
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(settings.grace).half_close(true).max_buf_size(HEAD);
    let io = TokioIo::new(Begun::new(buffer.freeze(), Patient::new(wire, WRITE_TIMEOUT)));
    let mut connection = builder.serve_connection(io, service);
    let served = tokio::select! {
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
        () = shutdown.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection lost");
    }
    // A body that nobody wants may still be coming: its sender reads the answer once
    // it has sent all of it.
    let mut wire = connection.into_parts().io.into_inner().into_inner().into_inner();
    linger::close(&mut wire, linger::most(&settings), &shutdown).await;
}

/// What the requests of a connection share.
struct Requests {
    peer: Peer,
    shared: Arc<Shared>,
}

async fn handle(request: Request<Incoming>, Requests { peer, shared }: &Requests) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return reply::last(reply::method_not_allowed(), request.body().is_end_stream());
    }
    let mut peer = peer.clone().asks_by_http();
    credentials::offer(&request, &mut peer);
    let is_known = match shared.intake.vouch(&mut peer) {
        Ok(is_known) => is_known,
        Err(answer) => {
            answer.count(None, Duration::ZERO);
            return reply::last(reply::to(&answer, None, false), request.body().is_end_stream());
        }
    };
    let mut room = Room::of(shared.room.clone(), peer.address.ip());
    let (read, is_whole) = body::read(request, &shared.settings, &mut room, is_known).await;
    // How long a peer takes to send it, or is made to wait, is no matter of the server's speed.
    let since = Instant::now();
    let dealt_with = match read.and_then(|bytes| one_document(&bytes, &shared.settings)) {
        Ok(document) => take(&document, &mut peer, room, shared).await,
        Err(refused) => refuse(refused, &peer, shared).await,
    };
    let DealtWith { answer, dialect, is_final, resume } = dealt_with;
    answer.count(dialect, since.elapsed());
    // Who waits for an answer sends no further document.
    if let Some(until) = resume {
        shared.intake.hold_back(until).await;
    }
    reply::last(reply::to(&answer, dialect, is_known && is_final), is_whole)
}

/// What became of a request.
struct DealtWith {
    answer: Answer,
    /// What it speaks, as far as that can be told.
    dialect: Option<Dialect>,
    /// Whether the same request would end in the same way.
    is_final: bool,
    /// When to answer, where its gateway is ahead of a rate.
    resume: Option<Instant>,
}

async fn take(document: &Bytes, peer: &mut Peer, mut room: Room, shared: &Shared) -> DealtWith {
    let place = shared.intake.decode_budget.acquire(document.len()).await;
    let Taken { dialect, resume, waits, answer, .. } = apart(document.len(), || shared.intake.take(peer, document));
    // The budget is not for who waits for a turn.
    let held = (room.hand_over(document.len()), (!waits).then_some(place));
    let answer = answer.wait().await;
    drop(held);
    DealtWith { answer, dialect, is_final: true, resume }
}

async fn refuse(Refused { code, text, bytes, is_final }: Refused, peer: &Peer, shared: &Shared) -> DealtWith {
    if code == RefusalCode::RateLimited || (bytes.is_empty() && !is_final) {
        let (answer, resume) = shared.intake.turn_down(peer, code, text);
        return DealtWith { answer, dialect: None, is_final, resume };
    }
    let (answer, dialect) = shared.intake.refuse_bytes(peer, &bytes, code, text).await;
    DealtWith { answer, dialect, is_final, resume: None }
}

/// Why a request carries no document.
pub(crate) struct Refused {
    code: RefusalCode,
    text: String,
    /// What there was of it.
    bytes: Bytes,
    /// Whether the same request would be refused again.
    is_final: bool,
}

/// The one document of a body; beside it only white space and NUL.
fn one_document(body: &Bytes, settings: &IngestSettings) -> Result<Bytes, Refused> {
    let mut framer = Framer::new(settings.limits);
    let refused = |code, text: String| Refused { code, text, bytes: body.clone(), is_final: true };
    let (start, end) = match framer.next(body) {
        Ok(Frame::Document { start, end }) => (start, end),
        Ok(Frame::Incomplete { .. }) => {
            return Err(refused(RefusalCode::Malformed, "the body ends inside a document".to_owned()));
        }
        Err(error) => return Err(refused(error.code, error.message)),
    };
    if body.iter().skip(end).any(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0)) {
        return Err(refused(RefusalCode::Malformed, "the body goes on behind its document".to_owned()));
    }
    Ok(body.slice(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_from_xml_by_its_first_bytes() {
        let requests = [
            "P",
            "PO",
            "POST / HTTP/1.0",
            "PUT /a",
            "GET / HTTP/1.1",
            "OPTIONS *",
            "PROPFIND / HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.",
        ];
        for request in requests {
            assert_eq!(begins(request.as_bytes()), Beginning::Request, "{request}");
        }
        let long = format!("PROPFIND /{}", "a".repeat(LINE));
        for other in [
            "",
            "<push/>",
            " <push/>",
            "\u{FEFF}<push/>",
            "POSTAL\r",
            "post /",
            "GETS /\n",
            "X \n",
            "X  HTTP/2",
            "hello",
            "PROPFIND / HTTQ",
            &long,
        ] {
            assert_eq!(begins(other.as_bytes()), Beginning::Other, "{other:?}");
        }
        for unclear in ["POSTAL", "GETS", "X", "PROPFIND ", "PROPFIND /a", "PROPFIND /a ", "PROPFIND /a HTTP/1"] {
            assert_eq!(begins(unclear.as_bytes()), Beginning::Unclear, "{unclear:?}");
        }
    }
}
