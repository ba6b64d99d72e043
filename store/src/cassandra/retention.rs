//! How long readings live, and which windows follow from none any more.
//!
//! A reading is written with what is left of its time to live, so that it goes by
//! itself. What was written while more was kept is deleted, partition by partition
//! (`retained:GATEWAY` in the table `control` says up to when that is done). What
//! was written while less was kept is written again with its new time to live and
//! a timestamp one microsecond higher (`lifetime` says what all readings have,
//! `lifetime:DAYS:GATEWAY` how far the work on a gateway is).

use std::collections::HashMap;

use heliograph_domain::{GatewayId, TimeWindow, Timestamp, window_of};
use scylla::value::CqlTimestamp;

use super::document::ttl_seconds;
use super::slicing::{DAY_MS, Partition};
use super::{Database, mark, rollup, series};
use crate::error::StoreError;
use crate::retention::{CONTEXT_MS, RetentionPlan, RetentionPreview, RetentionShare, RetentionStep};
use crate::rollup::gather::{Order, Walk};

/// For how long after its windows are sealed what was marked there may still be
/// settled: half of the time for which their readings are still there.
const LATE_MS: i64 = CONTEXT_MS / 2;
/// Partitions looked at in one step.
const PARTITIONS_AT_ONCE: usize = 100;
/// What a row takes on a disk, about.
const BYTES_A_ROW: u64 = 30;
/// Readings written again in one batch.
const BATCH: usize = 200;
/// The lifetime of what is kept for ever.
const FOR_EVER: i64 = i64::MAX;

impl Database {
    /// How long after it was measured a reading goes, in ms; `None`: never.
    pub(crate) async fn lifetime_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.retention_ms().await?.map(|retention| retention + CONTEXT_MS))
    }

    /// The first window that is not sealed.
    pub(crate) async fn sealed(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let set = self.retention_ms().await?.map_or(Timestamp::MIN, |retention| window_of(now.plus_millis(-retention)));
        Ok(set.max(self.stored_sealed().await?))
    }

    /// The first window that marks may still change.
    pub(super) async fn open_to_marks(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.sealed(now.plus_millis(-LATE_MS)).await
    }

    /// Up to where windows were sealed because readings were to be deleted.
    async fn stored_sealed(&self) -> Result<Timestamp, StoreError> {
        Ok(self.control("sealed").await?.map_or(Timestamp::MIN, Timestamp::clamped))
    }

    /// For how long readings stand in reports, in ms; `None`: for ever.
    async fn retention_ms(&self) -> Result<Option<i64>, StoreError> {
        let catalog = self.recent_catalog().await?;
        Ok(catalog.settings.as_ref().and_then(|settings| settings.time_policy().max_age_ms))
    }

    async fn control(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let row: Option<(Option<i64>,)> = self.row("SELECT value FROM @.control WHERE name = ?", (name,)).await?;
        Ok(row.and_then(|(value,)| value))
    }

    pub(super) async fn set_control(&self, name: &str, value: i64) -> Result<(), StoreError> {
        self.execute("UPDATE @.control SET value = ? WHERE name = ?", (value, name)).await.map(drop)
    }

    /// What is noted of each gateway under a name.
    async fn noted(&self, name: &str) -> Result<HashMap<String, i64>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = self.all("SELECT name, value FROM @.control", ()).await?;
        let of_gateway = |(row, value): (String, Option<i64>)| Some((row.strip_prefix(name)?.to_owned(), value?));
        Ok(rows.into_iter().filter_map(of_gateway).collect())
    }

    pub(crate) async fn reading_exists_since(&self, time: Timestamp) -> Result<bool, StoreError> {
        let latest: Vec<(Option<CqlTimestamp>,)> = self.all("SELECT latest_time FROM @.series", ()).await?;
        Ok(latest.into_iter().any(|(latest,)| latest.is_some_and(|latest| latest.0 >= time.as_millis())))
    }

    pub(crate) async fn retention_preview(&self, plan: RetentionPlan) -> Result<RetentionPreview, StoreError> {
        let done = self.noted(RETAINED).await?;
        let mut shares = Vec::new();
        for gateway in self.catalog().await?.gateways.keys() {
            let mut share: Option<RetentionShare> = None;
            for partition in self.outdated(gateway, plan, &done).await? {
                let Some((readings, oldest)) = self.count(gateway, partition, plan).await? else { continue };
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
            self.set_control("sealed", plan.sealed.as_millis()).await?;
            return Ok(RetentionStep { deleted: 0, done: false });
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

    /// Gives some readings that were written while less was kept the time to live
    /// that they have now; answers whether nothing is left to do.
    pub(crate) async fn lifetime_step(&self, days: Option<u32>, now: Timestamp) -> Result<bool, StoreError> {
        let wanted = days.map_or(FOR_EVER, i64::from);
        let had = self.control(LIFETIME).await?;
        if had.is_none_or(|had| had >= wanted) {
            if had != Some(wanted) {
                self.set_control(LIFETIME, wanted).await?;
            }
            return Ok(true);
        }
        let lifetime = days.map(|days| i64::from(days) * DAY_MS + CONTEXT_MS);
        // Work towards another lifetime, left half done, counts for nothing here.
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
        for name in self.noted(LIFETIME_OF).await?.keys() {
            self.execute("DELETE FROM @.control WHERE name = ?", (format!("{LIFETIME_OF}{name}"),)).await?;
        }
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

/// Up to when readings of a gateway were deleted.
const RETAINED: &str = "retained:";
/// For how many days all readings live.
const LIFETIME: &str = "lifetime";
/// Up to when readings of a gateway have their new lifetime.
const LIFETIME_OF: &str = "lifetime:";
