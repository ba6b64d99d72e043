//! What a tree says of native documents.

use heliograph_dialects::{Decoded, DecodedReading, NATIVE_NAMESPACE};
use heliograph_domain::{GatewayId, Kind, Quantity};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use roxmltree::Node;

use super::said::{attribute, instant, is_plain, plain_number, trimmed};
use super::{one_of, received};

/// Whether a document breaks a rule that decoding calls malformed too.
pub(crate) fn breaks_a_rule(root: Node<'_, '_>) -> bool {
    let seq = attribute(root, "seq").is_some_and(|seq| seq.chars().count() > 64 || seq.chars().any(char::is_control));
    let gateway = attribute(root, "gateway").is_some_and(|id| GatewayId::parse(trimmed(id)).is_err());
    let hello = is(root, "hello") && attribute(root, "gateway").is_none();
    seq || gateway || hello
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    let tag = node.tag_name();
    let within = tag.namespace().is_none_or(|uri| uri.is_empty() || uri == NATIVE_NAMESPACE);
    node.is_element() && tag.name().eq_ignore_ascii_case(name) && within
}

/// A reading as the tree says it.
struct Reading {
    sensor: Option<String>,
    metric: Option<String>,
    unit: String,
    time: Option<String>,
    value: String,
    /// It stands where none may.
    misplaced: bool,
    /// What it says of its meaning is unknown.
    means_nothing: bool,
}

impl Reading {
    fn of(node: Node<'_, '_>, sensor: Option<&str>) -> Self {
        let attribute = |name: &str| attribute(node, name).map(|value| trimmed(value).to_owned());
        let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
        Self {
            sensor: sensor.map(|id| trimmed(id).to_owned()),
            metric: attribute("metric"),
            unit: attribute("unit").unwrap_or_default(),
            time: attribute("time"),
            value: trimmed(&text).to_owned(),
            misplaced: false,
            means_nothing: attribute("kind").is_some_and(|kind| Kind::parse(&kind).is_err())
                || attribute("quantity").is_some_and(|quantity| Quantity::parse(&quantity).is_err()),
        }
    }

    fn misplaced() -> Self {
        Self {
            sensor: None,
            metric: None,
            unit: String::new(),
            time: None,
            value: String::new(),
            misplaced: true,
            means_nothing: false,
        }
    }

    fn number(&self) -> Option<f64> {
        plain_number(&self.value)
    }

    /// Whether nothing can be wrong with it.
    fn is_surely_good(&self) -> bool {
        let is_name = |name: &Option<String>| name.as_ref().is_some_and(|name| is_plain(name, 128));
        let unit = self.unit.is_empty() || is_plain(&self.unit, 32);
        let time = self.time.as_deref().is_none_or(|time| time.len() == 20 && time.parse::<jiff::Timestamp>().is_ok());
        !self.misplaced
            && !self.means_nothing
            && is_name(&self.sensor)
            && is_name(&self.metric)
            && unit
            && time
            && self.number().is_some()
    }

    /// Whether it is what was decoded.
    fn is(&self, decoded: &Decoded, reading: &DecodedReading) -> bool {
        let sensor = decoded.sensors.get(reading.sensor).map(|sensor| sensor.id.as_str());
        let time = match self.time.as_deref() {
            None => Some(received().as_millis()),
            Some(time) => instant(time, &TimeZone::UTC),
        };
        !self.misplaced
            && !self.means_nothing
            && self.sensor.as_deref() == sensor
            && self.metric.as_deref() == Some(reading.metric.as_str())
            && self.unit == reading.unit.as_str()
            && self.number().is_some_and(|value| value.to_bits() == reading.value.to_bits())
            && time.is_some_and(|time| time.abs_diff(reading.time.as_millis()) <= 1)
    }
}

/// The readings of a push, in the document's order.
fn readings(root: Node<'_, '_>) -> Vec<Reading> {
    let mut found = Vec::new();
    for child in root.children() {
        if is(child, "reading") {
            found.push(Reading::misplaced());
        }
        if !is(child, "sensor") {
            continue;
        }
        for inner in child.children() {
            if is(inner, "sensor") {
                found.push(Reading::misplaced());
            }
            if is(inner, "reading") {
                found.push(Reading::of(inner, attribute(child, "id")));
            }
        }
    }
    found
}

/// What was decoded is what the tree says, but for readings that were refused.
pub(crate) fn same(decoded: &Decoded, root: Node<'_, '_>, text: &str) {
    let gateway = attribute(root, "gateway").map_or("gw-hello", trimmed);
    assert_eq!(decoded.gateway.as_ref().map(GatewayId::as_str), Some(gateway), "{text}");
    assert_eq!(decoded.seq.as_deref(), attribute(root, "seq"), "{text}");
    assert_eq!(decoded.key.as_ref().map(|key| key.reveal()), attribute(root, "key"), "{text}");
    assert_eq!(decoded.is_hello, is(root, "hello"), "{text}");
    let told = if decoded.is_hello { Vec::new() } else { readings(root) };
    assert_eq!(decoded.readings.len() + decoded.refused.len(), told.len(), "{text}");
    let mut taken = decoded.readings.iter().peekable();
    for reading in &told {
        let is_taken = taken.next_if(|next| reading.is(decoded, next)).is_some();
        assert!(is_taken || !reading.is_surely_good(), "value {:?} is refused: {text}", reading.value);
    }
    assert!(taken.next().is_none(), "a reading that the tree does not say: {text}");
}

/// What may stand between the tags of a document.
fn filling() -> impl Strategy<Value = String> {
    one_of(&["", "", " ", "\r\n", "<!-- <a> -->", "<?p </a>?>", "<![CDATA[]]>", "x", "&lt;", "\u{FEFF}", "]]&gt;"])
}

/// The text of a reading.
fn value() -> impl Strategy<Value = String> {
    let parts = one_of(&[
        "1",
        "-2.5",
        "3e2",
        "&#49;",
        "<![CDATA[4]]>",
        "<!--c-->",
        " ",
        "\n",
        "<x>9</x>",
        "NaN",
        ",",
        "&#x31;",
        "e5",
        "+",
    ]);
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

fn attributes(names: &'static [&'static str], values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let one = (one_of(names), one_of(values)).prop_map(|(name, value)| format!(" {name}={value}"));
    prop::collection::vec(one, 0..4).prop_map(|all| all.concat())
}

const VALUES: &[&str] = &[
    "'m'",
    "\"m\"",
    "' power\t'",
    "'W'",
    "'a&amp;b'",
    "'a&#10;b'",
    "'a\nb'",
    "'>'",
    "'2026-11-20T12:00:00Z'",
    "'2026-11-20T12:00:00'",
    "''",
    "'\"'",
    "'gauge'",
    "'\u{E4}'",
    "'urn:heliograph:push:1'",
];

fn element(name: &'static [&'static str], names: &'static [&'static str], inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (one_of(name), attributes(names, VALUES), inner)
        .prop_map(|(name, attributes, inner)| format!("<{name}{attributes}>{inner}</{name}>"))
        .boxed()
}

/// Documents that are often well-formed, and often native.
pub(crate) fn push() -> BoxedStrategy<String> {
    let reading =
        element(&["reading", "READING", "n:reading", "x"], &["metric", "unit", "time", "kind", "n:unit"], value().boxed());
    let inside = prop_oneof![4 => reading.clone(), 1 => filling().boxed(), 1 => Just("<sensor/>".to_owned()).boxed()];
    let inside = prop::collection::vec(inside, 0..4).prop_map(|all| all.concat()).boxed();
    let sensor = element(&["sensor", "sensor", "Sensor", "n:sensor"], &["id", "id", "kind", "xmlns"], inside);
    let inside = prop_oneof![4 => sensor, 1 => reading, 1 => filling().boxed()];
    let inside = prop::collection::vec(inside, 0..4).prop_map(|all| all.concat());
    let head = one_of(&["", "<?xml version='1.0'?>", "\u{FEFF}", "<!-- a -->\n", "<?xml version='1.0' encoding='UTF-8'?>\n"]);
    (head, one_of(&["push", "hello", "PUSH"]), attributes(&["gateway", "key", "seq", "x"], VALUES), inside, filling())
        .prop_map(|(head, root, attributes, inside, tail)| {
            format!("{head}<{root} xmlns:n='urn:heliograph:push:1'{attributes}>{inside}</{root}>{tail}")
        })
        .boxed()
}
