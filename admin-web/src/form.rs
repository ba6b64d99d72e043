//! What forms share: problems at their fields, and texts read into what they mean.

use std::borrow::Cow;

use heliograph_domain::{ParseError, Timestamp, Zone};
use jiff::civil;

/// What is wrong with a form, by field.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<(Cow<'static, str>, String)>);

impl Problems {
    /// Notes a problem at a field.
    pub(crate) fn add(&mut self, field: impl Into<Cow<'static, str>>, text: impl Into<String>) {
        self.0.push((field.into(), text.into()));
    }

    /// Notes what is wrong where something is; else hands the value on.
    pub(crate) fn note<T>(&mut self, field: &'static str, outcome: Result<T, impl ToString>) -> Option<T> {
        outcome.map_err(|problem| self.add(field, sentence(&problem.to_string()))).ok()
    }

    /// The first problem of a field; empty where there is none.
    pub(crate) fn of(&self, field: &str) -> &str {
        self.0.iter().find(|(name, _)| *name == field).map_or("", |(_, text)| text.as_str())
    }

    /// All of them, by field.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, text)| (field.as_ref(), text.as_str()))
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A message as a sentence: `mail address has no @` becomes `Mail address has no @.`
pub(crate) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A name that people give: 1 to 80 characters on one line.
pub(crate) fn parse_name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is needed");
    }
    if text.chars().count() > 80 {
        return Err("has more than 80 characters");
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')) {
        return Err("has a character that cannot be shown");
    }
    Ok(text.to_owned())
}

/// As [`parse_name`], where nothing typed means none.
pub(crate) fn parse_optional_name(text: &str) -> Result<Option<String>, &'static str> {
    if text.trim().is_empty() { Ok(None) } else { parse_name(text).map(Some) }
}

/// A number within bounds, `.` or `,` before its decimals; nothing typed means none.
pub(crate) fn parse_optional_number(text: &str, least: f64, most: f64) -> Result<Option<f64>, String> {
    let text = text.trim().replace(',', ".");
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        Ok(_) => Err(format!("must lie between {least} and {most}")),
        Err(_) => Err("is not a number".to_owned()),
    }
}

/// A local date and time, as the browser's field for them sends it.
pub(crate) fn parse_local(text: &str, zone: &Zone) -> Result<Timestamp, String> {
    let local: civil::DateTime = text.trim().parse().map_err(|_| "is not a date and time such as 2026-11-20T08:00".to_owned())?;
    let zoned = local.to_zoned(zone.to_jiff().clone()).map_err(|_| "is not a time that the calendar has".to_owned())?;
    Timestamp::from_millis(zoned.timestamp().as_millisecond()).map_err(|error: ParseError| error.to_string())
}

/// As [`parse_local`], where nothing typed means no end.
pub(crate) fn parse_optional_local(text: &str, zone: &Zone) -> Result<Option<Timestamp>, String> {
    if text.trim().is_empty() { Ok(None) } else { parse_local(text, zone).map(Some) }
}

/// An instant as people read it in a zone.
pub(crate) fn local_text(time: Timestamp, zone: &Zone) -> String {
    zone.civil(time).strftime("%-d %b %Y, %H:%M").to_string()
}

/// An instant as the browser's field for a local date and time takes it.
pub(crate) fn local_field(time: Timestamp, zone: &Zone) -> String {
    zone.civil(time).strftime("%Y-%m-%dT%H:%M").to_string()
}

/// How long ago an instant was, roughly.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let minutes = now.millis_since(time) / 60_000;
    match minutes {
        ..1 => "just now".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_are_read_in_their_zone() {
        let madrid = Zone::parse("Europe/Madrid").unwrap();
        let noon = parse_local("2026-07-01T12:00", &madrid).unwrap();
        assert_eq!(noon.to_string(), "2026-07-01T10:00:00Z");
        // 02:30 does not exist on this day: the clock stands at 03:30 then.
        assert_eq!(parse_local("2026-03-29T02:30", &madrid).unwrap().to_string(), "2026-03-29T01:30:00Z");
        assert!(parse_local("yesterday", &madrid).is_err());
    }

    #[test]
    fn numbers_have_bounds_and_either_decimal_mark() {
        assert_eq!(parse_optional_number(" 12,5 ", 0.0, 100.0), Ok(Some(12.5)));
        assert_eq!(parse_optional_number("", 0.0, 100.0), Ok(None));
        assert!(parse_optional_number("NaN", 0.0, 100.0).is_err());
        assert!(parse_optional_number("1e9", 0.0, 100.0).is_err());
    }

    #[test]
    fn names_are_one_line() {
        assert_eq!(parse_name("  Dach Süd "), Ok("Dach Süd".to_owned()));
        assert!(parse_name("a\r\nb").is_err());
        assert!(parse_name(" ").is_err());
        assert!(parse_name(&"x".repeat(81)).is_err());
    }
}
