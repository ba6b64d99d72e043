//! Mails about ways in: ordered by the panel, once, and for nobody else's eyes.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use heliograph_admin_web::PanelSettings;
use heliograph_domain::UserId;
use heliograph_store::{Letter, LetterKind, OutboxRow};

use crate::world::{ANAS, PASSWORD, VIEWER, Who, World, digest};

/// What was ordered; of what is asked for by anybody, a moment after the answer.
async fn ordered(world: &World) -> Vec<(OutboxRow, Letter)> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut found = Vec::new();
    for row in world.store.outbox_list(100).await.unwrap() {
        let mail = world.store.outbox_fetch(row.id).await.unwrap();
        if let Some(letter) = Letter::read(&mail).unwrap() {
            found.push((mail.row, letter));
        }
    }
    found
}

async fn kinds(world: &World) -> Vec<(LetterKind, String)> {
    ordered(world).await.into_iter().map(|(row, letter)| (letter.kind, row.key.recipient.to_string())).collect()
}

async fn forget(world: &World, email: &str) -> (StatusCode, String) {
    let answer = world.post(Who::Nobody, "/forgot", &[("email", email)]).await;
    (answer.status, answer.body.replace(email, "…"))
}

#[tokio::test]
async fn whoever_asks_for_a_new_password_hears_the_same() {
    let world = World::new().await;
    let known = forget(&world, "mara@example.com").await;
    assert_eq!(known.0, StatusCode::OK);
    assert!(known.1.contains("a mail with a link is on its way"), "{}", known.1);
    assert_eq!(forget(&world, "nobody@example.com").await, known);
    let mails = ordered(&world).await;
    let [(row, letter)] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!((row.key.recipient.as_str(), letter.kind), ("mara@example.com", LetterKind::PasswordReset));
    assert_eq!(letter.panel.as_deref(), Some("http://panel.example"));
    // What is kept of it opens nothing.
    let mail = world.store.outbox_fetch(row.id).await.unwrap();
    assert!(!String::from_utf8(mail.message).unwrap().contains("/welcome"));
}

#[tokio::test]
async fn whoever_asks_for_a_new_password_waits_equally_long() {
    let world = World::new().await;
    for email in ["mara@example.com", "nobody@example.com"] {
        let began = Instant::now();
        forget(&world, email).await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{email}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn nobody_is_flooded_with_links() {
    let world = World::new().await;
    for _ in 0..3 {
        forget(&world, "mara@example.com").await;
    }
    assert_eq!(ordered(&world).await.len(), 1);
    world.pass(60);
    forget(&world, "mara@example.com").await;
    assert_eq!(ordered(&world).await.len(), 2);
    // Nor does one address ask for ever; signing in is another matter.
    let mut last = StatusCode::OK;
    for _ in 0..10 {
        last = forget(&world, "mara@example.com").await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.sign_in("mara@example.com", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_is_no_address_is_said_at_the_field() {
    let world = World::new().await;
    let (status, body) = forget(&world, "\"><script>alert(1)</script>").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("This is not a mail address.") && !body.contains("<script>"), "{body}");
}

#[tokio::test]
async fn a_panel_that_does_not_know_where_it_is_sends_no_links() {
    let world = World::with_settings(PanelSettings::default()).await;
    let (status, body) = forget(&world, "mara@example.com").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("Ask one of its owners for a link"), "{body}");
    assert_eq!(world.post(Who::Owner, &format!("/people/{VIEWER}/invite"), &[]).await.status, StatusCode::CONFLICT);
    let page = world.get(Who::Owner, "/people/new").await.body;
    assert!(page.contains("Add and show the link") && !page.contains("by mail"), "{page}");
    let nia = [("name", "Nia"), ("email", "nia@example.com"), ("role", "viewer"), ("way", "mail")];
    assert!(world.post(Who::Owner, "/people/new", &nia).await.body.contains("/welcome/"), "it is shown instead");
    assert_eq!(ordered(&world).await, []);
}

#[tokio::test]
async fn people_are_invited_by_mail_or_get_their_link_from_whoever_adds_them() {
    let world = World::new().await;
    let nia = [("name", "Nia"), ("email", "nia@example.com"), ("role", "viewer"), ("way", "mail")];
    let answer = world.post(Who::Owner, "/people/new", &nia).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/people?done=invited"));
    let page = world.get(Who::Owner, answer.location()).await.body;
    assert!(page.contains("A mail with a link is on its way") && page.contains("nia@example.com"), "{page}");
    let tom = [("person", "Tom"), ("address", "tom@example.com"), ("way", "mail")];
    let answer = world.post(Who::Owner, &format!("/customers/{ANAS}/people"), &tom).await;
    assert_eq!(answer.location(), format!("/customers/{ANAS}?done=invited"));
    world.post(Who::Owner, &format!("/people/{VIEWER}/invite"), &[]).await;
    let mut mails = kinds(&world).await;
    mails.sort_by(|a, b| a.1.cmp(&b.1));
    let expected = ["nia@example.com", "tom@example.com", "vera@example.com"].map(|to| (LetterKind::Invitation, to.to_owned()));
    assert_eq!(mails, expected);
    let ben = [("name", "Ben"), ("email", "b@example.com"), ("role", "viewer"), ("way", "show")];
    assert!(world.post(Who::Owner, "/people/new", &ben).await.body.contains("http://panel.example/welcome/"));
    assert_eq!(ordered(&world).await.len(), 3);
}

#[tokio::test]
async fn a_password_that_was_set_is_told_to_whose_it_is() {
    let world = World::new().await;
    let vera = UserId::parse(VIEWER).unwrap();
    world.store.login_link_create(digest("a-link"), vera, world.now().plus_millis(60_000)).await.unwrap();
    let form = [("password", "another calm evening"), ("again", "another calm evening")];
    let token = world.post(Who::Nobody, "/welcome/a-link", &form).await.token().unwrap();
    let told = (LetterKind::PasswordChanged, "vera@example.com".to_owned());
    assert_eq!(kinds(&world).await, std::slice::from_ref(&told));
    world.pass(1);
    let form = [("current", "another calm evening"), ("password", "a quiet rainy garden"), ("again", "a quiet rainy garden")];
    assert_eq!(world.post_with(&token, "/account", &form).await.location(), "/account?done=password");
    assert_eq!(kinds(&world).await, [told.clone(), told]);
}

#[tokio::test]
async fn nobody_reads_such_a_mail_in_the_list() {
    let world = World::new().await;
    forget(&world, "mara@example.com").await;
    let [(row, _)]: [_; 1] = ordered(&world).await.try_into().unwrap();
    let path = format!("/mails/{}", row.id);
    let page = world.get(Who::Owner, &path).await;
    assert!(page.body.contains("what it says is for its reader alone"), "{}", page.body);
    assert!(!page.body.contains("iframe") && !page.body.contains("X-Heliograph-Letter"), "{}", page.body);
    assert_eq!(world.get(Who::Owner, &format!("{path}/preview")).await.status, StatusCode::NOT_FOUND);
    // Nor that there is one, who does not see people.
    assert!(world.get(Who::Owner, "/mails").await.body.contains("A link for a new password"));
    assert!(!world.get(Who::Operator, "/mails").await.body.contains("A link for a new password"));
    assert_eq!(world.get(Who::Operator, &path).await.status, StatusCode::NOT_FOUND);
}
