//! Corrections: shown before they are made, followed by figures, taken back.

use axum::http::StatusCode;
use serde_json::Value;

use crate::world::{Who, World};

const PATH: &str = "/gateways/gw-1/corrections";

fn assert_problem(body: &str, field: &str, problem: &str) {
    let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}</p>");
    assert!(body.contains(&at), "{at} in:\n{body}");
}

/// What the gateway gave on a day, Wh.
async fn produced(world: &World, day: &str) -> f64 {
    let answer = world.get(Who::Owner, &format!("/gateways/gw-1/report.json?period=day&date={day}")).await;
    let report: Value = serde_json::from_str(&answer.body).unwrap();
    report["figures"]["produced_wh"].as_f64().unwrap()
}

fn form<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let always = [("series", "inverter-1/energy/Wh"), ("reason", "the factor was set wrong")];
    always.into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn a_correction_is_shown_then_made_then_taken_back() {
    let world = World::new().await;
    let halved = [("kind", "scale"), ("factor", "0,5"), ("from", "2026-06-16T12:00"), ("until", "2026-06-17T12:00")];
    let shown = world.post(Who::Operator, PATH, &form(&halved)).await;
    assert_eq!(shown.status, StatusCode::OK);
    for expected in [
        "<th scope=\"row\">16 Jun 2026</th><td class=\"n\">96.0\u{a0}kWh</td><td class=\"n\"><b>72.0\u{a0}kWh</b></td>",
        "<th scope=\"row\">17 Jun 2026</th><td class=\"n\">96.0\u{a0}kWh</td><td class=\"n\"><b>72.0\u{a0}kWh</b></td>",
        "<th scope=\"row\"><b>Together</b></th><td class=\"n\">192\u{a0}kWh</td><td class=\"n\"><b>144\u{a0}kWh</b></td>",
        "<input type=\"hidden\" name=\"reason\" value=\"the factor was set wrong\">",
    ] {
        assert!(shown.body.contains(expected), "{expected} in {}", shown.body);
    }
    assert!(!shown.body.contains("<th scope=\"row\">18 Jun 2026"), "a day that stays as it is is not shown");
    assert!((produced(&world, "2026-06-17").await - 96_000.0).abs() < 0.5, "nothing is made yet");

    let save = [&halved[..], &[("action", "save")]].concat();
    let made = world.post(Who::Operator, PATH, &form(&save)).await;
    assert_eq!(made.location(), format!("{PATH}?done=corrected"));
    assert!((produced(&world, "2026-06-17").await - 72_000.0).abs() < 0.5);
    let list = world.get(Who::Viewer, PATH).await.body;
    assert!(list.contains("Multiplied by 0.5.<small>inverter-1 · energy</small>"), "{list}");
    assert!(list.contains("Otto<small>") && list.contains("the factor was set wrong") && list.contains("Counts"));
    assert!(!list.contains("Take it back") && !list.contains("What was wrong?"), "a viewer changes nothing");
    let manage = world.get(Who::Owner, "/gateways/gw-1/manage").await.body;
    assert!(manage.contains("One correction counts."), "{manage}");

    let correction = world.store.correction_list().await.unwrap().pop().unwrap();
    let back = world.post(Who::Owner, &format!("{PATH}/{}/revert", correction.id), &[]).await;
    assert_eq!(back.location(), format!("{PATH}?done=reverted"));
    assert!((produced(&world, "2026-06-17").await - 96_000.0).abs() < 0.5, "as before");
    let list = world.get(Who::Owner, PATH).await.body;
    assert!(list.contains("Taken back") && list.contains("by Mara, "), "{list}");
    let twice = world.post(Who::Owner, &format!("{PATH}/{}/revert", correction.id), &[]).await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_swapped_meter_is_told_in_the_units_of_its_display() {
    let world = World::new().await;
    // At noon of the 17th the counter stands at 1,624 kWh; the meter said 1,630.
    let swap = [("kind", "meter-swap"), ("from", "2026-06-17T12:01"), ("last", "1630 kWh"), ("first", "1624,0 kWh")];
    let shown = world.post(Who::Owner, PATH, &form(&swap)).await;
    assert!(shown.body.contains("What it would change"), "{}", shown.body);
    world.post(Who::Owner, PATH, &form(&[&swap[..], &[("action", "save")]].concat())).await;
    let list = world.get(Who::Owner, PATH).await.body;
    assert!(list.contains("Meter swapped: the old one ends at 1630000 Wh, the new one begins at 1624000 Wh."), "{list}");
    let after = produced(&world, "2026-06-17").await;
    assert!((after - 96_000.0).abs() > 1000.0, "the step between the meters is no rise: {after}");
}

#[tokio::test]
async fn readings_are_left_out_moved_and_replaced() {
    for (kind, more, expected) in [
        ("exclude", vec![("until", "2026-06-18T00:00")], None),
        ("shift", vec![("until", "2026-06-17T06:00"), ("shift", "-1h")], Some(())),
        ("manual", vec![("until", "2026-06-17T06:00"), ("value", "1,6 MWh")], Some(())),
    ] {
        let world = World::new().await;
        let fields = [&[("kind", kind), ("from", "2026-06-17T00:00")][..], &more[..]].concat();
        let shown = world.post(Who::Owner, PATH, &form(&fields)).await;
        assert_eq!(shown.status, StatusCode::OK, "{kind}: {}", shown.body);
        assert!(shown.body.contains("Make this correction"), "{kind}");
        let made = world.post(Who::Owner, PATH, &form(&[&fields[..], &[("action", "save")]].concat())).await;
        assert_eq!(made.location(), format!("{PATH}?done=corrected"), "{kind}: {}", made.body);
        let page = world.get(Who::Owner, "/gateways/gw-1?period=day&date=2026-06-17").await.body;
        let shows_all = page.contains("<dt>Energy produced</dt><dd><strong>96.0 <small>kWh</small></strong>");
        assert!(!shows_all || expected.is_some(), "{kind} changes the day");
    }
}

#[tokio::test]
async fn a_correction_that_makes_no_sense_is_refused_at_its_field() {
    let world = World::new().await;
    let count = world.store.correction_list().await.unwrap().len();
    let bad = [("kind", "scale"), ("factor", "none"), ("from", "soon"), ("until", ""), ("action", "save")];
    let answer = world.post(Who::Owner, PATH, &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "series", "Choose what was wrong.");
    assert_problem(&answer.body, "from", "Is not a date and time such as 2026-11-20T08:00.");
    assert_problem(&answer.body, "reason", "A reason is needed, of up to 500 characters.");
    let scale = [("kind", "scale"), ("factor", "none"), ("from", "2026-06-17T00:00"), ("until", "2026-06-16T00:00")];
    let answer = world.post(Who::Owner, PATH, &form(&scale)).await;
    assert_problem(&answer.body, "factor", "The factor is not a number.");
    assert_problem(&answer.body, "until", "It must end after it begins.");
    let manual = [("kind", "manual"), ("value", "5 W"), ("from", "2026-06-17T00:00"), ("until", "")];
    let answer = world.post(Who::Owner, PATH, &form(&manual)).await;
    assert_problem(&answer.body, "value", "“W” cannot be turned into Wh.");
    assert_problem(&answer.body, "until", "One value must have an end.");
    let shift = [("kind", "shift"), ("shift", "0s"), ("from", "2026-06-17T00:00")];
    assert_problem(&world.post(Who::Owner, PATH, &form(&shift)).await.body, "shift", "It must be moved by something.");
    let none = world.post(Who::Owner, PATH, &form(&[("kind", "wish")])).await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.store.correction_list().await.unwrap().len(), count);
}
