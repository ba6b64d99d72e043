//! Restores that fail, wait or are overtaken, on a real node.

use std::collections::BTreeSet;

use heliograph_domain::ProviderSettings;

use super::super::super::control::{LIFETIME_OF, RETAINED};
use super::super::super::mark::Timing;
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
    let lease = Lease::take(&db, minute(0)).await.unwrap();
    begin(&db, &lease.holder).await.unwrap();
    assert!(noted(&db).await.is_empty(), "of what was noted before there are no readings");
    let mut restore = Restore::new(&db, minute(0), lease);
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
