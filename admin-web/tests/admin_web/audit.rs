//! The audit trail as its page tells it.

use axum::http::StatusCode;
use heliograph_domain::{Actor, UserId};

use crate::world::{LOCATION, Who, World, id};

/// The rows of the page, each without its markup.
fn rows(body: &str) -> Vec<String> {
    let table = body.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let plain = |row: &str| {
        let mut text = String::new();
        for piece in row.split('<') {
            text.push_str(piece.split_once('>').map_or(piece, |(_, rest)| rest));
            text.push(' ');
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    table.split("</tr>").map(plain).filter(|row| !row.is_empty()).collect()
}

#[tokio::test]
async fn a_change_is_told_with_who_made_it_and_from_what_to_what() {
    let world = World::new().await;
    let edit = format!("/locations/{LOCATION}/edit");
    world.post(Who::Operator, &edit, &[("name", "Haro"), ("zone", "Europe/Lisbon"), ("kwp", "20")]).await;
    world.post(Who::Owner, &edit, &[("name", "Haro"), ("zone", "Europe/Lisbon"), ("kwp", "25")]).await;
    let page = world.get(Who::Owner, "/audit").await;
    assert_eq!(page.status, StatusCode::OK);
    let rows = rows(&page.body);
    let (newest, before) = (&rows[0], &rows[1]);
    assert!(newest.contains("Mara Location saved Haro installed power 20 kWp → became 25 kWp"), "{newest}");
    assert!(!newest.contains("zone Europe/Lisbon"), "what stayed is not told again: {newest}");
    assert!(before.contains("Otto Location saved Haro zone Europe/Madrid → became Europe/Lisbon"), "{before}");
    assert!(page.body.contains(&format!("href=\"/locations/{LOCATION}\"")));
    assert!(rows.iter().any(|row| row.contains("shell operator") || row.contains("the platform")), "{rows:?}");
}

#[tokio::test]
async fn entries_are_found_by_person_kind_and_day() {
    let world = World::new().await;
    world.post(Who::Operator, "/gateways/gw-1/rename", &[("label", "Roof")]).await;
    world.post(Who::Owner, "/customers/new", &[("name", "New")]).await;
    let otto = UserId::new(id(5, 2));
    for (query, expected) in [
        (format!("person={otto}"), Some("Otto Gateway renamed Roof")),
        (format!("person={otto}&kind=customers"), None),
        ("kind=customers&person=".to_owned(), Some("Mara Customer saved New")),
        ("to=2020-01-01".to_owned(), None),
        ("from=2020-01-01&kind=corrections".to_owned(), Some("Correction made")),
        ("person=erased".to_owned(), None),
    ] {
        let page = world.get(Who::Owner, &format!("/audit?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        match expected {
            Some(expected) => assert!(rows(&page.body)[0].contains(expected), "{query}: {:?}", rows(&page.body)),
            None => assert!(page.body.contains("Nothing fits"), "{query}"),
        }
    }
    let bad = world.get(Who::Owner, "/audit?person=x&kind=y&from=soon&to=2020-13-01").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    for (field, problem) in [
        ("person", "Choose somebody of the list."),
        ("kind", "Choose a kind of the list."),
        ("from", "Is not a day such as 2026-11-20."),
        ("to", "Is not a day such as 2026-11-20."),
    ] {
        assert!(bad.body.contains(&format!("id=\"{field}-problem\">{problem}<")), "{field}: {}", bad.body);
    }
    let swapped = world.get(Who::Owner, "/audit?from=2026-06-02&to=2026-06-01").await;
    assert!(swapped.body.contains("The last day must not lie before the first."));
    assert_eq!(world.get(Who::Owner, "/audit?before=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_is_gone_has_no_name_any_more() {
    let world = World::new().await;
    world.post(Who::Operator, "/gateways/gw-1/rename", &[("label", "Roof")]).await;
    world.store.acting_as(Actor::Operator).user_delete(UserId::new(id(5, 2))).await.unwrap();
    let page = world.get(Who::Owner, "/audit?person=erased").await;
    let rows = rows(&page.body);
    assert!(rows[0].contains("erased person …00000002 Gateway renamed"), "{rows:?}");
    assert!(!page.body.contains("Otto"));
    let all = world.get(Who::Owner, "/audit").await.body;
    assert!(all.contains("shell operator") && all.contains("Person removed"), "{all}");
}

#[tokio::test]
async fn older_entries_are_a_page_away() {
    let world = World::new().await;
    for number in 0..60 {
        world.store.gateway_rename(&crate::world::gateway("gw-1"), Some(format!("Roof {number}"))).await.unwrap();
    }
    let count = world.store.audit_list(1, 1000).await.unwrap().len();
    let first = world.get(Who::Owner, "/audit?kind=gateways").await;
    assert_eq!(rows(&first.body).len(), 50);
    let next = first.body.split("href=\"/audit?kind=gateways&#38;before=").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(next.parse::<usize>().unwrap(), count - 49, "the last of the page");
    let second = world.get(Who::Owner, &format!("/audit?kind=gateways&before={next}")).await;
    assert!(rows(&second.body).len() >= 10 && second.body.contains("href=\"/audit?kind=gateways\""), "{}", second.body);
    let last = world.get(Who::Owner, "/audit?before=1").await;
    assert!(last.body.contains("There is nothing older."));
}

#[tokio::test]
async fn the_trail_is_verified_and_held_against_a_figure() {
    let world = World::new().await;
    let verdict = world.store.audit_verify(None).await.unwrap();
    let page = world.get(Who::Owner, "/audit").await;
    assert!(page.body.contains("<span class=\"pill good\">Verified</span>"), "{}", page.body);
    assert!(page.body.contains(&verdict.head.to_string()) && page.body.contains(&format!("All {} entries", verdict.head.seq)));
    let noted = verdict.head.to_string();
    let held = world.post(Who::Owner, "/audit", &[("noted", noted.as_str())]).await;
    assert!(held.body.contains("is the one whose head you noted"), "{}", held.body);
    let other = format!("{}:{}", verdict.head.seq, "0".repeat(64));
    let held = world.post(Who::Owner, "/audit", &[("noted", other.as_str())]).await;
    assert!(held.body.contains("another one than was noted: the trail has been written anew"), "{}", held.body);
    let bad = world.post(Who::Owner, "/audit", &[("noted", "12")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.body.contains("id=\"noted-problem\">Must be SEQ:HASH, as audit verify prints it."), "{}", bad.body);
}

#[tokio::test]
async fn a_broken_trail_is_said_loudly() {
    let world = World::new().await;
    assert!(world.get(Who::Owner, "/audit").await.body.contains("Verified"));
    let file = world.folder.path().join("sunrise.db");
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute("UPDATE audit SET detail = '{\"zone\":\"UTC\"}' WHERE seq = 2", []).unwrap();
    let page = world.post(Who::Owner, "/audit", &[]).await;
    assert!(page.body.contains("<span class=\"pill bad\">Broken</span>"), "{}", page.body);
    assert!(page.body.contains("role=\"alert\"><b>The trail is not as it was written.</b>"));
    assert!(page.body.contains("entry 2 is not what was written there; up to entry 1 it is as it was written"));
    world.pass(1);
    let again = world.get(Who::Owner, "/audit").await;
    assert!(again.body.contains("Broken"), "it stays so");
    // A row that no release wrote keeps the page from nothing but what stands before it.
    database.execute("UPDATE audit SET hash = 'x' WHERE seq = 3", []).unwrap();
    world.pass(1);
    let page = world.get(Who::Owner, "/audit").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("An entry cannot be read."), "{}", page.body);
}
