//! How long readings live.
//!
//! A reading is written with what is left of its time to live, so that it goes by
//! itself. What was written while less was kept is written again with its new time
//! to live and a timestamp one microsecond higher.

use heliograph_domain::{GatewayId, TimeWindow, Timestamp};
use scylla::value::CqlTimestamp;

use super::control::{FOR_EVER, KEPT, LIFETIME, LIFETIME_OF, RETAINED};
use super::document::ttl_seconds;
use super::slicing::{DAY_MS, Partition};
use super::{Database, series};
use crate::error::StoreError;
use crate::retention::CONTEXT_MS;
use crate::rollup::gather::{Order, Walk};

/// Partitions looked at in one step.
const PARTITIONS_AT_ONCE: usize = 100;
/// Readings written again in one batch.
const BATCH: usize = 200;

impl Database {
    /// Gives some readings that were written while less was kept the time to live
    /// that they have now; answers whether nothing is left to do.
    pub(crate) async fn lifetime_step(&self, days: Option<u32>, now: Timestamp) -> Result<bool, StoreError> {
        let wanted = days.map_or(FOR_EVER, i64::from);
        let had = self.control(LIFETIME).await?;
        if had.is_none_or(|had| had >= wanted) {
            if had != Some(wanted) {
                self.set_control(LIFETIME, wanted).await?;
            }
            // Until windows are sealed their readings are kept as they were.
            if self.control(KEPT).await?.is_none() {
                self.set_control(KEPT, wanted).await?;
            }
            // What was begun and is not wanted any more counts for nothing later.
            self.forget(LIFETIME_OF, None).await?;
            return Ok(true);
        }
        // What was deleted before is filled again, by what may now be that old.
        self.forget(RETAINED, None).await?;
        self.forget(LIFETIME_OF, Some(&format!("{wanted}:"))).await?;
        let lifetime = days.map(|days| i64::from(days) * DAY_MS + CONTEXT_MS);
        let towards = format!("{LIFETIME_OF}{wanted}:");
        let reached = self.noted(&towards).await?;
        let mut looked_at = 0;
        for gateway in self.catalog().await?.gateways.keys() {
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
        }
        self.forget(LIFETIME_OF, None).await?;
        self.set_control(KEPT, wanted).await?;
        self.set_control(LIFETIME, wanted).await?;
        Ok(true)
    }

    /// Writes what expires in a partition again. A push meanwhile has a higher stamp.
    async fn prolong(
        &self,
        gateway: &GatewayId,
        partition: Partition,
        lifetime: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        type Expiring = (CqlTimestamp, String, String, String, f64, i64, Option<i32>);
        let cql = "SELECT time, sensor, metric, unit, value, WRITETIME(value), TTL(value) FROM @.reading
            WHERE gateway = ? AND day = ? AND bucket = ?";
        let rows: Vec<Expiring> = self.all(cql, (gateway.as_str(), partition.date(), partition.bucket)).await?;
        let insert = self
            .prepared(
                "INSERT INTO @.reading (gateway, day, bucket, time, sensor, metric, unit, value)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?",
            )
            .await?;
        let expiring: Vec<&Expiring> = rows.iter().filter(|row| row.6.is_some()).collect();
        for some in expiring.chunks(BATCH) {
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
