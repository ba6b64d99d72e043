//! Rows in the words of the release of schema 1, read by the calls of this one.

use std::time::Duration;

use heliograph_domain::{
    Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, GatewayId, KeyDigest, LocationId, OutboxId,
    ProviderSettings, QuarantineId, SpanStep, TimeWindow, Timestamp, UserId, UserRole,
};

use super::*;
use crate::cassandra::mark::Timing;
use crate::cassandra::{rollup, span};
use crate::rollup::Sight;
use crate::store::{ProviderStore, Store};

/// A statement a line, as rows stood after a day of use; of one thing each.
const ROWS: &str = include_str!("rows-1.cql");

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Trial {
    async fn write_rows(&self) {
        for cql in ROWS.lines().filter(|line| !line.is_empty()) {
            let cql = cql.replace("provider_first", &keyspace(&self.provider));
            self.session.query_unpaged(cql.as_str(), ()).await.unwrap_or_else(|error| panic!("{cql}: {error}"));
        }
    }

    /// A store with these rows.
    async fn store(&self) -> ProviderStore {
        self.write_rows().await;
        Store::open(url()).unwrap().provider(&self.provider).unwrap()
    }
}

#[tokio::test]
async fn what_people_set_up_in_the_release_before_is_read() {
    let trial = Trial::first().await;
    let store = trial.store().await;
    let location = store.location_fetch(LocationId::new(id(1))).await.unwrap();
    let position = location.position.map(|position| (position.latitude(), position.longitude()));
    assert_eq!((location.name.as_str(), location.zone.name(), position), ("Roof", "Europe/Madrid", Some((40.4, -3.7))));
    let gateway = GatewayId::parse("gw-1").unwrap();
    let record = store.gateway_fetch(&gateway).await.unwrap();
    assert_eq!((record.name(), record.location, record.documents), ("Roof of Ana", Some(location.id), 1));
    let keys = &store.gateway_directory().await.unwrap()[0].keys;
    assert_eq!(
        keys.iter().map(|key| (key.id, key.digest)).collect::<Vec<_>>(),
        [(Some(CredentialId::new(id(2))), KeyDigest([7; 32]))]
    );
    let ana = Customer {
        id: CustomerId::new(id(3)),
        name: "Ana".to_owned(),
        email: Some(EmailAddress::parse("ana@x.example").unwrap()),
    };
    assert_eq!(store.customer_list().await.unwrap(), std::slice::from_ref(&ana));
    let window = TimeWindow { from: at("2026-06-02T00:00:00Z"), until: None };
    let commission = Commission { id: CommissionId::new(id(4)), customer: ana.id, gateway, window };
    assert_eq!(store.commission_list().await.unwrap(), [commission]);
    let owner = store.user_fetch(UserId::new(id(5))).await.unwrap();
    assert_eq!((owner.name.as_str(), owner.role, owner.password_hash.as_deref()), ("Olga", UserRole::Owner, Some("$argon2id$x")));
    // It knew nothing of tariffs, of alerts and of how many gateways there may be.
    let settings = ProviderSettings { name: "Sunrise".to_owned(), ..ProviderSettings::default() };
    assert_eq!(store.settings_fetch().await.unwrap(), settings);
    assert_eq!(store.correction_list().await.unwrap()[0].reason, "seen on site");

    // What changes now stands behind what it wrote.
    store.customer_save(Customer { name: "Ana M.".to_owned(), ..ana }).await.unwrap();
    let verdict = store.audit_verify(None).await.unwrap();
    assert_eq!((verdict.fault, verdict.head.seq), (None, 9));
    let trail = store.audit_list(1, 100).await.unwrap();
    let actions: Vec<&str> = trail.iter().map(|row| row.action.as_str()).collect();
    assert_eq!((actions[0], actions[7], actions[8]), ("location.save", "correction.create", "customer.save"));
    store.close().await;
    trial.run("DROP KEYSPACE @").await;
}

#[tokio::test]
async fn sessions_mails_and_what_was_refused_in_the_release_before_are_read() {
    let trial = Trial::first().await;
    let store = trial.store().await;
    let (now, owner) = (at("2026-06-16T00:00:00Z"), UserId::new(id(5)));
    let session = store.session_load(KeyDigest([9; 32]), now).await.unwrap().unwrap();
    assert_eq!((session.user, session.data.as_slice()), (Some(owner), &b"kept with it"[..]));
    assert_eq!(store.login_link_peek(KeyDigest([8; 32]), now).await.unwrap(), Some(owner));
    assert!(store.session_prolong(session.digest, now.plus_millis(60_000)).await.unwrap());

    let mail = store.outbox_claim(now, now.plus_millis(60_000)).await.unwrap().unwrap();
    assert_eq!((mail.row.id, mail.message.as_slice()), (OutboxId::new(id(6)), &b"Dear Ana"[..]));
    assert_eq!((mail.row.key.period.as_str(), mail.row.subject.as_str()), ("2026-06-14", "Good day"));
    assert_eq!(store.outbox_list(10).await.unwrap().len(), 1);
    assert!(store.outbox_contains(&mail.row.key).await.unwrap(), "the same is not made again");

    let listed = store.quarantine_list(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|row| (row.entry.id, row.bytes)).collect::<Vec<_>>(), [(QuarantineId::new(id(7)), 5)]);
    assert_eq!(store.quarantine_fetch(QuarantineId::new(id(7))).await.unwrap().entry.raw, b"<push");
    store.close().await;
    trial.run("DROP KEYSPACE @").await;
}

#[tokio::test]
async fn readings_and_rollups_of_the_release_before_are_read_and_its_marks_settled() {
    let trial = Trial::first().await;
    trial.write_rows().await;
    // A mark is taken for complete soon.
    let soon = Timing { settled: Duration::from_secs(2), pause: Duration::ZERO, ..Timing::default() };
    let db = Database::with_timing(trial.cluster.clone(), &trial.provider, soon);
    let (gateway, now) = (GatewayId::parse("gw-1").unwrap(), at("2026-06-16T00:00:00Z"));
    let page = reading::page(&db, &gateway, TimeWindow::ALWAYS, 10).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [400.0, 401.0, 402.0, 403.0]);

    let deadline = Instant::now() + Duration::from_secs(60);
    assert!(rollup::waiting(&db).await.unwrap() >= 4);
    while rollup::waiting(&db).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "its marks stay");
        rollup::settle(&db, now).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Of May there are rollups alone; of the last window of June there was a mark alone.
    let always = (TimeWindow::ALWAYS, Sight::ALWAYS);
    let windows = rollup::list(&db, &gateway, always, |_, _| true, now).await.unwrap().remove(0).windows;
    assert_eq!(windows.iter().map(|window| window.rollup.first).collect::<Vec<_>>(), [777.0, 400.0, 401.0, 402.0, 403.0]);
    for step in SpanStep::ALL {
        let spans = span::list(&db, &gateway, *step, TimeWindow::ALWAYS, now).await.unwrap().remove(0).spans;
        let figures: Vec<_> = spans.iter().map(|span| (span.span.zone.name(), span.rollup.count, span.rollup.max)).collect();
        assert_eq!(figures, [("UTC", 1, 777.0), ("Europe/Madrid", 4, 403.0)], "{step}");
    }
    db.close().await;
    trial.run("DROP KEYSPACE @").await;
}
