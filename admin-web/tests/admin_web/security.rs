//! What goes out with every answer, and what errors say.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use heliograph_admin_web::PanelSettings;

use crate::world::{MAIL, Who, World, request};

/// All headers but those that differ each time.
fn stable(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id" && *name != "content-length")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.join("\n")
}

const PAGE: &str = "\
cache-control: no-store
content-security-policy: default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'
content-type: text/html; charset=utf-8
cross-origin-opener-policy: same-origin
cross-origin-resource-policy: same-origin
permissions-policy: camera=(), geolocation=(), microphone=(), payment=(), usb=()
referrer-policy: same-origin
vary: accept-encoding
x-content-type-options: nosniff";

#[tokio::test]
async fn pages_and_errors_carry_the_same_protection() {
    let world = World::new().await;
    for (who, method, path, status) in [
        (Who::Owner, Method::GET, "/", StatusCode::OK),
        (Who::Nobody, Method::GET, "/login", StatusCode::OK),
        (Who::Customer, Method::GET, "/gateways/gw-2", StatusCode::NOT_FOUND),
        (Who::Nobody, Method::GET, "/no/such/page", StatusCode::NOT_FOUND),
        (Who::Viewer, Method::GET, "/people", StatusCode::FORBIDDEN),
        (Who::Owner, Method::GET, "/gateways/gw-1?period=fortnight", StatusCode::BAD_REQUEST),
        (Who::Owner, Method::GET, "/gateways/gw-1?period=day&period=week", StatusCode::BAD_REQUEST),
        (Who::Owner, Method::POST, "/settings", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let answer = world.send(request(method.clone(), path, who).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(stable(&answer.headers), PAGE, "{method} {path}");
        assert_eq!(answer.header("x-request-id").len(), 36);
    }
    let answer = world.send(request(Method::DELETE, "/", Who::Owner).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stable(&answer.headers), format!("allow: GET,HEAD\n{PAGE}"));
}

#[tokio::test]
async fn a_failing_store_shows_nothing_of_itself() {
    let world = World::new().await;
    world.store.close().await;
    let answer = world.get(Who::Owner, "/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stable(&answer.headers), PAGE);
    assert!(answer.body.contains("cannot be reached at the moment"));
    assert!(answer.body.contains(answer.header("x-request-id")), "the page names the request");
    for inside in ["sqlite", "SQLite", "closed", ".db", "heliograph_", "src/"] {
        assert!(!answer.body.contains(inside), "{inside} in {}", answer.body);
    }
}

#[tokio::test]
async fn a_request_has_an_id_of_ours_whatever_the_client_calls_it() {
    let world = World::new().await;
    let mine = "5e1f0000-0000-4000-8000-000000000000";
    let request = request(Method::GET, "/login", Who::Nobody).header("x-request-id", mine);
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_ne!(answer.header("x-request-id"), mine);
    assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok(), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let settings = PanelSettings { request_timeout: Duration::ZERO, ..PanelSettings::default() };
    let world = World::with_settings(settings).await;
    let answer = world.get(Who::Owner, "/").await;
    assert_eq!((answer.status, stable(&answer.headers).as_str()), (StatusCode::SERVICE_UNAVAILABLE, PAGE));
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let world = World::new().await;
    let long = "x".repeat(70 * 1024);
    let answer = world.post(Who::Owner, "/locations/new", &[("name", &long), ("zone", "UTC")]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.contains("up to 64 KiB"));
    assert_eq!(world.store.location_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn downloads_and_previews_have_policies_of_their_own() {
    let world = World::new().await;
    let csv = world.get(Who::Owner, "/gateways/gw-1/report.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"gw-1_2026-06-18_2026-06-18.csv\"");
    assert_eq!(csv.header("x-content-type-options"), "nosniff");
    let preview = world.get(Who::Owner, &format!("/mails/{MAIL}/preview")).await;
    let policy = preview.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox;") && policy.contains("frame-ancestors 'self'"));
    assert!(!policy.contains("script-src"), "{policy}");
    assert_eq!(preview.body, "<p style=\"color:red\">12 kWh</p>");
}

#[tokio::test]
async fn assets_are_kept_as_long_as_their_version_is_the_current_one() {
    let world = World::new().await;
    let page = world.get(Who::Nobody, "/login").await;
    for asset in ["/assets/panel.css", "/assets/theme.css", "/assets/icon.svg"] {
        let start = page.body.find(&format!("{asset}?v=")).unwrap();
        let path: String = page.body[start..].chars().take_while(|c| *c != '"').collect();
        let current = world.get(Who::Nobody, &path).await;
        assert_eq!(current.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
        let other = world.get(Who::Nobody, &format!("{asset}?v=0")).await;
        assert_eq!(other.header("cache-control"), "public, max-age=60", "{asset}");
    }
}

#[tokio::test]
async fn no_page_has_styles_or_scripts_of_its_own() {
    let world = World::new().await;
    let mail = format!("/mails/{MAIL}");
    for path in [
        "/",
        "/gateways/gw-1",
        "/gateways/gw-1?period=year",
        "/gateways/gw-1/manage",
        "/waiting",
        "/waiting/commission",
        "/customers",
        "/people",
        "/people/new",
        "/settings",
        "/quarantine",
        "/mails",
        "/account",
        "/account/tokens",
        "/people/tokens",
        "/api/v1/",
        "/locations/new",
        mail.as_str(),
    ] {
        let answer = world.get(Who::Owner, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for refused in ["<script", "<style", " style=", " onclick=", " onload=", "javascript:", "http://", "https://"] {
            let body = answer.body.replace("http://www.w3.org/2000/svg", "").replace("<script src=\"/assets/live.js?v=", "");
            assert!(!body.contains(refused), "{refused} in {path}");
        }
    }
}

#[tokio::test]
async fn pages_are_compressed_for_who_wants_it() {
    let world = World::new().await;
    let request = request(Method::GET, "/", Who::Owner).header(header::ACCEPT_ENCODING, "gzip");
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
}
