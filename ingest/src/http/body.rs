//! The body of a request: read no slower than a document may come, unpacked, and
//! never larger than one may be.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use heliograph_domain::RefusalCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Request, header};
use tokio::time::Instant;

use super::{Refused, apart};
use crate::room::Room;
use crate::settings::IngestSettings;

/// How long what is not wanted is read on.
const LINGER: Duration = Duration::from_secs(2);

/// How a body is packed (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Packing {
    Plain,
    Gzip,
    Deflate,
}

/// Reads and unpacks a request's body.
pub(super) async fn read(request: Request<Incoming>, settings: &IngestSettings, room: &mut Room) -> Result<Bytes, Refused> {
    let packing = packing(&request)?;
    let collected = collect(request.into_body(), settings, room).await;
    // Some devices pack without saying so.
    let is_plain = |bytes: &Bytes| packing == Packing::Plain && !bytes.starts_with(&[0x1F, 0x8B]);
    let collected = collected.map_err(|refused| match is_plain(&refused.bytes) {
        true => refused,
        false => Refused { bytes: Bytes::new(), ..refused },
    })?;
    match packing {
        Packing::Plain if is_plain(&collected) => Ok(collected),
        Packing::Deflate => apart(|| unpack(&collected, Packing::Deflate, settings.limits.document_bytes, room)),
        _ => apart(|| unpack(&collected, Packing::Gzip, settings.limits.document_bytes, room)),
    }
}

fn refused(code: RefusalCode, text: impl Into<String>, bytes: Bytes) -> Refused {
    Refused { code, text: text.into(), bytes }
}

fn packing(request: &Request<Incoming>) -> Result<Packing, Refused> {
    let written = request.headers().get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    match written.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Packing::Plain),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        "deflate" => Ok(Packing::Deflate),
        _ => Err(refused(RefusalCode::Encoding, "the content encoding is not one of gzip, deflate and identity", Bytes::new())),
    }
}

async fn collect(mut body: Incoming, settings: &IngestSettings, room: &mut Room) -> Result<Bytes, Refused> {
    let most = settings.limits.document_bytes;
    if body.size_hint().lower() > most as u64 {
        drain(body).await;
        return Err(too_large(most, Bytes::new()));
    }
    let begun = Instant::now();
    let mut bytes = BytesMut::new();
    loop {
        let allowed = settings.grace.max(Duration::from_secs(bytes.len() as u64 / settings.minimum_rate.max(1)));
        let until = (begun + allowed).min(Instant::now() + settings.stall);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Err(error))) => {
                return Err(refused(RefusalCode::Malformed, format!("the body is cut: {error}"), bytes.freeze()));
            }
            Err(_) => {
                let text = format!("the document came slower than {} bytes a second", settings.minimum_rate);
                return Err(refused(RefusalCode::RateLimited, text, Bytes::new()));
            }
        };
        let Some(data) = frame.data_ref() else { continue };
        metrics::counter!("heliograph_ingest_bytes_total").increment(data.len() as u64);
        if bytes.len() + data.len() > most {
            drain(body).await;
            return Err(too_large(most, bytes.freeze()));
        }
        bytes.extend_from_slice(data);
        if !room.make_for(bytes.len()) {
            let text = "too many large documents are on their way, try again later";
            return Err(refused(RefusalCode::RateLimited, text, Bytes::new()));
        }
    }
}

fn too_large(most: usize, bytes: Bytes) -> Refused {
    refused(RefusalCode::TooLarge, format!("the document is larger than {most} bytes"), bytes)
}

/// Unpacks a body as far as a document may be large.
/// Packed bytes are kept nowhere: what is secret in them could not be masked.
fn unpack(packed: &Bytes, packing: Packing, most: usize, room: &mut Room) -> Result<Bytes, Refused> {
    let unpacked = match packing {
        Packing::Gzip => take(MultiGzDecoder::new(packed.as_ref()), most, packed.len(), room),
        // Some devices send the bare stream, without the frame that HTTP asks for.
        _ => take(ZlibDecoder::new(packed.as_ref()), most, packed.len(), room).or_else(|fault| match fault {
            Fault::Damaged(_) => take(DeflateDecoder::new(packed.as_ref()), most, packed.len(), room),
            fault => Err(fault),
        }),
    };
    unpacked.map_err(|fault| match fault {
        Fault::Damaged(error) => refused(RefusalCode::Malformed, format!("the body cannot be unpacked: {error}"), Bytes::new()),
        Fault::TooLarge => too_large(most, Bytes::new()),
        Fault::NoRoom => {
            refused(RefusalCode::RateLimited, "too many large documents are on their way, try again later", Bytes::new())
        }
    })
}

enum Fault {
    Damaged(std::io::Error),
    TooLarge,
    NoRoom,
}

fn take(mut unpacked: impl Read, most: usize, packed: usize, room: &mut Room) -> Result<Bytes, Fault> {
    let mut piece = vec![0; 64 * 1024];
    let mut bytes = BytesMut::new();
    loop {
        let read = unpacked.read(&mut piece).map_err(Fault::Damaged)?;
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        match read {
            0 => return Ok(bytes.freeze()),
            _ if bytes.len() > most => return Err(Fault::TooLarge),
            _ if !room.make_for(packed + bytes.len()) => return Err(Fault::NoRoom),
            _ => {}
        }
    }
}

/// Reads what a peer still sends of a body that is not wanted, for a bounded while:
/// the answer would not reach it before the reset that unread bytes cause.
pub(super) async fn drain(mut body: Incoming) {
    let drained = async { while let Some(Ok(_)) = body.frame().await {} };
    drop(tokio::time::timeout(LINGER, drained).await);
}
