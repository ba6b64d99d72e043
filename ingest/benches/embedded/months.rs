//! Months of gateways in a store, and how long reports on one of them take.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliograph_domain::{Period, PeriodKind, TimeWindow, Timestamp};
use heliograph_report::{Scope, gateway_report};
use heliograph_store::{DocumentWrite, ProviderStore, StoreError};
use jiff::civil::date;

use crate::corpus::{self, DAY_MS, MINUTE_MS, SERIES, START};

/// Gateways that push live: 2,000 series in all. Those with months come after them.
pub(crate) const GATEWAYS: usize = 100;
/// Gateways with a month at one reading a minute and series.
pub(crate) const MONTHS: usize = 12;
const DAYS: i64 = 30;
/// Readings of these months: 10.4 million.
pub(crate) const READINGS: i64 = MONTHS as i64 * DAYS * DAY_MS / MINUTE_MS * SERIES as i64;

/// Writes documents by as many tasks as are under way at once, each of which waits
/// for its own, as connections do. What the store does not take for a moment is written
/// again, as from a spool.
pub(crate) async fn write_all(store: &ProviderStore, at_once: usize, documents: impl IntoIterator<Item = DocumentWrite>) {
    let documents: Vec<_> = documents.into_iter().collect();
    let waiting = Arc::new(Mutex::new(documents.into_iter()));
    let lanes: Vec<_> = (0..at_once)
        .map(|_| {
            let (store, waiting) = (store.clone(), Arc::clone(&waiting));
            tokio::spawn(async move {
                let next = || waiting.lock().unwrap().next();
                while let Some(document) = next() {
                    let document = Arc::new(document);
                    while let Err(error) = store.document_write(Arc::clone(&document)).await {
                        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
                        println!("written again in a second: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
}

/// A month of some gateways, an hour a document.
pub(crate) async fn fill(store: &ProviderStore, at_once: usize, gateways: std::ops::Range<usize>) {
    for gateway in gateways {
        let hours = (0..DAYS * 24).map(|hour| corpus::hour(GATEWAYS + gateway, hour));
        write_all(store, at_once, hours).await;
    }
}

/// How long marks that are too young yet are left alone.
const YOUNG: Duration = Duration::from_secs(2);

/// Computes every rollup that is due, until nothing of it is left: on a cluster a mark
/// goes only once it has been there for a while.
pub(crate) async fn settle(store: &ProviderStore) {
    loop {
        while store.rollup_settle().await.unwrap() > 0 {}
        if store.rollup_waiting().await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(YOUNG).await;
    }
}

/// The median time of what the first month's report reads, once all is settled: its
/// quarter hours.
pub(crate) async fn windows_time(store: &ProviderStore) -> Duration {
    settle(store).await;
    let window = TimeWindow { from: Timestamp::clamped(START), until: Some(Timestamp::clamped(START + DAYS * DAY_MS)) };
    let gateway = corpus::gateway(GATEWAYS);
    median_time(async || {
        let series = store.rollup_list(&gateway, window, TimeWindow::ALWAYS).await.unwrap();
        assert_eq!(series.len(), SERIES);
    })
    .await
}

/// The median time of the report on that gateway and month as the panel asks for it:
/// figures, days, gaps, and the month before.
pub(crate) async fn page_time(store: &ProviderStore) -> Duration {
    let (gateway, scope) = (corpus::gateway(GATEWAYS), Scope::everything());
    median_time(async || {
        let now = Timestamp::clamped(corpus::RECEIVED);
        let report =
            gateway_report(store, &gateway, Period::around(PeriodKind::Month, date(2026, 9, 1)), &scope, now).await.unwrap();
        assert_eq!(report.sensors.len(), SERIES / 4);
    })
    .await
}

async fn median_time(mut work: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        work().await;
        times.push(began.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}
