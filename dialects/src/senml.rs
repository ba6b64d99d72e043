//! SenML as XML (RFC 8428 section 7), and the form of its drafts: a root `senml`
//! that carries the base fields, with `e` children.
//!
//! A record is a reading of the sensor `bn` + `n`, metric `value`, in `u` or
//! `bu`. A sum (`s`, raised by `bs`) is one of the metric `sum`, whose unit is
//! that of the record times seconds, as the RFC says. Records of texts, booleans
//! and data are not readings. The gateway is the connection's: SenML names none.

use heliograph_domain::{MetricName, RefusalCode, Timestamp, Unit};

use crate::decode::{Context, Decoded, DecodedReading, Lines, Refusal, Refused};
use crate::dialect::Dialect;
use crate::number::parse_number;
use crate::sensors::Sensors;
use crate::text::{shown, trim};
use crate::xml::{Event, Parser};

/// The namespace of SenML and of its drafts.
pub(crate) const NAMESPACE: &str = "urn:ietf:params:xml:ns:senml";

/// The highest version that is understood (RFC 8428 section 4.4).
const VERSION: f64 = 10.0;

/// About as short as records get in practice: to make room for them at once.
const BYTES_A_RECORD: usize = 40;

/// Times below this many seconds count from now (RFC 8428 section 4.5.3).
const RELATIVE_BELOW: f64 = 268_435_456.0;

/// Decodes a pack whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut pack = Pack::new(parser, context.received);
    pack.base.take(parser)?;
    loop {
        match parser.next()? {
            Event::Start if is_record(parser) => {
                pack.record(parser)?;
                parser.skip()?;
            }
            Event::Start => parser.skip()?,
            Event::Text(_) => {}
            Event::End | Event::Eof => break,
        }
    }
    Ok(Decoded {
        dialect: Dialect::SenMl,
        gateway: None,
        key: None,
        seq: None,
        is_hello: false,
        sensors: pack.sensors.into_list(),
        readings: pack.readings,
        refused: pack.refused,
    })
}

fn is_record(parser: &Parser<'_>) -> bool {
    matches!(parser.local_name(), "senml" | "e") && parser.namespace().is_none_or(|uri| uri == NAMESPACE)
}

/// Base fields: each holds from the record that states it to the next that does.
/// A number that can't be read is kept as NaN, which refuses what it enters.
#[derive(Debug, Default)]
struct Base {
    name: String,
    time: f64,
    unit: String,
    value: Option<f64>,
    sum: f64,
}

impl Base {
    fn take(&mut self, parser: &Parser<'_>) -> Result<(), Refusal> {
        for (label, text) in parser.attributes() {
            match label {
                "bn" => self.name = text.to_owned(),
                "bt" => self.time = number(text),
                "bu" => self.unit = trim(text).to_owned(),
                // Drafts: a boolean value of the record.
                "bv" if matches!(trim(text), "true" | "false") => {}
                "bv" => self.value = Some(number(text)),
                "bs" => self.sum = number(text),
                "bver" | "ver" => check_version(text)?,
                _ if label.ends_with('_') => {
                    let what = format!("SenML label {} must be understood and is not", shown(label));
                    return Err(Refusal::Document(RefusalCode::Unsupported, what));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_version(text: &str) -> Result<(), Refusal> {
    match parse_number(text) {
        Some(version) if version <= VERSION => Ok(()),
        Some(_) => {
            let what = format!("SenML version {} is above {VERSION}", shown(text));
            Err(Refusal::Document(RefusalCode::Unsupported, what))
        }
        None => Err(Refusal::Document(RefusalCode::Malformed, format!("SenML version {} is not a number", shown(text)))),
    }
}

/// Why one reading is refused.
type Fault = (RefusalCode, String);

struct Pack<'a> {
    received: Timestamp,
    lines: Lines<'a>,
    base: Base,
    /// Where `bn` + `n` is put together.
    name: String,
    value_metric: Option<MetricName>,
    sum_metric: Option<MetricName>,
    sensors: Sensors,
    readings: Vec<DecodedReading>,
    refused: Vec<Refused>,
}

/// The fields of one record, as written.
#[derive(Default)]
struct Fields<'p> {
    name: &'p str,
    unit: Option<&'p str>,
    time: Option<&'p str>,
    value: Option<&'p str>,
    sum: Option<&'p str>,
    /// A text, boolean or data value.
    other_value: bool,
}

impl<'a> Pack<'a> {
    fn new(parser: &Parser<'a>, received: Timestamp) -> Self {
        Self {
            received,
            lines: Lines::new(parser.text()),
            base: Base::default(),
            name: String::new(),
            value_metric: MetricName::parse("value").ok(),
            sum_metric: MetricName::parse("sum").ok(),
            sensors: Sensors::default(),
            readings: Vec::with_capacity(parser.text().len() / BYTES_A_RECORD),
            refused: Vec::new(),
        }
    }

    fn record(&mut self, parser: &Parser<'a>) -> Result<(), Refusal> {
        self.base.take(parser)?;
        let fields = fields(parser);
        for reading in [self.value(&fields), self.sum(&fields)].into_iter().flatten() {
            match reading {
                Ok(reading) => self.readings.push(reading),
                Err((code, reason)) => {
                    let line = self.lines.line_of(parser.offset());
                    self.refused.push(Refused { code, line, reason });
                }
            }
        }
        Ok(())
    }

    /// The reading of `v`; of `bv` alone where a record has no value of its own.
    fn value(&mut self, fields: &Fields<'_>) -> Option<Result<DecodedReading, Fault>> {
        let value = match (fields.value, self.base.value) {
            (Some(text), base) => finite(number(text) + base.unwrap_or(0.0), text),
            (None, _) if fields.other_value || fields.sum.is_some() || fields.only_base() => return None,
            (None, Some(base)) => finite(base, "of the base"),
            (None, None) => Err((RefusalCode::BadValue, "record has no value".to_owned())),
        };
        let unit = fields.unit.unwrap_or(&self.base.unit).to_owned();
        let metric = self.value_metric.clone()?;
        Some(value.and_then(|value| self.reading(fields, metric, &unit, value)))
    }

    fn sum(&mut self, fields: &Fields<'_>) -> Option<Result<DecodedReading, Fault>> {
        let text = fields.sum?;
        let unit = match fields.unit.unwrap_or(&self.base.unit) {
            "" => "s".to_owned(),
            unit => format!("{unit}*s"),
        };
        let metric = self.sum_metric.clone()?;
        Some(finite(number(text) + self.base.sum, text).and_then(|value| self.reading(fields, metric, &unit, value)))
    }

    fn reading(&mut self, fields: &Fields<'_>, metric: MetricName, unit: &str, value: f64) -> Result<DecodedReading, Fault> {
        let time = self.time(fields.time)?;
        let bad_name = |error: heliograph_domain::ParseError| (RefusalCode::BadName, error.to_string());
        let unit = Unit::parse(unit).map_err(bad_name)?;
        self.name.clear();
        self.name.push_str(&self.base.name);
        self.name.push_str(fields.name);
        let sensor = self.sensors.index(trim(&self.name), None).map_err(bad_name)?;
        Ok(DecodedReading { sensor, metric, unit, time, value, kind: None, quantity: None, ambiguous_time: false })
    }

    fn time(&self, text: Option<&str>) -> Result<Timestamp, Fault> {
        let seconds = self.base.time + text.map_or(0.0, number);
        let bad_time = |what: &str| (RefusalCode::BadTime, format!("time {} {what}", shown(text.unwrap_or("of the base"))));
        if !seconds.is_finite() {
            return Err(bad_time("is not a finite number"));
        }
        let origin = if seconds < RELATIVE_BELOW { self.received.as_millis() } else { 0 };
        let millis = origin.saturating_add((seconds * 1000.0).round() as i64);
        Timestamp::from_millis(millis).map_err(|_| bad_time("lies outside the years 0 to 9999"))
    }
}

impl Fields<'_> {
    /// Whether it only sets base fields for the records after it.
    fn only_base(&self) -> bool {
        self.name.is_empty() && self.unit.is_none() && self.time.is_none()
    }
}

fn fields<'p>(parser: &'p Parser<'_>) -> Fields<'p> {
    let mut fields = Fields::default();
    for (label, text) in parser.attributes() {
        match label {
            "n" => fields.name = text,
            "u" => fields.unit = Some(trim(text)),
            "t" => fields.time = Some(text),
            "v" => fields.value = Some(text),
            "s" => fields.sum = Some(text),
            "vs" | "vb" | "vd" | "sv" => fields.other_value = true,
            "bv" if matches!(trim(text), "true" | "false") => fields.other_value = true,
            _ => {}
        }
    }
    fields
}

/// A number, or NaN.
fn number(text: &str) -> f64 {
    parse_number(text).unwrap_or(f64::NAN)
}

fn finite(value: f64, text: &str) -> Result<f64, Fault> {
    match value.is_finite() {
        true => Ok(value),
        false => Err((RefusalCode::BadValue, format!("value {} is not a finite decimal number", shown(text)))),
    }
}
