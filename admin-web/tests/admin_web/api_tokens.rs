//! Tokens for the API: made, shown once, used, ended.

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use futures_util::stream;
use heliograph_domain::UserId;
use heliograph_store::{ApiToken, ProviderStore};

use crate::api::ask_with;
use crate::world::{Answer, PASSWORD, Who, World, encode, id, request};

/// With the password.
async fn make(world: &World, who: Who, form: &[(&str, &str)]) -> Answer {
    world.post(who, "/account/tokens", &[form, &[("password", PASSWORD)]].concat()).await
}

/// The token that a page shows.
fn shown(page: &str) -> String {
    let start = page.find("hgt_").unwrap();
    page[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect()
}

async fn ask(world: &World, token: &str) -> StatusCode {
    ask_with(world, token, &Method::GET, "/api/v1/token", None).await.status
}

async fn only(world: &World) -> ApiToken {
    let mut tokens = world.store.api_token_list().await.unwrap();
    assert_eq!(tokens.len(), 1);
    tokens.remove(0)
}

#[tokio::test]
async fn a_token_is_shown_once_works_and_is_ended() {
    let world = World::new().await;
    let page = make(&world, Who::Operator, &[("name", "Night <job>"), ("write", "on"), ("days", "30")]).await;
    assert_eq!(page.status, StatusCode::OK);
    let token = shown(&page.body);
    assert_eq!(token.len(), "hgt_".len() + 43, "256 bits");
    assert!(page.body.contains("Night &#60;job&#62;"), "{}", page.body);
    let list = world.get(Who::Operator, "/account/tokens").await.body;
    assert!(list.contains("Night &#60;job&#62;") && !list.contains("hgt_") && list.contains(">never<"), "{list}");
    let kept = format!("{:?}{:?}", only(&world).await, world.store.audit_list(1, 1000).await.unwrap());
    assert!(!kept.contains(&token), "nothing but its digest is kept");

    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    assert!(world.get(Who::Operator, "/account/tokens").await.body.contains(">just now<"));
    assert!(!world.get(Who::Owner, "/account/tokens").await.body.contains("Night"), "it is nobody else's");
    let all = world.get(Who::Owner, "/people/tokens").await.body;
    assert!(all.contains("Night &#60;job&#62;") && all.contains("Otto"), "{all}");
    let path = format!("/account/tokens/{}/end", only(&world).await.id);
    assert_eq!(world.post(Who::Viewer, &path, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    assert_eq!(world.post(Who::Operator, &path, &[]).await.location(), "/account/tokens?done=token-ended");
    assert_eq!(ask(&world, &token).await, StatusCode::UNAUTHORIZED);

    let token = shown(&make(&world, Who::Operator, &[("name", "Another"), ("days", "30")]).await.body);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    let path = format!("/people/tokens/{}/end", only(&world).await.id);
    assert_eq!(world.post(Who::Owner, &path, &[]).await.location(), "/people/tokens?done=token-ended");
    assert_eq!(ask(&world, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_ends_by_itself_and_says_when_it_was_used() {
    let world = World::new().await;
    let token = shown(&make(&world, Who::Viewer, &[("name", "Job"), ("days", "30")]).await.body);
    assert_eq!(only(&world).await.used, None);
    let first = world.now();
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    world.pass(59);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    assert_eq!(only(&world).await.used, Some(first), "not every use is noted");
    world.pass(1);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    assert_eq!(only(&world).await.used, Some(world.now()));
    world.pass(30 * 1440 - 61);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    world.pass(1);
    assert_eq!(ask(&world, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_goes_with_the_password_and_never_reaches_beyond_the_role() {
    let world = World::new().await;
    for (who, form, field) in [
        (Who::Viewer, &[("name", "Job"), ("days", "30"), ("write", "on")][..], "scopes"),
        (Who::Customer, &[("name", "Job"), ("days", "30"), ("write", "on")], "scopes"),
        (Who::Operator, &[("name", "Job"), ("days", "30"), ("people", "on")], "scopes"),
        (Who::Owner, &[("name", ""), ("days", "30")], "name"),
        (Who::Owner, &[("name", "Job"), ("days", "3650")], "days"),
        (Who::Owner, &[("name", "Job")], "days"),
    ] {
        let refused = make(&world, who, form).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{form:?} by {who:?}");
        assert!(refused.body.contains(&format!("id=\"{field}-problem\"")), "{form:?} by {who:?}");
    }
    assert_eq!(world.store.api_token_list().await.unwrap(), []);
    let token = shown(&make(&world, Who::Customer, &[("name", "Job"), ("days", "365")]).await.body);
    assert_eq!(ask(&world, &token).await, StatusCode::OK);
    let user = only(&world).await.user;
    world.store.user_set_password(user, "$argon2id$".to_owned()).await.unwrap();
    assert_eq!(ask(&world, &token).await, StatusCode::UNAUTHORIZED);

    for number in 0..ApiToken::MOST {
        assert_eq!(make(&world, Who::Owner, &[("name", &format!("Job {number}")), ("days", "90")]).await.status, StatusCode::OK);
    }
    let refused = make(&world, Who::Owner, &[("name", "One more"), ("days", "90")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.contains("Nobody has more than 20 tokens"), "{}", refused.body);
}

#[tokio::test]
async fn making_a_token_takes_the_password() {
    let world = World::new().await;
    for password in ["", "a calm rainy terrace"] {
        let form = [("name", "Job"), ("days", "30"), ("password", password)];
        let refused = world.post(Who::Viewer, "/account/tokens", &form).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let (_, problem) = refused.body.split_once("id=\"password-problem\"").unwrap();
        assert!(problem.split('<').next().unwrap().contains("This is not your current password."), "{}", refused.body);
        assert!(refused.body.contains("value=\"Job\"") && !refused.body.contains("rainy"), "{}", refused.body);
    }
    assert_eq!(world.store.api_token_list().await.unwrap(), []);
}

/// What happens while the form is on its way, and where it leads then.
async fn overtaken<F: Future<Output = ()> + Send + 'static>(meanwhile: impl FnOnce(ProviderStore, UserId) -> F) {
    let world = World::new().await;
    let form = encode(&[("name", "Job"), ("days", "30"), ("password", PASSWORD)]);
    let happens = meanwhile(world.store.clone(), UserId::new(id(5, 3)));
    let body = stream::once(async move {
        happens.await;
        Ok::<_, std::io::Error>(Bytes::from(form))
    });
    let request =
        request(Method::POST, "/account/tokens", Who::Viewer).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = world.send(request.body(Body::from_stream(body)).unwrap()).await;
    assert_eq!(answer.location(), "/login", "{}", answer.body);
    assert!(!answer.body.contains("hgt_"));
    assert_eq!(world.store.api_token_list().await.unwrap(), []);
}

#[tokio::test]
async fn no_token_is_made_by_a_form_that_a_remedy_has_overtaken() {
    overtaken(|store, user| async move { store.user_set_password(user, "$argon2id$".to_owned()).await.unwrap() }).await;
    overtaken(|store, user| async move { store.user_sign_out(user).await.unwrap() }).await;
}

#[tokio::test]
async fn signing_out_everywhere_ends_tokens() {
    let world = World::new().await;
    let form = [("name", "Job"), ("days", "30")];
    let token = shown(&make(&world, Who::Viewer, &form).await.body);
    let done = world.post(Who::Owner, &format!("/people/{}/sign-out", id(5, 3)), &[]).await;
    assert_eq!((done.status, ask(&world, &token).await), (StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED));
    let entry = world.store.audit_list(1, 1000).await.unwrap().pop().unwrap();
    assert_eq!((entry.action.as_str(), entry.actor), ("user.sign-out", format!("user:{}", id(5, 1))));

    let token = shown(&make(&world, Who::Operator, &form).await.body);
    world.sign_in(Who::Operator.email(), PASSWORD).await;
    let account = world.get(Who::Operator, "/account").await.body;
    assert!(account.contains("Your API tokens end with that as well."), "{account}");
    assert_eq!(world.post(Who::Operator, "/account/sessions/end", &[]).await.location(), "/account?done=signed-out");
    assert_eq!(ask(&world, &token).await, StatusCode::UNAUTHORIZED);
}
