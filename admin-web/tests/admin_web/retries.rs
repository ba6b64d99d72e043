//! Documents of the quarantine, tried again from the panel.

use axum::http::StatusCode;
use heliograph_admin_web::{Changed, PanelSettings, Replay, Tried, Try};
use heliograph_domain::RefusalCode;

use crate::world::{REFUSED, Who, World, at};

/// A world in which trying an entry again comes to this.
async fn world(tried: Tried) -> World {
    let replay = Replay::new(move |_, _, how| {
        let mut tried = tried.clone();
        if how == Try::ForGood {
            tried.refusals.clear();
        }
        Box::pin(async move { Ok(Some(tried)) })
    });
    World::with_settings(PanelSettings { replay: Some(replay), ..PanelSettings::default() }).await
}

fn path() -> String {
    format!("/quarantine/{REFUSED}")
}

#[tokio::test]
async fn what_would_change_is_said_before_it_is_done() {
    let changed = |stays| Changed {
        time: at("2026-06-18T10:00:00Z"),
        series: "<b>inverter</b> power".to_owned(),
        unit: "W".to_owned(),
        stored: 5.0,
        value: 7.5,
        stays,
    };
    let tried = Tried {
        gateway: Some("gw-1".to_owned()),
        new: 3,
        repeated: 2,
        changes: vec![changed(false), changed(true)],
        refusals: vec!["line 4: bad-value: value is <empty>".to_owned()],
        ..Tried::default()
    };
    let world = world(tried).await;
    let page = world.get(Who::Operator, &path()).await.body;
    assert!(page.contains("value=\"preview\"") && !page.contains("value=\"retry\""), "nothing is done unseen: {page}");
    let page = world.post(Who::Operator, &path(), &[("action", "preview")]).await;
    assert_eq!(page.status, StatusCode::OK);
    let said = [
        "What would become of it",
        "3 new, 2 stored already, 1 in place of another value, 1 older than what is stored, 1 refused",
        "18 Jun 2026, 12:00",
        ">5 W<",
        ">7.5 W<",
        "what is stored stays",
        "value=\"retry\"",
    ];
    for text in said {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("<b>inverter") && !page.body.contains("<empty>"));
    let audited =
        async || world.store.audit_list(1, 100).await.unwrap().iter().filter(|row| row.action == "quarantine.retry").count();
    assert_eq!(audited().await, 0);
    let done = world.post(Who::Operator, &path(), &[("action", "retry")]).await;
    assert_eq!(done.location(), "/quarantine?done=replayed");
    assert_eq!(audited().await, 1);
    assert!(world.get(Who::Operator, "/quarantine?done=replayed").await.body.contains("has left the quarantine"));
}

#[tokio::test]
async fn what_stays_says_why_and_who_may_only_look_cannot_try() {
    let reason = "no key came with it for gateway gw-1".to_owned();
    let world = world(Tried { stays: Some((RefusalCode::BadKey, reason)), ..Tried::default() }).await;
    for action in ["preview", "retry"] {
        let page = world.post(Who::Owner, &path(), &[("action", action)]).await;
        assert_eq!(page.status, StatusCode::OK, "{action}");
        assert!(page.body.contains("It stays in the quarantine: no key came with it for gateway gw-1"), "{}", page.body);
        assert!(!page.body.contains("value=\"retry\""), "{action}");
    }
    assert!(!world.get(Who::Viewer, &path()).await.body.contains("Try again"));
}
