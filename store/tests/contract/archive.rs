//! Archives: everything out, everything in again, nothing of a broken one.

use std::hash::BuildHasher;
use std::io::Write;
use std::sync::{Arc, Mutex};

use heliograph_domain::{
    Actor, ApiScope, ApiTokenId, ArrayId, Assignment, Binding, Commission, CommissionId, CorrectionId, CorrectionKind,
    CredentialId, Customer, CustomerId, EmailAddress, Fingerprint, InstalledArray, KeyDigest, Location, LocationId, LogoKind,
    MappingName, MetricName, OutboxId, Point, PointId, Position, ProviderSettings, QuarantineId, RefusalCode, SensorId,
    SensorRole, SeriesKey, SpanStep, TimeWindow, Unit, UserId, UserRole, YieldTargets, Zone,
};
use heliograph_store::{
    ApiToken, ArchiveStep, ArchiveSummary, AuditPolicy, CorrectionNew, Credential, CredentialNew, GatewayCommissioning,
    OutboxKey, OutboxNew, Progress, ProviderStore, QuarantineNew, RetentionPlan, SensorUpdate, StoreError, UserRecord,
    archive_verify,
};
use uuid::Uuid;

use crate::backend::{Backend, document, gateway, minute, on_every_backend, power};

/// A file in memory that outlives its writer.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

/// The names of the gateways that push.
pub(crate) const GATEWAYS: [&str; 2] = ["gw-1", "gw-\"2\" 用户"];

/// The same store five days after the first reading: what is kept for days is.
pub(crate) fn clocked(store: &ProviderStore) -> ProviderStore {
    store.with_clock(|| minute(5 * 1440)).acting_as(Actor::Operator)
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A provider with something in each table.
pub(crate) async fn fill(store: &ProviderStore) {
    let store = clocked(store);
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
    for name in GATEWAYS {
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
    let (first, certificate) = (CredentialId::new(Uuid::from_u128(4)), Fingerprint([9; 32]));
    store.credential_end(&gateway("gw-1"), first, Some(minute(9000)), minute(3)).await.unwrap();
    store.certificate_add(&gateway("gw-1"), certificate, minute(3)).await.unwrap();
    let uses = vec![(Credential::Key(first), minute(4)), (Credential::Certificate(certificate), minute(5))];
    store.credential_used(uses).await.unwrap();
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
        assignment: None,
        password_hash: Some("$argon2id$".into()),
        created: minute(1),
    };
    let (id, ends) = ((ApiTokenId::new(Uuid::from_u128(8)), user.id), (minute(1), minute(9000)));
    store.user_create(user).await.unwrap();
    let installer = UserRecord {
        id: UserId::new(Uuid::from_u128(9)),
        email: EmailAddress::parse("ines@example.org").unwrap(),
        name: "Ines".into(),
        role: UserRole::Installer,
        customer: None,
        assignment: Some(Assignment::new(minute(9000), vec![location.id], minute(1)).unwrap()),
        password_hash: None,
        created: minute(1),
    };
    store.user_create(installer).await.unwrap();
    let token = ApiToken::new(id, "Night job".into(), vec![ApiScope::Read], KeyDigest([8; 32]), ends);
    store.api_token_create(token, Some("$argon2id$".into())).await.unwrap();
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
    let presented = KeyDigest::of("correct-horse").bound_to(refused.id);
    store.quarantine_add_with(refused, Some(presented)).await.unwrap();
    set_up(&store, location.id).await;
}

/// A point, an array, a logo, an expected yield, a correction and a mapping.
async fn set_up(store: &ProviderStore, location: LocationId) {
    let (id, sensor) = (PointId::new(Uuid::from_u128(7)), SensorId::parse("inverter-1").unwrap());
    store.point_save(Point { id, location, name: "Roof".into(), role: SensorRole::Inverter }).await.unwrap();
    let window = TimeWindow { from: minute(0), until: None };
    store.binding_create(Binding { point: id, gateway: gateway("gw-1"), sensor: sensor.clone(), window }).await.unwrap();
    let id = ArrayId::new(Uuid::from_u128(8));
    store.array_save(InstalledArray { id, location, kwp: 0.3, tilt: 30.0, azimuth: 180.0, window }).await.unwrap();
    store.logo_save((0..=255).cycle().take(30_000).collect(), LogoKind::Png, (320, 80)).await.unwrap();
    store.target_save(YieldTargets::new(location, [25.0; 12], Some(0.3)).unwrap()).await.unwrap();
    let (metric, unit) = (MetricName::parse("power").unwrap(), Unit::parse("W").unwrap());
    let correction = CorrectionNew {
        id: CorrectionId::new(Uuid::from_u128(9)),
        series: SeriesKey { gateway: gateway("gw-1"), sensor, metric, unit },
        window: TimeWindow::between(minute(4500), minute(4600)),
        kind: CorrectionKind::Scale { factor: 0.1 },
        reason: "a wrong transformer".to_owned(),
    };
    store.correction_create(correction).await.unwrap();
    store.mapping_save(MappingName::parse("greenhouse").unwrap(), "name = \"greenhouse\"\n".to_owned()).await.unwrap();
}

pub(crate) fn mail_key() -> OutboxKey {
    OutboxKey { report: "daily".into(), period: "2026-06-15".into(), recipient: EmailAddress::parse("ana@example.org").unwrap() }
}

pub(crate) async fn create(store: &ProviderStore) -> (ArchiveSummary, Vec<u8>) {
    let file = File::default();
    let summary = clocked(store).archive_create(file.clone(), Box::new(|_| {})).await.unwrap();
    let bytes = file.0.lock().unwrap().clone();
    (summary, bytes)
}

fn verify(archive: &[u8]) -> Result<ArchiveSummary, StoreError> {
    archive_verify(archive, Box::new(|_| {}))
}

pub(crate) async fn restore(store: &ProviderStore, archive: Vec<u8>) -> Result<ArchiveSummary, StoreError> {
    clocked(store).archive_restore(std::io::Cursor::new(archive), AuditPolicy::Sound, Box::new(|_| {})).await
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
    on_every_backend(|store| async move {
        fill(&store).await;
        let (summary, archive) = create(&store).await;
        assert_eq!(verify(&archive).unwrap(), summary);
        for table in summary.tables().filter(|table| *table != "spans") {
            assert!(summary.rows(table) > 0, "{table}");
        }
        let twin = clocked(&store.neighbour());
        assert_eq!(restore(&twin, archive).await.unwrap(), summary);
        let (again, _) = create(&twin).await;
        assert_eq!(digests(&again), digests(&summary));
        let all = TimeWindow::ALWAYS;
        let (mut old, mut new) = (store.audit_list(1, 1000).await.unwrap(), twin.audit_list(1, 1000).await.unwrap());
        assert_eq!(new.split_off(old.len())[0].action, "archive.restore");
        assert_eq!(old.split_off(0), new);
        assert_eq!(twin.audit_verify(None).await.unwrap().fault, None);
        for name in GATEWAYS {
            let page = store.reading_page(&gateway(name), all, usize::MAX).await.unwrap();
            assert_eq!(twin.reading_page(&gateway(name), all, usize::MAX).await.unwrap(), page);
            let source = clocked(&store);
            assert_eq!(
                twin.rollup_list(&gateway(name), all, all).await.unwrap(),
                source.rollup_list(&gateway(name), all, all).await.unwrap()
            );
            for step in SpanStep::ALL {
                let spans = source.span_list(&gateway(name), *step, all).await.unwrap();
                assert!(spans.iter().any(|series| series.spans.len() > usize::from(*step == SpanStep::Day)), "{spans:?}");
                assert_eq!(twin.span_list(&gateway(name), *step, all).await.unwrap(), spans);
            }
        }
        assert_eq!(twin.user_list().await.unwrap(), store.user_list().await.unwrap());
        let tokens = twin.api_token_list().await.unwrap();
        assert_eq!((tokens.len(), &tokens), (1, &store.api_token_list().await.unwrap()));
        assert_eq!(twin.gateway_list().await.unwrap(), store.gateway_list().await.unwrap());
        assert_eq!(twin.quarantine_usage().await.unwrap(), store.quarantine_usage().await.unwrap());
        let directory = async |store: &ProviderStore| {
            let mut entries = store.gateway_directory().await.unwrap();
            entries.sort_by(|a, b| a.gateway.cmp(&b.gateway));
            entries
        };
        assert_eq!(directory(&twin).await, directory(&store).await);
        let (keys, certificates) =
            (twin.credential_list(&gateway("gw-1")).await.unwrap(), twin.certificate_list(&gateway("gw-1")).await.unwrap());
        assert_eq!((keys[0].until, keys[0].used), (Some(minute(9000)), Some(minute(4))));
        assert_eq!((certificates.len(), certificates[0].used), (1, Some(minute(5))));
        assert!(twin.outbox_contains(&mail_key()).await.unwrap(), "no mail is sent twice");
        // It is a store like any other.
        twin.document_write(power("gw-1", &[(6000, 4.5)])).await.unwrap();
        let windows = twin.rollup_list(&gateway("gw-1"), all, all).await.unwrap();
        assert!(windows.iter().flat_map(|series| &series.windows).any(|window| window.start == minute(6000)));
    })
    .await;
}

/// A [`Progress`] and what it was told.
fn heard() -> (Progress, Arc<Mutex<Vec<ArchiveStep>>>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    (Box::new(move |step| told.lock().unwrap().push(step)), steps)
}

#[tokio::test]
async fn how_far_an_archive_is_is_told_by_gateways_and_rows() {
    on_every_backend(|store| async move {
        fill(&store).await;
        let ((progress, steps), file) = (heard(), File::default());
        let summary = clocked(&store).archive_create(file.clone(), progress).await.unwrap();
        let all = usize::try_from(summary.rows("gateways")).unwrap();
        assert_eq!(all, 3);
        let archive = file.0.lock().unwrap().clone();
        let steps = steps.lock().unwrap().clone();
        for table in ["readings", "rollups"] {
            let told = steps.iter().filter(|step| step.table == table).filter_map(|step| step.gateways);
            assert_eq!(told.collect::<Vec<_>>(), (0..=all).map(|done| (done, all)).collect::<Vec<_>>(), "{table}");
        }

        let (progress, steps) = heard();
        archive_verify(&archive[..], progress).unwrap();
        let every_row = |steps: &[ArchiveStep]| {
            for table in summary.tables() {
                let last = steps.iter().rfind(|step| step.table == table).map_or(0, |step| step.rows);
                assert_eq!(last, summary.rows(table), "{table}");
            }
        };
        every_row(&steps.lock().unwrap());
        let (progress, steps) = heard();
        clocked(&store.neighbour()).archive_restore(std::io::Cursor::new(archive), AuditPolicy::Sound, progress).await.unwrap();
        every_row(&steps.lock().unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_broken_archive_is_refused_wherever_it_is_broken() {
    let store = Backend::Sqlite.fresh();
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
}

#[tokio::test]
async fn nothing_is_left_of_a_broken_archive_and_nothing_is_laid_over() {
    on_every_backend(|store| async move {
        fill(&store).await;
        let (_, archive) = create(&store).await;
        let twin = store.neighbour();
        let mut broken = archive.clone();
        let last = broken.len() - 1200;
        broken[last] ^= 1;
        for broken in [broken, archive[..archive.len() / 2].to_vec(), b"no archive at all".to_vec()] {
            let refused = restore(&twin, broken).await;
            assert!(matches!(refused, Err(StoreError::Archive(_))), "{refused:?}");
            assert!(twin.gateway_list().await.unwrap().is_empty() && twin.audit_list(1, 9).await.unwrap().is_empty());
            assert!(twin.quarantine_list(None, 9).await.unwrap().is_empty() && twin.outbox_list(9).await.unwrap().is_empty());
        }
        restore(&twin, archive.clone()).await.unwrap();
        let refused = restore(&twin, archive).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        assert_eq!(twin.gateway_list().await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn figures_of_readings_that_are_kept_no_longer_come_in_as_they_were() {
    on_every_backend(|store| async move {
        let begun = clocked(&store);
        let settings = ProviderSettings { retention_days: Some(9), ..ProviderSettings::default() };
        begun.settings_save(settings).await.unwrap();
        let mut values: Vec<(i64, f64)> = (0..30).map(|minute| (minute, 400.0)).collect();
        begun.document_write(power("gw-1", &values)).await.unwrap();
        let all = TimeWindow::ALWAYS;
        let figures = begun.rollup_list(&gateway("gw-1"), all, all).await.unwrap();
        assert_eq!(figures[0].windows.len(), 2);
        // Pushed anew and back again: the windows are marked while nothing else is said.
        for value in [800.0, 400.0] {
            values[9].1 = value;
            begun.document_write(power("gw-1", &values)).await.unwrap();
        }
        let (summary, archive) = create(&store).await;
        assert!(summary.rows("marks") > 0);
        // By then a cluster leaves out the first readings of a window that is marked.
        let later = store.neighbour().with_clock(|| minute(10 * 1440 + 5)).acting_as(Actor::Operator);
        later.archive_restore(std::io::Cursor::new(archive), AuditPolicy::Sound, Box::new(|_| {})).await.unwrap();
        assert_eq!(later.rollup_list(&gateway("gw-1"), all, all).await.unwrap(), figures);
    })
    .await;
}

/// A cluster has no snapshot: see [`crate::moving`] for what holds there.
#[tokio::test]
async fn an_archive_of_a_file_is_of_one_instant_while_others_write() {
    let store = Backend::Sqlite.fresh();
    fill(&store).await;
    let writer = store.store.clone();
    let writing = tokio::spawn(async move {
        for number in 0..200 {
            writer.document_write(power("gw-1", &[(10_000 + number, 1.0), (20_000 + number, 1.0)])).await.unwrap();
        }
    });
    let (summary, archive) = create(&store).await;
    writing.await.unwrap();
    let twin = store.neighbour();
    restore(&twin, archive).await.unwrap();
    let documents = twin.gateway_fetch(&gateway("gw-1")).await.unwrap().documents;
    let page = twin.reading_page(&gateway("gw-1"), TimeWindow::between(minute(9_000), minute(30_000)), usize::MAX).await.unwrap();
    let base = 6;
    assert_eq!(page.rows.len() as u64, 2 * (documents - base), "{summary:?}");
}
