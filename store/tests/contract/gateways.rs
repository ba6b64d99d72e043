//! Gateways, their places and keys.

use heliograph_domain::{
    CredentialId, GatewayState, KeyDigest, Kind, Location, LocationId, ProviderSettings, Quantity, SensorRole, SeriesKey, Zone,
};
use heliograph_store::{CredentialNew, GatewayCommissioning, ProviderStore, SensorUpdate, StoreError};
use uuid::Uuid;

use crate::backend::{document, gateway, minute, on_every_backend, power};

pub(crate) fn location(number: u128, zone: &str) -> Location {
    Location {
        id: LocationId::new(Uuid::from_u128(number)),
        name: format!("Site {number}"),
        zone: Zone::parse(zone).unwrap(),
        position: None,
        installed_kwp: Some(10.0),
    }
}

pub(crate) fn credential(number: u8) -> CredentialNew {
    CredentialNew { id: CredentialId::new(Uuid::from_u128(u128::from(number))), digest: KeyDigest([number; 32]) }
}

fn commissioning(id: &str, location: &Location, key: u8) -> GatewayCommissioning {
    GatewayCommissioning {
        gateway: gateway(id),
        label: Some(format!("Roof of {id}")),
        location: location.id,
        from: minute(0),
        credential: credential(key),
        at: minute(0),
    }
}

pub(crate) async fn commission(store: &ProviderStore, id: &str, location: &Location, key: u8) {
    store.gateway_commission(commissioning(id, location, key)).await.unwrap();
}

#[tokio::test]
async fn a_gateway_knocks_waits_and_is_commissioned() {
    on_every_backend(|store| async move {
        let site = location(1, "Europe/Madrid");
        store.location_save(site.clone()).await.unwrap();
        store.gateway_knock(&gateway("gw-1"), "10.0.0.1:99", minute(5)).await.unwrap();
        let waiting = store.gateway_fetch(&gateway("gw-1")).await.unwrap();
        assert_eq!(
            (waiting.state, waiting.last_address.as_deref(), waiting.documents),
            (GatewayState::Waiting, Some("10.0.0.1:99"), 0)
        );

        let before = store.versions().await.unwrap();
        commission(&store, "gw-1", &site, 7).await;
        assert!(store.versions().await.unwrap().config > before.config);
        let record = store.gateway_fetch(&gateway("gw-1")).await.unwrap();
        assert_eq!((record.state, record.location, record.name()), (GatewayState::Commissioned, Some(site.id), "Roof of gw-1"));
        let directory = store.gateway_directory().await.unwrap();
        assert_eq!(directory[0].keys.iter().map(|key| key.digest).collect::<Vec<_>>(), [KeyDigest([7; 32])]);
        assert_eq!(directory[0].zone.as_ref().map(Zone::name), Some("Europe/Madrid"));
    })
    .await;
}

#[tokio::test]
async fn of_many_who_commission_a_gateway_at_once_one_does() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        store.gateway_knock(&gateway("gw-1"), "10.0.0.1:99", minute(0)).await.unwrap();
        let at_once: Vec<_> = (1..=4)
            .map(|key| {
                let (store, commissioning) = (store.store.clone(), commissioning("gw-1", &site, key));
                tokio::spawn(async move { (key, store.gateway_commission(commissioning).await) })
            })
            .collect();
        let mut winners = Vec::new();
        for one in at_once {
            match one.await.unwrap() {
                (key, Ok(())) => winners.push(KeyDigest([key; 32])),
                (_, Err(StoreError::Conflict(why))) => assert!(why.contains("gw-1 is commissioned already"), "{why}"),
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let directory = store.gateway_directory().await.unwrap();
        let keys: Vec<_> = directory[0].keys.iter().map(|key| key.digest).collect();
        assert_eq!((winners.len(), keys), (1, winners));
        // A retired one may be commissioned again.
        store.gateway_retire(&gateway("gw-1"), minute(1)).await.unwrap();
        let again = GatewayCommissioning { from: minute(2), ..commissioning("gw-1", &site, 9) };
        store.gateway_commission(again).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_has_knocked_has_no_series_until_it_pushes() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        store.gateway_knock(&gateway("gw-1"), "10.0.0.1:4000", minute(0)).await.unwrap();
        commission(&store, "gw-1", &site, 1).await;
        assert!(store.sensor_list(&gateway("gw-1")).await.unwrap().is_empty());
        store.document_write(power("gw-1", &[(1, 5.0), (2, 6.0)])).await.unwrap();
        assert_eq!(store.sensor_list(&gateway("gw-1")).await.unwrap().len(), 1);
        assert_eq!(store.gateway_fetch(&gateway("gw-1")).await.unwrap().documents, 1);
    })
    .await;
}

#[tokio::test]
async fn commissioning_at_a_location_that_is_not_there_changes_nothing() {
    on_every_backend(|store| async move {
        let result = store
            .gateway_commission(GatewayCommissioning {
                gateway: gateway("gw-1"),
                label: None,
                location: LocationId::new(Uuid::from_u128(404)),
                from: minute(0),
                credential: credential(1),
                at: minute(0),
            })
            .await;
        assert!(matches!(result, Err(StoreError::NotFound("location"))));
        assert!(store.gateway_list().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_moved_gateway_keeps_its_earlier_place_for_the_time_before() {
    on_every_backend(|store| async move {
        let (first, second) = (location(1, "UTC"), location(2, "UTC"));
        store.location_save(first.clone()).await.unwrap();
        store.location_save(second.clone()).await.unwrap();
        commission(&store, "gw-1", &first, 1).await;
        store.gateway_move(&gateway("gw-1"), second.id, minute(60)).await.unwrap();
        let placements = store.placement_list().await.unwrap();
        assert_eq!(placements.len(), 2);
        assert_eq!((placements[0].location, placements[0].window.until), (first.id, Some(minute(60))));
        assert_eq!((placements[1].location, placements[1].window.until), (second.id, None));
    })
    .await;
}

#[tokio::test]
async fn where_a_gateway_was_is_history_that_stays() {
    on_every_backend(|store| async move {
        let (first, second) = (location(1, "UTC"), location(2, "UTC"));
        store.location_save(first.clone()).await.unwrap();
        store.location_save(second.clone()).await.unwrap();
        commission(&store, "gw-1", &first, 1).await;
        store.gateway_retire(&gateway("gw-1"), minute(60)).await.unwrap();
        let before = store.placement_list().await.unwrap();
        let too_early = store.gateway_move(&gateway("gw-1"), second.id, minute(30)).await;
        assert!(matches!(too_early, Err(StoreError::Elsewhere)));
        assert_eq!(store.placement_list().await.unwrap(), before);
        store.gateway_move(&gateway("gw-1"), second.id, minute(60)).await.unwrap();
        assert_eq!(store.placement_list().await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn one_address_cannot_push_others_off_the_waiting_list() {
    on_every_backend(|store| async move {
        store.gateway_knock(&gateway("honest"), "10.0.0.1:5", minute(0)).await.unwrap();
        let knocks: Vec<_> = (0..ProviderStore::WAITING_GATEWAYS + 100)
            .map(|i| {
                let store = store.store.clone();
                tokio::spawn(async move {
                    store.gateway_knock(&gateway(&format!("x-{i}")), &format!("10.0.0.9:{i}"), minute(1)).await
                })
            })
            .collect();
        for knock in knocks {
            knock.await.unwrap().unwrap();
        }
        assert!(store.gateway_fetch(&gateway("honest")).await.is_ok());
        assert_eq!(store.gateway_list().await.unwrap().len(), ProviderStore::WAITING_GATEWAYS);
    })
    .await;
}

#[tokio::test]
async fn keys_are_added_and_revoked_one_by_one() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        commission(&store, "gw-1", &site, 1).await;
        commission(&store, "gw-2", &site, 2).await;
        store.credential_add(&gateway("gw-1"), credential(3), minute(9)).await.unwrap();
        let foreign = store.credential_revoke(&gateway("gw-1"), credential(2).id, minute(10)).await;
        assert!(matches!(foreign, Err(StoreError::NotFound(_))));
        store.credential_revoke(&gateway("gw-1"), credential(1).id, minute(10)).await.unwrap();
        let keys = store.credential_list(&gateway("gw-1")).await.unwrap();
        assert_eq!((keys[0].id, keys[0].revoked), (credential(3).id, None));
        assert_eq!((keys[1].id, keys[1].revoked), (credential(1).id, Some(minute(10))));
        store.gateway_retire(&gateway("gw-1"), minute(11)).await.unwrap();
        let directory = store.gateway_directory().await.unwrap();
        assert!(directory.iter().find(|entry| entry.gateway == gateway("gw-1")).unwrap().keys.is_empty());
    })
    .await;
}

#[tokio::test]
async fn waiting_gateways_are_bounded_and_known_ones_stay() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        commission(&store, "known", &site, 1).await;
        store.document_write(power("adopted", &[(0, 1.0)])).await.unwrap();
        store.gateway_knock(&gateway("elsewhere"), "10.0.0.1:1", minute(0)).await.unwrap();
        let bound = ProviderStore::WAITING_GATEWAYS;
        let knocks: Vec<_> = (0..bound + 20)
            .map(|i| {
                // All of a site of IPv6 are one.
                let (store, address) = (store.store.clone(), format!("[2001:db8:1:2::{i:x}]:1"));
                tokio::spawn(async move { store.gateway_knock(&gateway(&format!("x-{i}")), &address, minute(i as i64)).await })
            })
            .collect();
        for knock in knocks {
            knock.await.unwrap().unwrap();
        }
        let all = store.gateway_list().await.unwrap();
        assert!(all.len() <= bound + 2, "{}", all.len());
        for id in ["known", "adopted", "elsewhere"] {
            assert!(all.iter().any(|record| record.id == gateway(id)), "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn sensors_and_series_are_guessed_and_an_owner_decides() {
    on_every_backend(|store| async move {
        store.document_write(document("gw-1", "inverter-1", "energy", "Wh", &[(minute(0), 1.0)])).await.unwrap();
        let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
        assert_eq!(sensors[0].role, SensorRole::Inverter);
        assert_eq!((sensors[0].series[0].kind, sensors[0].series[0].quantity), (Kind::Counter, Quantity::EnergyProduced));

        let update = SensorUpdate { label: Some("Barn".into()), role: SensorRole::Production, rated_w: Some(5_000.0) };
        store.sensor_update(&gateway("gw-1"), &sensors[0].id, update).await.unwrap();
        let key = SeriesKey {
            gateway: gateway("gw-1"),
            sensor: sensors[0].id.clone(),
            metric: sensors[0].series[0].metric.clone(),
            unit: sensors[0].series[0].unit.clone(),
        };
        store.series_classify(key.clone(), Kind::DayCounter, Quantity::EnergyProduced).await.unwrap();
        let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
        assert_eq!((sensors[0].name(), sensors[0].role, sensors[0].rated_w), ("Barn", SensorRole::Production, Some(5_000.0)));
        assert_eq!(sensors[0].series[0].kind, Kind::DayCounter);
        let missing = store.series_classify(SeriesKey { gateway: gateway("gw-2"), ..key }, Kind::Gauge, Quantity::Other).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn no_more_gateways_are_commissioned_than_there_may_be() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        store.settings_save(ProviderSettings { max_gateways: 2, ..ProviderSettings::default() }).await.unwrap();
        store.document_write(power("adopted", &[(0, 1.0)])).await.unwrap();
        commission(&store, "gw-1", &site, 1).await;
        commission(&store, "gw-2", &site, 2).await;
        let another = |id: &str, key: u8, at: i64| {
            let (credential, at) = (credential(key), minute(at));
            let gateway = gateway(id);
            store.gateway_commission(GatewayCommissioning { gateway, label: None, location: site.id, from: at, credential, at })
        };
        for id in ["gw-3", "adopted"] {
            let refused = another(id, 3, 1).await;
            assert!(matches!(refused, Err(StoreError::TooManyGateways(2))), "{id}: {refused:?}");
        }
        assert!(matches!(store.gateway_fetch(&gateway("gw-3")).await, Err(StoreError::NotFound(_))), "nothing is left of it");
        // One that is commissioned already is told so, and one that is retired makes room.
        assert!(matches!(another("gw-2", 4, 1).await, Err(StoreError::Conflict(_))));
        store.gateway_retire(&gateway("gw-1"), minute(2)).await.unwrap();
        another("adopted", 5, 3).await.unwrap();
        assert!(matches!(another("gw-1", 6, 4).await, Err(StoreError::TooManyGateways(2))));
        store.settings_save(ProviderSettings { max_gateways: 3, ..ProviderSettings::default() }).await.unwrap();
        another("gw-1", 6, 4).await.unwrap();
        let directory = store.gateway_directory().await.unwrap();
        let stored: Vec<_> = directory.iter().filter(|entry| entry.stored).map(|entry| entry.gateway.as_str()).collect();
        assert_eq!(stored, ["adopted"]);
    })
    .await;
}
