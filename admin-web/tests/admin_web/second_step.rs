//! The second step of signing in, and the sessions that somebody has.

use axum::http::StatusCode;
use heliograph_domain::{KeyDigest, UserId};
use totp_rs::{Builder, Secret, Totp};

use crate::world::{Answer, PASSWORD, Who, World, id};

const WRONG: &str = "This code is not right";

/// What the app shows that has taken a secret.
struct App(Totp);

impl App {
    fn of(secret: &str) -> Self {
        Self(Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap())
    }

    fn code(&self, world: &World) -> String {
        self.0.generate(u64::try_from(world.now().as_millis() / 1000).unwrap()).to_string()
    }
}

/// The value of a field of a page.
fn field<'p>(page: &'p str, name: &str) -> &'p str {
    let from = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
    from.split('"').next().unwrap()
}

/// The codes that a page lists.
fn recovery(page: &str) -> Vec<String> {
    page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Sets it up for the owner; answers the app, the token that goes on and the codes.
async fn set_up(world: &World) -> (App, String, Vec<String>) {
    let token = world.sign_in("mara@example.com", PASSWORD).await.token().unwrap();
    let page = world.get_with(&token, "/account/second-step").await;
    assert!(page.status == StatusCode::OK && page.body.contains("<svg"), "{}", page.body);
    let secret = field(&page.body, "secret").to_owned();
    let app = App::of(&secret);
    let code = app.code(world);
    let done =
        world.post_with(&token, "/account/second-step", &[("secret", &secret), ("code", &code), ("password", PASSWORD)]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert_eq!(world.get_with(&token, "/account").await.status, StatusCode::SEE_OTHER, "the session before has ended");
    assert_eq!(world.get(Who::Owner, "/account").await.status, StatusCode::SEE_OTHER, "so have all others");
    (app, done.token().unwrap(), recovery(&done.body))
}

/// Proves the password; answers the token of the session that waits for the code.
async fn first_step(world: &World) -> String {
    let answer =
        world.post(Who::Nobody, "/login", &[("email", "mara@example.com"), ("password", PASSWORD), ("next", "/people")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login/code?next=%2Fpeople"));
    answer.token().unwrap()
}

async fn try_code(world: &World, token: &str, code: &str) -> Answer {
    world.post_with(token, "/login/code", &[("code", code), ("next", "/people")]).await
}

#[tokio::test]
async fn with_a_second_step_the_password_alone_opens_nothing() {
    let world = World::new().await;
    let (app, token, codes) = set_up(&world).await;
    assert_eq!(codes.len(), 10);
    let account = world.get_with(&token, "/account").await;
    assert!(account.body.contains("10 recovery codes are left"), "{}", account.body);

    let half = first_step(&world).await;
    for path in ["/", "/account", "/people", "/account/second-step"] {
        assert_eq!(world.get_with(&half, path).await.status, StatusCode::SEE_OTHER, "{path}");
    }
    assert_eq!(world.get_with(&half, "/login/code").await.status, StatusCode::OK);
    let again = try_code(&world, &half, &app.code(&world)).await;
    assert!(again.status == StatusCode::UNPROCESSABLE_ENTITY && again.body.contains(WRONG), "the code of the set-up is used up");
    world.pass(1);
    let wrong = try_code(&world, &half, "000000").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = app.code(&world);
    let spaced = format!(" {} {}", &code[..3], &code[3..]);
    let right = try_code(&world, &half, &spaced).await;
    assert_eq!((right.status, right.location()), (StatusCode::SEE_OTHER, "/people"), "{}", right.body);
    let whole = right.token().unwrap();
    assert_eq!(world.get_with(&whole, "/people").await.status, StatusCode::OK);
    assert_eq!(try_code(&world, &half, &code).await.location(), "/login", "the half session has ended");

    let other = first_step(&world).await;
    assert_eq!(try_code(&world, &other, &code).await.status, StatusCode::UNPROCESSABLE_ENTITY, "a code works once");
}

#[tokio::test]
async fn a_recovery_code_stands_for_the_app_once() {
    let world = World::new().await;
    let (_, _, codes) = set_up(&world).await;
    let half = first_step(&world).await;
    let right = try_code(&world, &half, &codes[3].to_uppercase().replace(' ', "-")).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.body);
    let account = world.get_with(&right.token().unwrap(), "/account").await;
    assert!(account.body.contains("9 recovery codes are left"), "{}", account.body);
    let half = first_step(&world).await;
    assert_eq!(try_code(&world, &half, &codes[3]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_the_password_has_proven_lasts_for_minutes_and_not_beyond_a_new_password() {
    let world = World::new().await;
    let (app, token, _) = set_up(&world).await;
    let half = first_step(&world).await;
    world.pass(6);
    assert_eq!(try_code(&world, &half, &app.code(&world)).await.location(), "/login");

    let half = first_step(&world).await;
    let change = [("current", PASSWORD), ("password", "another calm evening"), ("again", "another calm evening")];
    assert_eq!(world.post_with(&token, "/account", &change).await.status, StatusCode::SEE_OTHER);
    assert_eq!(try_code(&world, &half, &app.code(&world)).await.location(), "/login");
}

#[tokio::test]
async fn codes_cannot_be_guessed_by_whoever_knows_the_password() {
    let world = World::new().await;
    set_up(&world).await;
    let mut refused = 0;
    for number in 0..15 {
        // The password is proven anew each time, which gives no tries back.
        let half = first_step(&world).await;
        let answer = try_code(&world, &half, &format!("{number:06}")).await;
        refused += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.token().is_none());
    }
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn setting_it_up_takes_the_password_and_the_code_that_is_shown() {
    let world = World::new().await;
    let page = world.get(Who::Owner, "/account/second-step").await;
    let secret = field(&page.body, "secret").to_owned();
    let other = world.get(Who::Owner, "/account/second-step").await;
    assert_ne!(field(&other.body, "secret"), secret, "each has a secret of its own");
    let code = App::of(&secret).code(&world);
    for (code, password, problem) in
        [("000000", PASSWORD, "This is not the code"), (code.as_str(), "not her password", "This is not your current password.")]
    {
        let form = [("secret", secret.as_str()), ("code", code), ("password", password)];
        let refused = world.post(Who::Owner, "/account/second-step", &form).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.body.contains(problem) && field(&refused.body, "secret") == secret, "{}", refused.body);
    }
    for secret in ["", "not base 32!", "GEZDGNBV", &"A".repeat(40)] {
        let form = [("secret", secret), ("code", "123456"), ("password", PASSWORD)];
        assert_eq!(world.post(Who::Owner, "/account/second-step", &form).await.status, StatusCode::NOT_FOUND, "{secret}");
    }
    let user = UserId::new(id(5, 1));
    assert_eq!(world.store.second_factor_fetch(user).await.unwrap(), None);
}

#[tokio::test]
async fn it_is_taken_away_by_the_password_or_by_an_owner() {
    let world = World::new().await;
    let (_, token, codes) = set_up(&world).await;
    for (password, code, problem) in
        [("wrong", codes[0].as_str(), "This is not your current password."), (PASSWORD, "", WRONG), (PASSWORD, "123456", WRONG)]
    {
        let form = [("second_step_password", password), ("second_step_code", code)];
        let wrong = world.post_with(&token, "/account/second-step/remove", &form).await;
        assert!(wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.body.contains(problem), "{problem}: {}", wrong.body);
    }
    let form = [("second_step_password", PASSWORD), ("second_step_code", &codes[0])];
    let done = world.post_with(&token, "/account/second-step/remove", &form).await;
    assert_eq!(done.location(), "/account?done=one-step");
    assert_eq!(world.get_with(&token, "/account").await.status, StatusCode::SEE_OTHER, "it ends all sessions");
    assert_eq!(world.get_with(&done.token().unwrap(), "/account").await.status, StatusCode::OK, "and goes on in a new one");
    let plain = world.sign_in("mara@example.com", PASSWORD).await;
    assert_eq!(plain.location(), "/");

    let (_, token, _) = set_up(&world).await;
    let mara = format!("/people/{}/second-step/remove", id(5, 1));
    assert_eq!(world.post_with(&token, &mara, &[]).await.status, StatusCode::CONFLICT, "one's own takes the password");
    let vera = heliograph_store::SecondFactor::new(UserId::new(id(5, 3)), "GEZDGNBVGY3TQOJQ".into(), world.now(), 0, &[]);
    world.store.second_factor_save(vera).await.unwrap();
    let people = world.get_with(&token, "/people").await;
    assert_eq!(people.body.matches("pill good\">Second step").count(), 2, "{}", people.body);
    let veras = format!("/people/{}/second-step/remove", id(5, 3));
    let refused = world.post_with(&token, &veras, &[("second_step_password", "wrong")]).await;
    assert!(refused.status == StatusCode::CONFLICT && refused.body.contains("Nothing was changed."), "{}", refused.body);
    let removed = world.post_with(&token, &veras, &[("second_step_password", PASSWORD)]).await;
    assert_eq!(removed.location(), "/people?done=one-step-of");
    let last = world.store.audit_list(0, 1000).await.unwrap().pop().unwrap();
    assert_eq!(last.action, "user.second-factor.remove");
}

#[tokio::test]
async fn a_link_sets_a_password_and_leaves_the_second_step() {
    let world = World::new().await;
    let (app, _, _) = set_up(&world).await;
    let expires = world.now().plus_millis(3_600_000);
    world.store.login_link_create(KeyDigest::of("a-link"), UserId::new(id(5, 1)), expires).await.unwrap();
    let form = [("password", "another calm evening"), ("again", "another calm evening")];
    let answer = world.post(Who::Nobody, "/welcome/a-link", &form).await;
    assert_eq!(answer.location(), "/login/code");
    world.pass(1);
    let right = try_code(&world, &answer.token().unwrap(), &app.code(&world)).await;
    assert_eq!(right.location(), "/people");
}

#[tokio::test]
async fn people_see_where_they_are_signed_in_and_end_it() {
    let world = World::new().await;
    let first = world.sign_in("mara@example.com", PASSWORD).await.token().unwrap();
    let form = [("email", "mara@example.com"), ("password", PASSWORD)];
    let second = world.post_with("none", "/login", &form).await.token().unwrap();
    let account = world.get_with(&second, "/account").await;
    assert_eq!(account.body.matches("/end\"><button").count(), 3, "{}", account.body);
    assert!(account.body.contains("Firefox on Linux") && account.body.contains("this one"), "{}", account.body);

    let ends: Vec<&str> = account.body.split("/account/sessions/").skip(1).map(|rest| rest.split('/').next().unwrap()).collect();
    let stranger = world.post(Who::Viewer, &format!("/account/sessions/{}/end", ends[0]), &[]).await;
    assert_eq!(stranger.status, StatusCode::NOT_FOUND, "nobody ends those of others");
    let firsts = KeyDigest::of(&first).0.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let ended = world.post_with(&second, &format!("/account/sessions/{firsts}/end"), &[]).await;
    assert_eq!(ended.location(), "/account?done=signed-out");
    assert_eq!(world.get_with(&first, "/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.get(Who::Owner, "/").await.status, StatusCode::OK);
    let third = world.post_with(&second, "/account/sessions/end", &[]).await.token().unwrap();
    assert_eq!(world.get(Who::Owner, "/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.get_with(&second, "/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.get_with(&third, "/").await.status, StatusCode::OK, "the one that asks goes on");
}

#[tokio::test]
async fn an_owner_signs_somebody_out_everywhere() {
    let world = World::new().await;
    assert_eq!(world.get(Who::Viewer, "/").await.status, StatusCode::OK);
    let done = world.post(Who::Owner, &format!("/people/{}/sign-out", id(5, 3)), &[]).await;
    assert_eq!(done.location(), "/people?done=signed-out-of");
    assert_eq!(world.get(Who::Viewer, "/").await.location(), "/login");
    assert_eq!(world.sign_in("vera@example.com", PASSWORD).await.location(), "/", "and may sign in again");
}

#[tokio::test]
async fn after_a_hundred_wrong_codes_only_a_recovery_code_lets_in() {
    let world = World::new().await;
    let (app, _, codes) = set_up(&world).await;
    for _ in 0..100 {
        world.store.second_factor_failed(UserId::new(id(5, 1))).await.unwrap();
    }
    world.pass(1);
    let half = first_step(&world).await;
    let refused = try_code(&world, &half, &app.code(&world)).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.body.contains("Too many wrong codes came."));
    assert_eq!(try_code(&world, &half, &codes[0]).await.location(), "/people");
    world.pass(1);
    let half = first_step(&world).await;
    assert_eq!(try_code(&world, &half, &app.code(&world)).await.location(), "/people", "it is believed again");
}

#[tokio::test]
async fn nobody_uses_up_the_tries_at_a_code_who_has_not_proven_the_password() {
    let world = World::new().await;
    let (app, _, _) = set_up(&world).await;
    for _ in 0..12 {
        world.sign_in(&id(5, 1).to_string(), "guess").await;
    }
    world.pass(1);
    let half = first_step(&world).await;
    assert_eq!(try_code(&world, &half, &app.code(&world)).await.location(), "/people");
}

#[tokio::test]
async fn setting_it_up_anew_takes_a_code_of_before() {
    let world = World::new().await;
    let (_, token, codes) = set_up(&world).await;
    let page = world.get_with(&token, "/account/second-step").await;
    let secret = field(&page.body, "secret").to_owned();
    let code = App::of(&secret).code(&world);
    let form = |current: &str| {
        [
            ("secret", secret.clone()),
            ("code", code.clone()),
            ("password", PASSWORD.to_owned()),
            ("current_code", current.to_owned()),
        ]
    };
    for (current, status) in
        [("", StatusCode::UNPROCESSABLE_ENTITY), (code.as_str(), StatusCode::UNPROCESSABLE_ENTITY), (&codes[1], StatusCode::OK)]
    {
        let form = form(current);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(world.post_with(&token, "/account/second-step", &form).await.status, status, "{current}");
    }
    let user = UserId::new(id(5, 1));
    assert_eq!(world.store.second_factor_fetch(user).await.unwrap().unwrap().secret, secret);
}
