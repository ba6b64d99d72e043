//! The start page: what to do now, and the list that is searched, narrowed, ordered
//! and paged.

use std::time::Duration;

use axum::http::StatusCode;
use heliograph_domain::{ClockSample, CredentialId, LocationId, SensorId, SensorRole};
use heliograph_store::{CredentialNew, GatewayCommissioning, SensorUpdate};

use crate::world::{LOCATION, Who, World, at, digest, gateway, id, start, write_counter};

/// The gateways in the list, in its order.
fn listed(page: &str) -> Vec<&str> {
    let rows = page.split("<th scope=\"row\"><a href=\"").skip(1);
    rows.map(|row| row.split_once('>').unwrap().1.split_once('<').unwrap().0).collect()
}

/// What the page says needs somebody, a line each: the word and the link.
fn todo(page: &str) -> Vec<(String, String)> {
    let Some((_, list)) = page.split_once("<ul class=\"todo\">") else { return Vec::new() };
    let lines = list.split_once("</ul>").unwrap().0.split("<li>").skip(1);
    let between = |line: &str, from: &str, to: &str| {
        line.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(text, _)| text.to_owned()).unwrap_or_default()
    };
    lines.map(|line| (between(line, "class=\"pill", "</span>"), between(line, "href=\"", "\""))).collect()
}

async fn commission(world: &World, name: &str, number: u128) {
    let from = at("2026-06-01T00:00:00Z");
    let credential = CredentialNew { id: CredentialId::new(id(4, 1000 + number)), digest: digest(name) };
    let location = LocationId::parse(LOCATION).unwrap();
    let new = GatewayCommissioning { gateway: gateway(name), label: None, location, from, credential, at: from };
    world.store.gateway_commission(new).await.unwrap();
}

#[tokio::test]
async fn a_gateway_is_found_by_name_id_and_location() {
    let world = World::new().await;
    world.store.gateway_rename(&gateway("gw-2"), Some("Dach Süd".to_owned())).await.unwrap();
    for (query, expected) in [
        ("", vec!["Dach Süd", "gw-1"]),
        ("?q=GW-1", vec!["gw-1"]),
        ("?q=s%C3%BCd", vec!["Dach Süd"]),
        ("?q=gw-2", vec!["Dach Süd"]),
        ("?q=winery", vec!["Dach Süd", "gw-1"]),
        ("?q=winery+dach", vec!["Dach Süd"]),
        ("?q=%25", vec![]),
        ("?q=gw-3", vec![]),
        ("?q=gw-3&state=waiting", vec!["gw-3"]),
        ("?state=online", vec!["Dach Süd", "gw-1"]),
        ("?state=silent", vec![]),
    ] {
        let page = world.get(Who::Viewer, &format!("/{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert_eq!(listed(&page.body), expected, "{query}");
        assert_eq!(page.body.contains("No gateway fits"), expected.is_empty(), "{query}");
    }
    let operator = world.get(Who::Operator, "/?state=waiting").await.body;
    assert!(operator.contains("<a href=\"/waiting/commission?gateway=gw-3\">gw-3</a>"), "{operator}");
}

#[tokio::test]
async fn the_list_is_ordered_by_what_was_asked_for_and_unknown_comes_last() {
    let world = World::new().await;
    commission(&world, "gw-0", 1).await;
    commission(&world, "gw-5", 2).await;
    write_counter(&world.store, "gw-5", "inverter-1", 750.0, at("2026-05-31T22:00:00Z"), start()).await;
    for (name, rated_w) in [("gw-1", 40_000.0), ("gw-2", 5_000.0), ("gw-5", 15_000.0)] {
        let update = SensorUpdate { label: None, role: SensorRole::Inverter, rated_w: Some(rated_w) };
        world.store.sensor_update(&gateway(name), &SensorId::parse("inverter-1").unwrap(), update).await.unwrap();
    }
    for (query, expected) in [
        ("", ["gw-0", "gw-1", "gw-2", "gw-5"]),
        ("?sort=-name", ["gw-5", "gw-2", "gw-1", "gw-0"]),
        ("?sort=energy", ["gw-2", "gw-5", "gw-1", "gw-0"]),
        ("?sort=-energy", ["gw-1", "gw-5", "gw-2", "gw-0"]),
        ("?sort=yield", ["gw-1", "gw-5", "gw-2", "gw-0"]),
        ("?sort=-yield", ["gw-2", "gw-5", "gw-1", "gw-0"]),
        ("?sort=heard", ["gw-1", "gw-2", "gw-5", "gw-0"]),
    ] {
        assert_eq!(listed(&world.get(Who::Owner, &format!("/{query}")).await.body), expected, "{query}");
    }
    let page = world.get(Who::Owner, "/?sort=yield&q=gw").await.body;
    // 60 kWh of 40 kWp, 45 of 15 and 30 of 5.
    for said in ["1.50\u{a0}kWh/kWp<small>50\u{a0}% of median", "6.00\u{a0}kWh/kWp<small>200\u{a0}% of median"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("What to do now</h2>") && page.contains("<a href=\"/\">What to do now</a>"), "a list stands alone");
    assert!(page.contains("aria-sort=\"ascending\"><a href=\"/?q=gw&#38;sort=-yield\">Yield today"), "{page}");
    assert!(page.contains("<a href=\"/?q=gw&#38;sort=energy\">Energy today"), "{page}");
}

#[tokio::test]
async fn a_long_list_has_pages_that_keep_what_was_asked_for() {
    let world = World::new().await;
    for number in 0..120 {
        world.store.gateway_knock(&gateway(&format!("new-{number:03}")), "203.0.113.9:1", world.now()).await.unwrap();
    }
    let first = world.get(Who::Owner, "/?state=waiting&q=new&sort=-name").await.body;
    assert_eq!((listed(&first).len(), listed(&first)[0]), (50, "new-119"));
    assert!(first.contains("1 to 50 of 120") && !first.contains("rel=\"prev\""), "{first}");
    assert!(first.contains("href=\"/?q=new&#38;state=waiting&#38;sort=-name&#38;page=2\" rel=\"next\""), "{first}");
    let last = world.get(Who::Owner, "/?state=waiting&q=new&sort=-name&page=3").await.body;
    assert_eq!((listed(&last).len(), listed(&last)[19]), (20, "new-000"));
    assert!(last.contains("101 to 120 of 120") && !last.contains("rel=\"next\""), "{last}");
    // The list may have become shorter.
    assert_eq!(listed(&world.get(Who::Owner, "/?state=waiting&q=new&sort=-name&page=9").await.body), listed(&last));
    // What narrows the list is kept by the form, too.
    assert!(first.contains("name=\"q\" value=\"new\"") && first.contains("<option value=\"waiting\" selected>Waiting (121)"));
}

#[tokio::test]
async fn what_the_address_says_is_refused_where_it_makes_no_sense_and_never_run() {
    let world = World::new().await;
    for (query, said) in [
        ("?state=asleep", "“asleep” is no state of a gateway. There are online, late"),
        ("?sort=colour", "“colour” is no order"),
        ("?page=0", "“0” is no page"),
        ("?page=one", "“one” is no page"),
        ("?view=map", "“map” is no list"),
        ("?state=%3Cscript%3E", "“&#60;script&#62;” is no state"),
    ] {
        let answer = world.get(Who::Owner, &format!("/{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.body.contains(said), "{query}: {}", answer.body);
    }
    let long = world.get(Who::Owner, &format!("/?q={}", "x".repeat(101))).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    let nasty = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%26state%3Dlate";
    let page = world.get(Who::Owner, &format!("/?q={nasty}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.body.contains("<script>"), "{}", page.body);
    assert!(page.body.contains("value=\"&#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#38;state=late\""), "{}", page.body);
    assert_eq!(world.get(Who::Owner, "/?unknown=1&done=saved").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_says_what_to_do_now_the_worst_first() {
    let world = World::new().await;
    let page = world.get(Who::Owner, "/").await.body;
    assert_eq!(todo(&page), [(" warn\">Waiting".to_owned(), "/waiting".to_owned())], "a stranger's document is nobody's to mend");
    assert!(!page.contains("Everything is fine"));
    commission(&world, "gw-0", 1).await;
    world.pass(7 * 60);
    write_counter(&world.store, "gw-2", "inverter-1", 500.0, start(), world.now()).await;
    let sample = |minute: i64| ClockSample { received: world.now().plus_millis(minute * 60_000), lag_ms: -7_200_000 };
    world.store.gateway_clock_seen(vec![(gateway("gw-2"), (-10..0).map(sample).collect())]).await.unwrap();
    let page = world.get(Who::Owner, "/").await.body;
    let expected = [
        (" bad\">Silent", "/gateways/gw-1"),
        (" bad\">Clock", "/gateways/gw-2/manage"),
        (" warn\">Waiting", "/waiting"),
        (" plain\">Never heard", "/gateways/gw-0"),
    ];
    assert_eq!(todo(&page), expected.map(|(word, path)| (word.to_owned(), path.to_owned())));
    for said in ["was last heard 7 h ago at Haro winery", "2h ahead, as if it sent the local time", "was never heard"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    // A customer is told of her own gateways alone.
    let hers = world.get(Who::Customer, "/").await.body;
    assert_eq!(todo(&hers), [(" bad\">Silent".to_owned(), "/gateways/gw-1".to_owned())]);
    let his = world.get(Who::OtherCustomer, "/").await.body;
    assert!(todo(&his).is_empty() && his.contains("Everything is fine"), "{his}");
    for path in ["/?state=silent", "/?state=clock", "/?state=never"] {
        assert_eq!(listed(&world.get(Who::Owner, path).await.body).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn what_is_more_than_fits_is_counted_and_leads_to_the_list() {
    let world = World::new().await;
    for number in 0..30 {
        commission(&world, &format!("new-{number:02}"), number).await;
    }
    let page = world.get(Who::Owner, "/").await.body;
    let lines = todo(&page);
    assert_eq!(lines.len(), 11, "one that waits, nine of thirty, and one that says how many more");
    assert_eq!(lines[10], (String::new(), "/?state=never".to_owned()));
    assert!(page.contains("and 21 more that were never heard"), "{page}");
    assert_eq!(listed(&world.get(Who::Owner, "/?state=never").await.body).len(), 30);
}

#[tokio::test]
async fn it_is_said_when_everything_is_fine() {
    let world = World::new().await;
    world.store.gateway_retire(&gateway("gw-3"), world.now()).await.unwrap();
    for who in [Who::Owner, Who::Viewer] {
        let page = world.get(who, "/").await.body;
        assert!(page.contains("<b>Everything is fine.</b> All 2 gateways are heard in their rhythm."), "{page}");
    }
    world.pass(60);
    let late = world.get(Who::Owner, "/").await.body;
    assert!(late.contains("<b>Nothing to do now.</b> 2 gateways are late."), "{late}");
}

#[tokio::test]
async fn a_customer_is_never_shown_what_was_computed_for_others() {
    let world = World::new().await;
    // The whole fleet's figures are there.
    assert_eq!(listed(&world.get(Who::Owner, "/").await.body), ["gw-1", "gw-2"]);
    let hers = world.get(Who::Customer, "/").await.body;
    assert_eq!(listed(&hers), ["gw-1"]);
    for hidden in ["gw-2", "gw-3", "Waiting", "Haro", "/locations", "90.0", "30.0", "Clock is wrong"] {
        assert!(!hers.contains(hidden), "{hidden}: {hers}");
    }
    for query in ["?q=gw-2", "?state=waiting", "?q=Haro&state=retired"] {
        assert!(listed(&world.get(Who::Customer, &format!("/{query}")).await.body).is_empty(), "{query}");
    }
    let locations = world.get(Who::Customer, "/?view=locations").await;
    let nowhere = world.get(Who::Customer, "/no/such/page").await;
    assert_eq!((locations.status, &locations.body), (StatusCode::NOT_FOUND, &nowhere.body));
    // Her window begins where the fleet's does not.
    let path = format!("/customers/{}/commissions/{}/end", crate::world::ANAS, crate::world::COMMISSION);
    world.post(Who::Owner, &path, &[]).await;
    let form = [("gateway", "gw-1"), ("from", "2026-06-18T15:07"), ("until", "")];
    world.post(Who::Owner, &format!("/customers/{}/commissions", crate::world::ANAS), &form).await;
    let hers = world.get(Who::Customer, "/").await.body;
    assert!(listed(&hers) == ["gw-1"] && !hers.contains("60.0"), "{hers}");
    assert!(world.get(Who::Owner, "/?q=gw-1").await.body.contains("60.00\u{a0}kWh"));
}

#[tokio::test]
async fn who_there_is_shows_at_once_and_figures_within_seconds() {
    let world = World::new().await;
    assert!(world.get(Who::Owner, "/").await.body.contains("60.00\u{a0}kWh"));
    world.store.gateway_rename(&gateway("gw-1"), Some("Barn".to_owned())).await.unwrap();
    world.store.gateway_retire(&gateway("gw-2"), world.now()).await.unwrap();
    commission(&world, "gw-4", 1).await;
    let page = world.get(Who::Owner, "/").await.body;
    assert_eq!(listed(&page), ["Barn", "gw-4"]);
    assert!(page.contains("Retired gateways (1)") && page.contains("Never heard (1)"), "{page}");

    world.pass(1);
    write_counter(&world.store, "gw-4", "inverter-1", 250.0, at("2026-06-18T00:00:00Z"), world.now()).await;
    let stale = world.get(Who::Owner, "/").await.body;
    assert!(stale.contains("figures are 60 s old") && !stale.contains("13.00\u{a0}kWh"), "{stale}");
    let renewed = async {
        loop {
            let page = world.get(Who::Owner, "/").await.body;
            if page.contains("13.00\u{a0}kWh") {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let page = tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap();
    assert!(!page.contains("figures are"), "{page}");

    // After a while without anybody nobody is shown what was.
    world.pass(30);
    let page = world.get(Who::Owner, "/").await.body;
    assert!(page.contains("As of 18 Jun 2026, 15:38</p>"), "{page}");
}

#[tokio::test]
async fn many_who_ask_at_once_are_all_answered() {
    let world = World::new().await;
    let asked = (0..20).map(|_| world.get(Who::Viewer, "/"));
    let mut answered = 0;
    for page in futures(asked).await {
        assert_eq!(listed(&page.body), ["gw-1", "gw-2"]);
        answered += 1;
    }
    assert_eq!(answered, 20);
}

/// Runs them at once.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, done) in &mut pending {
            if done.is_none()
                && let std::task::Poll::Ready(value) = one.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if pending.iter().all(|(_, done)| done.is_some()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn locations_are_listed_and_searched() {
    let world = World::new().await;
    for number in 0..60 {
        world.post(Who::Owner, "/locations/new", &[("name", &format!("Site {number:02}")), ("zone", "UTC")]).await;
    }
    let page = world.get(Who::Viewer, "/?view=locations").await.body;
    assert!(page.contains("1 to 48 of 61") && page.contains("href=\"/?view=locations&#38;page=2\" rel=\"next\""), "{page}");
    assert!(page.contains("Haro winery") && page.contains("90.0\u{a0}kWh"), "{page}");
    let found = world.get(Who::Viewer, "/?view=locations&q=site+5").await.body;
    assert_eq!(found.matches("<li class=\"card\">").count(), 15);
    assert!(world.get(Who::Viewer, "/?view=locations&q=nowhere").await.body.contains("No location fits"));
}
