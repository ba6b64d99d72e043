//! A customer's personal data goes, and nothing else.

use std::path::Path;

use heliograph_domain::{
    Commission, CommissionId, Customer, CustomerId, EmailAddress, KeyDigest, OutboxId, ProviderId, TimeWindow, UserId, UserRole,
};
use heliograph_store::{
    CustomerErasure, OutboxKey, OutboxNew, OutboxState, ProviderStore, SessionRow, Store, StoreError, StoreUrl, UserRecord,
};
use uuid::Uuid;

use crate::backend::{Backend, gateway, minute, on_every_backend, power};
use crate::cluster;

/// How the addresses begin that people signed in from.
const SIGNED_IN_FROM: &str = "203.0.113.";

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

async fn mail(store: &ProviderStore, number: u128, to: &str) {
    let key = OutboxKey { report: "daily".into(), period: format!("2026-06-{number:02}"), recipient: address(to) };
    put(store, number, key).await;
}

async fn report(store: &ProviderStore, number: u128, about: CustomerId, to: &str) {
    put(store, number, OutboxKey::about(about, "daily", format!("2026-06-{number:02}"), address(to))).await;
}

async fn put(store: &ProviderStore, number: u128, key: OutboxKey) {
    let mail = OutboxNew {
        id: OutboxId::new(Uuid::from_u128(number)),
        key,
        subject: "Good day Frieda Niemand".into(),
        message_id: format!("<{number}@x>"),
        // Longer than a page of a file.
        message: b"Dear Frieda Niemand".repeat(500),
        created: minute(0),
        due: minute(0),
    };
    assert!(store.outbox_put(mail).await.unwrap());
}

async fn person(store: &ProviderStore, number: u128, (name, email): (&str, &str), customer: Option<CustomerId>) {
    let user = UserRecord {
        id: UserId::new(Uuid::from_u128(number)),
        email: address(email),
        name: name.into(),
        role: if customer.is_some() { UserRole::Customer } else { UserRole::Operator },
        customer,
        assignment: None,
        password_hash: None,
        created: minute(0),
    };
    store.user_create(user.clone()).await.unwrap();
    // Where somebody signed in from and with what, behind when.
    let data = [&[0; 8][..], format!("{SIGNED_IN_FROM}{number}\nBrowser of somebody").as_bytes()].concat();
    let session = SessionRow { digest: KeyDigest([number as u8; 32]), user: Some(user.id), data, expires: minute(10_000) };
    store.session_save(session).await.unwrap();
}

/// A customer with a person, three commissions and three mails, and a colleague
/// who shares an address with it.
async fn fill(store: &ProviderStore) -> CustomerId {
    let customer = Customer {
        id: CustomerId::new(Uuid::from_u128(1)),
        name: "Frieda Niemand".into(),
        email: Some(address("shared@x.example")),
    };
    store.customer_save(customer.clone()).await.unwrap();
    store.document_write(power("gw-1", &[(1, 1.0), (500, 2.0)])).await.unwrap();
    for (number, from, until) in [(1, 0, Some(10)), (2, 10, None)] {
        let window = TimeWindow { from: minute(from), until: until.map(minute) };
        let id = CommissionId::new(Uuid::from_u128(number));
        store.commission_create(Commission { id, customer: customer.id, gateway: gateway("gw-1"), window }).await.unwrap();
    }
    person(store, 11, ("Frieda Niemand", "frieda@niemand.example"), Some(customer.id)).await;
    person(store, 12, ("Karl", "shared@x.example"), None).await;
    mail(store, 1, "frieda@niemand.example").await;
    mail(store, 2, "frieda@niemand.example").await;
    mail(store, 3, "shared@x.example").await;
    customer.id
}

#[tokio::test]
async fn what_is_personal_is_erased_and_what_was_measured_stays() {
    on_every_backend(|store| async move {
        let customer = fill(&store).await;
        let erased = store.customer_erase(customer, minute(100)).await.unwrap();
        assert_eq!(erased, CustomerErasure { people: 1, mails: 2, commissions_ended: 1, left_in_log: false });

        let left = store.customer_fetch(customer).await.unwrap();
        assert_eq!((left.name.as_str(), left.email), ("erased", None));
        assert_eq!(store.user_list().await.unwrap().len(), 1, "the colleague stays");
        assert!(store.session_load(KeyDigest([11; 32]), minute(1)).await.unwrap().is_none());
        assert!(store.session_load(KeyDigest([12; 32]), minute(1)).await.unwrap().is_some());
        let ends: Vec<_> =
            store.commission_list_by_customer(customer).await.unwrap().iter().map(|commission| commission.window.until).collect();
        assert_eq!(ends, [Some(minute(10)), Some(minute(100))]);
        for row in store.outbox_list(9).await.unwrap() {
            let message = store.outbox_fetch(row.id).await.unwrap().message;
            if row.key.recipient == address("shared@x.example") {
                assert_eq!((row.state, message.is_empty()), (OutboxState::Waiting, false), "it is the colleague's too");
            } else {
                assert!(row.key.recipient.as_str().ends_with("@erased.invalid") && message.is_empty());
                assert_eq!((row.subject.as_str(), row.state), ("erased", OutboxState::GivenUp), "and it is never sent");
            }
        }
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 9).await.unwrap();
        assert_eq!(page.rows.len(), 2);
        let verdict = store.audit_verify(None).await.unwrap();
        assert_eq!(
            (verdict.fault, store.audit_list(verdict.head.seq, 1).await.unwrap()[0].action.as_str()),
            (None, "customer.erase")
        );
        assert!(matches!(
            store.customer_erase(CustomerId::new(Uuid::from_u128(9)), minute(1)).await,
            Err(StoreError::NotFound(_))
        ));
    })
    .await;
}

#[tokio::test]
async fn a_report_about_a_customer_is_theirs_wherever_it_went() {
    on_every_backend(|store| async move {
        let customer = fill(&store).await;
        let other = Customer { id: CustomerId::new(Uuid::from_u128(2)), name: "Otto".into(), email: None };
        store.customer_save(other.clone()).await.unwrap();
        // To an address that it has no longer, and to one that somebody else has too.
        report(&store, 4, customer, "former@niemand.example").await;
        report(&store, 5, customer, "shared@x.example").await;
        report(&store, 6, other.id, "former@niemand.example").await;
        let theirs = store.outbox_list_by_customer(customer).await.unwrap();
        let numbers: Vec<u128> = theirs.iter().map(|mail| mail.id.as_uuid().as_u128()).collect();
        assert_eq!(numbers, [5, 4, 2, 1]);

        assert_eq!(store.customer_erase(customer, minute(100)).await.unwrap().mails, 4);
        for mail in store.outbox_list(9).await.unwrap() {
            let kept = [3, 6].contains(&mail.id.as_uuid().as_u128());
            assert_eq!(store.outbox_fetch(mail.id).await.unwrap().message.is_empty(), !kept, "{mail:?}");
            assert_eq!(mail.key.recipient.as_str().ends_with("@erased.invalid"), !kept, "{mail:?}");
        }
        assert!(store.outbox_list_by_customer(customer).await.unwrap().is_empty());
        assert_eq!(store.customer_erase(customer, minute(101)).await.unwrap().mails, 0, "once is enough");
        let nobody = CustomerId::new(Uuid::from_u128(9));
        assert!(matches!(store.outbox_list_by_customer(nobody).await, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn no_byte_of_an_erased_name_stays_in_the_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let root = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    let store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let customer = fill(&store).await;
    store.user_delete(UserId::new(Uuid::from_u128(12))).await.unwrap();
    // Another role, which has read and goes on.
    let role = Store::open(StoreUrl::sqlite(folder.path())).unwrap().provider(store.provider()).unwrap();
    assert_eq!(role.customer_list().await.unwrap().len(), 1);
    assert_eq!(held(folder.path()), [true; 4]);
    // What was overwritten and deleted before the erasing is gone with it.
    for attempt in 1..4 {
        let claimed = store.outbox_claim(minute(attempt), minute(attempt + 1)).await.unwrap().unwrap();
        store.outbox_retry(claimed.row.id, "451 later", minute(attempt + 1)).await.unwrap();
    }
    person(&store, 13, ("Frieda Niemand", "gone@niemand.example"), Some(customer)).await;
    store.user_delete(UserId::new(Uuid::from_u128(13))).await.unwrap();
    let now = store.customer_fetch(customer).await.unwrap();
    store.customer_save(Customer { name: "Anna".into(), ..now }).await.unwrap();
    let erased = store.customer_erase(customer, minute(100)).await.unwrap();
    assert!(!erased.left_in_log);
    assert_eq!(held(folder.path()), [false; 4], "while both have the file open");
    role.document_write(power("gw-1", &[(501, 2.0)])).await.unwrap();
    role.close().await;
    store.close().await;
    assert_eq!(held(folder.path()), [false; 4]);
}

/// Whether address, name, a mail and an address of a session are in some file of a folder.
fn held(folder: &Path) -> [bool; 4] {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    ["frieda@niemand", "Frieda Niemand", "Dear Frieda", SIGNED_IN_FROM]
        .map(|text| files.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())))
}

#[tokio::test]
async fn what_is_left_in_the_log_because_somebody_reads_is_said_and_goes_with_the_next_attempt() {
    let folder = tempfile::TempDir::new().unwrap();
    let root = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    let store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let customer = fill(&store).await;
    store.user_delete(UserId::new(Uuid::from_u128(12))).await.unwrap();
    let reader = rusqlite::Connection::open(folder.path().join("sunrise.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM customer").unwrap();
    assert!(store.customer_erase(customer, minute(100)).await.unwrap().left_in_log);
    reader.execute_batch("COMMIT").unwrap();
    let again = store.customer_erase(customer, minute(101)).await.unwrap();
    assert_eq!(again, CustomerErasure { people: 0, mails: 0, commissions_ended: 0, left_in_log: false });
    assert_eq!(held(folder.path()), [false; 4]);
    store.close().await;
}

#[tokio::test]
async fn no_row_of_a_keyspace_holds_an_erased_name() {
    let store = Backend::Cassandra.fresh();
    let customer = fill(&store).await;
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (mail, signed_in) = (format!("0x{}", hex("Dear Frieda")), hex(SIGNED_IN_FROM));
    let colleague = hex(&format!("{SIGNED_IN_FROM}12\n"));
    assert!(cluster::rows_of(store.provider()).contains(&colleague));
    store.user_delete(UserId::new(Uuid::from_u128(12))).await.unwrap();
    assert!(!cluster::rows_of(store.provider()).contains(&colleague));
    let personal = ["frieda@niemand", "Frieda Niemand", &mail, &signed_in];
    let held = |rows: String| personal.map(|text| rows.contains(text));
    assert_eq!(held(cluster::rows_of(store.provider())), [true; 4]);
    store.customer_erase(customer, minute(100)).await.unwrap();
    assert_eq!(held(cluster::rows_of(store.provider())), [false; 4]);
}
