//! Installers: what there is to them, where it ends, and when.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use heliograph_domain::{
    ApiScope, ApiTokenId, Assignment, CredentialId, GatewayState, Location, LocationId, TimeWindow, UserId, UserRole, Zone,
};
use heliograph_store::{ApiToken, CredentialNew, GatewayCommissioning, UserUpdate};
use serde_json::Value;

use crate::api::ask_with;
use crate::world::{
    ANAS, KEY, LOCATION, NEW_KEY, PASSWORD, POINT, REFUSED, VIEWER, Who, World, at, digest, gateway, id, start, write_counter,
};

/// Where nobody of these tests works.
const OTHER: &str = "00000000-0000-7000-8000-000100000002";

fn place(text: &str) -> LocationId {
    LocationId::parse(text).unwrap()
}

/// With another location where `gw-7` stands, and an installer of the first one for some
/// hours.
async fn world(hours: i64) -> World {
    let world = World::new().await;
    let other = Location {
        id: place(OTHER),
        name: "Olite orchard".to_owned(),
        zone: Zone::parse("Europe/Madrid").unwrap(),
        position: None,
        installed_kwp: None,
    };
    world.store.location_save(other).await.unwrap();
    let credential = CredentialNew { id: CredentialId::new(id(4, 7)), digest: digest("gw-7") };
    let from = at("2026-06-01T00:00:00Z");
    let new = GatewayCommissioning {
        gateway: gateway("gw-7"),
        label: Some("Olite roof".to_owned()),
        location: place(OTHER),
        from,
        credential,
        at: from,
    };
    world.store.gateway_commission(new).await.unwrap();
    write_counter(&world.store, "gw-7", "inverter-7", 4_000.0, from, start()).await;
    world.let_installer_in(&[place(LOCATION)], start().plus_millis(hours * 3_600_000)).await;
    world
}

#[tokio::test]
async fn what_is_elsewhere_looks_like_what_is_not_there() {
    let world = world(5).await;
    let nowhere = world.get(Who::Installer, "/no/such/page").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    let paths = [
        "/gateways/gw-7",
        "/gateways/gw-7/live",
        "/gateways/gw-7/report.csv",
        "/gateways/gw-7/report.json",
        "/gateways/gw-7/manage",
        "/gateways/gw-7/corrections",
        "/gateways/gw-7/replace",
        "/gateways/gw-3",
        "/gateways/gw-99/manage",
        "/locations/new",
        "/customers",
        "/people",
        "/people/tokens",
        "/settings",
        "/audit",
        "/alerts",
        "/alerts/maintenance",
        "/quarantine",
        "/mappings",
        "/mails",
        "/account/tokens",
    ];
    let mut paths: Vec<String> = paths.map(str::to_owned).to_vec();
    paths.extend([
        format!("/locations/{OTHER}"),
        format!("/locations/{OTHER}/report.xlsx"),
        format!("/locations/{OTHER}/manage"),
        format!("/locations/{OTHER}/points/{POINT}"),
        format!("/locations/{LOCATION}/edit"),
        format!("/customers/{ANAS}"),
        format!("/people/{VIEWER}/edit"),
        format!("/quarantine/{REFUSED}"),
    ]);
    for path in paths {
        let hidden = world.get(Who::Installer, &path).await;
        assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &nowhere.body), "{path}");
    }
    for path in [
        "/gateways/gw-7/rename".to_owned(),
        "/gateways/gw-7/keys".to_owned(),
        "/gateways/gw-99/keys".to_owned(),
        format!("/gateways/gw-7/keys/{KEY}/revoke"),
        "/gateways/gw-7/replace".to_owned(),
        "/gateways/gw-1/move".to_owned(),
        "/gateways/gw-1/retire".to_owned(),
        format!("/locations/{OTHER}/points"),
        format!("/locations/{OTHER}/arrays"),
        format!("/locations/{LOCATION}/edit"),
        "/account/tokens".to_owned(),
        "/settings".to_owned(),
    ] {
        let hidden = world.post(Who::Installer, &path, &[("label", "Mine"), ("credential", NEW_KEY)]).await;
        assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &nowhere.body), "{path}");
    }
    assert_eq!(world.store.gateway_fetch(&gateway("gw-7")).await.unwrap().name(), "Olite roof");
    assert_eq!(world.get(Who::Installer, "/api/v1/").await.status, StatusCode::NOT_FOUND, "it says so as the API does");
}

#[tokio::test]
async fn pages_name_nothing_of_others() {
    let world = world(5).await;
    for path in [
        "/".to_owned(),
        "/?view=locations".to_owned(),
        "/waiting".to_owned(),
        "/waiting/commission".to_owned(),
        "/waiting/commission?gateway=gw-7".to_owned(),
        "/gateways/gw-1".to_owned(),
        "/gateways/gw-1/manage".to_owned(),
        "/gateways/gw-1/replace?by=gw-2".to_owned(),
        "/gateways/gw-2/corrections".to_owned(),
        format!("/locations/{LOCATION}"),
        format!("/locations/{LOCATION}/manage"),
    ] {
        let page = world.get(Who::Installer, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        for foreign in ["Olite", "inverter-7", "bakery", "dairy", "203.0.113.9", "/customers", "/settings", "tried out"] {
            assert!(!page.body.contains(foreign), "{path} says {foreign}: {}", page.body);
        }
    }
    let start = world.get(Who::Installer, "/").await.body;
    assert!(start.contains("gw-1") && start.contains("gw-2") && start.contains("Haro winery"), "{start}");
    assert!(world.get(Who::Installer, "/waiting").await.body.contains("gw-3"));
    let owners = world.get(Who::Owner, "/gateways/gw-1/replace?by=gw-2").await.body;
    assert!(owners.contains("bakery"), "an owner sees whose it is: {owners}");
}

#[tokio::test]
async fn what_waits_is_commissioned_where_they_work_and_nowhere_else() {
    let world = world(5).await;
    let commission = async |gateway: &str, location: &str| {
        let form = [("gateway", gateway), ("location", location), ("credential", NEW_KEY)];
        world.post(Who::Installer, "/waiting/commission", &form).await
    };
    let elsewhere = commission("gw-3", OTHER).await;
    assert_eq!(elsewhere.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(elsewhere.body.contains("Choose where it stands."), "{}", elsewhere.body);
    let theirs = commission("gw-7", LOCATION).await;
    let unknown = commission("gw-9", LOCATION).await;
    assert_eq!(theirs.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(unknown.body.contains("No such gateway waits."), "{}", unknown.body);
    assert_eq!(theirs.body.replace("gw-7", "gw-9"), unknown.body, "nobody learns which ids there are");
    assert_eq!(world.store.gateway_fetch(&gateway("gw-7")).await.unwrap().location, Some(place(OTHER)));

    assert_eq!(commission("gw-3", LOCATION).await.status, StatusCode::OK);
    let record = world.store.gateway_fetch(&gateway("gw-3")).await.unwrap();
    assert_eq!((record.state, record.location), (GatewayState::Commissioned, Some(place(LOCATION))));
    assert_eq!(world.get(Who::Installer, "/gateways/gw-3/manage").await.status, StatusCode::OK, "it is theirs now");
    let entry = world.store.audit_list(0, 1000).await.unwrap().pop().unwrap();
    assert!(entry.action == "gateway.commission" && entry.actor.contains(&id(5, 6).to_string()), "{entry:?}");
}

#[tokio::test]
async fn access_ends_by_itself_and_an_owner_prolongs_it() {
    let world = world(2).await;
    assert_eq!(world.get(Who::Installer, "/gateways/gw-1").await.status, StatusCode::OK);
    assert!(world.get(Who::Installer, "/account").await.body.contains("It ends by itself on 18 Jun 2026, 17:07."));
    let ines = UserId::new(id(5, 6));
    world.store.login_link_create(digest("a-link"), ines, start().plus_millis(86_400_000)).await.unwrap();
    world.pass(119);
    assert_eq!(world.get(Who::Installer, "/gateways/gw-1").await.status, StatusCode::OK);
    assert_eq!(world.get(Who::Nobody, "/welcome/a-link").await.status, StatusCode::OK);
    let signed_in = world.sign_in(Who::Installer.email(), PASSWORD).await;
    assert_eq!(signed_in.location(), "/");
    let token = signed_in.token().unwrap();

    world.pass(1);
    for path in ["/", "/gateways/gw-1", "/gateways/gw-1/live", "/waiting", "/account"] {
        let answer = world.get(Who::Installer, path).await;
        assert!(answer.location().starts_with("/login"), "{path}: {answer:?}");
        assert!(world.get_with(&token, path).await.location().starts_with("/login"), "{path}");
    }
    let renamed = world.post(Who::Installer, "/gateways/gw-1/rename", &[("label", "Late")]).await;
    assert_eq!(renamed.location(), "/login");
    let ended = world.sign_in(Who::Installer.email(), PASSWORD).await;
    let unknown = world.sign_in("nobody@example.com", PASSWORD).await;
    assert_eq!((ended.status, ended.token()), (unknown.status, None));
    assert_eq!(ended.body.replace("ines@example.com", "nobody@example.com"), unknown.body);
    assert_eq!(world.get(Who::Nobody, "/welcome/a-link").await.status, StatusCode::NOT_FOUND);
    assert!(world.get(Who::Owner, "/people").await.body.contains("Ended"));

    let field = format!("place-{LOCATION}");
    let edit = format!("/people/{ines}/edit");
    let shown = world.shown(&edit).await;
    let form = |name: &'static str, until: &'static str| {
        [("name", name), ("role", "installer"), ("until", until), (field.as_str(), "yes"), ("seen", shown.as_str())]
    };
    // What was there is left as it was, to the instant and though it is over.
    let before = world.store.user_fetch(ines).await.unwrap().assignment;
    let renamed = world.post(Who::Owner, &edit, &form("Ines P.", "2026-06-18")).await;
    assert_eq!(renamed.location(), "/people?done=saved", "{}", renamed.body);
    assert_eq!(world.store.user_fetch(ines).await.unwrap().assignment, before);
    assert!(world.get(Who::Owner, "/people").await.body.contains("Ended"));
    let prolonged = world.post(Who::Owner, &edit, &form("Ines", "2026-06-19")).await;
    assert_eq!(prolonged.location(), "/people?done=saved", "{}", prolonged.body);
    assert_eq!(world.sign_in(Who::Installer.email(), PASSWORD).await.location(), "/");
    let record = world.store.user_fetch(ines).await.unwrap();
    assert_eq!(record.assignment.unwrap().until(), at("2026-06-19T22:00:00Z"), "the end of that day in Madrid");
}

#[tokio::test]
async fn an_owner_says_where_and_up_to_when() {
    let world = world(5).await;
    let field = format!("place-{LOCATION}");
    let person = [("name", "Nico"), ("email", "nico@example.com"), ("role", "installer")];
    let add = async |more: &[(&str, &str)]| world.post(Who::Owner, "/people/new", &[&person, more].concat()).await;
    for (more, problem) in [
        (&[(field.as_str(), "yes")][..], "Choose the last day."),
        (&[(field.as_str(), "yes"), ("until", "tomorrow")], "Choose the last day."),
        (&[(field.as_str(), "yes"), ("until", "2026-06-17")], "The end must lie in the future."),
        (&[(field.as_str(), "yes"), ("until", "2027-06-30")], "The end must lie at most 366 days ahead."),
        (&[("until", "2026-07-01")], "Choose at least one location."),
        (&[("until", "2026-07-01"), ("place-<b>", "yes")], "Choose at least one location."),
    ] {
        let refused = add(more).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{more:?}");
        assert!(refused.body.contains(problem) && !refused.body.contains("<b>place"), "{more:?}: {}", refused.body);
    }
    assert_eq!(add(&[(&field, "yes"), ("until", "2026-07-01")]).await.status, StatusCode::OK);
    let people = world.get(Who::Owner, "/people").await.body;
    assert!(people.contains("until 1 Jul 2026: Haro winery"), "{people}");
    let nico = world.store.user_list().await.unwrap().into_iter().find(|user| user.name == "Nico").unwrap();
    let edit = world.get(Who::Owner, &format!("/people/{}/edit", nico.id)).await.body;
    assert!(edit.contains("value=\"2026-07-01\"") && edit.contains(&format!("name=\"{field}\" value=\"yes\" checked")), "{edit}");
    let audit = world.get(Who::Owner, "/audit").await.body;
    assert!(audit.contains("installer") && audit.contains("Haro winery") && audit.contains("2 Jul 2026, 00:00"), "{audit}");
}

#[tokio::test]
async fn what_comes_is_theirs_from_then_on_and_what_leaves_is_theirs_no_more() {
    let world = world(5).await;
    let moved = at("2026-06-18T12:00:00Z");
    world.store.gateway_move(&gateway("gw-7"), place(LOCATION), moved).await.unwrap();
    world.store.gateway_move(&gateway("gw-2"), place(OTHER), moved).await.unwrap();
    assert_eq!(world.get(Who::Installer, "/gateways/gw-2").await.status, StatusCode::NOT_FOUND);
    let report = async |who: Who| -> f64 {
        let body = world.get(who, "/gateways/gw-7/report.json?period=month&date=2026-06-18").await.body;
        serde_json::from_str::<Value>(&body).unwrap()["figures"]["produced_wh"].as_f64().unwrap()
    };
    let (theirs, all) = (report(Who::Installer).await, report(Who::Owner).await);
    assert!(theirs > 0.0 && theirs < 20_000.0, "an hour at 16 kW: {theirs}");
    assert!(all > 1_000_000.0, "{all}");
    let form = |from: &'static str| {
        [
            ("kind", "exclude"),
            ("series", "inverter-7/energy/Wh"),
            ("from", from),
            ("until", "2026-06-18T15:00"),
            ("reason", "tried"),
            ("action", "save"),
        ]
    };
    let before = world.post(Who::Installer, "/gateways/gw-7/corrections", &form("2026-06-18T13:59")).await;
    assert_eq!(before.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(before.body.contains("It has stood here since 18 Jun 2026, 14:00: choose a later time."), "{}", before.body);
    let since = world.post(Who::Installer, "/gateways/gw-7/corrections", &form("2026-06-18T14:00")).await;
    assert_eq!(since.status, StatusCode::SEE_OTHER, "{}", since.body);
    let made = world.store.correction_list().await.unwrap().pop().unwrap();
    assert_eq!(made.window, TimeWindow::between(moved, at("2026-06-18T13:00:00Z")));
    let revert = format!("/gateways/gw-7/corrections/{}/revert", made.id);
    assert_eq!(world.post(Who::Installer, &revert, &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_was_measured_elsewhere_is_neither_shown_nor_changed() {
    let world = world(5).await;
    let moved = at("2026-06-18T12:00:00Z");
    world.store.gateway_move(&gateway("gw-7"), place(LOCATION), moved).await.unwrap();
    let (manage, equipment) = ("/gateways/gw-7/manage", format!("/locations/{LOCATION}/manage"));
    assert!(world.get(Who::Installer, manage).await.body.contains("inverter-7"), "it has said something here");
    // What has left is no source of a point, and has no name.
    world.store.gateway_move(&gateway("gw-2"), place(OTHER), moved).await.unwrap();
    world.store.gateway_rename(&gateway("gw-2"), Some("Olite flat".to_owned())).await.unwrap();
    let theirs = world.get(Who::Installer, &equipment).await.body;
    assert!(theirs.contains("inverter-7") && !theirs.contains("Olite flat") && !theirs.contains("gw-2/"), "{theirs}");
    assert!(world.get(Who::Owner, &equipment).await.body.contains("Olite flat"));
    let bind = async |who: Who, since: &str| {
        let form = [("name", "Roof"), ("role", "inverter"), ("source", "gw-7/inverter-7"), ("since", since)];
        world.post(who, &format!("/locations/{LOCATION}/points/{POINT}/bind"), &form).await
    };
    let early = bind(Who::Installer, "2026-06-18T13:00").await;
    assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(early.body.contains("Its gateway has stood here since 18 Jun 2026, 14:00: choose a later time."), "{}", early.body);

    let sensor = |role: &'static str| [("sensor", "inverter-7"), ("label", "East"), ("role", role), ("rated_w", "")];
    let path = "/gateways/gw-7/sensor";
    assert_eq!(world.post(Who::Installer, path, &sensor("inverter")).await.status, StatusCode::SEE_OTHER, "a name may change");
    let other = world.post(Who::Installer, path, &sensor("other")).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(other.body.contains("It has measured at another site before"), "{}", other.body);
    assert_eq!(world.post(Who::Operator, path, &sensor("other")).await.status, StatusCode::SEE_OTHER);

    let shift = |hours: &'static str| {
        [
            ("kind", "shift"),
            ("series", "inverter-7/energy/Wh"),
            ("from", "2026-06-18T14:30"),
            ("until", "2026-06-18T15:00"),
            ("shift", hours),
            ("reason", "tried"),
        ]
    };
    let back = world.post(Who::Installer, "/gateways/gw-7/corrections", &shift("-240h")).await;
    assert_eq!(back.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(back.body.contains("It has stood here since 18 Jun 2026, 14:00"), "{}", back.body);
    let here = world.post(Who::Installer, "/gateways/gw-7/corrections", &shift("10m")).await;
    assert_eq!(here.status, StatusCode::OK);
    let of_day = "18 Jun 2026</t";
    assert!(!here.body.contains(of_day), "a part of that day was measured elsewhere: {}", here.body);
    assert!(world.get(Who::Owner, "/gateways/gw-7/corrections").await.status == StatusCode::OK);
}

#[tokio::test]
async fn replacing_a_gateway_neither_retires_it_nor_reaches_before_it_came() {
    let world = world(5).await;
    let moved = at("2026-06-18T12:00:00Z");
    world.store.gateway_move(&gateway("gw-7"), place(LOCATION), moved).await.unwrap();
    let replace = async |at: &str| {
        let form = [("by", "gw-1"), ("at", at), ("retire", "yes")];
        world.post(Who::Installer, "/gateways/gw-7/replace", &form).await
    };
    let early = replace("2026-06-17T12:00").await;
    assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(early.body.contains("is at this site only since 18 Jun 2026, 14:00: choose a later time"), "{}", early.body);
    assert!(!early.body.contains("name=\"retire\""));
    assert!(world.get(Who::Owner, "/gateways/gw-7/replace?by=gw-1").await.body.contains("name=\"retire\""));
    let done = replace("2026-06-18T14:30").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert_eq!(world.store.gateway_fetch(&gateway("gw-7")).await.unwrap().state, GatewayState::Commissioned);
}

/// A token that works for an operator.
async fn token(world: &World, secret: &str) {
    let expires = start().plus_millis(86_400_000);
    let id_of = |kind| id(kind, 2);
    let token = ApiToken::new(
        (ApiTokenId::new(id_of(0x20)), UserId::new(id_of(5))),
        "job".to_owned(),
        vec![ApiScope::Read, ApiScope::Write],
        digest(secret),
        (start(), expires),
    );
    let seen = world.store.user_fetch(UserId::new(id_of(5))).await.unwrap().password_hash;
    world.store.api_token_create(token, seen).await.unwrap();
}

#[tokio::test]
async fn a_token_of_somebody_who_is_an_installer_is_no_token() {
    let world = world(5).await;
    token(&world, "hgt_one").await;
    let ask = async |secret: &str, method: &Method, path: &str| ask_with(&world, secret, method, path, None).await;
    assert_eq!(ask("hgt_one", &Method::GET, "/api/v1/gateways").await.status, StatusCode::OK);
    let assignment = Assignment::new(start().plus_millis(86_400_000), vec![place(LOCATION)], start()).unwrap();
    let update = UserUpdate { name: "Otto".to_owned(), role: UserRole::Installer, customer: None, assignment: Some(assignment) };
    world.store.user_update(UserId::new(id(5, 2)), update).await.unwrap();
    let described: Value = serde_json::from_str(&world.get(Who::Nobody, "/api/v1/openapi.json").await.body).unwrap();
    let unknown = ask("hgt_two", &Method::GET, "/api/v1/gateways").await;
    let mut asked = 0;
    for (path, operations) in described["paths"].as_object().unwrap() {
        let path = path.replace("{gateway}", "gw-1").replace("{location}", LOCATION).replace(['{', '}'], "");
        for verb in operations.as_object().unwrap().keys() {
            let Ok(method) = Method::from_bytes(verb.to_uppercase().as_bytes()) else { continue };
            let answer = ask("hgt_one", &method, &path).await;
            // Who tries often is made to wait.
            world.pass(1);
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), unknown.header("www-authenticate"), "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked >= 30, "{asked}");
}

#[tokio::test]
async fn the_release_before_sees_somebody_who_sees_nothing() {
    let world = world(5).await;
    let database = rusqlite::Connection::open(world.folder.path().join("sunrise.db")).unwrap();
    let row = |column: &str| -> Option<String> {
        let query = format!("SELECT {column} FROM user WHERE email = 'ines@example.com'");
        database.query_row(&query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((row("role").as_deref(), row("customer")), (Some("customer"), None), "a role that it knows, of nobody");
    // It lets an owner make something else of them, which then holds.
    database.execute("UPDATE user SET role = 'viewer' WHERE email = 'ines@example.com'", []).unwrap();
    let ines = world.store.user_fetch(UserId::new(id(5, 6))).await.unwrap();
    assert_eq!((ines.role, ines.assignment), (UserRole::Viewer, None));
}

#[tokio::test]
async fn what_is_live_ends_with_the_access() {
    let world = world(1).await;
    let request = crate::world::request(Method::GET, "/gateways/gw-1/live", Who::Installer);
    let response = tower::ServiceExt::oneshot(world.router.clone(), request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    world.pass(61);
    let read = axum::body::to_bytes(response.into_body(), 1 << 20);
    let all = tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect("the stream ends").unwrap();
    assert!(!all.is_empty(), "what there was to see before was said");
}
