//! Units: how devices spell them, and the canonical one that a series is kept in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::{ParseError, check_label};

/// A unit as a series carries it: canonical where it is known (`W`, `Wh`, `V`,
/// `A`, `Hz`, `°C`, `W/m²`, …), else as the device wrote it; empty for a bare
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit(String);

impl Unit {
    /// A unit exactly as given: up to 32 characters, or none.
    ///
    /// # Errors
    /// When it is longer, or has a control character or outer white space.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if !text.is_empty() {
            check_label("unit", text, 32)?;
        }
        Ok(Self(text.to_owned()))
    }

    /// The unit as text; empty for a bare number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Unit {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0
    }
}

/// A canonical unit and the way into it: `canonical = value × factor + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaled {
    /// The canonical spelling.
    pub unit: &'static str,
    /// What to multiply by.
    pub factor: f64,
    /// What to add after that.
    pub offset: f64,
}

impl Scaled {
    /// A value in the canonical unit.
    #[must_use]
    pub fn apply(&self, value: f64) -> f64 {
        value * self.factor + self.offset
    }
}

/// Spelling, canonical unit, factor, offset. Prefixes whose case decides
/// (`mW`, `MW`) stand here in every case that is unambiguous.
const TABLE: &[(&str, &str, f64, f64)] = &[
    ("W", "W", 1.0, 0.0),
    ("Watt", "W", 1.0, 0.0),
    ("Watts", "W", 1.0, 0.0),
    ("kW", "W", 1e3, 0.0),
    ("MW", "W", 1e6, 0.0),
    ("mW", "W", 1e-3, 0.0),
    ("GW", "W", 1e9, 0.0),
    ("Wh", "Wh", 1.0, 0.0),
    ("W*h", "Wh", 1.0, 0.0),
    ("kWh", "Wh", 1e3, 0.0),
    ("MWh", "Wh", 1e6, 0.0),
    ("MWH", "Wh", 1e6, 0.0),
    ("mWh", "Wh", 1e-3, 0.0),
    ("GWh", "Wh", 1e9, 0.0),
    ("Ws", "Wh", 1.0 / 3600.0, 0.0),
    ("W*s", "Wh", 1.0 / 3600.0, 0.0),
    ("J", "Wh", 1.0 / 3600.0, 0.0),
    ("kJ", "Wh", 1.0 / 3.6, 0.0),
    ("MJ", "Wh", 1e3 / 3.6, 0.0),
    ("GJ", "Wh", 1e6 / 3.6, 0.0),
    ("VA", "VA", 1.0, 0.0),
    ("kVA", "VA", 1e3, 0.0),
    ("MVA", "VA", 1e6, 0.0),
    ("VAh", "VAh", 1.0, 0.0),
    ("kVAh", "VAh", 1e3, 0.0),
    ("VA*s", "VAh", 1.0 / 3600.0, 0.0),
    ("VAs", "VAh", 1.0 / 3600.0, 0.0),
    ("var", "var", 1.0, 0.0),
    ("kvar", "var", 1e3, 0.0),
    ("Mvar", "var", 1e6, 0.0),
    ("varh", "varh", 1.0, 0.0),
    ("kvarh", "varh", 1e3, 0.0),
    ("V", "V", 1.0, 0.0),
    ("Volt", "V", 1.0, 0.0),
    ("Volts", "V", 1.0, 0.0),
    ("mV", "V", 1e-3, 0.0),
    ("kV", "V", 1e3, 0.0),
    ("A", "A", 1.0, 0.0),
    ("Amp", "A", 1.0, 0.0),
    ("Amps", "A", 1.0, 0.0),
    ("mA", "A", 1e-3, 0.0),
    ("kA", "A", 1e3, 0.0),
    ("Hz", "Hz", 1.0, 0.0),
    ("Hertz", "Hz", 1.0, 0.0),
    ("mHz", "Hz", 1e-3, 0.0),
    ("°C", "°C", 1.0, 0.0),
    ("Cel", "°C", 1.0, 0.0),
    ("C", "°C", 1.0, 0.0),
    ("degC", "°C", 1.0, 0.0),
    ("deg C", "°C", 1.0, 0.0),
    ("Celsius", "°C", 1.0, 0.0),
    ("°F", "°C", 5.0 / 9.0, -160.0 / 9.0),
    ("F", "°C", 5.0 / 9.0, -160.0 / 9.0),
    ("degF", "°C", 5.0 / 9.0, -160.0 / 9.0),
    ("Fahrenheit", "°C", 5.0 / 9.0, -160.0 / 9.0),
    ("K", "°C", 1.0, -273.15),
    ("Kelvin", "°C", 1.0, -273.15),
    ("W/m²", "W/m²", 1.0, 0.0),
    ("W/m2", "W/m²", 1.0, 0.0),
    ("W/m^2", "W/m²", 1.0, 0.0),
    ("W/sqm", "W/m²", 1.0, 0.0),
    ("kW/m²", "W/m²", 1e3, 0.0),
    ("kW/m2", "W/m²", 1e3, 0.0),
    ("Wh/m²", "Wh/m²", 1.0, 0.0),
    ("Wh/m2", "Wh/m²", 1.0, 0.0),
    ("kWh/m²", "Wh/m²", 1e3, 0.0),
    ("kWh/m2", "Wh/m²", 1e3, 0.0),
    ("m/s", "m/s", 1.0, 0.0),
    ("mps", "m/s", 1.0, 0.0),
    ("km/h", "m/s", 1.0 / 3.6, 0.0),
    ("mph", "m/s", 0.447_04, 0.0),
    ("%", "%", 1.0, 0.0),
    ("Pct", "%", 1.0, 0.0),
    ("%RH", "%RH", 1.0, 0.0),
    ("Pa", "Pa", 1.0, 0.0),
    ("hPa", "Pa", 1e2, 0.0),
    ("kPa", "Pa", 1e3, 0.0),
    ("mbar", "Pa", 1e2, 0.0),
    ("bar", "Pa", 1e5, 0.0),
    ("Ohm", "Ohm", 1.0, 0.0),
    ("Ohms", "Ohm", 1.0, 0.0),
    ("Ω", "Ohm", 1.0, 0.0),
    ("kOhm", "Ohm", 1e3, 0.0),
    ("deg", "°", 1.0, 0.0),
    ("°", "°", 1.0, 0.0),
    ("Degrees", "°", 1.0, 0.0),
    ("s", "s", 1.0, 0.0),
    ("sec", "s", 1.0, 0.0),
    ("secs", "s", 1.0, 0.0),
    ("ms", "s", 1e-3, 0.0),
    ("min", "s", 60.0, 0.0),
    ("h", "s", 3600.0, 0.0),
    ("hrs", "s", 3600.0, 0.0),
    ("hour", "s", 3600.0, 0.0),
    ("mm", "mm", 1.0, 0.0),
    ("lx", "lx", 1.0, 0.0),
    ("m3", "m³", 1.0, 0.0),
    ("m³", "m³", 1.0, 0.0),
    ("m^3", "m³", 1.0, 0.0),
    ("l", "m³", 1e-3, 0.0),
];

/// Looks up how a device's unit goes into the canonical one: the exact spelling
/// first, then without regard to case where that leaves only one meaning: not where it
/// tells a prefix (`MV` is no millivolt) or is of one letter that stands for something
/// else (`S` is no second). `None`: unknown, keep it as it came.
#[must_use]
pub fn canonical_unit(spelling: &str) -> Option<Scaled> {
    let row = TABLE.iter().find(|row| row.0 == spelling).or_else(|| loose_match(spelling))?;
    Some(Scaled { unit: row.1, factor: row.2, offset: row.3 })
}

type Row = (&'static str, &'static str, f64, f64);

fn loose_match(spelling: &str) -> Option<&'static Row> {
    let mut found: Option<&'static Row> = None;
    for row in TABLE.iter().filter(|row| row.0.eq_ignore_ascii_case(spelling)) {
        match found {
            Some(first) if (first.1, first.2, first.3) != (row.1, row.2, row.3) => return None,
            _ => found = Some(row),
        }
    }
    found.filter(|row| !is_decided_by_case(row.0, spelling))
}

/// Whether a known spelling in another case may be another unit: one of milli or mega
/// with the other of the two, or one letter but for those that mean the same in both cases.
fn is_decided_by_case(known: &str, spelling: &str) -> bool {
    let (first, rest) = known.split_at_checked(1).unwrap_or(("", known));
    if rest.is_empty() {
        return !["W", "V", "A", "J", "l"].contains(&first);
    }
    let is_prefixed = ["m", "M"].contains(&first) && TABLE.iter().any(|row| row.0 == rest);
    is_prefixed && !spelling.starts_with(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spelling: &str, value: f64, expected: Option<(&str, f64)>) {
        let got = canonical_unit(spelling).map(|scaled| (scaled.unit, scaled.apply(value)));
        match (got, expected) {
            (Some((unit, value)), Some((want_unit, want))) => {
                assert_eq!(unit, want_unit, "{spelling}");
                assert!((value - want).abs() < 1e-9, "{spelling}: {value} != {want}");
            }
            (got, expected) => assert_eq!(got, expected, "{spelling}"),
        }
    }

    #[test]
    fn devices_spellings_become_canonical_units() {
        check("kW", 1.5, Some(("W", 1500.0)));
        check("kw", 1.5, Some(("W", 1500.0)));
        check("KWH", 2.0, Some(("Wh", 2000.0)));
        check("kVAR", 2.0, Some(("var", 2000.0)));
        check("W*s", 3600.0, Some(("Wh", 1.0)));
        check("F", 212.0, Some(("°C", 100.0)));
        check("K", 300.0, Some(("°C", 26.85)));
        check("W/m2", 800.0, Some(("W/m²", 800.0)));
    }

    #[test]
    fn a_case_that_decides_is_never_guessed() {
        check("mW", 1.0, Some(("W", 0.001)));
        check("MW", 1.0, Some(("W", 1e6)));
        for unknown in ["mw", "MV", "Ma", "MHz", "MHZ", "mvar", "mVA", "mJ", "MS", "S", "H", "k", "c", "f"] {
            check(unknown, 1.0, None);
        }
        check("MVAR", 1.0, Some(("var", 1e6)));
        check("Mhz", 1.0, None);
        check("mhz", 1.0, Some(("Hz", 0.001)));
        check("MM", 1.0, Some(("mm", 1.0)));
        check("MIN", 1.0, Some(("s", 60.0)));
        check("M/S", 1.0, Some(("m/s", 1.0)));
        check("M3", 1.0, Some(("m³", 1.0)));
        for (spelling, unit) in [("w", "W"), ("v", "V"), ("a", "A"), ("hz", "Hz"), ("PCT", "%")] {
            check(spelling, 1.0, Some((unit, 1.0)));
        }
        check("L", 1.0, Some(("m³", 0.001)));
        check("j", 3600.0, Some(("Wh", 1.0)));
        check("furlong", 1.0, None);
        check("", 1.0, None);
    }
}
