//! Points and arrays of a site, and what they do to its figures.

use axum::http::StatusCode;
use heliograph_domain::SensorId;
use serde_json::Value;

use crate::world::{ARRAY, LOCATION, POINT, Who, World, at, gateway};

const DAY: &str = "?period=day&date=2026-06-17";

fn assert_problem(body: &str, field: &str, problem: &str) {
    let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}</p>");
    assert!(body.contains(&at), "{at} in:\n{body}");
}

/// A figure of the site's day.
async fn figure(world: &World, name: &str) -> f64 {
    let answer = world.get(Who::Owner, &format!("/locations/{LOCATION}/report.json{DAY}")).await;
    let report: Value = serde_json::from_str(&answer.body).unwrap();
    report["figures"][name].as_f64().unwrap()
}

async fn add_roof(world: &World, source: &str) -> String {
    let form = [("point_name", "South roof"), ("point_role", "inverter"), ("source", source), ("since", "")];
    let added = world.post(Who::Operator, &format!("/locations/{LOCATION}/points"), &form).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.body);
    added.location().split_once('?').unwrap().0.to_owned()
}

#[tokio::test]
async fn reports_follow_a_point_from_one_sensor_to_the_next() {
    let world = World::new().await;
    let manage = format!("/locations/{LOCATION}/manage");
    assert!((figure(&world, "produced_wh").await - 144_000.0).abs() < 0.5, "both gateways");
    let roof = add_roof(&world, "gw-1/inverter-1").await;
    assert!((figure(&world, "produced_wh").await - 96_000.0).abs() < 0.5, "the point alone");
    let page = world.get(Who::Viewer, &manage).await.body;
    assert!(page.contains("Counting nowhere now: gw-2 · inverter-1 (inverter)."), "{page}");
    assert!(page.contains("South roof") && !page.contains("Add point"), "a viewer changes nothing");

    let over = [("source", "gw-2/inverter-1"), ("since", "2026-06-17T12:00"), ("ends", "")];
    let done = world.post(Who::Operator, &format!("{roof}/bind"), &over).await;
    assert_eq!(done.location(), format!("{roof}?done=bound"));
    // Each is read within its own time: what the old one rose in its last quarter, the
    // reading of noon would have told, which is the new one's.
    assert!((figure(&world, "produced_wh").await - 71_000.0).abs() < 0.5, "half a day of each");
    let page = world.get(Who::Owner, &roof).await.body;
    assert!(page.contains("<td data-label=\"Until\">17 Jun 2026, 12:00</td>"), "{page}");

    let ended = world.post(Who::Operator, &format!("{roof}/end"), &[("end_at", "2026-06-17T18:00")]).await;
    assert_eq!(ended.location(), format!("{roof}?done=saved"));
    assert!((figure(&world, "produced_wh").await - 58_500.0).abs() < 0.5, "and nothing from six on");
    let begins = at("2026-06-17T10:00:00Z").as_millis().to_string();
    let back = world.post(Who::Operator, &format!("{roof}/unbind"), &[("begins", &begins)]).await;
    assert_eq!(back.location(), format!("{roof}?done=unbound"));
    assert!((figure(&world, "produced_wh").await - 47_000.0).abs() < 0.5, "the morning alone");
    let gone = world.post(Who::Operator, &format!("{roof}/remove"), &[]).await;
    assert_eq!(gone.location(), format!("{manage}?done=taken-away"));
    assert!((figure(&world, "produced_wh").await - 144_000.0).abs() < 0.5, "as before");
}

#[tokio::test]
async fn the_other_sensors_of_a_role_get_points_of_their_own() {
    let world = World::new().await;
    let manage = format!("/locations/{LOCATION}/manage");
    assert!(world.get(Who::Owner, &manage).await.body.contains("name=\"others\" value=\"yes\" checked"));
    let form = [("point_name", "South roof"), ("point_role", "inverter"), ("source", "gw-1/inverter-1"), ("others", "yes")];
    let added = world.post(Who::Operator, &format!("/locations/{LOCATION}/points"), &form).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.body);
    let points = world.store.point_list().await.unwrap();
    let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, ["Cellar", "South roof", "gw-2 · inverter-1"]);
    assert!((figure(&world, "produced_wh").await - 144_000.0).abs() < 0.5, "nothing is lost");
    assert!(!world.get(Who::Owner, &manage).await.body.contains("Counting nowhere"));
}

#[tokio::test]
async fn a_point_that_cannot_be_is_refused_at_its_field() {
    let world = World::new().await;
    let points = format!("/locations/{LOCATION}/points");
    let bad = [("point_name", " "), ("point_role", "other"), ("source", "gw-9/x"), ("since", "soon")];
    let answer = world.post(Who::Owner, &points, &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "point_name", "The name is needed.");
    assert_problem(&answer.body, "point_role", "Choose what it is to the site.");
    assert_problem(&answer.body, "source", "Choose a sensor.");
    assert_problem(&answer.body, "since", "Is not a date and time such as 2026-11-20T08:00.");
    assert!(answer.body.contains("value=\"soon\""), "what was typed stays");
    let count = world.store.point_list().await.unwrap().len();

    let roof = add_roof(&world, "gw-1/inverter-1").await;
    let form = [("point_name", "Other roof"), ("point_role", "inverter"), ("source", "gw-1/inverter-1"), ("since", "")];
    let taken = world.post(Who::Owner, &points, &form).await;
    assert_problem(&taken.body, "source", "The sensor stands for another point in part of that time.");
    assert_eq!(world.store.point_list().await.unwrap().len(), count + 1, "no point is left for which nothing stands");

    let form = [("source", "gw-2/inverter-1"), ("since", "2026-06-17T12:00"), ("ends", "2026-06-17T11:00")];
    assert_problem(&world.post(Who::Owner, &format!("{roof}/bind"), &form).await.body, "ends", "It must end after it begins.");
    let early = world.post(Who::Owner, &format!("{roof}/end"), &[("end_at", "0001-01-01T00:00")]).await;
    assert_eq!(early.status, StatusCode::SEE_OTHER, "it began before all that can be named");
    let again = world.post(Who::Owner, &format!("{roof}/end"), &[("end_at", "2026-06-17T18:00")]).await;
    assert_problem(&again.body, "end_at", "Nothing stands for it at that time.");
    let elsewhere = world.post(Who::Owner, "/locations/new", &[("name", "Barn"), ("zone", "UTC")]).await;
    let foreign = format!("{}/points/{POINT}", elsewhere.location());
    assert_eq!(world.get(Who::Owner, &foreign).await.status, StatusCode::NOT_FOUND, "it is another site's");
    let renamed = world.post(Who::Owner, &roof, &[("point_name", "<b>Roof</b>"), ("point_role", "production")]).await;
    assert_eq!(renamed.location(), format!("{roof}?done=saved"));
    let page = world.get(Who::Owner, &roof).await.body;
    assert!(page.contains("&#60;b&#62;Roof") && !page.contains("<b>Roof"), "{page}");
}

#[tokio::test]
async fn the_yield_is_measured_by_the_arrays_that_stand() {
    let world = World::new().await;
    assert!((figure(&world, "specific_yield_kwh_per_kwp").await - 7.2).abs() < 1e-6);
    let path = format!("/locations/{LOCATION}/arrays");
    let bad = [("kwp", ""), ("tilt", "91"), ("azimuth", "west"), ("from", "2026-06-02T00:00"), ("until", "2026-06-01T00:00")];
    let answer = world.post(Who::Owner, &path, &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "kwp", "The peak power is needed.");
    assert_problem(&answer.body, "tilt", "The tilt must lie between 0 and 90.");
    assert_problem(&answer.body, "azimuth", "The azimuth is not a number.");
    assert_problem(&answer.body, "until", "It must be taken down after it is built.");

    let half_day = [("kwp", "20"), ("tilt", "15"), ("azimuth", "360"), ("from", "2026-06-17T12:00")];
    let manage = format!("/locations/{LOCATION}/manage");
    assert_eq!(world.post(Who::Operator, &path, &half_day).await.location(), format!("{manage}?done=saved"));
    assert!((figure(&world, "specific_yield_kwh_per_kwp").await - 4.8).abs() < 1e-6, "30 kWp on average");
    let page = world.get(Who::Viewer, &manage).await.body;
    assert!(page.contains("40 kWp stand there now.") && page.contains("0° (north)"), "{page}");

    let down = [("kwp", "20"), ("tilt", "30"), ("azimuth", "180"), ("until", "2026-06-17T12:00")];
    world.post(Who::Operator, &format!("{path}/{ARRAY}"), &down).await;
    assert!((figure(&world, "specific_yield_kwh_per_kwp").await - 7.2).abs() < 1e-6, "one after the other");
    let page = world.get(Who::Owner, &format!("{path}/{ARRAY}")).await.body;
    assert!(page.contains("value=\"2026-06-17T12:00\""), "{page}");
    world.post(Who::Operator, &format!("{path}/{ARRAY}/remove"), &[]).await;
    assert!((figure(&world, "specific_yield_kwh_per_kwp").await - 7.2).abs() < 1e-6, "of the time in which any stood");
    let page = world.get(Who::Owner, &manage).await.body;
    assert!(page.contains("20 kWp stand there now."), "{page}");
    assert_eq!(world.get(Who::Owner, &format!("{path}/{ARRAY}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_devices_call_themselves_is_inert_in_forms() {
    let world = World::new().await;
    let nasty = "<script>a/b</script>";
    crate::world::write_counter(&world.store, "gw-1", nasty, 10.0, at("2026-06-17T00:00:00Z"), at("2026-06-17T02:00:00Z")).await;
    let sensors = world.store.sensor_list(&gateway("gw-1")).await.unwrap();
    assert!(sensors.iter().any(|sensor| sensor.id == SensorId::parse(nasty).unwrap()));
    for path in [format!("/locations/{LOCATION}/manage"), "/gateways/gw-1/corrections?kind=exclude".to_owned()] {
        let page = world.get(Who::Owner, &path).await.body;
        assert!(page.contains("&#60;script&#62;a/b") && !page.contains("<script>a"), "{path}");
    }
    let form = [
        ("point_name", "Odd"),
        ("point_role", "inverter"),
        ("source", "gw-1/%3Cscript%3Ea%2Fb%3C%2Fscript%3E"),
        ("since", "2026-06-17T00:00"),
    ];
    let added = world.post(Who::Owner, &format!("/locations/{LOCATION}/points"), &form).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.body);
}
