//! Mails whose sender never learned that they were put.

use std::time::Duration;

use super::*;
use crate::cassandra::mark::Timing;
use crate::cassandra::trial::{openings, remove};

fn mail() -> OutboxNew {
    let recipient = EmailAddress::parse("anna@example.org").unwrap();
    OutboxNew {
        id: OutboxId::new(Uuid::from_u128(7)),
        key: OutboxKey { report: "daily".into(), period: "2026-06-14".into(), recipient },
        subject: "Yesterday".into(),
        message_id: "<7@example.org>".into(),
        message: b"Subject: Yesterday\r\n\r\n".to_vec(),
        created: Timestamp::clamped(0),
        due: Timestamp::clamped(0),
    }
}

/// A mail that is there, with signs that go in two seconds, as they are where the
/// answer to its condition did not come.
async fn half_put(db: &Database) {
    assert!(db.outbox_put(mail()).await.unwrap());
    let OutboxNew { id, created, due, .. } = mail();
    db.put_signs(&part_of(&mail().key), Signs { id, created, due }, 2).await.unwrap();
}

#[tokio::test]
async fn a_mail_that_is_put_again_keeps_the_signs_that_lead_to_it() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    half_put(&db).await;
    assert!(!db.outbox_put(mail()).await.unwrap());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let claimed = db.outbox_claim(Timestamp::clamped(1), Timestamp::clamped(9)).await.unwrap();
    assert_eq!(claimed.unwrap().row.id, mail().id);
    assert_eq!(db.outbox_list(None, 10).await.unwrap().len(), 1);
    remove(&db).await;
}

#[tokio::test]
async fn a_mail_that_is_claimed_can_be_settled_however_it_was_put() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    half_put(&db).await;
    assert!(db.outbox_claim(Timestamp::clamped(1), Timestamp::clamped(9)).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_secs(3)).await;
    db.outbox_settle(mail().id, OutboxState::Sent, "250 ok", Timestamp::clamped(5)).await.unwrap();
    // Put once more it is known, settled, and nobody sends it again.
    assert!(!db.outbox_put(mail()).await.unwrap());
    assert!(db.outbox_claim(Timestamp::clamped(99), Timestamp::clamped(100)).await.unwrap().is_none());
    assert_eq!(db.outbox_fetch(mail().id).await.unwrap().row.state, OutboxState::Sent);
    remove(&db).await;
}
