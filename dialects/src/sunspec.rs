//! SunSpec data exchange: `sunSpecData` with devices, models and points, and the
//! plant extract that carries such a document.
//!
//! The gateway is the logger (`lid`); a sensor is a device by its id, else by
//! manufacturer, model and serial number; the metric is model and point, each with
//! its index. A value may carry its scale factor, or a point beside it does, named
//! by the model's definition, in the names of either generation. Texts and the common
//! model describe the device and are no readings.

mod models;

use std::borrow::Cow;
use std::collections::HashMap;

use heliograph_domain::{RefusalCode, SensorRole};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, When, bad_value};
use crate::number::parse_number;
use crate::text::{bounded, shown};
use crate::xml::{Parser, XmlError};

/// The namespaces of both versions.
const NAMESPACES: [&str; 2] = ["http://www.sunspec.org/ws/data/", "http://www.sunspec.org/data/v1"];

/// Scale factors beyond ten powers of ten are mistakes.
const MAX_SCALE: i32 = 10;

/// About as short as points get in practice.
const BYTES_A_POINT: usize = 25;

/// Whether documents of this dialect have this namespace.
pub(crate) fn is_namespace(uri: &str) -> bool {
    NAMESPACES.iter().any(|known| known.trim_end_matches('/') == uri.trim_end_matches('/'))
}

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let mut document = Document { harvest: Harvest::new(parser, context, BYTES_A_POINT), logger: None };
    if parser.is("sunSpecPlantExtract") {
        parser.each_child(|parser| match parser.is("sunSpecData") {
            true => document.read(parser),
            false => parser.skip(),
        })?;
    } else {
        document.read(parser)?;
    }
    let gateway = named_gateway(document.logger.as_deref().unwrap_or_default())?;
    document.harvest.into_decoded(Dialect::SunSpec, gateway)
}

struct Document<'a, 'c> {
    harvest: Harvest<'a, 'c>,
    /// The first that is named.
    logger: Option<String>,
}

impl Document<'_, '_> {
    fn read(&mut self, parser: &mut Parser<'_>) -> Result<(), XmlError> {
        parser.each_child(|parser| {
            if !parser.is("d") {
                return parser.skip();
            }
            let device = Device::read(parser)?;
            let stranger = device.logger.is_some() && self.logger.is_some() && device.logger != self.logger;
            self.logger = self.logger.take().or_else(|| device.logger.clone());
            match stranger {
                true => self.harvest.refuse(device.at, (RefusalCode::BadName, "the device belongs to another logger".to_owned())),
                false => device.harvest(&mut self.harvest),
            }
            Ok(())
        })
    }
}

/// A device, as written.
struct Device {
    at: usize,
    logger: Option<String>,
    id: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    time: Option<String>,
    models: Vec<Model>,
}

/// A block of points.
struct Model {
    id: String,
    /// The number of the model, if it is one.
    number: Option<u32>,
    index: Option<String>,
    serial: Option<String>,
    points: Vec<Point>,
}

struct Point {
    at: usize,
    id: Box<str>,
    index: Option<Box<str>>,
    scale: Option<Box<str>>,
    unit: Option<Box<str>>,
    time: Option<Box<str>>,
    text: Box<str>,
}

fn attribute(parser: &Parser<'_>, name: &str) -> Option<String> {
    parser.attribute(name).map(bounded).filter(|text| !text.is_empty()).map(Cow::into_owned)
}

impl Device {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let mut device = Self {
            at: parser.offset(),
            logger: attribute(parser, "lid"),
            id: attribute(parser, "id"),
            manufacturer: attribute(parser, "man"),
            model: attribute(parser, "mod"),
            serial: attribute(parser, "sn"),
            time: attribute(parser, "t"),
            models: Vec::new(),
        };
        parser.each_child(|parser| {
            if !parser.is("m") {
                return parser.skip();
            }
            let model = Model::read(parser)?;
            match model.number {
                Some(1) => device.describe(&model),
                _ => device.models.push(model),
            }
            Ok(())
        })?;
        Ok(device)
    }

    /// The common model says what attributes leave out.
    fn describe(&mut self, common: &Model) {
        let point = |names: [&str; 2]| {
            let found = common.points.iter().find(|point| names.contains(&&*point.id));
            found.map(|point| point.text.to_string()).filter(|text| !text.is_empty())
        };
        self.manufacturer = self.manufacturer.take().or_else(|| point(["Mn", "C_Manufacturer"]));
        self.model = self.model.take().or_else(|| point(["Md", "C_Model"]));
        self.serial = self.serial.take().or_else(|| point(["SN", "C_SerialNumber"])).or_else(|| common.serial.clone());
    }

    fn sensor(&self, model: &Model) -> Result<String, Fault> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let serial = self.serial.as_ref().or(model.serial.as_ref());
        let parts: Vec<&str> =
            [self.manufacturer.as_ref(), self.model.as_ref(), serial].into_iter().flatten().map(String::as_str).collect();
        match parts.is_empty() {
            false => Ok(parts.join("-")),
            true => Err((RefusalCode::BadName, "the device has neither id nor serial number".to_owned())),
        }
    }

    fn harvest(&self, harvest: &mut Harvest<'_, '_>) {
        for model in &self.models {
            let sensor = self.sensor(model);
            let scales = model.scales();
            for point in model.points.iter().filter(|point| point.is_measured(model)) {
                let known = model.number.and_then(|number| models::find(number, &point.id));
                let metric = point.metric(model);
                let unit = point.unit.as_deref().or(known.map(|known| known.unit)).unwrap_or_default();
                let found = sensor.as_ref().map_err(Fault::clone).and_then(|sensor| {
                    Ok(Found {
                        sensor,
                        role: model.number.and_then(role),
                        metric: &metric,
                        unit,
                        when: When::written(point.time.as_deref().or(self.time.as_deref()).unwrap_or_default())?,
                        value: point.value(known, &scales)?,
                        meaning: models::meaning(model.number, &point.id, unit),
                    })
                });
                harvest.take(point.at, found);
            }
        }
    }
}

impl Model {
    fn read(parser: &mut Parser<'_>) -> Result<Self, XmlError> {
        let id = attribute(parser, "id").unwrap_or_default();
        let number = id.parse().ok();
        let mut model = Self { id, number, index: attribute(parser, "x"), serial: attribute(parser, "sn"), points: Vec::new() };
        parser.each_child(|parser| {
            if !parser.is("p") {
                return parser.skip();
            }
            let text = |name| attribute(parser, name).map(String::into_boxed_str);
            let mut point = Point {
                at: parser.offset(),
                id: text("id").unwrap_or_default(),
                index: text("x"),
                scale: text("sf"),
                unit: text("u"),
                time: text("t"),
                text: Box::default(),
            };
            point.text = bounded(&parser.text_of_element()?).into();
            // What was left empty is kept nowhere.
            if !point.text.is_empty() {
                model.points.push(point);
            }
            Ok(())
        })?;
        Ok(model)
    }

    /// The scale factors that stand beside the points.
    fn scales(&self) -> HashMap<&str, &str> {
        self.points.iter().filter(|point| point.is_scale()).map(|point| (&*point.id, &*point.text)).collect()
    }
}

impl Point {
    fn is_scale(&self) -> bool {
        self.id.ends_with("_SF")
    }

    /// Whether it should be a number: not a scale factor, not left empty, and no
    /// text where a text may stand.
    fn is_measured(&self, model: &Model) -> bool {
        let is_number = || parse_number(&self.text).is_some();
        let is_known = || model.number.is_some_and(|number| models::find(number, &self.id).is_some());
        !self.is_scale() && !self.text.is_empty() && (is_number() || is_known() || self.scale.is_some())
    }

    fn metric(&self, model: &Model) -> String {
        let mut metric = model.id.clone();
        for (separator, text) in [('.', model.index.as_deref()), ('/', Some(&*self.id)), ('.', self.index.as_deref())] {
            if let Some(text) = text {
                metric.push(separator);
                metric.push_str(text);
            }
        }
        metric
    }

    /// The number, scaled by its own factor, else by the one beside it.
    fn value(&self, known: Option<&models::Known>, scales: &HashMap<&str, &str>) -> Result<f64, Fault> {
        let number = parse_number(&self.text).ok_or_else(|| bad_value(&self.text))?;
        let beside = || match known.map(|known| known.scale).or_else(|| models::first_generation_scale(&self.id)) {
            Some(scale) => scales.get(scale).copied(),
            None => scales.get(format!("{}_SF", self.id).as_str()).copied(),
        };
        let Some(text) = self.scale.as_deref().or_else(beside) else { return Ok(number) };
        let scale = text.parse::<i32>().ok().filter(|scale| (-MAX_SCALE..=MAX_SCALE).contains(scale));
        let scale = scale.ok_or_else(|| {
            (RefusalCode::BadValue, format!("scale factor {} is no whole number of at most {MAX_SCALE}", shown(text)))
        })?;
        // Dividing by a power of ten gives the nearest number, multiplying by its inverse does not.
        let power = 10_f64.powi(scale.abs());
        Ok(if scale < 0 { number / power } else { number * power })
    }
}

/// What kind of device has a model. A meter's place in the site is not said.
fn role(model: u32) -> Option<SensorRole> {
    match model {
        101..=103 | 111..=113 | 160 => Some(SensorRole::Inverter),
        302..=308 => Some(SensorRole::Weather),
        _ => None,
    }
}
