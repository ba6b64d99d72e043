//! How long readings live.
//!
//! A reading is written with what is left of its time to live, so that it goes by
//! itself. What was written while less was kept is written again with its new time
//! to live and a timestamp one microsecond higher.
//!
//! That readings are to live shorter is noted before the settings say so, so that
//! what was written meanwhile is found however soon they are to live longer again.
//! Writing them again begins once nobody goes by the settings before.

use std::collections::HashMap;
use std::future::ready;

use futures_util::TryStreamExt as _;
use futures_util::stream::TryChunksError;
use heliograph_domain::{GatewayId, ProviderSettings, TimeWindow, Timestamp};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::catalog::STILL_GOOD;
use super::control::{FOR_EVER, KEPT, LIFETIME, LIFETIME_OF, RETAINED, SHORTENED};
use super::document::ttl_seconds;
use super::slicing::{DAY_MS, Partition};
use super::{Database, Entry, Rows, series, session};
use crate::catalog::{Catalog, Change, Record};
use crate::error::StoreError;
use crate::retention::CONTEXT_MS;
use crate::rollup::gather::{Order, Walk};
use crate::settings::check_seen;

/// Time, sensor, metric, unit, value, write timestamp, seconds to live.
type Expiring = (CqlTimestamp, String, String, String, f64, i64, Option<i32>);

/// Partitions looked at in one step.
const PARTITIONS_AT_ONCE: usize = 100;
/// Readings written again in one batch.
const BATCH: usize = 200;
/// How far the work on a gateway has come that has ended: what is written to it
/// since lives for long enough.
const ENDED: i64 = i64::MAX;
/// For how long somebody may write by settings that have changed.
const OLD_SETTINGS_MS: i64 = STILL_GOOD.saturating_add(session::DEADLINE).as_millis() as i64;

impl Database {
    /// Saves settings; where it is given what was seen, only while they are still that.
    pub(crate) async fn settings_save(
        &self,
        entry: Entry,
        settings: ProviderSettings,
        seen: Option<ProviderSettings>,
    ) -> Result<(), StoreError> {
        let days = |settings: &ProviderSettings| settings.retention_days.map_or(FOR_EVER, i64::from);
        let catalog = self.catalog().await?;
        // Asked again where it counts; what is refused is to lower nothing before.
        if let Some(seen) = &seen {
            check_seen(seen, &catalog.settings.clone().unwrap_or_default())?;
        }
        let before = catalog.settings.as_ref().map_or(FOR_EVER, days);
        if days(&settings) < before {
            self.set_control(SHORTENED, Uuid::new_v4().as_u64_pair().0.cast_signed()).await?;
            if self.control(LIFETIME).await?.is_none_or(|had| had > days(&settings)) {
                self.set_control(LIFETIME, days(&settings)).await?;
            }
        }
        let put = move |catalog: &Catalog| {
            if let Some(seen) = &seen {
                check_seen(seen, &catalog.settings.clone().unwrap_or_default())?;
            }
            Ok(vec![Change::Put(Record::Settings(settings.clone()))])
        };
        self.change_calendar(entry, put).await
    }

    /// Gives some readings that were written while less was kept the time to live
    /// that they have now; answers whether nothing is left to do for now.
    pub(crate) async fn lifetime_step(&self, days: Option<u32>, now: Timestamp) -> Result<bool, StoreError> {
        let wanted = days.map_or(FOR_EVER, i64::from);
        let had = self.control(LIFETIME).await?;
        if had.is_none_or(|had| had >= wanted) {
            self.note_lifetime(had, wanted).await?;
            return Ok(true);
        }
        // What was deleted before is filled again, by what may now be that old.
        self.forget(RETAINED, None).await?;
        let shortened = self.control(SHORTENED).await?;
        let towards = format!("{wanted}:{}:", shortened.unwrap_or_default());
        self.forget(LIFETIME_OF, Some(&towards)).await?;
        let towards = format!("{LIFETIME_OF}{towards}");
        let reached = self.noted(&towards).await?;
        let Some(first_wanted) = reached.get("") else {
            return self.set_control(&towards, now.as_millis()).await.map(|()| true);
        };
        if (0..OLD_SETTINGS_MS).contains(&(now.as_millis() - first_wanted)) {
            return Ok(true);
        }
        let lifetime = days.map(|days| i64::from(days) * DAY_MS + CONTEXT_MS);
        if !self.prolong_some(lifetime, &towards, &reached, now).await? {
            return Ok(false);
        }
        self.forget(LIFETIME_OF, None).await?;
        if self.control(SHORTENED).await? != shortened {
            // What was written meanwhile may live shorter.
            return Ok(false);
        }
        self.set_control(KEPT, wanted).await?;
        self.set_control(LIFETIME, wanted).await?;
        Ok(true)
    }

    /// Notes that every reading lives for long enough.
    async fn note_lifetime(&self, had: Option<i64>, wanted: i64) -> Result<(), StoreError> {
        if had != Some(wanted) {
            self.set_control(LIFETIME, wanted).await?;
        }
        // Until windows are sealed their readings are kept as they were.
        if self.control(KEPT).await?.is_none() {
            self.set_control(KEPT, wanted).await?;
        }
        // What was begun and is not wanted any more counts for nothing later.
        self.forget(LIFETIME_OF, None).await
    }

    /// Writes some readings again, from where each gateway's work has come to; answers
    /// whether those were the last.
    async fn prolong_some(
        &self,
        lifetime: Option<i64>,
        towards: &str,
        reached: &HashMap<String, i64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut looked_at = 0;
        for gateway in self.catalog().await?.gateways.keys() {
            if reached.get(gateway.as_str()) == Some(&ENDED) {
                continue;
            }
            let Some(extent) = series::of_gateway(self, gateway).await?.extent() else { continue };
            let from = reached.get(gateway.as_str()).map_or(extent.from, |reached| Timestamp::clamped(*reached).max(extent.from));
            let window = TimeWindow::between(from, extent.end());
            let partitions = self.slicing(gateway).await?.partitions(&Walk { window, order: Order::Forwards });
            let mut days = partitions.chunk_by(|a, b| a.day == b.day);
            while looked_at < PARTITIONS_AT_ONCE
                && let Some(day) = days.next()
            {
                for partition in day {
                    self.prolong(gateway, *partition, lifetime, now).await?;
                    looked_at += 1;
                }
                let next = day.last().map_or(extent.end(), |last| Timestamp::clamped((last.day + 1) * DAY_MS));
                self.set_control(&format!("{towards}{gateway}"), next.as_millis()).await?;
            }
            if looked_at >= PARTITIONS_AT_ONCE {
                return Ok(false);
            }
            self.set_control(&format!("{towards}{gateway}"), ENDED).await?;
        }
        Ok(true)
    }

    /// Writes what expires in a partition again, a page at a time. A push meanwhile has
    /// a higher stamp.
    async fn prolong(
        &self,
        gateway: &GatewayId,
        partition: Partition,
        lifetime: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let cql = "SELECT time, sensor, metric, unit, value, WRITETIME(value), TTL(value) FROM @.reading
            WHERE gateway = ? AND day = ? AND bucket = ?";
        let rows: Rows<Expiring> = self.stream(cql, (gateway.as_str(), partition.date(), partition.bucket)).await?;
        let insert = self
            .prepared(
                "INSERT INTO @.reading (gateway, day, bucket, time, sensor, metric, unit, value)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?",
            )
            .await?;
        let mut expiring = rows.try_filter(|row| ready(row.6.is_some())).try_chunks(BATCH);
        while let Some(some) = expiring.try_next().await.map_err(|TryChunksError(_, error)| error)? {
            let values: Vec<_> = some
                .iter()
                .filter_map(|(time, sensor, metric, unit, value, stamp, _)| {
                    let ttl = ttl_seconds(lifetime, Timestamp::clamped(time.0), now)?;
                    let id = gateway.as_str();
                    Some((id, partition.date(), partition.bucket, *time, sensor, metric, unit, *value, ttl, stamp + 1))
                })
                .collect();
            self.batch(vec![insert.clone(); values.len()], values, None).await?;
        }
        Ok(())
    }
}
