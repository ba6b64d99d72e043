//! Decoding beside a reader that shares no code with it: one that builds the whole
//! tree of a document with another parser and walks it.
//!
//! Where both have to agree: whether a document is well-formed, and what a native one
//! or a SenML pack says. What differs on purpose is passed over: encodings other than UTF-8, an
//! internal subset (refused here whatever is in it), and depths and sizes beyond the
//! ceilings of decoding.

use std::sync::LazyLock;

use heliograph_dialects::{Context, DecodeError, Decoded, Dialect, NATIVE_NAMESPACE, decode, salvage};
use heliograph_domain::{GatewayId, RefusalCode, Timestamp, Zone};
use proptest::prelude::*;
use roxmltree::{Document, Node, ParsingOptions};

use crate::fixtures::fixtures;
use crate::packs;
use crate::robustness::{Change, apply, change};

/// At an instant that no document states.
fn received() -> Timestamp {
    Timestamp::clamped(1_795_176_000_123)
}

fn decoded(text: &str) -> Result<Decoded, DecodeError> {
    let (zone, hello) = (Zone::utc(), GatewayId::parse("gw-hello").unwrap());
    decode(text.as_bytes(), &Context { received: received(), zone: &zone, hello_gateway: Some(&hello), mappings: &[] })
}

/// Holds decoding against the tree; false where they may differ.
fn compare(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if text.contains("<!DOCTYPE") || names_another_encoding(text) {
        return false;
    }
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let tree = Document::parse_with_options(text, options);
    match (decoded(text), tree) {
        (Err(error), Ok(tree)) => {
            let is_of_xml = error.code == RefusalCode::Malformed;
            let known = passes_too_much(&error, text);
            assert!(!is_of_xml || known || breaks_a_rule(&tree), "refused and well-formed: {error}\n{text}");
        }
        (Ok(_), Err(error)) => panic!("taken and not well-formed: {error}\n{text}"),
        (Ok(decoded), Ok(tree)) if decoded.dialect == Dialect::Native => same(&decoded, &tree, text),
        (Ok(decoded), Ok(tree)) if decoded.dialect == Dialect::SenMl => packs::same(&decoded, &tree, received(), text),
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
    }
    true
}

/// A declaration of something else than UTF-8 or a part of it.
fn names_another_encoding(text: &str) -> bool {
    let declaration = text.trim_start_matches('\u{FEFF}').split("?>").next().unwrap_or_default();
    let named = declaration.split("encoding").nth(1).unwrap_or_default().to_ascii_lowercase();
    declaration.starts_with("<?xml") && !named.is_empty() && !named.contains("utf-8")
}

/// What the other parser takes although XML 1.0 forbids it: a namespace declared twice
/// in a tag (section 3.1), references to what is no character (4.1), and anything but
/// white space behind the name of an instruction (2.6) or a colon in it (Namespaces in
/// XML 1.0, section 7).
fn passes_too_much(error: &DecodeError, text: &str) -> bool {
    let twice = error.message.contains("attribute \"xmlns") && error.message.contains("stands twice");
    let reference = error.message.contains("reference is neither to a character") && text.contains("&#");
    let is_of_name = |problem: &str| error.message.contains(problem) && text.contains("<?");
    let instruction = is_of_name("where a name should is none") || is_of_name("a processing instruction must not have this name");
    twice || reference || instruction
}

/// Well-formed documents that decoders refuse as malformed: a rule of the dialect is
/// broken, not one of XML.
fn breaks_a_rule(tree: &Document<'_>) -> bool {
    let root = tree.root_element();
    let seq = attribute(root, "seq").is_some_and(|seq| seq.chars().count() > 64 || seq.chars().any(char::is_control));
    let gateway = attribute(root, "gateway").is_some_and(|id| GatewayId::parse(trimmed(id)).is_err());
    let hello = is(root, "hello") && attribute(root, "gateway").is_none();
    // Other dialects name their gateway somewhere inside.
    let is_native = salvage(tree.input_text().as_bytes()).dialect == Some(Dialect::Native);
    !is_native || seq || gateway || hello
}

/// White space as XML knows it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    let tag = node.tag_name();
    let within = tag.namespace().is_none_or(|uri| uri.is_empty() || uri == NATIVE_NAMESPACE);
    node.is_element() && tag.name().eq_ignore_ascii_case(name) && within
}

/// An attribute without a prefix.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|found| found.name() == name && found.namespace().is_none()).map(|found| found.value())
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
    /// It says of its meaning what may be wrong.
    means: bool,
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
            means: attribute("kind").or(attribute("quantity")).is_some(),
        }
    }

    fn misplaced() -> Self {
        Self { sensor: None, metric: None, unit: String::new(), time: None, value: String::new(), misplaced: true, means: false }
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
            && !self.means
            && is_name(&self.sensor)
            && is_name(&self.metric)
            && unit
            && time
            && self.number().is_some()
    }

    /// Whether it is what was decoded.
    fn is(&self, decoded: &Decoded, reading: &heliograph_dialects::DecodedReading) -> bool {
        let sensor = decoded.sensors.get(reading.sensor).map(|sensor| sensor.id.as_str());
        let time = match self.time.as_deref().map(str::parse::<jiff::Timestamp>) {
            None => reading.time == received(),
            Some(Ok(time)) => reading.time.as_millis() == time.as_millisecond(),
            // A local time, or one that is written in another way.
            Some(Err(_)) => reading.time != received(),
        };
        !self.misplaced
            && self.sensor.as_deref() == sensor
            && self.metric.as_deref() == Some(reading.metric.as_str())
            && self.unit == reading.unit.as_str()
            && self.number().is_some_and(|value| value.to_bits() == reading.value.to_bits())
            && time
    }
}

/// A finite number in digits.
pub(crate) fn plain_number(text: &str) -> Option<f64> {
    let text = trimmed(text);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|value: &f64| is_plain && value.is_finite())
}

pub(crate) fn is_plain(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
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
fn same(decoded: &Decoded, tree: &Document<'_>, text: &str) {
    let root = tree.root_element();
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

#[test]
fn fixtures_say_the_same_to_a_reader_of_trees() {
    let mut compared = 0;
    for folder in Dialect::ALL.iter().copied().map(Dialect::as_str).chain(["hostile", "mapped"]) {
        compared += fixtures(folder).iter().filter(|fixture| compare(&fixture.bytes)).count();
    }
    assert!(compared > 60, "{compared} fixtures");
}

pub(crate) fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
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
fn push() -> BoxedStrategy<String> {
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

/// Fixtures that are quickly read.
static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folders = Dialect::ALL.iter().copied().map(Dialect::as_str).chain(["hostile"]);
    folders.flat_map(fixtures).map(|fixture| fixture.bytes).filter(|bytes| bytes.len() < 5000).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_documents_say_the_same_to_a_reader_of_trees(document in push(), changes in prop::collection::vec(change(), 0..2)) {
        compare(&changed(document.into_bytes(), &changes));
    }

    #[test]
    fn random_packs_say_the_same_to_a_reader_of_trees(document in packs::pack(), changes in prop::collection::vec(change(), 0..2)) {
        compare(&changed(document.into_bytes(), &changes));
    }

    #[test]
    fn changed_fixtures_say_the_same_to_a_reader_of_trees(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        compare(&changed(SMALL[pick.index(SMALL.len())].clone(), &changes));
    }
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    changes.iter().for_each(|change| apply(&mut bytes, change));
    bytes
}

/// Documents in which every kind of mark-up stands once.
const DENSE: [&str; 2] = [
    "<push xmlns:n='urn:heliograph:push:1' gateway='g' seq='1'><n:sensor id='m'><reading metric='a' unit='W' \
     time='2026-11-20T12:00:00Z'>1.5<!--c--><?p i?><![CDATA[2]]>&#49;</reading></n:sensor></push>",
    "<sensml xmlns='urn:ietf:params:xml:ns:senml' xmlns:n='urn:ietf:params:xml:ns:senml' bn='d-' bt='1795000000' bv='10'>\
     <n:senml n='m' u='W' t='60.25' v='-2.5e1'/><senml s='7' bs='1' bver='5'/></sensml>",
];

#[test]
fn dense_documents_without_any_part_of_them_say_the_same_to_a_reader_of_trees() {
    for text in DENSE {
        let bytes = text.as_bytes();
        assert!(compare(bytes));
        for begin in 0..bytes.len() {
            for end in begin + 1..=bytes.len().min(begin + 40) {
                compare(&[&bytes[..begin], &bytes[end..]].concat());
            }
        }
    }
}

#[test]
fn dense_documents_with_any_byte_changed_say_the_same_to_a_reader_of_trees() {
    for text in DENSE {
        let mut bytes = text.as_bytes().to_vec();
        for place in 0..bytes.len() {
            let before = bytes[place];
            for byte in 0..128 {
                bytes[place] = byte;
                compare(&bytes);
            }
            bytes[place] = before;
        }
    }
}
