//! What the registers of an eGauge mean. Their owner chose the names; the usual ones
//! say what flows, and which of them say once more what others say already.

use std::collections::HashSet;

use heliograph_domain::{Kind, Quantity, SensorRole};

use crate::decode::Decoded;
use crate::harvest::Meaning;
use crate::text::trim;

/// Words for what produces.
const SOURCES: [&str; 7] = ["solar", "pv", "gen", "generation", "generator", "inverter", "inverters"];
/// Words that the sum over all of these is called by.
const TOTALS: [&str; 3] = ["gen", "generation", "total"];
/// Words for the connection to the grid.
const GRID: [&str; 2] = ["grid", "mains"];

/// What a register means by itself. One that ends in `+` counts what is positive
/// only, others may fall.
pub(super) fn meaning(register: &str, metric: &str) -> Meaning {
    let kind = if register.ends_with('+') { Kind::Counter } else { Kind::NetCounter };
    let quantity = match () {
        () if metric != "P.cumulative" => Quantity::Other,
        () if is_source(register) => Quantity::EnergyProduced,
        () if has_word(register, &GRID) || words(register).eq(["utility"]) => Quantity::EnergyImported,
        () => Quantity::EnergyConsumed,
    };
    Meaning::of(kind, quantity)
}

/// The words of a name in lower case, without a number behind them.
fn words(name: &str) -> impl Iterator<Item = String> {
    let words = name.split(|c: char| !c.is_alphanumeric()).map(|word| word.trim_end_matches(char::is_numeric));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn has_word(name: &str, known: &[&str]) -> bool {
    words(name).any(|word| known.contains(&word.as_str()))
}

fn is_source(name: &str) -> bool {
    has_word(name, &SOURCES)
}

fn is_total(name: &str) -> bool {
    is_source(name) && words(name).all(|word| TOTALS.contains(&word.as_str()))
}

/// The registers of power that a document names.
#[derive(Default)]
pub(super) struct Powers {
    names: HashSet<String>,
}

impl Powers {
    pub(super) fn add(&mut self, name: &str, kind: &str) {
        if kind == "P" && !self.names.contains(trim(name)) {
            self.names.insert(trim(name).to_owned());
        }
    }

    /// Takes their meaning from registers that say what others say: of `X` and `X+` the
    /// second, which is the part of the first that is positive, and the total of what
    /// produces where any of that is named. Else a site would count them twice.
    pub(super) fn settle(&self, decoded: &mut Decoded) {
        let is_part = |name: &str| name.strip_suffix('+').is_some_and(|whole| self.names.contains(trim(whole)));
        let has_sources = self.names.iter().any(|name| is_source(name) && !is_total(name));
        let again = |name: &str| self.names.contains(name) && (is_part(name) || (has_sources && is_total(name)));
        let again: Vec<bool> = decoded.sensors.iter().map(|sensor| again(sensor.id.as_str())).collect();
        for (sensor, _) in decoded.sensors.iter_mut().zip(&again).filter(|(_, again)| **again) {
            sensor.role = Some(SensorRole::Other);
        }
        for reading in &mut decoded.readings {
            if again.get(reading.sensor) == Some(&true) {
                reading.quantity = Some(Quantity::Other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_say_what_flows() {
        for (quantity, names) in [
            (Quantity::EnergyProduced, ["Solar", "SOLAR+", "PV2 roof", "gen", "Diesel-Generator", "Inverter 1"].as_slice()),
            (Quantity::EnergyImported, &["Grid", "grid+", "P112 Mains Power", "Utility"]),
            (
                Quantity::EnergyConsumed,
                &[
                    "General lighting",
                    "Emergency panel",
                    "Utility room",
                    "Regenerative dryer",
                    "Engine block",
                    "use",
                    "lamp+",
                    "+",
                ],
            ),
        ] {
            for name in names {
                assert_eq!(meaning(name, "P.cumulative").quantity, Some(quantity), "{name}");
                assert_eq!(meaning(name, "S.cumulative").quantity, Some(Quantity::Other), "{name}");
            }
        }
    }
}
