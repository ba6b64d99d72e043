//! Framing and decoding of gateway XML: bytes to documents to readings.
//!
//! Two steps, both pure. A [`Framer`] cuts a byte stream into documents however
//! it arrives, and holds it to its [`Limits`]; [`decode`] recognises the dialect
//! of one document and yields its readings, with every reading that had to be
//! refused beside them. Nothing here reads a clock, a socket or a file, follows
//! a reference out of a document, or takes more than linear time.

mod acquisuite;
mod credentials;
mod decode;
mod dialect;
mod egauge;
mod framing;
mod harvest;
mod limits;
mod local_time;
mod mapping;
mod mii;
mod native;
mod number;
mod rainforest;
mod senml;
mod sensors;
mod sma;
mod sunspec;
mod text;
mod written_time;
mod xml;

pub use credentials::{loss_by_mask, mask_credentials, mask_text};
pub use decode::{
    Context, DecodeError, Decoded, DecodedReading, DecodedSensor, Refused, Salvaged, Zones, canonical, canonical_text, decode,
    salvage, salvage_by,
};
pub use dialect::Dialect;
pub use framing::{Frame, FrameError, Framer};
pub use limits::Limits;
pub use mapping::{Mapping, MappingError, profile_source, profiles};
pub use native::NAMESPACE as NATIVE_NAMESPACE;
