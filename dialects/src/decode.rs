//! From one document to its readings, whatever its dialect.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use heliograph_domain::{
    GatewayId, GatewayKey, Kind, MetricName, Quantity, RefusalCode, SensorId, SensorRole, Timestamp, Unit, Zone, canonical_unit,
};

use crate::credentials::mask_text;
use crate::dialect::Dialect;
use crate::mapping::{Mapping, profiles};
use crate::xml::{self, Parser, XmlError};
use crate::{acquisuite, egauge, mii, native, rainforest, senml, sma, sunspec};

/// Everything a decoder needs that isn't in the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// When the document was received: the time of readings that carry none.
    pub received: Timestamp,
    /// The zone of times that carry none, by their gateway.
    pub zone: &'a dyn Zones,
    /// The gateway that the connection's `hello` named, for documents that name none.
    pub hello_gateway: Option<&'a GatewayId>,
    /// The provider's own mappings, which go before those of the product.
    pub mappings: &'a [Arc<Mapping>],
}

/// The zones of gateways. A [`Zone`] is that of all of them.
pub trait Zones: Debug {
    /// The zone of a gateway's local times; of `None`, where it is not known whose.
    fn of(&self, gateway: Option<&GatewayId>) -> &Zone;
}

impl Zones for Zone {
    fn of(&self, _: Option<&GatewayId>) -> &Zone {
        self
    }
}

/// What a document says.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// How it says it.
    pub dialect: Dialect,
    /// Who it is from: as it says, else as the connection's `hello` said.
    pub gateway: Option<GatewayId>,
    /// The key it carries.
    pub key: Option<GatewayKey>,
    /// The token to echo: up to 64 characters, no control characters.
    pub seq: Option<String>,
    /// Whether it is a `hello`, which introduces a gateway and has no readings.
    pub is_hello: bool,
    /// The sensors it names, each once.
    pub sensors: Vec<DecodedSensor>,
    /// The readings in the document's order; of equal keys all are here.
    pub readings: Vec<DecodedReading>,
    /// The readings that had to be refused.
    pub refused: Vec<Refused>,
}

/// A sensor of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedSensor {
    /// What the gateway calls it.
    pub id: SensorId,
    /// What it says it is, where that is recognised.
    pub role: Option<SensorRole>,
}

/// A reading as the dialect states it; [`canonical`] gives it in canonical units.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedReading {
    /// Index into [`Decoded::sensors`].
    pub sensor: usize,
    /// What the sensor calls the measurement.
    pub metric: MetricName,
    /// The unit as written; empty where there is none.
    pub unit: Unit,
    /// When it was measured; else the receive time.
    pub time: Timestamp,
    /// What was measured, in `unit`; finite.
    pub value: f64,
    /// How the numbers of the series behave, where stated.
    pub kind: Option<Kind>,
    /// What they mean, where stated.
    pub quantity: Option<Quantity>,
    /// Where `unit` is empty: the one that the dialect's rules give the series;
    /// empty where they give none.
    pub assumed_unit: &'static str,
    /// The time was local and stood for two instants; `time` is one of them.
    pub ambiguous_time: bool,
    /// Whether the gateway's clock says `time`; else it is when the document was
    /// received, or counted from that.
    pub own_time: bool,
}

/// A reading that was refused; the rest of its document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `bad-value`, `bad-time` or `bad-name`.
    pub code: RefusalCode,
    /// The line of the document on which the reading begins, from 1.
    pub line: u64,
    /// What is wrong, for a person; generated keys in it are masked.
    pub reason: String,
}

/// Why a whole document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// The code for the `nack`.
    pub code: RefusalCode,
    /// What is wrong and where; generated keys in it are masked.
    pub message: String,
    /// Its token, where it can be read, so that a `nack` can echo it.
    pub seq: Option<String>,
    /// Its gateway, where it can be read.
    pub gateway: Option<GatewayId>,
}

/// What can still be read of a document that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// The token of a native document.
    pub seq: Option<String>,
    /// The gateway that it names.
    pub gateway: Option<GatewayId>,
    /// The key that a native document carries.
    pub key: Option<GatewayKey>,
    /// What it is, by its root element.
    pub dialect: Option<Dialect>,
}

/// Decodes one whole document, in time and memory linear in its bytes. Nothing
/// outside the bytes is opened: a DOCTYPE's external id is not followed.
///
/// # Errors
/// When the document as a whole has to be refused: `malformed`, `doctype`,
/// `encoding`, `unsupported`, `bad-key`, and `too-deep` or `too-large` beyond
/// far ceilings that a [`Framer`](crate::Framer) never lets it reach.
pub fn decode(bytes: &[u8], context: &Context<'_>) -> Result<Decoded, DecodeError> {
    let mut decoded = decode_inner(bytes, context).map_err(|(code, message)| {
        let Salvaged { seq, gateway, .. } = salvage(bytes);
        DecodeError { code, message: mask_text(&message), seq, gateway }
    })?;
    for refused in &mut decoded.refused {
        refused.reason = mask_text(&refused.reason);
    }
    decoded.gateway = decoded.gateway.or_else(|| context.hello_gateway.cloned());
    Ok(decoded)
}

/// Reads `seq` and gateway from the root's start tag alone. `bytes` may be cut
/// or broken behind it; what can't be read is `None`.
#[must_use]
pub fn salvage(bytes: &[u8]) -> Salvaged {
    salvage_by(bytes, &[])
}

/// The same where a provider has mappings of its own.
#[must_use]
pub fn salvage_by(bytes: &[u8], mappings: &[Arc<Mapping>]) -> Salvaged {
    let text = xml::readable_part(bytes);
    let mut parser = Parser::over_part(&text);
    match parser.root() {
        Ok(Some(_)) => match recognise(&parser) {
            Some(Dialect::Native) => native::salvage(&parser),
            Some(dialect) => Salvaged { dialect: Some(dialect), ..Salvaged::default() },
            None => {
                let mut all = mappings.iter().chain(profiles());
                let known = all.any(|mapping| mapping.is_for(parser.local_name(), parser.namespace()));
                Salvaged { dialect: known.then_some(Dialect::Mapped), ..Salvaged::default() }
            }
        },
        _ => Salvaged::default(),
    }
}

impl Mapping {
    /// Whether a document is one that it would read: of no dialect, with its root.
    #[must_use]
    pub fn is_for_document(&self, bytes: &[u8]) -> bool {
        let text = xml::readable_part(bytes);
        let mut parser = Parser::over_part(&text);
        let has_root = matches!(parser.root(), Ok(Some(_)));
        has_root && recognise(&parser).is_none() && self.is_for(parser.local_name(), parser.namespace())
    }
}

/// The canonical unit of a reading and its value in it. A unit that is not known
/// stays as it came; so does a value too large for the canonical unit.
#[must_use]
pub fn canonical(reading: &DecodedReading) -> (Unit, f64) {
    let (unit, value) = canonical_text(reading);
    (Unit::parse(unit).unwrap_or_else(|_| reading.unit.clone()), value)
}

/// The same, with the unit as a text.
#[must_use]
pub fn canonical_text(reading: &DecodedReading) -> (&str, f64) {
    let written = reading.unit.as_str();
    let known = canonical_unit(if written.is_empty() { reading.assumed_unit } else { written })
        .map(|scaled| match scaled.unit {
            // The zeros of two scales of temperature are apart, differences on them are not.
            "°C" if is_difference(reading.metric.as_str()) => ("K", reading.value * scaled.factor),
            unit => (unit, scaled.apply(reading.value)),
        })
        .filter(|(_, value)| value.is_finite());
    known.unwrap_or((written, reading.value))
}

/// Whether a metric says that it is the difference of two values.
fn is_difference(metric: &str) -> bool {
    let says = |word: &str| metric.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    says("difference") || says("delta")
}

/// Why one reading is refused.
pub(crate) type Fault = (RefusalCode, String);

/// A refusal of the whole document, before it is known what can be salvaged.
pub(crate) type Fatal = (RefusalCode, String);

fn decode_inner(bytes: &[u8], context: &Context<'_>) -> Result<Decoded, Fatal> {
    let text = xml::text_of(bytes).map_err(|error| described(&error, bytes))?;
    let mut parser = Parser::new(&text).map_err(|error| described(&error, text.as_bytes()))?;
    let is_utf_8 = matches!(text, Cow::Borrowed(_));
    decode_text(&mut parser, is_utf_8, context).map_err(|refusal| match refusal {
        Refusal::Xml(error) => described(&error, text.as_bytes()),
        Refusal::Document(code, message) => (code, message),
    })
}

/// An element that says something has so many bytes at least: `<c>1</c>`. What a
/// decoder keeps of one that says nothing, such as `<c/>`, may be many times as large,
/// so that a document has no more elements than it would have of these.
const BYTES_AN_ELEMENT: usize = 7;

/// Elements that even a short document may have, whatever they say.
const SOME_ELEMENTS: usize = 1_000;

fn decode_text(parser: &mut Parser<'_>, is_utf_8: bool, context: &Context<'_>) -> Result<Decoded, Refusal> {
    parser.root()?;
    let dialect = recognise(parser);
    if dialect == Some(Dialect::SenMl) && !is_utf_8 {
        // RFC 8428 section 7, whatever the declaration says.
        return Err(Refusal::Document(RefusalCode::Encoding, "SenML is written in UTF-8 and nothing else".to_owned()));
    }
    if !matches!(dialect, Some(Dialect::Native | Dialect::SenMl)) {
        parser.limit_elements(SOME_ELEMENTS + parser.text().len() / BYTES_AN_ELEMENT);
    }
    let decoded = match dialect {
        Some(Dialect::Native) => native::decode(parser, context)?,
        Some(Dialect::SenMl) => senml::decode(parser, context)?,
        Some(Dialect::SunSpec) => sunspec::decode(parser, context)?,
        Some(Dialect::AcquiSuite) => acquisuite::decode(parser, context)?,
        Some(Dialect::EGauge) => egauge::decode(parser, context)?,
        Some(Dialect::Rainforest) => rainforest::decode(parser, context)?,
        Some(Dialect::Mii) => mii::decode(parser, context)?,
        Some(Dialect::Sma) => sma::decode(parser, context)?,
        Some(Dialect::Mapped) | None => match mapping_for(parser, context) {
            Some(mapping) => mapping.decode(parser, context)?,
            None => {
                let refusal = unsupported(parser);
                parser.finish()?;
                return Err(refusal);
            }
        },
    };
    parser.finish()?;
    Ok(decoded)
}

fn recognise(parser: &Parser<'_>) -> Option<Dialect> {
    Dialect::recognise(parser.local_name(), parser.namespace(), parser.attribute("serial").is_some())
}

/// The first mapping for the root at hand: the provider's own, then the product's.
fn mapping_for(parser: &Parser<'_>, context: &Context<'_>) -> Option<Arc<Mapping>> {
    let (local, namespace) = (parser.local_name(), parser.namespace());
    context.mappings.iter().chain(profiles()).find(|mapping| mapping.is_for(local, namespace)).map(Arc::clone)
}

/// The gateway that a document names; nothing names none.
pub(crate) fn named_gateway(text: &str) -> Result<Option<GatewayId>, Refusal> {
    let text = crate::text::trim(text);
    let parsed = (!text.is_empty()).then(|| GatewayId::parse(text));
    parsed.transpose().map_err(|error| Refusal::Document(RefusalCode::Malformed, error.to_string()))
}

fn unsupported(parser: &Parser<'_>) -> Refusal {
    let root = crate::text::shown(parser.local_name());
    let message = match parser.namespace() {
        Some(uri) => format!("no dialect knows the root element {root} of namespace {}", crate::text::shown(uri)),
        None => format!("no dialect knows the root element {root}"),
    };
    Refusal::Document(RefusalCode::Unsupported, message)
}

fn described(error: &XmlError, text: &[u8]) -> Fatal {
    let before = text.get(..error.at).unwrap_or(text);
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    (error.code, format!("{} (line {line})", error.what))
}

/// Why a decoder gives a whole document up.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not well-formed.
    Xml(XmlError),
    /// It breaks a rule of its dialect.
    Document(RefusalCode, String),
}

impl From<XmlError> for Refusal {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

/// Counts lines for refusals: going forward only, so that all of them together
/// cost one pass over the document.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, counted: 0, line: 1 }
    }

    /// The line of a byte, not before the one asked for last.
    pub(crate) fn line_of(&mut self, at: usize) -> u64 {
        let between = self.text.as_bytes().get(self.counted..at).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', between).count() as u64;
        self.counted = self.counted.max(at);
        self.line
    }
}
