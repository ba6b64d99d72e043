//! SenML as XML (RFC 8428 section 7), and the form of its drafts: a root `senml`
//! that carries the base fields, with `e` children.
//!
//! A record is a reading of the sensor `bn` + `n`, metric `value`, in `u` or
//! `bu`. A sum (`s`, raised by `bs`) is one of the metric `sum`, whose unit is
//! that of the record times seconds, as the RFC says. A record with neither has the
//! value `bv` and the sum `bs`, where those are stated. Records of texts, booleans
//! and data are not readings. The gateway is the connection's: SenML names none.

use heliograph_domain::{RefusalCode, Timestamp};

use crate::decode::{Context, Decoded, Fault, Refusal};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When};
use crate::number::parse_number;
use crate::text::{bounded, shown, trim};
use crate::xml::Parser;

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
    let mut pack = Pack::new(parser, context);
    pack.base.take(parser)?;
    parser.each_child(|parser| {
        if is_record(parser) {
            pack.record(parser)?;
        }
        Ok::<_, Refusal>(parser.skip()?)
    })?;
    pack.harvest.into_decoded(Dialect::SenMl, None)
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
    sum: Option<f64>,
}

impl Base {
    fn take(&mut self, parser: &Parser<'_>) -> Result<(), Refusal> {
        for (label, text) in parser.attributes() {
            match label {
                "bn" => self.name = bounded(text).into_owned(),
                "bt" => self.time = number(text),
                "bu" => self.unit = bounded(text).into_owned(),
                // Drafts: a boolean value of the record.
                "bv" if matches!(trim(text), "true" | "false") => {}
                "bv" => self.value = Some(number(text)),
                "bs" => self.sum = Some(number(text)),
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

struct Pack<'a, 'c> {
    received: Timestamp,
    base: Base,
    /// Where `bn` + `n` is put together.
    name: String,
    harvest: Harvest<'a, 'c>,
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

impl<'a, 'c> Pack<'a, 'c> {
    fn new(parser: &Parser<'a>, context: &Context<'c>) -> Self {
        let harvest = Harvest::new(parser, context, BYTES_A_RECORD);
        Self { received: context.received, base: Base::default(), name: String::new(), harvest }
    }

    fn record(&mut self, parser: &Parser<'a>) -> Result<(), Refusal> {
        self.base.take(parser)?;
        let fields = fields(parser);
        if let Some(value) = self.value(&fields) {
            let unit = fields.unit.unwrap_or(&self.base.unit).to_owned();
            self.reading(parser.offset(), &fields, "value", &unit, value);
        }
        if let Some(sum) = self.sum(&fields) {
            let unit = match fields.unit.unwrap_or(&self.base.unit) {
                "" => "s".to_owned(),
                unit => format!("{unit}*s"),
            };
            self.reading(parser.offset(), &fields, "sum", &unit, sum);
        }
        Ok(())
    }

    /// The value of `v`; of `bv` alone where a record has no value of its own.
    fn value(&self, fields: &Fields<'_>) -> Option<Result<f64, Fault>> {
        match (fields.value, self.base.value) {
            (Some(text), base) => Some(finite(number(text) + base.unwrap_or(0.0), text)),
            (None, _) if fields.other_value || fields.sum.is_some() || fields.only_base() => None,
            (None, Some(base)) => Some(finite(base, "of the base")),
            (None, None) if self.base.sum.is_some() => None,
            (None, None) => Some(Err((RefusalCode::BadValue, "record has no value".to_owned()))),
        }
    }

    /// The sum of `s`; of `bs` alone where a record has neither value nor sum of its
    /// own.
    fn sum(&self, fields: &Fields<'_>) -> Option<Result<f64, Fault>> {
        match (fields.sum, self.base.sum) {
            (Some(text), base) => Some(finite(number(text) + base.unwrap_or(0.0), text)),
            (None, Some(base)) if !fields.has_value() && !fields.only_base() => Some(finite(base, "of the base")),
            (None, _) => None,
        }
    }

    fn reading(&mut self, at: usize, fields: &Fields<'_>, metric: &str, unit: &str, value: Result<f64, Fault>) {
        self.name.clear();
        self.name.push_str(&self.base.name);
        self.name.push_str(fields.name);
        let found = value.and_then(|value| Ok((value, self.when(fields.time)?)));
        let found = found.map(|(value, when)| {
            let meaning = Meaning::UNKNOWN;
            Found { sensor: &self.name, role: None, metric, unit, when, value, meaning }
        });
        self.harvest.take(at, found);
    }

    fn when(&self, text: Option<&str>) -> Result<When, Fault> {
        let seconds = self.base.time + text.map_or(0.0, number);
        let bad_time = |what: &str| (RefusalCode::BadTime, format!("time {} {what}", shown(text.unwrap_or("of the base"))));
        if !seconds.is_finite() {
            return Err(bad_time("is not a finite number"));
        }
        let millis = (seconds * 1000.0).round() as i64;
        let instant = |millis| Timestamp::from_millis(millis).map_err(|_| bad_time("lies outside the years 0 to 9999"));
        match seconds < RELATIVE_BELOW {
            true => instant(self.received.as_millis().saturating_add(millis)).map(When::Counted),
            false => instant(millis).map(When::At),
        }
    }
}

impl Fields<'_> {
    fn has_value(&self) -> bool {
        self.value.is_some() || self.other_value
    }

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
