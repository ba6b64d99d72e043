//! mii, the import interface of meteocontrol: a data logger's configuration and
//! its data points.
//!
//! The gateway is the logger's vendor and serial number. Data points name devices
//! by ids that hold within the document; the sensor is the device's `uid`. Units
//! stand in the interface's lists of values, by type of device.

mod values;

use std::collections::HashMap;
use std::rc::Rc;

use heliograph_domain::{RefusalCode, SensorRole};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, When};
use crate::number::parse_number;
use crate::text::{bounded, shown};
use crate::written_time::{WrittenTime, parse_time, utc_millis};
use crate::xml::{Parser, XmlError};

/// The namespace of the root.
pub(crate) const NAMESPACE: &str = "http://api.sspcdn.com/mii";

/// About as short as values get in practice.
const BYTES_A_VALUE: usize = 30;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut harvest = Harvest::new(parser, context, BYTES_A_VALUE);
    let mut gateway = String::new();
    parser.each_child(|parser| {
        if !parser.is("datalogger") {
            return Ok(parser.skip()?);
        }
        let logger = Logger::read(parser)?;
        if !gateway.is_empty() && gateway != logger.gateway {
            return Err(Refusal::Document(RefusalCode::Unsupported, "the document is of two data loggers".to_owned()));
        }
        logger.harvest(&mut harvest);
        gateway = logger.gateway;
        Ok(())
    })?;
    harvest.into_decoded(Dialect::Mii, named_gateway(&gateway)?)
}

/// What a document says of a logger.
#[derive(Default)]
struct Logger {
    gateway: String,
    /// By id; `None` where an id stands for two devices.
    devices: HashMap<String, Option<Device>>,
    values: Vec<Value>,
}

#[derive(Default)]
struct Device {
    kind: String,
    uid: String,
}

/// One measured value, as written.
struct Value {
    at: usize,
    /// The text of the data point's `timestamp`.
    time: Rc<str>,
    device: Rc<str>,
    name: String,
    value: String,
}

impl Logger {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut logger = Self::default();
        parser.each_child(|parser| match () {
            () if parser.is("configuration") => logger.configuration(parser),
            () if parser.is("datapoints") => parser.each_child(|parser| match parser.is("datapoint") {
                true => logger.data_point(parser),
                false => parser.skip(),
            }),
            () => parser.skip(),
        })?;
        Ok(logger)
    }

    fn configuration(&mut self, parser: &mut Parser<'_>) -> Result<(), XmlError> {
        parser.each_child(|parser| match () {
            () if parser.is("uuid") => {
                let (mut vendor, mut serial) = (String::new(), String::new());
                parser.each_child(|parser| {
                    match () {
                        () if parser.is("vendor") => vendor = text(parser)?,
                        () if parser.is("serial") => serial = text(parser)?,
                        () => parser.skip()?,
                    }
                    Ok::<_, XmlError>(())
                })?;
                if !serial.is_empty() {
                    self.gateway = format!("{vendor}/{serial}");
                }
                Ok(())
            }
            () if parser.is("devices") => parser.each_child(|parser| match parser.is("device") {
                true => self.device(parser),
                false => parser.skip(),
            }),
            () => parser.skip(),
        })
    }

    fn device(&mut self, parser: &mut Parser<'_>) -> Result<(), XmlError> {
        let id = attribute(parser, "id");
        let mut device = Device { kind: attribute(parser, "type"), uid: String::new() };
        parser.each_child(|parser| {
            match parser.is("uid") {
                true => device.uid = text(parser)?,
                false => parser.skip()?,
            }
            Ok::<_, XmlError>(())
        })?;
        self.devices.entry(id).and_modify(|known| *known = None).or_insert(Some(device));
        Ok(())
    }

    fn data_point(&mut self, parser: &mut Parser<'_>) -> Result<(), XmlError> {
        let time: Rc<str> = attribute(parser, "timestamp").into();
        parser.each_child(|parser| {
            if !parser.is("device") {
                return parser.skip();
            }
            let device: Rc<str> = attribute(parser, "id").into();
            parser.each_child(|parser| {
                if parser.is("mv") {
                    let (name, value) = (attribute(parser, "t"), attribute(parser, "v"));
                    let (time, device) = (Rc::clone(&time), Rc::clone(&device));
                    self.values.push(Value { at: parser.offset(), time, device, name, value });
                }
                parser.skip()
            })
        })
    }

    fn harvest(&self, harvest: &mut Harvest<'_, '_>) {
        for value in &self.values {
            // A text is a note of the device's, not a number that went wrong.
            let Some(number) = parse_number(&value.value) else { continue };
            harvest.take(value.at, self.found(value, number));
        }
    }

    fn found<'f>(&'f self, value: &'f Value, number: f64) -> Result<Found<'f>, Fault> {
        let device = match self.devices.get(&*value.device) {
            Some(Some(device)) => device,
            Some(None) => return Err(bad_device(&value.device, "stands for two devices")),
            None => return Err(bad_device(&value.device, "is not in the configuration")),
        };
        if device.uid.is_empty() {
            return Err(bad_device(&value.device, "has no uid"));
        }
        let (unit, meaning) = values::describe(&device.kind, &value.name);
        Ok(Found {
            sensor: &device.uid,
            role: role(&device.kind),
            metric: &value.name,
            unit,
            when: when(&value.time)?,
            value: number,
            meaning,
        })
    }
}

fn bad_device(id: &str, what: &str) -> Fault {
    (RefusalCode::BadName, format!("device id {} {what}", shown(id)))
}

/// A time without a zone is UTC.
fn when(text: &str) -> Result<When, Fault> {
    match parse_time(text) {
        Some(WrittenTime::Local(local)) => When::unix(utc_millis(local).div_euclid(1000)),
        _ if text.is_empty() => Err((RefusalCode::BadTime, "data point has no timestamp".to_owned())),
        _ => When::written(text),
    }
}

fn role(kind: &str) -> Option<SensorRole> {
    match kind {
        "inverter" => Some(SensorRole::Inverter),
        "meteo" => Some(SensorRole::Weather),
        "battery" => Some(SensorRole::Battery),
        _ => None,
    }
}

fn text(parser: &mut Parser<'_>) -> Result<String, XmlError> {
    Ok(bounded(&parser.text_of_element()?).into_owned())
}

fn attribute(parser: &Parser<'_>, name: &str) -> String {
    bounded(parser.attribute(name).unwrap_or_default()).into_owned()
}
