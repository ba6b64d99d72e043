//! Questions that are none, too many of them, and tokens that have ended.

use super::*;

#[tokio::test]
async fn what_is_no_question_is_a_problem_that_says_so() {
    let world = world().await;
    let send = async |request: axum::http::request::Builder, body: &str| {
        world.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let post = || asked(&Method::POST, "/api/v1/customers", &By::Operator.token());
    let json = || post().header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    for (answer, status, name) in [
        (send(post(), "{}").await, 415, "not-json"),
        (send(json(), "{\"name\":").await, 400, "bad-request"),
        (send(json(), "{}").await, 422, "invalid"),
        (send(json(), "{\"name\":\"a\",\"e-mail\":\"b\"}").await, 422, "invalid"),
        (send(json(), "{\"name\":5}").await, 422, "invalid"),
        (send(json(), &"[".repeat(10_000)).await, 400, "bad-request"),
        (send(json(), "[\"a\", null]").await, 422, "invalid"),
        (send(json(), &format!("{{\"name\":\"{}\"}}", "x".repeat(70_000))).await, 413, "too-large"),
        (send(asked(&Method::PATCH, "/api/v1/customers", &By::Operator.token()), "").await, 405, "method-not-allowed"),
        (send(asked(&Method::GET, "/api/v2/customers", &By::Operator.token()), "").await, 404, "not-found"),
        (send(asked(&Method::GET, "/api/", ""), "").await, 404, "not-found"),
        (send(post().header("origin", "https://evil.example"), "{}").await, 403, "forbidden"),
    ] {
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.body);
        assert_eq!(problem(&answer)["type"], format!("http://{HOST}/api/v1/#{name}"), "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // A cookie opens nothing here, and a token nothing there.
    let cookie = world.send(request(Method::GET, "/api/v1/provider", Who::Owner).body(Body::empty()).unwrap()).await;
    assert_eq!((cookie.status, cookie.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer realm=\"heliograph\""));
    let page = world.send(asked(&Method::GET, "/settings", &By::Owner.token()).body(Body::empty()).unwrap()).await;
    assert!(page.location().starts_with("/login"));
    world.store.close().await;
    let down = ask(&world, By::Owner, &Method::GET, "/api/v1/provider", None).await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    for inside in ["sqlite", "SQLite", "closed", ".db", "src/"] {
        assert!(!down.body.contains(inside), "{inside} in {}", down.body);
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let world = world().await;
    let asked = async |by| ask(&world, by, &Method::GET, "/api/v1/provider", None).await;
    for _ in 0..100 {
        assert_eq!(asked(By::Viewer).await.status, StatusCode::OK);
    }
    let refused = asked(By::Viewer).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert!(problem(&refused)["type"].as_str().unwrap().ends_with("#too-many-requests"));
    assert_eq!(asked(By::Owner).await.status, StatusCode::OK, "others are not held up");
    for _ in 0..30 {
        let unknown = ask_with(&world, "hgt_unknown", &Method::GET, "/api/v1/provider", None).await;
        assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    }
    let refused = ask_with(&world, "hgt_unknown", &Method::GET, "/api/v1/provider", None).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "3"));
    assert_eq!(asked(By::Owner).await.status, StatusCode::OK, "a right token is not held up by wrong ones");
    world.pass(1);
    assert_eq!(asked(By::Viewer).await.status, StatusCode::OK);
    assert_eq!(ask_with(&world, "hgt_unknown", &Method::GET, "/api/v1/provider", None).await.status, StatusCode::UNAUTHORIZED);
    while ask_with(&world, "hgt_unknown", &Method::GET, "/api/v1/provider", None).await.status == StatusCode::UNAUTHORIZED {}
    world.store.close().await;
    let refused = ask_with(&world, "hgt_unknown", &Method::GET, "/api/v1/provider", None).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "the store is not asked");
    assert_eq!(asked(By::Owner).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn many_tokens_of_one_person_have_one_limit() {
    let world = world().await;
    let asked = async |by| ask(&world, by, &Method::GET, "/api/v1/provider", None).await.status;
    for number in 0..100 {
        assert_eq!(asked(if number % 2 == 0 { By::Owner } else { By::ReadOnlyOwner }).await, StatusCode::OK, "{number}");
    }
    assert_eq!(asked(By::Owner).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(asked(By::ReadOnlyOwner).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(asked(By::Operator).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_was_ended_is_a_guess_from_then_on() {
    let world = world().await;
    let asked = async || ask(&world, By::Viewer, &Method::GET, "/api/v1/provider", None).await.status;
    assert_eq!(asked().await, StatusCode::OK);
    world.store.user_sign_out(UserId::new(id(5, 3))).await.unwrap();
    for _ in 0..30 {
        assert_eq!(asked().await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(asked().await, StatusCode::TOO_MANY_REQUESTS);
}
