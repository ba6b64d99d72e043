//! Documents out of the quarantine.

use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, TimeWindow, Timestamp};
use heliograph_store::{DocumentWrite, ProviderStore, QuarantineNew, QuarantineRow, Was, WriteStamp};
use uuid::Uuid;

use crate::backend::{gateway, minute, on_every_backend, power};
use crate::documents::counts_documents;

fn held(number: u128, address: &str, raw: Vec<u8>) -> QuarantineNew {
    QuarantineNew {
        id: QuarantineId::new(Uuid::from_u128(number)),
        received: minute(number as i64),
        gateway: Some("gw-1".into()),
        address: format!("{address}:{number}"),
        code: RefusalCode::UnknownGateway,
        reason: "gateway gw-1 is not commissioned yet".into(),
        raw,
        trusted: false,
    }
}

async fn values(store: &ProviderStore) -> Vec<(Timestamp, f64)> {
    let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    page.rows.iter().map(|row| (row.time, row.value)).collect()
}

/// A document as it is replayed: it came in the minute of its entry.
fn replayed(number: u128, readings: &[(i64, f64)]) -> DocumentWrite {
    let received = minute(number as i64);
    DocumentWrite { received, stamp: WriteStamp::at(received), ..power("gw-1", readings) }
}

async fn entry(store: &ProviderStore, number: u128) -> QuarantineRow {
    store.quarantine_fetch(QuarantineId::new(Uuid::from_u128(number))).await.unwrap()
}

#[tokio::test]
async fn a_replayed_document_is_stored_and_its_entry_leaves() {
    on_every_backend(|store| async move {
        store.quarantine_add(held(5, "10.0.0.1", b"<a/>".to_vec())).await.unwrap();
        let row = entry(&store, 5).await;
        for _ in 0..2 {
            // A second time is what follows a crash in between.
            store.document_replay(replayed(5, &[(1, 1.0), (2, 2.0)]), &row).await.unwrap();
            assert_eq!(values(&store).await, [(minute(1), 1.0), (minute(2), 2.0)]);
            assert!(store.quarantine_list(None, 10).await.unwrap().is_empty());
            assert_eq!(store.quarantine_usage().await.unwrap().bytes, 0);
        }
        assert_eq!(store.gateway_fetch(&gateway("gw-1")).await.unwrap().last_seen, Some(minute(5)));
    })
    .await;
}

#[tokio::test]
async fn what_is_still_refused_stays_with_its_new_reason() {
    on_every_backend(|store| async move {
        store.quarantine_add(held(5, "10.0.0.1", b"<a/>".to_vec())).await.unwrap();
        let row = entry(&store, 5).await;
        let left = QuarantineNew { code: RefusalCode::BadValue, reason: "line 2: bad-value".into(), ..row.entry.clone() };
        let document = DocumentWrite { quarantine: Some(left), ..replayed(5, &[(1, 1.0)]) };
        store.document_replay(document, &row).await.unwrap();
        let found = entry(&store, 5).await;
        assert_eq!((found.entry.code, found.entry.reason.as_str()), (RefusalCode::BadValue, "line 2: bad-value"));
        assert_eq!((found.entry.raw.as_slice(), found.bytes), (&b"<a/>"[..], 4));
        let listed = store.quarantine_list(None, 10).await.unwrap();
        assert_eq!((listed.len(), listed[0].entry.code), (1, RefusalCode::BadValue));
        assert_eq!(values(&store).await, [(minute(1), 1.0)]);
    })
    .await;
}

#[tokio::test]
async fn what_was_pushed_later_stays_whatever_is_replayed() {
    on_every_backend(|store| async move {
        for number in [5, 6] {
            store.quarantine_add(held(number, "10.0.0.1", b"<a/>".to_vec())).await.unwrap();
        }
        // Pushed at minute 10: it corrects minute 1.
        let live = DocumentWrite { received: minute(10), stamp: WriteStamp::at(minute(10)), ..power("gw-1", &[(1, 100.0)]) };
        store.document_write(live).await.unwrap();
        let (newer, older) = (replayed(6, &[(1, 6.0), (2, 6.0)]), replayed(5, &[(1, 5.0), (2, 5.0), (3, 5.0)]));
        let was = async |document: &DocumentWrite| -> Vec<Was> {
            store.document_preview(document).await.unwrap().iter().map(|difference| difference.was).collect()
        };
        assert_eq!(was(&newer).await, [Was::Later(100.0), Was::Nothing]);
        store.document_replay(newer, &entry(&store, 6).await).await.unwrap();
        assert_eq!(was(&older).await, [Was::Later(100.0), Was::Later(6.0), Was::Nothing]);
        store.document_replay(older, &entry(&store, 5).await).await.unwrap();
        assert_eq!(values(&store).await, [(minute(1), 100.0), (minute(2), 6.0), (minute(3), 5.0)]);
        counts_documents(&store, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_preview_says_what_writing_would_change_and_changes_nothing() {
    on_every_backend(|store| async move {
        let unknown = store.document_preview(&replayed(20, &[(1, 1.0)])).await.unwrap();
        assert_eq!((unknown.len(), unknown[0].was), (1, Was::Nothing));
        assert!(store.gateway_list().await.unwrap().is_empty());

        let first = DocumentWrite { stamp: WriteStamp::at(minute(4)), ..power("gw-1", &[(1, 1.0), (2, 2.0)]) };
        store.document_write(first).await.unwrap();
        let document = replayed(20, &[(1, 1.0), (2, 7.0), (2, 8.0), (3, 3.0)]);
        let differences = store.document_preview(&document).await.unwrap();
        let found: Vec<_> = differences.iter().map(|found| (found.time, found.value, found.was)).collect();
        let expected = [(minute(1), 1.0, Was::Same), (minute(2), 8.0, Was::Other(2.0)), (minute(3), 3.0, Was::Nothing)];
        assert_eq!(found, expected);
        assert_eq!(values(&store).await, [(minute(1), 1.0), (minute(2), 2.0)]);
        store.quarantine_add(held(20, "10.0.0.1", b"<a/>".to_vec())).await.unwrap();
        store.document_replay(document, &entry(&store, 20).await).await.unwrap();
        assert_eq!(values(&store).await, [(minute(1), 1.0), (minute(2), 8.0), (minute(3), 3.0)]);
    })
    .await;
}

#[tokio::test]
async fn a_presented_key_goes_with_its_entry() {
    on_every_backend(|store| async move {
        let (with, without) = (held(5, "10.0.0.1", b"<a/>".to_vec()), held(6, "10.0.0.1", b"<b/>".to_vec()));
        let key = KeyDigest::of("correct-horse").bound_to(with.id);
        store.quarantine_add_with(with.clone(), Some(key)).await.unwrap();
        store.quarantine_add(without.clone()).await.unwrap();
        assert_eq!(store.quarantine_presented(with.id).await.unwrap(), Some(key));
        assert_eq!(store.quarantine_presented(without.id).await.unwrap(), None);
        for number in [5, 6] {
            store.quarantine_remove(&entry(&store, number).await).await.unwrap();
        }
        assert_eq!(store.quarantine_presented(with.id).await.unwrap(), None);
        let usage = store.quarantine_usage().await.unwrap();
        assert_eq!((usage.rows, usage.bytes), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn pages_go_on_behind_the_last_entry_also_within_a_millisecond() {
    on_every_backend(|store| async move {
        for number in 1..=7 {
            let same_time = QuarantineNew { received: minute(0), trusted: number % 2 == 0, ..held(number, "10.0.0.1", vec![]) };
            store.quarantine_add(same_time).await.unwrap();
        }
        let (mut before, mut found) = (None, Vec::new());
        loop {
            let page = store.quarantine_page(before, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.entry.received, last.entry.id));
            found.extend(page.iter().map(|row| row.entry.id.as_uuid().as_u128()));
        }
        assert_eq!(found, [7, 6, 5, 4, 3, 2, 1]);
    })
    .await;
}

#[tokio::test]
async fn what_is_held_of_one_gateway_is_bounded_and_no_other_address_pushes_it_out() {
    on_every_backend(|store| async move {
        store.quarantine_add(held(1, "10.0.0.1", b"<a/>".to_vec())).await.unwrap();
        let other = QuarantineNew { gateway: Some("gw-2".into()), ..held(2, "10.0.0.9", b"<a/>".to_vec()) };
        store.quarantine_add(other).await.unwrap();
        // On a cluster no more than so many are deleted a minute.
        let flood = ProviderStore::HELD_ROWS as u128 + 20;
        for number in 3..3 + flood {
            // All of a site of IPv6 are one.
            let address = format!("[2001:db8:1:2::{number:x}]");
            store.quarantine_add(held(number, &address, b"<a/>".to_vec())).await.unwrap();
        }
        assert_eq!(store.quarantine_usage().await.unwrap().rows, ProviderStore::HELD_ROWS + 1);
        for number in [1, 2, 2 + flood] {
            assert!(store.quarantine_fetch(QuarantineId::new(Uuid::from_u128(number))).await.is_ok(), "{number}");
        }
        let large = ProviderStore::HELD_BYTES as usize / 2 + 1;
        for number in [1000, 1001] {
            let large = QuarantineNew { gateway: Some("gw-3".into()), ..held(number, "10.0.0.3", vec![0; large]) };
            store.quarantine_add(large).await.unwrap();
        }
        let kept = store.quarantine_list(None, 1000).await.unwrap();
        assert_eq!(kept.iter().filter(|row| row.entry.gateway.as_deref() == Some("gw-3")).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn somebody_who_replays_stands_in_the_trail() {
    on_every_backend(|store| async move {
        store.quarantine_retry_noted(3, false).await.unwrap();
        let trail = store.audit_list(1, 10).await.unwrap();
        assert_eq!((trail.len(), trail[0].action.as_str()), (1, "quarantine.retry"));
        assert!(trail[0].detail.contains("\"entries\":3") && trail[0].detail.contains("\"proven\":false"), "{}", trail[0].detail);
    })
    .await;
}
