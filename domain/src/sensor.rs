//! What a sensor is to its site.

use crate::series::{Quantity, named_set};

named_set! {
    /// The role that decides how a sensor's figures enter those of its site.
    SensorRole {
        /// Turns DC into AC; production where no production meter stands behind it.
        Inverter = "inverter",
        /// A meter over all that is produced.
        Production = "production",
        /// The meter at the grid connection.
        Grid = "grid",
        /// A meter over loads.
        Load = "load",
        /// A battery and its inverter.
        Battery = "battery",
        /// Irradiance, temperature, wind.
        Weather = "weather",
        /// Not known yet, or not part of the balance.
        Other = "other",
    }
}

impl SensorRole {
    /// Reads what a device calls itself (`kind` of a native sensor, or words in
    /// its id); `None` where nothing is recognised.
    #[must_use]
    pub fn recognise(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if let Ok(role) = Self::parse(&lower) {
            return Some(role);
        }
        const WORDS: &[(&str, SensorRole)] = &[
            ("invert", SensorRole::Inverter),
            ("wechselr", SensorRole::Inverter),
            ("production", SensorRole::Production),
            ("pv-meter", SensorRole::Production),
            ("pv_meter", SensorRole::Production),
            ("batter", SensorRole::Battery),
            ("storage", SensorRole::Battery),
            ("weather", SensorRole::Weather),
            ("pyranometer", SensorRole::Weather),
            ("irradiance", SensorRole::Weather),
            ("load", SensorRole::Load),
            ("consumption", SensorRole::Load),
            ("grid", SensorRole::Grid),
            ("meter", SensorRole::Grid),
        ];
        /// Too short to be looked for within words.
        const WHOLE: [&str; 2] = ["inv", "wr"];
        let is_inverter = || lower.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WHOLE.contains(&word));
        let found = WORDS.iter().find(|(word, _)| lower.contains(word)).map(|(_, role)| *role);
        found.or_else(|| is_inverter().then_some(Self::Inverter))
    }

    /// The role that a quantity by itself suggests, if any.
    #[must_use]
    pub const fn suggested_by(quantity: Quantity) -> Option<Self> {
        match quantity {
            Quantity::EnergyProduced | Quantity::DcPower => Some(Self::Inverter),
            Quantity::EnergyImported | Quantity::EnergyExported => Some(Self::Grid),
            Quantity::EnergyConsumed => Some(Self::Load),
            Quantity::EnergyCharged | Quantity::EnergyDischarged | Quantity::StateOfCharge => Some(Self::Battery),
            Quantity::IrradiancePlane
            | Quantity::IrradianceHorizontal
            | Quantity::TemperatureAmbient
            | Quantity::TemperatureModule
            | Quantity::WindSpeed
            | Quantity::Humidity => Some(Self::Weather),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_words_are_recognised() {
        for (text, role) in [
            ("inverter", Some(SensorRole::Inverter)),
            ("Wechselrichter 2", Some(SensorRole::Inverter)),
            ("inv-1", Some(SensorRole::Inverter)),
            ("WR2", Some(SensorRole::Inverter)),
            ("PV-Meter", Some(SensorRole::Production)),
            ("Grid meter", Some(SensorRole::Grid)),
            ("inv meter", Some(SensorRole::Grid)),
            ("invoice", None),
            ("wrap", None),
            ("s1", None),
        ] {
            assert_eq!(SensorRole::recognise(text), role, "{text}");
        }
    }
}
