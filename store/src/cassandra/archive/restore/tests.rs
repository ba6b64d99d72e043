//! Restores that fail, wait or are overtaken, on a real node.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use heliograph_domain::ProviderSettings;
use scylla::value::CqlTimestamp;

use super::super::super::control::{LIFETIME_OF, RETAINED};
use super::super::super::mark::{self, Timing};
use super::super::super::trial::{openings, remove};
use super::*;

fn minute(minute: i64) -> Timestamp {
    Timestamp::clamped(1_781_481_600_000 + minute * 60_000)
}

/// The names of what is noted of readings.
async fn noted(db: &Database) -> BTreeSet<String> {
    let of_readings = |name: &String| [SEALED, KEPT, LIFETIME, RETAINED].iter().any(|begin| name.starts_with(begin));
    db.noted("").await.unwrap().into_keys().filter(of_readings).collect()
}

/// Does what a worker does that looks after a provider's readings.
async fn look_after(db: &Database) {
    for name in [SEALED.to_owned(), format!("{RETAINED}gw-1"), format!("{LIFETIME_OF}9:gw-1")] {
        db.set_control(&name, minute(0).as_millis()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_restore_in_vain_has_noted_of_readings_is_forgotten() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    look_after(&db).await;
    let lease = Lease::take(&db, minute(0), lease::AGAIN).await.unwrap();
    begin(&db, &lease.holder).await.unwrap();
    assert!(noted(&db).await.is_empty(), "of what was noted before there are no readings");
    let mut restore = Restore::new(&lease);
    restore.sealed = Some(minute(0).as_millis());
    restore.catalog.settings = Some(ProviderSettings { retention_days: Some(9), ..ProviderSettings::default() });
    restore.note_kept().await.unwrap();
    look_after(&db).await;
    assert_eq!((db.control(KEPT).await.unwrap(), db.control(LIFETIME).await.unwrap()), (Some(9), Some(9)));
    restore.abandon().await.unwrap();
    assert!(noted(&db).await.is_empty());
    assert!(!db.unfinished_catalog().await.unwrap().is_being_restored());
    remove(&db).await;
}

fn event(_: &ArchiveSummary, _: AuditHead) -> Result<AuditEvent, StoreError> {
    unreachable!("no archive of this test is whole")
}

async fn cut() -> Result<ArchiveSummary, StoreError> {
    Err(StoreError::Archive("it is cut".to_owned()))
}

async fn until(db: &Database) -> i64 {
    let cql = "SELECT until FROM @.control WHERE name = 'lease:restore'";
    db.row::<(Option<CqlTimestamp>,)>(cql, ()).await.unwrap().unwrap().0.unwrap().0
}

/// Waits until something is so.
async fn comes(what: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !what().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_lease_of_a_restore_is_renewed_while_its_archive_is_silent() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let lease = Lease::take(&db, minute(0), Duration::from_millis(50)).await.unwrap();
    let (archive, parts) = mpsc::channel(1);
    let first = until(&db).await;
    let watched = async {
        comes(async || until(&db).await >= first + 300).await;
        drop(archive);
    };
    let (restored, ()) = tokio::join!(restore_under(&lease, parts, cut(), event), watched);
    assert!(matches!(restored, Err(StoreError::Archive(_))), "{restored:?}");
    remove(&db).await;
}

#[tokio::test]
async fn a_silent_restore_ends_when_another_one_has_its_lease() {
    let [db, other]: [Database; 2] = openings(Timing::default()).await;
    let lease = Lease::take(&db, minute(0), Duration::from_millis(50)).await.unwrap();
    let (_archive, parts) = mpsc::channel(1);
    let taken_over = async {
        comes(async || other.unfinished_catalog().await.unwrap().is_restored_by(&lease.holder)).await;
        // As if no word of the first had come through for two minutes.
        let later = Lease::take(&other, minute(3), lease::AGAIN).await.unwrap();
        begin(&other, &later.holder).await.unwrap();
        later
    };
    let restoring = tokio::time::timeout(Duration::from_secs(30), restore_under(&lease, parts, cut(), event));
    let (restored, later) = tokio::join!(restoring, taken_over);
    assert!(matches!(restored, Ok(Err(StoreError::Conflict(_)))), "{restored:?}");
    assert!(other.unfinished_catalog().await.unwrap().is_restored_by(&later.holder));
    remove(&db).await;
}

#[tokio::test]
async fn a_restore_that_lost_its_lease_removes_nothing_of_what_another_has_made() {
    let [db, other]: [Database; 2] = openings(Timing::default()).await;
    let lost = Lease::take(&db, minute(0), lease::AGAIN).await.unwrap();
    begin(&db, &lost.holder).await.unwrap();
    let mut broken = Restore::new(&lost);
    let refused = async |broken: &mut Restore<'_>| {
        let error = broken.abandon().await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    };
    // Two minutes later another one has the lease, begins, and is done.
    let lease = Lease::take(&other, minute(3), lease::AGAIN).await.unwrap();
    refused(&mut broken).await;
    assert!(other.unfinished_catalog().await.unwrap().is_restored_by(&lost.holder));
    begin(&other, &lease.holder).await.unwrap();
    let gateway = GatewayId::parse("gw-1").unwrap();
    mark::set(&other, &gateway, [minute(0)].into_iter(), minute(0)).await.unwrap();
    refused(&mut broken).await;
    let event = AuditEvent {
        at: minute(3),
        actor: "operator".to_owned(),
        action: "archive.restore".to_owned(),
        object: "archive".to_owned(),
        detail: "{}".to_owned(),
    };
    Restore::new(&lease).finish(event.clone()).await.unwrap();
    lease.release().await;
    // Now nobody has it, so that it may be had again.
    refused(&mut broken).await;
    let mut late = Restore::new(&lost);
    late.catalog.settings = Some(ProviderSettings { retention_days: Some(9), ..ProviderSettings::default() });
    let written = late.finish(event).await;
    assert!(matches!(written, Err(StoreError::Conflict(_))), "{written:?}");
    assert_eq!(other.control(KEPT).await.unwrap(), Some(FOR_EVER));
    assert_eq!(mark::of_gateway(&other, &gateway).await.unwrap().marks.len(), 1);
    assert_eq!(other.catalog().await.unwrap().trail_head().map(|head| head.seq), Some(1));
    remove(&db).await;
}
