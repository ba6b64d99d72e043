//! Gateways: what is set up of them, beside what was last heard of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, Timestamp};
use scylla::value::{Counter, CqlTimestamp};

use super::{Database, at, pulse};
use crate::catalog::{Catalog, Change, Gateway, Record};
use crate::error::StoreError;
use crate::gateway::GatewayRecord;

/// How often a waiting gateway goes for another.
const ROOM_INTERVAL: Duration = Duration::from_mins(1);

/// When and from where a gateway was last heard of.
type Heard = (Option<CqlTimestamp>, Option<String>);

impl Database {
    pub(crate) async fn gateway_list(&self) -> Result<Vec<GatewayRecord>, StoreError> {
        let heard = "SELECT DISTINCT gateway, seen, address FROM @.series";
        let pushed = "SELECT gateway, documents FROM @.pushed";
        pulse::flush(self).await?;
        let (catalog, heard, pushed) = tokio::try_join!(
            self.catalog(),
            self.all::<(String, Option<CqlTimestamp>, Option<String>)>(heard, ()),
            self.all::<(String, Option<Counter>)>(pushed, ()),
        )?;
        let mut heard: HashMap<String, Heard> = heard.into_iter().map(|(id, seen, from)| (id, (seen, from))).collect();
        let pushed: HashMap<String, Option<Counter>> = pushed.into_iter().collect();
        let record = |gateway: &Gateway| {
            let id = gateway.id.as_str();
            record(&catalog, gateway, heard.remove(id).unwrap_or_default(), pushed.get(id).copied().flatten())
        };
        Ok(catalog.gateways.values().map(record).collect())
    }

    pub(crate) async fn gateway_fetch(&self, id: &GatewayId) -> Result<GatewayRecord, StoreError> {
        let heard = "SELECT seen, address FROM @.series WHERE gateway = ? LIMIT 1";
        let pushed = "SELECT documents FROM @.pushed WHERE gateway = ?";
        let catalog = self.catalog().await?;
        let gateway = catalog.gateway(id)?;
        pulse::flush(self).await?;
        let (heard, pushed) =
            tokio::try_join!(self.row::<Heard>(heard, (id.as_str(),)), self.row::<(Option<Counter>,)>(pushed, (id.as_str(),)),)?;
        Ok(record(&catalog, gateway, heard.unwrap_or_default(), pushed.and_then(|(count,)| count)))
    }

    pub(crate) async fn gateway_knock(&self, id: &GatewayId, address: &str, when: Timestamp) -> Result<(), StoreError> {
        let (knocker, from) = (id.clone(), address.to_owned());
        let makes_room = |changes: &[Change]| changes.iter().any(|change| matches!(change, Change::Remove(_)));
        // A gateway that knocks again need not wait for a look at all others.
        let expected = self.recent_catalog().await?.gateway_knocks(id, address, when);
        let may_make_room = makes_room(&expected) && self.may_make_room();
        if makes_room(&expected) && !may_make_room {
            return Ok(());
        }
        if !expected.is_empty() {
            let gone = Arc::new(Mutex::new(Vec::new()));
            let last = Arc::clone(&gone);
            let decide = move |catalog: &Catalog| {
                let changes = catalog.gateway_knocks(&knocker, &from, when);
                let changes = if makes_room(&changes) && !may_make_room { Vec::new() } else { changes };
                *last.lock().unwrap_or_else(PoisonError::into_inner) = removed(&changes);
                Ok(changes)
            };
            self.catalog_change(None, decide).await?;
            let gone = std::mem::take(&mut *gone.lock().unwrap_or_else(PoisonError::into_inner));
            for gateway in gone {
                self.gateway_unheard(&gateway, when).await?;
            }
        }
        self.gateway_heard(id, address, when).await
    }

    /// Forgets when a gateway that has stored nothing was heard of: all that there is
    /// of it beside the catalog. No more than that may be deleted: what deletes a
    /// series needs a higher timestamp than its latest reading, which lies far ahead
    /// of every clock, and would hide what the gateway pushes once it is back.
    async fn gateway_unheard(&self, id: &GatewayId, when: Timestamp) -> Result<(), StoreError> {
        let stamp = when.as_millis().saturating_mul(1000);
        self.execute_at("DELETE seen, address FROM @.series WHERE gateway = ?", (id.as_str(),), stamp).await.map(drop)
    }

    /// Whether a waiting gateway may go for another now. What is removed leaves a
    /// trace for days, and many of them make a partition unreadable: of a crowd at a
    /// full list one gets in each minute.
    fn may_make_room(&self) -> bool {
        let mut last = self.inner.made_room.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= ROOM_INTERVAL);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Notes that a gateway was heard of; what is older changes nothing.
    pub(crate) async fn gateway_heard(&self, id: &GatewayId, address: &str, when: Timestamp) -> Result<(), StoreError> {
        let cql = "UPDATE @.series SET seen = ?, address = ? WHERE gateway = ?";
        let stamp = when.as_millis().saturating_mul(1000);
        self.execute_at(cql, (at(when), address, id.as_str()), stamp).await.map(drop)
    }

    /// Fails where there is no such gateway.
    pub(crate) async fn require_gateway(&self, id: &GatewayId) -> Result<(), StoreError> {
        if self.recent_catalog().await?.gateway(id).is_ok() {
            return Ok(());
        }
        // Another process may have listed it within this second.
        self.catalog().await?.gateway(id).map(drop)
    }

    /// Lists a gateway that stores documents, if it is not listed so already.
    pub(crate) async fn gateway_stores(&self, id: &GatewayId, when: Timestamp) -> Result<(), StoreError> {
        if self.recent_catalog().await?.gateway_stores(id, when).is_empty() {
            return Ok(());
        }
        let id = id.clone();
        self.catalog_change(None, move |catalog| Ok(catalog.gateway_stores(&id, when))).await
    }
}

/// The gateways that changes remove.
fn removed(changes: &[Change]) -> Vec<GatewayId> {
    let removed = |change: &Change| match change {
        Change::Remove(Record::Gateway(gateway)) => Some(gateway.id.clone()),
        _ => None,
    };
    changes.iter().filter_map(removed).collect()
}

fn record(catalog: &Catalog, gateway: &Gateway, heard: Heard, documents: Option<Counter>) -> GatewayRecord {
    let (seen, address) = heard;
    GatewayRecord {
        id: gateway.id.clone(),
        label: gateway.label.clone(),
        state: gateway.state,
        location: catalog.location_of(&gateway.id),
        first_seen: gateway.first_seen,
        last_seen: seen.map(|seen| Timestamp::clamped(seen.0)),
        last_address: address,
        documents: documents.and_then(|count| u64::try_from(count.0).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::Timing;
    use super::super::trial;
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_made_room_leaves_nothing_and_is_heard_when_it_is_back() {
        let [db]: [Database; 1] = trial::openings(Timing::default()).await;
        let gateway = GatewayId::parse("gw-1").unwrap();
        let minute = |minute: i64| Timestamp::clamped(1_781_481_600_000 + minute * 60_000);
        let partitions = async || -> Vec<(String,)> { db.all("SELECT DISTINCT gateway FROM @.series", ()).await.unwrap() };
        db.gateway_knock(&gateway, "192.0.2.1:1", minute(1)).await.unwrap();
        assert_eq!(partitions().await.len(), 1);
        db.gateway_unheard(&gateway, minute(2)).await.unwrap();
        assert_eq!(partitions().await.len(), 0);
        db.gateway_knock(&gateway, "192.0.2.2:1", minute(3)).await.unwrap();
        db.gateway_heard(&gateway, "192.0.2.2:1", minute(3)).await.unwrap();
        assert_eq!(db.gateway_fetch(&gateway).await.unwrap().last_seen, Some(minute(3)));
        trial::remove(&db).await;
    }
}
