//! A mail server that refuses, falls silent or dies at each step.

use std::time::Duration;

use heliograph_domain::EmailAddress;
use heliograph_mailer::{MailSettings, RunSummary, Tls, TransportSettings, run_once};
use heliograph_store::{OutboxRow, OutboxState};

use crate::parse::parse;
use crate::plant::{Hand, Plant, settings};
use crate::smtp::{Fault, Server, Stage};

const SENT: RunSummary = RunSummary { made: 0, failed: 0, sent: 1, retried: 0, given_up: 0 };
const RETRIED: RunSummary = RunSummary { made: 0, failed: 0, sent: 0, retried: 1, given_up: 0 };
const GIVEN_UP: RunSummary = RunSummary { made: 0, failed: 0, sent: 0, retried: 0, given_up: 1 };

/// Settings that lead to a server, in clear.
pub fn to(server: &Server) -> MailSettings {
    to_port(server.port)
}

fn to_port(port: u16) -> MailSettings {
    let host = "127.0.0.1".to_owned();
    settings(TransportSettings::Smtp { host, port, tls: Tls::None, credentials: None, ca: None })
}

async fn row(plant: &Plant) -> OutboxRow {
    plant.store.outbox_list(1).await.unwrap().remove(0)
}

fn made(summary: RunSummary) -> RunSummary {
    RunSummary { made: 1, ..summary }
}

#[tokio::test]
async fn a_mail_goes_through_with_its_envelope() {
    let (plant, server) = (Plant::with_one_mail().await, Server::start().await);
    let hand = Hand::new("2026-11-21T06:00:00Z");
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(SENT));
    let envelope = server.envelopes();
    assert!(envelope[0].starts_with("MAIL FROM:<mail@sunrise.example>"), "{envelope:?}");
    assert_eq!(envelope[1], "RCPT TO:<anna@customer.example>");
    let stored = plant.store.outbox_fetch(row(&plant).await.id).await.unwrap();
    assert_eq!(stored.row.outcome, "250 2.0.0 taken as 42");
    let (received, stored) = (parse(&server.messages()[0]), parse(&stored.message));
    assert_eq!(received.text(), stored.text());
    assert_eq!(received.html(), stored.html());
    assert!(received.image() == stored.image(), "another image");
}

#[tokio::test]
async fn refusals_for_now_are_tried_again_and_refusals_for_good_are_not() {
    let retried = [
        Fault::Reply(Stage::Greeting, "421 4.3.2 closing"),
        Fault::Reply(Stage::Greeting, "554 5.3.2 no service for you"),
        Fault::Reply(Stage::Ehlo, "502 what"),
        Fault::Reply(Stage::Mail, "451 4.3.0 not now"),
        Fault::Reply(Stage::Rcpt, "450 4.2.1 greylisted"),
        Fault::Reply(Stage::Data, "451 4.3.0 not now"),
        Fault::Reply(Stage::Message, "452 4.3.1 disk full"),
        Fault::Reply(Stage::Mail, "421 4.3.2 closing"),
        Fault::Reply(Stage::Rcpt, "this is no SMTP"),
        Fault::HangUp(Stage::Greeting),
        Fault::HangUp(Stage::Mail),
        Fault::HangUp(Stage::Data),
        Fault::HangUp(Stage::Message),
    ];
    for fault in retried {
        let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
        server.set_fault(Some(fault));
        assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(RETRIED), "{fault:?}");
        let waiting = row(&plant).await;
        assert_eq!((waiting.state, waiting.attempts), (OutboxState::Waiting, 1), "{fault:?}");
        assert!(!waiting.outcome.is_empty(), "{fault:?}");
        let minutes = waiting.due.millis_since(hand.now()) / 60_000;
        assert!((1..=2).contains(&minutes), "{fault:?}: next try after {minutes} minutes");

        server.set_fault(None);
        assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), RunSummary::default(), "too early");
        hand.advance_minutes(2);
        assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), SENT, "{fault:?}");
    }
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Message] {
        let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
        server.set_fault(Some(Fault::Reply(stage, "550 5.1.1 no such user")));
        assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(GIVEN_UP), "{stage:?}");
        let refused = row(&plant).await;
        assert_eq!((refused.state, refused.outcome.as_str()), (OutboxState::GivenUp, "550 5.1.1 no such user"), "{stage:?}");
        server.set_fault(None);
        hand.advance_minutes(600);
        assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), RunSummary::default(), "{stage:?}");
    }
}

#[tokio::test]
async fn where_only_the_reply_to_data_was_lost_the_same_message_id_comes_twice() {
    let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
    server.set_fault(Some(Fault::HangUp(Stage::Message)));
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(RETRIED));
    server.set_fault(None);
    hand.advance_minutes(2);
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), SENT);
    let messages = server.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
    let ids = parse(&messages[0]).header("Message-ID");
    assert_eq!(ids, [row(&plant).await.message_id]);
}

#[tokio::test]
async fn a_server_that_is_not_there_gets_one_try_for_many_mails() {
    let plant = Plant::with_one_mail().await;
    for number in 2..6 {
        plant.gateway(number, "More").await;
        plant.customer(number, "More", "more@customer.example").await;
        plant.commission(number, number, "2026-11-19T23:00:00Z").await;
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let hand = Hand::new("2026-11-21T06:00:00Z");
    let summary = run_once(&plant.store, &to_port(closed), &hand.clock()).await.unwrap();
    assert_eq!((summary.made, summary.sent, summary.retried), (5, 0, 1));
    let tried = plant.store.outbox_list(9).await.unwrap().into_iter().find(|row| row.attempts == 1).unwrap();
    assert!(tried.outcome.starts_with(&format!("connect to 127.0.0.1:{closed}")), "{}", tried.outcome);
}

#[tokio::test]
async fn many_mails_share_a_connection() {
    let (plant, server) = (Plant::with_one_mail().await, Server::start().await);
    for number in 2..6 {
        plant.gateway(number, "More").await;
        plant.customer(number, "More", "more@customer.example").await;
        plant.commission(number, number, "2026-11-19T23:00:00Z").await;
    }
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    assert_eq!(run_once(&plant.store, &to(&server), &clock).await.unwrap().sent, 5);
    assert_eq!((server.messages().len(), server.connections()), (5, 1));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_before_the_claim_ends() {
    for stage in [Stage::Greeting, Stage::Rcpt, Stage::Message] {
        let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
        server.set_fault(Some(Fault::Hang(stage)));
        let (settings, clock) = (to(&server), hand.clock());
        let run = run_once(&plant.store, &settings, &clock);
        tokio::pin!(run);
        tokio::select! {
            _ = &mut run => panic!("the run ended before the server fell silent"),
            () = server.hanging() => {}
        }
        // From here on only the timeouts move.
        tokio::time::pause();
        let before = tokio::time::Instant::now();
        let summary = run.await.unwrap();
        let waited = before.elapsed();
        tokio::time::resume();
        assert_eq!(summary, made(RETRIED), "{stage:?}");
        assert!(waited < Duration::from_secs(300), "{stage:?}: {waited:?}");
        let waiting = row(&plant).await;
        assert_eq!(waiting.state, OutboxState::Waiting, "{stage:?}: {}", waiting.outcome);
    }
}

#[tokio::test]
async fn a_mail_that_never_gets_through_is_given_up_after_three_days_with_the_reason() {
    let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
    server.set_fault(Some(Fault::Reply(Stage::Rcpt, "450 4.2.1 greylisted for ever")));
    run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap();
    let first = row(&plant).await;
    // The customer leaves, so that no later day makes a mail of its own.
    plant
        .store
        .customer_save(heliograph_domain::Customer {
            id: crate::plant::customer_id(1),
            name: "Anna Weber".to_owned(),
            email: None,
        })
        .await
        .unwrap();
    let mut total = RunSummary::default();
    while total.given_up == 0 {
        let due = plant.store.outbox_fetch(first.id).await.unwrap().row.due;
        assert!(due.millis_since(first.created) <= 72 * 3_600_000, "tried after three days");
        hand.set(due);
        let run = run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap();
        assert_eq!(run.sent, 0);
        (total.retried, total.given_up) = (total.retried + run.retried, total.given_up + run.given_up);
    }
    let last = plant.store.outbox_fetch(first.id).await.unwrap().row;
    assert_eq!((last.state, last.outcome.as_str()), (OutboxState::GivenUp, "450 4.2.1 greylisted for ever"));
    assert!((12..40).contains(&last.attempts), "{} attempts", last.attempts);
    assert_eq!(hand.now().millis_since(first.created), 72 * 3_600_000);
}

#[tokio::test]
async fn an_address_with_another_alphabet_goes_out_in_ascii_or_is_given_up_with_a_reason() {
    let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
    plant.customer(1, "Jörg Müller", "joerg@bücher.example").await;
    assert!(EmailAddress::parse("用户@例え.example").is_ok());
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(SENT));
    assert_eq!(server.envelopes()[1], "RCPT TO:<joerg@xn--bcher-kva.example>");
    assert_eq!(parse(&server.messages()[0]).header("To"), ["Jörg Müller <joerg@xn--bcher-kva.example>"]);

    plant.customer(1, "用户", "用户@例え.example").await;
    assert_eq!(run_once(&plant.store, &to(&server), &hand.clock()).await.unwrap(), made(GIVEN_UP));
    let rows = plant.store.outbox_list(2).await.unwrap();
    assert!(rows.iter().any(|row| row.outcome.contains("SMTPUTF8")), "{rows:?}");
}
