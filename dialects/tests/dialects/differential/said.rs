//! What a tree says of a document, by whatever dialect: who it is from and its
//! readings, those too that have to be refused.

use std::sync::LazyLock;

use heliograph_dialects::{Decoded, DecodedReading};
use heliograph_domain::{GatewayId, canonical_unit};
use jiff::civil;
use jiff::tz::TimeZone;
use regex::Regex;
use roxmltree::Node;

use super::received;

/// A document.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Empty: it names none.
    pub(crate) gateway: String,
    pub(crate) readings: Vec<Said>,
}

/// A reading, or something that has to be refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) sensor: String,
    pub(crate) metric: String,
    /// `None`: one that is not known here.
    pub(crate) unit: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) time: Option<i64>,
    pub(crate) value: Option<f64>,
}

impl Said {
    /// Whether nothing can be wrong with it.
    fn is_surely_good(&self) -> bool {
        let is_known = self.time.is_some_and(|time| (0..4_000_000_000_000).contains(&time))
            && self.value.is_some_and(|value| value.abs() < 1e300);
        let unit = self.unit.as_deref().is_some_and(|unit| unit.is_empty() || is_plain(unit, 32));
        is_known && unit && is_plain(&self.sensor, 128) && is_plain(&self.metric, 128)
    }

    /// Whether it is what was decoded: instants to the millisecond, values to the last
    /// bits, for what is calculated in another order is rounded in another way.
    fn is(&self, decoded: &Decoded, reading: &DecodedReading) -> bool {
        let sensor = decoded.sensors.get(reading.sensor).map(|sensor| sensor.id.as_str());
        let is_close = |value: f64| (value - reading.value).abs() <= value.abs() * 1e-14;
        sensor == Some(trimmed(&self.sensor))
            && reading.metric.as_str() == trimmed(&self.metric)
            && self.unit.as_deref().is_none_or(|unit| trimmed(unit) == reading.unit.as_str())
            && self.value.is_some_and(is_close)
            && self.time.is_some_and(|time| time.abs_diff(reading.time.as_millis()) <= 1)
    }
}

/// What was decoded is what the tree says, but for what was refused.
pub(crate) fn same(decoded: &Decoded, told: &Told, text: &str) {
    let gateway = Some(trimmed(&told.gateway)).filter(|named| !named.is_empty()).unwrap_or("gw-hello");
    assert_eq!(decoded.gateway.as_ref().map(GatewayId::as_str), Some(gateway), "{text}");
    let mut left = decoded.readings.iter().peekable();
    for one in &told.readings {
        let is_taken = left.next_if(|next| one.is(decoded, next)).is_some();
        assert!(is_taken || !one.is_surely_good(), "{one:?} is refused, or next is {:?}: {text}", left.peek());
    }
    assert!(left.next().is_none(), "a reading that the tree does not say: {left:?}: {text}");
    let counted = decoded.readings.len() + decoded.refused.len();
    assert_eq!(counted, told.readings.len(), "{:?} of {:?}: {text}", decoded.refused, told.readings);
}

/// White space as XML knows it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// What any name may be.
pub(crate) fn is_plain(text: &str, most: usize) -> bool {
    let text = trimmed(text);
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// An attribute without a prefix.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|found| found.name() == name && found.namespace().is_none()).map(|found| found.value())
}

/// The same, trimmed; nothing where there is none.
pub(crate) fn label<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    attribute(node, name).map_or("", trimmed)
}

/// Whether an element has this local name, in any case.
pub(crate) fn is_named(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name().eq_ignore_ascii_case(name)
}

/// The child elements of this local name, in any case.
pub(crate) fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Vec<Node<'a, 'i>> {
    node.children().filter(|child| is_named(*child, name)).collect()
}

/// The elements at the end of a path of such names.
pub(crate) fn below<'a, 'i>(node: Node<'a, 'i>, path: &str) -> Vec<Node<'a, 'i>> {
    path.split('/').fold(vec![node], |nodes, name| nodes.into_iter().flat_map(|node| children(node, name)).collect())
}

/// An element's own text, trimmed.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
    trimmed(&text).to_owned()
}

/// The text of a child element: of the last that has the name.
pub(crate) fn last(node: Node<'_, '_>, name: &str) -> String {
    children(node, name).last().map_or_else(String::new, |child| text(*child))
}

/// The first of two texts that says something.
pub(crate) fn or<'t>(first: &'t str, second: &'t str) -> &'t str {
    if first.is_empty() { second } else { first }
}

/// The unit in which values are kept that are written in another.
pub(crate) fn kept(unit: &str) -> String {
    canonical_unit(unit).map_or(unit, |scaled| scaled.unit).to_owned()
}

/// A finite number in digits.
pub(crate) fn plain_number(text: &str) -> Option<f64> {
    let text = trimmed(text);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|value: &f64| is_plain && value.is_finite())
}

/// When a text says that it was; nothing says: when it was received.
pub(crate) fn when(text: &str) -> Option<i64> {
    match trimmed(text) {
        "" => Some(received().as_millis()),
        text => instant(text, &TimeZone::UTC),
    }
}

/// Date, hours and minutes, seconds, their fraction, offset.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let date = "([0-9]{4}-[0-9]{2}-[0-9]{2})";
    let time = r"([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?";
    Regex::new(&format!("^{date}[Tt ]{time}([Zz]|[-+][0-9]{{2}}(?::?[0-9]{{2}})?)?$")).unwrap()
});

/// RFC 3339, with less of it where devices leave something out: a `T`, the seconds,
/// the zone.
pub(crate) fn instant(text: &str, zone: &TimeZone) -> Option<i64> {
    let found = TIME.captures(text)?;
    let group = |index: usize| found.get(index).map_or("", |group| group.as_str());
    let (second, fraction) = (or(group(3), "00"), group(4));
    let local: civil::DateTime = format!("{}T{}:{second}.{fraction:0<3.3}", group(1), group(2)).parse().ok()?;
    let offset = match group(5).replace(':', "").as_str() {
        "" => return zone.to_timestamp(local).ok().map(|instant| instant.as_millisecond()),
        "Z" | "z" => 0,
        offset => {
            let (hours, minutes) = (offset[1..3].parse::<i64>().ok()?, or(&offset[3..], "0").parse::<i64>().ok()?);
            let is_offset = hours < 24 && minutes < 60;
            is_offset.then_some((hours * 60 + minutes) * if offset.starts_with('-') { -1 } else { 1 })?
        }
    };
    Some(TimeZone::UTC.to_timestamp(local).ok()?.as_millisecond() - offset * 60_000)
}

/// A whole number, decimal or hexadecimal with `0x`.
pub(crate) fn whole(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with(['+', '-']) => None,
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// So many seconds since 1970, in milliseconds.
pub(crate) fn unix(seconds: Option<i128>) -> Option<i64> {
    i64::try_from(seconds?.checked_mul(1000)?).ok()
}
