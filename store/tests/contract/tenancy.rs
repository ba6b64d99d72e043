//! No name, id or text reaches another provider's data, or the store itself.

use heliograph_domain::{
    Alert, AlertCause, AlertId, AlertKey, AlertKind, ApiScope, ApiTokenId, CorrectionId, CorrectionKind, Customer, CustomerId,
    EmailAddress, KeyDigest, Location, LocationId, Maintenance, MaintenanceId, MaintenanceSubject, MappingName, MetricName, Note,
    OutboxId, Point, PointId, ProviderId, ProviderSettings, SensorId, SensorRole, SeriesKey, Tariff, TimeWindow, Unit, UserId,
    UserRole, Zone,
};
use heliograph_store::{
    AlertChange, AlertDeed, ApiToken, CorrectionNew, OutboxKey, OutboxNew, ProviderStore, QuarantineNew, SensorUpdate,
    SessionRow, Store, StoreError, StoreUrl, UserRecord,
};
use uuid::Uuid;

use crate::backend::{document, gateway, minute, on_every_backend, power};
use crate::refusals::refused;

const NASTY: &[&str] = &[
    "'; DROP TABLE frame; --",
    "'; DELETE FROM session; --",
    "\"; TRUNCATE quarantine; /*",
    "'; DROP KEYSPACE system_auth; --",
    "$$; DROP TABLE rollup; $$",
    "*/ DROP TABLE outbox; /*",
    "\" OR 1=1",
    "../../meridian",
    "a/b\\c",
    "$(reboot)",
    "<script>alert(1)</script>",
    "=1+1",
    "%00",
    "\u{1F31E} Dach",
];

#[tokio::test]
async fn providers_share_nothing() {
    on_every_backend(|store| async move {
        let other = store.neighbour();
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        assert!(other.gateway_list().await.unwrap().is_empty());
        let foreign = other.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await;
        assert!(matches!(foreign, Err(StoreError::NotFound("gateway"))));
        other.document_write(power("gw-1", &[(0, 2.0)])).await.unwrap();
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await.unwrap();
        assert_eq!(page.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0]);
    })
    .await;
}

#[tokio::test]
async fn texts_from_outside_are_inert_everywhere() {
    on_every_backend(|store| async move {
        for text in NASTY {
            store.document_write(document(text, text, text, text, &[(minute(0), 1.0)])).await.unwrap();
            let page = store.reading_page(&gateway(text), TimeWindow::ALWAYS, 10).await.unwrap();
            assert_eq!(page.rows.len(), 1, "{text}");
            assert_eq!((page.rows[0].sensor.as_str(), page.rows[0].unit.as_str()), (*text, *text));
            store.gateway_knock(&gateway(text), text, minute(1)).await.unwrap();
            store.gateway_rename(&gateway(text), Some((*text).to_owned())).await.unwrap();
            assert_eq!(store.gateway_fetch(&gateway(text)).await.unwrap().name(), *text);
            assert!(store.lease_take(text, text, minute(0), minute(1)).await.unwrap());
        }
        assert_eq!(store.gateway_list().await.unwrap().len(), NASTY.len());
    })
    .await;
}

/// What people enter, one of each under the same ids at every provider.
struct Entered {
    location: Location,
    customer: Customer,
    user: UserRecord,
    point: Point,
    correction: CorrectionNew,
    mapping: (MappingName, String),
    mail: OutboxNew,
    quarantine: QuarantineNew,
    alert: Alert,
    comment: Note,
    maintenance: Maintenance,
    token: ApiToken,
    session: SessionRow,
}

impl Entered {
    fn new(number: u128, text: &str) -> Self {
        let (id, email) = (Uuid::from_u128(number), mail_address(number, text));
        let name = text.to_owned();
        let location =
            Location { id: LocationId::new(id), name: name.clone(), zone: Zone::utc(), position: None, installed_kwp: None };
        let series = SeriesKey {
            gateway: gateway("gw-1"),
            sensor: SensorId::parse("inverter-1").unwrap(),
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
        };
        let digest = KeyDigest([number as u8; 32]);
        let key = AlertKey::gateway(AlertKind::Clock, gateway(text));
        let maintenance = Maintenance {
            id: MaintenanceId::new(id),
            subject: MaintenanceSubject::Gateway(gateway("gw-1")),
            window: TimeWindow::between(minute(0), minute(60)),
            reason: Note::parse(text).unwrap(),
            by: UserId::new(id),
        };
        Self {
            alert: Alert::raise(AlertId::new(id), key, AlertCause::Clock { size: name.clone() }, minute(0), minute(1)),
            comment: Note::parse(text).unwrap(),
            maintenance,
            token: ApiToken::new(
                (ApiTokenId::new(id), UserId::new(id)),
                name.clone(),
                vec![ApiScope::Read],
                digest,
                (minute(0), minute(1440)),
            ),
            session: SessionRow { digest, user: Some(UserId::new(id)), data: text.into(), expires: minute(10_000) },
            point: Point { id: PointId::new(id), location: location.id, name: name.clone(), role: SensorRole::Production },
            customer: Customer { id: CustomerId::new(id), name: name.clone(), email: Some(email.clone()) },
            user: UserRecord {
                id: UserId::new(id),
                email: email.clone(),
                name: name.clone(),
                role: UserRole::Owner,
                customer: None,
                assignment: None,
                password_hash: Some(name.clone()),
                created: minute(0),
            },
            correction: CorrectionNew {
                id: CorrectionId::new(id),
                series,
                window: TimeWindow::between(minute(number as i64 * 10), minute(number as i64 * 10 + 5)),
                kind: CorrectionKind::Exclude,
                reason: name.clone(),
            },
            mapping: (MappingName::parse(text).unwrap(), name.clone()),
            mail: OutboxNew {
                id: OutboxId::new(id),
                key: OutboxKey { report: name.clone(), period: name.clone(), recipient: email },
                subject: name.clone(),
                message_id: name.clone(),
                message: name.clone().into_bytes(),
                created: minute(0),
                due: minute(number as i64),
            },
            quarantine: QuarantineNew {
                gateway: Some(name.clone()),
                address: name.clone(),
                reason: name.clone(),
                ..refused(number, name.into_bytes())
            },
            location,
        }
    }

    async fn save(&self, store: &ProviderStore) {
        store.location_save(self.location.clone()).await.unwrap();
        store.customer_save(self.customer.clone()).await.unwrap();
        store.user_create(self.user.clone()).await.unwrap();
        store.point_save(self.point.clone()).await.unwrap();
        store.correction_create(self.correction.clone()).await.unwrap();
        store.mapping_save(self.mapping.0.clone(), self.mapping.1.clone()).await.unwrap();
        assert!(store.outbox_put(self.mail.clone()).await.unwrap());
        store.quarantine_add(self.quarantine.clone()).await.unwrap();
        store.alert_change(vec![AlertChange::Raise(Box::new(self.alert.clone()))], None, minute(1)).await.unwrap();
        store.alert_do(self.alert.id, self.user.id, AlertDeed::Comment(self.comment.clone()), minute(2)).await.unwrap();
        store.maintenance_save(self.maintenance.clone(), minute(0)).await.unwrap();
        store.api_token_create(self.token.clone(), self.user.password_hash.clone()).await.unwrap();
        store.session_save(self.session.clone()).await.unwrap();
        let label = Some(self.location.name.clone());
        let update = SensorUpdate { label, role: SensorRole::Inverter, rated_w: None };
        store.sensor_update(&gateway("gw-1"), &self.correction.series.sensor, update).await.unwrap();
        let settings = ProviderSettings { name: self.location.name.clone(), ..ProviderSettings::default() };
        store.settings_save(settings).await.unwrap();
    }

    async fn assert_is_in(&self, store: &ProviderStore) {
        let text = self.location.name.as_str();
        assert_eq!(store.location_fetch(self.location.id).await.unwrap(), self.location);
        assert_eq!(store.customer_fetch(self.customer.id).await.unwrap(), self.customer);
        assert_eq!(store.user_fetch(self.user.id).await.unwrap(), self.user);
        assert_eq!(store.user_find(&self.user.email).await.unwrap().as_ref(), Some(&self.user));
        assert!(store.point_list().await.unwrap().contains(&self.point), "{text}");
        let corrections = store.correction_list().await.unwrap();
        assert!(corrections.iter().any(|kept| kept.id == self.correction.id && kept.reason == text), "{corrections:?}");
        let mappings = store.mapping_list().await.unwrap();
        assert!(mappings.iter().any(|kept| kept.name == self.mapping.0 && kept.source == text), "{mappings:?}");
        let mail = store.outbox_fetch(self.mail.id).await.unwrap();
        assert_eq!((mail.row.key, mail.row.subject, mail.message), (self.mail.key.clone(), text.to_owned(), text.into()));
        assert_eq!(store.quarantine_fetch(self.quarantine.id).await.unwrap().entry, self.quarantine);
        let alert = store.alert_fetch(self.alert.id).await.unwrap();
        assert_eq!((&alert.key, &alert.cause, &alert.comments[0].text), (&self.alert.key, &self.alert.cause, &self.comment));
        assert!(store.maintenance_list().await.unwrap().contains(&self.maintenance), "{text}");
        assert!(store.api_token_list().await.unwrap().contains(&self.token), "{text}");
        assert_eq!(store.session_load(self.session.digest, minute(1)).await.unwrap().as_ref(), Some(&self.session));
    }
}

/// An address with as much of the text in it as addresses may have.
fn mail_address(number: u128, text: &str) -> EmailAddress {
    let kept: String = text.chars().filter(|c| !c.is_whitespace() && !"<>()[],;:\\\"@.".contains(*c)).collect();
    EmailAddress::parse(&format!("{number}{kept}@example.org")).unwrap()
}

/// All that a provider's store tells, as text.
async fn everything(store: &ProviderStore) -> String {
    let window = TimeWindow::ALWAYS;
    let mut told = format!(
        "{:?} {:?} {:?} {:?}",
        store.location_list().await.unwrap(),
        store.customer_list().await.unwrap(),
        store.user_list().await.unwrap(),
        store.point_list().await.unwrap(),
    );
    told += &format!(
        "{:?} {:?} {:?} {:?}",
        store.correction_list().await.unwrap(),
        store.mapping_list().await.unwrap(),
        store.outbox_list(1000).await.unwrap(),
        store.quarantine_list(None, 1000).await.unwrap(),
    );
    told += &format!(
        "{:?} {:?} {:?} {:?}",
        store.gateway_list().await.unwrap(),
        store.sensor_list(&gateway("gw-1")).await.unwrap(),
        store.settings_fetch().await.unwrap(),
        store.audit_list(1, 1000).await.unwrap(),
    );
    told += &format!(
        "{:?} {:?} {:?}",
        store.alert_list().await.unwrap(),
        store.maintenance_list().await.unwrap(),
        store.api_token_list().await.unwrap(),
    );
    for user in store.user_list().await.unwrap() {
        told += &format!("{:?}", store.session_list(user.id, minute(1)).await.unwrap());
    }
    told + &format!("{:?}", store.reading_page(&gateway("gw-1"), window, usize::MAX).await.unwrap())
}

#[tokio::test]
async fn texts_that_people_enter_are_inert_and_leave_the_neighbour_as_it_is() {
    on_every_backend(|store| async move {
        let other = store.neighbour();
        for store in [&store.store, &other] {
            store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        }
        // Its ids are those of the first text.
        Entered::new(1, "the neighbour's").save(&other).await;
        let before = everything(&other).await;
        let entered: Vec<_> = (1..).zip(NASTY).map(|(number, text)| Entered::new(number, text)).collect();
        for (entered, text) in entered.iter().zip(NASTY) {
            entered.save(&store).await;
            assert!(Tariff::parse(text).is_err(), "a tariff is made of numbers and names of days and months");
            assert_eq!(store.settings_fetch().await.unwrap().name, *text);
            let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
            assert_eq!(sensors[0].label.as_deref(), Some(*text));
        }
        for entered in &entered {
            entered.assert_is_in(&store).await;
        }
        assert_eq!(everything(&other).await, before);
        assert_eq!(store.location_list().await.unwrap().len(), NASTY.len());
    })
    .await;
}

#[test]
fn a_place_that_cannot_be_a_store_is_named_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(StoreUrl::sqlite(file.path())).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()) && error.contains("--store"), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn a_store_is_readable_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    let root = Store::open(StoreUrl::sqlite(&place)).unwrap();
    let _store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let mut seen = 0;
    for path in std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).chain([place]) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen} files");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunrise.db");
    std::fs::write(&path, "this is not a database, but somebody's letter of some length").unwrap();
    let before = std::fs::read(&path).unwrap();
    let root = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    assert!(root.provider(&ProviderId::parse("sunrise").unwrap()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
