//! How documents are cut, and long ones on a real node.

use std::time::Duration;

use heliograph_domain::{GatewayId, TimeWindow};

use super::*;
use crate::cassandra::reading;
use crate::cassandra::trial::{openings, remove};
use crate::sample::power;

fn rows(count: usize, name: &str) -> Vec<TimedRow<'_>> {
    let row = |i: usize| (Timestamp::clamped(i as i64), ("gw", CqlDate(0), 0, CqlTimestamp(i as i64), name, "m", "W", 0.0, 0));
    (0..count).map(row).collect()
}

#[test]
fn batches_stay_below_the_clusters_limits_and_hold_every_row_once() {
    let long = "n".repeat(400);
    for (count, name) in [(0, "s"), (1, "s"), (200, "s"), (201, "s"), (1999, "s"), (300, long.as_str())] {
        let rows = rows(count, name);
        let batches = cut(&rows);
        assert!(batches.iter().all(|batch| !batch.is_empty() && batch.len() <= BATCH_ROWS));
        assert!(batches.iter().all(|batch| batch.len() * row_bytes(name.len() + 2) <= BATCH_BYTES));
        assert_eq!(batches.concat(), rows);
    }
}

#[test]
fn a_reading_lives_for_what_is_left_of_its_time() {
    let at = |hours: i64| Timestamp::clamped(1_800_000_000_000 + hours * 3_600_000);
    let day = Some(86_400_000);
    assert_eq!(ttl_seconds(None, at(-1000), at(0)), Some(0));
    assert_eq!(ttl_seconds(day, at(-23), at(0)), Some(3601));
    assert_eq!(ttl_seconds(day, at(-24), at(0)), None);
    assert_eq!(ttl_seconds(Some(40 * 365 * 86_400_000), at(0), at(0)), Some(0));
}

const DAY_MS: i64 = 86_400_000;

/// Readings of many days, each a partition of its own.
fn long_document(days: i64) -> DocumentWrite {
    let time = |day: i64| Timestamp::clamped(1_700_000_000_000 + day * DAY_MS);
    power(time(days), (0..days).map(|day| (time(day), day as f64)))
}

/// Times in which one step fits and a long document does not.
const HURRIED: Timing = Timing {
    deadline: Duration::from_secs(2),
    reuse: Duration::from_millis(500),
    settled: Duration::from_secs(3),
    pause: Duration::ZERO,
};

async fn stored(db: &Database) -> usize {
    let gateway = GatewayId::parse("gw-1").unwrap();
    reading::page(db, &gateway, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows.len()
}

#[tokio::test]
async fn a_document_of_years_is_written_in_steps_each_in_time() {
    let [db]: [Database; 1] = openings(HURRIED).await;
    let mut days = 1_000;
    // However fast the machine is: until one took longer than a step may.
    loop {
        let document = long_document(days);
        let begun = Instant::now();
        write_again(&db, &document, document.received).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(stored(&db).await, usize::try_from(days).unwrap());
        if took > HURRIED.deadline {
            break;
        }
        days *= 2;
        assert!(days < 1_000_000, "{took:?} is too little for this test");
    }
    remove(&db).await;
}

#[tokio::test]
async fn a_step_whose_last_reading_was_pushed_anew_is_not_taken_for_done() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let document = long_document(200);
    // The last reading of the first step, and of no other, by a later push.
    let last = BATCHES_OF_STEP - 1;
    let stamp = WriteStamp::at(document.received.plus_millis(1));
    let later = DocumentWrite { values: vec![document.values[last]], stamp, ..document.clone() };
    write(&db, &later, document.received).await.unwrap();
    write_again(&db, &document, document.received).await.unwrap();
    assert_eq!(stored(&db).await, 200);
    remove(&db).await;
}

#[tokio::test]
async fn the_last_step_that_seems_done_is_written_once_more() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let document = long_document(200);
    // As an attempt left it whose steps began elsewhere, because older readings had
    // not expired yet: where the first step ends there is one, and another is missing.
    let torn = (0..BATCHES_OF_STEP).filter(|day| *day != 5).map(|day| document.values[day]).collect();
    write(&db, &DocumentWrite { values: torn, ..document.clone() }, document.received).await.unwrap();
    write_again(&db, &document, document.received).await.unwrap();
    assert_eq!(stored(&db).await, 200);
    remove(&db).await;
}

#[tokio::test]
async fn a_document_that_was_written_in_part_goes_on_where_it_was() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let document = long_document(2_000);
    // What all of it takes here, by another gateway.
    let whole = Instant::now();
    let elsewhere = DocumentWrite { gateway: GatewayId::parse("gw-2").unwrap(), ..document.clone() };
    write(&db, &elsewhere, document.received).await.unwrap();
    let part = whole.elapsed() / 8;
    let begun = Instant::now();
    let mut attempts = 0;
    // As if each attempt failed, or its process were killed, after an eighth of it.
    while tokio::time::timeout(part, write_again(&db, &document, document.received)).await.is_err() {
        attempts += 1;
        assert!(begun.elapsed() < Duration::from_secs(120), "{} readings after {attempts} attempts", stored(&db).await);
    }
    assert!(attempts > 1);
    assert_eq!(stored(&db).await, 2_000);
    // Once more: it is known to be there.
    assert!(write_as(&db, &document, document.received, true).await.unwrap());
    remove(&db).await;
}

#[tokio::test]
async fn each_step_of_a_long_document_goes_by_the_settings_of_its_own_time() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let document = long_document(100);
    let (names, now) = (series::names(&document).unwrap(), document.received);
    let slicing = db.slicing(&document.gateway).await.unwrap();
    // Begun while readings were kept for a year; meanwhile they are kept for ever.
    let rows = super::rows(&document, &distinct(&document, &names), &slicing, Some(365 * DAY_MS), now);
    assert!(rows.iter().all(|(_, row)| row.8 > 0));
    write_in_steps(&db, &document, &batches(&rows), false, now).await.unwrap();
    let lives: Vec<(Option<i32>,)> = db.all("SELECT TTL(value) FROM @.reading", ()).await.unwrap();
    assert_eq!(lives, vec![(None,); 100]);
    remove(&db).await;
}
