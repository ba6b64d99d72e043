//! The quarantine.

use heliograph_domain::{QuarantineId, RefusalCode};
use heliograph_store::{DocumentWrite, ProviderStore, QuarantineNew, QuarantineRow, QuarantineUsage, StoreError};
use uuid::Uuid;

use crate::backend::{minute, on_every_backend, power};

pub(crate) fn refused(number: u128, raw: Vec<u8>) -> QuarantineNew {
    QuarantineNew {
        id: QuarantineId::new(Uuid::from_u128(number)),
        received: minute(number as i64),
        gateway: Some("gw'; DROP TABLE frame; --".into()),
        address: "127.0.0.1:1".into(),
        code: RefusalCode::Malformed,
        reason: "line 3: <b> is closed by </a>".into(),
        raw,
        trusted: true,
    }
}

fn from_stranger(number: u128, address: &str) -> QuarantineNew {
    QuarantineNew { address: format!("{address}:{number}"), trusted: false, ..refused(number, b"<a/>".to_vec()) }
}

#[tokio::test]
async fn a_flood_of_one_stranger_makes_nobody_elses_entries_go() {
    on_every_backend(|store| async move {
        store.quarantine_add(refused(1, b"<push/>".to_vec())).await.unwrap();
        store.quarantine_add(from_stranger(2, "10.0.0.1")).await.unwrap();
        // All of a site of IPv6 are one.
        let flood: Vec<_> = (3..ProviderStore::STRANGERS_ROWS as u128 + 500)
            .map(|number| {
                let (store, address) = (store.store.clone(), format!("[2001:db8:1:2::{number:x}]"));
                tokio::spawn(async move { store.quarantine_add(from_stranger(number, &address)).await })
            })
            .collect();
        for add in flood {
            add.await.unwrap().unwrap();
        }
        assert_eq!(store.quarantine_usage().await.unwrap().rows, 1 + ProviderStore::STRANGERS_ROWS);
        assert!(store.quarantine_fetch(refused(1, vec![]).id).await.is_ok());
        assert!(store.quarantine_fetch(refused(2, vec![]).id).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn the_same_entry_twice_is_one() {
    on_every_backend(|store| async move {
        let document = DocumentWrite { quarantine: Some(refused(2, b"<push>".to_vec())), ..power("gw-1", &[(0, 1.0)]) };
        for _ in 0..2 {
            store.quarantine_add(refused(1, b"<a/>".to_vec())).await.unwrap();
            store.document_write(document.clone()).await.unwrap();
        }
        assert_eq!(store.quarantine_usage().await.unwrap(), QuarantineUsage { rows: 2, bytes: 10 });
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_is_kept_byte_for_byte() {
    on_every_backend(|store| async move {
        let raw: Vec<u8> = (0..=255).collect();
        store.quarantine_add(refused(1, raw.clone())).await.unwrap();
        store.quarantine_add(refused(2, vec![])).await.unwrap();
        let listed = store.quarantine_list(None, 10).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.bytes).collect::<Vec<_>>(), [0, 256]);
        assert!(listed[1].entry.raw.is_empty());
        assert_eq!(store.quarantine_list(Some(minute(2)), 10).await.unwrap().len(), 1);
        let fetched = store.quarantine_fetch(refused(1, vec![]).id).await.unwrap();
        assert_eq!(fetched.entry, refused(1, raw));
        assert_eq!(store.quarantine_usage().await.unwrap(), QuarantineUsage { rows: 2, bytes: 256 });
        let missing = store.quarantine_fetch(QuarantineId::new(Uuid::from_u128(9))).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn a_document_with_refused_readings_is_stored_with_them_in_one_go() {
    on_every_backend(|store| async move {
        let mut document = power("gw-1", &[(0, 1.0)]);
        document.quarantine = Some(refused(1, b"<push/>".to_vec()));
        store.document_write(document).await.unwrap();
        assert_eq!(store.quarantine_usage().await.unwrap().rows, 1);
        assert_eq!(store.gateway_list().await.unwrap()[0].documents, 1);
    })
    .await;
}

#[tokio::test]
async fn the_oldest_of_the_gateway_that_fills_the_quarantine_make_room() {
    on_every_backend(|store| async move {
        let numbers = |rows: Vec<QuarantineRow>| rows.iter().map(|row| row.entry.id.as_uuid().as_u128()).collect::<Vec<_>>();
        // Another one has more entries, and older ones.
        for number in 1..=6 {
            let other = QuarantineNew { gateway: Some("gw-2".into()), ..refused(number, vec![]) };
            store.quarantine_add(other).await.unwrap();
        }
        let big = ProviderStore::QUARANTINE_BYTES as usize / 4;
        for number in 7..=12 {
            store.quarantine_add(refused(number, vec![0; big])).await.unwrap();
        }
        let usage = store.quarantine_usage().await.unwrap();
        assert_eq!((usage.rows, usage.bytes), (10, ProviderStore::QUARANTINE_BYTES));
        let kept = store.quarantine_list(None, 20).await.unwrap();
        assert_eq!(numbers(kept), [12, 11, 10, 9, 6, 5, 4, 3, 2, 1]);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_goes_while_its_reason_is_changed_leaves_nothing_in_the_way() {
    on_every_backend(|store| async move {
        for number in 1..=3 {
            store.quarantine_add(refused(number, b"<a/>".to_vec())).await.unwrap();
        }
        for number in [1, 3] {
            let gone = store.quarantine_fetch(refused(number, vec![]).id).await.unwrap();
            store.quarantine_remove(&gone).await.unwrap();
            store.quarantine_revise(&gone).await.unwrap();
        }
        assert_eq!(store.quarantine_usage().await.unwrap(), QuarantineUsage { rows: 1, bytes: 4 });
        let missing = store.quarantine_fetch(refused(3, vec![]).id).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
        // The newest entry is none, and a page of one is not empty for that.
        let listed = store.quarantine_list(None, 1).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.entry.id).collect::<Vec<_>>(), [refused(2, vec![]).id]);
        // Another process reads how full it is.
        let other = store.root.provider(store.store.provider()).unwrap();
        other.quarantine_add(refused(4, b"<a/>".to_vec())).await.unwrap();
        assert_eq!(other.quarantine_usage().await.unwrap().rows, 2);
    })
    .await;
}
