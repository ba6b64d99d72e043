//! Points, bindings and arrays: what fits beside what is there.

use heliograph_domain::{
    ArrayId, Binding, Commission, CommissionId, Customer, CustomerId, InstalledArray, Location, LocationId, Point, PointId,
    SensorId, SensorRole, TimeWindow, YieldTargets, Zone,
};
use heliograph_store::{ProviderStore, StoreError, Takeover};
use uuid::Uuid;

use crate::backend::{document, gateway, minute, on_every_backend};

fn point(number: u128) -> Point {
    let (id, location) = (PointId::new(Uuid::from_u128(number)), LocationId::new(Uuid::from_u128(1)));
    Point { id, location, name: format!("roof {number}"), role: SensorRole::Production }
}

fn binding(number: u128, id: &str, sensor: &str, from: i64, until: Option<i64>) -> Binding {
    let window = TimeWindow { from: minute(from), until: until.map(minute) };
    Binding { point: point(number).id, gateway: gateway(id), sensor: SensorId::parse(sensor).unwrap(), window }
}

fn array(number: u128) -> InstalledArray {
    let (id, location) = (ArrayId::new(Uuid::from_u128(number)), LocationId::new(Uuid::from_u128(1)));
    InstalledArray { id, location, kwp: 4.5, tilt: 30.0, azimuth: 180.0, window: TimeWindow::ALWAYS }
}

async fn site(store: &ProviderStore) {
    let location = Location {
        id: LocationId::new(Uuid::from_u128(1)),
        name: "x".into(),
        zone: Zone::utc(),
        position: None,
        installed_kwp: None,
    };
    store.location_save(location).await.unwrap();
    for (id, sensor) in [("gw-1", "old"), ("gw-2", "new"), ("gw-2", "other")] {
        store.document_write(document(id, sensor, "energy", "Wh", &[(minute(0), 1.0)])).await.unwrap();
    }
}

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict(_)))
}

fn is_missing<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::NotFound(_)))
}

#[tokio::test]
async fn a_point_is_followed_by_one_sensor_after_the_other() {
    on_every_backend(|store| async move {
        site(&store).await;
        store.point_save(point(1)).await.unwrap();
        store.binding_create(binding(1, "gw-1", "old", 0, None)).await.unwrap();
        assert!(is_conflict(&store.binding_create(binding(1, "gw-2", "new", 60, None)).await), "the old one still stands for it");
        store.binding_end(point(1).id, minute(60)).await.unwrap();
        store.binding_create(binding(1, "gw-2", "new", 60, None)).await.unwrap();
        let expected = [binding(1, "gw-1", "old", 0, Some(60)), binding(1, "gw-2", "new", 60, None)];
        assert_eq!(store.binding_list().await.unwrap(), expected);
        store.binding_remove(point(1).id, minute(60)).await.unwrap();
        assert_eq!(store.binding_list().await.unwrap(), expected[..1]);
        assert!(is_missing(&store.binding_end(point(1).id, minute(90)).await), "none runs then");
    })
    .await;
}

#[tokio::test]
async fn a_binding_that_contradicts_is_refused() {
    on_every_backend(|store| async move {
        site(&store).await;
        store.point_save(point(1)).await.unwrap();
        store.point_save(point(2)).await.unwrap();
        store.binding_create(binding(1, "gw-2", "new", 0, Some(60))).await.unwrap();
        assert!(is_conflict(&store.binding_create(binding(2, "gw-2", "new", 59, None)).await), "it would count twice");
        assert!(is_conflict(&store.binding_create(binding(2, "gw-2", "other", 60, Some(60))).await), "it is empty");
        assert!(is_missing(&store.binding_create(binding(3, "gw-2", "other", 0, None)).await), "no such point");
        assert!(is_missing(&store.binding_create(binding(2, "gw-9", "other", 0, None)).await), "no such gateway");
        assert!(is_missing(&store.binding_create(binding(2, "gw-1", "other", 0, None)).await), "no such sensor");
        store.binding_create(binding(2, "gw-2", "new", 60, None)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_point_goes_with_its_bindings() {
    on_every_backend(|store| async move {
        site(&store).await;
        assert!(is_conflict(&store.point_save(Point { role: SensorRole::Other, ..point(1) }).await));
        let nowhere = LocationId::new(Uuid::from_u128(9));
        assert!(is_missing(&store.point_save(Point { location: nowhere, ..point(1) }).await));
        for number in [2, 1] {
            store.point_save(point(number)).await.unwrap();
        }
        store.binding_create(binding(1, "gw-1", "old", 0, None)).await.unwrap();
        store.binding_create(binding(2, "gw-2", "new", 0, None)).await.unwrap();
        assert_eq!(store.point_list().await.unwrap(), [point(1), point(2)]);
        let renamed = Point { name: "barn".into(), ..point(1) };
        store.point_save(renamed.clone()).await.unwrap();
        assert_eq!(store.point_list().await.unwrap(), [renamed, point(2)]);
        store.point_remove(point(1).id).await.unwrap();
        assert!(is_missing(&store.point_remove(point(1).id).await));
        assert_eq!(store.point_list().await.unwrap(), [point(2)]);
        assert_eq!(store.binding_list().await.unwrap(), [binding(2, "gw-2", "new", 0, None)]);
    })
    .await;
}

#[tokio::test]
async fn what_a_location_is_expected_to_give_is_replaced_and_taken_away() {
    on_every_backend(|store| async move {
        site(&store).await;
        let place = LocationId::new(Uuid::from_u128(1));
        let targets = |kwh: f64, kwp| YieldTargets::new(place, [kwh; 12], kwp).unwrap();
        assert_eq!(store.target_find(place).await.unwrap(), None);
        store.target_save(targets(400.5, Some(4.5))).await.unwrap();
        store.target_save(targets(500.25, None)).await.unwrap();
        assert_eq!(store.target_list().await.unwrap(), [targets(500.25, None)]);
        let nowhere = YieldTargets::new(LocationId::new(Uuid::from_u128(9)), [1.0; 12], None).unwrap();
        assert!(is_missing(&store.target_save(nowhere).await), "no such location");
        let entry = store.audit_list(1, 1000).await.unwrap().into_iter().rfind(|entry| entry.action == "target.save").unwrap();
        assert!(entry.detail.contains("500.25, 500.25") && entry.object == format!("location:{place}"), "{entry:?}");
        store.target_remove(place).await.unwrap();
        assert!(is_missing(&store.target_remove(place).await));
        assert_eq!(store.target_list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn arrays_stand_as_they_can() {
    on_every_backend(|store| async move {
        site(&store).await;
        store.array_save(array(1)).await.unwrap();
        let taken_down = InstalledArray { window: TimeWindow::between(minute(0), minute(9)), ..array(1) };
        store.array_save(taken_down.clone()).await.unwrap();
        store.array_save(array(2)).await.unwrap();
        assert_eq!(store.array_list().await.unwrap(), [taken_down, array(2)]);
        for bad in [
            InstalledArray { kwp: 0.0, ..array(3) },
            InstalledArray { kwp: f64::NAN, ..array(3) },
            InstalledArray { tilt: 91.0, ..array(3) },
            InstalledArray { azimuth: 360.0, ..array(3) },
            InstalledArray { window: TimeWindow::between(minute(1), minute(1)), ..array(3) },
        ] {
            assert!(is_conflict(&store.array_save(bad).await));
        }
        store.array_remove(array(1).id).await.unwrap();
        assert!(is_missing(&store.array_remove(array(1).id).await));
        assert_eq!(store.array_list().await.unwrap(), [array(2)]);
    })
    .await;
}

#[tokio::test]
async fn a_sensor_takes_over_a_point_in_one_change() {
    on_every_backend(|store| async move {
        site(&store).await;
        store.point_save(point(1)).await.unwrap();
        store.point_save(point(2)).await.unwrap();
        store.binding_replace(binding(1, "gw-1", "old", 0, None)).await.unwrap();
        store.binding_create(binding(2, "gw-2", "new", 0, None)).await.unwrap();
        assert!(is_conflict(&store.binding_replace(binding(1, "gw-2", "new", 60, None)).await), "it stands for the other point");
        let before = [binding(1, "gw-1", "old", 0, None), binding(2, "gw-2", "new", 0, None)];
        assert_eq!(store.binding_list().await.unwrap(), before, "what cannot be done leaves what was there");
        store.binding_replace(binding(1, "gw-2", "other", 60, None)).await.unwrap();
        let after =
            [binding(1, "gw-1", "old", 0, Some(60)), binding(1, "gw-2", "other", 60, None), binding(2, "gw-2", "new", 0, None)];
        assert_eq!(store.binding_list().await.unwrap(), after);
    })
    .await;
}

fn commission(number: u128, id: &str, from: i64, until: Option<i64>) -> Commission {
    let window = TimeWindow { from: minute(from), until: until.map(minute) };
    let customer = CustomerId::new(Uuid::from_u128(5));
    Commission { id: CommissionId::new(Uuid::from_u128(number)), customer, gateway: gateway(id), window }
}

#[tokio::test]
async fn a_gateway_takes_over_points_and_commissions_together() {
    on_every_backend(|store| async move {
        site(&store).await;
        store.point_save(point(1)).await.unwrap();
        store.binding_create(binding(1, "gw-1", "old", 0, None)).await.unwrap();
        let customer = CustomerId::new(Uuid::from_u128(5));
        store.customer_save(Customer { id: customer, name: "C".to_owned(), email: None }).await.unwrap();
        store.commission_create(commission(11, "gw-1", 0, Some(600))).await.unwrap();
        store.commission_create(commission(12, "gw-1", 600, None)).await.unwrap();
        let takeover = Takeover {
            ended: vec![point(1).id],
            bindings: vec![binding(1, "gw-2", "new", 60, None)],
            commissions_ended: vec![commission(11, "gw-1", 0, None).id],
            commissions_cancelled: vec![commission(12, "gw-1", 0, None).id],
            commissions: vec![commission(13, "gw-2", 60, Some(600)), commission(14, "gw-2", 600, None)],
            ..Takeover::new(minute(60), minute(90))
        };
        let missing = Takeover { bindings: vec![binding(1, "gw-2", "nothing", 60, None)], ..takeover.clone() };
        assert!(is_missing(&store.gateway_replace(&gateway("gw-1"), &gateway("gw-2"), missing).await));
        assert_eq!(store.commission_list().await.unwrap().len(), 2, "nothing is half done");
        store.gateway_replace(&gateway("gw-1"), &gateway("gw-2"), takeover.clone()).await.unwrap();
        let bound = [binding(1, "gw-1", "old", 0, Some(60)), binding(1, "gw-2", "new", 60, None)];
        assert_eq!(store.binding_list().await.unwrap(), bound);
        let owned =
            [commission(11, "gw-1", 0, Some(60)), commission(13, "gw-2", 60, Some(600)), commission(14, "gw-2", 600, None)];
        assert_eq!(store.commission_list().await.unwrap(), owned);
        let again = store.gateway_replace(&gateway("gw-1"), &gateway("gw-2"), takeover).await;
        assert!(is_missing(&again), "what it ends runs no more");
    })
    .await;
}
