//! What must be true of a store after a fault, read back by a way that shares no
//! code with ingest.

use std::collections::HashMap;

use heliograph_domain::{GatewayId, ProviderId, TimeWindow};
use heliograph_store::{Store, StoreUrl};

/// A document as it was sent: its readings by time in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) readings: Vec<(i64, f64)>,
    pub(crate) acked: bool,
}

/// Compares what a gateway has sent with what is stored.
pub(crate) async fn check(folder: &std::path::Path, provider: &str, gateway: &str, sent: &[Sent]) {
    let store = Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
    let page = store.reading_page(&GatewayId::parse(gateway).unwrap(), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    let mut stored: HashMap<i64, f64> = HashMap::new();
    for row in page.rows {
        assert!(stored.insert(row.time.as_millis(), row.value).is_none(), "twice: {}", row.time);
    }
    let mut known: HashMap<i64, f64> = HashMap::new();
    for document in sent {
        let there = document.readings.iter().filter(|(time, value)| stored.get(time) == Some(value)).count();
        assert!(there == 0 || there == document.readings.len(), "torn: {document:?}");
        assert!(!document.acked || there == document.readings.len(), "lost: {document:?}");
        known.extend(document.readings.iter().copied());
    }
    for (time, value) in &stored {
        assert_eq!(known.get(time), Some(value), "a ghost at {time}");
    }
}
