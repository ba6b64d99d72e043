//! Signing in and out: what works, and what has to be refused.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use heliograph_admin_web::users::Rights;
use heliograph_admin_web::{PanelSettings, users};
use heliograph_domain::{EmailAddress, Secret, UserId, UserRole};

use crate::world::{HOST, PASSWORD, Who, World, digest, encode, id, request};

#[tokio::test]
async fn the_right_password_opens_a_session_and_leads_where_one_wanted_to_go() {
    let world = World::new().await;
    let wanted = world.get(Who::Nobody, "/gateways/gw-1?period=month").await;
    assert_eq!(wanted.location(), "/login?next=%2Fgateways%2Fgw-1%3Fperiod%3Dmonth");
    let form = world.get(Who::Nobody, wanted.location()).await;
    assert!(form.body.contains("value=\"/gateways/gw-1?period=month\""), "{}", form.body);

    let form = [("email", "Mara@Example.com"), ("password", PASSWORD), ("next", "/gateways/gw-1?period=month")];
    let refused = world.post(Who::Nobody, "/login", &form).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "the part before the @ has its case");
    let form = [("email", " mara@EXAMPLE.com "), ("password", PASSWORD), ("next", "/gateways/gw-1?period=month")];
    let answer = world.post(Who::Nobody, "/login", &form).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/gateways/gw-1?period=month"));
    let token = answer.token().unwrap();
    assert!(token.len() >= 43, "256 bits: {token}");
    assert_eq!(
        answer.header("set-cookie"),
        format!("heliograph_sunrise={token}; Path=/; HttpOnly; SameSite=Lax"),
        "no expiry, no domain"
    );
    let page = world.get_with(&token, answer.location()).await;
    assert_eq!(page.status, StatusCode::OK);
}

#[tokio::test]
async fn over_https_the_cookie_belongs_to_this_host_alone() {
    let settings = PanelSettings { public_url: Some("https://panel.example".to_owned()), ..PanelSettings::default() };
    let world = World::with_settings(settings).await;
    let answer = world.sign_in("mara@example.com", PASSWORD).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-heliograph_sunrise="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(answer.header("strict-transport-security"), "max-age=63072000; includeSubDomains");
}

#[tokio::test]
async fn known_and_unknown_people_get_the_same_answer() {
    let world = World::new().await;
    let without = EmailAddress::parse("nia@example.com").unwrap();
    users::add_user(&world.store, without, "Nia".to_owned(), Rights::of(UserRole::Viewer), None, world.now()).await.unwrap();
    let known = world.sign_in("mara@example.com", "not her password").await;
    for email in ["nobody@example.com", "nia@example.com", "no address", ""] {
        let other = world.sign_in(email, "not her password").await;
        assert_eq!(other.status, known.status, "{email}");
        let plain = |body: &str, email: &str| body.replace(&format!("value=\"{email}\""), "value=\"\"").replace(" autofocus", "");
        assert_eq!(plain(&other.body, email), plain(&known.body, "mara@example.com"), "{email}");
        assert!(other.token().is_none());
    }
}

#[tokio::test]
async fn known_and_unknown_people_wait_equally_long() {
    let world = World::new().await;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        for (email, times) in ["mara@example.com", "nobody@example.com"].into_iter().zip(&mut times) {
            let began = Instant::now();
            let answer = world.sign_in(email, "not the password").await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
            times.push(began.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[2]
    });
    // Without the hash of nobody the one would take a hundredth of the other.
    assert!(unknown * 4 > known && known * 4 > unknown, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn an_account_that_is_tried_too_often_is_closed_for_a_while_known_or_not() {
    let world = World::new().await;
    for email in ["mara@example.com", "nobody@example.com"] {
        for attempt in 0..10 {
            let answer = world.sign_in(email, "wrong").await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{email}, attempt {attempt}");
        }
        let answer = world.sign_in(email, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{email}");
        assert_eq!(answer.header("retry-after"), "60");
        assert!(answer.token().is_none());
        assert!(answer.body.contains("Too many attempts. Try again in a minute."));
    }
    world.pass(2);
    assert_eq!(world.sign_in("mara@example.com", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_is_refused() {
    let world = World::new().await;
    for attempt in 0..30 {
        let answer = world.sign_in(&format!("user{attempt}@example.com"), "wrong").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "attempt {attempt}");
    }
    assert_eq!(world.sign_in("mara@example.com", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn behind_a_proxy_only_the_address_that_it_adds_counts() {
    let world = World::with_settings(PanelSettings { behind_proxy: true, ..PanelSettings::default() }).await;
    let attempt = async |forwarded: String, email: &str| {
        let request = request(Method::POST, "/login", Who::Nobody)
            .header("x-forwarded-for", forwarded)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        world.send(request.body(Body::from(encode(&[("email", email), ("password", "wrong")]))).unwrap()).await.status
    };
    for number in 0..30 {
        let status = attempt(format!("198.51.100.{number}, 203.0.113.5"), &format!("a{number}@example.com")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(attempt("198.51.100.77, 203.0.113.5".to_owned(), "b@example.com").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(attempt("203.0.113.5, 203.0.113.6".to_owned(), "c@example.com").await, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn who_fails_at_an_account_from_elsewhere_does_not_lock_it() {
    let world = World::with_settings(PanelSettings { behind_proxy: true, ..PanelSettings::default() }).await;
    let attempt = async |from: &str, password: &str| {
        let request = request(Method::POST, "/login", Who::Nobody)
            .header("x-forwarded-for", from)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let form = encode(&[("email", "mara@example.com"), ("password", password)]);
        world.send(request.body(Body::from(form)).unwrap()).await.status
    };
    for _ in 0..10 {
        assert_eq!(attempt("203.0.113.5", "wrong").await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    for _ in 0..200 {
        assert_eq!(attempt("203.0.113.5", "wrong").await, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(attempt("203.0.113.6", PASSWORD).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_token_that_somebody_brings_along_never_becomes_a_session() {
    let world = World::new().await;
    let request = request(Method::POST, "/login", Who::Nobody)
        .header(header::COOKIE, "heliograph_sunrise=chosen-by-the-attacker")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let form = encode(&[("email", "mara@example.com"), ("password", PASSWORD)]);
    let answer = world.send(request.body(Body::from(form)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_ne!(answer.token().unwrap(), "chosen-by-the-attacker");
    assert_eq!(world.get_with("chosen-by-the-attacker", "/").await.location(), "/login");
}

#[tokio::test]
async fn signing_in_again_ends_the_session_before() {
    let world = World::new().await;
    let first = world.sign_in("mara@example.com", PASSWORD).await.token().unwrap();
    let request = request(Method::POST, "/login", Who::Nobody)
        .header(header::COOKIE, format!("heliograph_sunrise={first}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let form = encode(&[("email", "mara@example.com"), ("password", PASSWORD)]);
    let second = world.send(request.body(Body::from(form)).unwrap()).await.token().unwrap();
    assert_eq!(world.get_with(&first, "/").await.location(), "/login");
    assert_eq!(world.get_with(&second, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn after_signing_out_the_token_is_worth_nothing() {
    let world = World::new().await;
    assert_eq!(world.get(Who::Owner, "/").await.status, StatusCode::OK);
    let answer = world.post(Who::Owner, "/logout", &[]).await;
    assert_eq!(answer.location(), "/login");
    assert!(answer.header("set-cookie").ends_with("; Max-Age=0"));
    assert_eq!(world.get(Who::Owner, "/").await.location(), "/login");
    let gone = digest("token-of-mara@example.com");
    let later = world.now().plus_millis(3_600_000);
    assert!(!world.store.session_prolong(gone, later).await.unwrap(), "an ended session is not prolonged");
    assert_eq!(world.get(Who::Owner, "/").await.location(), "/login");
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it() {
    let world = World::new().await;
    let token = world.sign_in("mara@example.com", PASSWORD).await.token().unwrap();
    for _ in 0..3 {
        world.pass(11 * 60);
        assert_eq!(world.get_with(&token, "/account").await.status, StatusCode::OK);
    }
    world.pass(12 * 60 + 1);
    assert_eq!(world.get_with(&token, "/account").await.location(), "/login?next=%2Faccount");
}

#[tokio::test]
async fn a_session_ends_after_a_week_however_busy_it_is() {
    let world = World::new().await;
    let token = world.sign_in("mara@example.com", PASSWORD).await.token().unwrap();
    for _ in 0..16 {
        world.pass(10 * 60);
        assert_eq!(world.get_with(&token, "/account").await.status, StatusCode::OK);
    }
    world.pass(9 * 60);
    assert_eq!(world.get_with(&token, "/account").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let world = World::new().await;
    let here = world.sign_in("ana@example.com", PASSWORD).await.token().unwrap();
    let elsewhere = world.sign_in("ana@example.com", PASSWORD).await.token().unwrap();
    let form = encode(&[("current", PASSWORD), ("password", "a quiet rainy garden"), ("again", "a quiet rainy garden")]);
    let request = axum::http::Request::post("/account")
        .header(header::HOST, HOST)
        .header(header::COOKIE, format!("heliograph_sunrise={here}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = world.send(request.body(Body::from(form)).unwrap()).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/account?done=password"));
    let now = answer.token().unwrap();
    assert_eq!(world.get_with(&now, "/").await.status, StatusCode::OK);
    for ended in [&here, &elsewhere] {
        assert_eq!(world.get_with(ended, "/").await.location(), "/login");
    }
    assert_eq!(world.get(Who::Customer, "/").await.location(), "/login");
    assert_eq!(world.sign_in("ana@example.com", PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.sign_in("ana@example.com", "a quiet rainy garden").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_password_is_changed_only_by_who_knows_it_and_only_to_a_good_one() {
    let world = World::new().await;
    for (current, password, again, problem) in [
        ("wrong", "a quiet rainy garden", "a quiet rainy garden", "This is not your current password."),
        (PASSWORD, "short", "short", "The password must have at least 12 characters."),
        (PASSWORD, "mara@example.com", "mara@example.com", "The password must not be the mail address."),
        (PASSWORD, "passwordpassword", "passwordpassword", "The password is one of the first that anybody would try."),
        (PASSWORD, "a quiet rainy garden", "a quiet rainy meadow", "The two passwords differ."),
    ] {
        let answer = world.post(Who::Owner, "/account", &[("current", current), ("password", password), ("again", again)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.body.contains(problem), "{problem}");
        assert!(!answer.body.contains(PASSWORD), "no password comes back");
    }
    assert_eq!(world.get(Who::Owner, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_is_removed_is_signed_out_at_once() {
    let world = World::new().await;
    assert_eq!(world.get(Who::Viewer, "/").await.status, StatusCode::OK);
    world.store.user_delete(UserId::new(id(5, 3))).await.unwrap();
    assert_eq!(world.get(Who::Viewer, "/").await.location(), "/login");
}

#[tokio::test]
async fn a_one_time_link_sets_a_password_once_within_a_day() {
    let world = World::new().await;
    let email = EmailAddress::parse("nia@example.com").unwrap();
    let added =
        users::add_user(&world.store, email, "Nia".to_owned(), Rights::of(UserRole::Owner), None, world.now()).await.unwrap();
    let token = added.one_time_link_token.unwrap();
    let path = format!("/welcome/{}", token.reveal());
    // Mail programs look at links.
    for _ in 0..3 {
        let page = world.get(Who::Nobody, &path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains("Welcome, Nia"));
    }
    let short = world.post(Who::Nobody, &path, &[("password", "short"), ("again", "short")]).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    let good = [("password", "a quiet rainy garden"), ("again", "a quiet rainy garden")];
    let answer = world.post(Who::Nobody, &path, &good).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"));
    assert_eq!(world.get_with(&answer.token().unwrap(), "/people").await.status, StatusCode::OK);
    assert_eq!(world.get(Who::Nobody, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post(Who::Nobody, &path, &good).await.status, StatusCode::NOT_FOUND);

    let late = users::link_user(&world.store, added.id, world.now()).await.unwrap();
    world.pass(24 * 60);
    assert_eq!(world.get(Who::Nobody, &format!("/welcome/{}", late.reveal())).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn people_are_added_by_rules_of_their_own() {
    use users::AddUserError;
    let world = World::new().await;
    let add = async |email: &str, role, customer, password: Option<&str>| {
        let email = EmailAddress::parse(email).unwrap();
        users::add_user(
            &world.store,
            email,
            "Nia".to_owned(),
            Rights { role, customer, assignment: None },
            password.map(Secret::new),
            world.now(),
        )
        .await
    };
    assert!(matches!(add("mara@example.com", UserRole::Viewer, None, None).await, Err(AddUserError::Taken(_))));
    assert!(matches!(add("a@example.com", UserRole::Customer, None, None).await, Err(AddUserError::CustomerAndRole)));
    assert!(matches!(add("a@example.com", UserRole::Viewer, None, Some("short")).await, Err(AddUserError::Password(_))));
    let unknown = heliograph_domain::CustomerId::new(id(2, 99));
    assert!(matches!(add("a@example.com", UserRole::Customer, Some(unknown), None).await, Err(AddUserError::NoCustomer)));
    for name in ["", " ", "Nia\u{1b}[2J", "Nia\r\nBcc: x", &"x".repeat(81)] {
        let email = EmailAddress::parse("a@example.com").unwrap();
        let added = users::add_user(&world.store, email, name.to_owned(), Rights::of(UserRole::Viewer), None, world.now()).await;
        assert!(matches!(added, Err(AddUserError::Name(_))), "{name:?}: {added:?}");
    }
    let added = add("a@example.com", UserRole::Viewer, None, Some("a quiet rainy garden")).await.unwrap();
    assert!(added.one_time_link_token.is_none());
    assert_eq!(world.sign_in("a@example.com", "a quiet rainy garden").await.status, StatusCode::SEE_OTHER);
}
