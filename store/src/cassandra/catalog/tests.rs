//! Documents while the catalog cannot be read.

use heliograph_domain::{GatewayId, Timestamp};

use super::*;
use crate::cassandra::mark::Timing;
use crate::cassandra::trial::{openings, remove};

#[tokio::test]
async fn a_catalog_that_cannot_be_read_anew_is_served_as_it_was_for_a_while() {
    let [db]: [Database; 1] = openings(Timing::default()).await;
    let gateway = GatewayId::parse("gw-1").unwrap();
    db.gateway_stores(&gateway, Timestamp::clamped(0)).await.unwrap();
    // A newer version, which cannot be read.
    let broken = "INSERT INTO @.catalog (part, kind, id, body) VALUES ('catalog', 'gateway', 'x', 'nothing')";
    db.execute(broken, ()).await.unwrap();
    db.execute("INSERT INTO @.catalog (part, version) VALUES ('catalog', 999)", ()).await.unwrap();
    tokio::time::sleep(RECENT).await;
    assert!(db.catalog().await.is_err(), "this test needs a catalog that cannot be read");
    assert!(db.recent_catalog().await.unwrap().gateways.contains_key(&gateway));
    // As soon as it can be read, the newer one is.
    db.execute("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = 'gateway' AND id = 'x'", ()).await.unwrap();
    let begun = Instant::now();
    while db.inner.catalog.known().unwrap().version != Some(999) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        db.recent_catalog().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    remove(&db).await;
}
