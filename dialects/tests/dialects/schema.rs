//! The public schema and the decoder agree about the fixtures.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::fixtures::{Fixture, decoded, fixtures, root};

const INSTALL: &str = "install it: apt-get install libxml2-utils (deploy/dev/install.sh does)";

/// Whether a document is valid, and what `xmllint` says about it.
fn validate(schema: &str, document: &Path) -> (bool, String) {
    let schema = root().join("docs").join(schema);
    let arguments: [&OsStr; 5] =
        ["--noout".as_ref(), "--nonet".as_ref(), "--schema".as_ref(), schema.as_ref(), document.as_ref()];
    let output = Command::new("xmllint").args(arguments).output().unwrap_or_else(|error| panic!("xmllint: {error}; {INSTALL}"));
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn is_accepted_whole(fixture: &Fixture) -> bool {
    decoded(fixture, &fixture.bytes).is_ok_and(|decoded| decoded.refused.is_empty())
}

#[test]
fn native_fixtures_are_valid_where_they_say_so_and_nowhere_else() {
    for fixture in fixtures("native") {
        let name = fixture.path.display();
        match fixture.expected["schema"].as_str() {
            Some(schema) => {
                let (valid, says) = validate(schema, &fixture.path);
                assert!(valid, "{name}: {says}");
                assert!(is_accepted_whole(&fixture), "{name} is valid and yet something of it is refused");
            }
            None => assert!(!validate("push.xsd", &fixture.path).0, "{name} is valid"),
        }
    }
}

#[test]
fn refused_documents_are_invalid() {
    let hostile = fixtures("hostile");
    // A schema says nothing about how characters are encoded.
    let others = hostile.iter().filter(|fixture| fixture.expected["error"] != "encoding");
    for fixture in others {
        let (valid, says) = validate("push.xsd", &fixture.path);
        // Errors about namespaces are told and leave the document valid.
        assert!(!valid || says.contains("namespace error"), "{} is valid", fixture.path.display());
    }
}

#[test]
fn other_dialects_are_invalid() {
    for fixture in fixtures("senml") {
        assert!(!validate("push.xsd", &fixture.path).0, "{} is valid", fixture.path.display());
    }
}

#[test]
fn the_schema_names_every_kind_and_quantity() {
    let schema = std::fs::read_to_string(root().join("docs/push.xsd")).unwrap();
    let kinds = heliograph_domain::Kind::ALL.iter().map(|kind| kind.as_str());
    let quantities = heliograph_domain::Quantity::ALL.iter().map(|quantity| quantity.as_str());
    let expected: Vec<&str> = kinds.chain(quantities).collect();
    let written: Vec<&str> = schema.split("<xs:enumeration value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(written, expected);
}
