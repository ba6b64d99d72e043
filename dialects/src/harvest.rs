//! What a decoder gathers from one document: sensors, readings, and what of it
//! has to be refused. How much of it is kept is bounded by the document's bytes.

use heliograph_domain::{GatewayId, Kind, MetricName, ParseError, Quantity, RefusalCode, SensorRole, Timestamp, Unit};
use jiff::civil;

use crate::decode::{Context, Decoded, DecodedReading, DecodedSensor, Fault, Lines, Refusal, Refused};
use crate::dialect::Dialect;
use crate::local_time::LocalTimes;
use crate::sensors::Sensors;
use crate::text::{shown, trim};
use crate::written_time::{WrittenTime, parse_time};
use crate::xml::Parser;

/// When a reading was measured, as far as its document says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum When {
    /// It does not: when it was received.
    Received,
    /// So long before or after it was received, which was at this instant.
    Counted(Timestamp),
    /// At an instant.
    At(Timestamp),
    /// At a local time of the gateway's zone.
    Local(civil::DateTime),
    /// So many milliseconds after a local time of the gateway's zone.
    After(civil::DateTime, i64),
}

impl When {
    /// A written time, or why it is none. An empty text says nothing.
    pub(crate) fn written(text: &str) -> Result<Self, Fault> {
        match (trim(text), parse_time(trim(text))) {
            ("", _) => Ok(Self::Received),
            (_, Some(WrittenTime::Instant(instant))) => Ok(Self::At(instant)),
            (_, Some(WrittenTime::Local(local))) => Ok(Self::Local(local)),
            (text, None) => Err((RefusalCode::BadTime, format!("time {} cannot be read", shown(text)))),
        }
    }

    /// Seconds since 1970.
    pub(crate) fn unix(seconds: i64) -> Result<Self, Fault> {
        let instant = seconds.checked_mul(1000).and_then(|millis| Timestamp::from_millis(millis).ok());
        instant.map(Self::At).ok_or_else(out_of_range)
    }
}

fn out_of_range() -> Fault {
    (RefusalCode::BadTime, "time lies outside the years 0 to 9999".to_owned())
}

/// What a dialect's rules say of a series beyond its names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Meaning {
    pub(crate) kind: Option<Kind>,
    pub(crate) quantity: Option<Quantity>,
    /// The unit of numbers that are written without one.
    pub(crate) assumed_unit: &'static str,
}

impl Meaning {
    pub(crate) const UNKNOWN: Self = Self { kind: None, quantity: None, assumed_unit: "" };

    pub(crate) const fn of(kind: Kind, quantity: Quantity) -> Self {
        Self { kind: Some(kind), quantity: Some(quantity), assumed_unit: "" }
    }

    pub(crate) const fn gauge(quantity: Quantity) -> Self {
        Self::of(Kind::Gauge, quantity)
    }

    pub(crate) const fn in_unit(self, unit: &'static str) -> Self {
        Self { assumed_unit: unit, ..self }
    }
}

/// A reading as found, its names not yet checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'f> {
    pub(crate) sensor: &'f str,
    pub(crate) role: Option<SensorRole>,
    pub(crate) metric: &'f str,
    pub(crate) unit: &'f str,
    pub(crate) when: When,
    pub(crate) value: f64,
    pub(crate) meaning: Meaning,
}

/// What may be kept of a document, in memory, for each of its bytes. What devices write
/// takes a third of it: only names that many short readings share take more.
const KEPT_A_BYTE: usize = 24;
/// What may be kept of any document.
const KEPT: usize = 1024 * 1024;
/// What a local time takes until its instant is known.
const KEPT_OF_LOCAL_TIME: usize = 88;

/// Gathers; see the module.
pub(crate) struct Harvest<'a, 'c> {
    context: Context<'c>,
    lines: Lines<'a>,
    local_times: LocalTimes,
    sensors: Sensors,
    readings: Vec<DecodedReading>,
    refused: Vec<Refused>,
    /// What may still be kept; `None` once there was more.
    room: Option<usize>,
}

impl<'a, 'c> Harvest<'a, 'c> {
    /// `bytes_a_reading`: about as short as readings get, to make room at once.
    pub(crate) fn new(parser: &Parser<'a>, context: &Context<'c>, bytes_a_reading: usize) -> Self {
        Self {
            context: *context,
            lines: Lines::new(parser.text()),
            local_times: LocalTimes::default(),
            sensors: Sensors::default(),
            readings: Vec::with_capacity(parser.text().len() / bytes_a_reading.max(1)),
            refused: Vec::new(),
            room: Some(KEPT + KEPT_A_BYTE * parser.text().len()),
        }
    }

    /// Whether there is room for something of so many bytes. Where there is none, nothing
    /// further is kept, and the document is refused at its end.
    fn make_room(&mut self, bytes: usize) -> bool {
        self.room = self.room.and_then(|room| room.checked_sub(bytes));
        self.room.is_some()
    }

    /// Takes a reading, or refuses it; `at` is the byte of the document at which
    /// it begins, not before that of the one before.
    pub(crate) fn take(&mut self, at: usize, found: Result<Found<'_>, Fault>) {
        if let Err(fault) = found.and_then(|found| self.accept(&found)) {
            self.refuse(at, fault);
        }
    }

    /// Refuses what stands at a byte of the document.
    pub(crate) fn refuse(&mut self, at: usize, (code, reason): Fault) {
        if self.make_room(size_of::<Refused>() + reason.len()) {
            let line = self.lines.line_of(at);
            self.refused.push(Refused { code, line, reason });
        }
    }

    /// The index of a sensor, which may be all that a document says of it.
    pub(crate) fn sensor(&mut self, id: &str, role: Option<SensorRole>) -> Result<usize, Fault> {
        let (id, before) = (trim(id), self.sensors.len());
        let index = self.sensors.index(id, role).map_err(|error| bad_name(&error))?;
        if self.sensors.len() > before && !self.make_room(size_of::<DecodedSensor>() + size_of::<usize>() + id.len()) {
            self.sensors = Sensors::default();
        }
        Ok(index)
    }

    fn accept(&mut self, found: &Found<'_>) -> Result<(), Fault> {
        let metric = MetricName::parse(trim(found.metric)).map_err(|error| bad_name(&error))?;
        let unit = Unit::parse(trim(found.unit)).map_err(|error| bad_name(&error))?;
        let sensor = self.sensor(found.sensor, found.role)?;
        self.push(sensor, metric, unit, found.when, found.value, found.meaning)
    }

    /// Takes a reading whose names are known to be right.
    pub(crate) fn push(
        &mut self,
        sensor: usize,
        metric: MetricName,
        unit: Unit,
        when: When,
        value: f64,
        meaning: Meaning,
    ) -> Result<(), Fault> {
        if !value.is_finite() {
            return Err((RefusalCode::BadValue, "value is not finite".to_owned()));
        }
        let is_local = matches!(when, When::Local(_) | When::After(..));
        let names = metric.as_str().len() + unit.as_str().len();
        if !self.make_room(size_of::<DecodedReading>() + names + if is_local { KEPT_OF_LOCAL_TIME } else { 0 }) {
            return Ok(());
        }
        let time = match when {
            When::Received => self.context.received,
            When::Counted(time) | When::At(time) => time,
            When::Local(local) => self.local_times.note(self.readings.len(), local, None).ok_or_else(out_of_range)?,
            When::After(local, millis) => {
                self.local_times.note(self.readings.len(), local, Some(millis)).ok_or_else(out_of_range)?
            }
        };
        let Meaning { kind, quantity, assumed_unit } = meaning;
        self.readings.push(DecodedReading {
            sensor,
            metric,
            unit,
            time,
            value,
            kind,
            quantity,
            assumed_unit,
            ambiguous_time: false,
            own_time: matches!(when, When::At(_) | When::Local(_) | When::After(..)),
        });
        Ok(())
    }

    /// What the document says of the gateway that it names, without a key or a token.
    ///
    /// # Errors
    /// When that is more than may be kept of it.
    pub(crate) fn into_decoded(mut self, dialect: Dialect, gateway: Option<GatewayId>) -> Result<Decoded, Refusal> {
        if self.room.is_none() {
            let what = format!("what the document says takes more than {KEPT_A_BYTE} times its bytes: its names are too long");
            return Err(Refusal::Document(RefusalCode::TooLarge, what));
        }
        if self.local_times.is_used() {
            let zone = self.context.zone.of(gateway.as_ref().or(self.context.hello_gateway));
            self.local_times.settle(zone, &mut self.readings, self.context.received);
        }
        Ok(Decoded {
            dialect,
            gateway,
            key: None,
            seq: None,
            is_hello: false,
            sensors: self.sensors.into_list(),
            readings: self.readings,
            refused: self.refused,
        })
    }
}

/// The fault of a name that breaks the rules of names.
pub(crate) fn bad_name(error: &ParseError) -> Fault {
    (RefusalCode::BadName, error.to_string())
}

/// The fault of a text that should be a number.
pub(crate) fn bad_value(text: &str) -> Fault {
    match trim(text) {
        "" => (RefusalCode::BadValue, "value is empty".to_owned()),
        text => (RefusalCode::BadValue, format!("value {} is not a finite decimal number", shown(text))),
    }
}
