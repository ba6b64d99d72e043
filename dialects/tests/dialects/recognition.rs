//! Which root elements are recognised: by their local name in any case, and by their
//! namespace where they have one.

use heliograph_dialects::{Dialect, profiles, salvage};

const SUNSPEC: &[&str] = &["http://www.sunspec.org/ws/data/", "http://www.sunspec.org/data/v1"];
const MII: &[&str] = &["http://api.sspcdn.com/mii"];
const SENML: &[&str] = &["urn:ietf:params:xml:ns:senml"];

/// Roots, what else their tags must say, their namespaces (none: only without one), and
/// what speaks so.
const ROOTS: &[(&[&str], &str, &[&str], Dialect)] = &[
    (&["push", "hello"], "", &["urn:heliograph:push:1"], Dialect::Native),
    (&["DAS"], "", &[], Dialect::AcquiSuite),
    (&["group"], " serial='0x1'", &[], Dialect::EGauge),
    (&["rainforest", "InstantaneousDemand", "CurrentSummationDelivered", "CurrentSummation"], "", &[], Dialect::Rainforest),
    (&["sunSpecData", "SunSpecData", "sunspecdata", "sunSpecPlantExtract"], "", SUNSPEC, Dialect::SunSpec),
    (&["mii"], "", MII, Dialect::Mii),
    (&["sensml", "senml"], "", SENML, Dialect::SenMl),
    (&["WebBox", "ClusterController", "Info", "MeanPublic", "OnlineData"], "", &[], Dialect::Sma),
];

#[test]
fn every_root_is_recognised_in_any_case() {
    for (names, with, _, dialect) in ROOTS {
        for name in *names {
            for name in [(*name).to_owned(), name.to_lowercase(), name.to_uppercase()] {
                let document = format!("<?xml version='1.0'?>\n<!-- a --><{name}{with}>");
                assert_eq!(salvage(document.as_bytes()).dialect, Some(*dialect), "{document}");
            }
        }
    }
}

#[test]
fn roots_of_a_namespace_are_recognised_by_any_prefix_and_in_no_other() {
    for (names, with, namespaces, dialect) in ROOTS {
        for name in *names {
            for namespace in *namespaces {
                for document in [format!("<{name} xmlns='{namespace}'{with}>"), format!("<n:{name} xmlns:n='{namespace}'{with}>")]
                {
                    assert_eq!(salvage(document.as_bytes()).dialect, Some(*dialect), "{document}");
                }
            }
            let document = format!("<{name} xmlns='http://other.example/'{with}>");
            assert_ne!(salvage(document.as_bytes()).dialect, Some(*dialect), "{document}");
        }
    }
}

#[test]
fn a_group_without_a_serial_number_is_nothing_of_egauge() {
    assert_eq!(salvage(b"<group>").dialect, None);
}

#[test]
fn every_profile_is_found_by_its_root_in_any_case() {
    let names: Vec<&str> = profiles().iter().map(|profile| profile.name()).collect();
    for name in ["currentcost", "mbus", "eeml", "hwgroup", "kostal", "xsenso", "nexsens", "espi", "cim", "idigi"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for profile in profiles() {
        let namespace = profile.namespace().unwrap_or_default().trim_end_matches('*');
        let within = if namespace.is_empty() { String::new() } else { format!(" xmlns='{namespace}'") };
        for root in [profile.root().to_owned(), profile.root().to_uppercase()] {
            let document = format!("<{root}{within}>");
            assert_eq!(salvage(document.as_bytes()).dialect, Some(Dialect::Mapped), "{document}");
        }
    }
}

#[test]
fn a_doctype_is_taken_with_an_external_id_and_never_with_a_subset_of_its_own() {
    use heliograph_dialects::{Context, decode};
    use heliograph_domain::{Timestamp, Zone};
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let data = "<group serial='1'><data time_stamp='0x1' time_delta='60'><cname>a</cname><r><c>1</c></r></data></group>";
    let code = |doctype: &str| {
        let decoded = decode(format!("{doctype}{data}").as_bytes(), &context);
        decoded.map(|decoded| decoded.readings.len()).map_err(|error| error.code.as_str())
    };
    assert_eq!(code("<!DOCTYPE group PUBLIC '-//x//y' 'http://nowhere.example/a.dtd'>"), Ok(1));
    assert_eq!(code("<!DOCTYPE group SYSTEM 'file:///etc/hostname'>"), Ok(1));
    assert_eq!(code("<!DOCTYPE group [<!ENTITY a 'b'>]>"), Err("doctype"));
    assert_eq!(code("<!DOCTYPE group SYSTEM 'a.dtd' [<!ENTITY a 'b'>]>"), Err("doctype"));
}
