//! The audit trail: what stands in it, and what it never holds.

use heliograph_domain::{
    Actor, ArrayId, Binding, Commission, CommissionId, CorrectionId, CorrectionKind, CredentialId, Customer, CustomerId,
    EmailAddress, Fingerprint, InstalledArray, KeyDigest, Kind, Location, LocationId, MetricName, Point, PointId,
    ProviderSettings, Quantity, SensorId, SensorRole, SeriesKey, TimeWindow, Unit, UserId, UserRole, Zone,
};
use heliograph_store::{
    AuditHead, CorrectionNew, CredentialNew, GatewayCommissioning, ProviderStore, SensorUpdate, Store, StoreError, UserRecord,
};
use uuid::Uuid;

use crate::backend::{gateway, minute, on_every_backend, power};

const SECRET_NAME: &str = "Frieda Niemand";
const SECRET_ADDRESS: &str = "frieda@niemand.example";

fn me() -> UserId {
    UserId::new(Uuid::from_u128(77))
}

/// Makes every change about what reports follow.
async fn change_points_and_corrections(store: &ProviderStore, location: LocationId, series: SeriesKey) {
    let point =
        Point { id: PointId::new(Uuid::from_u128(21)), location, name: SECRET_NAME.to_owned(), role: SensorRole::Production };
    store.point_save(point.clone()).await.unwrap();
    let window = TimeWindow { from: minute(0), until: None };
    let binding = Binding { point: point.id, gateway: series.gateway.clone(), sensor: series.sensor.clone(), window };
    store.binding_create(binding.clone()).await.unwrap();
    store.binding_end(point.id, minute(9)).await.unwrap();
    let again = Binding { window: TimeWindow { from: minute(9), until: None }, ..binding.clone() };
    store.binding_replace(again).await.unwrap();
    store.binding_remove(point.id, minute(9)).await.unwrap();
    store.binding_remove(point.id, minute(0)).await.unwrap();
    store.point_remove(point.id).await.unwrap();
    let array = InstalledArray { id: ArrayId::new(Uuid::from_u128(22)), location, kwp: 4.0, tilt: 30.0, azimuth: 180.0, window };
    store.array_save(array.clone()).await.unwrap();
    store.array_remove(array.id).await.unwrap();
    let (id, reason) = (CorrectionId::new(Uuid::from_u128(23)), format!("{SECRET_NAME} has seen it"));
    let new = CorrectionNew { id, series, window, kind: CorrectionKind::Exclude, reason };
    store.correction_create(new).await.unwrap();
    store.correction_revert(id).await.unwrap();
}

/// Makes every change that there is, each once or twice.
async fn change_everything(store: &ProviderStore) {
    let location = Location {
        id: LocationId::new(Uuid::from_u128(1)),
        name: SECRET_NAME.to_owned(),
        zone: Zone::utc(),
        position: None,
        installed_kwp: Some(9.5),
    };
    let email = EmailAddress::parse(SECRET_ADDRESS).unwrap();
    let customer = Customer { id: CustomerId::new(Uuid::from_u128(2)), name: SECRET_NAME.to_owned(), email: Some(email.clone()) };
    let credential = |number| CredentialNew { id: CredentialId::new(Uuid::from_u128(number)), digest: KeyDigest([9; 32]) };
    store.location_save(location.clone()).await.unwrap();
    let commissioning = GatewayCommissioning {
        gateway: gateway("gw-1"),
        label: Some(SECRET_NAME.to_owned()),
        location: location.id,
        from: minute(0),
        credential: credential(3),
        at: minute(0),
    };
    store.gateway_commission(commissioning).await.unwrap();
    store.document_write(power("gw-1", &[(1, 5.0)])).await.unwrap();
    store.gateway_move(&gateway("gw-1"), location.id, minute(5)).await.unwrap();
    store.gateway_rename(&gateway("gw-1"), Some(SECRET_NAME.to_owned())).await.unwrap();
    store.credential_add(&gateway("gw-1"), credential(4), minute(1)).await.unwrap();
    store.credential_end(&gateway("gw-1"), credential(3).id, Some(minute(500)), minute(1)).await.unwrap();
    store.credential_revoke(&gateway("gw-1"), credential(4).id, minute(2)).await.unwrap();
    let fingerprint = Fingerprint([9; 32]);
    store.certificate_add(&gateway("gw-1"), fingerprint, minute(2)).await.unwrap();
    store.certificate_remove(&gateway("gw-1"), fingerprint).await.unwrap();
    let inverter = SensorId::parse("inverter-1").unwrap();
    let update = SensorUpdate { label: Some(SECRET_NAME.to_owned()), role: SensorRole::Inverter, rated_w: None };
    store.sensor_update(&gateway("gw-1"), &inverter, update).await.unwrap();
    let key = SeriesKey {
        gateway: gateway("gw-1"),
        sensor: inverter,
        metric: MetricName::parse("power").unwrap(),
        unit: Unit::parse("W").unwrap(),
    };
    store.series_classify(key.clone(), Kind::Gauge, Quantity::AcPower).await.unwrap();
    store.customer_save(customer.clone()).await.unwrap();
    for number in [5, 6] {
        let id = CommissionId::new(Uuid::from_u128(number));
        let from = minute(60 * (number as i64));
        let window = TimeWindow { from, until: Some(from.plus_millis(3_600_000)) };
        store.commission_create(Commission { id, customer: customer.id, gateway: gateway("gw-1"), window }).await.unwrap();
    }
    store.commission_end(CommissionId::new(Uuid::from_u128(5)), minute(310)).await.unwrap();
    store.commission_cancel(CommissionId::new(Uuid::from_u128(6)), minute(310)).await.unwrap();
    let user = UserRecord {
        id: UserId::new(Uuid::from_u128(8)),
        email,
        name: SECRET_NAME.to_owned(),
        role: UserRole::Customer,
        customer: Some(customer.id),
        assignment: None,
        password_hash: None,
        created: minute(0),
    };
    store.user_create(user.clone()).await.unwrap();
    store.login_link_create(KeyDigest([1; 32]), user.id, minute(9)).await.unwrap();
    store.user_set_password(user.id, "a-hash".to_owned()).await.unwrap();
    store.user_delete(user.id).await.unwrap();
    store.settings_seed(ProviderSettings { name: SECRET_NAME.to_owned(), ..ProviderSettings::default() }).await.unwrap();
    store.settings_seed(ProviderSettings::default()).await.unwrap();
    store.settings_save(ProviderSettings { name: SECRET_NAME.to_owned(), ..ProviderSettings::default() }).await.unwrap();
    change_points_and_corrections(store, location.id, key).await;
    store.gateway_retire(&gateway("gw-1"), minute(400)).await.unwrap();
}

#[tokio::test]
async fn every_change_stands_in_the_trail_with_who_made_it() {
    on_every_backend(|store| async move {
        let acting = store.acting_as(Actor::User(me())).with_clock(|| minute(1000));
        change_everything(&acting).await;
        let rows = store.audit_list(1, 100).await.unwrap();
        let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "location.save",
                "gateway.commission",
                "gateway.move",
                "gateway.rename",
                "credential.add",
                "credential.end",
                "credential.revoke",
                "certificate.add",
                "certificate.remove",
                "sensor.update",
                "series.classify",
                "customer.save",
                "commission.create",
                "commission.create",
                "commission.end",
                "commission.cancel",
                "user.create",
                "user.link",
                "user.password",
                "user.delete",
                "settings.seed",
                "settings.save",
                "point.save",
                "binding.create",
                "binding.end",
                "binding.replace",
                "binding.remove",
                "binding.remove",
                "point.remove",
                "array.save",
                "array.remove",
                "correction.create",
                "correction.revert",
                "gateway.retire",
            ]
        );
        assert!(rows.iter().all(|row| row.actor == format!("user:{}", me()) && row.at == minute(1000)));
        assert!(rows.iter().enumerate().all(|(index, row)| row.seq == index as u64 + 1));
        assert_eq!(rows[3].object, "gateway:gw-1");
        let verdict = store.audit_verify(None).await.unwrap();
        assert_eq!((verdict.head, verdict.fault), (rows.last().unwrap().head(), None));
        assert_eq!(store.audit_list(19, 1).await.unwrap(), rows[18..19]);
        assert_eq!(store.audit_newest().await.unwrap(), rows.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn no_name_and_no_address_stands_in_the_trail() {
    on_every_backend(|store| async move {
        change_everything(&store.acting_as(Actor::Operator)).await;
        for row in store.audit_list(1, 100).await.unwrap() {
            let text = format!("{} {} {} {}", row.actor, row.action, row.object, row.detail);
            assert!(!text.contains("Frieda") && !text.contains("niemand") && !text.contains("a-hash"), "{text}");
            assert_eq!(row.actor, "operator");
        }
    })
    .await;
}

#[tokio::test]
async fn what_fails_leaves_no_entry() {
    on_every_backend(|store| async move {
        assert!(store.gateway_retire(&gateway("nobody"), minute(0)).await.is_err());
        assert!(store.user_delete(me()).await.is_err());
        assert!(store.audit_list(1, 10).await.unwrap().is_empty());
        let verdict = store.audit_verify(None).await.unwrap();
        assert_eq!((verdict.head, verdict.fault), (AuditHead::NONE, None));
    })
    .await;
}

#[tokio::test]
async fn changes_made_at_once_make_one_chain() {
    on_every_backend(|store| async move {
        let twin = Store::open(store.url.clone()).unwrap().provider(store.provider()).unwrap();
        let customers = |store: ProviderStore, numbers: std::ops::Range<u128>| async move {
            for number in numbers {
                let id = CustomerId::new(Uuid::from_u128(number));
                store.customer_save(Customer { id, name: "C".to_owned(), email: None }).await.unwrap();
            }
        };
        tokio::join!(customers(store.store.clone(), 0..20), customers(twin, 20..40));
        let verdict = store.audit_verify(None).await.unwrap();
        assert_eq!((verdict.head.seq, verdict.fault), (40, None));
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_is_not_there_stands_in_no_trail() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        let sensor = SensorId::parse("nothing").unwrap();
        let update = SensorUpdate { label: None, role: SensorRole::Other, rated_w: None };
        let updated = store.sensor_update(&gateway("gw-1"), &sensor, update).await;
        assert!(matches!(updated, Err(StoreError::NotFound("sensor"))), "{updated:?}");
        let key = SeriesKey {
            gateway: gateway("gw-1"),
            sensor,
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
        };
        let classified = store.series_classify(key, Kind::Gauge, Quantity::AcPower).await;
        assert!(matches!(classified, Err(StoreError::NotFound(_))), "{classified:?}");
        assert_eq!(store.audit_list(1, 10).await.unwrap(), []);
    })
    .await;
}
