//! What is seen of gateways' clocks, and corrections of them.

use heliograph_domain::{ClockCorrection, ClockSample, ClockSamples, ClockShift, Timestamp};
use heliograph_store::{GatewayClock, ProviderStore, StoreError};

use crate::archive::{create, restore};
use crate::backend::{Backend, gateway, minute, on_every_backend};
use crate::gateways::{commission, location};

async fn a_gateway(store: &ProviderStore) {
    let site = location(1, "UTC");
    store.location_save(site.clone()).await.unwrap();
    commission(store, "gw-1", &site, 1).await;
}

fn sample(at: i64, lag_ms: i64) -> ClockSample {
    ClockSample { received: minute(at), lag_ms }
}

fn correction(at: i64, shift: &str) -> ClockCorrection {
    ClockCorrection { from: minute(at), shift: ClockShift::parse(shift).unwrap() }
}

/// What is added to what arrives at an instant, as ingest learns it.
async fn in_force(store: &ProviderStore, at: Timestamp) -> String {
    let directory = store.gateway_directory().await.unwrap();
    directory.iter().find(|entry| entry.gateway == gateway("gw-1")).unwrap().clock.at(at).to_string()
}

#[tokio::test]
async fn samples_of_several_processes_come_together_and_the_latest_stay() {
    on_every_backend(|store| async move {
        a_gateway(&store).await;
        let (id, before) = (gateway("gw-1"), store.versions().await.unwrap().config);
        assert_eq!(store.gateway_clock(&id).await.unwrap(), GatewayClock::default());
        store.gateway_clock_seen(vec![(id.clone(), vec![sample(1, 10), sample(3, 30)])]).await.unwrap();
        store.gateway_clock_seen(vec![(id.clone(), vec![sample(2, -20)])]).await.unwrap();
        let found = store.gateway_clock(&id).await.unwrap().samples;
        assert_eq!(found.list(), [sample(1, 10), sample(2, -20), sample(3, 30)]);
        store.gateway_clock_seen(vec![(id.clone(), (10..90).map(|at| sample(at, at)).collect())]).await.unwrap();
        let found = store.gateway_clock(&id).await.unwrap().samples;
        assert_eq!((found.list().len(), found.list().first()), (ClockSamples::KEPT, Some(&sample(58, 58))));
        // Nobody has to look at that, and nobody is there that was not.
        assert_eq!(store.versions().await.unwrap().config, before);
        store.gateway_clock_seen(vec![(gateway("gw-9"), vec![sample(1, 1)])]).await.unwrap();
        assert!(matches!(store.gateway_clock(&gateway("gw-9")).await, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn the_clocks_of_all_gateways_are_as_each_alone() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        for (number, id) in (1..).zip(["gw-1", "gw-2", "gw-3", "gw-4"]) {
            commission(&store, id, &site, number).await;
        }
        assert!(store.gateway_clock_list().await.unwrap().is_empty());
        let hour_ahead: Vec<_> = (0..10).map(|at| sample(at, -3_600_000)).collect();
        let seen = |id: &str| (gateway(id), hour_ahead.clone());
        store.gateway_clock_seen(vec![seen("gw-1"), seen("gw-2")]).await.unwrap();
        for id in ["gw-2", "gw-3"] {
            store.gateway_clock_correct(&gateway(id), correction(10, "-1h")).await.unwrap();
        }
        let all = store.gateway_clock_list().await.unwrap();
        assert_eq!(all.len(), 3, "of gw-4 nothing is known");
        for (id, clock) in &all {
            assert_eq!(*clock, store.gateway_clock(id).await.unwrap(), "{id}");
        }
        let wrong = |id: &str| all[&gateway(id)].uncorrected(&site.zone).map(|estimate| estimate.ahead_ms);
        assert_eq!([wrong("gw-1"), wrong("gw-2"), wrong("gw-3")], [Some(3_600_000), None, None]);
    })
    .await;
}

#[tokio::test]
async fn a_check_reads_what_is_kept_of_clocks() {
    let store = Backend::Sqlite.fresh();
    a_gateway(&store).await;
    store.gateway_clock_seen(vec![(gateway("gw-1"), vec![sample(1, 1)])]).await.unwrap();
    store.gateway_clock_correct(&gateway("gw-1"), correction(10, "-1h")).await.unwrap();
    assert_eq!(store.damage_list().await.unwrap(), []);
}

#[tokio::test]
async fn a_correction_holds_from_its_instant_on_is_audited_and_taken_back() {
    on_every_backend(|store| async move {
        a_gateway(&store).await;
        let (id, before) = (gateway("gw-1"), store.versions().await.unwrap().config);
        store.gateway_clock_correct(&id, correction(10, "-1h")).await.unwrap();
        assert!(store.versions().await.unwrap().config > before, "ingest learns of it");
        store.gateway_clock_correct(&id, correction(20, "0s")).await.unwrap();
        let found = [in_force(&store, minute(9)).await, in_force(&store, minute(10)).await, in_force(&store, minute(20)).await];
        assert_eq!(found, ["0s", "-1h", "0s"]);
        let clock = store.gateway_clock(&id).await.unwrap();
        assert_eq!(clock.corrections.list(), [correction(10, "-1h"), correction(20, "0s")]);
        let refused = store.gateway_clock_correct(&gateway("gw-9"), correction(1, "1h")).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
        let trail = store.audit_list(1, 100).await.unwrap();
        let told: Vec<_> = trail.iter().filter(|row| row.action == "gateway.clock").map(|row| row.detail.clone()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("-1h") && told[1].contains("0s"), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn archives_hold_corrections_and_nothing_of_what_was_seen() {
    for (from, to) in [(Backend::Sqlite, Backend::Cassandra), (Backend::Cassandra, Backend::Sqlite)] {
        let (source, target) = (from.fresh(), to.fresh());
        a_gateway(&source).await;
        let id = gateway("gw-1");
        source.gateway_clock_seen(vec![(id.clone(), vec![sample(1, 1)])]).await.unwrap();
        source.gateway_clock_correct(&id, correction(10, "+30m")).await.unwrap();
        let expected = source.gateway_clock(&id).await.unwrap().corrections;
        restore(&target, create(&source).await.1).await.unwrap();
        let found = target.gateway_clock(&id).await.unwrap();
        assert_eq!((found.corrections, found.samples), (expected, ClockSamples::default()));
    }
}
