//! Keys that are rotated, certificates, and when each was last used.

use heliograph_domain::{Fingerprint, KeyDigest, Timestamp};
use heliograph_store::{Credential, ProviderStore, StoreError};

use crate::backend::{gateway, minute, on_every_backend};
use crate::gateways::{commission, credential, location};

async fn two_gateways(store: &ProviderStore) {
    let site = location(1, "UTC");
    store.location_save(site.clone()).await.unwrap();
    commission(store, "gw-1", &site, 1).await;
    commission(store, "gw-2", &site, 2).await;
}

/// The keys of a gateway that ingest takes, with their ends.
async fn in_force(store: &ProviderStore, id: &str) -> Vec<(KeyDigest, Option<Timestamp>)> {
    let directory = store.gateway_directory().await.unwrap();
    let entry = directory.into_iter().find(|entry| entry.gateway == gateway(id)).unwrap();
    let mut keys: Vec<_> = entry.keys.into_iter().map(|key| (key.digest, key.until)).collect();
    keys.sort_by_key(|(digest, _)| digest.0);
    keys
}

#[tokio::test]
async fn two_keys_are_valid_while_one_is_rotated_and_no_third() {
    on_every_backend(|store| async move {
        two_gateways(&store).await;
        let (id, old) = (gateway("gw-1"), credential(1).id);
        store.credential_add(&id, credential(3), minute(1)).await.unwrap();
        let refused = store.credential_add(&id, credential(4), minute(2)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        store.credential_end(&id, old, Some(minute(10)), minute(2)).await.unwrap();
        assert_eq!(in_force(&store, "gw-1").await, [(KeyDigest([1; 32]), Some(minute(10))), (KeyDigest([3; 32]), None)]);
        let early = store.credential_add(&id, credential(4), minute(9)).await;
        assert!(matches!(early, Err(StoreError::Conflict(_))), "{early:?}");
        store.credential_add(&id, credential(4), minute(10)).await.unwrap();
        let keys = store.credential_list(&id).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.is_valid(minute(10))).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!((keys[2].id, keys[2].until, keys[2].revoked), (old, Some(minute(10)), None));
    })
    .await;
}

#[tokio::test]
async fn an_end_is_moved_and_taken_away_while_two_keys_are_valid_at_most() {
    on_every_backend(|store| async move {
        two_gateways(&store).await;
        let (id, old) = (gateway("gw-1"), credential(1).id);
        let before = store.versions().await.unwrap().config;
        store.credential_end(&id, old, Some(minute(10)), minute(0)).await.unwrap();
        assert!(store.versions().await.unwrap().config > before, "ingest learns of it");
        store.credential_end(&id, old, Some(minute(5)), minute(0)).await.unwrap();
        store.credential_end(&id, old, None, minute(0)).await.unwrap();
        store.credential_end(&id, old, None, minute(0)).await.unwrap();
        assert_eq!(in_force(&store, "gw-1").await, [(KeyDigest([1; 32]), None)]);
        store.credential_end(&id, old, Some(minute(5)), minute(0)).await.unwrap();
        for number in [3, 4] {
            store.credential_add(&id, credential(number), minute(6)).await.unwrap();
        }
        let third = store.credential_end(&id, old, None, minute(7)).await;
        assert!(matches!(third, Err(StoreError::Conflict(_))), "{third:?}");
        assert_eq!(in_force(&store, "gw-1").await[0], (KeyDigest([1; 32]), Some(minute(5))));
        store.credential_revoke(&id, old, minute(8)).await.unwrap();
        for (id, key) in [("gw-1", old), ("gw-2", credential(3).id), ("nobody", old)] {
            let missing = store.credential_end(&gateway(id), key, None, minute(8)).await;
            assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_last_use_moves_on_and_never_back_and_changes_nothing_else() {
    on_every_backend(|store| async move {
        two_gateways(&store).await;
        let (key, certificate) = (credential(1).id, Fingerprint([8; 32]));
        store.certificate_add(&gateway("gw-1"), certificate, minute(0)).await.unwrap();
        let (before, entries) = (store.versions().await.unwrap(), store.audit_list(1, 100).await.unwrap().len());
        let both = |key_at, certificate_at| {
            vec![(Credential::Key(key), minute(key_at)), (Credential::Certificate(certificate), minute(certificate_at))]
        };
        store.credential_used(both(5, 6)).await.unwrap();
        store.credential_used(both(3, 9)).await.unwrap();
        store.credential_used(Vec::new()).await.unwrap();
        let keys = store.credential_list(&gateway("gw-1")).await.unwrap();
        assert_eq!(keys[0].used, Some(minute(5)));
        assert_eq!(store.certificate_list(&gateway("gw-1")).await.unwrap()[0].used, Some(minute(9)));
        assert_eq!(store.credential_list(&gateway("gw-2")).await.unwrap()[0].used, None);
        assert_eq!(store.versions().await.unwrap().config, before.config, "nobody has to look again");
        assert_eq!(store.audit_list(1, 100).await.unwrap().len(), entries);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_registered_with_one_commissioned_gateway() {
    on_every_backend(|store| async move {
        two_gateways(&store).await;
        store.gateway_knock(&gateway("waiting"), "10.0.0.1:5", minute(0)).await.unwrap();
        let (one, other) = (Fingerprint([7; 32]), Fingerprint([8; 32]));
        store.certificate_add(&gateway("gw-1"), one, minute(1)).await.unwrap();
        store.certificate_add(&gateway("gw-1"), other, minute(2)).await.unwrap();
        for id in ["gw-1", "gw-2", "waiting"] {
            let refused = store.certificate_add(&gateway(id), one, minute(3)).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{id}: {refused:?}");
        }
        let missing = store.certificate_add(&gateway("nobody"), Fingerprint([9; 32]), minute(3)).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
        let listed = store.certificate_list(&gateway("gw-1")).await.unwrap();
        assert_eq!(
            listed.iter().map(|of| (of.fingerprint, of.created)).collect::<Vec<_>>(),
            [(other, minute(2)), (one, minute(1))]
        );
        let foreign = store.certificate_remove(&gateway("gw-2"), one).await;
        assert!(matches!(foreign, Err(StoreError::NotFound(_))), "{foreign:?}");
        store.certificate_remove(&gateway("gw-1"), one).await.unwrap();
        let certificates = async || {
            let directory = store.gateway_directory().await.unwrap();
            directory.into_iter().find(|entry| entry.gateway == gateway("gw-1")).unwrap().certificates
        };
        assert_eq!(certificates().await, [other]);
        store.gateway_retire(&gateway("gw-1"), minute(9)).await.unwrap();
        assert!(certificates().await.is_empty());
        // It may be another gateway's now.
        store.certificate_add(&gateway("gw-2"), other, minute(10)).await.unwrap();
    })
    .await;
}
