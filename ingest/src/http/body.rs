//! The body of a request: read no slower than a document may come, unpacked, and
//! never larger than one may be.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use heliograph_domain::RefusalCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Request, header};
use tokio::time::Instant;

use super::{Refused, apart};
use crate::minimum_rate::MinimumRate;
use crate::room::Room;
use crate::settings::IngestSettings;

/// How a body is packed (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Packing {
    Plain,
    Gzip,
    Deflate,
}

/// Reads and unpacks a request's body; says, too, whether it was read to its end.
pub(super) async fn read(
    request: Request<Incoming>,
    settings: &IngestSettings,
    room: &mut Room,
) -> (Result<Bytes, Refused>, bool) {
    let packing = match packing(&request) {
        Ok(packing) => packing,
        Err(refused) => return (Err(refused), request.body().is_end_stream()),
    };
    let mut body = request.into_body();
    let collected = collect(&mut body, settings, room).await;
    let is_whole = collected.is_ok();
    (collected_unpacked(collected, packing, settings, room), is_whole)
}

fn collected_unpacked(
    collected: Result<Bytes, Refused>,
    packing: Packing,
    settings: &IngestSettings,
    room: &mut Room,
) -> Result<Bytes, Refused> {
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

async fn collect(body: &mut Incoming, settings: &IngestSettings, room: &mut Room) -> Result<Bytes, Refused> {
    let most = settings.limits.document_bytes;
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most, Bytes::new()));
    }
    let mut rate = MinimumRate::begun_with(0, settings);
    let mut bytes = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout_at(rate.deadline(), body.frame()).await {
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
        rate.note(data.len(), Instant::now());
        if bytes.len() + data.len() > most {
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
