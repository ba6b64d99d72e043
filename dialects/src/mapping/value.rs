//! Numbers and times as mappings have them written.

use std::borrow::Cow;

use heliograph_domain::{RefusalCode, Timestamp, Zone};
use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;

use crate::decode::Fault;
use crate::harvest::When;
use crate::number::parse_number;
use crate::text::shown;
use crate::written_time::utc_millis;

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NumberForm {
    /// `-12.5`, `1e3`.
    Decimal,
    /// `-12,5`; points between thousands are not read.
    DecimalComma,
    /// `0x1f`, `1f`.
    Hex,
    /// The same as a two's complement of as many bits as there are digits for.
    SignedHex,
}

impl NumberForm {
    /// A number; `None` where it is written otherwise. White space in it, such as a
    /// line break of a device's, is left out.
    pub(super) fn parse(self, text: &str) -> Option<f64> {
        const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
        let joined = if text.contains(SPACE) { Cow::Owned(text.split(SPACE).collect()) } else { Cow::Borrowed(text) };
        match self {
            Self::Decimal => parse_number(&joined),
            Self::DecimalComma if joined.contains('.') => None,
            Self::DecimalComma => parse_number(&joined.replacen(',', ".", 1)),
            Self::Hex => hex(&joined).map(|(value, _)| value as f64),
            Self::SignedHex => hex(&joined).map(|(value, digits)| {
                let span = 1_i128 << (4 * digits);
                let value = i128::from(value);
                (if value >= span / 2 { value - span } else { value }) as f64
            }),
        }
    }
}

fn hex(text: &str) -> Option<(u64, usize)> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let is_hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(|value| (value, digits.len()))
}

/// Values that are no reading: texts, and numbers however they are written.
#[derive(Debug, Clone)]
pub(super) struct Drop {
    texts: Vec<String>,
    numbers: Vec<f64>,
}

impl Drop {
    pub(super) fn new(texts: &[String], form: NumberForm) -> Self {
        Self { texts: texts.to_vec(), numbers: texts.iter().filter_map(|text| form.parse(text)).collect() }
    }

    /// Whether a value is one of them.
    pub(super) fn has(&self, text: &str, form: NumberForm) -> bool {
        let is_number = || form.parse(text).is_some_and(|number| self.numbers.contains(&number));
        self.texts.iter().any(|dropped| dropped == text) || !self.numbers.is_empty() && is_number()
    }
}

/// What a prefix stands for: a number, a prefix of the SI (`my` is how some devices
/// write micro), or both: `10 k`. Nothing stands for 1.
pub(super) fn prefix(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().try_fold(1.0, |product, part| Some(product * one_prefix(part)?))
}

/// A value times a factor: divided where the factor is a whole part of 1, since 227 times
/// 0.1 is not the number nearest to 22.7.
pub(super) fn scaled(value: f64, factor: f64) -> f64 {
    let parts = (1.0 / factor).round();
    if parts.abs() > 1.0 && 1.0 / parts == factor { value / parts } else { value * factor }
}

fn one_prefix(text: &str) -> Option<f64> {
    match text {
        "n" => Some(1e-9),
        "my" | "u" | "µ" | "μ" => Some(1e-6),
        "m" => Some(1e-3),
        "c" => Some(1e-2),
        "d" => Some(1e-1),
        "h" => Some(1e2),
        "k" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        number => parse_number(number),
    }
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeForm {
    /// RFC 3339, with or without a zone.
    Rfc3339,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Seconds since 1970, hexadecimal.
    UnixHex,
    /// Milliseconds since 1970, hexadecimal.
    UnixMsHex,
    /// Seconds since 2000.
    Epoch2000,
    /// Seconds since 2000, hexadecimal.
    Epoch2000Hex,
    /// As strftime writes it.
    Pattern(String),
}

/// Seconds from 1970 to 2000, in UTC.
const EPOCH_2000: i64 = 946_684_800;

impl TimeForm {
    /// Reads a form's name, or a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "rfc3339" => Ok(Self::Rfc3339),
            "unix" => Ok(Self::Unix),
            "unix-ms" => Ok(Self::UnixMs),
            "unix-hex" => Ok(Self::UnixHex),
            "unix-ms-hex" => Ok(Self::UnixMsHex),
            "epoch-2000" => Ok(Self::Epoch2000),
            "epoch-2000-hex" => Ok(Self::Epoch2000Hex),
            pattern if pattern.contains('%') => Ok(Self::Pattern(pattern.to_owned())),
            other => Err(format!(
                "time-format {other:?} is none of rfc3339, unix, unix-ms, unix-hex, unix-ms-hex, epoch-2000, epoch-2000-hex, nor a pattern with %"
            )),
        }
    }

    /// The time of a text; a local one in `zone`, else in that of the gateway.
    pub(super) fn read(&self, text: &str, zone: Option<&Zone>) -> Result<When, Fault> {
        let unreadable = || (RefusalCode::BadTime, format!("time {} cannot be read", shown(text)));
        let seconds = |value: Option<f64>, unit: f64, epoch: i64| {
            let millis = value.map(|value| (value * unit).round()).filter(|millis| millis.abs() < 1e17).ok_or_else(unreadable)?;
            Timestamp::from_millis(millis as i64 + epoch * 1000).map(When::At).map_err(|_| unreadable())
        };
        let digits = text.strip_prefix('@').unwrap_or(text);
        let when = match self {
            Self::Rfc3339 => When::written(text)?,
            Self::Unix => seconds(parse_number(digits), 1000.0, 0)?,
            Self::UnixMs => seconds(parse_number(digits), 1.0, 0)?,
            Self::UnixHex => seconds(NumberForm::Hex.parse(digits), 1000.0, 0)?,
            Self::UnixMsHex => seconds(NumberForm::Hex.parse(digits), 1.0, 0)?,
            Self::Epoch2000 => seconds(parse_number(digits), 1000.0, EPOCH_2000)?,
            Self::Epoch2000Hex => seconds(NumberForm::Hex.parse(digits), 1000.0, EPOCH_2000)?,
            Self::Pattern(pattern) => patterned(pattern, text).ok_or_else(unreadable)?,
        };
        match (when, zone) {
            (When::Local(local), Some(zone)) => local_in(local, zone).map(When::At).ok_or_else(unreadable),
            (when, _) => Ok(when),
        }
    }
}

fn patterned(pattern: &str, text: &str) -> Option<When> {
    let time = BrokenDownTime::parse(pattern, text).ok()?;
    if time.offset().is_some() {
        return time.to_timestamp().ok().map(|instant| When::At(instant.into()));
    }
    time.to_datetime().ok().map(When::Local)
}

/// A local time in a zone that a mapping names: the first of two.
fn local_in(local: civil::DateTime, zone: &Zone) -> Option<Timestamp> {
    if zone.name() == "UTC" {
        return Timestamp::from_millis(utc_millis(local)).ok();
    }
    zone.to_jiff().to_timestamp(local).ok().map(Into::into)
}

/// A time and so many milliseconds after it.
pub(super) fn later(when: When, millis: i64) -> Result<When, Fault> {
    let out_of_range = || (RefusalCode::BadTime, "time lies outside the years 0 to 9999".to_owned());
    let moved = |time: Timestamp| {
        let moved = time.as_millis().checked_add(millis).and_then(|millis| Timestamp::from_millis(millis).ok());
        moved.ok_or_else(out_of_range)
    };
    match when {
        When::Received => Ok(When::Received),
        When::Counted(time) => moved(time).map(When::Counted),
        When::At(time) => moved(time).map(When::At),
        // The gateway's zone is known where it is taken; what follows runs on no clock that is set.
        When::Local(local) => Ok(When::After(local, millis)),
        When::After(local, before) => {
            before.checked_add(millis).map(|millis| When::After(local, millis)).ok_or_else(out_of_range)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_form() {
        for (form, text, value) in [
            (NumberForm::Decimal, "00345", Some(345.0)),
            (NumberForm::Decimal, "12\r\n.5", Some(12.5)),
            (NumberForm::Decimal, "1,5", None),
            (NumberForm::DecimalComma, "-1,5", Some(-1.5)),
            (NumberForm::DecimalComma, "1.000,5", None),
            (NumberForm::Hex, "0xff", Some(255.0)),
            (NumberForm::Hex, "FF", Some(255.0)),
            (NumberForm::Hex, "+1", None),
            (NumberForm::SignedHex, "0xff", Some(-1.0)),
            (NumberForm::SignedHex, "0x0ff", Some(255.0)),
            (NumberForm::SignedHex, "ffffffffffffffff", Some(-1.0)),
            (NumberForm::Hex, "1ffffffffffffffff", None),
        ] {
            assert_eq!(form.parse(text), value, "{form:?} {text:?}");
        }
    }

    #[test]
    fn prefixes_are_numbers_letters_or_both() {
        for (text, factor) in
            [("", Some(1.0)), ("my", Some(1e-6)), ("1e-1", Some(0.1)), ("10 k", Some(1e4)), ("lots", None), ("10 lots", None)]
        {
            assert_eq!(prefix(text), factor, "{text:?}");
        }
    }

    #[test]
    fn a_value_that_is_scaled_is_the_nearest_number() {
        for (value, factor, expected) in
            [(227.0, 0.1, 22.7), (1076.0, 1e-3, 1.076), (3.0, 100.0, 300.0), (2.0, 0.3, 0.6), (5.0, 0.0, 0.0), (8.0, -0.25, -2.0)]
        {
            assert_eq!(scaled(value, factor), expected, "{value} by {factor}");
        }
    }

    #[test]
    fn dropped_numbers_are_known_in_every_spelling() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let drop = Drop::new(&texts(&["-999.9", "NaN"]), NumberForm::Decimal);
        for (text, dropped) in
            [("-999.9", true), ("-999.90", true), ("-9.999e2", true), ("NaN", true), ("-999", false), ("nan", false)]
        {
            assert_eq!(drop.has(text, NumberForm::Decimal), dropped, "{text}");
        }
        let drop = Drop::new(&texts(&["-999,9"]), NumberForm::DecimalComma);
        assert!(drop.has("-999,90", NumberForm::DecimalComma) && !drop.has("999,9", NumberForm::DecimalComma));
        let drop = Drop::new(&texts(&["0xFFFF"]), NumberForm::Hex);
        assert!(drop.has("ffff", NumberForm::Hex) && !drop.has("0", NumberForm::Hex));
    }

    #[test]
    fn times_are_read_in_every_form() {
        let noon = When::At(Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap());
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (form, text) in [
            ("rfc3339", "2026-11-20T13:00:00+01:00"),
            ("rfc3339", "2026-11-20T13:00:00"),
            ("unix", "@1795176000"),
            ("unix", "1795176000.0"),
            ("unix-ms", "1795176000000"),
            ("unix-hex", "0x6b003640"),
            ("unix-hex", "@6B003640"),
            ("unix-ms-hex", "0x1a1f8d3ea00"),
            ("unix-ms-hex", "@1a1f8d3ea00"),
            ("epoch-2000", "848491200"),
            ("epoch-2000-hex", "0x3292f2c0"),
            ("%d.%m.%Y %H:%M", "20.11.2026 13:00"),
            ("%Y%m%d%H%M%S%z", "20261120130000+0100"),
        ] {
            assert_eq!(TimeForm::parse(form).unwrap().read(text, Some(&berlin)), Ok(noon), "{form} {text}");
        }
        assert!(TimeForm::parse("soon").is_err());
        assert!(TimeForm::Unix.read("1e300", None).is_err());
        assert!(TimeForm::Unix.read("noon", None).is_err());
    }
}
