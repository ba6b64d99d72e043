//! Mails about ways in: written as they are sent, each with a link that works.

use heliograph_domain::{EmailAddress, KeyDigest, OutboxId, UserId, UserRole};
use heliograph_mailer::{RunSummary, run_once};
use heliograph_store::{Letter, LetterKind, OutboxState, StoreError, UserRecord};
use uuid::Uuid;

use crate::misbehaving::to;
use crate::parse::{files, parse};
use crate::plant::{Hand, Plant};
use crate::smtp::{Fault, Server, Stage};

const NOW: &str = "2026-11-21T06:00:00Z";

fn address() -> EmailAddress {
    EmailAddress::parse("anna@customer.example").unwrap()
}

fn anna() -> UserId {
    UserId::new(Uuid::from_u128(77))
}

async fn with_anna() -> (Plant, Hand) {
    let (plant, hand) = (Plant::empty().await, Hand::new(NOW));
    let user = UserRecord {
        id: anna(),
        email: address(),
        name: "Anna\u{a0}Weber".to_owned(),
        role: UserRole::Viewer,
        customer: None,
        assignment: None,
        password_hash: None,
        created: hand.now(),
    };
    plant.store.user_create(user).await.unwrap();
    (plant, hand)
}

async fn order(plant: &Plant, hand: &Hand, kind: LetterKind) -> OutboxId {
    let id = OutboxId::new(Uuid::from_u128(u128::try_from(hand.now().as_millis()).unwrap()));
    let user = plant.store.user_fetch(anna()).await.unwrap();
    let letter = Letter::to(&user, kind, Some("https://elsewhere.example".to_owned()));
    assert!(plant.store.letter_order(id, &user, &letter, hand.now()).await.unwrap());
    id
}

/// The token of the link in a text.
fn token(text: &str) -> String {
    let (_, rest) = text.split_once("https://panel.sunrise.example/welcome/").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

async fn outcome(plant: &Plant, id: OutboxId) -> (OutboxState, String) {
    let row = plant.store.outbox_fetch(id).await.unwrap().row;
    (row.state, row.outcome)
}

#[tokio::test]
async fn an_invitation_brings_a_link_that_works_for_three_days() {
    let (plant, hand) = with_anna().await;
    let id = order(&plant, &hand, LetterKind::Invitation).await;
    hand.advance_minutes(90);
    let summary = run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap();
    assert_eq!(summary, RunSummary { sent: 1, ..RunSummary::default() });
    let mail = parse(&std::fs::read(&files(&plant.folder(), "eml")[0]).unwrap());
    assert_eq!((mail.defects(), mail.shape()), (0, "multipart/alternative(text/plain text/html)".to_owned()));
    assert_eq!(mail.header("Subject"), ["Sunrise Energy: your access to the panel"]);
    assert_eq!(mail.header("To").len(), 1);
    assert_eq!(mail.header("Message-ID"), [format!("<{id}@sunrise.example>")]);
    let token = token(&mail.text());
    assert!(mail.html().contains(&format!("href=\"https://panel.sunrise.example/welcome/{token}\"")), "{}", mail.html());
    // It works from the moment in which it was sent, for three days.
    let digest = KeyDigest::of(&token);
    let later = |hours: i64| hand.now().plus_millis(hours * 3_600_000);
    assert_eq!(plant.store.login_link_peek(digest, later(71)).await.unwrap(), Some(anna()));
    assert_eq!(plant.store.login_link_peek(digest, later(73)).await.unwrap(), None);
    // Nothing that is kept has it.
    let kept = plant.store.outbox_fetch(id).await.unwrap().message;
    assert!(!String::from_utf8(kept).unwrap().contains(&token));
}

#[tokio::test]
async fn each_attempt_has_a_link_of_its_own_and_all_of_them_work() {
    let (plant, hand) = with_anna().await;
    order(&plant, &hand, LetterKind::PasswordReset).await;
    let server = Server::start().await;
    // The server has the mail, and its answer is lost.
    server.set_fault(Some(Fault::HangUp(Stage::Message)));
    run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap();
    server.set_fault(None);
    hand.advance_minutes(10);
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap().sent, 1);
    let mails: Vec<_> = server.messages().iter().map(|message| parse(message)).collect();
    let tokens: std::collections::HashSet<_> = mails.iter().map(|mail| token(&mail.text())).collect();
    assert_eq!((mails.len(), tokens.len()), (2, 2));
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    for mail in &mails {
        let found = plant.store.login_link_peek(KeyDigest::of(&token(&mail.text())), hand.now()).await.unwrap();
        assert_eq!(found, Some(anna()));
    }
}

#[tokio::test]
async fn a_link_for_a_new_password_that_comes_too_late_is_not_sent() {
    let (plant, hand) = with_anna().await;
    let id = order(&plant, &hand, LetterKind::PasswordReset).await;
    hand.advance_minutes(61);
    let summary = run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap();
    assert_eq!(summary, RunSummary { given_up: 1, ..RunSummary::default() });
    assert_eq!(outcome(&plant, id).await, (OutboxState::GivenUp, "it could not be sent while it was of use".to_owned()));
    assert!(!plant.folder().exists() || files(&plant.folder(), "eml").is_empty());
}

#[tokio::test]
async fn a_link_is_not_sent_to_somebody_who_has_chosen_a_password_meanwhile() {
    let (plant, hand) = with_anna().await;
    let id = order(&plant, &hand, LetterKind::Invitation).await;
    plant.store.user_set_password(anna(), "a hash".to_owned()).await.unwrap();
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().given_up, 1);
    assert_eq!(outcome(&plant, id).await, (OutboxState::GivenUp, "its reader has chosen a password meanwhile".to_owned()));
}

#[tokio::test]
async fn one_that_cannot_be_written_is_given_up_and_holds_up_no_other() {
    let (plant, hand) = with_anna().await;
    let user = plant.store.user_fetch(anna()).await.unwrap();
    // Taken by whoever reads addresses, and by no mail server.
    let odd =
        UserRecord { id: UserId::new(Uuid::from_u128(78)), email: EmailAddress::parse("o’neil@x.example").unwrap(), ..user };
    plant.store.user_create(odd.clone()).await.unwrap();
    let id = OutboxId::new(Uuid::from_u128(1));
    plant.store.letter_order(id, &odd, &Letter::to(&odd, LetterKind::Invitation, None), hand.now()).await.unwrap();
    hand.advance_minutes(1);
    order(&plant, &hand, LetterKind::PasswordChanged).await;
    let summary = run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap();
    assert_eq!(summary, RunSummary { sent: 1, given_up: 1, ..RunSummary::default() });
    let (state, reason) = outcome(&plant, id).await;
    assert!(state == OutboxState::GivenUp && reason.contains("cannot be written on an envelope"), "{reason}");
}

#[tokio::test]
async fn who_was_removed_gets_no_mail_and_holds_up_no_other() {
    let (plant, hand) = with_anna().await;
    let id = order(&plant, &hand, LetterKind::Invitation).await;
    plant.store.user_delete(anna()).await.unwrap();
    assert!(matches!(plant.store.user_fetch(anna()).await, Err(StoreError::NotFound(_))));
    let summary = run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap();
    assert_eq!((summary.sent, summary.given_up), (0, 0));
    // Nor does anything say who it was.
    let row = plant.store.outbox_fetch(id).await.unwrap().row;
    assert!(row.state == OutboxState::GivenUp && row.key.recipient != address(), "{row:?}");
}

#[tokio::test]
async fn what_became_of_a_way_in_is_told_without_a_link() {
    let (plant, hand) = with_anna().await;
    for kind in [LetterKind::PasswordChanged, LetterKind::SecondStepOn, LetterKind::SecondStepOff] {
        order(&plant, &hand, kind).await;
        hand.advance_minutes(1);
    }
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().sent, 3);
    for file in files(&plant.folder(), "eml") {
        let mail = parse(&std::fs::read(&file).unwrap());
        assert!(!mail.text().contains("/welcome/"), "{}", mail.text());
        assert!(
            mail.text().contains("If this was not you, ask for a new password at https://panel.sunrise.example/forgot"),
            "{}",
            mail.text()
        );
    }
}
