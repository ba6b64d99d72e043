//! The form of a correction: one for each thing that can be wrong.

use heliograph_domain::{Correction, CorrectionKind, Kind, SeriesKey, TimeWindow, Zone, canonical_unit};
use heliograph_store::{GatewayRecord, SensorRecord, SeriesRecord};
use serde::Deserialize;

use crate::form::{Problems, parse_local, parse_optional_local};
use crate::shell::encode;

/// What was wrong, by which the form differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Exclude,
    Scale,
    Shift,
    Manual,
    MeterSwap,
}

impl Way {
    pub(super) const ALL: [Self; 5] = [Self::MeterSwap, Self::Exclude, Self::Scale, Self::Shift, Self::Manual];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::Manual => "manual",
            Self::MeterSwap => "meter-swap",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Exclude => "Leave readings out",
            Self::Scale => "Multiply values",
            Self::Shift => "Move times",
            Self::Manual => "Set a value",
            Self::MeterSwap => "A meter was swapped",
        }
    }

    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::Exclude => "For readings that are nonsense. What they said counts nowhere.",
            Self::Scale => {
                "For a sensor that says a tenth or ten times what it should. Of a counter, what it rises is multiplied."
            }
            Self::Shift => "For readings that carry wrong times, because a clock was wrong.",
            Self::Manual => {
                "For a time of which you know better than the sensor. A value of the moment is held; of a counter it is what it stood at."
            }
            Self::MeterSwap => {
                "The old meter ends with its last value and the new one begins with its first, so that the step between them counts as nothing."
            }
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == text)
    }

    pub(super) fn has_end(self) -> bool {
        self != Self::MeterSwap
    }

    /// Whether it can be done to a series of a kind.
    pub(super) fn fits(self, kind: Kind) -> bool {
        self != Self::MeterSwap || kind.accumulates()
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub(crate) struct CorrectionForm {
    pub(super) kind: String,
    pub(super) series: String,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) factor: String,
    pub(super) shift: String,
    pub(super) value: String,
    pub(super) last: String,
    pub(super) first: String,
    pub(super) reason: String,
    pub(super) action: String,
}

/// A series of the gateway, for the form.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) key: SeriesKey,
    pub(super) kind: Kind,
}

impl Choice {
    pub(super) fn of(gateway: &GatewayRecord, sensor: &SensorRecord, series: &SeriesRecord) -> Self {
        let key = SeriesKey {
            gateway: gateway.id.clone(),
            sensor: sensor.id.clone(),
            metric: series.metric.clone(),
            unit: series.unit.clone(),
        };
        let unit = if series.unit.as_str().is_empty() { String::new() } else { format!(" in {}", series.unit) };
        Self {
            value: [sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()].map(encode).join("/"),
            label: format!("{} · {}{unit}", sensor.name(), series.metric),
            key,
            kind: series.kind,
        }
    }
}

impl CorrectionForm {
    /// All fields, to be sent once more.
    pub(super) fn hidden(&self) -> [(&'static str, &str); 10] {
        [
            ("kind", self.kind.as_str()),
            ("series", &self.series),
            ("from", &self.from),
            ("until", &self.until),
            ("factor", &self.factor),
            ("shift", &self.shift),
            ("value", &self.value),
            ("last", &self.last),
            ("first", &self.first),
            ("reason", &self.reason),
        ]
    }

    pub(super) fn parse<'a>(
        &self,
        way: Way,
        choices: &'a [Choice],
        zone: &Zone,
    ) -> Result<(&'a Choice, TimeWindow, CorrectionKind), Problems> {
        let mut problems = Problems::default();
        let choice = choices.iter().find(|choice| choice.value == self.series);
        let choice = problems.note("series", choice.ok_or("choose what was wrong"));
        if choice.is_some_and(|choice| !way.fits(choice.kind)) {
            problems.add("series", "Only a counter goes on from one meter to the next.");
        }
        let window = self.parse_window(way, zone, &mut problems);
        let change = choice.and_then(|choice| self.parse_change(way, choice, &mut problems));
        let reason = self.reason.trim().chars().count();
        if reason == 0 || reason > Correction::MAX_REASON {
            problems.add("reason", "A reason is needed, of up to 500 characters.");
        }
        match (choice, window, change) {
            (Some(choice), Some(window), Some(change)) if problems.is_empty() => Ok((choice, window, change)),
            _ => Err(problems),
        }
    }

    fn parse_window(&self, way: Way, zone: &Zone, problems: &mut Problems) -> Option<TimeWindow> {
        let from = problems.note("from", parse_local(&self.from, zone));
        let until = match way.has_end() {
            true => problems.note("until", parse_optional_local(&self.until, zone)),
            false => Some(None),
        };
        let window = TimeWindow { from: from?, until: until? };
        let problem = match (way, window.until) {
            _ if window.is_empty() => "It must end after it begins.",
            (Way::Manual, None) => "One value must have an end.",
            (Way::Manual, Some(until)) if until.millis_since(window.from) > Correction::MAX_MANUAL_MS => {
                "One value must end within a year."
            }
            _ => return Some(window),
        };
        problems.add("until", problem);
        None
    }

    fn parse_change(&self, way: Way, choice: &Choice, problems: &mut Problems) -> Option<CorrectionKind> {
        let unit = choice.key.unit.as_str();
        match way {
            Way::Exclude => Some(CorrectionKind::Exclude),
            Way::Scale => problems.note("factor", parse_factor(&self.factor)).map(|factor| CorrectionKind::Scale { factor }),
            Way::Shift => problems.note("shift", parse_shift(&self.shift)).map(|millis| CorrectionKind::Shift { millis }),
            Way::Manual => problems.note("value", parse_value(&self.value, unit)).map(|value| CorrectionKind::Manual { value }),
            Way::MeterSwap => {
                let last = problems.note("last", parse_value(&self.last, unit));
                let first = problems.note("first", parse_value(&self.first, unit));
                last.zip(first).map(|(last_old, first_new)| CorrectionKind::MeterSwap { last_old, first_new })
            }
        }
    }
}

fn parse_factor(text: &str) -> Result<f64, &'static str> {
    let factor = text.trim().replace(',', ".").parse::<f64>().map_err(|_| "the factor is not a number")?;
    if factor.is_finite() && factor != 0.0 { Ok(factor) } else { Err("the factor must be a number other than 0") }
}

/// By how much times are moved, in milliseconds.
fn parse_shift(text: &str) -> Result<i64, &'static str> {
    let shift: jiff::SignedDuration =
        text.trim().trim_start_matches('+').parse().map_err(|_| "it is not a time such as 1h or -30m")?;
    match i64::try_from(shift.as_millis()) {
        Ok(0) => Err("it must be moved by something"),
        Ok(millis) if millis.saturating_abs() <= Correction::MAX_SHIFT_MS => Ok(millis),
        _ => Err("readings can be moved by up to 20 years"),
    }
}

/// A value in the unit of its series, or in one that can be turned into it: `12345 kWh`.
fn parse_value(text: &str, unit: &str) -> Result<f64, String> {
    let text = text.trim().replace(',', ".");
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (digits, spelled) = text.split_at(end);
    let number: f64 = digits.parse().map_err(|_| "it is not a number such as 12345.6".to_owned())?;
    let spelled = spelled.trim();
    if spelled.is_empty() || spelled == unit {
        return Ok(number);
    }
    match canonical_unit(spelled) {
        Some(scaled) if scaled.unit == unit => Ok(scaled.apply(number)),
        _ => Err(format!("“{spelled}” cannot be turned into {}", if unit.is_empty() { "a bare number" } else { unit })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_any_unit_that_can_be_turned_into_the_series_own() {
        for (text, expected) in [("12345", Ok(12345.0)), ("12,5 kWh", Ok(12500.0)), (" 3MWh ", Ok(3e6)), ("7 Wh", Ok(7.0))] {
            assert_eq!(parse_value(text, "Wh"), expected, "{text}");
        }
        for bad in ["", "kWh", "1.2.3", "5 W", "5 apples"] {
            assert!(parse_value(bad, "Wh").is_err(), "{bad}");
        }
        assert_eq!(parse_value("5 W", "Wh"), Err("“W” cannot be turned into Wh".to_owned()));
    }

    #[test]
    fn times_are_moved_by_something_and_not_for_ever() {
        assert_eq!(parse_shift("1h"), Ok(3_600_000));
        assert_eq!(parse_shift("+30m"), Ok(1_800_000));
        assert_eq!(parse_shift("-2h"), Ok(-7_200_000));
        for bad in ["", "0s", "soon", "200000h"] {
            assert!(parse_shift(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_factor_changes_something_and_is_finite() {
        assert_eq!(parse_factor("0,1"), Ok(0.1));
        for bad in ["0", "NaN", "inf", "ten"] {
            assert!(parse_factor(bad).is_err(), "{bad}");
        }
    }
}
