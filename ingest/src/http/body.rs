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

use super::Refused;
use crate::apart::apart;
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

/// How a gzip stream begins (RFC 1952 section 2.3.1).
const GZIP: [u8; 2] = [0x1F, 0x8B];
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Reads and unpacks a request's body; says, too, whether it was read to its end. Of a
/// body that is too large for a document, the part that is kept is read where its sender
/// `is_known`.
pub(super) async fn read(
    request: Request<Incoming>,
    settings: &IngestSettings,
    room: &mut Room,
    is_known: bool,
) -> (Result<Bytes, Refused>, bool) {
    let packing = match packing(&request) {
        Ok(packing) => packing,
        Err(refused) => return (Err(refused), request.body().is_end_stream()),
    };
    let mut body = request.into_body();
    let most = settings.limits.document_bytes;
    if body.size_hint().lower() > most as u64 && !is_known {
        return (Err(too_large(most, Bytes::new())), false);
    }
    let collected = collect(&mut body, settings, room).await;
    let is_whole = collected.is_ok();
    (unpacked(collected, packing, settings, room), is_whole)
}

/// What came, unpacked; of what cannot be taken, as far as it can be: packed bytes are
/// kept nowhere, since what is secret in them could not be masked.
fn unpacked(
    collected: Result<Bytes, Refused>,
    packing: Packing,
    settings: &IngestSettings,
    room: &mut Room,
) -> Result<Bytes, Refused> {
    let came = match &collected {
        Ok(bytes) | Err(Refused { bytes, .. }) => bytes.clone(),
    };
    let packing = match packing {
        // Some devices pack without saying so, in another way than they say, or not at all.
        _ if came.starts_with(&GZIP) => Packing::Gzip,
        Packing::Plain => return collected,
        Packing::Gzip if looks_plain(&came) => return collected,
        said => said,
    };
    // However few bytes are packed, there may be as many as in the largest document.
    let most = settings.limits.document_bytes;
    let unpacked = apart(most, || unpack(&came, packing, most, room));
    // A bare stream may begin with the byte of a `<` too; XML is in it, then.
    if packing == Packing::Deflate && looks_plain(&came) && !unpacked.as_ref().is_ok_and(|bytes| looks_plain(bytes)) {
        return collected;
    }
    match (collected, unpacked) {
        (Ok(_), unpacked) => unpacked,
        (Err(refused), Ok(bytes) | Err(Refused { bytes, .. })) => Err(Refused { bytes, ..refused }),
    }
}

/// Whether bytes begin as XML does.
fn looks_plain(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(bytes);
    bytes.trim_ascii_start().starts_with(b"<")
}

fn refused(code: RefusalCode, text: impl Into<String>, bytes: Bytes) -> Refused {
    Refused { code, text: text.into(), bytes, is_final: true }
}

fn packing(request: &Request<Incoming>) -> Result<Packing, Refused> {
    let written = request.headers().get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    match written.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Packing::Plain),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        "deflate" => Ok(Packing::Deflate),
        // Nothing of it can be kept: its sender has to know.
        _ => {
            let text = "the content encoding is not one of gzip, deflate and identity";
            Err(Refused { is_final: false, ..refused(RefusalCode::Encoding, text, Bytes::new()) })
        }
    }
}

async fn collect(body: &mut Incoming, settings: &IngestSettings, room: &mut Room) -> Result<Bytes, Refused> {
    let most = settings.limits.document_bytes;
    let mut rate = MinimumRate::begun_with(0, settings);
    let mut bytes = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout_at(rate.deadline(), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Err(error))) => {
                let text = format!("the body is cut: {error}");
                return Err(Refused { is_final: false, ..refused(RefusalCode::Malformed, text, bytes.freeze()) });
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
            bytes.extend_from_slice(data.get(..most - bytes.len()).unwrap_or_default());
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

/// Unpacks a body as far as a document may be large; where that ends in a fault, what
/// came before it is there.
fn unpack(packed: &Bytes, packing: Packing, most: usize, room: &mut Room) -> Result<Bytes, Refused> {
    let unpacked = match packing {
        Packing::Gzip => take(MultiGzDecoder::new(packed.as_ref()), most, packed.len(), room),
        // Some devices send the bare stream, without the frame that HTTP asks for.
        _ => take(ZlibDecoder::new(packed.as_ref()), most, packed.len(), room).or_else(|(fault, before)| match fault {
            Fault::Damaged(_) => take(DeflateDecoder::new(packed.as_ref()), most, packed.len(), room)
                .map_err(|other| if other.1.len() > before.len() { other } else { (fault, before) }),
            fault => Err((fault, before)),
        }),
    };
    unpacked.map_err(|(fault, before)| match fault {
        Fault::Damaged(error) => {
            let text = format!("the body cannot be unpacked: {error}");
            // Of what cannot be unpacked at all nothing can be kept: its sender has to know.
            Refused { is_final: !before.is_empty(), ..refused(RefusalCode::Malformed, text, before) }
        }
        Fault::TooLarge => too_large(most, before),
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

fn take(mut unpacked: impl Read, most: usize, packed: usize, room: &mut Room) -> Result<Bytes, (Fault, Bytes)> {
    let mut piece = vec![0; 64 * 1024];
    let mut bytes = BytesMut::new();
    loop {
        let read = match unpacked.read(&mut piece) {
            Ok(0) => return Ok(bytes.freeze()),
            Ok(read) => read,
            Err(error) => return Err((Fault::Damaged(error), bytes.freeze())),
        };
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        if bytes.len() > most {
            bytes.truncate(most);
            return Err((Fault::TooLarge, bytes.freeze()));
        }
        if !room.make_for(packed + bytes.len()) {
            return Err((Fault::NoRoom, Bytes::new()));
        }
    }
}
