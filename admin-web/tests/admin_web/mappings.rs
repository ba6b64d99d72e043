//! Mappings: saved where they compile, and tried on what is in quarantine.

use axum::http::StatusCode;
use heliograph_domain::{QuarantineId, RefusalCode, Timestamp};
use heliograph_store::QuarantineNew;

use crate::access::table::MAPPING;
use crate::world::{Who, World, id};

fn unread(number: u128, received: Timestamp, raw: &str) -> QuarantineNew {
    QuarantineNew {
        id: QuarantineId::new(id(9, number)),
        received,
        gateway: Some("gw-1".to_owned()),
        address: "203.0.113.9:4711".to_owned(),
        code: RefusalCode::Unsupported,
        reason: "no dialect knows the root element station".to_owned(),
        raw: raw.as_bytes().to_vec(),
        trusted: true,
    }
}

#[tokio::test]
async fn a_mapping_is_tried_then_saved_then_removed() {
    let world = World::new().await;
    let now = world.now();
    for (number, raw) in [
        (1, "<station><t>21.5</t><t><![CDATA[<b>warm</b>]]></t></station>"),
        (2, "<station/>"),
        (3, "<another><t>1</t></another>"),
        (4, "<push gateway='gw-1'><sensor id='s'/></push>"),
        // Something that looked like a key stood where a value belongs.
        (5, "<station><t>***</t></station>"),
    ] {
        world.store.quarantine_add(unread(number, now.plus_millis(-(number as i64)), raw)).await.unwrap();
    }
    let tried = world.post(Who::Operator, "/mappings/edit", &[("source", MAPPING), ("action", "try")]).await;
    assert_eq!(tried.status, StatusCode::OK);
    for said in [
        "roof temperature <b>21.5 </b>",
        "1 reading, 1 refused",
        "it is not as it came",
        "the mapping &#34;greenhouse&#34; found no reading",
    ] {
        assert!(tried.body.contains(said) || tried.body.contains(&said.replace("&#34;", "&quot;")), "{said} in {}", tried.body);
    }
    assert!(!tried.body.contains("<b>warm</b>"), "what devices send is text");
    for other in [3, 4] {
        assert!(!tried.body.contains(&unread(other, now, "").id.to_string()), "another root is none of it: {other}");
    }
    assert!(world.store.mapping_list().await.unwrap().is_empty(), "trying writes nothing");

    let ends = MAPPING.replace('\n', "\r\n");
    let saved = world.post(Who::Owner, "/mappings/edit", &[("source", &ends), ("action", "save")]).await;
    assert_eq!(saved.location(), "/mappings?done=saved");
    assert_eq!(world.store.mapping_list().await.unwrap()[0].source, MAPPING);
    let listed = world.get(Who::Viewer, "/mappings").await.body;
    assert!(listed.contains("greenhouse") && listed.contains("kostal") && !listed.contains("Remove…"), "{listed}");
    assert!(world.get(Who::Operator, "/mappings/edit?name=greenhouse").await.body.contains("/station/t"));
    let removed = world.post(Who::Owner, "/mappings/remove", &[("name", "greenhouse")]).await;
    assert_eq!(removed.location(), "/mappings?done=unmapped");
    assert!(world.store.mapping_list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_mapping_that_does_not_compile_is_refused_with_the_place() {
    let world = World::new().await;
    let broken = MAPPING.replace("'{.}'", "'{.'");
    for action in ["try", "save"] {
        let answer = world.post(Who::Owner, "/mappings/edit", &[("source", &broken), ("action", action)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.body.contains("eading 1: value"), "{}", answer.body);
        assert!(answer.body.contains("/station/t"), "what was typed is still there");
    }
    let large = format!("{MAPPING}#{}", "x".repeat(33_000));
    let answer = world.post(Who::Owner, "/mappings/edit", &[("source", &large), ("action", "save")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("32768 bytes at most"), "{}", answer.body);
    assert!(world.store.mapping_list().await.unwrap().is_empty());
}
