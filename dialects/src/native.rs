//! The native push: `push` with sensors and their readings, and `hello`. The
//! contract is docs/protocol.md with docs/push.xsd.

use heliograph_domain::{GatewayId, GatewayKey, Kind, MetricName, Quantity, RefusalCode, SensorRole, Timestamp, Unit};

use crate::decode::{Context, Decoded, DecodedReading, Lines, Refusal, Refused, Salvaged};
use crate::dialect::Dialect;
use crate::local_time::LocalTimes;
use crate::number::parse_number;
use crate::sensors::Sensors;
use crate::text::{shown, trim};
use crate::written_time::{WrittenTime, parse_time};
use crate::xml::{Event, Parser, XmlError};

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
    let is_hello = parser.local_name().eq_ignore_ascii_case("hello");
    if is_hello && gateway.is_none() {
        return Err(Refusal::Document(RefusalCode::Malformed, "hello has no gateway".to_owned()));
    }
    let mut push = Push::new(parser, context);
    if is_hello {
        parser.skip()?;
    } else {
        push.read(parser)?;
    }
    push.local_times.settle(&mut push.readings, context.received);
    Ok(Decoded {
        dialect: Dialect::Native,
        gateway,
        key,
        seq,
        is_hello,
        sensors: push.sensors.into_list(),
        readings: push.readings,
        refused: push.refused,
    })
}

/// What the root's start tag says, as far as it can be read.
pub(crate) fn salvage(parser: &Parser<'_>) -> Salvaged {
    Salvaged { seq: seq(parser).ok().flatten(), gateway: gateway(parser).ok().flatten() }
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

/// Why one reading is refused.
type Fault = (RefusalCode, String);

struct Push<'a, 'c> {
    received: Timestamp,
    lines: Lines<'a>,
    local_times: LocalTimes<'c>,
    sensors: Sensors,
    readings: Vec<DecodedReading>,
    refused: Vec<Refused>,
}

/// What the start tag of a reading says.
struct Head {
    metric: MetricName,
    unit: Unit,
    time: Option<WrittenTime>,
    kind: Option<Kind>,
    quantity: Option<Quantity>,
}

impl<'a, 'c> Push<'a, 'c> {
    fn new(parser: &Parser<'a>, context: &Context<'c>) -> Self {
        Self {
            received: context.received,
            lines: Lines::new(parser.text()),
            local_times: LocalTimes::new(context.zone),
            sensors: Sensors::default(),
            readings: Vec::with_capacity(parser.text().len() / BYTES_A_READING),
            refused: Vec::new(),
        }
    }

    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), XmlError> {
        loop {
            match parser.next()? {
                Event::Start if is(parser, "sensor") => self.sensor(parser)?,
                Event::Start if is(parser, "reading") => self.misplaced(parser, "reading outside a sensor")?,
                Event::Start => parser.skip()?,
                Event::Text(_) => {}
                Event::End | Event::Eof => return Ok(()),
            }
        }
    }

    fn sensor(&mut self, parser: &mut Parser<'a>) -> Result<(), XmlError> {
        let sensor = self.sensor_index(parser);
        loop {
            match parser.next()? {
                Event::Start if is(parser, "reading") => self.reading(parser, sensor.as_ref())?,
                Event::Start if is(parser, "sensor") => self.misplaced(parser, "sensor inside a sensor")?,
                Event::Start => parser.skip()?,
                Event::Text(_) => {}
                Event::End | Event::Eof => return Ok(()),
            }
        }
    }

    fn sensor_index(&mut self, parser: &Parser<'_>) -> Result<usize, Fault> {
        let Some(id) = parser.attribute("id") else {
            return Err((RefusalCode::BadName, "its sensor has no id".to_owned()));
        };
        let role = parser.attribute("kind").and_then(SensorRole::recognise);
        self.sensors.index(trim(id), role).map_err(|error| (RefusalCode::BadName, error.to_string()))
    }

    fn reading(&mut self, parser: &mut Parser<'a>, sensor: Result<&usize, &Fault>) -> Result<(), XmlError> {
        let at = parser.offset();
        let head = head(parser);
        let text = parser.text_of_element()?;
        let reading = sensor.map_err(Fault::clone).and_then(|sensor| self.assemble(*sensor, head?, &text));
        match reading {
            Ok(reading) => self.readings.push(reading),
            Err((code, reason)) => self.refuse(at, code, reason),
        }
        Ok(())
    }

    fn assemble(&mut self, sensor: usize, head: Head, text: &str) -> Result<DecodedReading, Fault> {
        let value = parse_number(text).ok_or_else(|| {
            let what = if trim(text).is_empty() { "value is empty".to_owned() } else { not_finite(text) };
            (RefusalCode::BadValue, what)
        })?;
        let Head { metric, unit, time, kind, quantity } = head;
        let time = match time {
            None => self.received,
            Some(WrittenTime::Instant(time)) => time,
            Some(WrittenTime::Local(local)) => self
                .local_times
                .instant(self.readings.len(), local)
                .ok_or_else(|| (RefusalCode::BadTime, "time lies outside the years 0 to 9999".to_owned()))?,
        };
        Ok(DecodedReading { sensor, metric, unit, time, value, kind, quantity, ambiguous_time: false })
    }

    /// Readings must not vanish in an element that stands where it means nothing.
    fn misplaced(&mut self, parser: &mut Parser<'a>, what: &str) -> Result<(), XmlError> {
        self.refuse(parser.offset(), RefusalCode::BadName, what.to_owned());
        parser.skip()
    }

    fn refuse(&mut self, at: usize, code: RefusalCode, reason: String) {
        let line = self.lines.line_of(at);
        self.refused.push(Refused { code, line, reason });
    }
}

fn not_finite(text: &str) -> String {
    format!("value {} is not a finite decimal number", shown(trim(text)))
}

/// Whether the parser stands at this element, of the native namespace or of none.
fn is(parser: &Parser<'_>, name: &str) -> bool {
    parser.local_name().eq_ignore_ascii_case(name) && parser.namespace().is_none_or(|uri| uri == NAMESPACE)
}

fn head(parser: &Parser<'_>) -> Result<Head, Fault> {
    let bad_name = |error: heliograph_domain::ParseError| (RefusalCode::BadName, error.to_string());
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
        metric: MetricName::parse(metric).map_err(bad_name)?,
        unit: Unit::parse(head.unit.unwrap_or_default()).map_err(bad_name)?,
        time: head.time.map(written_time).transpose()?,
        kind: head.kind.map(|text| Kind::parse(text).map_err(|_| not_one(text, "kind"))).transpose()?,
        quantity: head.quantity.map(|text| Quantity::parse(text).map_err(|_| not_one(text, "quantity"))).transpose()?,
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

fn written_time(text: &str) -> Result<WrittenTime, Fault> {
    parse_time(text).ok_or_else(|| (RefusalCode::BadTime, format!("time {} cannot be read", shown(text))))
}

fn not_one(text: &str, what: &str) -> Fault {
    (RefusalCode::BadName, format!("{what} {} is not known", shown(text)))
}
