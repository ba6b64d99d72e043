//! How room is made, and how much is deleted for it.

use heliograph_domain::QuarantineId;

use super::*;
use crate::cassandra::mark::Timing;
use crate::cassandra::trial::{openings, remove};
use crate::store::ProviderStore;

fn weight(host: &str) -> Weight {
    Weight { crowd: host.to_owned(), held_for: None, bytes: 4 }
}

fn key(number: u128) -> Key {
    (Timestamp::clamped(number as i64), Uuid::from_u128(number))
}

/// How many entries go, and how many are kept, of a flood within one minute.
fn flood(ledger: &mut Ledger, now: Instant, numbers: std::ops::Range<u128>, host: impl Fn(u128) -> String) -> (usize, usize) {
    let admitted = numbers.filter_map(|number| ledger.admit_stranger(key(number), weight(&host(number)), now));
    admitted.fold((0, 0), |(gone, kept), more| (gone + more.len(), kept + 1))
}

#[test]
fn a_flood_of_strangers_deletes_so_much_a_minute_and_no_more() {
    let full = ProviderStore::STRANGERS_ROWS as u128;
    let crowd = |_: u128| "10.0.0.9:".to_owned();
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    assert_eq!(flood(&mut ledger, now, 0..full, crowd), (0, full as usize));
    assert_eq!(flood(&mut ledger, now, full..10_000, crowd), (50, 50));
    // Somebody else gets in beside the crowd, which makes the room.
    assert_eq!(flood(&mut ledger, now, 10_000..10_001, |_| "10.0.0.1:".to_owned()), (1, 1));
    let everybody = |number: u128| format!("10.0.{}.{}:", number / 256, number % 256);
    assert_eq!(flood(&mut ledger, now, 10_001..15_000, everybody), (49, 49));
    assert_eq!(ledger.strangers.by_age.len() as u128, full);
    // The next minute is another one.
    let later = now + MINUTE;
    assert!(ledger.admit_stranger(key(20_000), weight(&crowd(0)), later).is_some());
}

#[test]
fn a_gateway_that_fills_the_quarantine_makes_others_go_only_beyond_so_many_a_minute() {
    let full = ProviderStore::QUARANTINE_ROWS as u128;
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.admit_trusted(key(0), weight("quiet"), now);
    for number in 1..full {
        assert_eq!(ledger.admit_trusted(key(number), weight("loud"), now), Leaving::default());
    }
    for number in 0..100 {
        let own = Leaving { until: None, single: vec![(key(1 + number), 4)] };
        assert_eq!(ledger.admit_trusted(key(full + number), weight("loud"), now), own);
    }
    let oldest = Leaving { until: Some(key(0)), single: Vec::new() };
    assert_eq!(ledger.admit_trusted(key(full + 100), weight("loud"), now), oldest);
    // Its own that are the oldest of all go like that in any minute.
    let oldest = Leaving { until: Some(key(101)), single: Vec::new() };
    assert_eq!(ledger.admit_trusted(key(full + 101), weight("loud"), now + MINUTE), oldest);
}

#[test]
fn what_is_known_already_needs_no_room() {
    let mut ledger = Ledger::default();
    let now = Instant::now();
    for _ in 0..3 {
        assert_eq!(ledger.admit_stranger(key(1), weight("a"), now), Some(Vec::new()));
    }
    assert_eq!((ledger.strangers.by_age.len(), ledger.strangers.bytes), (1, 4));
}

fn entry(number: u128) -> QuarantineNew {
    QuarantineNew {
        id: QuarantineId::new(key(number).1),
        received: key(number).0,
        gateway: None,
        address: "127.0.0.1:1".to_owned(),
        code: RefusalCode::Malformed,
        reason: "malformed".to_owned(),
        raw: vec![b'x'; PIECE + 1],
        trusted: true,
    }
}

#[tokio::test]
async fn the_oldest_of_a_list_go_at_once_with_all_their_bytes() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    for number in 1..=5 {
        db.quarantine_add(&entry(number), None).await.unwrap();
    }
    db.remove_until(Share::Trusted, key(3)).await.unwrap();
    let listed = db.quarantine_list(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.entry.id).collect::<Vec<_>>(), [entry(5).id, entry(4).id]);
    assert_eq!(db.quarantine_fetch(entry(4).id).await.unwrap().entry, entry(4));
    // Nothing of the others is left, and what is looked for there is looked for once.
    for number in 1..=3 {
        assert_eq!(parts_left(&db, number).await, 0);
    }
    remove(&db).await;
}

/// How many parts of an entry there are, its key among them.
async fn parts_left(db: &Database, number: u128) -> usize {
    let id = key(number).1;
    let mut left = 0;
    for part in [piece_part(id, 0), piece_part(id, 1), key_part(id)] {
        let rows: Vec<(Uuid,)> = db.all("SELECT id FROM @.quarantine WHERE part = ?", (part,)).await.unwrap();
        left += rows.len();
    }
    left
}

#[tokio::test]
async fn what_a_removal_that_ends_half_way_leaves_goes_when_the_list_is_read() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let bytes = (PIECE + 1) as u64;
    for number in 1..=3 {
        db.quarantine_add(&entry(number), Some(KeyDigest([7; 32]))).await.unwrap();
        assert_eq!(parts_left(&db, number).await, 3);
    }
    db.mark_removed(Share::Trusted, key(1)).await.unwrap();
    db.mark_removed(Share::Trusted, key(2)).await.unwrap();
    db.remove_pieces(key(2).1, bytes).await.unwrap();
    let listed = db.quarantine_list(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.entry.id).collect::<Vec<_>>(), [entry(3).id]);
    assert_eq!([parts_left(&db, 1).await, parts_left(&db, 2).await, parts_left(&db, 3).await], [0, 0, 3]);
    assert_eq!(db.quarantine_usage().await.unwrap().rows, 1);
    remove(&db).await;
}
