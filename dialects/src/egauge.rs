//! eGauge: `group` with blocks of rows, and `data` as it answers when asked.
//!
//! A column is a register, which is the sensor; its type says what is summed up.
//! Registers are signed 64-bit numbers that may wrap; power is kept as watt
//! seconds, what else there is as parts of its unit times seconds. Rows run back in
//! time from the block's time stamp. In a document of differences the first row is
//! absolute and the chain goes on from block to block, also through one that repeats
//! its columns.

mod meaning;

use heliograph_domain::{Quantity, RefusalCode};

use crate::decode::{Context, Decoded, Fault, Refusal, named_gateway};
use crate::dialect::Dialect;
use crate::harvest::{Found, Harvest, Meaning, When, bad_value};
use crate::number::parse_number;
use crate::text::{bounded, shown, trim};
use crate::xml::{Parser, XmlError};
use meaning::{Powers, meaning};

/// About as short as cells get in practice.
const BYTES_A_CELL: usize = 10;

/// Decodes a document whose root start tag the parser stands at.
pub(crate) fn decode(parser: &mut Parser<'_>, context: &Context<'_>) -> Result<Decoded, Refusal> {
    let gateway = named_gateway(parser.attribute("serial").unwrap_or_default())?;
    let mut harvest = Harvest::new(parser, context, BYTES_A_CELL);
    let mut rows = Rows::default();
    if parser.is("data") {
        read_answer(parser, &mut rows.powers, &mut harvest)?;
    } else {
        parser.each_child(|parser| if parser.is("data") { rows.block(parser, &mut harvest) } else { parser.skip() })?;
    }
    let mut decoded = harvest.into_decoded(Dialect::EGauge, gateway)?;
    rows.powers.settle(&mut decoded);
    Ok(decoded)
}

/// A register: what it is called and what it sums up.
struct Register {
    name: String,
    kind: String,
    /// Where the chain of differences has come to; `None` behind a cell that could
    /// not be read.
    sum: Option<i64>,
    meaning: Meaning,
}

/// What blocks hand on to those after them.
#[derive(Default)]
struct Rows {
    registers: Vec<Register>,
    powers: Powers,
    is_delta: bool,
    /// A row has been read, so that in a chain the next one is a difference.
    begun: bool,
}

/// Which row of which block.
struct Row {
    at: usize,
    when: Result<When, Fault>,
    cells: Vec<String>,
}

impl Rows {
    fn block(&mut self, parser: &mut Parser<'_>, harvest: &mut Harvest<'_, '_>) -> Result<(), XmlError> {
        let stamp = parser.attribute("time_stamp").map(|text| bounded(text).into_owned());
        let step = parser.attribute("time_delta").map(|text| bounded(text).into_owned());
        if let Some(delta) = parser.attribute("delta") {
            self.is_delta = trim(delta).eq_ignore_ascii_case("true");
        }
        let mut fresh = Vec::new();
        let mut index = 0;
        parser.each_child(|parser| match () {
            () if parser.is("cname") => {
                let kind = bounded(parser.attribute("t").unwrap_or("P")).into_owned();
                let name = bounded(&parser.text_of_element()?).into_owned();
                self.powers.add(&name, &kind);
                fresh.push(Register::new(name, kind));
                Ok(())
            }
            () if parser.is("r") => {
                self.adopt(&mut fresh);
                let when = row_time(stamp.as_deref(), step.as_deref(), index);
                index += 1;
                let row = Row { at: parser.offset(), when, cells: cells(parser)? };
                self.row(&row, harvest);
                Ok(())
            }
            () => parser.skip(),
        })?;
        self.adopt(&mut fresh);
        Ok(())
    }

    /// A block with other columns begins anew; one that repeats them goes on.
    fn adopt(&mut self, fresh: &mut Vec<Register>) {
        let fresh = std::mem::take(fresh);
        let same = |(known, fresh): (&Register, &Register)| known.name == fresh.name && known.kind == fresh.kind;
        let repeated = fresh.len() == self.registers.len() && self.registers.iter().zip(&fresh).all(same);
        if !fresh.is_empty() && !repeated {
            self.registers = fresh;
            self.begun = false;
        }
    }

    fn row(&mut self, row: &Row, harvest: &mut Harvest<'_, '_>) {
        if row.cells.len() != self.registers.len() {
            let what = format!("row has {} cells for {} columns", row.cells.len(), self.registers.len());
            harvest.refuse(row.at, (RefusalCode::BadValue, what));
            // What follows in a chain has nothing to stand on.
            self.registers.iter_mut().for_each(|register| register.sum = None);
            self.begun = true;
            return;
        }
        let chained = self.is_delta && self.begun;
        self.begun = true;
        for (register, cell) in self.registers.iter_mut().zip(&row.cells) {
            let value = register.advance(cell, chained);
            let found = match (&row.when, value) {
                (Ok(when), Ok(value)) => Ok(register.found(*when, value)),
                (Err(fault), _) => Err(fault.clone()),
                (_, Err(fault)) => Err(fault),
            };
            harvest.take(row.at, found);
        }
    }
}

impl Register {
    fn new(name: String, kind: String) -> Self {
        let meaning = meaning(&name, Measure::of(&kind).cumulative);
        Self { name, kind, sum: None, meaning }
    }

    /// The register's value at the row of a cell.
    fn advance(&mut self, cell: &str, chained: bool) -> Result<i64, Fault> {
        let number = trim(cell)
            .parse::<i64>()
            .map_err(|_| (RefusalCode::BadValue, format!("register {} is no whole number of 64 bits", shown(trim(cell)))));
        let lost = || (RefusalCode::BadValue, "the chain of differences is broken before this row".to_owned());
        let value = match (chained, self.sum) {
            (false, _) => number,
            (true, Some(sum)) => number.map(|difference| sum.wrapping_add(difference)),
            (true, None) => Err(lost()),
        };
        self.sum = value.as_ref().ok().copied();
        value
    }

    fn found(&self, when: When, value: i64) -> Found<'_> {
        let measure = Measure::of(&self.kind);
        Found {
            sensor: &self.name,
            role: None,
            metric: measure.cumulative,
            unit: measure.summed,
            when,
            value: measure.scaled(value),
            meaning: self.meaning,
        }
    }
}

/// A type of register: the names of its sum and of its value of the moment, and
/// their units.
struct Measure {
    kind: &'static str,
    cumulative: &'static str,
    summed: &'static str,
    instant: &'static str,
    unit: &'static str,
    /// How many parts of `summed` one is.
    parts: f64,
}

impl Measure {
    fn of(kind: &str) -> &'static Self {
        MEASURES.iter().find(|measure| measure.kind == kind).unwrap_or(&OTHER)
    }

    fn scaled(&self, value: i64) -> f64 {
        value as f64 / self.parts
    }
}

const fn measure(
    kind: &'static str,
    cumulative: &'static str,
    summed: &'static str,
    instant: &'static str,
    unit: &'static str,
    parts: f64,
) -> Measure {
    Measure { kind, cumulative, summed, instant, unit, parts }
}

/// In how many parts money is counted.
const TWO_TO_THE_29: f64 = 536_870_912.0;

/// The types of registers and their quanta, as eGauge's own documentation of its
/// interface has them: power, irradiance, pressure, resistance, mass flow and numbers are
/// whole, money and volume flow are counted in smaller parts, all else in thousandths.
const MEASURES: &[Measure] = &[
    measure("P", "P.cumulative", "Ws", "P.instant", "W", 1.0),
    measure("S", "S.cumulative", "VAs", "S.instant", "VA", 1.0),
    measure("var", "var.cumulative", "var*s", "var.instant", "var", 1.0),
    measure("V", "V.cumulative", "V*s", "V.instant", "V", 1000.0),
    measure("I", "I.cumulative", "A*s", "I.instant", "A", 1000.0),
    measure("F", "F.cumulative", "Hz*s", "F.instant", "Hz", 1000.0),
    measure("T", "T.cumulative", "C*s", "T.instant", "C", 1000.0),
    measure("h", "h.cumulative", "%*s", "h.instant", "%", 1000.0),
    measure("%", "%.cumulative", "%*s", "%.instant", "%", 1000.0),
    measure("THD", "THD.cumulative", "%*s", "THD.instant", "%", 1000.0),
    measure("Ee", "Ee.cumulative", "W/m^2*s", "Ee.instant", "W/m^2", 1.0),
    measure("Pa", "Pa.cumulative", "Pa*s", "Pa.instant", "Pa", 1.0),
    measure("R", "R.cumulative", "Ohm*s", "R.instant", "Ohm", 1.0),
    measure("Q", "Q.cumulative", "g", "Q.instant", "g/s", 1.0),
    measure("Qe", "Qe.cumulative", "Ah*s", "Qe.instant", "Ah", 1000.0),
    measure("Qv", "Qv.cumulative", "m^3", "Qv.instant", "m^3/s", 1e9),
    measure("m", "m.cumulative", "g*s", "m.instant", "g", 1000.0),
    measure("v", "v.cumulative", "m", "v.instant", "m/s", 1000.0),
    measure("a", "a.cumulative", "deg*s", "a.instant", "deg", 1000.0),
    measure("aq", "aq.cumulative", "aq*s", "aq.instant", "aq", 1000.0),
    measure("ppm", "ppm.cumulative", "ppm*s", "ppm.instant", "ppm", 1000.0),
    measure("$", "$.cumulative", "$", "$.instant", "$/s", TWO_TO_THE_29),
    measure("#", "#.cumulative", "s", "#.instant", "", 1.0),
    measure("#3", "#3.cumulative", "s", "#3.instant", "", 1000.0),
    measure("d", "d.cumulative", "s", "d.instant", "", 1.0),
];

const OTHER: Measure = measure("", "cumulative", "", "instant", "", 1000.0);

fn row_time(stamp: Option<&str>, step: Option<&str>, index: i64) -> Result<When, Fault> {
    let bad = |what: &str, text: Option<&str>| {
        (RefusalCode::BadTime, format!("{what} {} cannot be read", shown(text.unwrap_or_default())))
    };
    let first = stamp.and_then(seconds).ok_or_else(|| bad("time_stamp", stamp))?;
    let step = match (step, index) {
        (None, 0) => 0,
        (None, _) => return Err(bad("time_delta", step)),
        (Some(text), _) => seconds(text).filter(|step| *step > 0 || index == 0).ok_or_else(|| bad("time_delta", step))?,
    };
    let time = index.checked_mul(step).and_then(|back| first.checked_sub(back));
    time.map_or_else(|| Err(bad("time_stamp", stamp)), When::unix)
}

/// Seconds, decimal or hexadecimal with `0x`.
fn seconds(text: &str) -> Option<i64> {
    let text = trim(text);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with(['+', '-'])),
        None => text.parse().ok(),
    }
}

fn cells(parser: &mut Parser<'_>) -> Result<Vec<String>, XmlError> {
    let mut cells = Vec::new();
    parser.each_child(|parser| {
        if !parser.is("c") {
            return parser.skip();
        }
        cells.push(bounded(&parser.text_of_element()?).into_owned());
        Ok(())
    })?;
    Ok(cells)
}

/// The form in which a device answers: one time, and of each register its sum and
/// its value of the moment.
fn read_answer(parser: &mut Parser<'_>, powers: &mut Powers, harvest: &mut Harvest<'_, '_>) -> Result<(), XmlError> {
    let mut when = Ok(When::Received);
    parser.each_child(|parser| match () {
        () if parser.is("ts") => {
            let text = parser.text_of_element()?;
            when = row_time(Some(&text), None, 0);
            Ok(())
        }
        () if parser.is("r") => {
            let at = parser.offset();
            let kind = bounded(parser.attribute("t").unwrap_or("P")).into_owned();
            let mut register = Register::new(bounded(parser.attribute("n").unwrap_or_default()).into_owned(), kind);
            powers.add(&register.name, &register.kind);
            parser.each_child(|parser| {
                let is_instant = parser.is("i");
                if !is_instant && !parser.is("v") {
                    return parser.skip();
                }
                let text = parser.text_of_element()?;
                let found = match is_instant {
                    true => instant(&register, &text, &when),
                    false => {
                        when.clone().and_then(|when| register.advance(&text, false).map(|value| register.found(when, value)))
                    }
                };
                harvest.take(at, found);
                Ok(())
            })
        }
        () => parser.skip(),
    })
}

fn instant<'f>(register: &'f Register, text: &str, when: &Result<When, Fault>) -> Result<Found<'f>, Fault> {
    let measure = Measure::of(&register.kind);
    let meaning = if measure.kind == "P" { Meaning::gauge(Quantity::AcPower) } else { Meaning::UNKNOWN };
    Ok(Found {
        sensor: &register.name,
        role: None,
        metric: measure.instant,
        unit: measure.unit,
        when: when.clone()?,
        value: parse_number(text).ok_or_else(|| bad_value(text))?,
        meaning,
    })
}
