//! Archives: everything out, everything in again, nothing of a broken one.

use std::hash::BuildHasher;
use std::io::Write;
use std::sync::{Arc, Mutex};

use heliograph_domain::{
    Actor, Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, KeyDigest, Location, LocationId, OutboxId,
    Position, ProviderId, ProviderSettings, QuarantineId, RefusalCode, SensorId, SensorRole, TimeWindow, UserId, UserRole, Zone,
};
use heliograph_store::{
    ArchiveSummary, CredentialNew, GatewayCommissioning, OutboxKey, OutboxNew, ProviderStore, QuarantineNew, RetentionPlan,
    SensorUpdate, StoreError, UserRecord, archive_verify,
};
use uuid::Uuid;

use crate::backend::{Fresh, document, gateway, minute, on_embedded, power};

/// A file in memory that outlives its writer.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A provider with something in each table.
async fn fill(store: &ProviderStore) {
    let store = store.acting_as(Actor::Operator);
    store
        .settings_save(ProviderSettings { name: "Sunrise".into(), retention_days: Some(9), ..ProviderSettings::default() })
        .await
        .unwrap();
    let location = Location {
        id: LocationId::new(Uuid::from_u128(1)),
        name: "Roof \"A\"\n".to_owned(),
        zone: Zone::parse("Europe/Madrid").unwrap(),
        position: Some(Position::new(0.1 + 0.2, -3.7).unwrap()),
        installed_kwp: Some(1.0 / 3.0),
    };
    store.location_save(location.clone()).await.unwrap();
    for name in ["gw-1", "gw-\"2\" 用户"] {
        let commissioning = GatewayCommissioning {
            gateway: gateway(name),
            label: None,
            location: location.id,
            from: minute(0),
            credential: CredentialNew { id: CredentialId::new(Uuid::from_u128(name.len() as u128)), digest: KeyDigest([7; 32]) },
            at: minute(0),
        };
        store.gateway_commission(commissioning).await.unwrap();
        for day in 0..4 {
            let values: Vec<(i64, f64)> = (0..288).map(|step| (day * 1440 + step * 5, 1e3 / (step + 1) as f64)).collect();
            store.document_write(power(name, &values)).await.unwrap();
        }
        let odd = [(minute(1), f64::MIN_POSITIVE), (minute(2), -0.0), (minute(3), 0.1 + 0.2)];
        store.document_write(document(name, "meter", "energy", "Wh", &odd)).await.unwrap();
    }
    store.gateway_knock(&gateway("waiting"), "192.0.2.1:99", minute(3)).await.unwrap();
    let sensor = SensorUpdate { label: Some("South".into()), role: SensorRole::Inverter, rated_w: Some(0.7) };
    store.sensor_update(&gateway("gw-1"), &SensorId::parse("inverter-1").unwrap(), sensor).await.unwrap();
    while store.rollup_settle().await.unwrap() > 0 {}
    let plan = RetentionPlan::of(2, minute(4 * 1440));
    while !store.retention_step(plan).await.unwrap().done {}
    store.document_write(power("gw-1", &[(5000, 4.5)])).await.unwrap();
    let email = EmailAddress::parse("ana@example.org").unwrap();
    let customer = Customer { id: CustomerId::new(Uuid::from_u128(2)), name: "Ana".into(), email: Some(email.clone()) };
    store.customer_save(customer.clone()).await.unwrap();
    let window = TimeWindow { from: minute(10), until: None };
    let id = CommissionId::new(Uuid::from_u128(3));
    store.commission_create(Commission { id, customer: customer.id, gateway: gateway("gw-1"), window }).await.unwrap();
    let user = UserRecord {
        id: UserId::new(Uuid::from_u128(4)),
        email: email.clone(),
        name: "Ana".into(),
        role: UserRole::Customer,
        customer: Some(customer.id),
        password_hash: Some("$argon2id$".into()),
        created: minute(1),
    };
    store.user_create(user).await.unwrap();
    let mail = OutboxNew {
        id: OutboxId::new(Uuid::from_u128(5)),
        key: mail_key(),
        subject: "Your day".into(),
        message_id: "<1@x>".into(),
        message: vec![0, 255, 10],
        created: minute(1),
        due: minute(2),
    };
    assert!(store.outbox_put(mail).await.unwrap());
    let refused = QuarantineNew {
        id: QuarantineId::new(Uuid::from_u128(6)),
        received: minute(1),
        gateway: Some("gw-1".into()),
        address: "192.0.2.1:5".into(),
        code: RefusalCode::Malformed,
        reason: "no".into(),
        raw: vec![0xff; 100],
        trusted: true,
    };
    store.quarantine_add(refused).await.unwrap();
}

fn mail_key() -> OutboxKey {
    OutboxKey { report: "daily".into(), period: "2026-06-15".into(), recipient: EmailAddress::parse("ana@example.org").unwrap() }
}

async fn create(store: &ProviderStore) -> (ArchiveSummary, Vec<u8>) {
    let file = File::default();
    let summary = store.archive_create(file.clone(), Box::new(|_, _| {})).await.unwrap();
    let bytes = file.0.lock().unwrap().clone();
    (summary, bytes)
}

fn verify(archive: &[u8]) -> Result<ArchiveSummary, StoreError> {
    archive_verify(archive, Box::new(|_, _| {}))
}

fn empty(store: &Fresh, name: &str) -> ProviderStore {
    store.root.provider(&ProviderId::parse(name).unwrap()).unwrap()
}

/// The digests of all members but those that grow with each archive.
fn digests(summary: &ArchiveSummary) -> Vec<(String, String)> {
    let stays = |name: &str| !name.starts_with("audit");
    summary
        .members
        .iter()
        .filter(|member| stays(&member.name))
        .map(|member| (member.name.clone(), member.sha256.clone()))
        .collect()
}

#[tokio::test]
async fn what_goes_out_comes_in_again_bit_for_bit() {
    on_embedded(|store| async move {
        fill(&store).await;
        let (summary, archive) = create(&store).await;
        assert_eq!(verify(&archive).unwrap(), summary);
        for table in summary.tables().filter(|table| !["records", "spans"].contains(table)) {
            assert!(summary.rows(table) > 0, "{table}");
        }
        let twin = empty(&store, "twin");
        assert_eq!(twin.archive_restore(std::io::Cursor::new(archive), Box::new(|_, _| {})).await.unwrap(), summary);
        let (again, _) = create(&twin).await;
        assert_eq!(digests(&again), digests(&summary));
        let all = TimeWindow::ALWAYS;
        let (mut old, mut new) = (store.audit_list(1, 1000).await.unwrap(), twin.audit_list(1, 1000).await.unwrap());
        assert_eq!(new.split_off(old.len())[0].action, "archive.restore");
        assert_eq!(old.split_off(0), new);
        assert_eq!(twin.audit_verify(None).await.unwrap().fault, None);
        for name in ["gw-1", "gw-\"2\" 用户"] {
            let page = store.reading_page(&gateway(name), all, usize::MAX).await.unwrap();
            assert_eq!(twin.reading_page(&gateway(name), all, usize::MAX).await.unwrap(), page);
            assert_eq!(
                twin.rollup_list(&gateway(name), all, all).await.unwrap(),
                store.rollup_list(&gateway(name), all, all).await.unwrap()
            );
        }
        assert_eq!(twin.user_list().await.unwrap(), store.user_list().await.unwrap());
        assert_eq!(twin.gateway_list().await.unwrap(), store.gateway_list().await.unwrap());
        assert_eq!(twin.quarantine_usage().await.unwrap(), store.quarantine_usage().await.unwrap());
        assert_eq!(twin.gateway_directory().await.unwrap()[0].keys, store.gateway_directory().await.unwrap()[0].keys);
        assert!(twin.outbox_contains(&mail_key()).await.unwrap(), "no mail is sent twice");
        // It is a store like any other.
        twin.document_write(power("gw-1", &[(6000, 4.5)])).await.unwrap();
        assert!(twin.rollup_settle().await.unwrap() > 0);
    })
    .await;
}

#[tokio::test]
async fn a_broken_archive_is_refused_wherever_it_is_broken() {
    on_embedded(|store| async move {
        fill(&store).await;
        let (_, archive) = create(&store).await;
        let seed: u64 = std::collections::hash_map::RandomState::new().hash_one(archive.len());
        println!("seed {seed}");
        let mut random = seed;
        for round in 0..300 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 16).unwrap() % archive.len();
            let mut broken = archive.clone();
            match round % 3 {
                0 => broken.truncate(at),
                1 => broken[at] ^= 1 << (random % 8),
                _ => drop(broken.splice(at..at, [0])),
            }
            let refused = verify(&broken);
            assert!(matches!(refused, Err(StoreError::Archive(_))), "round {round} at {at}: {refused:?}");
        }
        for broken in [&archive[..archive.len() - 1], &[&archive[..], &[0]].concat(), &[], b"no archive at all"] {
            assert!(matches!(verify(broken), Err(StoreError::Archive(_))));
        }
        let twin = empty(&store, "twin");
        let mut broken = archive.clone();
        let last = broken.len() - 1200;
        broken[last] ^= 1;
        let refused = twin.archive_restore(std::io::Cursor::new(broken), Box::new(|_, _| {})).await;
        assert!(matches!(refused, Err(StoreError::Archive(_))), "{refused:?}");
        assert!(twin.gateway_list().await.unwrap().is_empty() && twin.audit_list(1, 9).await.unwrap().is_empty());
        twin.archive_restore(std::io::Cursor::new(archive.clone()), Box::new(|_, _| {})).await.unwrap();
        let refused = twin.archive_restore(std::io::Cursor::new(archive), Box::new(|_, _| {})).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn an_archive_is_of_one_instant_while_others_write() {
    on_embedded(|store| async move {
        fill(&store).await;
        let writer = store.store.clone();
        let writing = tokio::spawn(async move {
            for number in 0..200 {
                writer.document_write(power("gw-1", &[(10_000 + number, 1.0), (20_000 + number, 1.0)])).await.unwrap();
            }
        });
        let (summary, archive) = create(&store).await;
        writing.await.unwrap();
        let twin = empty(&store, "twin");
        twin.archive_restore(std::io::Cursor::new(archive), Box::new(|_, _| {})).await.unwrap();
        let documents = twin.gateway_fetch(&gateway("gw-1")).await.unwrap().documents;
        let page =
            twin.reading_page(&gateway("gw-1"), TimeWindow::between(minute(9_000), minute(30_000)), usize::MAX).await.unwrap();
        let base = 6;
        assert_eq!(page.rows.len() as u64, 2 * (documents - base), "{summary:?}");
    })
    .await;
}
