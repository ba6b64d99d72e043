//! A gateway that takes over from another one.

use axum::http::StatusCode;
use heliograph_domain::{Binding, GatewayState, Point, PointId, SensorId, SensorRole, TimeWindow};

use crate::world::{COMMISSION, LOCATION, NEW_KEY, Who, World, at, gateway, id, start, write_counter};

fn assert_problem(body: &str, field: &str, problem: &str) {
    let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}</p>");
    assert!(body.contains(&at), "{at} in:\n{body}");
}

/// `gw-3` is commissioned beside `gw-1` and measures since midnight; a point follows `gw-1`.
async fn beside() -> (World, String) {
    let world = World::new().await;
    let page = world.get(Who::Operator, "/gateways/gw-1/replace").await.body;
    assert!(page.contains("href=\"/waiting/commission?gateway=gw-3\""), "one that waits is commissioned first: {page}");
    let form = [("gateway", "gw-3"), ("location", LOCATION), ("from", "2026-06-17T00:00"), ("credential", NEW_KEY)];
    assert_eq!(world.post(Who::Operator, "/waiting/commission", &form).await.status, StatusCode::OK);
    write_counter(&world.store, "gw-3", "inverter-1", 1000.0, at("2026-06-17T22:00:00Z"), start()).await;
    let form = [("point_name", "Roof"), ("point_role", "inverter"), ("source", "gw-1/inverter-1")];
    let added = world.post(Who::Operator, &format!("/locations/{LOCATION}/points"), &form).await;
    let point = added.location().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    (world, point)
}

#[tokio::test]
async fn points_and_customers_go_on_with_the_new_gateway() {
    let (world, point) = beside().await;
    let page = world.get(Who::Operator, "/gateways/gw-1/replace?by=gw-3").await.body;
    let suggested = format!("name=\"point-{point}\"><option value=\"\">Nothing</option><option value=\"inverter-1\" selected>");
    assert!(page.contains(&suggested), "{page}");
    assert!(page.contains("Ana’s bakery since 10 Jun 2026, 00:00"), "{page}");

    let field = format!("point-{point}");
    let form = [("by", "gw-3"), ("at", "2026-06-18T08:00"), (field.as_str(), "inverter-1"), ("retire", "yes")];
    let done = world.post(Who::Operator, "/gateways/gw-1/replace", &form).await;
    assert_eq!(done.location(), "/gateways/gw-3/manage?done=replaced", "{}", done.body);

    let instant = at("2026-06-18T06:00:00Z");
    let bindings = world.store.binding_list().await.unwrap();
    let ends: Vec<_> = bindings.iter().map(|binding| (binding.gateway.as_str(), binding.window.until)).collect();
    assert_eq!(ends, [("gw-1", Some(instant)), ("gw-3", None)]);
    let owned = world.store.commission_list_by_gateway(&gateway("gw-3")).await.unwrap();
    assert_eq!((owned.len(), owned[0].window.from, owned[0].window.until), (1, instant, None));
    let before = world.store.commission_list_by_gateway(&gateway("gw-1")).await.unwrap();
    assert_eq!((before[0].id.to_string().as_str(), before[0].window.until), (COMMISSION, Some(instant)));
    assert_eq!(world.store.gateway_fetch(&gateway("gw-1")).await.unwrap().state, GatewayState::Retired);
    assert_eq!(world.get(Who::Customer, "/gateways/gw-3").await.status, StatusCode::OK);
    assert_eq!(world.get(Who::Customer, "/gateways/gw-1").await.status, StatusCode::NOT_FOUND, "it is not hers any more");

    // Eight hours of the one and five of the other, and nothing of the time that both measured.
    let report = world.get(Who::Owner, &format!("/locations/{LOCATION}/report.json?period=day&date=2026-06-18")).await.body;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let produced = report["figures"]["produced_wh"].as_f64().unwrap();
    assert!((produced - 59_000.0).abs() < 0.5, "15 hours of 4 kW but the quarter between the two: {produced}");
    let entry = world.store.audit_list(1, 1000).await.unwrap().into_iter().find(|entry| entry.action == "gateway.replace");
    let detail: serde_json::Value = serde_json::from_str(&entry.unwrap().detail).unwrap();
    let window = serde_json::json!({ "from": instant.as_millis(), "until": null });
    let expected = serde_json::json!({
        "by": "gw-3", "at": "2026-06-18T06:00:00Z", "points_ended": [point],
        "bindings": [{ "point": point, "sensor": "inverter-1", "window": window }],
        "commissions_ended": [COMMISSION], "commissions_cancelled": [],
        "commissions": [{ "commission": owned[0].id, "customer": owned[0].customer, "window": window }],
    });
    assert_eq!(detail, expected);
    let audit = world.get(Who::Owner, "/audit").await.body;
    assert!(audit.contains("Gateway replaced") && audit.contains("<small>replaced by</small> gw-3"), "{audit}");
    assert!(audit.contains("<small>sensors that took over</small> inverter-1 for Roof from 18 Jun 2026, 08:00 on"), "{audit}");
}

#[tokio::test]
async fn a_takeover_that_contradicts_leaves_everything_as_it_was() {
    let (world, point) = beside().await;
    let before = (world.store.binding_list().await.unwrap(), world.store.commission_list().await.unwrap());
    let field = format!("point-{point}");
    let post = async |form: &[(&str, &str)]| {
        let answer = world.post(Who::Owner, "/gateways/gw-1/replace", form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        answer.body
    };
    assert_problem(&post(&[("by", "gw-9"), ("at", "")]).await, "by", "Choose a gateway of the same site.");
    let page = post(&[("by", "gw-3"), ("at", "2026-06-19T08:00"), ("retire", "yes")]).await;
    assert_problem(&page, "at", "Must not lie in the future.");
    assert!(page.contains("name=\"retire\" value=\"yes\" checked"), "what was chosen stays");
    let page = post(&[("by", "gw-2"), ("at", "2026-06-09T08:00"), (&field, "")]).await;
    assert_problem(&page, "at", "A customer owns it only since 10 Jun 2026, 00:00: choose a later time.");
    let page = post(&[("by", "gw-2"), ("at", "2026-06-18T08:00"), (&field, "inverter-1")]).await;
    assert_problem(&page, "by", "Ben’s dairy owns this gateway in part of that time.");
    assert_eq!((world.store.binding_list().await.unwrap(), world.store.commission_list().await.unwrap()), before);
    assert_eq!(world.store.gateway_fetch(&gateway("gw-1")).await.unwrap().state, GatewayState::Commissioned);
    let waiting = world.post(Who::Owner, "/gateways/gw-9/replace", &[]).await;
    assert_eq!(waiting.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_stands_for_a_point_only_where_the_form_says_so() {
    let (world, point) = beside().await;
    let before = world.store.binding_list().await.unwrap();
    let field = format!("point-{point}");
    let by = [("by", "gw-3"), ("at", "2026-06-18T08:00"), ("retire", "yes")];
    for (chosen, problem) in
        [(None, "Choose what stands for it, or “Nothing”."), (Some("inverter-9"), "The new gateway has no such sensor.")]
    {
        let form: Vec<(&str, &str)> = by.into_iter().chain(chosen.map(|sensor| (field.as_str(), sensor))).collect();
        let answer = world.post(Who::Owner, "/gateways/gw-1/replace", &form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{chosen:?}");
        assert_problem(&answer.body, &field, problem);
        assert!(answer.body.contains(&format!("aria-describedby=\"{field}-problem\"")), "{}", answer.body);
    }
    assert_eq!(world.store.binding_list().await.unwrap(), before);
    assert_eq!(world.store.gateway_fetch(&gateway("gw-1")).await.unwrap().state, GatewayState::Commissioned);
    let nothing = [&by[..], &[(field.as_str(), "")]].concat();
    let done = world.post(Who::Owner, "/gateways/gw-1/replace", &nothing).await;
    assert_eq!(done.location(), "/gateways/gw-3/manage?done=replaced", "{}", done.body);
    assert_eq!(world.store.binding_list().await.unwrap().len(), 1, "nothing follows after it");
}

#[tokio::test]
async fn nobody_is_given_what_a_gateway_measured_before_it_came() {
    let (world, point) = beside().await;
    let field = format!("point-{point}");
    let form = |at: &'static str| [("by", "gw-3"), ("at", at), (field.as_str(), "inverter-1")];
    let early = world.post(Who::Owner, "/gateways/gw-1/replace", &form("2026-06-16T23:59")).await;
    assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&early.body, "at", "“gw-3” is at this site only since 17 Jun 2026, 00:00: choose a later time.");
    assert_eq!(world.store.commission_list_by_gateway(&gateway("gw-3")).await.unwrap(), []);
    let then = world.post(Who::Owner, "/gateways/gw-1/replace", &form("2026-06-17T00:00")).await;
    assert_eq!(then.location(), "/gateways/gw-3/manage?done=replaced", "{}", then.body);
}

#[tokio::test]
async fn what_is_planned_to_follow_the_old_gateway_is_taken_back_first() {
    let (world, point) = beside().await;
    write_counter(&world.store, "gw-1", "inverter-2", 100.0, at("2026-06-17T22:00:00Z"), start()).await;
    let wall = PointId::new(id(9, 9));
    let location = LOCATION.parse().unwrap();
    world.store.point_save(Point { id: wall, location, name: "Wall".to_owned(), role: SensorRole::Inverter }).await.unwrap();
    let from = at("2026-06-30T22:00:00Z");
    let sensor = SensorId::parse("inverter-2").unwrap();
    let planned = Binding { point: wall, gateway: gateway("gw-1"), sensor, window: TimeWindow { from, until: None } };
    world.store.binding_create(planned).await.unwrap();
    let field = format!("point-{point}");
    let form = [("by", "gw-3"), ("at", "2026-06-18T08:00"), (field.as_str(), "inverter-1"), ("retire", "yes")];
    let refused = world.post(Who::Owner, "/gateways/gw-1/replace", &form).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = "“Wall” is planned to follow gw-1 from 1 Jul 2026, 00:00 on: take that back at the point first.";
    assert_problem(&refused.body, "by", problem);
    assert_eq!(world.store.gateway_fetch(&gateway("gw-1")).await.unwrap().state, GatewayState::Commissioned);
    world.store.binding_remove(wall, from).await.unwrap();
    let done = world.post(Who::Owner, "/gateways/gw-1/replace", &form).await;
    assert_eq!(done.location(), "/gateways/gw-3/manage?done=replaced", "{}", done.body);
}
