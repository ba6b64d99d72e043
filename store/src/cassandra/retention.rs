//! Which readings are deleted before they go by themselves: those that were written
//! while more was kept, partition by partition.

use std::collections::HashMap;
use std::future::ready;
use std::pin::pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, TimeWindow, Timestamp};
use scylla::value::CqlTimestamp;

use super::control::{CLOCK_LAST, CLOCK_SINCE, KEPT, RETAINED, SEALED};
use super::slicing::{DAY_MS, Partition};
use super::{Database, mark, rollup, series};
use crate::error::StoreError;
use crate::retention::{RetentionPlan, RetentionPreview, RetentionShare, RetentionStep, steady_since};
use crate::rollup::gather::{Order, Walk};

/// Partitions looked at in one step.
const PARTITIONS_AT_ONCE: usize = 100;
/// Partitions whose readings are counted at once for a preview.
const COUNTS_AT_ONCE: usize = 8;
/// What a row takes on a disk, about.
const BYTES_A_ROW: u64 = 30;

impl Database {
    pub(crate) async fn reading_exists_since(&self, time: Timestamp) -> Result<bool, StoreError> {
        let latest: Vec<(Option<CqlTimestamp>,)> = self.all("SELECT latest_time FROM @.series", ()).await?;
        Ok(latest.into_iter().any(|(latest,)| latest.is_some_and(|latest| latest.0 >= time.as_millis())))
    }

    /// Notes what a clock says; answers since when it is steady.
    pub(crate) async fn note_clock(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let (since, last) = (self.control(CLOCK_SINCE).await?, self.control(CLOCK_LAST).await?);
        let noted = since.map(Timestamp::clamped).zip(last.map(Timestamp::clamped));
        let since = steady_since(noted, now);
        self.set_control(CLOCK_SINCE, since.as_millis()).await?;
        self.set_control(CLOCK_LAST, now.as_millis()).await?;
        Ok(since)
    }

    pub(crate) async fn retention_preview(&self, plan: RetentionPlan) -> Result<RetentionPreview, StoreError> {
        let done = self.noted(RETAINED).await?;
        let mut shares = Vec::new();
        for gateway in self.catalog().await?.gateways.keys() {
            let mut share: Option<RetentionShare> = None;
            let outdated = self.outdated(gateway, plan, &done).await?;
            let counts = outdated.into_iter().map(|partition| self.count(gateway, partition, plan));
            let mut counts = pin!(stream::iter(counts).buffered(COUNTS_AT_ONCE).try_filter_map(|count| ready(Ok(count))));
            while let Some((readings, oldest)) = counts.try_next().await? {
                let share =
                    share.get_or_insert_with(|| RetentionShare { gateway: gateway.clone(), readings: 0, bytes: 0, oldest });
                share.readings += readings;
                share.bytes += readings * BYTES_A_ROW;
            }
            shares.extend(share);
        }
        let sealing = RetentionPreview::sealing(plan, &shares, self.stored_sealed().await?);
        Ok(RetentionPreview { plan, gateways: shares, sealing })
    }

    pub(crate) async fn retention_step(&self, plan: RetentionPlan, now: Timestamp) -> Result<RetentionStep, StoreError> {
        if self.stored_sealed().await? < plan.sealed {
            self.settle_before(plan.sealed, now).await?;
            self.set_control(SEALED, plan.sealed.as_millis()).await?;
            return Ok(RetentionStep { deleted: 0, done: false });
        }
        // Where readings go by themselves, those of what was sealed may do so now.
        let days = i64::from(plan.days);
        if self.control(KEPT).await?.is_some_and(|kept| kept != days) {
            self.set_control(KEPT, days).await?;
        }
        let done = self.noted(RETAINED).await?;
        let (mut deleted, mut looked_at) = (0, 0);
        for gateway in self.catalog().await?.gateways.keys() {
            let mut outdated = self.outdated(gateway, plan, &done).await?;
            if outdated.is_empty() {
                continue;
            }
            let rest = outdated.len() > PARTITIONS_AT_ONCE - looked_at;
            outdated.truncate(PARTITIONS_AT_ONCE - looked_at);
            for partition in &outdated {
                deleted += self.delete(gateway, *partition, plan).await?;
            }
            looked_at += outdated.len();
            // A day is done when its last partition is.
            let last = outdated.last().map_or(plan.delete_before, |last| Timestamp::clamped(last.day * DAY_MS));
            let reached = if rest { last } else { plan.delete_before };
            self.set_control(&format!("{RETAINED}{gateway}"), reached.as_millis()).await?;
            if looked_at >= PARTITIONS_AT_ONCE {
                break;
            }
        }
        if deleted > 0 {
            self.data_changed();
        }
        Ok(RetentionStep { deleted, done: looked_at < PARTITIONS_AT_ONCE })
    }

    /// Settles what is marked before an instant, whether or not it may be cleared.
    async fn settle_before(&self, sealed: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        for shard in 0..mark::SHARDS {
            let marked = mark::of_shard(self, shard).await?;
            for marks in marked.marks.chunk_by(|a, b| a.gateway == b.gateway) {
                if marks.iter().flat_map(mark::Mark::windows).any(|start| start < sealed) {
                    rollup::settle_marks(self, marks, marked.read_at, now).await?;
                }
            }
        }
        Ok(())
    }

    /// The partitions of a gateway that may hold readings that are to go.
    async fn outdated(
        &self,
        gateway: &GatewayId,
        plan: RetentionPlan,
        done: &HashMap<String, i64>,
    ) -> Result<Vec<Partition>, StoreError> {
        let reached = done.get(gateway.as_str()).map_or(Timestamp::MIN, |reached| Timestamp::clamped(*reached));
        if reached >= plan.delete_before {
            return Ok(Vec::new());
        }
        let Some(extent) = series::of_gateway(self, gateway).await?.extent() else { return Ok(Vec::new()) };
        let outdated = TimeWindow::between(reached, plan.delete_before).intersect(&extent);
        let Some(window) = outdated else { return Ok(Vec::new()) };
        Ok(self.slicing(gateway).await?.partitions(&Walk { window, order: Order::Forwards }))
    }

    /// How many readings of a partition are to go, and the oldest of them.
    async fn count(
        &self,
        gateway: &GatewayId,
        partition: Partition,
        plan: RetentionPlan,
    ) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let cql = "SELECT count(*), min(time) FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ? AND time < ?";
        let before = CqlTimestamp(plan.delete_before.as_millis());
        let key = (gateway.as_str(), partition.date(), partition.bucket, before);
        let row: Option<(i64, Option<CqlTimestamp>)> = self.row(cql, key).await?;
        let Some((count, Some(oldest))) = row else { return Ok(None) };
        Ok(u64::try_from(count).ok().filter(|count| *count > 0).map(|count| (count, Timestamp::clamped(oldest.0))))
    }

    /// Deletes what of a partition is to go; answers how many readings that were.
    async fn delete(&self, gateway: &GatewayId, partition: Partition, plan: RetentionPlan) -> Result<u64, StoreError> {
        let Some((count, _)) = self.count(gateway, partition, plan).await? else { return Ok(0) };
        let (id, date) = (gateway.as_str(), partition.date());
        if Timestamp::clamped((partition.day + 1) * DAY_MS) <= plan.delete_before {
            let whole = "DELETE FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ?";
            self.execute(whole, (id, date, partition.bucket)).await?;
        } else {
            let part = "DELETE FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ? AND time < ?";
            self.execute(part, (id, date, partition.bucket, CqlTimestamp(plan.delete_before.as_millis()))).await?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
