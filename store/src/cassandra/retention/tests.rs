//! What a retention that was changed does to marks and to what is noted.

use std::time::Duration;

use heliograph_domain::ProviderSettings;

use super::*;
use crate::audit::AuditEvent;
use crate::cassandra::control::{LIFETIME, LIFETIME_OF, SHORTENED};
use crate::cassandra::mark::Timing;
use crate::cassandra::trial::{openings, remove};
use crate::cassandra::{Entry, document};
use crate::document::{DocumentWrite, Value};
use crate::rollup::{SeriesRollups, Sight};
use crate::sample::power;
use crate::stamp::WriteStamp;

const TIMING: Timing = Timing {
    deadline: Duration::from_secs(2),
    reuse: Duration::from_millis(500),
    settled: Duration::from_secs(3),
    pause: Duration::ZERO,
};

const PUSHED: i64 = 2_300;

fn day(day: i64) -> Timestamp {
    Timestamp::clamped(1_781_481_600_000 + day * DAY_MS)
}

fn gateway() -> GatewayId {
    GatewayId::parse("gw-1").unwrap()
}

/// Power at noon of a day and a quarter of an hour later.
fn noon(of: i64) -> DocumentWrite {
    let time = |minutes: i64| day(of).plus_millis(DAY_MS / 2 + minutes * 60_000);
    power(time(15), [0, 15].map(|minutes| (time(minutes), 400.0)))
}

fn keeping(days: u32) -> ProviderSettings {
    ProviderSettings { retention_days: Some(days), ..ProviderSettings::default() }
}

fn saved() -> Entry {
    Entry::Always(AuditEvent {
        at: day(20),
        actor: "operator".to_owned(),
        action: "settings.save".to_owned(),
        object: "settings".to_owned(),
        detail: "{}".to_owned(),
    })
}

async fn save(db: &Database, days: u32) {
    db.settings_save(saved(), keeping(days), None).await.unwrap();
}

/// Does what the worker does of lifetimes, now and a little later.
async fn prolong(db: &Database, days: u32, now: Timestamp) {
    for now in [now, now.plus_millis(120_000)] {
        while !db.lifetime_step(Some(days), now).await.unwrap() {}
    }
}

async fn keep(db: &Database, days: u32, now: Timestamp) {
    save(db, days).await;
    prolong(db, days, now).await;
}

/// What is left to the readings of a day, in days; `None`: they stay for ever.
async fn left(db: &Database, of: i64) -> Vec<Option<i32>> {
    let partition = db.slicing(&gateway()).await.unwrap().partition(day(of));
    let cql = "SELECT TTL(value) FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ?";
    let left: Vec<(Option<i32>,)> = db.all(cql, (gateway().as_str(), partition.date(), partition.bucket)).await.unwrap();
    left.into_iter().map(|(left,)| left.map(|left| left / 86_400)).collect()
}

async fn delete(db: &Database, days: u32, now: Timestamp) {
    while !db.retention_step(RetentionPlan::of(days, now), now).await.unwrap().done {}
}

async fn settle_all(db: &Database, now: Timestamp) {
    while !mark::of_gateway(db, &gateway()).await.unwrap().marks.is_empty() {
        rollup::settle(db, now).await.unwrap();
    }
}

async fn windows(db: &Database, now: Timestamp) -> usize {
    let period = TimeWindow::between(day(0), day(1));
    let list = rollup::list(db, &gateway(), (period, Sight::ALWAYS), |_, _| true, now).await.unwrap();
    list.iter().map(|series: &SeriesRollups| series.windows.len()).sum()
}

#[tokio::test]
async fn what_was_marked_before_less_is_kept_is_settled_all_the_same() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let now = day(20);
    keep(&db, 30, now).await;
    document::write(&db, &noon(0), now).await.unwrap();
    keep(&db, 4, now).await;
    settle_all(&db, now).await;
    assert_eq!(windows(&db, now).await, 2);
    // The next is settled by the retention itself, before it seals.
    let other = DocumentWrite { values: vec![Value { value: 800.0, ..noon(0).values[1] }], ..noon(0) };
    let other = DocumentWrite { stamp: WriteStamp::at(day(19)), ..other };
    document::write(&db, &other, now).await.unwrap();
    delete(&db, 4, now).await;
    settle_all(&db, now).await;
    assert_eq!(windows(&db, now).await, 2);
    assert_eq!(db.sealed(now).await.unwrap(), day(16));
    remove(&db).await;
}

#[tokio::test]
async fn settings_that_are_refused_lower_no_lifetime() {
    let [db]: [Database; 1] = openings(TIMING).await;
    save(&db, 30).await;
    let before = (db.control(LIFETIME).await.unwrap(), db.control(SHORTENED).await.unwrap());
    let late = db.settings_save(saved(), keeping(4), Some(keeping(60))).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    assert_eq!((db.control(LIFETIME).await.unwrap(), db.control(SHORTENED).await.unwrap()), before);
    db.settings_save(saved(), keeping(4), Some(keeping(30))).await.unwrap();
    assert_eq!(db.control(LIFETIME).await.unwrap(), Some(4));
    remove(&db).await;
}

#[tokio::test]
async fn what_was_noted_of_a_retention_counts_for_nothing_after_another_one() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let now = day(20);
    keep(&db, 30, now).await;
    document::write(&db, &noon(5), now).await.unwrap();
    keep(&db, 10, now).await;
    document::write(&db, &noon(15), now).await.unwrap();
    delete(&db, 10, now).await;
    assert_eq!(db.noted(RETAINED).await.unwrap().len(), 1);
    // As if somebody had wanted 30 days for a moment, and work on the gateway was done.
    db.set_control(&format!("{LIFETIME_OF}30:{}", gateway()), day(99).as_millis()).await.unwrap();
    keep(&db, 10, now).await;
    keep(&db, 30, now).await;
    assert!(db.noted(LIFETIME_OF).await.unwrap().is_empty());
    assert!(db.noted(RETAINED).await.unwrap().is_empty());
    assert_eq!(left(&db, 15).await, [Some(26); 2]);
    // What comes now and is old is deleted when less is kept again.
    document::write(&db, &noon(1), now).await.unwrap();
    keep(&db, 10, now).await;
    delete(&db, 10, now).await;
    let page = crate::cassandra::reading::page(&db, &gateway(), TimeWindow::ALWAYS, 10).await.unwrap();
    assert_eq!(page.rows.len(), 2);
    remove(&db).await;
}

#[tokio::test]
async fn readings_written_while_less_was_kept_for_a_moment_live_as_long_as_others() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let now = day(20);
    keep(&db, 30, now).await;
    // No worker comes in between.
    save(&db, 10).await;
    document::write(&db, &noon(15), now).await.unwrap();
    assert_eq!(left(&db, 15).await, [Some(6); 2]);
    save(&db, 30).await;
    prolong(&db, 30, now).await;
    assert_eq!(left(&db, 15).await, [Some(26); 2]);
    // Nor does one that has looked through all readings but has not said so yet.
    save(&db, 40).await;
    while db.noted(LIFETIME_OF).await.unwrap().is_empty() {
        db.lifetime_step(Some(40), now).await.unwrap();
    }
    for begun in db.noted(LIFETIME_OF).await.unwrap().into_keys() {
        db.set_control(&format!("{LIFETIME_OF}{begun}{}", gateway()), day(99).as_millis()).await.unwrap();
    }
    save(&db, 10).await;
    document::write(&db, &noon(16), now).await.unwrap();
    save(&db, 40).await;
    prolong(&db, 40, now).await;
    assert_eq!([left(&db, 15).await, left(&db, 16).await], [[Some(36); 2], [Some(37); 2]]);
    assert_eq!((db.control(KEPT).await.unwrap(), db.control(LIFETIME).await.unwrap()), (Some(40), Some(40)));
    remove(&db).await;
}

#[tokio::test]
async fn nothing_is_written_again_while_somebody_may_go_by_the_settings_before_and_then_all_is() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let now = day(20);
    keep(&db, 10, now).await;
    // More than comes in one page.
    let second = |second: i64| (day(15).plus_millis(DAY_MS / 2 + second * 1000), 400.0);
    document::write(&db, &power(second(PUSHED).0, (0..PUSHED).map(second)), now).await.unwrap();
    save(&db, 30).await;
    for (later, expected) in [(0, 6), (60_000, 6), (80_000, 26)] {
        assert!(db.lifetime_step(Some(30), now.plus_millis(later)).await.unwrap());
        assert_eq!(left(&db, 15).await, [Some(expected); PUSHED as usize], "after {later} ms");
    }
    remove(&db).await;
}

#[tokio::test]
async fn a_report_settles_what_is_near_its_period_and_leaves_the_rest_to_the_worker() {
    let [db]: [Database; 1] = openings(TIMING).await;
    for of in [0, 5, 60] {
        document::write(&db, &noon(of), day(61)).await.unwrap();
    }
    let settled = async || {
        let cql = "SELECT start FROM @.rollup WHERE gateway = 'gw-1' AND step = 'quarter' AND period = ?";
        let mut found = Vec::new();
        for of in [0, 5, 60] {
            let date = day(of).to_jiff().strftime("%Y-%m-%d").to_string();
            found.push(db.all::<(CqlTimestamp,)>(cql, (date,)).await.unwrap().len());
        }
        found
    };
    assert_eq!(windows(&db, day(61)).await, 2);
    assert_eq!(settled().await, [2, 2, 0]);
    settle_all(&db, day(61)).await;
    assert_eq!(settled().await, [2, 2, 2]);
    remove(&db).await;
}
