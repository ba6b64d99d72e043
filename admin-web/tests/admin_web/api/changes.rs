//! What the API changes, and what it refuses to.

use super::*;

#[tokio::test]
async fn settings_are_changed_by_who_has_seen_what_they_are() {
    let world = world().await;
    let shown = ask(&world, By::Operator, &Method::GET, "/api/v1/settings", None).await;
    let tag = shown.header("etag").to_owned();
    let put = async |tag: Option<&str>, body: Value| {
        let request = asked(&Method::PUT, "/api/v1/settings", &By::Operator.token());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = tag.into_iter().fold(request, |request, tag| request.header(header::IF_MATCH, tag));
        world.send(request.body(Body::from(body.to_string())).unwrap()).await
    };
    assert_eq!(put(None, settings("New")).await.status, StatusCode::PRECONDITION_REQUIRED);
    for other in ["\"0\"", "*", tag.trim_matches('"')] {
        assert_eq!(put(Some(other), settings("New")).await.status, StatusCode::PRECONDITION_FAILED, "{other}");
    }
    let mut read: Value = serde_json::from_str(&shown.body).unwrap();
    read["name"] = json!("New");
    let changed = put(Some(&tag), read).await;
    assert_eq!((changed.status, world.store.settings_fetch().await.unwrap().name.as_str()), (StatusCode::OK, "New"));
    let next = changed.header("etag").to_owned();
    assert_ne!(next, tag);
    assert_eq!(put(Some(&tag), settings("Late")).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(ask(&world, By::Viewer, &Method::GET, "/api/v1/settings", None).await.header("etag"), next);

    let mut bad = settings("");
    bad["tariff_per_kwh"] = json!("much");
    bad["unknown_gateways"] = json!("invited");
    bad["max_gateways"] = json!(1);
    let refused = put(Some(&next), bad).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = problem(&refused)["errors"].clone();
    let fields: Vec<&str> = errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "tariff_per_kwh", "unknown_gateways", "max_gateways"]);

    let mut fewer = settings("New");
    fewer["retention_days"] = json!(2);
    let refused = put(Some(&next), fewer.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(problem(&refused)["detail"].as_str().unwrap().contains("confirm_retention_days"), "{}", refused.body);
    assert_eq!(world.store.settings_fetch().await.unwrap().retention_days, None);
    fewer["confirm_retention_days"] = json!(2);
    assert_eq!(put(Some(&next), fewer).await.status, StatusCode::OK);
    assert_eq!(world.store.settings_fetch().await.unwrap().retention_days, Some(2));
}

#[tokio::test]
async fn what_is_written_is_checked_as_the_forms_of_the_panel_are() {
    let world = world().await;
    let post =
        async |path: &str, body: Value| ask(&world, By::Operator, &Method::POST, &format!("/api/v1{path}"), Some(&body)).await;
    let made = post("/locations", json!({ "name": " Roof ", "zone": "Europe/Madrid", "installed_kwp": 12.5 })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let location: Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!(
        (&location["name"], &location["installed_kwp"], &location["latitude_deg"]),
        (&json!("Roof"), &json!(12.5), &Value::Null)
    );
    assert_eq!(get(&world, By::Viewer, made.header("location")).await, location);
    let last = world.store.audit_list(1, 1000).await.unwrap().pop().unwrap();
    assert_eq!((last.action.as_str(), last.actor), ("location.save", format!("user:{}", id(5, 2))));
    assert!(last.detail.contains(&format!("\"token\":\"{}\"", id(9, 8))), "{}", last.detail);

    for (path, body, fields) in [
        ("/locations", json!({ "name": "", "zone": "Mars/Olympus" }), &["name", "zone"][..]),
        ("/locations", json!({ "name": "a", "zone": "UTC", "latitude_deg": 91, "longitude_deg": 0 }), &["latitude_deg"]),
        ("/locations", json!({ "name": "a", "zone": "UTC", "latitude_deg": 9 }), &["longitude_deg"]),
        ("/locations", json!({ "name": "a", "zone": "UTC", "installed_kwp": -1 }), &["installed_kwp"]),
        ("/gateways", json!({ "gateway": "..", "location": UNKNOWN, "key": "short" }), &["gateway", "location", "key"]),
        ("/gateways", json!({ "gateway": "gw-3", "location": LOCATION, "from": "2027-01-01T00:00:00Z" }), &["from"]),
        ("/gateways/gw-1/move", json!({ "location": UNKNOWN, "from": "now" }), &["location", "from"]),
        ("/customers", json!({ "name": "a\nb", "email": "nobody" }), &["name", "email"]),
        (
            &format!("/customers/{BENS}/commissions"),
            json!({ "gateway": "gw-3", "from": "2026-06-02T00:00:00Z", "until": "2026-06-01T00:00:00Z" }),
            &["gateway", "until"],
        ),
    ] {
        let answer = post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {body}: {}", answer.body);
        let errors = problem(&answer)["errors"].clone();
        let told: Vec<&str> = errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{path} {body}");
    }
    let taken =
        post(&format!("/customers/{BENS}/commissions"), json!({ "gateway": "gw-1", "from": "2026-06-11T00:00:00Z" })).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert!(problem(&taken)["detail"].as_str().unwrap().contains("Ana’s bakery owns this gateway"), "{}", taken.body);

    let made = post("/gateways", json!({ "gateway": "gw-3", "location": LOCATION, "label": "Roof" })).await;
    let told: Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!((made.status, told["key"].as_str().unwrap().len() > 20), (StatusCode::CREATED, true));
    let gateway = get(&world, By::Viewer, made.header("location")).await;
    assert_eq!((&gateway["name"], &gateway["state"]), (&json!("Roof"), &json!("commissioned")));
    let again = post("/gateways", json!({ "gateway": "gw-3", "location": LOCATION })).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(!again.body.contains("\"key\""));
}

#[tokio::test]
async fn what_a_location_is_expected_to_give_is_checked_as_its_form_is() {
    let world = world().await;
    let path = format!("/api/v1/locations/{LOCATION}/expected-yield");
    let put = async |body: Value| ask(&world, By::Operator, &Method::PUT, &path, Some(&body)).await;
    assert_eq!(get(&world, By::Viewer, &path).await, json!({ "kwh_by_month": null, "kwp": null }));
    for (body, field) in [
        (json!({ "kwh_by_month": [1.0, 2.0] }), "kwh_by_month"),
        (json!({ "kwh_by_month": vec![-1.0; 12] }), "kwh_by_month"),
        (json!({ "kwh_by_month": vec![3.0; 12], "kwp": 30 }), "kwp"),
    ] {
        let refused = put(body.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", refused.body);
        assert_eq!(problem(&refused)["errors"][0]["field"], field, "{body}");
    }
    let expected = json!({ "kwh_by_month": vec![3_000.5; 12], "kwp": 30.0 });
    assert_eq!(put(expected.clone()).await.status, StatusCode::OK);
    assert_eq!(get(&world, By::Viewer, &path).await, expected);
    for _ in 0..2 {
        assert_eq!(put(json!({ "kwh_by_month": null })).await.status, StatusCode::OK, "what is not there is taken away, too");
    }
    assert_eq!(world.store.target_list().await.unwrap(), []);
}

#[tokio::test]
async fn a_gateway_is_nowhere_before_it_was_moved_or_retired() {
    let world = world().await;
    let post =
        async |path: &str, body: Value| ask(&world, By::Operator, &Method::POST, &format!("/api/v1{path}"), Some(&body)).await;
    let words = "The gateway was somewhere else at that time already: choose a later one.";
    let moved = post("/gateways/gw-1/move", json!({ "location": LOCATION, "from": "2026-06-15T00:00:00Z" })).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.body);
    let early = post("/gateways/gw-1/move", json!({ "location": LOCATION, "from": "2026-06-14T00:00:00Z" })).await;
    assert_eq!((early.status, &problem(&early)["detail"]), (StatusCode::CONFLICT, &json!(words)));
    let form = [("location", LOCATION), ("from", "2026-06-14T00:00")];
    let page = world.post(Who::Operator, "/gateways/gw-1/move", &form).await;
    assert!(page.status == StatusCode::CONFLICT && page.body.contains(words), "{}", page.body);

    assert_eq!(post("/gateways/gw-1/retire", json!({})).await.status, StatusCode::OK);
    let new = |from: &str| json!({ "gateway": "gw-1", "location": LOCATION, "from": from });
    let early = post("/gateways", new("2026-06-16T00:00:00Z")).await;
    assert_eq!((early.status, &problem(&early)["detail"]), (StatusCode::CONFLICT, &json!(words)));
    assert_eq!(post("/gateways", new("2026-06-18T13:07:00Z")).await.status, StatusCode::CREATED);
}
