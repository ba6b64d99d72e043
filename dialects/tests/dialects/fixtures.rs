//! Every document in `fixtures/` decodes to what the file beside it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_dialects::{Context, DecodeError, Decoded, Frame, Framer, Limits, Mapping, decode};
use heliograph_domain::{GatewayId, Timestamp, Zone};
use serde_json::{Value, json};

/// A document and what is expected of it.
pub(crate) struct Fixture {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Value,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The fixtures of one folder.
pub(crate) fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = root().join("fixtures").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures in {}", folder.display());
    paths.into_iter().map(fixture).collect()
}

fn fixture(path: PathBuf) -> Fixture {
    let beside = path.with_extension("expected.json");
    let text = fs::read_to_string(&beside).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
    let expected = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
    Fixture { bytes: fs::read(&path).unwrap(), path, expected }
}

pub(crate) fn decoded(fixture: &Fixture, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let text = |name: &str, default: &str| fixture.expected[name].as_str().unwrap_or(default).to_owned();
    let zone = Zone::parse(&text("zone", "UTC")).unwrap();
    let received = Timestamp::parse_rfc3339(&text("received", "2026-11-21T00:00:00Z")).unwrap();
    let hello = fixture.expected["after_hello"].as_str().map(|id| GatewayId::parse(id).unwrap());
    let own = fs::read_to_string(fixture.path.with_extension("toml")).ok();
    let mappings: Vec<_> = own.iter().map(|toml| Arc::new(Mapping::parse(toml).unwrap())).collect();
    decode(bytes, &Context { received, zone: &zone, hello_gateway: hello.as_ref(), mappings: &mappings })
}

/// The one document of a fixture, cut out of its file.
fn framed(fixture: &Fixture) -> Result<&[u8], String> {
    match Framer::new(Limits::default()).next(&fixture.bytes) {
        Ok(Frame::Document { start, end }) => Ok(&fixture.bytes[start..end]),
        Ok(Frame::Incomplete { .. }) => Err("incomplete".to_owned()),
        Err(error) => Err(error.code.as_str().to_owned()),
    }
}

#[test]
fn native_documents_decode_to_what_stands_beside_them() {
    fixtures("native").iter().for_each(check);
}

#[test]
fn senml_documents_decode_to_what_stands_beside_them() {
    fixtures("senml").iter().for_each(check);
}

#[test]
fn sunspec_documents_decode_to_what_stands_beside_them() {
    fixtures("sunspec").iter().for_each(check);
}

#[test]
fn acquisuite_documents_decode_to_what_stands_beside_them() {
    fixtures("acquisuite").iter().for_each(check);
}

#[test]
fn egauge_documents_decode_to_what_stands_beside_them() {
    fixtures("egauge").iter().for_each(check);
}

#[test]
fn rainforest_documents_decode_to_what_stands_beside_them() {
    fixtures("rainforest").iter().for_each(check);
}

#[test]
fn mii_documents_decode_to_what_stands_beside_them() {
    fixtures("mii").iter().for_each(check);
}

#[test]
fn sma_documents_decode_to_what_stands_beside_them() {
    fixtures("sma").iter().for_each(check);
}

#[test]
fn mapped_documents_decode_to_what_stands_beside_them() {
    fixtures("mapped").iter().for_each(check);
}

#[test]
fn a_mapping_that_is_wrong_is_told_what_and_where() {
    let good = "name = 'a'\nroot = 'r'\n[[reading]]\neach = '/r/v'\nsensor = 's'\nmetric = 'm'\nvalue = '{.}'\n";
    assert!(Mapping::parse(good).is_ok());
    let check = |from: &str, to: &str, told: &str| {
        let error = Mapping::parse(&good.replace(from, to)).expect_err(to).to_string();
        assert!(error.contains(told), "{to}: {error}");
    };
    check("name = 'a'", "", "missing field `name`");
    check("root = 'r'", "root = \"\\u001b[2J\"", "root and namespace are names");
    check("metric =", "metrics =", "unknown field `metrics`");
    check("'/r/v'", "'r/v'", "reading 1: path \"r/v\" does not begin with '/'");
    check("'{.}'", "'{../../../a}'", "reading 1: value: a path goes up beyond the root");
    check("'{.}'", "'{. | upper}'", "filter \"upper\" is not known");
    check("'{.}'", "'{. | map x}'", "there is no table map.x");
    check("'{.}'", "'{. | lookup x}'", "there is no lookup.x");
    check("'{.}'", "'{.'", "a '{' is not closed");
    check("'m'", "'m[a'", "a '[' is not closed");
    check("'m'", "'m'\nunit = \"{. | match '('}\"", "reading 1: unit: filter");
    check("'m'", "'m'\nkind = 'sunny'", "kind \"sunny\" is not known");
    check("'m'", "'m'\nzone = 'Moon/Base'", "zone \"Moon/Base\" is not known");
    check("'m'", "'m'\ntime-format = 'soon'", "time-format \"soon\"");
    check("'m'", "'m'\nwhen = ['a ~ b']", "condition \"a ~ b\"");
    check("[[reading]]", "[reading]", "reading");
}

#[test]
fn hostile_documents_are_refused_with_their_code() {
    fixtures("hostile").iter().for_each(check);
}

#[test]
fn a_refused_document_still_gives_its_token_and_its_gateway() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let check = |xml: &[u8], seq: Option<&str>, gateway: Option<&str>| {
        let error = decode(xml, &context).unwrap_err();
        let shown = String::from_utf8_lossy(xml);
        assert_eq!(error.seq.as_deref(), seq, "{shown}");
        assert_eq!(error.gateway.as_ref().map(GatewayId::as_str), gateway, "{shown}");
    };
    check(b"<push gateway='g' seq='7'><a></push>", Some("7"), Some("g"));
    check(b"<push gateway='g' seq='7'>\xFF</push>", Some("7"), Some("g"));
    check(b"\xEF\xBB\xBF<?xml version='1.0'?><push gateway='g' seq='7'>&lol;</push>", Some("7"), Some("g"));
    check(b"<push gateway='' seq='7'/>", Some("7"), None);
    check(b"<push gateway='g' seq='1&#10;'/>", None, Some("g"));
    check(b"<push gateway='g' key='' seq='7'/>", Some("7"), Some("g"));
    check(b"<push gateway='g' seq='7' seq='8'/>", None, None);
    check(b"<other gateway='g' seq='7'/>", None, None);
    check(b"<push gateway='g' se", None, None);
    check(b"", None, None);
}

fn check(fixture: &Fixture) {
    if let Some(documents) = fixture.expected["documents"].as_array() {
        return check_each(fixture, documents);
    }
    let name = fixture.path.display();
    let whole = decoded(fixture, &fixture.bytes);
    let framed = framed(fixture).map(|bytes| decoded(fixture, bytes));
    if let Some(code) = fixture.expected["error"].as_str() {
        let error = whole.expect_err(&format!("{name} is accepted"));
        assert_eq!(error.code.as_str(), code, "{name}: {error}");
        match framed {
            Ok(decoded) => assert_eq!(decoded.expect_err("framed").code.as_str(), code, "{name}"),
            Err(refused) => assert_eq!(refused, fixture.expected["framing"].as_str().unwrap_or(code), "{name}"),
        }
        return;
    }
    compare(fixture, &whole.unwrap_or_else(|error| panic!("{name}: {error}")));
    compare(fixture, &framed.unwrap().unwrap());
}

/// A file of several documents comes apart into what is expected of each, as a stream does.
fn check_each(fixture: &Fixture, documents: &[Value]) {
    let (name, mut rest, mut framer) = (fixture.path.display(), fixture.bytes.as_slice(), Framer::new(Limits::default()));
    for (number, expected) in documents.iter().enumerate() {
        let Ok(Frame::Document { start, end }) = framer.next(rest) else { panic!("{name}: no document {number}") };
        let one = Fixture { path: fixture.path.clone(), bytes: rest[start..end].to_vec(), expected: expected.clone() };
        compare(&one, &decoded(&one, &one.bytes).unwrap_or_else(|error| panic!("{name}: {number}: {error}")));
        rest = &rest[end..];
    }
    assert!(matches!(framer.next(rest), Ok(Frame::Incomplete { .. })), "{name} goes on");
    assert_eq!(framer.in_document(), fixture.expected["ends"] == "inside a document", "{name}: its end");
}

fn compare(fixture: &Fixture, got: &Decoded) {
    let (name, expected) = (fixture.path.display(), &fixture.expected);
    assert_eq!(json!(got.seq), expected["seq"], "{name}: seq");
    assert_eq!(json!(got.key.as_ref().map(|key| key.reveal())), expected["key"], "{name}: key");
    assert_eq!(got.is_hello, expected["hello"].as_bool().unwrap_or(false), "{name}: hello");
    if let Some(gateway) = expected["gateway"].as_str() {
        assert_eq!(got.gateway.as_ref().map(GatewayId::as_str), Some(gateway), "{name}: gateway");
    }
    if expected["roles"].is_object() {
        let roles: BTreeMap<&str, Option<&str>> =
            got.sensors.iter().map(|sensor| (sensor.id.as_str(), sensor.role.map(|role| role.as_str()))).collect();
        assert_eq!(json!(roles), expected["roles"], "{name}: roles");
    }
    if expected["totals"].is_object() {
        assert_eq!(totals(got), expected["totals"], "{name}: totals");
    } else {
        compare_readings(fixture, got);
    }
    let refused: Vec<Value> = got.refused.iter().map(|refused| json!({"code": refused.code, "line": refused.line})).collect();
    assert_eq!(Value::from(refused), *expected.get("refused").unwrap_or(&json!([])), "{name}: refused {:?}", got.refused);
    assert!(got.refused.iter().all(|refused| !refused.reason.is_empty()), "{name}: a refusal without a reason");
}

fn compare_readings(fixture: &Fixture, got: &Decoded) {
    let name = fixture.path.display();
    let expected = fixture.expected["readings"].as_array().unwrap_or_else(|| panic!("{name}: no readings expected"));
    let readings = readings(got);
    for (index, (got, expected)) in readings.iter().zip(expected).enumerate() {
        let mut expected = expected.clone();
        expected["value"] = json!(expected["value"].as_f64());
        assert_eq!(got, &expected, "{name}: reading {index}");
    }
    assert_eq!(readings.len(), expected.len(), "{name}: readings");
}

fn readings(got: &Decoded) -> Vec<Value> {
    let gateway = got.gateway.as_ref().map(GatewayId::as_str);
    let reading = |reading: &heliograph_dialects::DecodedReading| {
        let sensor = got.sensors[reading.sensor].id.as_str();
        let unit = Some(reading.unit.as_str()).filter(|unit| !unit.is_empty());
        let (metric, ts, value) = (reading.metric.as_str(), reading.time.to_string(), reading.value);
        let mut json = json!({"gateway": gateway, "sensor": sensor, "metric": metric, "unit": unit, "ts": ts, "value": value});
        if let Some(kind) = reading.kind {
            json["kind"] = json!(kind);
        }
        if let Some(quantity) = reading.quantity {
            json["quantity"] = json!(quantity);
        }
        if reading.ambiguous_time {
            json["ambiguous"] = json!(true);
        }
        json
    };
    got.readings.iter().map(reading).collect()
}

/// Unit, number of readings, first and last value of each series.
fn totals(got: &Decoded) -> Value {
    let mut totals: BTreeMap<String, Value> = BTreeMap::new();
    for reading in &got.readings {
        let series = format!("{}/{}", got.sensors[reading.sensor].id, reading.metric);
        let number =
            |value: f64| if value.fract() == 0.0 && reading.unit.as_str() == "Wh" { json!(value as i64) } else { json!(value) };
        let entry = totals
            .entry(series)
            .or_insert_with(|| json!({"unit": reading.unit.as_str(), "count": 0, "first": number(reading.value), "last": null}));
        entry["count"] = json!(entry["count"].as_u64().unwrap() + 1);
        entry["last"] = number(reading.value);
    }
    json!(totals)
}
