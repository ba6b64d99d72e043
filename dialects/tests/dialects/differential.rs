//! Decoding beside a reader that shares no code with it: one that builds the whole
//! tree of a document with another parser and walks it.
//!
//! Where both have to agree: whether a document is well-formed, and what it says, by a
//! second reading of each dialect's rules. What differs on purpose is passed over:
//! encodings other than UTF-8, an internal subset (refused here whatever is in it), and
//! depths and sizes beyond the ceilings of decoding.
//!
//! HELIOGRAPH_DIFFERENTIAL_CASES says how many random documents each test takes.

mod acquisuite;
mod altered;
mod egauge;
mod mii;
mod native;
mod packs;
mod profiles;
mod rainforest;
mod said;
mod sma;
mod sunspec;

use std::sync::LazyLock;

use heliograph_dialects::{Context, DecodeError, Decoded, Dialect, NATIVE_NAMESPACE, decode};
use heliograph_domain::{GatewayId, GatewayKey, RefusalCode, Timestamp, Zone};
use proptest::prelude::*;
use regex::Regex;
use roxmltree::{Document, Node, ParsingOptions};

use crate::corpus::corpus;
use crate::fixtures::fixtures;
use crate::robustness::{Change, apply, change};
use altered::{altered, edit};
use said::{Told, attribute, trimmed};

/// At an instant that no document states.
fn received() -> Timestamp {
    Timestamp::clamped(1_795_176_000_123)
}

fn decoded(text: &str) -> Result<Decoded, DecodeError> {
    let (zone, hello) = (Zone::utc(), GatewayId::parse("gw-hello").unwrap());
    decode(text.as_bytes(), &Context { received: received(), zone: &zone, hello_gateway: Some(&hello), mappings: &[] })
}

/// As eGauges send it. The other parser has no part in what a DOCTYPE means.
const DOCTYPE: &str = r#"<!DOCTYPE group PUBLIC "-//ESL/DTD eGauge 1.0//EN" "http://www.egauge.net/DTD/egauge-hist.dtd">"#;

/// What was held against the tree.
#[derive(Debug, PartialEq)]
enum Compared {
    /// Nothing: they may differ.
    Nothing,
    /// Whether it is well-formed, and no more.
    Form,
    /// That it is refused by a rule of its dialect.
    Refusal,
    /// Every reading.
    Readings,
}

/// Holds decoding against the tree.
fn compare(bytes: &[u8]) -> Compared {
    let Ok(text) = std::str::from_utf8(bytes) else { return Compared::Nothing };
    let plain = match text.split_once(DOCTYPE) {
        Some((before, behind)) if trimmed(before).is_empty() || before.trim_end().ends_with("?>") => format!("{before}{behind}"),
        _ => text.to_owned(),
    };
    if plain.contains("<!DOCTYPE") || (names_another_encoding(text) && !text.is_ascii()) {
        return Compared::Nothing;
    }
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let tree = Document::parse_with_options(&plain, options).ok().filter(|_| is_declared_well(&plain));
    match (decoded(text), tree) {
        (Err(error), Some(tree)) => {
            let is_right = passes_too_much(&error, text) || is_refused_rightly(&error, tree.root_element(), text);
            assert!(is_right, "refused and well-formed: {error}\n{text}");
            Compared::Refusal
        }
        (Ok(_), None) => panic!("taken and not well-formed:\n{text}"),
        (Ok(decoded), Some(tree)) => same(&decoded, tree.root_element(), text),
        (Err(_), None) => Compared::Form,
    }
}

/// XML 1.0, section 2.8: the other parser takes any fields in a declaration.
static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
    let field = |name: &str, value: &str| format!(r#"[ \t\r\n]+{name}[ \t\r\n]*=[ \t\r\n]*("{value}"|'{value}')"#);
    let (version, encoding) = (field("version", "1[.][0-9]+"), field("encoding", "[A-Za-z][-A-Za-z0-9._]*"));
    Regex::new(&format!(r"^<\?xml{version}({encoding})?({})?[ \t\r\n]*\?>", field("standalone", "(yes|no)"))).unwrap()
});

fn is_declared_well(text: &str) -> bool {
    let text = text.trim_start_matches('\u{FEFF}');
    let is_declared = text.strip_prefix("<?xml").is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n']));
    !is_declared || DECLARATION.is_match(text)
}

/// How a document is read: `None` where it is none of a dialect that is read here.
fn recognise(root: Node<'_, '_>) -> Option<Dialect> {
    let (name, namespace) = (root.tag_name().name().to_ascii_lowercase(), root.tag_name().namespace().unwrap_or_default());
    let within = |known: &[&str]| namespace.is_empty() || known.contains(&namespace);
    let sunspec = ["http://www.sunspec.org/ws/data", "http://www.sunspec.org/data/v1"];
    match name.as_str() {
        "push" | "hello" if within(&[NATIVE_NAMESPACE]) => Some(Dialect::Native),
        "sensml" | "senml" if within(&["urn:ietf:params:xml:ns:senml"]) => Some(Dialect::SenMl),
        "sunspecdata" | "sunspecplantextract" if namespace.is_empty() || sunspec.contains(&namespace.trim_end_matches('/')) => {
            Some(Dialect::SunSpec)
        }
        "das" if within(&[]) => Some(Dialect::AcquiSuite),
        "group" | "data" if within(&[]) && attribute(root, "serial").is_some() => Some(Dialect::EGauge),
        "rainforest" | "instantaneousdemand" | "currentsummationdelivered" | "currentsummation" | "pricecluster"
            if within(&[]) =>
        {
            Some(Dialect::Rainforest)
        }
        "mii" if within(&["http://api.sspcdn.com/mii"]) => Some(Dialect::Mii),
        "webbox" | "clustercontroller" | "info" | "meanpublic" | "currentpublic" | "onlinedata"
            if within(&["http://www.w3.org/2001/XMLSchema.xsd"]) =>
        {
            Some(Dialect::Sma)
        }
        _ => profiles::reader(root).map(|_| Dialect::Mapped),
    }
}

/// What a document says that is not native.
fn told(root: Node<'_, '_>) -> Option<Told> {
    match recognise(root)? {
        Dialect::SenMl => Some(packs::told(root)),
        Dialect::SunSpec => Some(sunspec::told(root)),
        Dialect::AcquiSuite => Some(acquisuite::told(root)),
        Dialect::EGauge => Some(egauge::told(root)),
        Dialect::Rainforest => Some(rainforest::told(root)),
        Dialect::Mii => mii::told(root),
        Dialect::Sma => Some(sma::told(root)),
        Dialect::Mapped => profiles::reader(root).map(|read| read(root)),
        _ => None,
    }
}

fn same(decoded: &Decoded, root: Node<'_, '_>, text: &str) -> Compared {
    if sunspec::has_other_models(root) || egauge::has_other_types(root) || profiles::has_broken_units(root) {
        return Compared::Form;
    }
    match decoded.dialect {
        Dialect::Native => native::same(decoded, root, text),
        _ => said::same(decoded, &told(root).unwrap_or_default(), text),
    }
    // Other clusters have no readings.
    let is_known = recognise(root) == Some(decoded.dialect) || decoded.dialect == Dialect::Rainforest;
    assert!(is_known, "{}: {text}", decoded.dialect);
    Compared::Readings
}

/// Whether a document that is well-formed breaks a rule of its dialect.
fn is_refused_rightly(error: &DecodeError, root: Node<'_, '_>, text: &str) -> bool {
    let (dialect, told) = (recognise(root), told(root));
    match (error.code, dialect) {
        (RefusalCode::Malformed, Some(Dialect::Native)) => native::breaks_a_rule(root),
        // Of its version.
        (RefusalCode::Malformed | RefusalCode::Unsupported, Some(Dialect::SenMl)) => true,
        (RefusalCode::Malformed, _) => told.is_some_and(|told| GatewayId::parse(trimmed(&told.gateway)).is_err()),
        (RefusalCode::Unsupported, Some(Dialect::Mii)) => told.is_none(),
        (RefusalCode::Unsupported, _) => dialect.is_none(),
        (RefusalCode::NoReadings, _) => dialect == Some(Dialect::Mapped) && told.is_some_and(|told| told.readings.is_empty()),
        (RefusalCode::BadKey, Some(Dialect::Native)) => attribute(root, "key").is_some_and(|key| GatewayKey::parse(key).is_err()),
        (RefusalCode::TooLarge | RefusalCode::TooDeep, _) => is_beyond_the_ceilings(root),
        (RefusalCode::Encoding, _) => names_another_encoding(text),
        _ => false,
    }
}

/// More elements, or attributes of one, or deeper than any dialect has.
fn is_beyond_the_ceilings(root: Node<'_, '_>) -> bool {
    let elements = || root.descendants().filter(Node::is_element);
    let is_crowded = |node: Node<'_, '_>| node.attributes().len() + node.namespaces().len() > 1024;
    elements().count() > 1000 || elements().any(|node| is_crowded(node) || node.ancestors().count() > 1024)
}

/// A declaration of something else than UTF-8.
fn names_another_encoding(text: &str) -> bool {
    let declaration = text.trim_start_matches('\u{FEFF}').split("?>").next().unwrap_or_default();
    let named = declaration.split("encoding").nth(1).and_then(|named| named.split(['"', '\'']).nth(1));
    declaration.starts_with("<?xml") && named.is_some_and(|named| !named.eq_ignore_ascii_case("utf-8"))
}

#[test]
fn what_only_begins_as_utf_8_does_is_another_encoding() {
    let declared = |encoding: &str| names_another_encoding(&format!("<?xml version='1.0' encoding={encoding}?><a/>"));
    assert!(declared("'UTF-8-'") && declared("\"ISO-8859-1\"") && !declared("'utf-8'") && !declared("\"UTF-8\""));
}

/// What the other parser takes although XML 1.0 forbids it: a namespace declared twice
/// in a tag (section 3.1), references to what is no character (4.1), an instruction
/// whose name is `xml`, or is not followed by white space (2.6); and although Namespaces
/// in XML 1.0 forbids it: a colon in the name of an instruction or at an end of another
/// (section 7), a prefix for no namespace (2.2), `xmlns` behind a prefix that is not
/// declared (5.1).
fn passes_too_much(error: &DecodeError, text: &str) -> bool {
    let says = |problem: &str, of: &str| error.message.contains(problem) && text.contains(of);
    says("stands twice", "xmlns")
        || says("reference is neither to a character", "&#")
        || says("where a name should is none", "<?")
        || says("where a name should is none", ":")
        || says("XML declaration inside the document", "<?xml")
        || says("a processing instruction must not have this name", "<?")
        || says("cannot be declared so", "xmlns:")
        || says("is not declared", ":xmlns")
}

#[test]
fn fixtures_say_the_same_to_a_reader_of_trees() {
    let folders = Dialect::ALL.iter().copied().map(Dialect::as_str).chain(["hostile", "mapped"]);
    let compared: Vec<_> = folders.flat_map(fixtures).map(|fixture| compare(&fixture.bytes)).collect();
    let count = |what: Compared| compared.iter().filter(|one| **one == what).count();
    let (readings, refusals, forms) = (count(Compared::Readings), count(Compared::Refusal), count(Compared::Form));
    assert!(readings >= 80 && refusals >= 8 && forms >= 10, "{readings} read, {refusals} refused, {forms} not well-formed");
}

/// Fixtures and seeds of fuzzing that are quickly read.
static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = || Dialect::ALL.iter().copied().map(Dialect::as_str);
    let all = names().chain(["hostile", "mapped"]).flat_map(fixtures).map(|fixture| fixture.bytes);
    all.chain(names().flat_map(corpus)).filter(|bytes| bytes.len() < 5000).collect()
});

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// How many documents a test makes up, unless it is told.
const FEW: u32 = 2000;

fn cases() -> u32 {
    std::env::var("HELIOGRAPH_DIFFERENTIAL_CASES").map_or(FEW, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_documents_say_the_same_to_a_reader_of_trees(
        document in native::push(),
        changes in prop::collection::vec(change(), 0..2),
    ) {
        compare(&changed(document.into_bytes(), &changes));
    }

    #[test]
    fn random_packs_say_the_same_to_a_reader_of_trees(
        document in packs::pack(),
        changes in prop::collection::vec(change(), 0..2),
    ) {
        compare(&changed(document.into_bytes(), &changes));
    }

    #[test]
    fn changed_fixtures_say_the_same_to_a_reader_of_trees(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        compare(&changed(SMALL[pick.index(SMALL.len())].clone(), &changes));
    }

    #[test]
    fn fixtures_with_other_values_and_elements_say_the_same_to_a_reader_of_trees(
        pick in any::<prop::sample::Index>(),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let bytes = &SMALL[pick.index(SMALL.len())];
        if let Ok(text) = std::str::from_utf8(bytes) {
            compare(altered(text, &edits).as_bytes());
        }
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

/// The same of devices.
const DEVICES: [&str; 7] = [
    "<sunSpecData xmlns='http://www.sunspec.org/data/v1'><d lid='g' man='m' sn='1' t='2026-11-20T12:00:00Z'><m id='103' x='2'>\
     <p id='W' sf='-2' x='1'>1234.5</p><p id='A' u='mA'>7</p><p id='A_SF'>-1</p></m></d></sunSpecData>",
    "<DAS><mode>LOGFILEUPLOAD</mode><serial> g </serial><devices><device><address>07</address><records><record>\
     <time zone='UTC'>2026-11-20 12:00:00</time><error text='Ok'>0</error><point number='1' name='a' units='kW' value='1.5'/>\
     <point number='2' name='a' units='kW' value='2'/></record></records></device></devices></DAS>",
    "<group serial='0x1'><data columns='2' time_stamp='0x6b003640' time_delta='60' delta='true'><cname t='P'>a</cname>\
     <cname t='V'>b</cname><r><c>100</c><c>-1</c></r><r><c>-10</c><c>2</c></r></data><data><r><c>1</c></r></data></group>",
    "<rainforest macId='0x1' timestamp='1795176000s'><InstantaneousDemand><MeterMacId>0x2</MeterMacId><TimeStamp>0x3292f2c0\
     </TimeStamp><Demand>0xfffc18</Demand><Multiplier>0x03</Multiplier><Divisor>0x3e8</Divisor></InstantaneousDemand></rainforest>",
    "<mii xmlns='http://api.sspcdn.com/mii'><datalogger><configuration><uuid><vendor>v</vendor><serial>1</serial></uuid><devices>\
     <device type='meter' id='1'><uid>u</uid></device></devices></configuration><datapoints><datapoint \
     timestamp='2026-11-20T12:00:00'><device id='1'><mv t='M_AC_P' v='-5'/></device></datapoint></datapoints></datalogger></mii>",
    "<WebBox><Info><SerialNumber>15</SerialNumber><UtcOffset>-210</UtcOffset><DST>60</DST></Info><MeanPublic><Key>W:2:TmpAmb C\
     </Key><Mean>1</Mean><Min>-.5</Min><TimeStamp>2026-10-25T02:30:00</TimeStamp></MeanPublic></WebBox>",
    "<MBusData><SlaveInformation><Id>4</Id><Manufacturer>A</Manufacturer></SlaveInformation><DataRecord id='3'><Function>Maximum \
     value</Function><Tariff>2</Tariff><Unit>Volume (m m^3)</Unit><Value>15</Value></DataRecord></MBusData>",
];

/// Compares a document without each part of it of up to so many bytes.
fn without_parts(text: &str, longest: usize) {
    let bytes = text.as_bytes();
    assert_eq!(compare(bytes), Compared::Readings);
    for begin in 0..bytes.len() {
        for end in begin + 1..=bytes.len().min(begin + longest) {
            compare(&[&bytes[..begin], &bytes[end..]].concat());
        }
    }
}

/// Compares a document with each byte of it changed to each of others.
fn with_others(text: &str, others: &[u8]) {
    let mut bytes = text.as_bytes().to_vec();
    for place in 0..bytes.len() {
        let before = bytes[place];
        for byte in others {
            bytes[place] = *byte;
            compare(&bytes);
        }
        bytes[place] = before;
    }
}

#[test]
fn dense_documents_without_any_part_of_them_say_the_same_to_a_reader_of_trees() {
    DENSE.iter().for_each(|text| without_parts(text, 40));
    DEVICES.iter().for_each(|text| without_parts(text, if cases() > FEW { 40 } else { 8 }));
}

#[test]
fn dense_documents_with_any_byte_changed_say_the_same_to_a_reader_of_trees() {
    let all: Vec<u8> = (0..128).collect();
    DENSE.iter().for_each(|text| with_others(text, &all));
    DEVICES.iter().for_each(|text| with_others(text, if cases() > FEW { &all } else { b" <&'/09-.xF" }));
}
