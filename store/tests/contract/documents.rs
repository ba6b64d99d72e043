//! Documents in, readings out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_domain::{MetricName, ProviderId, Sample, TimeWindow, Timestamp, Unit};
use heliograph_store::{DocumentWrite, ProviderStore, SeriesSeen, StoreError, StoreUrl, Value, WriteStamp};

use crate::backend::{document, gateway, minute, on_every_backend, power};

async fn values(store: &ProviderStore, id: &str) -> Vec<(Timestamp, f64)> {
    let page = store.reading_page(&gateway(id), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    page.rows.iter().map(|row| (row.time, row.value)).collect()
}

/// Waits until a store counts so many documents of `gw-1`, and makes sure that no
/// more are counted a moment later: a cluster counts behind the documents.
pub(crate) async fn counts_documents(store: &ProviderStore, expected: u64) {
    let counted = async || store.gateway_fetch(&gateway("gw-1")).await.unwrap().documents;
    let begun = Instant::now();
    while counted().await < expected && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if begun.elapsed() > Duration::from_millis(100) {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(counted().await, expected);
}

#[tokio::test]
async fn readings_come_back_in_time_order() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(30, 3.0), (0, 1.0)])).await.unwrap();
        store.document_write(power("gw-1", &[(15, 2.0)])).await.unwrap();
        assert_eq!(values(&store, "gw-1").await, [(minute(0), 1.0), (minute(15), 2.0), (minute(30), 3.0)]);
    })
    .await;
}

#[tokio::test]
async fn the_same_push_twice_is_one_reading_and_a_later_one_wins() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        assert_eq!(values(&store, "gw-1").await, [(minute(0), 1.0)]);
        store.document_write(power("gw-1", &[(0, 2.0), (0, 5.0)])).await.unwrap();
        assert_eq!(values(&store, "gw-1").await, [(minute(0), 5.0)]);
    })
    .await;
}

#[tokio::test]
async fn a_document_written_again_is_counted_once_and_changes_nothing() {
    on_every_backend(|store| async move {
        let documents: Vec<_> = (0..4).map(|at| Arc::new(power("gw-1", &[(at, at as f64)]))).collect();
        // The second was written before anybody knew.
        store.document_write_again(documents[..1].to_vec()).await.unwrap();
        store.document_write(Arc::clone(&documents[1])).await.unwrap();
        counts_documents(&store, 2).await;
        for _ in 0..2 {
            store.document_write_again(documents.clone()).await.unwrap();
            counts_documents(&store, 4).await;
        }
        assert_eq!(values(&store, "gw-1").await, (0..4).map(|at| (minute(at), at as f64)).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_late_document_moves_neither_the_last_address_nor_the_last_time_back() {
    on_every_backend(|store| async move {
        let from = |at, address: &str| DocumentWrite { address: address.to_owned(), ..power("gw-1", &[(at, 1.0)]) };
        store.document_write(from(10, "10.0.0.2:1")).await.unwrap();
        store.document_write_again(vec![Arc::new(from(5, "10.0.0.1:1"))]).await.unwrap();
        let record = store.gateway_fetch(&gateway("gw-1")).await.unwrap();
        assert_eq!((record.last_seen, record.last_address.as_deref()), (Some(minute(10)), Some("10.0.0.2:1")));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_yet_is_opened_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    std::fs::write(&place, "in the way").unwrap();
    let store = ProviderStore::open_later(&StoreUrl::sqlite(&place), &ProviderId::parse("sunrise").unwrap()).unwrap();
    assert!(store.document_write(power("gw-1", &[(0, 1.0)])).await.is_err());
    assert!(store.gateway_directory().await.is_err());
    std::fs::remove_file(&place).unwrap();
    store.document_write(power("gw-1", &[(1, 2.0)])).await.unwrap();
    assert_eq!(values(&store, "gw-1").await, [(minute(1), 2.0)]);
}

#[tokio::test]
async fn a_repeated_push_leaves_nothing_to_settle() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 1.0), (15, 2.0)])).await.unwrap();
        while store.rollup_settle().await.unwrap() > 0 {}
        store.document_write(power("gw-1", &[(0, 1.0), (15, 2.0)])).await.unwrap();
        assert_eq!(store.rollup_settle().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn series_of_one_instant_do_not_replace_each_other() {
    on_every_backend(|store| async move {
        let mut both = document("gw-1", "inverter-1", "power", "W", &[(minute(0), 1.0)]);
        both.series.push(SeriesSeen {
            metric: MetricName::parse("energy").unwrap(),
            unit: Unit::parse("Wh").unwrap(),
            ..both.series[0].clone()
        });
        both.values.push(Value { series: 1, time: minute(0), value: 100.0 });
        store.document_write(both).await.unwrap();
        store.document_write(document("gw-1", "meter", "power", "W", &[(minute(0), 7.0)])).await.unwrap();
        store.document_write(document("gw-1", "inverter-1", "power", "V", &[(minute(0), 230.0)])).await.unwrap();
        let mut found: Vec<f64> = values(&store, "gw-1").await.into_iter().map(|(_, value)| value).collect();
        found.sort_by(f64::total_cmp);
        assert_eq!(found, [1.0, 7.0, 100.0, 230.0]);
    })
    .await;
}

#[tokio::test]
async fn pages_hold_everything_once() {
    on_every_backend(|store| async move {
        let all: Vec<(i64, f64)> = (0..500).map(|i| (i, i as f64)).collect();
        store.document_write(power("gw-1", &all)).await.unwrap();
        let mut window = TimeWindow::between(minute(100), minute(400));
        let mut found = Vec::new();
        loop {
            let page = store.reading_page(&gateway("gw-1"), window, 37).await.unwrap();
            found.extend(page.rows.into_iter().map(|row| row.value));
            match page.next {
                Some(next) => window.from = next,
                None => break,
            }
        }
        assert_eq!(found, (100..400).map(|i| i as f64).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn late_data_never_moves_the_latest_value_back() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(60, 6.0)])).await.unwrap();
        let mut late = power("gw-1", &[(0, 1.0)]);
        late.received = minute(120);
        store.document_write(late).await.unwrap();
        let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
        let latest = sensors[0].series[0].latest.unwrap();
        assert_eq!((latest.at, latest.value), (minute(60), 6.0));
        assert_eq!(sensors[0].series[0].first, Some(minute(0)));
    })
    .await;
}

#[tokio::test]
async fn a_reading_ahead_of_its_time_never_becomes_the_latest() {
    on_every_backend(|store| async move {
        let mut ahead = power("gw-1", &[(0, 1.0), (6, 2.0)]);
        ahead.received = minute(0);
        store.document_write(ahead).await.unwrap();
        store.document_write(power("gw-1", &[(3, 3.0)])).await.unwrap();
        let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
        assert_eq!(sensors[0].series[0].latest.unwrap().value, 3.0);
        assert_eq!(values(&store, "gw-1").await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn of_one_instant_the_last_push_is_the_latest_by_a_clock_that_is_ahead_too() {
    on_every_backend(|store| async move {
        for (millis, value) in [(0, 9.0), (5, 4.0), (60_000, 2.0), (180_000, 5.0), (180_001, 3.0), (400_000, 1.0)] {
            let received = minute(0).plus_millis(millis);
            let stamp = WriteStamp::at(received);
            store.document_write(DocumentWrite { received, stamp, ..power("gw-1", &[(3, value)]) }).await.unwrap();
            let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
            assert_eq!(sensors[0].series[0].latest, Some(Sample { at: minute(3), value }));
        }
    })
    .await;
}

#[tokio::test]
async fn a_document_that_contradicts_itself_is_refused_whole() {
    on_every_backend(|store| async move {
        let mut broken = power("gw-1", &[(0, 1.0)]);
        broken.series.push(SeriesSeen { sensor: 9, ..broken.series[0].clone() });
        assert!(store.document_write(broken).await.is_err());
        assert!(store.gateway_list().await.unwrap().is_empty());
        store.document_write(power("gw-1", &[(0, 2.0)])).await.unwrap();
        assert_eq!(values(&store, "gw-1").await, [(minute(0), 2.0)]);
    })
    .await;
}

/// They are written in one go where there is one writer.
#[tokio::test]
async fn a_document_that_is_refused_takes_none_of_those_with_it_that_came_beside_it() {
    on_every_backend(|store| async move {
        let documents = (0..40).map(|number: i64| {
            let mut document = power(&format!("gw-{}", number % 10), &[(number, number as f64)]);
            if number % 13 == 7 {
                document.series.push(SeriesSeen { sensor: 9, ..document.series[0].clone() });
            }
            let store = store.store.clone();
            async move { (number, store.document_write(document).await.is_ok()) }
        });
        let written: Vec<_> = futures_util::future::join_all(documents).await;
        for (number, written) in written {
            assert_eq!(written, number % 13 != 7, "{number}");
            let found = values(&store, &format!("gw-{}", number % 10)).await.contains(&(minute(number), number as f64));
            assert_eq!(found, written, "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_has_a_bounded_number_of_series() {
    on_every_backend(|store| async move {
        let mut many = power("gw-1", &[(0, 1.0)]);
        many.series = (0..=ProviderStore::SERIES_OF_GATEWAY)
            .map(|i| SeriesSeen { metric: MetricName::parse(&format!("m{i}")).unwrap(), ..many.series[0].clone() })
            .collect();
        assert!(matches!(store.document_write(many.clone()).await, Err(StoreError::TooManySeries(_))));
        many.series.pop();
        store.document_write(many).await.unwrap();
        let one_more = store.document_write(power("gw-1", &[(1, 1.0)])).await;
        assert!(matches!(one_more, Err(StoreError::TooManySeries(_))));
        store.document_write(document("gw-1", "inverter-1", "m7", "W", &[(minute(2), 2.0)])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    on_every_backend(|fresh| async move {
        fresh.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        fresh.close().await;
        assert!(fresh.document_write(power("gw-1", &[(1, 1.0)])).await.is_err());
        let again = heliograph_store::Store::open(fresh.url.clone()).unwrap();
        let store = again.provider(fresh.provider()).unwrap();
        assert_eq!(values(&store, "gw-1").await, [(minute(0), 1.0)]);
        store.document_write(power("gw-1", &[(1, 2.0)])).await.unwrap();
        assert_eq!(values(&store, "gw-1").await.len(), 2);
    })
    .await;
}
