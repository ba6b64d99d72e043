//! Every route, asked by everybody.

pub(crate) mod table;

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use heliograph_admin_web::visits;
use heliograph_domain::LocationId;

use self::table::in_the_field;
use crate::world::{ALERT, ANAS, LOCATION, UNKNOWN, VIEWER, Who, World, digest, id, request};

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum E {
    /// The page.
    Ok,
    /// Done, and led to a page that is not the sign-in.
    Done,
    /// Led to the sign-in.
    In,
    /// A form with problems at its fields, or that came too late.
    Form,
    /// The role does not reach so far.
    No,
    /// No such thing.
    None,
}

use E::{Done, Form, In, No, None as Nothing, Ok as Page};

#[test]
fn every_route_stands_in_the_table() {
    let rows = table::rows();
    let covered: HashSet<(Method, &str)> = rows.iter().map(|(method, pattern, ..)| (method.clone(), *pattern)).collect();
    let served: HashSet<(Method, &str)> = visits().into_iter().map(|visit| (visit.method, visit.path)).collect();
    let missing: Vec<_> = served.difference(&covered).collect();
    assert!(missing.is_empty(), "who may use these? add them to the table: {missing:?}");
    let gone: Vec<_> = covered.difference(&served).collect();
    assert!(gone.is_empty(), "these are not served: {gone:?}");
}

#[tokio::test]
async fn everybody_gets_what_is_theirs_and_nothing_else() {
    let world = World::new().await;
    let expires = world.now().plus_millis(3_600_000);
    let viewer = heliograph_domain::UserId::new(id(5, 3));
    world.store.login_link_create(digest("a-link"), viewer, expires).await.unwrap();
    world.let_installer_in(&[LocationId::parse(LOCATION).unwrap()], expires).await;
    let past = world.into_past().await;
    let mut wrong = Vec::new();
    for (method, pattern, path, form, row) in table::rows() {
        let installer = (Who::Installer, in_the_field(pattern, &path, &row));
        for (who, expected) in Who::ALL.into_iter().zip(row).chain([installer]) {
            // What changes something is asked in a world of its own.
            let world = World::after(past.path());
            let answer = if method == Method::GET { world.get(who, &path).await } else { world.post(who, &path, form).await };
            let got = judge(answer.status, answer.location());
            if got != Some(expected) {
                wrong.push(format!(
                    "{method} {path} by {who:?}: {} {:?}, expected {expected:?}",
                    answer.status,
                    answer.location()
                ));
            }
            world.store.close().await;
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn judge(status: StatusCode, location: &str) -> Option<E> {
    match status {
        StatusCode::OK => Some(Page),
        StatusCode::SEE_OTHER if location.starts_with("/login") => Some(In),
        StatusCode::SEE_OTHER => Some(Done),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => Some(Form),
        StatusCode::FORBIDDEN => Some(No),
        StatusCode::NOT_FOUND => Some(Nothing),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_not_served_is_refused_on_every_path() {
    let world = World::new().await;
    let served: HashSet<(Method, &str)> = visits().into_iter().map(|visit| (visit.method, visit.path)).collect();
    let paths: HashSet<&str> = served.iter().map(|(_, path)| *path).collect();
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            if served.contains(&(method.clone(), path)) {
                continue;
            }
            let asked = path.replace(['{', '}'], "x");
            let answer = world.send(request(method.clone(), &asked, Who::Owner).body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_another_site_sends_is_refused_on_every_route() {
    let world = World::new().await;
    for visit in visits().into_iter().filter(|visit| visit.method == Method::POST) {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let path = visit.path.replace(['{', '}'], "x");
            let request = request(Method::POST, &path, Who::Owner)
                .header(name, value)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let answer = world.send(request.body(Body::from("name=x")).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} with {name}: {value}");
        }
    }
    let own = request(Method::POST, "/logout", Who::Owner).header("origin", "http://panel.example");
    assert_eq!(world.send(own.body(Body::empty()).unwrap()).await.location(), "/login");
}

#[tokio::test]
async fn to_a_customer_what_is_hidden_looks_like_what_is_not_there() {
    let world = World::new().await;
    let nowhere = world.get(Who::Customer, "/no/such/page").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    for path in [
        "/gateways/gw-2",
        "/gateways/gw-2/report.csv",
        "/gateways/gw-2/report.xlsx",
        "/gateways/gw-2/report.json?period=month",
        &format!("/locations/{LOCATION}/report.csv"),
        &format!("/locations/{LOCATION}/report.json"),
        "/gateways/gw-2?period=nonsense",
        "/gateways/gw-9",
        "/gateways/gw-1/manage",
        "/settings",
        "/waiting",
        "/alerts",
        &format!("/alerts/{ALERT}"),
        "/alerts/maintenance",
        "/people",
        "/audit",
        "/gateways/gw-1/corrections",
        "/gateways/gw-1/replace",
        &format!("/locations/{LOCATION}/manage"),
        &format!("/locations/{LOCATION}"),
        &format!("/customers/{ANAS}"),
        &format!("/customers/{UNKNOWN}"),
    ] {
        let hidden = world.get(Who::Customer, path).await;
        assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &nowhere.body), "{path}");
    }
    for path in ["/gateways/gw-2/rename", "/gateways/gw-9/rename", "/settings", &format!("/people/{VIEWER}/remove")] {
        let hidden = world.post(Who::Customer, path, &[]).await;
        assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &nowhere.body), "{path}");
    }
}
