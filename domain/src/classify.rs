//! The guess of kind and quantity for a series that says neither, from its
//! metric name and canonical unit. An owner can set both.

use crate::sensor::SensorRole;
use crate::series::{Kind, Quantity};
use crate::unit::Unit;

/// What a series is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classification {
    /// How its numbers behave.
    pub kind: Kind,
    /// What they mean.
    pub quantity: Quantity,
}

/// Guesses by metric name (without regard to case), canonical unit and the role
/// of the sensor, which decides between energies that are all called `energy`.
#[must_use]
pub fn classify(metric: &str, unit: &Unit, role: SensorRole) -> Classification {
    let name = metric.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let gauge = |quantity| Classification { kind: Kind::Gauge, quantity };
    match unit.as_str() {
        "W" if has(&["dc", "string", "mpp"]) => gauge(Quantity::DcPower),
        "W" => gauge(Quantity::AcPower),
        "Wh" => Classification { kind: energy_kind(&name), quantity: energy_quantity(&name, role) },
        "VA" => gauge(Quantity::ApparentPower),
        "var" => gauge(Quantity::ReactivePower),
        "V" => gauge(Quantity::Voltage),
        "A" => gauge(Quantity::Current),
        "Hz" => gauge(Quantity::Frequency),
        "W/m²" if has(&["horizontal", "ghi"]) => gauge(Quantity::IrradianceHorizontal),
        "W/m²" => gauge(Quantity::IrradiancePlane),
        "°C" if has(&["module", "panel", "cell", "bom"]) => gauge(Quantity::TemperatureModule),
        "°C" if has(&["amb", "air", "out"]) => gauge(Quantity::TemperatureAmbient),
        "°C" if role == SensorRole::Weather => gauge(Quantity::TemperatureAmbient),
        "°C" => gauge(Quantity::TemperatureDevice),
        "m/s" if has(&["wind", "speed"]) || role == SensorRole::Weather => gauge(Quantity::WindSpeed),
        "%RH" => gauge(Quantity::Humidity),
        "%" if has(&["soc", "charge"]) => gauge(Quantity::StateOfCharge),
        "%" if has(&["humid", "rh"]) => gauge(Quantity::Humidity),
        "VAh" | "varh" | "Wh/m²" | "m³" => Classification { kind: Kind::Counter, quantity: Quantity::Other },
        _ if has(&["power_factor", "powerfactor", "cosphi", "cos_phi"]) || name == "pf" => gauge(Quantity::PowerFactor),
        _ if has(&["status", "state", "error", "alarm"]) => gauge(Quantity::Status),
        _ => gauge(Quantity::Other),
    }
}

/// The role that a series suggests for a sensor of which nothing else is known, by its
/// quantity where it is stated, else by the guess. That an energy is taken for produced
/// because nothing says what it is makes no inverter of its sensor: it may as well be
/// a household's, or a heat meter's.
#[must_use]
pub fn suggested_role(metric: &str, unit: &Unit, stated: Option<Quantity>) -> Option<SensorRole> {
    let guess = || {
        let quantity = classify(metric, unit, SensorRole::Other).quantity;
        (quantity != Quantity::EnergyProduced || is_called_produced(metric)).then_some(quantity)
    };
    stated.or_else(guess).and_then(SensorRole::suggested_by)
}

fn is_called_produced(metric: &str) -> bool {
    let name = metric.to_ascii_lowercase();
    ["produc", "generat", "yield", "solar"].iter().any(|word| name.contains(word))
}

fn energy_kind(name: &str) -> Kind {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["interval", "e_int"]) {
        Kind::IntervalEnergy
    } else if has(&["day", "daily", "today"]) {
        Kind::DayCounter
    } else if has(&["net"]) {
        Kind::NetCounter
    } else {
        Kind::Counter
    }
}

fn energy_quantity(name: &str, role: SensorRole) -> Quantity {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["discharge"]) {
        Quantity::EnergyDischarged
    } else if has(&["charge"]) {
        Quantity::EnergyCharged
    } else if has(&["import", "drawn", "delivered", "purchas"]) {
        Quantity::EnergyImported
    } else if has(&["export", "fed", "feed", "received", "sold"]) {
        Quantity::EnergyExported
    } else if has(&["consum", "load", "used"]) || role == SensorRole::Load {
        Quantity::EnergyConsumed
    } else if role == SensorRole::Grid {
        Quantity::EnergyImported
    } else {
        Quantity::EnergyProduced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_follows_the_table() {
        let check = |metric: &str, unit: &str, role, kind, quantity| {
            let got = classify(metric, &Unit::parse(unit).unwrap(), role);
            assert_eq!(got, Classification { kind, quantity }, "{metric} in {unit}");
        };
        check("power", "W", SensorRole::Inverter, Kind::Gauge, Quantity::AcPower);
        check("P_DC1", "W", SensorRole::Inverter, Kind::Gauge, Quantity::DcPower);
        check("energy", "Wh", SensorRole::Inverter, Kind::Counter, Quantity::EnergyProduced);
        check("energy", "Wh", SensorRole::Grid, Kind::Counter, Quantity::EnergyImported);
        check("energy_export", "Wh", SensorRole::Grid, Kind::Counter, Quantity::EnergyExported);
        check("EnergyToday", "Wh", SensorRole::Inverter, Kind::DayCounter, Quantity::EnergyProduced);
        check("E_INT", "Wh", SensorRole::Inverter, Kind::IntervalEnergy, Quantity::EnergyProduced);
        check("battery_discharge", "Wh", SensorRole::Battery, Kind::Counter, Quantity::EnergyDischarged);
        check("TmpAmb", "°C", SensorRole::Other, Kind::Gauge, Quantity::TemperatureAmbient);
        check("poa", "W/m²", SensorRole::Weather, Kind::Gauge, Quantity::IrradiancePlane);
        check("value", "", SensorRole::Other, Kind::Gauge, Quantity::Other);
    }

    #[test]
    fn an_energy_of_which_nothing_is_said_suggests_no_role() {
        let check = |metric: &str, unit: &str, stated, role| {
            let unit = Unit::parse(unit).unwrap();
            assert_eq!(suggested_role(metric, &unit, stated), role, "{metric} in {unit}, {stated:?}");
        };
        check("interval", "Wh", None, None);
        check("Energy", "Wh", None, None);
        check("power", "W", None, None);
        check("energy_yield", "Wh", None, Some(SensorRole::Inverter));
        check("TotalProduction", "Wh", None, Some(SensorRole::Inverter));
        check("dc_power", "W", None, Some(SensorRole::Inverter));
        check("energy_import", "Wh", None, Some(SensorRole::Grid));
        check("interval", "Wh", Some(Quantity::EnergyImported), Some(SensorRole::Grid));
        check("energy", "Wh", Some(Quantity::EnergyProduced), Some(SensorRole::Inverter));
        check("energy_yield", "Wh", Some(Quantity::Other), None);
    }
}
