//! The worker on a real file, by a clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heliograph_domain::{GatewayId, ProviderId, ProviderSettings, TimeWindow, Timestamp};
use heliograph_store::{Store, StoreUrl};

use super::*;
use crate::sample::power;

const DAY_MS: i64 = 86_400_000;
const ME: &str = "me";

fn day(day: i64) -> Timestamp {
    Timestamp::clamped(1_781_481_600_000 + day * DAY_MS)
}

/// A store with a reading at the beginning of each of ten days.
struct World {
    store: ProviderStore,
    time: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn of(retention_days: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Store::open(StoreUrl::sqlite(folder.path().join("data"))).unwrap();
        let store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        let settings = ProviderSettings { retention_days, ..ProviderSettings::default() };
        store.settings_save(settings).await.unwrap();
        store.document_write(power("gw-1", day(9), (0..10).map(|of| (day(of), of as f64)))).await.unwrap();
        Self { store, time: Arc::new(AtomicI64::new(day(10).as_millis())), _folder: folder }
    }

    fn clock(&self) -> Clock {
        let time = Arc::clone(&self.time);
        Arc::new(move || Timestamp::clamped(time.load(Ordering::Relaxed)))
    }

    async fn turn(&self) {
        turn(&self.store, ME, &self.clock()).await.unwrap();
    }

    /// The days of which readings are there.
    async fn days(&self) -> Vec<i64> {
        let gateway = GatewayId::parse("gw-1").unwrap();
        let page = self.store.reading_page(&gateway, TimeWindow::ALWAYS, 100).await.unwrap();
        page.rows.iter().map(|row| row.value as i64).collect()
    }

    /// What the trail says of deletions.
    async fn deletions(&self) -> Vec<String> {
        let trail = self.store.audit_list(1, 100).await.unwrap();
        trail.into_iter().filter(|row| row.action == "retention.run").map(|row| row.detail).collect()
    }
}

#[tokio::test]
async fn what_is_older_than_the_provider_keeps_goes_once_and_the_trail_says_so() {
    let world = World::of(Some(4)).await;
    world.turn().await;
    // Four days, and the one that windows at the edge follow from.
    assert_eq!(world.days().await, [5, 6, 7, 8, 9]);
    assert_eq!(world.deletions().await.len(), 1);
    assert!(world.deletions().await[0].contains("\"readings\":5"));
    world.turn().await;
    assert_eq!((world.days().await.len(), world.deletions().await.len()), (5, 1));
    world.time.store(day(11).as_millis(), Ordering::Relaxed);
    world.turn().await;
    assert_eq!((world.days().await, world.deletions().await.len()), (vec![6, 7, 8, 9], 2));
}

#[tokio::test]
async fn a_provider_that_keeps_all_loses_nothing() {
    let world = World::of(None).await;
    world.turn().await;
    assert_eq!((world.days().await.len(), world.deletions().await.len()), (10, 0));
}

#[tokio::test]
async fn a_clock_by_which_no_reading_would_stay_is_taken_for_wrong() {
    let world = World::of(Some(4)).await;
    world.time.store(day(400).as_millis(), Ordering::Relaxed);
    world.turn().await;
    assert_eq!((world.days().await.len(), world.deletions().await.len()), (10, 0));
    // Nor is anything sealed: by the right clock late readings still count.
    world.time.store(day(10).as_millis(), Ordering::Relaxed);
    world.turn().await;
    assert_eq!(world.days().await, [5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn readings_of_gateways_that_have_gone_silent_go_too() {
    let world = World::of(Some(4)).await;
    for now in 10..=15 {
        world.time.store(day(now).as_millis(), Ordering::Relaxed);
        world.turn().await;
    }
    assert_eq!((world.days().await, world.deletions().await.len()), (vec![], 6));
}

#[tokio::test]
async fn a_clock_that_jumps_while_gateways_are_silent_is_believed_once_it_has_gone_on_for_two_days() {
    let world = World::of(Some(4)).await;
    for (now, left) in [(10, 5), (400, 5), (401, 5), (402, 0)] {
        world.time.store(day(now).as_millis(), Ordering::Relaxed);
        world.turn().await;
        assert_eq!(world.days().await.len(), left, "day {now}");
    }
}

#[tokio::test]
async fn a_clock_by_which_gateways_push_nothing_of_its_time_is_never_believed() {
    let world = World::of(Some(4)).await;
    for now in [10, 400, 401, 402, 403, 404] {
        world.time.store(day(now).as_millis(), Ordering::Relaxed);
        if now >= 400 {
            // What is refused as too old is not there, that it came is.
            world.store.document_write(power("gw-1", day(now), [(day(9), 9.0)].into_iter())).await.unwrap();
        }
        world.turn().await;
        assert_eq!(world.days().await.len(), 5, "day {now}");
    }
}

#[tokio::test]
async fn whoever_has_no_lease_deletes_nothing() {
    let world = World::of(Some(4)).await;
    assert!(world.store.lease_take(LEASE, "another", day(10), day(10).plus_millis(LEASE_MS)).await.unwrap());
    world.turn().await;
    assert_eq!(world.days().await.len(), 10);
    // It has run out.
    world.time.store(day(11).as_millis(), Ordering::Relaxed);
    world.turn().await;
    assert_eq!(world.days().await, [6, 7, 8, 9]);
}

#[tokio::test]
async fn a_worker_that_ends_gives_its_lease_back() {
    let world = World::of(Some(4)).await;
    let shutdown = CancellationToken::new();
    let worker = tokio::spawn(run(world.store.clone(), ME.to_owned(), world.clock(), shutdown.clone()));
    while world.days().await.len() > 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), worker).await.unwrap().unwrap();
    assert!(world.store.lease_take(LEASE, "another", day(10), day(10).plus_millis(LEASE_MS)).await.unwrap());
}
