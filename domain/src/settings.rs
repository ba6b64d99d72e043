//! What a provider can set for itself.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

use crate::alert::AlertKind;
use crate::co2::Co2Factors;
use crate::gateway::UnknownGateways;
use crate::policy::TimePolicy;
use crate::tariff::Tariff;
use crate::text::ParseError;
use crate::time::Zone;

/// A provider's own settings. They live in its store, the panel edits them, and
/// every role follows a change within seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderSettings {
    /// What the provider is called in the panel and in mails.
    pub name: String,
    /// The colour of the panel and of mails.
    pub colour: Colour,
    /// The zone for what belongs to no location.
    pub zone: Zone,
    /// The currency of tariffs.
    pub currency: Currency,
    /// What a produced kWh earns, in the currency, where no feed-in tariff says it.
    pub tariff_per_kwh: Decimal,
    /// What a kWh that is fed in earns, and when; where no meter tells what is fed in, a
    /// kWh that is produced.
    pub feed_in_tariff: Tariff,
    /// What a kWh from the grid costs, and when: what is used on site saves it.
    pub import_tariff: Tariff,
    /// Kilograms of CO2 that a produced kWh avoids, where no factors say it; else the first
    /// of these, for the release before, which knows one number only.
    pub co2_kg_per_kwh: Decimal,
    /// The same by time; empty where it is one number.
    pub co2_factors: Co2Factors,
    /// What happens to gateways that nobody has commissioned.
    pub unknown_gateways: UnknownGateways,
    /// Hours that a reading may lie in the future.
    pub max_ahead_hours: u32,
    /// Days that readings are kept; `None`: for ever.
    pub retention_days: Option<u32>,
    /// How many gateways may be commissioned, and how many may be in use where unknown
    /// ones are adopted. The operator's to set: the panel shows it.
    pub max_gateways: u32,
    /// What raises alerts, and whether they are mailed.
    pub alerts: AlertSettings,
}

/// What raises alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertSettings {
    /// Whether owners and operators get mails about them.
    pub mail: bool,
    /// Kinds that are not raised. Those of a later release are passed over.
    #[serde(deserialize_with = "known_kinds")]
    pub off: Vec<AlertKind>,
    /// Minutes that a gateway may be silent beyond what its rhythm explains.
    pub silent_minutes: u32,
}

fn known_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlertKind>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(names.iter().filter_map(|name| AlertKind::parse(name).ok()).collect())
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self { mail: true, off: Vec::new(), silent_minutes: 60 }
    }
}

impl AlertSettings {
    /// Whether a kind is raised.
    #[must_use]
    pub fn raises(&self, kind: AlertKind) -> bool {
        !self.off.contains(&kind)
    }
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            colour: Colour::default(),
            zone: Zone::utc(),
            currency: Currency::default(),
            tariff_per_kwh: Decimal::new(8, 2),
            feed_in_tariff: Tariff::default(),
            import_tariff: Tariff::default(),
            co2_kg_per_kwh: Decimal::new(38, 2),
            co2_factors: Co2Factors::default(),
            unknown_gateways: UnknownGateways::Refused,
            max_ahead_hours: 24,
            retention_days: None,
            max_gateways: 10_000,
            alerts: AlertSettings::default(),
        }
    }
}

impl ProviderSettings {
    /// Kilograms of CO2 that a produced kWh avoids, and when.
    #[must_use]
    pub fn co2(&self) -> Co2Factors {
        if self.co2_factors.is_empty() { Co2Factors::always(self.co2_kg_per_kwh) } else { self.co2_factors.clone() }
    }

    /// With other factors. One number is kept as the release before keeps it.
    #[must_use]
    pub fn with_co2(self, factors: Co2Factors) -> Self {
        let first = factors.first().unwrap_or(self.co2_kg_per_kwh);
        let co2_factors = if factors.constant().is_some() { Co2Factors::default() } else { factors };
        Self { co2_kg_per_kwh: first, co2_factors, ..self }
    }

    /// The times that readings may carry.
    #[must_use]
    pub fn time_policy(&self) -> TimePolicy {
        TimePolicy {
            max_ahead_ms: i64::from(self.max_ahead_hours) * 3_600_000,
            max_age_ms: self.retention_days.map(|days| i64::from(days) * 86_400_000),
        }
    }
}

/// A colour, `#rrggbb`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour(String);

impl Colour {
    /// Parses `#rrggbb`.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let hex = text.strip_prefix('#').unwrap_or_default();
        if hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ParseError::new("colour", format!("{text:?} is not of the form #1a6f5c")))
        }
    }

    /// As `#rrggbb`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Red, green and blue.
    #[must_use]
    pub fn rgb(&self) -> [u8; 3] {
        [1, 3, 5].map(|i| self.0.get(i..i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0))
    }

    /// Relative luminance, 0 to 1 (WCAG 2.2).
    #[must_use]
    pub fn luminance(&self) -> f64 {
        let [r, g, b] = self.rgb().map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

impl Default for Colour {
    fn default() -> Self {
        Self("#0f6b57".to_owned())
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Colour {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.0
    }
}

/// A currency by its ISO 4217 letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(String);

impl Currency {
    /// Parses three capital letters.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("currency", format!("{text:?} is not three capital letters such as EUR")))
        }
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self("EUR".to_owned())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Currency {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_parse_and_know_their_luminance() {
        assert!(Colour::parse("#12g").is_err());
        assert!(Colour::parse("#ffffff;}").is_err());
        assert!((Colour::parse("#FFFFFF").unwrap().luminance() - 1.0).abs() < 1e-9);
        assert_eq!(Colour::parse("#0a141e").unwrap().rgb(), [10, 20, 30]);
    }

    #[test]
    fn one_factor_is_kept_as_the_release_before_keeps_it() {
        let with = |text: &str| ProviderSettings::default().with_co2(Co2Factors::parse(text).unwrap());
        let one = with("0.2");
        assert_eq!((one.co2_kg_per_kwh.to_string().as_str(), one.co2_factors.is_empty()), ("0.2", true));
        assert_eq!(one.co2().to_string(), "0.2");
        let later = with("0.38\n0.35 from 2027-01-01");
        assert_eq!(later.co2_kg_per_kwh.to_string(), "0.38");
        assert_eq!(later.co2().to_string(), "0.38\n0.35 from 2027-01-01");
        assert_eq!(later.with_co2(Co2Factors::parse("0.1").unwrap()).co2().to_string(), "0.1");
    }

    #[test]
    fn settings_of_an_older_release_still_read() {
        let read: ProviderSettings = serde_json_like();
        assert_eq!(read, ProviderSettings::default());
    }

    fn serde_json_like() -> ProviderSettings {
        use serde::de::value::{Error, MapDeserializer};
        let empty = std::iter::empty::<(&str, &str)>();
        ProviderSettings::deserialize(MapDeserializer::<_, Error>::new(empty)).unwrap()
    }
}
