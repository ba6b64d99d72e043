//! The native push: `push` with sensors and their readings, and `hello`. The
//! contract is docs/protocol.md with docs/push.xsd.

use heliograph_domain::{GatewayId, GatewayKey, Kind, MetricName, Quantity, RefusalCode, SensorRole, Unit};

use crate::decode::{Context, Decoded, Fault, Refusal, Salvaged};
use crate::dialect::Dialect;
use crate::harvest::{Harvest, Meaning, When, bad_name, bad_value};
use crate::number::parse_number;
use crate::text::{shown, trim};
use crate::xml::{Parser, XmlError};

/// The namespace of native documents, for those that use one.
pub const NAMESPACE: &str = "urn:heliograph:push:1";

/// The longest `seq`, in characters.
const SEQ_CHARS: usize = 64;

/// About as short as readings get in practice: to make room for them at once.
const BYTES_A_READING: usize = 80;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let seq = seq(parser)?;
    let gateway = gateway(parser)?;
    let key = key(parser)?;
    let is_hello = parser.is("hello");
    if is_hello && gateway.is_none() {
        return Err(Refusal::Document(RefusalCode::Malformed, "hello has no gateway".to_owned()));
    }
    let mut push = Push { harvest: Harvest::new(parser, context, BYTES_A_READING) };
    if is_hello {
        parser.skip()?;
    } else {
        push.read(parser)?;
    }
    Ok(Decoded { key, seq, is_hello, ..push.harvest.into_decoded(Dialect::Native, gateway)? })
}

/// What the root's start tag says, as far as it can be read.
pub(crate) fn salvage(parser: &Parser<'_>) -> Salvaged {
    let dialect = Some(Dialect::Native);
    let (seq, gateway, key) = (seq(parser).ok(), gateway(parser).ok(), key(parser).ok());
    Salvaged { seq: seq.flatten(), gateway: gateway.flatten(), key: key.flatten(), dialect }
}

fn seq(parser: &Parser<'_>) -> Result<Option<String>, Refusal> {
    let Some(text) = parser.attribute("seq") else { return Ok(None) };
    let malformed = |what: String| Err(Refusal::Document(RefusalCode::Malformed, what));
    if text.chars().nth(SEQ_CHARS).is_some() {
        return malformed(format!("seq is longer than {SEQ_CHARS} characters"));
    }
    if text.chars().any(char::is_control) {
        return malformed("seq contains a control character".to_owned());
    }
    Ok(Some(text.to_owned()))
}

fn gateway(parser: &Parser<'_>) -> Result<Option<GatewayId>, Refusal> {
    let parsed = parser.attribute("gateway").map(|text| GatewayId::parse(trim(text)));
    parsed.transpose().map_err(|error| Refusal::Document(RefusalCode::Malformed, error.to_string()))
}

fn key(parser: &Parser<'_>) -> Result<Option<GatewayKey>, Refusal> {
    let parsed = parser.attribute("key").map(GatewayKey::parse);
    parsed.transpose().map_err(|error| Refusal::Document(RefusalCode::BadKey, error.to_string()))
}

struct Push<'a, 'c> {
    harvest: Harvest<'a, 'c>,
}

/// What the start tag of a reading says.
struct Head {
    metric: MetricName,
    unit: Unit,
    when: When,
    meaning: Meaning,
}

impl<'a> Push<'a, '_> {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), XmlError> {
        parser.each_child(|parser| match () {
            () if is(parser, "sensor") => self.sensor(parser),
            () if is(parser, "reading") => self.misplaced(parser, "reading outside a sensor"),
            () => parser.skip(),
        })
    }

    fn sensor(&mut self, parser: &mut Parser<'a>) -> Result<(), XmlError> {
        let sensor = self.sensor_index(parser);
        parser.each_child(|parser| match () {
            () if is(parser, "reading") => self.reading(parser, sensor.as_ref()),
            () if is(parser, "sensor") => self.misplaced(parser, "sensor inside a sensor"),
            () => parser.skip(),
        })
    }

    fn sensor_index(&mut self, parser: &Parser<'_>) -> Result<usize, Fault> {
        let Some(id) = parser.attribute("id") else {
            return Err((RefusalCode::BadName, "its sensor has no id".to_owned()));
        };
        let role = parser.attribute("kind").and_then(SensorRole::recognise);
        self.harvest.sensor(id, role)
    }

    fn reading(&mut self, parser: &mut Parser<'a>, sensor: Result<&usize, &Fault>) -> Result<(), XmlError> {
        let at = parser.offset();
        let head = head(parser);
        let text = parser.text_of_element()?;
        let taken = sensor.map_err(Fault::clone).and_then(|sensor| {
            let Head { metric, unit, when, meaning } = head?;
            let value = parse_number(&text).ok_or_else(|| bad_value(&text))?;
            self.harvest.push(*sensor, metric, unit, when, value, meaning)
        });
        if let Err(fault) = taken {
            self.harvest.refuse(at, fault);
        }
        Ok(())
    }

    /// Readings must not vanish in an element that stands where it means nothing.
    fn misplaced(&mut self, parser: &mut Parser<'a>, what: &str) -> Result<(), XmlError> {
        self.harvest.refuse(parser.offset(), (RefusalCode::BadName, what.to_owned()));
        parser.skip()
    }
}

/// Whether the parser stands at this element, of the native namespace or of none.
fn is(parser: &Parser<'_>, name: &str) -> bool {
    parser.is(name) && parser.namespace().is_none_or(|uri| uri == NAMESPACE)
}

fn head(parser: &Parser<'_>) -> Result<Head, Fault> {
    let mut head = Parts::default();
    for (name, value) in parser.attributes() {
        match name {
            "metric" => head.metric = Some(trim(value)),
            "unit" => head.unit = Some(trim(value)),
            "time" => head.time = Some(trim(value)),
            "kind" => head.kind = Some(trim(value)),
            "quantity" => head.quantity = Some(trim(value)),
            _ => {}
        }
    }
    let metric = head.metric.ok_or_else(|| (RefusalCode::BadName, "reading has no metric".to_owned()))?;
    Ok(Head {
        metric: MetricName::parse(metric).map_err(|error| bad_name(&error))?,
        unit: Unit::parse(head.unit.unwrap_or_default()).map_err(|error| bad_name(&error))?,
        when: head.time.map_or(Ok(When::Received), written_time)?,
        meaning: Meaning {
            kind: head.kind.map(|text| Kind::parse(text).map_err(|_| not_one(text, "kind"))).transpose()?,
            quantity: head.quantity.map(|text| Quantity::parse(text).map_err(|_| not_one(text, "quantity"))).transpose()?,
            assumed_unit: "",
        },
    })
}

/// The attributes of a reading, not yet checked.
#[derive(Default)]
struct Parts<'p> {
    metric: Option<&'p str>,
    unit: Option<&'p str>,
    time: Option<&'p str>,
    kind: Option<&'p str>,
    quantity: Option<&'p str>,
}

/// A time that is written, and so must be one.
fn written_time(text: &str) -> Result<When, Fault> {
    match text {
        "" => Err((RefusalCode::BadTime, "time \"\" cannot be read".to_owned())),
        text => When::written(text),
    }
}

fn not_one(text: &str, what: &str) -> Fault {
    (RefusalCode::BadName, format!("{what} {} is not known", shown(text)))
}
