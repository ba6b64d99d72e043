//! What the page of a gateway says of its clock, and corrections that are typed there.

use axum::http::StatusCode;
use heliograph_domain::{Actor, ClockSample};

use crate::world::{Who, World, gateway};

const PAGE: &str = "/gateways/gw-1/manage";

/// As if a clock had been this much ahead for a while.
async fn seen(world: &World, ahead_ms: i64) {
    let sample = |minute: i64| ClockSample { received: world.now().plus_millis(minute * 60_000), lag_ms: -ahead_ms };
    world.store.gateway_clock_seen(vec![(gateway("gw-1"), (-10..0).map(sample).collect())]).await.unwrap();
}

#[tokio::test]
async fn the_page_says_how_wrong_a_clock_is_and_what_to_type() {
    let world = World::new().await;
    let body = world.get(Who::Viewer, PAGE).await.body;
    assert!(body.contains("not known yet: 0 of 5 times that are needed were seen"), "{body}");
    assert!(!body.contains("/gateways/gw-1/clock"), "who may only look sees no form");
    seen(&world, 2 * 3_600_000 - 1000).await;
    let body = world.get(Who::Operator, PAGE).await.body;
    for said in ["1h59m59s ahead", "local time of its location as UTC", "changes with summer time", "value=\"-2h\"", ">Wrong<"] {
        assert!(body.contains(said), "{said}: {body}");
    }
    let wrong = world.post(Who::Operator, "/gateways/gw-1/clock", &[("shift", "<soon>")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.body.contains("is no time such as -1h") && !wrong.body.contains("<soon>"), "{}", wrong.body);
    let set = world.post(Who::Operator, "/gateways/gw-1/clock", &[("shift", " -2h ")]).await;
    assert_eq!(set.location(), "/gateways/gw-1/manage?done=saved");
    let body = world.get(Who::Viewer, PAGE).await.body;
    assert!(body.contains("<b>-2h</b> is added since 18 Jun 2026, 15:07") && body.contains(">Corrected<"), "{body}");
    let trail = world.store.audit_list(1, 100).await.unwrap();
    let entry = trail.iter().find(|row| row.action == "gateway.clock").unwrap();
    assert!(entry.object == "gateway:gw-1" && entry.detail.contains("-2h"), "{entry:?}");
    assert_ne!(entry.actor, Actor::Operator.to_string(), "it stands under the person's reference");
    world.post(Who::Owner, "/gateways/gw-1/clock", &[("shift", "0s")]).await;
    assert!(!world.get(Who::Owner, PAGE).await.body.contains("is added since"));
}
