//! Rainforest EAGLE and RAVEn: clusters of a smart meter's radio, in a wrapper
//! `rainforest` or bare.
//!
//! The gateway is the wrapper's `macId`; the sensor is the meter, else the device.
//! Numbers are hexadecimal, times count from the year 2000. Names match without
//! regard to case. What tells of network, device or messages holds no readings,
//! and the keys in it are never read.

use std::collections::HashMap;

use heliograph_domain::{Kind, Quantity, RefusalCode, SensorRole};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When};
use crate::text::{bounded, shown, trim};
use crate::xml::{Parser, XmlError};

/// The roots of this dialect: the wrapper, and the clusters that an adapter
/// without one sends bare.
pub(crate) const ROOTS: &[&str] = &[
    "rainforest",
    "InstantaneousDemand",
    "CurrentSummationDelivered",
    "CurrentSummation",
    "PriceCluster",
    "MessageCluster",
    "TimeCluster",
    "NetworkInfo",
    "DeviceInfo",
    "ConnectionStatus",
    "FastPollStatus",
    "ScheduleInfo",
    "MeterInfo",
    "MeterList",
    "BlockPriceDetail",
    "CurrentPeriodUsage",
    "LastPeriodUsage",
    "ProfileData",
    "HistoryData",
];

/// Seconds from 1970 to 2000, in UTC.
const EPOCH_2000: i64 = 946_684_800;

/// The fields that readings are made of, in lower case. No other is kept.
const FIELDS: &[&str] = &[
    "devicemacid",
    "metermacid",
    "timestamp",
    "demand",
    "summationdelivered",
    "summationreceived",
    "multiplier",
    "divisor",
    "unitofmeasure",
    "price",
    "trailingdigits",
    "currency",
];

/// About as short as clusters get in practice.
const BYTES_A_CLUSTER: usize = 400;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut harvest = Harvest::new(parser, context, BYTES_A_CLUSTER);
    let mut gateway = None;
    if parser.is("rainforest") {
        let attribute =
            |name: &str| parser.attributes().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        gateway = named_gateway(attribute("macId").unwrap_or_default())?;
        let sent = attribute("timestamp").map(|text| bounded(text).into_owned());
        let mac = gateway.as_ref().map(ToString::to_string);
        parser.each_child(|parser| {
            Cluster::read(parser)?.harvest(mac.as_deref(), sent.as_deref(), &mut harvest);
            Ok::<_, XmlError>(())
        })?;
    } else {
        Cluster::read(parser)?.harvest(None, None, &mut harvest);
    }
    harvest.into_decoded(Dialect::Rainforest, gateway)
}

/// One cluster: its fields by lower-case name. A field that stands twice counts
/// once.
struct Cluster {
    at: usize,
    name: String,
    fields: HashMap<&'static str, String>,
}

impl Cluster {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut cluster = Self { at: parser.offset(), name: parser.local_name().to_ascii_lowercase(), fields: HashMap::new() };
        parser.each_child(|parser| {
            let Some(field) = FIELDS.iter().find(|field| parser.is(field)) else { return parser.skip() };
            let text = bounded(&parser.text_of_element()?).into_owned();
            cluster.fields.entry(field).or_insert(text);
            Ok::<_, XmlError>(())
        })?;
        Ok(cluster)
    }

    fn harvest(&self, mac: Option<&str>, sent: Option<&str>, harvest: &mut Harvest<'_, '_>) {
        for measured in self.measured() {
            let Some(text) = self.field(measured.field) else { continue };
            let found = self.found(measured, text, mac, sent);
            // A price that is not known.
            if measured.field == "price" && text.eq_ignore_ascii_case("0xffffffff") {
                continue;
            }
            let unit = self.unit(measured);
            match (found, unit) {
                (Ok((sensor, when, value)), Ok(unit)) => harvest.take(
                    self.at,
                    Ok(Found {
                        sensor,
                        role: (measured.field != "price").then_some(SensorRole::Grid),
                        metric: measured.metric,
                        unit: &unit,
                        when,
                        value,
                        meaning: measured.meaning,
                    }),
                ),
                (Err(fault), _) | (_, Err(fault)) => harvest.refuse(self.at, fault),
            }
        }
    }

    fn measured(&self) -> &'static [Measured] {
        match self.name.as_str() {
            "instantaneousdemand" => DEMAND,
            "currentsummationdelivered" | "currentsummation" => SUMMATION,
            "pricecluster" => PRICE,
            _ => &[],
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn found<'f>(
        &'f self,
        measured: &Measured,
        text: &str,
        mac: Option<&'f str>,
        sent: Option<&str>,
    ) -> Result<(&'f str, When, f64), Fault> {
        let sensor = self.field("metermacid").or_else(|| self.field("devicemacid")).or(mac);
        let sensor = sensor.ok_or_else(|| (RefusalCode::BadName, "neither meter nor device is named".to_owned()))?;
        let number = if measured.is_signed { signed(text) } else { unsigned(text).map(|value| value as f64) };
        let number = number.ok_or_else(|| not_a_number(measured.field, text))?;
        let (multiplier, divisor) = self.scale(measured)?;
        Ok((sensor, self.when(sent)?, number * multiplier / divisor))
    }

    /// What to multiply by, then what to divide by.
    fn scale(&self, measured: &Measured) -> Result<(f64, f64), Fault> {
        if measured.field == "price" {
            let digits = self.whole("trailingdigits")?.unwrap_or(0);
            let digits = i32::try_from(digits).ok().filter(|digits| *digits <= 15);
            let digits =
                digits.ok_or_else(|| not_a_number("trailingdigits", self.field("trailingdigits").unwrap_or_default()))?;
            return Ok((1.0, 10_f64.powi(digits)));
        }
        // 0 and nothing stand for 1.
        let or_one = |value: Option<u64>| value.filter(|value| *value != 0).unwrap_or(1) as f64;
        Ok((or_one(self.whole("multiplier")?), or_one(self.whole("divisor")?)))
    }

    fn whole(&self, field: &'static str) -> Result<Option<u64>, Fault> {
        self.field(field).map(|text| unsigned(text).ok_or_else(|| not_a_number(field, text))).transpose()
    }

    /// The meter's time; where it does not know it, the wrapper's; else none.
    fn when(&self, sent: Option<&str>) -> Result<When, Fault> {
        if let Some(text) = self.field("timestamp") {
            let seconds =
                unsigned(text).ok_or_else(|| (RefusalCode::BadTime, format!("TimeStamp {} cannot be read", shown(text))))?;
            if seconds != 0 && seconds != 0xFFFF_FFFF {
                return When::unix(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(EPOCH_2000));
            }
        }
        let Some(text) = sent.map(trim).filter(|text| !text.is_empty()) else { return Ok(When::Received) };
        let digits = text.strip_suffix(['s', 'S']).unwrap_or(text);
        let unreadable = || (RefusalCode::BadTime, format!("timestamp {} cannot be read", shown(text)));
        let seconds = unsigned(digits).and_then(|seconds| i64::try_from(seconds).ok()).ok_or_else(unreadable)?;
        match seconds {
            0 => Ok(When::Received),
            // Decimal it counts from 1970, hexadecimal as the meter does.
            _ if digits.starts_with("0x") => When::unix(seconds.saturating_add(EPOCH_2000)),
            _ => When::unix(seconds),
        }
    }

    fn unit(&self, measured: &Measured) -> Result<String, Fault> {
        if measured.field == "price" {
            return Ok(self.whole("currency")?.map_or_else(String::new, currency));
        }
        // The top bit says that the meter's display is in decimal digits.
        let code = self.whole("unitofmeasure")?.unwrap_or(0) & 0x7F;
        let (rate, total) = match code {
            0x00 => ("kW", "kWh"),
            0x01 => ("m3/h", "m3"),
            0x02 => ("ft3/h", "ft3"),
            0x03 => ("ccf/h", "ccf"),
            0x04 => ("gal/h", "gal"),
            0x05 => ("imp gal/h", "imp gal"),
            0x06 => ("BTU/h", "BTU"),
            0x07 => ("l/h", "l"),
            0x08 | 0x09 => ("kPa", "kPa"),
            code => return Ok(format!("0x{code:02x}")),
        };
        Ok(if measured.is_rate { rate } else { total }.to_owned())
    }
}

/// A field that is a reading.
struct Measured {
    field: &'static str,
    metric: &'static str,
    is_rate: bool,
    is_signed: bool,
    meaning: Meaning,
}

const DEMAND: &[Measured] =
    &[Measured { field: "demand", metric: "demand", is_rate: true, is_signed: true, meaning: Meaning::gauge(Quantity::AcPower) }];

const SUMMATION: &[Measured] = &[
    Measured {
        field: "summationdelivered",
        metric: "summation_delivered",
        is_rate: false,
        is_signed: false,
        meaning: Meaning::of(Kind::Counter, Quantity::EnergyImported),
    },
    Measured {
        field: "summationreceived",
        metric: "summation_received",
        is_rate: false,
        is_signed: false,
        meaning: Meaning::of(Kind::Counter, Quantity::EnergyExported),
    },
];

const PRICE: &[Measured] =
    &[Measured { field: "price", metric: "price", is_rate: false, is_signed: false, meaning: Meaning::gauge(Quantity::Other) }];

/// Numbers of ISO 4217 for the currencies of countries that use these meters.
fn currency(number: u64) -> String {
    let code = match number {
        36 => "AUD",
        124 => "CAD",
        484 => "MXN",
        554 => "NZD",
        826 => "GBP",
        840 => "USD",
        978 => "EUR",
        number => return number.to_string(),
    };
    code.to_owned()
}

fn not_a_number(field: &str, text: &str) -> Fault {
    (RefusalCode::BadValue, format!("{field} {} is not a number", shown(text)))
}

/// The digits of a hexadecimal number.
fn hex(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    ((1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

fn unsigned(text: &str) -> Option<u64> {
    match hex(text) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}

/// A number of 24 or 32 bits, in six or eight digits, is a two's complement; one of
/// another length has no sign.
fn signed(text: &str) -> Option<f64> {
    let Some(digits) = hex(text) else { return text.parse::<i64>().ok().map(|value| value as f64) };
    let value = i64::try_from(u64::from_str_radix(digits, 16).ok()?).ok();
    let span = 1_i64 << (4 * digits.len().min(8));
    match (value, digits.len()) {
        (Some(value), 6 | 8) if value >= span / 2 => Some((value - span) as f64),
        _ => unsigned(text).map(|value| value as f64),
    }
}
