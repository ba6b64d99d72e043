//! Forms: problems at their fields, what was typed kept, nothing half done.

use axum::http::StatusCode;
use heliograph_domain::{GatewayState, SensorRole, UnknownGateways, UserRole};

use crate::world::{ANAS, BENS, LOCATION, NEW_KEY, Who, World, gateway, id};

/// That a refused form shows a problem at a field, which keeps its value.
fn assert_problem(body: &str, field: &str, problem: &str) {
    let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}</p>");
    assert!(body.contains(&at), "{at} in:\n{body}");
}

#[tokio::test]
async fn settings_are_saved_together_or_not_at_all() {
    let world = World::new().await;
    let before = world.store.settings_fetch().await.unwrap();
    let bad = [
        ("name", " "),
        ("colour", "red;}"),
        ("zone", "Mars/Olympus"),
        ("currency", "EURO"),
        ("tariff", "-1"),
        ("import", "0.31\n0.24 at night"),
        ("feed_in", "<b>"),
        ("co2", "much"),
        ("unknown", "maybe"),
        ("ahead", "1e9"),
        ("retention", "0"),
    ];
    let answer = world.post(Who::Owner, "/settings", &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "name", "The name is needed.");
    assert_problem(&answer.body, "colour", "Colour &#34;red;}&#34; is not of the form #1a6f5c.");
    assert_problem(&answer.body, "zone", "Time zone &#34;Mars/Olympus&#34; is not an IANA zone such as Europe/Madrid.");
    assert_problem(&answer.body, "currency", "Currency &#34;EURO&#34; is not three capital letters such as EUR.");
    assert_problem(&answer.body, "tariff", "Must lie between 0 and 1000, with at most 9 decimals.");
    assert_problem(
        &answer.body,
        "import",
        "Line 2 has &#34;at&#34;, which is none of: from, to, months, days, hours such as 08:00-20:00.",
    );
    assert_problem(&answer.body, "feed_in", "Line 1 begins with no price such as 0.31.");
    assert!(answer.body.contains("0.24 at night</textarea>") && answer.body.contains("&#60;b&#62;</textarea>"));
    assert_problem(&answer.body, "co2", "Line 1 begins with no factor such as 0.38.");
    assert_problem(&answer.body, "unknown", "Choose one of the two.");
    assert_problem(&answer.body, "ahead", "Must be a whole number from 0 to 8784.");
    assert_problem(&answer.body, "retention", "Must be a whole number from 1 to 36525.");
    assert!(answer.body.contains("value=\"Mars/Olympus\""), "what was typed stays");
    assert!(answer.body.contains("aria-invalid=\"true\" aria-describedby=\"zone-problem zone-hint\""));
    assert_eq!(world.store.settings_fetch().await.unwrap(), before);

    let good = [
        ("name", "Dawn"),
        ("colour", "#AA2200"),
        ("zone", "Europe/London"),
        ("currency", "gbp"),
        ("tariff", "0,125"),
        ("import", "0.31\r\n0,24 22:00-6:00\r\n"),
        ("feed_in", ""),
        ("co2", "0.2\r\n0,18 from 2027-01-01\r\n"),
        ("unknown", "adopted"),
        ("ahead", "2"),
        ("retention", ""),
        ("seen", &world.shown("/settings").await),
    ];
    assert_eq!(world.post(Who::Operator, "/settings", &good).await.location(), "/settings?done=saved");
    let operator = world.store.user_list().await.unwrap().into_iter().find(|user| user.role == UserRole::Operator).unwrap();
    let entry = world.store.audit_list(1, 1000).await.unwrap().pop().unwrap();
    assert_eq!((entry.action.as_str(), entry.actor), ("settings.save", format!("user:{}", operator.id)));
    let saved = world.store.settings_fetch().await.unwrap();
    assert_eq!((saved.name.as_str(), saved.colour.as_str(), saved.currency.as_str()), ("Dawn", "#aa2200", "GBP"));
    assert_eq!((saved.tariff_per_kwh.to_string().as_str(), saved.retention_days), ("0.125", None));
    assert_eq!(saved.import_tariff.to_string(), "0.31\n0.24 22:00-06:00");
    assert!(saved.feed_in_tariff.is_empty());
    assert_eq!(saved.co2().to_string(), "0.2\n0.18 from 2027-01-01");
    assert_eq!(saved.unknown_gateways, UnknownGateways::Adopted);
    let page = world.get(Who::Owner, "/settings?done=saved").await;
    assert!(page.body.contains("<p class=\"notice\" role=\"status\">Saved.</p>"));
    assert!(world.get(Who::Nobody, "/assets/theme.css").await.body.contains("--brand:#aa2200"));
    assert!(world.get(Who::Nobody, "/login").await.body.contains("Dawn"));
}

#[tokio::test]
async fn settings_that_somebody_else_has_saved_meanwhile_are_shown_and_not_undone() {
    let world = World::new().await;
    let seen = world.shown("/settings").await;
    let form = |name: &'static str, seen: &str| {
        let fixed = [
            ("name", name),
            ("colour", "#aa2200"),
            ("zone", "Europe/London"),
            ("currency", "EUR"),
            ("tariff", "0.1"),
            ("co2", "0.2"),
            ("unknown", "refused"),
            ("ahead", "2"),
            ("retention", ""),
        ];
        let all = fixed.into_iter().map(|(field, value)| (field, value.to_owned())).chain([("seen", seen.to_owned())]);
        all.collect::<Vec<_>>()
    };
    let post = async |form: Vec<(&'static str, String)>| {
        let form: Vec<(&str, &str)> = form.iter().map(|(field, value)| (*field, value.as_str())).collect();
        world.post(Who::Operator, "/settings", &form).await
    };
    assert_eq!(post(form("First", &seen)).await.location(), "/settings?done=saved");
    for stale in [seen.as_str(), "", "0"] {
        let late = post(form("Second", stale)).await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        assert!(late.body.contains("Somebody else has changed the settings meanwhile"), "{}", late.body);
        assert!(late.body.contains("value=\"First\"") && !late.body.contains("Second"), "as they are now");
        assert!(late.body.contains(&world.shown("/settings").await), "and may be changed from there");
        assert_eq!(world.store.settings_fetch().await.unwrap().name, "First");
    }
    assert_eq!(post(form("Second", &world.shown("/settings").await)).await.location(), "/settings?done=saved");
}

#[tokio::test]
async fn a_viewer_reads_settings_in_fields_that_cannot_be_changed() {
    let world = World::new().await;
    let page = world.get(Who::Viewer, "/settings").await;
    assert!(page.body.contains("<fieldset class=\"unboxed\" disabled>"));
    assert!(!page.body.contains("Save settings"));
    let manage = world.get(Who::Viewer, "/gateways/gw-1/manage").await;
    for offer in ["Retire", "Revoke", "Make another key", "Save label", "Move gateway"] {
        assert!(!manage.body.contains(offer), "{offer}");
    }
}

#[tokio::test]
async fn a_location_needs_a_name_a_zone_and_a_whole_position() {
    let world = World::new().await;
    let form = [("name", "Barn"), ("zone", "Nowhere"), ("latitude", "91"), ("longitude", ""), ("kwp", "a lot")];
    let answer = world.post(Who::Owner, "/locations/new", &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "latitude", "The latitude must lie between -90 and 90.");
    assert_problem(&answer.body, "kwp", "The installed power is not a number.");
    assert!(answer.body.contains("value=\"Barn\"") && answer.body.contains("value=\"a lot\""));
    let half = [("name", "Barn"), ("zone", "UTC"), ("latitude", "42.5"), ("longitude", "")];
    assert_problem(&world.post(Who::Owner, "/locations/new", &half).await.body, "longitude", "A position needs both.");
    assert_eq!(world.store.location_list().await.unwrap().len(), 1);

    let whole = [("name", "Barn"), ("zone", "Europe/London"), ("latitude", "51,75"), ("longitude", "-1.26"), ("kwp", "12.5")];
    let answer = world.post(Who::Owner, "/locations/new", &whole).await;
    assert_eq!(world.get(Who::Owner, answer.location()).await.status, StatusCode::OK);
    let locations = world.store.location_list().await.unwrap();
    let barn = locations.iter().find(|location| location.name == "Barn").unwrap();
    assert_eq!((barn.position.unwrap().longitude(), barn.installed_kwp), (-1.26, Some(12.5)));
    let edited = world.post(Who::Owner, &format!("/locations/{}/edit", barn.id), &[("name", "Barn 2"), ("zone", "UTC")]).await;
    assert_eq!(edited.status, StatusCode::SEE_OTHER);
    assert_eq!(world.store.location_fetch(barn.id).await.unwrap().name, "Barn 2");
}

#[tokio::test]
async fn commissioning_names_what_is_missing() {
    let world = World::new().await;
    let form = [("gateway", ""), ("label", "Roof\u{202e}"), ("location", "elsewhere"), ("from", "soon"), ("credential", NEW_KEY)];
    let answer = world.post(Who::Owner, "/waiting/commission", &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "gateway", "Gateway id is empty.");
    assert_problem(&answer.body, "label", "The label has a character that cannot be shown.");
    assert_problem(&answer.body, "location", "Choose where it stands.");
    assert!(answer.body.contains("value=\"soon\""));
    let form = [("gateway", "gw-3"), ("location", LOCATION), ("from", "2026-06-19T08:00"), ("credential", NEW_KEY)];
    let answer = world.post(Who::Owner, "/waiting/commission", &form).await;
    assert_problem(&answer.body, "from", "Must not lie in the future.");
    let state = world.store.gateway_fetch(&gateway("gw-3")).await.unwrap().state;
    assert_eq!(state, GatewayState::Waiting);
}

#[tokio::test]
async fn two_customers_never_own_a_gateway_at_once() {
    let world = World::new().await;
    let path = format!("/customers/{BENS}/commissions");
    let form = [("gateway", "gw-1"), ("from", "2026-06-15T00:00"), ("until", "2026-06-20T00:00")];
    let answer = world.post(Who::Owner, &path, &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "gateway", "Ana’s bakery owns this gateway in part of that time.");
    assert!(answer.body.contains("value=\"2026-06-15T00:00\""));
    let form = [("gateway", "gw-1"), ("from", "2026-06-15T00:00"), ("until", "2026-06-14T00:00")];
    assert_problem(&world.post(Who::Owner, &path, &form).await.body, "until", "It must end after it begins.");
    let form = [("gateway", "gw-3"), ("from", "2026-06-15T00:00")];
    assert_problem(&world.post(Who::Owner, &path, &form).await.body, "gateway", "Choose a gateway.");
    assert_eq!(world.store.commission_list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn sensors_are_edited_one_by_one() {
    let world = World::new().await;
    let bad = [("sensor", "inverter-1"), ("label", "Roof"), ("role", "engine"), ("rated_w", "many")];
    let answer = world.post(Who::Owner, "/gateways/gw-1/sensor", &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "sensor-role", "Choose a role.");
    assert_problem(&answer.body, "sensor-rated", "The rated power is not a number.");
    assert!(answer.body.contains("value=\"many\""));
    let good = [("sensor", "inverter-1"), ("label", "Roof"), ("role", "production"), ("rated_w", "12000")];
    let answer = world.post(Who::Owner, "/gateways/gw-1/sensor", &good).await;
    assert_eq!(answer.location(), "/gateways/gw-1/manage?done=saved");
    let sensor = world.store.sensor_list(&gateway("gw-1")).await.unwrap().remove(0);
    assert_eq!((sensor.name(), sensor.role, sensor.rated_w), ("Roof", SensorRole::Production, Some(12000.0)));
}

#[tokio::test]
async fn a_gateway_is_moved_to_another_place_from_a_local_time_on() {
    let world = World::new().await;
    let form = [("name", "Barn"), ("zone", "Europe/London")];
    let barn = world.post(Who::Owner, "/locations/new", &form).await.location().trim_start_matches("/locations/").to_owned();
    let form = [("location", barn.as_str()), ("from", "2026-06-18T09:00")];
    let answer = world.post(Who::Owner, "/gateways/gw-1/move", &form).await;
    assert_eq!(answer.location(), "/gateways/gw-1/manage?done=moved");
    let placements = world.store.placement_list().await.unwrap();
    let last = placements.iter().rfind(|placement| placement.gateway == gateway("gw-1")).unwrap();
    assert_eq!((last.location.to_string(), last.window.from.to_string()), (barn, "2026-06-18T08:00:00Z".to_owned()));
    let waiting = world.post(Who::Owner, "/gateways/gw-3/move", &[("location", LOCATION)]).await;
    assert_eq!(waiting.status, StatusCode::CONFLICT);
    assert!(waiting.body.contains("Only a commissioned gateway has a place."));
}

#[tokio::test]
async fn people_of_a_customer_are_invited_by_the_owner() {
    let world = World::new().await;
    let path = format!("/customers/{ANAS}/people");
    let bad = world.post(Who::Owner, &path, &[("person", ""), ("address", "ana@example.com, ben@example.com")]).await;
    assert_problem(&bad.body, "person", "The name is needed.");
    assert!(bad.body.contains("id=\"address-problem\">Mail address "));
    let taken = world.post(Who::Owner, &path, &[("person", "Nia"), ("address", "mara@example.com")]).await;
    assert_problem(&taken.body, "address", "Somebody signs in with this address already.");
    let good = world.post(Who::Owner, &path, &[("person", "Nia"), ("address", "nia@example.com")]).await;
    assert!(good.body.contains("/welcome/"));
    let users = world.store.user_list().await.unwrap();
    let nia = users.iter().find(|user| user.email.as_str() == "nia@example.com").unwrap();
    assert_eq!(nia.customer.unwrap().to_string(), ANAS);
}

#[tokio::test]
async fn a_shorter_retention_is_confirmed_with_what_it_deletes() {
    let world = World::new().await;
    fn form<'a>(confirmed: &'a str, seen: &'a str) -> [(&'static str, &'a str); 11] {
        [
            ("name", "Dawn"),
            ("colour", "#aa2200"),
            ("zone", "Europe/London"),
            ("currency", "EUR"),
            ("tariff", "0.1"),
            ("co2", "0.2"),
            ("unknown", "refused"),
            ("ahead", "2"),
            ("retention", "1"),
            ("confirmed", confirmed),
            ("seen", seen),
        ]
    }
    let seen = world.shown("/settings").await;
    for unconfirmed in ["", "2", "yes"] {
        let page = world.post(Who::Owner, "/settings", &form(unconfirmed, &seen)).await;
        assert_eq!(page.status, StatusCode::OK, "{unconfirmed}");
        assert!(page.body.contains("Delete old readings?") && page.body.contains("gw-1"), "{}", page.body);
        assert!(page.body.contains("name=\"confirmed\" value=\"1\"") && page.body.contains("name=\"name\" value=\"Dawn\""));
        assert!(page.body.contains(&format!("name=\"seen\" value=\"{seen}\"")), "{}", page.body);
        assert_eq!(world.store.settings_fetch().await.unwrap().retention_days, None, "nothing is saved yet");
    }
    assert_eq!(world.post(Who::Owner, "/settings", &form("1", &seen)).await.location(), "/settings?done=saved");
    assert_eq!(world.store.settings_fetch().await.unwrap().retention_days, Some(1));
    // Once that is saved, other settings are saved without a question.
    assert_eq!(
        world.post(Who::Owner, "/settings", &form("", &world.shown("/settings").await)).await.location(),
        "/settings?done=saved"
    );
}

#[tokio::test]
async fn somebodys_role_changes_at_once_and_ones_own_never() {
    let world = World::new().await;
    let (vera, mara) = (format!("/people/{}/edit", id(5, 3)), format!("/people/{}/edit", id(5, 1)));
    let page = world.get(Who::Owner, &vera).await;
    assert!(page.body.contains("value=\"viewer\" checked") && page.body.contains("value=\"Vera\""), "{}", page.body);
    let shown = world.shown(&vera).await;
    let seen = ("seen", shown.as_str());
    let refused = world.post(Who::Owner, &vera, &[("name", " "), ("role", "customer"), ("customer", "none"), seen]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&refused.body, "name", "The name is needed.");
    assert_problem(&refused.body, "customer", "Choose whose gateways they see.");
    assert!(refused.body.contains("value=\"customer\" checked"), "what was chosen stays");

    assert_eq!(world.get(Who::Viewer, "/settings").await.status, StatusCode::OK);
    let done = world.post(Who::Owner, &vera, &[("name", "Vera"), ("role", "customer"), ("customer", ANAS), seen]).await;
    assert_eq!(done.location(), "/people?done=saved");
    // Whoever has the page of before open does not bring back what she might do then.
    let stale = world.post(Who::Owner, &vera, &[("name", "Vera V."), ("role", "viewer"), ("customer", ""), seen]).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert_problem(&stale.body, "role", "Somebody has changed what this person may do since this page was shown. Look again.");
    assert!(stale.body.contains("value=\"customer\" checked") && stale.body.contains("value=\"Vera V.\""), "{}", stale.body);
    assert_eq!(world.get(Who::Viewer, "/settings").await.status, StatusCode::NOT_FOUND, "from the next click on");
    assert_eq!(world.get(Who::Viewer, "/gateways/gw-1").await.status, StatusCode::OK);
    assert_eq!(world.get(Who::Viewer, "/gateways/gw-2").await.status, StatusCode::NOT_FOUND);

    let page = world.get(Who::Owner, &mara).await;
    assert!(!page.body.contains("type=\"radio\""), "{}", page.body);
    let done = world.post(Who::Owner, &mara, &[("name", "Mara M."), ("role", "viewer")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let users = world.store.user_list().await.unwrap();
    let mara = users.iter().find(|user| user.email.as_str() == Who::Owner.email()).unwrap();
    assert_eq!((mara.name.as_str(), mara.role), ("Mara M.", UserRole::Owner));
}
