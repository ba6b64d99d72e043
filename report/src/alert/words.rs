//! Alerts in words, the same in the panel and in mails.

use std::collections::HashMap;

use heliograph_domain::{Alert, AlertCause, AlertKind, GatewayId, LocationId, Timestamp, Zone};
use heliograph_store::{ProviderStore, StoreError};

use crate::format;
use crate::site::LocationRef;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What gateways are called, and where they stand.
#[derive(Debug, Clone)]
pub struct AlertNames {
    gateways: HashMap<GatewayId, Named>,
    /// The provider's.
    zone: Zone,
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    location: Option<LocationRef>,
    zone: Zone,
}

impl AlertNames {
    /// As they are called now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &ProviderStore) -> Result<Self, StoreError> {
        let zone = store.settings_fetch().await?.zone;
        let locations: HashMap<LocationId, _> =
            store.location_list().await?.into_iter().map(|location| (location.id, location)).collect();
        let named = |record: heliograph_store::GatewayRecord| {
            let location = record.location.and_then(|id| locations.get(&id));
            let own = location.map_or(&zone, |location| &location.zone).clone();
            let named = Named { name: record.name().to_owned(), location: location.map(LocationRef::to), zone: own };
            (record.id, named)
        };
        let gateways = store.gateway_list().await?.into_iter().map(named).collect();
        Ok(Self { gateways, zone })
    }

    fn of(&self, alert: &Alert) -> Option<&Named> {
        alert.key.subject.gateway().and_then(|gateway| self.gateways.get(gateway))
    }

    /// Where what an alert is about stands.
    #[must_use]
    pub fn location(&self, alert: &Alert) -> Option<&LocationRef> {
        self.of(alert)?.location.as_ref()
    }

    /// The zone in which times of an alert are told.
    #[must_use]
    pub fn zone(&self, alert: &Alert) -> &Zone {
        self.of(alert).map_or(&self.zone, |named| &named.zone)
    }
}

/// What an alert says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertWords {
    /// What it is about, in a word or two.
    pub kind: &'static str,
    /// What is the matter, or was.
    pub title: String,
    /// The figures behind it.
    pub figures: Vec<(&'static str, String)>,
    /// What to do about it.
    pub advice: &'static str,
}

impl AlertWords {
    /// What an alert says at a time.
    #[must_use]
    pub fn of(alert: &Alert, names: &AlertNames, now: Timestamp) -> Self {
        let zone = names.zone(alert);
        let gone = || alert.key.subject.gateway().map(ToString::to_string).unwrap_or_default();
        let name = names.of(alert).map_or_else(gone, |named| named.name.clone());
        Self {
            kind: Self::kind(alert.key.kind),
            title: title(alert, &name, now),
            figures: figures(&alert.cause, zone),
            advice: advice(alert.key.kind),
        }
    }

    /// A kind in a word or two.
    #[must_use]
    pub const fn kind(kind: AlertKind) -> &'static str {
        match kind {
            AlertKind::MassSilence => "Many silent",
            AlertKind::Silent => "Silent",
            AlertKind::SensorFault => "Sensor",
            AlertKind::Clock => "Clock",
            AlertKind::LowYield => "Low yield",
            AlertKind::Incomplete => "Incomplete",
            AlertKind::Quarantine => "Quarantine",
        }
    }

    /// What raises a kind, in a sentence.
    #[must_use]
    pub const fn explained(kind: AlertKind) -> &'static str {
        match kind {
            AlertKind::MassSilence => "Five gateways or more, and half of those that were heard, fell silent together.",
            AlertKind::Silent => "A gateway is silent for longer than its rhythm explains.",
            AlertKind::SensorFault => "A sensor gave nothing on a whole day while others behind its gateway did.",
            AlertKind::Clock => "A gateway’s clock has been wrong for an hour.",
            AlertKind::LowYield => {
                "A gateway or inverter gave less than 60 % of what its neighbours gave for each kWp, over three days."
            }
            AlertKind::Incomplete => "More than a quarter is missing of each of the last three days of a gateway.",
            AlertKind::Quarantine => "Twenty documents of your gateways or more were refused within a day.",
        }
    }
}

fn title(alert: &Alert, name: &str, now: Timestamp) -> String {
    let is_open = alert.is_open();
    let until = alert.resolved.map_or(now, |end| end.at);
    let lasted = alert_span(until.millis_since(alert.since));
    match &alert.cause {
        AlertCause::Silent { .. } if is_open => format!("{name} has been silent for {lasted}"),
        AlertCause::Silent { .. } => format!("{name} was silent for {lasted}"),
        AlertCause::MassSilence { silent, of } => format!("{silent} of {of} gateways fell silent together"),
        AlertCause::SensorFault { name: sensor, .. } if is_open => format!("{sensor} behind {name} gives nothing"),
        AlertCause::SensorFault { name: sensor, .. } => format!("{sensor} behind {name} gave nothing"),
        AlertCause::Clock { .. } if is_open => format!("The clock of {name} is wrong"),
        AlertCause::Clock { .. } => format!("The clock of {name} was wrong"),
        AlertCause::LowYield { share, inverter, .. } => {
            let what = inverter.as_ref().map_or_else(|| name.to_owned(), |inverter| format!("{inverter} behind {name}"));
            format!("{what} gave {} of what its neighbours gave", format::percent(*share))
        }
        AlertCause::Incomplete { .. } if is_open => format!("Much is missing of what {name} measures"),
        AlertCause::Incomplete { .. } => format!("Much was missing of what {name} measures"),
        AlertCause::Quarantine { documents } => format!("{documents} documents of your gateways were refused within a day"),
    }
}

fn figures(cause: &AlertCause, zone: &Zone) -> Vec<(&'static str, String)> {
    let moment = |at: Timestamp| zone.civil(at).strftime("%-d %b %Y, %H:%M").to_string();
    match cause {
        AlertCause::Silent { heard, usual_ms, allowed_ms } => {
            let usual = usual_ms.map_or_else(|| "not known yet".to_owned(), |ms| alert_span(ms.max(MINUTE_MS)));
            vec![
                ("Last heard", moment(*heard)),
                ("Usual longest pause", usual),
                ("Silence that is allowed", alert_span(*allowed_ms)),
            ]
        }
        AlertCause::MassSilence { silent, of } => {
            vec![("Fell silent", silent.to_string()), ("Heard until then", of.to_string())]
        }
        AlertCause::SensorFault { last, .. } => vec![("Last reading", moment(*last))],
        AlertCause::Clock { size } => vec![("Its clock", size.clone())],
        AlertCause::LowYield { share, given, median, days, .. } => vec![
            ("Gave", format::specific_yield(*given)),
            ("Median of its location", format::specific_yield(*median)),
            ("Share", format::percent(*share)),
            ("Over", format!("{days} whole days")),
        ],
        AlertCause::Incomplete { measured, days } => {
            vec![("Measured of what was expected", format::percent(*measured)), ("Over", format!("{days} whole days"))]
        }
        AlertCause::Quarantine { documents } => vec![("Refused within a day", documents.to_string())],
    }
}

const fn advice(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::MassSilence => "See what these gateways have in common: a line, a mobile network, a firewall, an address.",
        AlertKind::Silent => "See whether it has power and a connection.",
        AlertKind::SensorFault => "See whether the sensor has power and is still wired to its gateway.",
        AlertKind::Clock => "What it measures stands at wrong times. The gateway’s page says what sets it right.",
        AlertKind::LowYield => "Look for shade, dirt, a tripped breaker or a broken string.",
        AlertKind::Incomplete => "See which sensor is missing, and whether the connection breaks off.",
        AlertKind::Quarantine => "The quarantine says why. Mend what sends them, and try again.",
    }
}

/// A duration in the largest unit of which there are two, and a half hour more or less.
#[must_use]
pub fn alert_span(ms: i64) -> String {
    let count = |unit_ms: i64, one: &str| match ms / unit_ms {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    };
    match ms {
        ..MINUTE_MS => "less than a minute".to_owned(),
        ms if ms < 2 * HOUR_MS => count(MINUTE_MS, "minute"),
        ms if ms < 2 * DAY_MS => count(HOUR_MS, "hour"),
        _ => count(DAY_MS, "day"),
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{AlertId, AlertKey, UserId};
    use uuid::Uuid;

    use super::*;

    fn names() -> AlertNames {
        let id = LocationId::new(Uuid::from_u128(1));
        let location = Some(LocationRef { id, name: "Roof".to_owned() });
        let zone = Zone::parse("Europe/Madrid").unwrap();
        let named = Named { name: "Roof Nord".to_owned(), location, zone: zone.clone() };
        AlertNames { gateways: HashMap::from([(GatewayId::parse("gw-1").unwrap(), named)]), zone }
    }

    fn alert(kind: AlertKind, cause: AlertCause) -> Alert {
        let key = AlertKey::gateway(kind, GatewayId::parse("gw-1").unwrap());
        let since = Timestamp::parse_rfc3339("2026-06-18T10:00:00Z").unwrap();
        Alert::raise(AlertId::new(Uuid::from_u128(1)), key, cause, since, since.plus_millis(HOUR_MS))
    }

    #[test]
    fn a_title_says_what_is_the_matter_and_for_how_long() {
        let heard = Timestamp::parse_rfc3339("2026-06-18T10:00:00Z").unwrap();
        let cause = AlertCause::Silent { heard, usual_ms: Some(5 * MINUTE_MS), allowed_ms: 70 * MINUTE_MS };
        let mut silent = alert(AlertKind::Silent, cause);
        let words = |alert: &Alert, hours: i64| AlertWords::of(alert, &names(), heard.plus_millis(hours * HOUR_MS));
        assert_eq!(words(&silent, 2).title, "Roof Nord has been silent for 2 hours");
        assert_eq!(words(&silent, 72).title, "Roof Nord has been silent for 3 days");
        let figures = [
            ("Last heard", "18 Jun 2026, 12:00"),
            ("Usual longest pause", "5 minutes"),
            ("Silence that is allowed", "70 minutes"),
        ];
        assert_eq!(words(&silent, 2).figures, figures.map(|(label, value)| (label, value.to_owned())));
        silent.resolve(UserId::new(Uuid::from_u128(1)), heard.plus_millis(5 * HOUR_MS)).unwrap();
        assert_eq!(words(&silent, 99).title, "Roof Nord was silent for 5 hours");
    }

    #[test]
    fn an_inverter_is_named_before_its_gateway() {
        let cause = |inverter: Option<&str>| AlertCause::LowYield {
            share: 0.411,
            given: 4.0,
            median: 9.7,
            days: 3,
            inverter: inverter.map(str::to_owned),
        };
        let title = |inverter| {
            let alert = alert(AlertKind::LowYield, cause(inverter));
            AlertWords::of(&alert, &names(), alert.raised).title
        };
        assert_eq!(title(None), "Roof Nord gave 41\u{a0}% of what its neighbours gave");
        assert_eq!(title(Some("inverter-2")), "inverter-2 behind Roof Nord gave 41\u{a0}% of what its neighbours gave");
    }

    #[test]
    fn spans_are_told_in_whole_units() {
        for (minutes, expected) in [
            (0, "less than a minute"),
            (1, "1 minute"),
            (119, "119 minutes"),
            (120, "2 hours"),
            (47 * 60, "47 hours"),
            (48 * 60, "2 days"),
        ] {
            assert_eq!(alert_span(minutes * MINUTE_MS), expected);
        }
    }
}
