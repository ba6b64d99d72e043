//! Keys and links that are shown once.

use axum::http::StatusCode;
use heliograph_domain::{
    Fingerprint, GatewayState, KeyDigest, LocationId, ProviderSettings, QuarantineId, RefusalCode, Timestamp, Zone,
};
use heliograph_store::{Credential, QuarantineNew};

use crate::world::{LOCATION, NEW_KEY, Who, World, digest, gateway, id, write_counter};

/// The secret that a page shows.
fn shown(body: &str) -> Option<String> {
    let start = body.find("<code class=\"secret\"")?;
    let text = body[start..].split_once('>')?.1;
    Some(text.split_once('<')?.0.to_owned())
}

async fn digests(world: &World, name: &str) -> Vec<KeyDigest> {
    let directory = world.store.gateway_directory().await.unwrap();
    let entry = directory.into_iter().find(|entry| entry.gateway == gateway(name)).unwrap();
    entry.keys.iter().map(|key| key.digest).collect()
}

#[tokio::test]
async fn commissioning_shows_the_key_once_and_keeps_its_digest() {
    let world = World::new().await;
    let form = [
        ("gateway", "gw-3"),
        ("label", "South roof"),
        ("location", LOCATION),
        ("from", "2026-06-18T08:00"),
        ("credential", NEW_KEY),
    ];
    let answer = world.post(Who::Operator, "/waiting/commission", &form).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    let key = shown(&answer.body).unwrap();
    assert_eq!(key.len(), 35, "160 bits in groups: {key}");
    assert_eq!(digests(&world, "gw-3").await, [digest(&key)]);
    let record = world.store.gateway_fetch(&gateway("gw-3")).await.unwrap();
    assert_eq!((record.name(), record.state), ("South roof", GatewayState::Commissioned));
    let placements = world.store.placement_list().await.unwrap();
    let placed = placements.iter().find(|placement| placement.gateway == gateway("gw-3")).unwrap();
    assert_eq!(placed.window.from.to_string(), "2026-06-18T06:00:00Z", "eight o’clock in Madrid");

    let again = world.post(Who::Operator, "/waiting/commission", &form).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(shown(&again.body), None);
    assert_eq!(digests(&world, "gw-3").await, [digest(&key)]);
    for path in ["/gateways/gw-3/manage", "/gateways/gw-3", "/waiting", "/waiting/commission?gateway=gw-3"] {
        assert!(!world.get(Who::Owner, path).await.body.contains(&key), "{path}");
    }
}

/// Whoever commissions a gateway sees that it is the right one.
#[tokio::test]
async fn commissioning_shows_what_a_waiting_gateway_has_sent() {
    let world = World::new().await;
    world.let_installer_in(&[LocationId::parse(LOCATION).unwrap()], world.now().plus_millis(86_400_000)).await;
    let page = async |who| world.get(who, "/waiting/commission?gateway=gw-3").await.body;
    let plain = page(Who::Owner).await;
    assert!(plain.contains("id=\"heard\"") && plain.contains("203.0.113.9:4711"), "{plain}");
    assert!(plain.contains("Nothing of it is kept"), "{plain}");

    let held = |number: u128, gateway: &str, raw: &str| QuarantineNew {
        id: QuarantineId::new(id(9, number)),
        received: world.now().plus_millis(-60_000 + number as i64),
        gateway: Some(gateway.to_owned()),
        address: "203.0.113.9:4711".to_owned(),
        code: RefusalCode::UnknownGateway,
        reason: format!("gateway {gateway} is not commissioned yet"),
        raw: raw.as_bytes().to_vec(),
        trusted: false,
    };
    let long = format!("<push gateway=\"gw-3\" key=\"***\"><script>{}</script><!-- the end --></push>", "1".repeat(5000));
    for entry in [held(1, "gw-3", "<push>older</push>"), held(2, "gw-3", &long), held(3, "gw-4", "<push>of another</push>")] {
        world.store.quarantine_add(entry).await.unwrap();
    }
    let (owner, installer) = (page(Who::Owner).await, page(Who::Installer).await);
    for shown in [&owner, &installer] {
        assert!(shown.contains("gateway gw-3 is not commissioned yet"), "{shown}");
        assert!(shown.contains("key=&#34;***&#34;&#62;&#60;script&#62;111"), "as text: {shown}");
        assert!(shown.contains("The first 4 KiB are shown") && !shown.contains("the end"), "{shown}");
        assert!(!shown.contains("older") && !shown.contains("of another"), "{shown}");
    }
    let link = format!("href=\"/quarantine/{}\"", id(9, 2));
    assert!(owner.contains(&link) && !installer.contains("/quarantine/") && !installer.contains("203.0.113.9"), "{installer}");

    // One that was adopted has sensors.
    let now = world.now();
    write_counter(&world.store, "gw-3", "inverter-7", 250.0, now.plus_millis(-3_600_000), now).await;
    let adopted = page(Who::Installer).await;
    assert!(adopted.contains("inverter-7") && adopted.contains("1.00\u{a0}kWh <small>energy</small>"), "{adopted}");
    assert!(!adopted.contains("is not commissioned yet"), "{adopted}");
    // Of what has its place already, and of what never called, nothing is said here.
    for other in ["gw-1", "gw-77", "%3Cb%3E"] {
        let page = world.get(Who::Owner, &format!("/waiting/commission?gateway={other}")).await.body;
        assert!(!page.contains("id=\"heard\""), "{other}: {page}");
    }
}

#[tokio::test]
async fn a_key_that_the_device_has_already_is_taken() {
    let world = World::new().await;
    let form = |key| [("gateway", "gw-3"), ("location", LOCATION), ("credential", NEW_KEY), ("key", key)];
    let short = world.post(Who::Operator, "/waiting/commission", &form("1234567")).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(short.body.contains("Must have at least 8 characters"), "{}", short.body);
    let answer = world.post(Who::Operator, "/waiting/commission", &form(" correct-horse ")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(digests(&world, "gw-3").await, [digest("correct-horse")]);
}

#[tokio::test]
async fn without_a_date_only_a_waiting_gateway_stands_there_since_it_was_first_heard() {
    let world = World::new().await;
    let commission = async |name: &str, credential: &str| {
        let form = [("gateway", name), ("location", LOCATION), ("credential", credential)];
        world.post(Who::Operator, "/waiting/commission", &form).await.status
    };
    let placed = async |name: &str| {
        let mut windows: Vec<_> = world.store.placement_list().await.unwrap();
        windows.retain(|placement| placement.gateway == gateway(name));
        windows.sort_by_key(|placement| placement.window.from);
        windows.into_iter().map(|placement| (placement.window.from, placement.window.until)).collect::<Vec<_>>()
    };
    let first_heard = world.store.gateway_fetch(&gateway("gw-3")).await.unwrap().first_seen;
    assert!(first_heard < world.now());
    assert_eq!(commission("gw-3", NEW_KEY).await, StatusCode::OK);
    assert_eq!(placed("gw-3").await, [(first_heard, None)]);

    let installed = placed("gw-2").await[0].0;
    let retired = world.now();
    assert_eq!(world.post(Who::Owner, "/gateways/gw-2/retire", &[]).await.status, StatusCode::SEE_OTHER);
    world.pass(60);
    assert_eq!(commission("gw-2", "00000000-0000-7000-8000-000400000098").await, StatusCode::OK);
    assert_eq!(placed("gw-2").await, [(installed, Some(retired)), (world.now(), None)], "where it stood before is kept");
}

#[tokio::test]
async fn one_more_key_is_made_once_however_often_its_form_is_sent() {
    let world = World::new().await;
    let before = digests(&world, "gw-1").await;
    let first = world.post(Who::Owner, "/gateways/gw-1/keys", &[("credential", NEW_KEY)]).await;
    let key = shown(&first.body).unwrap();
    let second = world.post(Who::Owner, "/gateways/gw-1/keys", &[("credential", NEW_KEY)]).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert!(!second.body.contains(&key));
    assert!(second.body.contains("shown only once"));
    let after = digests(&world, "gw-1").await;
    assert_eq!(after.len(), before.len() + 1);
    assert!(after.contains(&digest(&key)));
    let waiting = world.post(Who::Owner, "/gateways/gw-3/keys", &[("credential", NEW_KEY)]).await;
    assert_eq!(waiting.status, StatusCode::CONFLICT, "a waiting gateway has no keys");
}

#[tokio::test]
async fn a_third_key_is_refused_until_the_old_one_has_an_end() {
    let world = World::new().await;
    world.post(Who::Owner, "/gateways/gw-1/keys", &[("credential", NEW_KEY)]).await;
    let third = [("credential", "00000000-0000-7000-8000-000400000097")];
    let refused = world.post(Who::Owner, "/gateways/gw-1/keys", &third).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.contains("two valid keys"), "{}", refused.body);
    let old = "/gateways/gw-1/keys/00000000-0000-7000-8000-000400000001/end";
    let wrong = world.post(Who::Owner, old, &[("until", "soon")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let soon = Zone::parse("Europe/Madrid").unwrap().civil(world.now().plus_millis(3_600_000));
    let soon = soon.strftime("%Y-%m-%dT%H:%M").to_string();
    assert_eq!(world.post(Who::Owner, old, &[("until", &soon)]).await.status, StatusCode::SEE_OTHER);
    assert!(world.get(Who::Owner, "/gateways/gw-1/manage").await.body.contains("<small>until "));
    assert_eq!(world.post(Who::Owner, "/gateways/gw-1/keys", &third).await.status, StatusCode::CONFLICT);
    world.pass(61);
    assert!(world.get(Who::Owner, "/gateways/gw-1/manage").await.body.contains("Ended"));
    assert_eq!(world.post(Who::Owner, "/gateways/gw-1/keys", &third).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_says_when_keys_and_certificates_were_last_used() {
    let world = World::new().await;
    let (id, fingerprint) = (gateway("gw-1"), Fingerprint([0xab; 32]));
    let page = async || world.get(Who::Viewer, "/gateways/gw-1/manage").await.body;
    assert!(page().await.contains("<td data-label=\"Last used\">never</td>"));
    world.store.certificate_add(&id, fingerprint, world.now()).await.unwrap();
    let key = world.store.credential_list(&id).await.unwrap()[0].id;
    let noon = Timestamp::parse_rfc3339("2026-06-10T12:34:00Z").unwrap();
    let uses = vec![(Credential::Key(key), noon), (Credential::Certificate(fingerprint), noon.plus_millis(60_000))];
    world.store.credential_used(uses).await.unwrap();
    let body = page().await;
    for said in ["10 Jun 2026, 14:34", "10 Jun 2026, 14:35", &"ab".repeat(32)] {
        assert!(body.contains(said), "{said}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_in_force_no_longer_and_a_retired_gateway_has_none() {
    let world = World::new().await;
    let path = "/gateways/gw-1/keys/00000000-0000-7000-8000-000400000001/revoke";
    assert_eq!(world.post(Who::Owner, path, &[]).await.location(), "/gateways/gw-1/manage?done=revoked");
    assert!(digests(&world, "gw-1").await.is_empty());
    assert_eq!(world.post(Who::Owner, path, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post(Who::Owner, "/gateways/gw-2/retire", &[]).await.status, StatusCode::SEE_OTHER);
    assert!(digests(&world, "gw-2").await.is_empty());
    let page = world.get(Who::Owner, "/gateways/gw-2/manage").await;
    assert!(page.body.contains("This gateway is retired") && page.body.contains("Commission it again"));
}

#[tokio::test]
async fn a_persons_link_is_shown_once_and_works() {
    let world = World::new().await;
    let form = [("name", "Nia"), ("email", "nia@example.com"), ("role", "viewer")];
    let answer = world.post(Who::Owner, "/people/new", &form).await;
    let link = shown(&answer.body).unwrap();
    let path = link.strip_prefix("http://panel.example").unwrap();
    assert!(path.starts_with("/welcome/"), "{link}");
    assert_eq!(world.get(Who::Nobody, path).await.status, StatusCode::OK);
    let again = world.post(Who::Owner, "/people/new", &form).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.body.contains("Somebody signs in with this address already."));
    assert!(!world.get(Who::Owner, "/people").await.body.contains("/welcome/"));
}

#[tokio::test]
async fn nobody_removes_themselves() {
    let world = World::new().await;
    let answer = world.post(Who::Owner, "/people/00000000-0000-7000-8000-000500000001/remove", &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(world.get(Who::Owner, "/people").await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_gateway_too_many_is_refused_in_words_and_the_quota_outlives_other_settings() {
    let world = World::new().await;
    let settings = world.store.settings_fetch().await.unwrap();
    world.store.settings_save(ProviderSettings { max_gateways: 2, ..settings }).await.unwrap();
    let form = [("gateway", "gw-3"), ("location", LOCATION), ("credential", NEW_KEY)];
    let answer = world.post(Who::Operator, "/waiting/commission", &form).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body.contains("has 2 gateways, as many as it may"), "{}", answer.body);
    assert_eq!(shown(&answer.body), None);
    assert_eq!(world.store.gateway_fetch(&gateway("gw-3")).await.unwrap().state, GatewayState::Waiting);
    let page = world.get(Who::Owner, "/settings").await.body;
    let seen = page.split_once("name=\"seen\" value=\"").unwrap().1.split('"').next().unwrap();
    let saved = [
        ("name", "Sunrise"),
        ("colour", "#0f6b57"),
        ("zone", "UTC"),
        ("currency", "EUR"),
        ("tariff", "0.1"),
        ("co2", "0.3"),
        ("unknown", "refused"),
        ("ahead", "24"),
        ("retention", ""),
        ("max_gateways", "9999"),
        ("seen", seen),
    ];
    assert_eq!(world.post(Who::Owner, "/settings", &saved).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.store.settings_fetch().await.unwrap().max_gateways, 2);
    assert!(world.get(Who::Viewer, "/settings").await.body.contains("At most 2 gateways"));
}
