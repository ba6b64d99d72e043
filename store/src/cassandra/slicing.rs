//! Into how many partitions the readings of a day go.
//!
//! Most gateways have one slice a day. One that pushes so much that its partition
//! would outgrow what Cassandra handles well (100 MB) has 4, 24 or 96: that stands
//! in the catalog, by the day from which it holds, always two days ahead, so that
//! whoever writes or reads the day knows of it: readings lie a day ahead at most,
//! and no catalog in memory is older than a second.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use heliograph_domain::{GatewayId, Timestamp};
use scylla::value::CqlDate;

use super::Database;
use crate::catalog::{Catalog, Change, Record};
use crate::error::StoreError;
use crate::rollup::gather::{Order, Walk};

pub(super) const DAY_MS: i64 = 86_400_000;
/// Slices that a day may have; each divides the next.
const SLICES: [u8; 4] = [1, 4, 24, 96];

/// The kind of what the catalog says of it.
const KIND: &str = "slices";
/// Rows that a partition may hold: 60 bytes each, or so.
pub(super) const ROWS: u64 = 800_000;
/// How far ahead of the last day that may hold readings a change is.
const AHEAD_DAYS: Day = 2;

/// A UTC day, counted from 1970-01-01.
pub(crate) type Day = i64;

pub(crate) fn day_of(time: Timestamp) -> Day {
    time.as_millis().div_euclid(DAY_MS)
}

/// Into how many slices the days of a gateway are cut, by the first day it holds for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slicing(BTreeMap<Day, u8>);

impl Slicing {
    /// What the catalog says of a gateway.
    pub(crate) fn of(catalog: &Catalog, gateway: &GatewayId) -> Result<Self, StoreError> {
        let body = catalog.bodies.get(&(KIND.to_owned(), gateway.as_str().to_owned()));
        body.map_or_else(|| Ok(Self::default()), |body| Self::parse(body))
    }

    /// Reads a JSON object of days and the slices from then on.
    fn parse(body: &str) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged(format!("slices of days are {body:?}"));
        let slices: BTreeMap<Day, u8> = serde_json::from_str(body).map_err(|_| damaged())?;
        if slices.values().all(|slices| SLICES.contains(slices)) { Ok(Self(slices)) } else { Err(damaged()) }
    }

    /// The days from `day` on cut finer, where that is what they need.
    fn refined(&self, day: Day, slices: u8) -> Option<Self> {
        let mut refined = self.clone();
        refined.0.insert(day, slices);
        (self.finest() < slices).then_some(refined)
    }

    /// The slices of the days that are cut finest: the last ones.
    fn finest(&self) -> u8 {
        self.0.values().next_back().copied().unwrap_or(1)
    }

    /// Cut so fine from a day on as one of so many rows needs; `None` where it is.
    pub(super) fn refined_for(&self, day: Day, rows: u64) -> Option<Self> {
        self.refined(day, slices_for(rows))
    }

    /// What the catalog says of it.
    pub(super) fn record(&self, gateway: &GatewayId) -> Result<Record, StoreError> {
        let text = serde_json::to_string(&self.0).map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Record::Body { kind: KIND.to_owned(), id: gateway.as_str().to_owned(), text })
    }

    fn slices(&self, day: Day) -> u8 {
        self.0.range(..=day).next_back().map_or(1, |(_, slices)| *slices)
    }

    /// The partition of an instant.
    pub(crate) fn partition(&self, time: Timestamp) -> Partition {
        let day = day_of(time);
        let within = time.as_millis().rem_euclid(DAY_MS);
        let bucket = within * i64::from(self.slices(day)) / DAY_MS;
        Partition { day, bucket: i16::try_from(bucket).unwrap_or(0) }
    }

    /// The partitions of a window in the order of a walk.
    pub(crate) fn partitions(&self, walk: &Walk) -> Vec<Partition> {
        if walk.window.is_empty() {
            return Vec::new();
        }
        let first = self.partition(walk.window.from);
        let last = self.partition(walk.window.end().plus_millis(-1));
        let mut found = Vec::new();
        for day in first.day..=last.day {
            let slices = i16::from(self.slices(day));
            found.extend((0..slices).map(|bucket| Partition { day, bucket }));
        }
        found.retain(|partition| (first..=last).contains(partition));
        if walk.order == Order::Backwards {
            found.reverse();
        }
        found
    }
}

/// A day and a slice of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Partition {
    pub(crate) day: Day,
    pub(crate) bucket: i16,
}

impl Partition {
    /// The day as the column holds it.
    pub(crate) fn date(self) -> CqlDate {
        CqlDate(u32::try_from(self.day + (1 << 31)).unwrap_or(0))
    }
}

/// Counts what each gateway pushes in a day.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    today: Mutex<HashMap<GatewayId, (Day, u64)>>,
    /// Gateways whose days are being cut.
    cutting: Mutex<HashSet<GatewayId>>,
}

impl Growth {
    /// Adds rows of the day in which they were received; answers that day's.
    fn add(&self, gateway: &GatewayId, day: Day, rows: u64) -> u64 {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        let count = today.entry(gateway.clone()).or_insert((day, 0));
        *count = if count.0 == day { (day, count.1 + rows) } else { (day, rows) };
        count.1
    }

    /// Whether nobody cuts the days of a gateway yet.
    fn begin_cut(&self, gateway: &GatewayId) -> bool {
        self.cutting.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway.clone())
    }

    fn end_cut(&self, gateway: &GatewayId) {
        self.cutting.lock().unwrap_or_else(PoisonError::into_inner).remove(gateway);
    }
}

/// The slices for a day of so many rows, with as much room again.
fn slices_for(rows: u64) -> u8 {
    let fits = |slices: &&u8| rows * 2 <= ROWS * u64::from(**slices);
    SLICES.iter().find(fits).or(SLICES.last()).copied().unwrap_or(1)
}

impl Database {
    pub(crate) async fn slicing(&self, gateway: &GatewayId) -> Result<Slicing, StoreError> {
        Slicing::of(&*self.recent_catalog().await?, gateway)
    }

    /// How far ahead of its receive time a reading may lie, in ms.
    async fn most_ahead_ms(&self) -> Result<i64, StoreError> {
        let catalog = self.recent_catalog().await?;
        let settings = catalog.settings.clone().unwrap_or_default();
        Ok(settings.time_policy().max_ahead_ms)
    }

    /// Notes how many rows of today a gateway pushed and, beside the documents, cuts
    /// its days finer where they become too many. Nothing is lost where that fails:
    /// it is noted again.
    pub(crate) fn note_growth(&self, gateway: &GatewayId, slicing: &Slicing, received: Timestamp, rows: u64) {
        let growth = &self.writing().growth;
        let wanted = slices_for(growth.add(gateway, day_of(received), rows));
        if slicing.finest() >= wanted || !growth.begin_cut(gateway) {
            return;
        }
        let (db, gateway) = (self.clone(), gateway.clone());
        tokio::spawn(async move {
            match db.cut_finer(&gateway, received, wanted).await {
                Ok(()) => tracing::info!(%gateway, slices = wanted, "days of a busy gateway are cut finer"),
                Err(error) => tracing::debug!(%error, %gateway, "days of a busy gateway are not cut finer yet"),
            }
            db.writing().growth.end_cut(&gateway);
        });
    }

    async fn cut_finer(&self, gateway: &GatewayId, received: Timestamp, wanted: u8) -> Result<(), StoreError> {
        // What was received long ago comes from a spool; readings may lie ahead.
        let ahead = self.most_ahead_ms().await?;
        let from = day_of(received.max(self.inner.clock.now()).plus_millis(ahead)) + AHEAD_DAYS;
        let id = gateway.clone();
        let change = move |catalog: &Catalog| {
            let Some(refined) = Slicing::of(catalog, &id)?.refined(from, wanted) else { return Ok(Vec::new()) };
            Ok(vec![Change::Put(refined.record(&id)?)])
        };
        self.catalog_change(None, change).await
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::TimeWindow;

    use super::*;

    fn slicing() -> Slicing {
        Slicing::parse(r#"{"2": 4, "3": 24}"#).unwrap()
    }

    fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::clamped(day * DAY_MS + hour * 3_600_000)
    }

    #[test]
    fn a_day_is_cut_as_was_said_before_it_began() {
        let slicing = slicing();
        assert_eq!([-1, 0, 1, 2, 3, 99].map(|day| slicing.slices(day)), [1, 1, 1, 4, 24, 24]);
        assert_eq!(slicing.partition(at(1, 23)), Partition { day: 1, bucket: 0 });
        assert_eq!(slicing.partition(at(2, 23)), Partition { day: 2, bucket: 3 });
        assert_eq!(slicing.partition(at(3, 23)), Partition { day: 3, bucket: 23 });
        assert_eq!(slicing.partition(at(-1, 23)), Partition { day: -1, bucket: 0 });
    }

    #[test]
    fn a_walk_passes_every_slice_once_and_none_outside() {
        let window = TimeWindow::between(at(1, 5), at(3, 2));
        let forwards = slicing().partitions(&Walk { window, order: Order::Forwards });
        let names: Vec<_> = forwards.iter().map(|partition| (partition.day, partition.bucket)).collect();
        assert_eq!(names, [(1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1)]);
        let mut backwards = slicing().partitions(&Walk { window, order: Order::Backwards });
        backwards.reverse();
        assert_eq!(backwards, forwards);
        assert!(
            slicing().partitions(&Walk { window: TimeWindow::between(at(1, 1), at(1, 1)), order: Order::Forwards }).is_empty()
        );
    }

    #[test]
    fn days_read_back_from_the_column_are_the_same() {
        assert_eq!(Partition { day: 0, bucket: 0 }.date(), CqlDate(1 << 31));
        assert_eq!(Partition { day: -1, bucket: 0 }.date(), CqlDate((1 << 31) - 1));
    }

    #[test]
    fn a_busy_gateway_gets_finer_days_and_never_coarser_ones() {
        assert_eq!([0, 400_000, 400_001, 1_600_001, 9_600_001, u64::MAX / 4].map(slices_for), [1, 1, 4, 24, 96, 96]);
        let refined = slicing().refined(9, 96).unwrap();
        assert_eq!([2, 8, 9].map(|day| refined.slices(day)), [4, 24, 96]);
        assert_eq!((slicing().refined(9, 24), slicing().refined(9, 4)), (None, None));
    }

    #[test]
    fn growth_is_counted_by_the_day() {
        let (growth, gateway) = (Growth::default(), GatewayId::parse("gw-1").unwrap());
        assert_eq!([(1, 5), (1, 6), (2, 7)].map(|(day, rows)| growth.add(&gateway, day, rows)), [5, 11, 7]);
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        assert!(["", "[]", r#"{"2": 3}"#, r#"{"x": 4}"#].iter().all(|body| Slicing::parse(body).is_err()));
    }
}
