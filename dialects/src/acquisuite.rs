//! AcquiSuite (Obvius, Leviton): `DAS` with devices, records and points.
//!
//! The gateway is the serial number; a sensor is a device by its Modbus address,
//! else by its serial number. Only uploads of log files carry readings. A record
//! whose `error` is not 0 tells of a device that did not answer: what it says
//! beside is refused. `NULL` and nothing are no readings.

use std::collections::{HashMap, HashSet};

use heliograph_domain::{RefusalCode, Timestamp, Zone, canonical_unit};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When, bad_value};
use crate::number::parse_number;
use crate::text::{bounded, shown};
use crate::written_time::{WrittenTime, parse_time, utc_millis};
use crate::xml::{Parser, XmlError};

/// About as short as points get in practice.
const BYTES_A_POINT: usize = 60;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut harvest = Harvest::new(parser, context, BYTES_A_POINT);
    let mut devices = Vec::new();
    let (mut mode, mut serial) = (String::new(), String::new());
    parser.each_child(|parser| match () {
        () if parser.is("mode") => read_into(parser, &mut mode),
        () if parser.is("serial") => read_into(parser, &mut serial),
        () if parser.is("devices") => parser.each_child(|parser| {
            if !parser.is("device") {
                return parser.skip();
            }
            devices.push(Device::read(parser)?);
            Ok(())
        }),
        () => parser.skip(),
    })?;
    if mode.is_empty() || mode.eq_ignore_ascii_case("LOGFILEUPLOAD") {
        devices.iter().for_each(|device| device.harvest(&mut harvest));
    }
    harvest.into_decoded(Dialect::AcquiSuite, named_gateway(&serial)?)
}

fn read_into(parser: &mut Parser<'_>, text: &mut String) -> Result<(), XmlError> {
    bounded(&parser.text_of_element()?).as_ref().clone_into(text);
    Ok(())
}

/// A device as written.
#[derive(Default)]
struct Device {
    address: String,
    serial: String,
    records: Vec<Record>,
}

/// What a device measured at one time.
#[derive(Default)]
struct Record {
    zone: String,
    time: String,
    error: String,
    error_text: String,
    points: Vec<Point>,
}

struct Point {
    at: usize,
    number: String,
    name: String,
    units: String,
    value: String,
}

impl Device {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut device = Self::default();
        parser.each_child(|parser| match () {
            () if parser.is("address") => read_into(parser, &mut device.address),
            () if parser.is("serialnumber") => read_into(parser, &mut device.serial),
            () if parser.is("records") => parser.each_child(|parser| {
                if !parser.is("record") {
                    return parser.skip();
                }
                device.records.push(Record::read(parser)?);
                Ok(())
            }),
            () => parser.skip(),
        })?;
        Ok(device)
    }

    /// The address wins over the serial number.
    fn sensor(&self) -> Result<String, Fault> {
        match (self.address.as_str(), self.serial.as_str()) {
            ("", "") => Err((RefusalCode::BadName, "its device has neither address nor serial number".to_owned())),
            ("", serial) => Ok(serial.to_owned()),
            (address, _) => address
                .parse::<u8>()
                .map(|address| address.to_string())
                .map_err(|_| (RefusalCode::BadName, format!("device address {} is not one of 0 to 255", shown(address)))),
        }
    }

    fn harvest(&self, harvest: &mut Harvest<'_, '_>) {
        let sensor = self.sensor();
        for record in &self.records {
            let when = record.when();
            let mut names = Names::default();
            for point in &record.points {
                let metric = point.metric(&mut names);
                if point.is_empty() {
                    continue;
                }
                harvest.take(point.at, found(record, point, sensor.as_deref(), when.as_ref(), &metric));
            }
        }
    }
}

fn found<'f>(
    record: &Record,
    point: &'f Point,
    sensor: Result<&'f str, &Fault>,
    when: Result<&When, &Fault>,
    metric: &'f str,
) -> Result<Found<'f>, Fault> {
    record.check()?;
    Ok(Found {
        sensor: sensor.map_err(Fault::clone)?,
        role: None,
        metric,
        unit: &point.units,
        when: *when.map_err(Fault::clone)?,
        value: parse_number(&point.value).ok_or_else(|| bad_value(&point.value))?,
        meaning: Meaning::UNKNOWN,
    })
}

impl Record {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut record = Self::default();
        parser.each_child(|parser| match () {
            () if parser.is("time") => {
                record.zone = attribute(parser, "zone");
                read_into(parser, &mut record.time)
            }
            () if parser.is("error") => {
                record.error_text = attribute(parser, "text");
                read_into(parser, &mut record.error)
            }
            () if parser.is("point") => {
                record.points.push(Point::of(parser));
                parser.skip()
            }
            () => parser.skip(),
        })?;
        Ok(record)
    }

    /// Whether the device had answered.
    fn check(&self) -> Result<(), Fault> {
        if self.error.is_empty() || self.error.parse::<i64>() == Ok(0) {
            return Ok(());
        }
        let what = format!("the device reports error {} {}", shown(&self.error), shown(&self.error_text));
        Err((RefusalCode::BadValue, what))
    }

    /// The clock of these loggers shows UTC; another zone is named.
    fn when(&self) -> Result<When, Fault> {
        let unreadable = || (RefusalCode::BadTime, format!("time {} cannot be read", shown(&self.time)));
        let local = match parse_time(&self.time).ok_or_else(unreadable)? {
            WrittenTime::Instant(instant) => return Ok(When::At(instant)),
            WrittenTime::Local(local) => local,
        };
        let millis = match self.zone.as_str() {
            "" => utc_millis(local),
            zone if ["UTC", "GMT", "Z"].iter().any(|utc| zone.eq_ignore_ascii_case(utc)) => utc_millis(local),
            zone => {
                let unknown = |_| (RefusalCode::BadTime, format!("time zone {} is not known", shown(zone)));
                let zone = Zone::parse(zone).map_err(unknown)?;
                zone.to_jiff().to_timestamp(local).map_err(|_| unreadable())?.as_millisecond()
            }
        };
        Timestamp::from_millis(millis).map(When::At).map_err(|_| unreadable())
    }
}

impl Point {
    fn of(parser: &Parser<'_>) -> Self {
        let text = |name| attribute(parser, name);
        Self { at: parser.offset(), number: text("number"), name: text("name"), units: text("units"), value: text("value") }
    }

    fn is_empty(&self) -> bool {
        self.value.is_empty() || self.value.eq_ignore_ascii_case("NULL")
    }

    /// The name. Of points named alike all but the first carry their number too,
    /// and one without a name has its number alone.
    fn metric<'p>(&'p self, names: &mut Names<'p>) -> String {
        let is_first = names.is_new(&self.name, &self.units);
        match (self.name.as_str(), self.number.as_str()) {
            ("", number) => format!("point {number}"),
            (name, number) if !is_first && !number.is_empty() => format!("{name} ({number})"),
            (name, _) => name.to_owned(),
        }
    }
}

/// The names of a record's points with their units, which are compared as they are
/// kept: `kWh` and `MWh` are one series.
#[derive(Default)]
struct Names<'p> {
    /// Each name with the unit that it had first.
    first: HashMap<&'p str, &'p str>,
    others: HashSet<(&'p str, &'p str)>,
}

impl<'p> Names<'p> {
    fn is_new(&mut self, name: &'p str, unit: &'p str) -> bool {
        let kept = |unit: &'p str| canonical_unit(unit).map_or(unit, |scaled| scaled.unit);
        // Nearly every name is there once.
        let Some(first) = self.first.get(name) else { return self.first.insert(name, unit).is_none() };
        kept(first) != kept(unit) && self.others.insert((name, kept(unit)))
    }
}

fn attribute(parser: &Parser<'_>, name: &str) -> String {
    bounded(parser.attribute(name).unwrap_or_default()).into_owned()
}
