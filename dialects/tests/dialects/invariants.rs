//! What holds whatever the bytes are. The fuzz targets (`fuzz/`) call the same.

use std::collections::HashSet;
use std::sync::Arc;

use heliograph_dialects::{
    Context, DecodeError, Decoded, Dialect, Frame, FrameError, Framer, Limits, Mapping, canonical, decode, loss_by_mask,
    mask_credentials, salvage,
};
use heliograph_domain::{GatewayId, RefusalCode, Timestamp, Zone};

/// The documents of a stream and how it ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) documents: Vec<Vec<u8>>,
    pub(crate) end: End,
}

/// How a stream ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// Nothing is left over.
    Clean,
    /// In a document.
    InDocument,
    /// It could not be cut further.
    Refused(FrameError),
}

/// Feeds a stream in pieces, as a connection does.
pub(crate) fn cut_in(pieces: &[&[u8]], limits: Limits, drops_skipped: bool) -> Cut {
    let mut framer = Framer::new(limits);
    let (mut buffer, mut documents) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&buffer) {
                Ok(Frame::Document { start, end }) => {
                    documents.push(buffer[start..end].to_vec());
                    buffer.drain(..end);
                }
                Ok(Frame::Incomplete { skip }) => {
                    if drops_skipped {
                        buffer.drain(..skip);
                    }
                    break;
                }
                Err(error) => return Cut { documents, end: End::Refused(error) },
            }
        }
    }
    let end = if framer.in_document() { End::InDocument } else { End::Clean };
    Cut { documents, end }
}

/// However a stream is cut into pieces, the same documents come out of it, each is a
/// part of it, in order, and is a document by itself. The first two bytes say under
/// which limits and how it is cut.
pub(crate) fn framing(data: &[u8]) {
    let [small, seed, stream @ ..] = data else { return };
    let tight = Limits { document_bytes: 300, depth: 4, attributes: 3, tag_bytes: 60 };
    let limits = if *small == b's' { tight } else { Limits::default() };
    let whole = cut_in(&[stream], limits, true);
    assert_eq!(cut_in(&pieces(stream, *seed), limits, true), whole, "in pieces");
    assert_eq!(cut_in(&stream.chunks(1).collect::<Vec<_>>(), limits, false), whole, "byte by byte");
    let mut rest = stream;
    for document in &whole.documents {
        let at = rest.windows(document.len()).position(|window| window == document).unwrap();
        rest = &rest[at + document.len()..];
        assert!(document.len() <= limits.document_bytes);
        let alone = Framer::new(limits).next(document);
        assert_eq!(alone, Ok(Frame::Document { start: 0, end: document.len() }), "by itself");
    }
}

/// A stream in pieces of 1 to 40 bytes.
fn pieces(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut rest, mut state, mut pieces) = (stream, u32::from(seed), Vec::new());
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, behind) = rest.split_at(rest.len().min(1 + (state >> 16) as usize % 40));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// What a decoder says of any bytes is something that may be stored; false where they
/// are of another dialect than the one that is meant.
pub(crate) fn decoding(dialect: Option<Dialect>, bytes: &[u8]) -> bool {
    let found = salvage(bytes);
    if dialect.is_some() && found.dialect != dialect {
        return false;
    }
    for received in [Timestamp::MIN, Timestamp::clamped(1_795_176_000_000), Timestamp::MAX] {
        decoding_with(bytes, received, &[]);
    }
    let masked = mask_credentials(bytes);
    if let Some(key) = found.key.filter(|key| key.reveal().bytes().any(|byte| byte != b'*')) {
        assert_ne!(salvage(&masked).key.as_ref().map(|key| key.reveal()), Some(key.reveal()), "a key is not masked");
    }
    true
}

/// A mapping, up to the first NUL, compiles or says why not, and says of the document
/// behind it only what may be stored.
pub(crate) fn mapping(data: &[u8]) {
    let Some(nul) = data.iter().position(|byte| *byte == 0) else { return };
    let Ok(toml) = std::str::from_utf8(&data[..nul]) else { return };
    match Mapping::parse(toml) {
        Ok(mapping) => decoding_with(&data[nul + 1..], Timestamp::clamped(1_795_176_000_000), &[Arc::new(mapping)]),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn decoding_with(bytes: &[u8], received: Timestamp, mappings: &[Arc<Mapping>]) {
    let zone = Zone::parse("America/St_Johns").unwrap();
    let hello = GatewayId::parse("gw-0001").unwrap();
    let context = Context { received, zone: &zone, hello_gateway: Some(&hello), mappings };
    let decode = |bytes: &[u8]| decode(bytes, &context);
    match decode(bytes) {
        Ok(decoded) => {
            may_be_stored(&decoded, bytes);
            let _ = loss_by_mask(&mask_credentials(bytes), &decoded, decode);
            is_framed(bytes, &decoded, decode);
        }
        Err(error) => may_be_told(&error),
    }
}

fn may_be_stored(decoded: &Decoded, bytes: &[u8]) {
    assert!(decoded.gateway.is_some());
    assert!(decoded.seq.as_ref().is_none_or(|seq| seq.chars().count() <= 64 && !seq.chars().any(char::is_control)));
    let mut sensors = HashSet::new();
    for sensor in &decoded.sensors {
        assert!(sensors.insert(&sensor.id), "{} is there twice", sensor.id);
        is_a_name(sensor.id.as_str());
    }
    // Each costs its sender some bytes.
    assert!(decoded.readings.len() + decoded.refused.len() <= bytes.len());
    for reading in &decoded.readings {
        assert!(reading.sensor < decoded.sensors.len());
        is_a_name(reading.metric.as_str());
        assert!(reading.time >= Timestamp::MIN && reading.time <= Timestamp::MAX);
        assert!(reading.value.is_finite());
        let (unit, value) = canonical(reading);
        assert!(value.is_finite() && unit.as_str().chars().count() <= 32);
        // Canonical is canonical.
        let mut again = reading.clone();
        (again.unit, again.value, again.assumed_unit) = (unit.clone(), value, "");
        assert_eq!(canonical(&again), (unit, value));
    }
    for refused in &decoded.refused {
        assert!(refused.code.is_of_reading() && refused.line > 0 && !refused.reason.is_empty(), "{refused:?}");
    }
}

fn is_a_name(name: &str) {
    assert!((1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control), "{name:?}");
}

fn may_be_told(error: &DecodeError) {
    let is_of_document = matches!(
        error.code,
        RefusalCode::Malformed
            | RefusalCode::Doctype
            | RefusalCode::Encoding
            | RefusalCode::Unsupported
            | RefusalCode::NoReadings
            | RefusalCode::BadKey
            | RefusalCode::TooDeep
            | RefusalCode::TooLarge
    );
    assert!(is_of_document && !error.message.is_empty(), "{error:?}");
}

/// What is decoded as a whole comes out of a stream as one document that says the
/// same, unless it is beyond the limits of streams.
fn is_framed(bytes: &[u8], decoded: &Decoded, decode: impl Fn(&[u8]) -> Result<Decoded, DecodeError>) {
    let (start, end) = match Framer::new(Limits::default()).next(bytes) {
        Ok(Frame::Document { start, end }) => (start, end),
        Err(FrameError { code: RefusalCode::TooDeep | RefusalCode::TooLarge, .. }) => return,
        other => panic!("decoded and not framed: {other:?}"),
    };
    let mut behind = Framer::new(Limits::default());
    assert!(matches!(behind.next(&bytes[end..]), Ok(Frame::Incomplete { .. })) && behind.at_boundary(), "something is behind it");
    let again = decode(&bytes[start..end]).unwrap();
    assert_eq!(
        (&again.gateway, &again.seq, &again.sensors, &again.readings, again.refused.len()),
        (&decoded.gateway, &decoded.seq, &decoded.sensors, &decoded.readings, decoded.refused.len())
    );
}
