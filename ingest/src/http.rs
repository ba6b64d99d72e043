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

use bytes::Bytes;
use heliograph_dialects::{Frame, Framer};
use heliograph_domain::RefusalCode;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use patient::Patient;
use tokio::time::Instant;

use crate::answers::WRITE_TIMEOUT;
use crate::connection::{Connection, LARGE, Shared, is_multi_threaded};
use crate::linger;
use crate::peer::Peer;
use crate::room::Room;
use crate::settings::IngestSettings;
use crate::wire::Begun;

/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;

/// The methods of HTTP (RFC 9110 section 9, RFC 5789), with the space behind them.
const METHODS: [&[u8]; 9] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// Whether the first bytes of a connection are those of a request. XML begins with
/// none of these letters, so the first of them tells.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| bytes.iter().zip(*method).all(|(found, wanted)| found == wanted)) && !bytes.is_empty()
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
    let since = Instant::now();
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return reply::last(reply::method_not_allowed(), request.body().is_end_stream());
    }
    let mut peer = peer.clone().asks_by_http();
    credentials::offer(&request, &mut peer);
    let is_known = match shared.intake.vouch(&mut peer) {
        Ok(is_known) => is_known,
        Err(answer) => {
            answer.count(since.elapsed());
            return reply::last(reply::to(&answer, None, false), request.body().is_end_stream());
        }
    };
    let mut room = Room::of(shared.room.clone(), peer.address.ip());
    let (read, is_whole) = body::read(request, &shared.settings, &mut room).await;
    let (answer, dialect) = match read.and_then(|bytes| one_document(&bytes, &shared.settings)) {
        Ok(document) => {
            let (dialect, taken) = match document.len() >= LARGE {
                true => apart(|| (shared.intake.salvage(&document).dialect, shared.intake.take(&mut peer, &document))),
                false => (shared.intake.salvage(&document).dialect, shared.intake.take(&mut peer, &document)),
            };
            let held = room.hand_over(document.len());
            let answer = taken.answer.wait().await;
            drop(held);
            // Who waits for an answer sends no further document.
            if let Some(until) = taken.resume {
                shared.intake.hold_back(until).await;
            }
            (answer, dialect)
        }
        Err(Refused { code, text, bytes }) => {
            let dialect = shared.intake.salvage(&bytes).dialect;
            (shared.intake.refuse_bytes(&peer, &bytes, code, text).await, dialect)
        }
    };
    answer.count(since.elapsed());
    reply::last(reply::to(&answer, dialect, is_known), is_whole)
}

/// Does what takes long where it does not hold up others.
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> T {
    if is_multi_threaded() { tokio::task::block_in_place(work) } else { work() }
}

/// Why a request carries no document.
pub(crate) struct Refused {
    code: RefusalCode,
    text: String,
    /// What there was of it.
    bytes: Bytes,
}

/// The one document of a body; beside it only white space and NUL.
fn one_document(body: &Bytes, settings: &IngestSettings) -> Result<Bytes, Refused> {
    let mut framer = Framer::new(settings.limits);
    let refused = |code, text: String| Refused { code, text, bytes: body.clone() };
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
        for request in ["P", "PO", "POST / HTTP/1.0", "PUT /a", "GET / HTTP/1.1", "OPTIONS *"] {
            assert!(begins(request.as_bytes()), "{request}");
        }
        for other in ["", "<push/>", " <push/>", "\u{FEFF}<push/>", "POSTAL", "post /", "GETS", "X"] {
            assert!(!begins(other.as_bytes()), "{other:?}");
        }
    }
}
