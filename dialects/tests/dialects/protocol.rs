//! What docs/protocol.md shows works, and what it lists is complete.

use std::fs;

use heliograph_dialects::{Context, Frame, Framer, Limits, decode};
use heliograph_domain::{Kind, Quantity, RefusalCode, SensorRole, Timestamp, Zone, canonical_unit};

use crate::fixtures::root;

fn protocol() -> String {
    fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

#[test]
fn every_example_of_the_protocol_is_accepted_whole() {
    let text = protocol();
    let examples: Vec<&str> = text.split("```xml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 4, "{} examples", examples.len());
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    for example in examples {
        let Ok(Frame::Document { start, end }) = Framer::new(Limits::default()).next(example.as_bytes()) else {
            panic!("not one document: {example}")
        };
        let decoded = decode(&example.as_bytes()[start..end], &context).unwrap_or_else(|error| panic!("{error}: {example}"));
        assert!(decoded.refused.is_empty(), "{:?}: {example}", decoded.refused);
        assert!(decoded.is_hello || !decoded.readings.is_empty(), "no readings: {example}");
    }
}

#[test]
fn the_protocol_names_every_word_of_its_vocabulary() {
    let text = protocol();
    let words = Kind::ALL.iter().map(|kind| kind.as_str());
    let words = words.chain(Quantity::ALL.iter().map(|quantity| quantity.as_str()));
    let words = words.chain(SensorRole::ALL.iter().map(|role| role.as_str()));
    for word in words {
        assert!(text.contains(&format!("`{word}`")), "{word} is missing");
    }
}

#[test]
fn the_protocol_tells_how_each_code_is_answered() {
    let text = protocol();
    let of_readings = ["bad-value", "bad-time", "bad-name", "time-in-future", "time-too-old"];
    for code in RefusalCode::ALL.iter().filter(|code| !of_readings.contains(&code.as_str())) {
        let row =
            text.lines().find(|line| line.starts_with(&format!("| `{code}` |"))).unwrap_or_else(|| panic!("{code} is missing"));
        let ending = if code.closes() { "closes" } else { "stays open" };
        assert!(row.ends_with(&format!("| {} | {ending} |", code.retry())), "{row}");
    }
}

#[test]
fn the_units_of_the_protocol_are_known() {
    let text = protocol();
    let table =
        text.split("| canonical | also understood |\n|---|---|\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    for row in table.lines() {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split('|').collect();
        let canonical: Vec<&str> = cells[0].split(',').map(|unit| unit.trim().trim_matches('`')).collect();
        for unit in &canonical {
            assert_eq!(canonical_unit(unit).map(|scaled| scaled.unit), Some(*unit), "{row}");
        }
        let others = cells.get(1).copied().unwrap_or_default().replace("\\*", "*");
        for unit in others.split([',', ';']).map(str::trim).filter(|unit| !unit.is_empty()) {
            let scaled = canonical_unit(unit).unwrap_or_else(|| panic!("{unit} is not known"));
            assert!(canonical.contains(&scaled.unit), "{unit} is {}", scaled.unit);
        }
    }
}
