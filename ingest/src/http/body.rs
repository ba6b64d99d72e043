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

use super::Refused;
use crate::room::Room;
use crate::settings::IngestSettings;

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
    let packed = collect(request.into_body(), settings, room).await?;
    match packing {
        Packing::Plain => Ok(packed),
        packing => unpack(packed, packing, settings.limits.document_bytes, room),
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
        other => Err(refused(RefusalCode::Encoding, format!("content encoding {other:?} is not known"), Bytes::new())),
    }
}

async fn collect(mut body: Incoming, settings: &IngestSettings, room: &mut Room) -> Result<Bytes, Refused> {
    let most = settings.limits.document_bytes;
    if body.size_hint().lower() > most as u64 {
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
fn unpack(packed: Bytes, packing: Packing, most: usize, room: &mut Room) -> Result<Bytes, Refused> {
    let unpacked = match packing {
        Packing::Gzip => take(MultiGzDecoder::new(&*packed), most, room),
        // Some devices send the bare stream, without the frame that HTTP asks for.
        _ => take(ZlibDecoder::new(&*packed), most, room).or_else(|fault| match fault {
            Fault::Damaged(_) => take(DeflateDecoder::new(&*packed), most, room),
            fault => Err(fault),
        }),
    };
    unpacked.map_err(|fault| match fault {
        Fault::Damaged(error) => refused(RefusalCode::Malformed, format!("the body cannot be unpacked: {error}"), packed),
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

fn take(mut unpacked: impl Read, most: usize, room: &mut Room) -> Result<Bytes, Fault> {
    const PIECE: usize = 64 * 1024;
    let mut bytes = BytesMut::new();
    loop {
        let before = bytes.len();
        bytes.resize(before + PIECE, 0);
        let read = unpacked.read(bytes.get_mut(before..).unwrap_or_default()).map_err(Fault::Damaged)?;
        bytes.truncate(before + read);
        match read {
            0 => return Ok(bytes.freeze()),
            _ if bytes.len() > most => return Err(Fault::TooLarge),
            _ if !room.make_for(bytes.len()) => return Err(Fault::NoRoom),
            _ => {}
        }
    }
}
