//! The outbox.

use heliograph_domain::{EmailAddress, OutboxId};
use heliograph_store::{OutboxKey, OutboxNew, OutboxRow, OutboxState};
use uuid::Uuid;

use crate::backend::{minute, on_every_backend};

fn mail(number: u128, period: &str) -> OutboxNew {
    OutboxNew {
        id: OutboxId::new(Uuid::from_u128(number)),
        key: OutboxKey {
            report: "daily".into(),
            period: period.into(),
            recipient: EmailAddress::parse("anna@example.org").unwrap(),
        },
        subject: "Yesterday".into(),
        message_id: format!("<{number}@example.org>"),
        message: b"Subject: Yesterday\r\n\r\n".to_vec(),
        created: minute(0),
        due: minute(number as i64),
    }
}

#[tokio::test]
async fn a_mail_of_one_key_is_kept_once() {
    on_every_backend(|store| async move {
        assert!(store.outbox_put(mail(1, "2026-06-14")).await.unwrap());
        assert!(!store.outbox_put(mail(2, "2026-06-14")).await.unwrap());
        assert!(store.outbox_put(mail(3, "2026-06-15")).await.unwrap());
        assert!(store.outbox_contains(&mail(9, "2026-06-14").key).await.unwrap());
        assert!(!store.outbox_contains(&mail(9, "2026-06-16").key).await.unwrap());
        assert_eq!(store.outbox_list(10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn mails_are_listed_a_part_at_a_time() {
    on_every_backend(|store| async move {
        // Two of each time, in three months.
        let made = |number: u128| OutboxNew { created: minute(number as i64 / 2 * 40_000), ..mail(number, &number.to_string()) };
        for number in 0..8 {
            assert!(store.outbox_put(made(number)).await.unwrap());
        }
        let ids = |rows: &[OutboxRow]| rows.iter().map(|row| row.id.as_uuid().as_u128()).collect::<Vec<_>>();
        assert_eq!(ids(&store.outbox_list(100).await.unwrap()), [7, 6, 5, 4, 3, 2, 1, 0]);
        for limit in [1, 3, 8] {
            let (mut all, mut before) = (Vec::new(), None);
            loop {
                let part = store.outbox_list_before(before, limit).await.unwrap();
                all.extend(ids(&part));
                before = part.last().map(|last| (last.created, last.id));
                if part.len() < limit {
                    break;
                }
            }
            assert_eq!(all, [7, 6, 5, 4, 3, 2, 1, 0], "{limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_claimed_mail_is_due_again_only_when_its_claim_ends() {
    on_every_backend(|store| async move {
        store.outbox_put(mail(1, "a")).await.unwrap();
        assert_eq!(store.outbox_claim(minute(0), minute(5)).await.unwrap(), None);
        let claimed = store.outbox_claim(minute(1), minute(6)).await.unwrap().unwrap();
        assert_eq!((claimed.row.attempts, claimed.message), (1, mail(1, "a").message));
        assert_eq!(store.outbox_claim(minute(2), minute(7)).await.unwrap(), None);
        let again = store.outbox_claim(minute(6), minute(11)).await.unwrap().unwrap();
        assert_eq!((again.row.attempts, again.row.message_id.as_str()), (2, "<1@example.org>"));
        store.outbox_sent(again.row.id, "250 ok", minute(7)).await.unwrap();
        assert_eq!(store.outbox_claim(minute(99), minute(100)).await.unwrap(), None);
        let row = store.outbox_fetch(again.row.id).await.unwrap().row;
        assert_eq!((row.state, row.outcome.as_str(), row.sent), (OutboxState::Sent, "250 ok", Some(minute(7))));
    })
    .await;
}

#[tokio::test]
async fn a_mail_is_tried_again_or_given_up() {
    on_every_backend(|store| async move {
        store.outbox_put(mail(1, "a")).await.unwrap();
        let id = store.outbox_claim(minute(1), minute(6)).await.unwrap().unwrap().row.id;
        store.outbox_retry(id, "451 later", minute(30)).await.unwrap();
        assert_eq!(store.outbox_claim(minute(29), minute(40)).await.unwrap(), None);
        assert!(store.outbox_claim(minute(30), minute(40)).await.unwrap().is_some());
        store.outbox_give_up(id, "550 no such user", minute(31)).await.unwrap();
        assert_eq!(store.outbox_claim(minute(99), minute(100)).await.unwrap(), None);
        assert_eq!(store.outbox_list(1).await.unwrap()[0].state, OutboxState::GivenUp);
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_a_clock_far_ahead_put_off_is_due_now() {
    on_every_backend(|store| async move {
        let (day, year) = (24 * 60, 365 * 24 * 60);
        store.outbox_put(mail(1, "a")).await.unwrap();
        let id = store.outbox_claim(minute(year), minute(year + 5)).await.unwrap().unwrap().row.id;
        // Whoever is behind all mails is wrong and takes none that is another's.
        assert_eq!(store.outbox_claim(minute(-year), minute(5 - year)).await.unwrap(), None);
        let claimed = store.outbox_claim(minute(1), minute(6)).await.unwrap().unwrap();
        assert_eq!((claimed.row.id, claimed.row.attempts, claimed.row.due), (id, 2, minute(6)));
        assert_eq!(store.outbox_claim(minute(2), minute(7)).await.unwrap(), None);
        store.outbox_retry(id, "451 later", minute(6 + day)).await.unwrap();
        assert_eq!(store.outbox_claim(minute(6), minute(11)).await.unwrap(), None, "it may wait for so long");
        assert!(store.outbox_claim(minute(5), minute(10)).await.unwrap().is_some());
    })
    .await;
}
