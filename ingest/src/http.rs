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
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use heliograph_dialects::{Frame, Framer};
use heliograph_domain::RefusalCode;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use patient::Patient;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::{LARGE, WRITE_TIMEOUT, is_multi_threaded};
use crate::intake::{Intake, Peer};
use crate::room::{Room, RoomForDocuments};
use crate::settings::IngestSettings;

/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// How long an answer to a gateway ahead of its rate may be kept back; devices take
/// a request as failed after half a minute or more.
const SLOWED: Duration = Duration::from_secs(20);

/// The methods of HTTP (RFC 9110 section 9, RFC 5789), with the space behind them.
const METHODS: [&[u8]; 9] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// Whether the first bytes of a connection are those of a request. XML begins with
/// none of these letters, so the first of them tells.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| bytes.iter().zip(*method).all(|(found, wanted)| found == wanted)) && !bytes.is_empty()
}

/// What the requests of a connection share.
pub(crate) struct Shared {
    pub(crate) peer: Peer,
    pub(crate) intake: Arc<Intake>,
    pub(crate) room: RoomForDocuments,
    pub(crate) settings: IngestSettings,
    pub(crate) shutdown: CancellationToken,
}

/// Serves the requests of a connection whose first bytes are read already.
pub(crate) async fn serve(stream: TcpStream, begun: BytesMut, shared: Shared) {
    let (reader, writer) = stream.into_split();
    let reader = std::io::Cursor::new(begun.freeze()).chain(reader);
    let grace = shared.settings.grace;
    let shutdown = shared.shutdown.clone();
    let shared = Arc::new(shared);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(handle(request, &shared).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(grace).half_close(true).max_buf_size(HEAD);
    let connection =
        builder.serve_connection(TokioIo::new(tokio::io::join(reader, Patient::new(writer, WRITE_TIMEOUT))), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection lost");
    }
}

async fn handle(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let since = Instant::now();
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        body::drain(request.into_body()).await;
        return reply::method_not_allowed();
    }
    let mut peer = shared.peer.clone();
    credentials::offer(&request, &mut peer);
    let is_known = match shared.intake.vouch(&mut peer) {
        Ok(is_known) => is_known,
        Err(answer) => {
            body::drain(request.into_body()).await;
            answer.count(since.elapsed());
            return reply::to(&answer, None, false);
        }
    };
    let mut room = Room::of(shared.room.clone());
    let read = body::read(request, &shared.settings, &mut room).await;
    let (answer, dialect) = match read.and_then(|bytes| one_document(&bytes, &shared.settings)) {
        Ok(document) => {
            let (dialect, taken) = match document.len() >= LARGE {
                true => apart(|| (shared.intake.salvage(&document).dialect, shared.intake.take(&mut peer, &document))),
                false => (shared.intake.salvage(&document).dialect, shared.intake.take(&mut peer, &document)),
            };
            let _held = room.hand_over(document.len());
            let answer = taken.answer.await;
            // Who waits for an answer sends no further document.
            let slowed = tokio::time::sleep_until(taken.resume.min(since + SLOWED));
            shared.shutdown.run_until_cancelled(slowed).await;
            (answer, dialect)
        }
        Err(Refused { code, text, bytes }) => {
            let dialect = shared.intake.salvage(&bytes).dialect;
            (shared.intake.refuse_bytes(&peer, &bytes, code, text).await, dialect)
        }
    };
    answer.count(since.elapsed());
    reply::to(&answer, dialect, is_known)
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
