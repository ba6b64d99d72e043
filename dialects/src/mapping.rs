//! Mappings: how to read the XML of devices that no decoder knows, written by
//! those who run them. A mapping is TOML; docs/mappings.md explains it. It is
//! compiled once and run over a document's events in one pass.

mod capture;
mod path;
mod source;
mod template;
mod value;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use heliograph_domain::{GatewayId, Kind, Quantity, RefusalCode, SensorRole, Zone, canonical_unit};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When, bad_value};
use crate::text::shown;
use crate::xml::Parser;
use capture::{Captured, Paths, Record, Slot};
use template::{Condition, Made, Source, Tables, Template, entry};
use value::{Drop, NumberForm, TimeForm, later, prefix, scaled};

/// Why a mapping is none; says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MappingError(pub(crate) String);

/// A compiled mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    name: String,
    root: String,
    /// Exact, or with `*` at its end; `None`: any.
    namespace: Option<String>,
    paths: Paths,
    gateway: Template<Slot>,
    lookups: Vec<Lookup>,
    /// By record.
    readings: Vec<Vec<Reading>>,
    tables: Tables,
}

/// A table that is read from the document.
#[derive(Debug, Clone)]
struct Lookup {
    name: String,
    record: usize,
    key: Template<Slot>,
    value: Template<Slot>,
}

/// How a record becomes a reading.
#[derive(Debug, Clone)]
struct Reading {
    when: Vec<Condition<Slot>>,
    sensor: Template<Slot>,
    role: Option<SensorRole>,
    metric: Template<Slot>,
    unit: Template<Slot>,
    value: Template<Slot>,
    number: NumberForm,
    drop: Drop,
    factor: f64,
    multiply: Option<Template<Slot>>,
    divide: Option<Template<Slot>>,
    power10: Option<Template<Slot>>,
    prefix: Option<Template<Slot>>,
    time: Option<Template<Slot>>,
    time_form: TimeForm,
    zone: Option<Zone>,
    time_step: Option<Template<Slot>>,
    falling: bool,
    series: Option<Template<Slot>>,
    distinguish: Option<Template<Slot>>,
    kind: Choice<Kind>,
    quantity: Choice<Quantity>,
}

/// One of a closed set: the same of every record, or as each says.
#[derive(Debug, Clone)]
enum Choice<T> {
    Always(Option<T>),
    Told(Template<Slot>),
}

/// About as short as records get in practice.
const BYTES_A_RECORD: usize = 40;

impl Mapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// When it is not TOML, or breaks a rule of mappings; says which and where.
    pub fn parse(toml: &str) -> Result<Self, MappingError> {
        source::compile(toml).map_err(MappingError)
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The local name of the root element that it is for.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The namespace of that element, or with `*` at its end its beginning; `None`:
    /// any.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether it is for documents with this root element.
    pub(crate) fn is_for(&self, local: &str, namespace: Option<&str>) -> bool {
        let within = match self.namespace.as_deref().map(|wanted| (wanted, wanted.strip_suffix('*'))) {
            None => true,
            Some((_, Some(beginning))) => namespace.is_some_and(|found| found.starts_with(beginning)),
            Some((wanted, None)) => namespace == Some(wanted),
        };
        within && self.root.eq_ignore_ascii_case(local)
    }

    /// Decodes a document whose root start tag the parser stands at.
    pub(crate) fn decode(&self, parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
        let mut harvest = Harvest::new(parser, context, BYTES_A_RECORD);
        let captured = self.paths.capture(parser)?;
        let lookups = self.read_lookups(&captured);
        let made = Made::default();
        let mut seen = Seen::default();
        let mut matched = false;
        for record in &captured.records {
            let view = View { mapping: self, captured: &captured, lookups: &lookups, made: &made, record: Some(record) };
            for reading in self.readings.get(record.rule).into_iter().flatten() {
                matched |= reading.harvest(&view, matched, &mut seen, &mut harvest);
            }
        }
        let document = View { mapping: self, captured: &captured, lookups: &lookups, made: &made, record: None };
        let gateway: Option<GatewayId> = named_gateway(&self.gateway.evaluate(&document))?;
        if !matched {
            let what = format!("the mapping {} found no reading", shown(&self.name));
            return Err(Refusal::Document(RefusalCode::NoReadings, what));
        }
        harvest.into_decoded(Dialect::Mapped, gateway)
    }

    fn read_lookups(&self, captured: &Captured) -> Lookups {
        let mut lookups = Lookups::default();
        let (none, made) = (Lookups::default(), Made::default());
        for lookup in &self.lookups {
            let table = lookups.tables.entry(lookup.name.clone()).or_default();
            let mut only: Option<Option<String>> = None;
            for record in captured.records.iter().filter(|record| record.rule == lookup.record) {
                let view = View { mapping: self, captured, lookups: &none, made: &made, record: Some(record) };
                let (key, value) = (lookup.key.evaluate(&view), lookup.value.evaluate(&view).into_owned());
                if value.is_empty() {
                    continue;
                }
                match &mut only {
                    None => only = Some(Some(value.clone())),
                    Some(known) => *known = known.take().filter(|known| *known == value),
                }
                if !key.is_empty() {
                    table.entry(key.into_owned()).or_insert(value);
                }
            }
            lookups.only.extend(only.flatten().map(|only| (lookup.name.clone(), only)));
        }
        lookups
    }
}

/// The tables that were read from a document.
#[derive(Default)]
struct Lookups {
    tables: Tables,
    /// What those say that say the same of everything.
    only: HashMap<String, String>,
}

/// A record, or the document, with all that texts are made from.
struct View<'v, 'm> {
    mapping: &'v Mapping,
    captured: &'v Captured,
    lookups: &'v Lookups,
    /// With these lookups.
    made: &'m Made<'v>,
    record: Option<&'v Record>,
}

impl<'v> Source<'v, Slot> for View<'v, '_> {
    fn found(&self, slot: &Slot) -> &'v str {
        match self.record {
            Some(record) => self.captured.text(record, *slot),
            None => self.captured.of_document(*slot),
        }
    }

    fn map(&self, table: &str, key: &str) -> Option<&'v str> {
        entry(&self.mapping.tables, table, key)
    }

    fn lookup(&self, table: &str, key: &str) -> Option<&'v str> {
        entry(&self.lookups.tables, table, key)
    }

    fn only(&self, table: &str) -> Option<&'v str> {
        self.lookups.only.get(table).map(String::as_str)
    }

    fn made(&self) -> &Made<'v> {
        self.made
    }
}

/// What a document has stated so far, by hashes.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    /// How often each key.
    keys: HashMap<u64, usize>,
    /// The first text that tells apart what has the same sensor, metric and unit.
    series: HashMap<u64, u64>,
}

impl Seen {
    /// Whether this text is another one than the first of such a series.
    fn is_other_series(&mut self, series: (&str, &str, &str), text: &str) -> bool {
        let text = self.hasher.hash_one(text);
        *self.series.entry(self.hasher.hash_one(series)).or_insert(text) != text
    }

    /// Whether such a series was stated for this time before.
    fn again(&mut self, series: (&str, &str, &str), written: &str) -> bool {
        let count = self.keys.entry(self.hasher.hash_one((series, written))).or_insert(0);
        *count += 1;
        *count > 1
    }
}

impl Reading {
    /// Takes or refuses the reading of a record; false where it is none of it, which
    /// is not looked at where there is nothing to take and others `matched`.
    fn harvest<'v>(&'v self, view: &View<'v, '_>, matched: bool, seen: &mut Seen, harvest: &mut Harvest<'_, '_>) -> bool {
        let text = self.value.evaluate(view);
        let is_nothing = text.is_empty() || self.drop.has(&text, self.number);
        if is_nothing && matched {
            return true;
        }
        if !self.when.iter().all(|condition| condition.holds(view)) {
            return false;
        }
        if is_nothing {
            return true;
        }
        let (sensor, unit) = (self.sensor.evaluate(view), self.unit.evaluate(view));
        let written = self.time.as_ref().map_or(Cow::Borrowed(""), |time| time.evaluate(view));
        let metric = self.told_apart(view, (&sensor, &unit, &written), seen);
        let at = view.record.map_or(0, |record| record.at);
        let found = self.when_of(view, &written).and_then(|when| {
            let value = self.number(view, &text)?;
            let kind = self.kind.of(view, |text| Kind::parse(text).ok())?;
            let quantity = self.quantity.of(view, |text| Quantity::parse(text).ok())?;
            let meaning = Meaning { kind, quantity, assumed_unit: "" };
            Ok(Found { sensor: &sensor, role: self.role, metric: &metric, unit: &unit, when, value, meaning })
        });
        harvest.take(at, found);
        true
    }

    /// The metric, and behind it what tells it apart from others of that name. Units
    /// are compared as they are kept.
    fn told_apart<'v>(&'v self, view: &View<'v, '_>, of: (&str, &str, &str), seen: &mut Seen) -> Cow<'v, str> {
        let (sensor, unit, written) = of;
        let mut metric = self.metric.evaluate(view);
        if self.series.is_none() && self.distinguish.is_none() {
            return metric;
        }
        let unit = canonical_unit(unit).map_or(unit, |scaled| scaled.unit);
        if let Some(series) = &self.series {
            let text = series.evaluate(view);
            if !text.is_empty() && seen.is_other_series((sensor, &metric, unit), &text) {
                metric = Cow::Owned(format!("{metric} ({text})"));
            }
        }
        if let Some(distinguish) = &self.distinguish
            && seen.again((sensor, &metric, unit), written)
        {
            metric = Cow::Owned(format!("{metric} ({})", distinguish.evaluate(view)));
        }
        metric
    }

    fn number<'v>(&'v self, view: &View<'v, '_>, text: &str) -> Result<f64, Fault> {
        let mut value = self.number.parse(text).ok_or_else(|| bad_value(text))?;
        value = scaled(value, self.factor);
        if let Some(template) = &self.multiply {
            value *= operand(template, view, "multiply")?.unwrap_or(1.0);
        }
        if let Some(template) = &self.divide {
            value /= operand(template, view, "divide")?.filter(|by| *by != 0.0).unwrap_or(1.0);
        }
        if let Some(template) = &self.power10 {
            let power = operand(template, view, "power10")?.unwrap_or(0.0);
            if power.fract() != 0.0 || power.abs() > 30.0 {
                return Err((RefusalCode::BadValue, format!("power10 {power} is no whole number of at most 30")));
            }
            // Dividing by a power of ten gives the nearest number, multiplying by its inverse does not.
            let scale = 10_f64.powi(power.abs() as i32);
            value = if power < 0.0 { value / scale } else { value * scale };
        }
        if let Some(template) = &self.prefix {
            let text = template.evaluate(view);
            let factor = prefix(&text).ok_or_else(|| (RefusalCode::BadValue, format!("prefix {} is not known", shown(&text))))?;
            value = scaled(value, factor);
        }
        Ok(value)
    }

    fn when_of<'v>(&'v self, view: &View<'v, '_>, written: &str) -> Result<When, Fault> {
        if written.is_empty() {
            return Ok(When::Received);
        }
        let when = self.time_form.read(written, self.zone.as_ref())?;
        let Some(step) = &self.time_step else { return Ok(when) };
        let seconds = operand(step, view, "time-step")?.unwrap_or(0.0);
        let before = view.record.map_or(0, |record| record.before) as f64;
        let millis = seconds * 1000.0 * if self.falling { -before } else { before };
        if millis.abs() > 1e15 {
            return Err((RefusalCode::BadTime, "time-step leads out of the calendar".to_owned()));
        }
        later(when, millis.round() as i64)
    }
}

impl<T: Copy> Choice<T> {
    /// What holds of a record; nothing where it says nothing.
    fn of<'v>(&'v self, view: &View<'v, '_>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Fault> {
        let template = match self {
            Self::Always(choice) => return Ok(*choice),
            Self::Told(template) => template,
        };
        match template.evaluate(view).as_ref() {
            "" => Ok(None),
            text => {
                parse(text).map(Some).ok_or_else(|| (RefusalCode::BadValue, format!("{} is no kind or quantity", shown(text))))
            }
        }
    }
}

/// A number that takes part in a calculation; nothing where the document has none.
fn operand<'v>(template: &'v Template<Slot>, view: &View<'v, '_>, what: &str) -> Result<Option<f64>, Fault> {
    let text = template.evaluate(view);
    if text.is_empty() {
        return Ok(None);
    }
    let number =
        NumberForm::Decimal.parse(&text).or_else(|| text.starts_with("0x").then(|| NumberForm::Hex.parse(&text)).flatten());
    number.map(Some).ok_or_else(|| (RefusalCode::BadValue, format!("{what} {} is not a number", shown(&text))))
}

/// The mappings that come with the product, for devices that many have.
static PROFILES: LazyLock<Vec<Arc<Mapping>>> = LazyLock::new(|| {
    let compiled = SOURCES.iter().filter_map(|source| Mapping::parse(source).ok());
    compiled.map(Arc::new).collect()
});

const SOURCES: &[&str] = &[
    include_str!("../profiles/currentcost.toml"),
    include_str!("../profiles/mbus.toml"),
    include_str!("../profiles/eeml.toml"),
    include_str!("../profiles/hwgroup.toml"),
    include_str!("../profiles/kostal.toml"),
    include_str!("../profiles/xsenso.toml"),
    include_str!("../profiles/nexsens.toml"),
    include_str!("../profiles/espi.toml"),
    include_str!("../profiles/cim.toml"),
    include_str!("../profiles/idigi.toml"),
];

/// The mappings that come with the product.
#[must_use]
pub fn profiles() -> &'static [Arc<Mapping>] {
    &PROFILES
}

/// The mapping of that name that comes with the product, as it is written.
#[must_use]
pub fn profile_source(name: &str) -> Option<&'static str> {
    let place = profiles().iter().position(|mapping| mapping.name() == name)?;
    SOURCES.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_compiles() {
        for source in SOURCES {
            Mapping::parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
        }
        assert_eq!(profiles().len(), SOURCES.len());
        for profile in profiles() {
            let source = profile_source(profile.name()).unwrap();
            assert_eq!(Mapping::parse(source).unwrap().name(), profile.name());
        }
        assert_eq!(profile_source("none of them"), None);
    }
}
