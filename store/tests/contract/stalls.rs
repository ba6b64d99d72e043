//! A node that takes requests, says that it is alive and never answers them: whoever
//! waits hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heliograph_domain::{SensorId, TimeWindow};
use heliograph_store::{Store, StoreError};
use tokio::time::timeout;

use crate::backend::{gateway, power};
use crate::cluster::{self, url_at};
use crate::refusals::refused;
use crate::relay::{EXECUTE, Fate, PREPARE, relay};

/// The flag of a request that goes on behind a page.
const GOES_ON: u8 = 0x08;
/// Longer than the deadline of a statement.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn neither_a_statement_that_is_never_prepared_nor_a_page_that_never_comes_is_waited_for_without_end() {
    let stalled = Arc::new(AtomicBool::new(false));
    let stalls = Arc::clone(&stalled);
    let address = relay(move |request| {
        let hit = request.is(PREPARE) || request.is(EXECUTE) && request.has(GOES_ON);
        if hit && stalls.load(Ordering::Relaxed) { Fate::Vanishes } else { Fate::Passes }
    });
    let url = url_at(&address.await.to_string(), "");
    let keyspace = cluster::keyspace();
    let store = Store::open(url).unwrap().provider(&keyspace.provider).unwrap();
    // More than one page, in one partition.
    let values: Vec<_> = (0..1_250).map(|at| (at, 1.0)).collect();
    for sensor in ["inverter-1", "inverter-2"] {
        let mut document = power("gw-1", &values);
        document.sensors[0].id = SensorId::parse(sensor).unwrap();
        store.document_write(document).await.unwrap();
    }
    let read = async || store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10_000).await;
    assert_eq!(read().await.unwrap().rows.len(), 2_500);

    stalled.store(true, Ordering::Relaxed);
    let (page, statement) =
        tokio::join!(timeout(PATIENCE, read()), timeout(PATIENCE, store.quarantine_add(refused(1, b"<a/>".to_vec()))),);
    let (page, statement) = (page.expect("a page is waited for").map(drop), statement.expect("a statement is waited for"));
    for failed in [&page, &statement] {
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }

    stalled.store(false, Ordering::Relaxed);
    assert_eq!(read().await.unwrap().rows.len(), 2_500);
    store.quarantine_add(refused(1, b"<a/>".to_vec())).await.unwrap();
}
