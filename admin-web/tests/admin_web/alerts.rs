//! Alerts in the panel: who sees what, what people do about them, and when nothing is
//! judged.

use axum::http::StatusCode;
use heliograph_domain::{
    Alert, AlertCause, AlertId, AlertKey, AlertKind, AlertSettings, AlertState, AlertSubject, LocationId, MaintenanceSubject,
    SensorId, Timestamp,
};
use heliograph_store::{AlertChange, AlertDeed};

use crate::world::{ALERT, LOCATION, VIEWER, WINDOW, Who, World, at, gateway, id};

async fn raise(world: &World, number: u128, key: AlertKey, cause: AlertCause, since: Timestamp) -> AlertId {
    let alert = Alert::raise(AlertId::new(id(9, number)), key, cause, since, world.now());
    let id = alert.id;
    world.store.alert_change(vec![AlertChange::Raise(Box::new(alert))], None, world.now()).await.unwrap();
    id
}

async fn state(world: &World) -> AlertState {
    world.store.alert_fetch(AlertId::parse(ALERT).unwrap()).await.unwrap().state()
}

#[tokio::test]
async fn open_alerts_come_first_the_worst_of_them_on_top_and_are_counted() {
    let world = World::new().await;
    let sensor = AlertSubject::Sensor(gateway("gw-1"), SensorId::parse("<i>meter</i>").unwrap());
    let key = AlertKey { kind: AlertKind::SensorFault, subject: sensor };
    let cause = AlertCause::SensorFault { last: at("2026-06-16T12:00:00Z"), name: "<i>meter</i>".to_owned() };
    raise(&world, 50, key, cause, at("2026-06-16T12:00:00Z")).await;
    let mass = AlertCause::MassSilence { silent: 5, of: 6 };
    let over = raise(&world, 51, AlertKey::provider(AlertKind::MassSilence), mass, at("2026-06-17T12:00:00Z")).await;
    world.store.alert_change(vec![AlertChange::End(over, world.now())], None, world.now()).await.unwrap();
    let page = world.get(Who::Viewer, "/alerts").await.body;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in:\n{page}"));
    assert!(place("gw-1 has been silent for 3 hours") < place("&#60;i&#62;meter&#60;/i&#62; behind gw-1 gives nothing"));
    assert!(place("gives nothing") < place("Resolved</h2>"));
    assert!(place("Resolved</h2>") < place("5 of 6 gateways fell silent together"));
    assert!(!page.contains("<i>meter"), "what devices say is text");
    assert!(page.contains("2<span class=\"unseen\"> open</span>"), "{page}");
    let start = world.get(Who::Owner, "/").await.body;
    assert!(start.contains("<a href=\"/alerts\">2 alerts are open</a>"), "{start}");
    for who in [Who::Customer, Who::OtherCustomer] {
        let start = world.get(who, "/").await.body;
        assert!(!start.contains("lerts"), "{start}");
    }
}

#[tokio::test]
async fn an_alert_says_what_is_behind_it_and_what_people_did() {
    let world = World::new().await;
    let path = format!("/alerts/{ALERT}");
    let page = world.get(Who::Viewer, &path).await.body;
    for expected in
        ["gw-1 has been silent for 3 hours", "18 Jun 2026, 12:07", "Haro winery", "/gateways/gw-1\"", "power and a connection"]
    {
        assert!(page.contains(expected), "{expected} in:\n{page}");
    }
    assert!(!page.contains("<form method=\"post\" action=\"/alerts"), "a viewer changes nothing");
    let post = |deed: &'static str, form: &'static [(&'static str, &'static str)]| {
        let (world, path) = (&world, format!("{path}/{deed}"));
        async move { world.post(Who::Operator, &path, form).await }
    };
    assert_eq!(post("acknowledge", &[]).await.location(), format!("{path}?done=acknowledged"));
    assert_eq!(state(&world).await, AlertState::Acknowledged);
    // Who was slower learns how it stands.
    assert_eq!(post("acknowledge", &[]).await.location(), format!("{path}?done=alert-stands"));
    let said = post("comment", &[("text", "on my <b>way</b>\r\nwith a ladder")]).await;
    assert_eq!(said.location(), format!("{path}?done=commented"));
    let page = world.get(Who::Viewer, &path).await.body;
    assert!(page.contains("Acknowledged by Otto"), "{page}");
    assert!(page.contains("<b>Otto</b><br>on my &#60;b&#62;way&#60;/b&#62;<br>with a ladder"), "{page}");
    assert_eq!(post("resolve", &[]).await.location(), format!("{path}?done=resolved"));
    assert_eq!(state(&world).await, AlertState::Resolved);
    let page = world.get(Who::Owner, &path).await.body;
    assert!(page.contains("Resolved by Otto") && page.contains("gw-1 was silent for 3 hours"), "{page}");
    assert!(!page.contains(&format!("{path}/resolve")), "there is nothing left to resolve");
    // Whoever has gone is not named, and the page still stands.
    let otto = world.store.user_list().await.unwrap().into_iter().find(|user| user.name == "Otto").unwrap();
    world.store.user_delete(otto.id).await.unwrap();
    let page = world.get(Who::Owner, &path).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("Resolved by somebody who is not here any more"), "{}", page.body);
}

#[tokio::test]
async fn a_comment_that_cannot_be_kept_is_shown_with_its_problem() {
    let world = World::new().await;
    let path = format!("/alerts/{ALERT}/comment");
    for (text, problem) in
        [(" ", "Text is needed."), ("a\u{202e}b", "Text contains a control character or one that is not seen.")]
    {
        let answer = world.post(Who::Owner, &path, &[("text", text)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.body.contains(&format!("id=\"text-problem\">{problem}")), "{}", answer.body);
        assert!(answer.body.contains("aria-invalid=\"true\" aria-describedby=\"text-problem\""));
    }
    let long = "x".repeat(1_001);
    let answer = world.post(Who::Owner, &path, &[("text", &long)]).await;
    assert!(answer.body.contains("longer than 1000 characters") && answer.body.contains(&long), "what was typed stays");
    let kept = world.store.alert_fetch(AlertId::parse(ALERT).unwrap()).await.unwrap().comments;
    assert!(kept.is_empty());
}

#[tokio::test]
async fn resolved_alerts_are_turned_page_by_page() {
    let world = World::new().await;
    for number in 100..160 {
        let cause = AlertCause::Quarantine { documents: number as usize };
        let of = raise(&world, number, AlertKey::provider(AlertKind::Quarantine), cause, world.now()).await;
        world.pass(1);
        let owner = heliograph_domain::UserId::parse(VIEWER).unwrap();
        world.store.alert_do(of, owner, AlertDeed::Resolve, world.now()).await.unwrap();
    }
    let first = world.get(Who::Owner, "/alerts").await.body;
    assert!(first.contains("159 documents") && !first.contains("109 documents") && first.contains("href=\"/alerts?page=2\""));
    let second = world.get(Who::Owner, "/alerts?page=2").await.body;
    assert!(second.contains("109 documents") && !second.contains("110 documents") && !second.contains("page=3"));
    assert_eq!(world.get(Who::Owner, "/alerts?page=3").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn maintenance_is_added_in_the_time_of_the_place_and_ended() {
    let world = World::new().await;
    let about = format!("location:{LOCATION}");
    // It is 15:07 in Madrid.
    let form = [("about", about.as_str()), ("from", "2026-06-18T15:00"), ("until", "2026-06-19T08:00"), ("reason", "new <roof>")];
    assert_eq!(world.post(Who::Operator, "/alerts/maintenance", &form).await.location(), "/alerts/maintenance?done=saved");
    let mut windows = world.store.maintenance_list().await.unwrap();
    windows.retain(|window| window.id.to_string() != WINDOW);
    let window = windows.remove(0);
    assert_eq!(window.subject, MaintenanceSubject::Location(LocationId::parse(LOCATION).unwrap()));
    assert_eq!((window.window.from, window.window.end()), (at("2026-06-18T13:00:00Z"), at("2026-06-19T06:00:00Z")));
    let page = world.get(Who::Viewer, "/alerts/maintenance").await.body;
    assert!(page.contains("new &#60;roof&#62;") && page.contains("18 Jun 2026, 15:00"), "{page}");
    assert!(!page.contains("<form method=\"post\" action=\"/alerts"), "a viewer changes nothing");
    let path = format!("/alerts/maintenance/{}/end", window.id);
    assert_eq!(world.post(Who::Operator, &path, &[]).await.location(), "/alerts/maintenance?done=work-ended");
    let ended = world.store.maintenance_list().await.unwrap().into_iter().find(|other| other.id == window.id).unwrap();
    assert_eq!(ended.window.end(), world.now());
}

#[tokio::test]
async fn a_window_that_makes_no_sense_is_refused_at_its_fields() {
    let world = World::new().await;
    let good = [("about", "gateway:gw-1"), ("from", "2026-06-18T15:00"), ("until", "2026-06-19T08:00"), ("reason", "x")];
    let before = world.store.maintenance_list().await.unwrap();
    for (field, value, problem) in [
        ("about", "", "Choose a gateway or a location."),
        ("about", "gateway:gw-9", "Choose a gateway or a location."),
        ("about", "location:x", "Choose a gateway or a location."),
        ("from", "soon", "Is not a date and time such as 2026-11-20T08:00."),
        ("from", "2026-01-01T00:00", "That is more than 30 days ago."),
        ("until", "2026-06-18T14:00", "The end comes after the beginning."),
        ("until", "2026-06-18T15:03", "That is over already."),
        ("until", "2026-12-01T00:00", "A window lasts 90 days at most."),
        ("reason", " ", "Text is needed."),
    ] {
        let form = good.map(|(name, typed)| (name, if name == field { value } else { typed }));
        let answer = world.post(Who::Owner, "/alerts/maintenance", &form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}</p>");
        assert!(answer.body.contains(&at), "{at} in:\n{}", answer.body);
    }
    assert_eq!(world.store.maintenance_list().await.unwrap(), before);
    let asked = world.get(Who::Owner, "/alerts/maintenance?about=gateway:gw-2").await.body;
    assert!(asked.contains("<option value=\"gateway:gw-2\" selected>"), "{asked}");
}

#[tokio::test]
async fn what_raises_alerts_is_set_together_or_not_at_all() {
    let world = World::new().await;
    let before = world.store.settings_fetch().await.unwrap();
    for minutes in ["", "14", "10081", "1e3"] {
        let answer = world.post(Who::Owner, "/alerts/settings", &[("minutes", minutes), ("silent", "on")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{minutes}");
        assert!(answer.body.contains("id=\"minutes-problem\">Must be a whole number from 15 to 10080."), "{}", answer.body);
        assert!(
            answer.body.contains("name=\"silent\" value=\"on\" checked")
                && !answer.body.contains("name=\"mail\" value=\"on\" checked")
        );
    }
    assert_eq!(world.store.settings_fetch().await.unwrap(), before);
    let all: Vec<(&str, &str)> = AlertKind::ALL.iter().map(|kind| (kind.as_str(), "on")).collect();
    let but_one = [&all[1..], &[("minutes", "90")]].concat();
    assert_eq!(world.post(Who::Operator, "/alerts/settings", &but_one).await.location(), "/alerts/settings?done=saved");
    let saved = world.store.settings_fetch().await.unwrap();
    let alerts = AlertSettings { mail: false, off: vec![AlertKind::ALL[0]], silent_minutes: 90 };
    assert_eq!(saved, heliograph_domain::ProviderSettings { alerts: alerts.clone(), ..before }, "all else stays as it was");
    // The form of all other settings leaves them alone.
    let page = world.get(Who::Viewer, "/alerts/settings").await.body;
    assert!(page.contains("<fieldset class=\"unboxed\" disabled>") && page.contains("value=\"90\""), "{page}");
    let other = [
        ("name", "Dawn"),
        ("colour", "#AA2200"),
        ("zone", "Europe/London"),
        ("currency", "gbp"),
        ("tariff", "0,125"),
        ("co2", "0.2"),
        ("unknown", "adopted"),
        ("ahead", "2"),
        ("retention", ""),
    ];
    world.post(Who::Operator, "/settings", &other).await;
    assert_eq!(world.store.settings_fetch().await.unwrap().alerts, alerts);
}

#[tokio::test]
async fn the_page_says_when_nothing_is_taken_in() {
    let world = World::new().await;
    assert!(!world.get(Who::Owner, "/alerts").await.body.contains("Nothing has been taken in"));
    world.store.intake_note(world.now().plus_millis(-7_200_000)).await.unwrap();
    let page = world.get(Who::Owner, "/alerts").await.body;
    assert!(page.contains("Nothing has been taken in and stored since 2 h ago"), "{page}");
    world.store.intake_note(world.now()).await.unwrap();
    assert!(!world.get(Who::Owner, "/alerts").await.body.contains("Nothing has been taken in"));
}

#[tokio::test]
async fn a_count_that_fails_costs_no_page() {
    let world = World::new().await;
    assert_eq!(world.get(Who::Owner, "/alerts/settings").await.status, StatusCode::OK);
    let database = rusqlite::Connection::open(world.folder.path().join("sunrise.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(database.execute("UPDATE record SET body = '{}' WHERE kind = 'alert'", []).unwrap(), 1);
    assert_eq!(world.get(Who::Owner, "/alerts").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let page = world.get(Who::Owner, "/alerts/settings").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.body.contains(" open</span>"), "{}", page.body);
}
