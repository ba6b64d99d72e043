//! A mapping as it is written, and its compilation: every text, path and table is
//! checked here, so that a mapping that compiles can only find or not find.

use std::collections::BTreeMap;

use heliograph_domain::{Kind, Quantity, SensorRole, Zone};
use serde::Deserialize;

use super::capture::{Paths, Slot};
use super::path::{Selector, absolute};
use super::template::{Condition, Tables, Template};
use super::value::{Drop, NumberForm, TimeForm};
use super::{Choice, Lookup, Mapping, Reading};

/// More records of different kinds than any device has.
const MOST_RULES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    name: String,
    root: String,
    namespace: Option<String>,
    #[serde(default)]
    gateway: String,
    #[serde(default)]
    map: Tables,
    #[serde(default)]
    lookup: BTreeMap<String, WrittenLookup>,
    reading: Vec<WrittenReading>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenLookup {
    each: String,
    key: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenReading {
    each: String,
    #[serde(default)]
    when: Vec<String>,
    sensor: String,
    role: Option<String>,
    metric: String,
    #[serde(default)]
    unit: String,
    value: String,
    #[serde(default = "decimal")]
    number: NumberForm,
    #[serde(default)]
    drop: Vec<String>,
    #[serde(default = "one")]
    factor: f64,
    multiply: Option<String>,
    divide: Option<String>,
    power10: Option<String>,
    prefix: Option<String>,
    time: Option<String>,
    #[serde(default = "rfc3339")]
    time_format: String,
    zone: Option<String>,
    time_step: Option<String>,
    #[serde(default)]
    time_falls: bool,
    series: Option<String>,
    distinguish: Option<String>,
    kind: Option<String>,
    quantity: Option<String>,
}

fn decimal() -> NumberForm {
    NumberForm::Decimal
}

fn one() -> f64 {
    1.0
}

fn rfc3339() -> String {
    "rfc3339".to_owned()
}

/// Compiles a mapping, or says what is wrong with it.
pub(super) fn compile(toml: &str) -> Result<Mapping, String> {
    let written: Written = toml_edit::de::from_str(toml).map_err(|error| error.to_string())?;
    if written.reading.is_empty() || written.reading.len() + written.lookup.len() > MOST_RULES {
        return Err(format!("a mapping has 1 to {MOST_RULES} readings and lookups"));
    }
    let is_name = |name: &str| !name.is_empty() && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    if !is_name(&written.root) || written.namespace.as_deref().is_some_and(|name| !is_name(name)) {
        return Err("root and namespace are names, without white space".to_owned());
    }
    let mut compiler =
        Compiler { paths: Paths::default(), maps: &written.map, lookups: written.lookup.keys().cloned().collect(), places: 0 };
    let gateway = compiler.template("gateway", None, &written.gateway)?;
    let mut lookups = Vec::new();
    for (name, lookup) in &written.lookup {
        lookups.push(compiler.lookup(name, lookup)?);
    }
    let mut readings: Vec<Vec<Reading>> = Vec::new();
    for (index, reading) in written.reading.iter().enumerate() {
        let (record, reading) = compiler.reading(reading).map_err(|what| format!("reading {}: {what}", index + 1))?;
        readings.resize_with(readings.len().max(record + 1), Vec::new);
        if let Some(of_record) = readings.get_mut(record) {
            of_record.push(reading);
        }
    }
    let paths = compiler.paths;
    Ok(Mapping {
        name: written.name,
        root: written.root,
        namespace: written.namespace,
        paths,
        gateway,
        lookups,
        readings,
        tables: written.map,
    })
}

struct Compiler<'w> {
    paths: Paths,
    maps: &'w Tables,
    lookups: Vec<String>,
    /// How many texts have a place where what is made of them is kept.
    places: usize,
}

impl Compiler<'_> {
    fn lookup(&mut self, name: &str, written: &WrittenLookup) -> Result<Lookup, String> {
        let at = |what: String| format!("lookup {name}: {what}");
        let record = self.paths.add_record(absolute(&written.each).map_err(at)?);
        let key = self.template("key", Some(record), &written.key).map_err(at)?;
        let value = self.template("value", Some(record), &written.value).map_err(at)?;
        Ok(Lookup { name: name.to_owned(), record, key, value })
    }

    fn reading(&mut self, written: &WrittenReading) -> Result<(usize, Reading), String> {
        let record = self.paths.add_record(absolute(&written.each)?);
        let when = written.when.iter().map(|condition| self.condition(record, condition)).collect::<Result<_, _>>()?;
        if !written.factor.is_finite() {
            return Err("factor is not finite".to_owned());
        }
        let reading = Reading {
            when,
            sensor: self.template("sensor", Some(record), &written.sensor)?,
            role: named("role", written.role.as_deref(), |text| SensorRole::parse(text).ok())?,
            metric: self.template("metric", Some(record), &written.metric)?,
            unit: self.template("unit", Some(record), &written.unit)?,
            value: self.template("value", Some(record), &written.value)?,
            number: written.number,
            drop: Drop::new(&written.drop, written.number),
            factor: written.factor,
            multiply: self.optional("multiply", record, written.multiply.as_deref())?,
            divide: self.optional("divide", record, written.divide.as_deref())?,
            power10: self.optional("power10", record, written.power10.as_deref())?,
            prefix: self.optional("prefix", record, written.prefix.as_deref())?,
            time: self.optional("time", record, written.time.as_deref())?,
            time_form: TimeForm::parse(&written.time_format)?,
            zone: named("zone", written.zone.as_deref(), |text| Zone::parse(text).ok())?,
            time_step: self.optional("time-step", record, written.time_step.as_deref())?,
            falling: written.time_falls,
            series: self.optional("series", record, written.series.as_deref())?,
            distinguish: self.optional("distinguish", record, written.distinguish.as_deref())?,
            kind: self.choice("kind", record, written.kind.as_deref(), |text| Kind::parse(text).ok())?,
            quantity: self.choice("quantity", record, written.quantity.as_deref(), |text| Quantity::parse(text).ok())?,
        };
        Ok((record, reading))
    }

    fn optional(&mut self, what: &str, record: usize, text: Option<&str>) -> Result<Option<Template<Slot>>, String> {
        text.map(|text| self.template(what, Some(record), text)).transpose()
    }

    /// A name of a closed set, or a text in which the document says it.
    fn choice<T>(
        &mut self,
        what: &str,
        record: usize,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Choice<T>, String> {
        match text {
            Some(text) if text.contains('{') => self.template(what, Some(record), text).map(Choice::Told),
            text => named(what, text, parse).map(Choice::Always),
        }
    }

    fn template(&mut self, what: &str, record: Option<usize>, text: &str) -> Result<Template<Slot>, String> {
        let at = |problem: String| format!("{what}: {problem}");
        let mut template = Template::parse(text)
            .map_err(at)?
            .try_map(&mut |selector: Selector| self.paths.add(record, &selector))
            .map_err(at)?;
        template.place(&mut self.places);
        let (maps, lookups) = template.tables();
        if let Some(unknown) = maps.iter().find(|table| !self.maps.contains_key(**table)) {
            return Err(format!("{what}: there is no table map.{unknown}"));
        }
        if let Some(unknown) = lookups.iter().find(|table| !self.lookups.iter().any(|known| known == *table)) {
            return Err(format!("{what}: there is no lookup.{unknown}"));
        }
        Ok(template)
    }

    fn condition(&mut self, record: usize, text: &str) -> Result<Condition<Slot>, String> {
        let condition = Condition::parse(text)?;
        condition.try_map(&mut |selector: Selector| self.paths.add(Some(record), &selector))
    }
}

/// A name of a closed set.
fn named<T>(what: &str, text: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, String> {
    match text {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or_else(|| format!("{what} {text:?} is not known")),
    }
}
