//! SMA: the files of a Sunny WebBox or Cluster Controller (`MeanPublic`,
//! `CurrentPublic`), whole or in pieces, and the display file of Sunny Data Control
//! (`OnlineData`).
//!
//! A key is device type, serial number and channel; a unit may follow the channel.
//! Times are local: in the zone of the gateway, or of the offset that the document
//! states.

use heliograph_domain::{Kind, Quantity, RefusalCode, Timestamp, canonical_unit};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When, bad_value};
use crate::number::parse_number;
use crate::text::{bounded, shown, trim};
use crate::written_time::utc_millis;
use crate::xml::{Parser, XmlError};

/// The roots of this dialect.
pub(crate) const ROOTS: &[&str] = &["WebBox", "ClusterController", "Info", "MeanPublic", "CurrentPublic", "OnlineData"];

/// The namespace that some firmware gives its files.
pub(crate) const NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema.xsd";

/// About as short as channels get in practice, by reading.
const BYTES_A_READING: usize = 50;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut harvest = Harvest::new(parser, context, BYTES_A_READING);
    let mut info = Info::default();
    let mut channels = Vec::new();
    match () {
        () if parser.is("OnlineData") => online_data(parser, &mut harvest)?,
        () if parser.is("Info") => info.read(parser)?,
        () if is_channel(parser) => channels.push(Channel::read(parser)?),
        () => parser.each_child(|parser| match () {
            () if parser.is("Info") => info.read(parser),
            () if is_channel(parser) => {
                channels.push(Channel::read(parser)?);
                Ok(())
            }
            () => parser.skip(),
        })?,
    }
    channels.iter().for_each(|channel| channel.harvest(&info, &mut harvest));
    harvest.into_decoded(Dialect::Sma, named_gateway(&info.serial)?)
}

fn is_channel(parser: &Parser<'_>) -> bool {
    parser.is("MeanPublic") || parser.is("CurrentPublic")
}

fn text(parser: &mut Parser<'_>) -> Result<String, XmlError> {
    Ok(bounded(&parser.text_of_element()?).into_owned())
}

/// What the head of a file says.
#[derive(Default)]
struct Info {
    serial: String,
    /// Minutes ahead of UTC, without daylight saving.
    offset: Option<String>,
    daylight: String,
}

impl Info {
    fn read(&mut self, parser: &mut Parser<'_>) -> Result<(), XmlError> {
        parser.each_child(|parser| {
            match () {
                () if parser.is("SerialNumber") => self.serial = text(parser)?,
                () if parser.is("UtcOffset") => self.offset = Some(text(parser)?),
                () if parser.is("DST") || parser.is("DaylightSaving") => self.daylight = text(parser)?,
                () => parser.skip()?,
            }
            Ok(())
        })
    }

    fn when(&self, written: &str) -> Result<When, Fault> {
        let (When::Local(local), Some(offset)) = (When::written(written)?, &self.offset) else { return When::written(written) };
        let bad = || (RefusalCode::BadTime, format!("UtcOffset {} cannot be read", shown(offset)));
        let minutes = offset.parse::<i64>().ok().filter(|minutes| (-24 * 60..=24 * 60).contains(minutes)).ok_or_else(bad)?;
        let daylight = match self.daylight.as_str() {
            "1" | "true" | "True" | "yes" => 60,
            other => other.parse::<i64>().ok().filter(|minutes| (2..=120).contains(minutes)).unwrap_or(0),
        };
        Timestamp::from_millis(utc_millis(local) - (minutes + daylight) * 60_000).map(When::At).map_err(|_| bad())
    }
}

/// What is told of one channel over one interval.
#[derive(Default)]
struct Channel {
    at: usize,
    key: String,
    time: String,
    /// In the order of [`FIGURES`].
    figures: [Option<String>; FIGURES.len()],
}

/// The figures of an interval, and what becomes of a channel's name for each.
const FIGURES: [(&str, &str); 5] = [("Mean", "mean"), ("Min", "min"), ("Max", "max"), ("First", "first"), ("Last", "last")];

impl Channel {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut channel = Self { at: parser.offset(), ..Self::default() };
        parser.each_child(|parser| {
            match () {
                () if parser.is("Key") => channel.key = text(parser)?,
                () if parser.is("TimeStamp") => channel.time = text(parser)?,
                () => match FIGURES.iter().position(|(name, _)| parser.is(name)).and_then(|index| channel.figures.get_mut(index))
                {
                    Some(figure) => *figure = Some(text(parser)?),
                    None => parser.skip()?,
                },
            }
            Ok::<_, XmlError>(())
        })?;
        Ok(channel)
    }

    fn harvest(&self, info: &Info, harvest: &mut Harvest<'_, '_>) {
        let when = info.when(&self.time);
        let parts = split_key(&self.key);
        for ((_, figure), written) in FIGURES.iter().zip(&self.figures) {
            let Some(written) = written.as_deref().filter(|written| !written.is_empty()) else { continue };
            let metric = parts.as_ref().map_or_else(|_| String::new(), |key| format!("{}.{figure}", key.channel));
            let found = parts.as_ref().map_err(Fault::clone).and_then(|key| {
                Ok(Found {
                    sensor: key.device,
                    role: None,
                    metric: &metric,
                    unit: key.unit,
                    when: when.clone()?,
                    value: parse_number(written).ok_or_else(|| bad_value(written))?,
                    meaning: meaning(key.channel, figure),
                })
            });
            harvest.take(self.at, found);
        }
    }
}

struct Key<'k> {
    device: &'k str,
    channel: &'k str,
    unit: &'k str,
}

/// The text before the last colon is the device. Behind the channel may stand a
/// unit; names have spaces too, so only a known unit is one.
fn split_key(key: &str) -> Result<Key<'_>, Fault> {
    let (device, rest) =
        key.rsplit_once(':').ok_or_else(|| (RefusalCode::BadName, format!("key {} names no device and channel", shown(key))))?;
    let rest = trim(rest);
    let (channel, unit) = match rest.rsplit_once(' ') {
        Some((channel, unit)) if canonical_unit(unit).is_some() && !trim(channel).is_empty() => (trim(channel), unit),
        _ => (rest, ""),
    };
    Ok(Key { device: trim(device), channel, unit })
}

/// Of an interval's figures the mean of what is measured counts, and the last of
/// what is counted: the others are the same again.
fn meaning(channel: &str, figure: &str) -> Meaning {
    let other = Meaning::gauge(Quantity::Other);
    let known = CHANNELS.iter().find(|(name, _, _)| *name == channel);
    let Some((_, unit, meaning)) = known else { return if figure == "mean" { Meaning::UNKNOWN } else { other } };
    let counts = match meaning.kind {
        Some(Kind::Counter) => figure == "last",
        _ => figure == "mean",
    };
    if counts { meaning.in_unit(unit) } else { other.in_unit(unit) }
}

/// Channels of SMA's inverters and sensors, and the units that keys leave out.
const CHANNELS: &[(&str, &str, Meaning)] = &[
    ("Pac", "W", Meaning::gauge(Quantity::AcPower)),
    ("E-Total", "kWh", Meaning::of(Kind::Counter, Quantity::EnergyProduced)),
    ("E-total", "kWh", Meaning::of(Kind::Counter, Quantity::EnergyProduced)),
    ("Fac", "Hz", Meaning::gauge(Quantity::Frequency)),
    ("Uac", "V", Meaning::gauge(Quantity::Voltage)),
    ("Vac", "V", Meaning::gauge(Quantity::Voltage)),
    ("Upv-Ist", "V", Meaning::gauge(Quantity::Voltage)),
    ("Vpv", "V", Meaning::gauge(Quantity::Voltage)),
    ("IntSolIrr", "W/m2", Meaning::gauge(Quantity::IrradiancePlane)),
    ("ExlSolIrr", "W/m2", Meaning::gauge(Quantity::IrradiancePlane)),
    ("TmpAmb", "°C", Meaning::gauge(Quantity::TemperatureAmbient)),
    ("TmpMdul", "°C", Meaning::gauge(Quantity::TemperatureModule)),
    ("WindVel", "m/s", Meaning::gauge(Quantity::WindSpeed)),
];

/// The display file: one time, and of each device the channels of the moment.
fn online_data(parser: &mut Parser<'_>, harvest: &mut Harvest<'_, '_>) -> Result<(), XmlError> {
    let (mut date, mut time) = (String::new(), String::new());
    let mut devices = Vec::new();
    parser.each_child(|parser| {
        match () {
            () if parser.is("Date") => date = text(parser)?,
            () if parser.is("Time") => time = text(parser)?,
            () if parser.is("Devices") => parser.each_child(|parser| {
                if !parser.is("Device") {
                    return parser.skip();
                }
                devices.push(Shown::read(parser)?);
                Ok(())
            })?,
            () => parser.skip()?,
        }
        Ok::<_, XmlError>(())
    })?;
    let when = match (date.as_str(), time.as_str()) {
        ("", "") => Ok(When::Received),
        (date, time) => When::written(&format!("{date}T{time}")),
    };
    devices.iter().for_each(|device| device.harvest(&when, harvest));
    Ok(())
}

/// A device of the display file.
#[derive(Default)]
struct Shown {
    name: String,
    serial: String,
    channels: Vec<ShownChannel>,
}

#[derive(Default)]
struct ShownChannel {
    at: usize,
    name: String,
    value: String,
    unit: String,
}

impl Shown {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut device = Self::default();
        parser.each_child(|parser| {
            match () {
                () if parser.is("Name") => device.name = text(parser)?,
                () if parser.is("SerNr") => device.serial = text(parser)?,
                () if parser.is("Channels") => parser.each_child(|parser| {
                    if !parser.is("Channel") {
                        return parser.skip();
                    }
                    device.channels.push(ShownChannel::read(parser)?);
                    Ok(())
                })?,
                () => parser.skip()?,
            }
            Ok::<_, XmlError>(())
        })?;
        Ok(device)
    }

    fn harvest(&self, when: &Result<When, Fault>, harvest: &mut Harvest<'_, '_>) {
        let sensor = if self.serial.is_empty() { &self.name } else { &self.serial };
        for channel in self.channels.iter().filter(|channel| !channel.value.is_empty()) {
            let value = parse_number(&channel.value).ok_or_else(|| bad_value(&channel.value));
            let found = when.clone().and_then(|when| {
                Ok(Found {
                    sensor,
                    role: None,
                    metric: &channel.name,
                    unit: &channel.unit,
                    when,
                    value: value?,
                    meaning: channel.meaning(),
                })
            });
            harvest.take(channel.at, found);
        }
    }
}

impl ShownChannel {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut channel = Self { at: parser.offset(), ..Self::default() };
        parser.each_child(|parser| {
            match () {
                () if parser.is("Name") => channel.name = text(parser)?,
                () if parser.is("Value") => channel.value = text(parser)?,
                () if parser.is("Unit") => channel.unit = text(parser)?,
                () => parser.skip()?,
            }
            Ok::<_, XmlError>(())
        })?;
        Ok(channel)
    }

    fn meaning(&self) -> Meaning {
        CHANNELS.iter().find(|(name, _, _)| *name == self.name).map_or(Meaning::UNKNOWN, |(_, _, meaning)| *meaning)
    }
}
