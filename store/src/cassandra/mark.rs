//! Marks: which windows have to be rolled up again, and how it is known that a
//! mark may go.
//!
//! A mark is a row (shard, gateway, start, replica) of a window, or of a whole
//! UTC day, written by one opening of the store, the *replica*, with a `stamp` of
//! its own that rises strictly and is the row's write timestamp too. What has to
//! hold: once a document is acked, the stored rollups either contain its readings
//! or a mark says that they do not. No lock is taken, no clock of any two machines
//! is compared. The protocol:
//!
//! 1. A writer writes marks, waits for a quorum, then writes readings. It is done,
//!    or gives up, within [`Timing::deadline`]. A mark serves later documents of
//!    the same window that begin within [`Timing::reuse`], so that what stands
//!    under a mark is written at most `reuse + deadline` after the mark.
//! 2. Whoever settles reads marks first, along with the cluster's time, then the
//!    readings, and writes rollups with that time as their write timestamp.
//! 3. It then clears the marks that it has seen, with that same stamp, for longer
//!    than [`Timing::settled`] by its own monotonic clock, by a deletion with the
//!    mark's stamp as timestamp. Others stay.
//! 4. Local days and months are sums of what is stored, and are kept right in the
//!    same way, a step each: whoever clears the mark of a window has set one of its
//!    local day before, and whoever clears that one, one of its month. Sums carry
//!    the cluster's time from before the calendar and the parts were read.
//!
//! Why each race is harmless:
//!
//! - *A reading arrives after the settler has read.* Its mark was written before,
//!   and was either not seen yet, or seen for less than `settled`, or a later
//!   mark with a higher stamp stands in its place: it is not cleared, and the
//!   window is settled again.
//! - *A mark is set while another is cleared.* The deletion carries the stamp that
//!   was read; the new mark's is higher, and the deletion does not reach it.
//!   Replicas have rows of their own, so that nobody deletes by another's clock;
//!   a process that starts again is another replica, so that a clock set back
//!   between two starts hides nothing.
//! - *Two settle at once, and the one with the older readings writes last.* A
//!   computation that lacks readings of a mark read its time at most `reuse +
//!   deadline` after that mark was written; the one that clears it, at least
//!   `settled` after. The second has the higher timestamp and wins in whatever
//!   order the writes arrive, while the clocks of the cluster's nodes differ by
//!   less than `settled − reuse − deadline`, 15 s. Between computations of which
//!   neither clears, either may win: the mark is still there.
//! - *A settler dies between rollups and clearing.* The marks stay; the same
//!   rollups are written once more.
//! - *A writer dies between marks and readings.* A window is settled in vain.
//! - *A write that timed out is applied much later.* Marks, readings and rollups
//!   carry timestamps given once: an old mark is hidden by its deletion, an old
//!   rollup by newer ones. Old readings that were never acked come again with a
//!   mark of their own when their document is pushed again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, TimeWindow, Timestamp, WINDOW_MS, window_of};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{Database, session};
use crate::error::StoreError;
use crate::stamp::Stamps;

/// Partitions that marks are spread over.
pub(super) const SHARDS: i16 = 64;
const DAY_MS: i64 = 86_400_000;
/// A document that touches more windows of a day marks all of it.
const WINDOWS_OF_DAY: usize = 8;
/// Marks in one batch.
const BATCH: usize = 100;
/// Marks that are remembered, set or seen; others are set again, or seen later.
const REMEMBERED: usize = 200_000;
/// What a mark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The window that begins there.
    Window,
    /// All windows of the UTC day that begins there.
    Day,
    /// The local day that holds the window which begins there.
    LocalDay,
    /// The local month that holds it.
    LocalMonth,
    /// All local days that share something with the UTC month which begins there:
    /// the gateway's calendar is another one.
    Calendar,
}

impl Scope {
    const ALL: [Self; 5] = [Self::Window, Self::Day, Self::LocalDay, Self::LocalMonth, Self::Calendar];

    /// What a replica's name ends in.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Window => "",
            Self::Day => "+day",
            Self::LocalDay => "+local-day",
            Self::LocalMonth => "+local-month",
            Self::Calendar => "+calendar",
        }
    }

    fn of(replica: &str) -> Self {
        let named = Self::ALL.into_iter().filter(|scope| *scope != Self::Window);
        named.into_iter().find(|scope| replica.ends_with(scope.suffix())).unwrap_or(Self::Window)
    }
}

/// The times of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// How long a document's writes may take in all.
    pub(crate) deadline: Duration,
    /// How long after it was written a mark serves further documents.
    pub(crate) reuse: Duration,
    /// How long a mark must have been seen before it is cleared.
    pub(crate) settled: Duration,
    /// How long after looking for marks in vain nobody looks again.
    pub(crate) pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let (deadline, reuse) = (session::DEADLINE, Duration::from_secs(20));
        let nodes_differ = Duration::from_secs(15);
        Self { deadline, reuse, settled: deadline + reuse + nodes_differ, pause: Duration::from_secs(10) }
    }
}

/// What one opening of the store knows of marks.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) timing: Timing,
    replica: String,
    stamps: Stamps,
    /// When marks of this replica were begun to be written.
    set: Mutex<HashMap<Place, Instant>>,
    /// When marks of any replica were first seen, with the stamp they had.
    seen: Mutex<HashMap<(Place, String), (i64, Instant)>>,
    /// When all shards were last looked through without any mark being found.
    pub(super) idle_since: Mutex<Option<Instant>>,
}

/// Whose it is, where it begins, and what it is about.
type Place = (GatewayId, Timestamp, Scope);

/// A mark as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) gateway: GatewayId,
    pub(super) start: Timestamp,
    pub(super) scope: Scope,
    replica: String,
    stamp: i64,
    /// Whether all that it was set for can be read by now, whoever wrote it.
    pub(crate) complete: bool,
}

impl Mark {
    /// Whether it is about windows, not about their sums.
    pub(super) fn is_of_windows(&self) -> bool {
        matches!(self.scope, Scope::Window | Scope::Day)
    }

    /// About when the readings came that it was set for; `None` where it is not one
    /// window's.
    pub(crate) fn pushed(&self) -> Option<Timestamp> {
        matches!(self.scope, Scope::Window).then_some(Timestamp::clamped(self.stamp / 1000))
    }

    /// All of the windows that are marked; an empty one where it is about sums.
    pub(crate) fn window(&self) -> TimeWindow {
        let length = match self.scope {
            Scope::Window => WINDOW_MS,
            Scope::Day => DAY_MS,
            Scope::LocalDay | Scope::LocalMonth | Scope::Calendar => 0,
        };
        TimeWindow::between(self.start, self.start.plus_millis(length))
    }

    /// The windows that are marked: none by marks of sums.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Timestamp> {
        let count = match self.scope {
            Scope::Window => 1,
            Scope::Day => DAY_MS / WINDOW_MS,
            Scope::LocalDay | Scope::LocalMonth | Scope::Calendar => 0,
        };
        let start = self.start;
        (0..count).map(move |window| start.plus_millis(window * WINDOW_MS))
    }
}

/// Marks, and the cluster's time when they were read, µs since 1970.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) marks: Vec<Mark>,
    pub(crate) read_at: i64,
}

type MarkRow = (String, CqlTimestamp, String, i64, CqlTimestamp);

impl Marks {
    pub(crate) fn new(timing: Timing) -> Self {
        let replica = Uuid::new_v4().simple().to_string();
        let (set, seen, idle_since) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { timing, replica, stamps: Stamps::new(), set, seen, idle_since }
    }

    /// No mark that was set or seen is there any more.
    pub(super) fn forget(&self) {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Those places that no mark of this replica serves any more.
    fn missing(&self, places: BTreeSet<(Timestamp, Scope)>, gateway: &GatewayId) -> Vec<(Timestamp, Scope)> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        if set.len() > REMEMBERED {
            set.retain(|_, begun| begun.elapsed() < self.timing.reuse);
        }
        let serves = |start, scope| {
            let place = (gateway.clone(), start, scope);
            set.get(&place).is_some_and(|begun| begun.elapsed() < self.timing.reuse)
        };
        places.into_iter().filter(|(start, scope)| !serves(*start, *scope)).collect()
    }

    fn remember(&self, gateway: &GatewayId, places: &[(Timestamp, Scope)], begun: Instant) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        for (start, scope) in places {
            set.insert((gateway.clone(), *start, *scope), begun);
        }
    }

    /// Whether this process has seen a mark, as it is, for long enough.
    fn is_complete(&self, place: &Place, replica: &str, stamp: i64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let full = seen.len() >= REMEMBERED;
        match seen.entry((place.clone(), replica.to_owned())) {
            Entry::Occupied(mut known) if known.get().0 != stamp => {
                known.insert((stamp, Instant::now()));
                false
            }
            Entry::Occupied(known) => known.get().1.elapsed() >= self.timing.settled,
            Entry::Vacant(_) if full => false,
            Entry::Vacant(new) => {
                new.insert((stamp, Instant::now()));
                false
            }
        }
    }

    /// Forgets the marks of a shard that are not there any more: another process has
    /// cleared them.
    fn forget_others(&self, of: i16, marked: &Marked) {
        let there: HashSet<(Place, &str)> =
            marked.marks.iter().map(|mark| ((mark.gateway.clone(), mark.start, mark.scope), mark.replica.as_str())).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(place, replica), _| shard(&place.0) != of || there.contains(&(place.clone(), replica.as_str())));
    }

    fn read(&self, rows: Vec<MarkRow>) -> Result<Marked, StoreError> {
        let mut marked = Marked::default();
        for (gateway, start, replica, stamp, now) in rows {
            let gateway = GatewayId::parse(&gateway)?;
            let scope = Scope::of(&replica);
            let start = Timestamp::clamped(start.0);
            let complete = self.is_complete(&(gateway.clone(), start, scope), &replica, stamp);
            marked.marks.push(Mark { gateway, start, scope, replica, stamp, complete });
            // The earliest of what several pages say.
            let now = now.0.saturating_mul(1000);
            marked.read_at = if marked.read_at == 0 { now } else { marked.read_at.min(now) };
        }
        Ok(marked)
    }
}

fn shard(gateway: &GatewayId) -> i16 {
    i16::try_from(crc32fast::hash(gateway.as_str().as_bytes()) % SHARDS.unsigned_abs() as u32).unwrap_or(0)
}

/// The windows that hold these times, or their days where they are many.
fn places(times: impl Iterator<Item = Timestamp>) -> BTreeSet<(Timestamp, Scope)> {
    let mut days: BTreeMap<Timestamp, BTreeSet<Timestamp>> = BTreeMap::new();
    for time in times {
        days.entry(day_of(time)).or_default().insert(window_of(time));
    }
    let of_day = |(day, windows): (Timestamp, BTreeSet<Timestamp>)| {
        let whole = windows.len() > WINDOWS_OF_DAY;
        let (windows, scope) = if whole { (BTreeSet::from([day]), Scope::Day) } else { (windows, Scope::Window) };
        windows.into_iter().map(move |start| (start, scope))
    };
    days.into_iter().flat_map(of_day).collect()
}

/// Whether readings at these times are so many that they mark whole days. Such marks
/// are set by others too, so that nobody can tell when their readings were pushed.
pub(crate) fn takes_days(times: impl Iterator<Item = Timestamp>) -> bool {
    places(times).iter().any(|(_, scope)| matches!(scope, Scope::Day))
}

fn day_of(time: Timestamp) -> Timestamp {
    Timestamp::clamped(time.as_millis().div_euclid(DAY_MS) * DAY_MS)
}

/// Marks what readings at these times will change, before they are written.
pub(crate) async fn set(
    db: &Database,
    gateway: &GatewayId,
    times: impl Iterator<Item = Timestamp>,
    received: Timestamp,
) -> Result<(), StoreError> {
    set_places(db, gateway, places(times), received).await
}

/// Marks what no mark of this replica serves any more.
pub(super) async fn set_places(
    db: &Database,
    gateway: &GatewayId,
    places: BTreeSet<(Timestamp, Scope)>,
    received: Timestamp,
) -> Result<(), StoreError> {
    let missing = db.writing().marks.missing(places, gateway);
    put(db, gateway, &missing, received).await
}

/// Marks windows with a stamp of their own, whatever is marked already.
pub(crate) async fn set_anew(
    db: &Database,
    gateway: &GatewayId,
    times: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    put(db, gateway, &places(times).into_iter().collect::<Vec<_>>(), now).await
}

/// The same for whole days, from the first to the last.
pub(crate) async fn set_days_anew(
    db: &Database,
    gateway: &GatewayId,
    from: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let first = day_of(from).as_millis();
    let days = (0..).map(|day| Timestamp::clamped(first + day * DAY_MS)).take_while(|day| *day <= until);
    put(db, gateway, &days.map(|day| (day, Scope::Day)).collect::<Vec<_>>(), now).await
}

async fn put(db: &Database, gateway: &GatewayId, places: &[(Timestamp, Scope)], received: Timestamp) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    let marks = &db.writing().marks;
    let statement = db.prepared("INSERT INTO @.mark (shard, gateway, start, replica, stamp) VALUES (?, ?, ?, ?, ?)").await?;
    let shard = shard(gateway);
    for places in places.chunks(BATCH) {
        let begun = Instant::now();
        let stamp = marks.stamps.next(received).as_micros();
        let rows: Vec<_> = places
            .iter()
            .map(|(start, scope)| {
                let replica = format!("{}{}", marks.replica, scope.suffix());
                (shard, gateway.as_str(), CqlTimestamp(start.as_millis()), replica, stamp)
            })
            .collect();
        db.batch(vec![statement.clone(); rows.len()], rows, Some(stamp)).await?;
        marks.remember(gateway, places, begun);
    }
    Ok(())
}

/// The marks of a gateway.
pub(crate) async fn of_gateway(db: &Database, gateway: &GatewayId) -> Result<Marked, StoreError> {
    let cql = "SELECT gateway, start, replica, stamp, toTimestamp(now()) FROM @.mark WHERE shard = ? AND gateway = ?";
    let rows: Vec<MarkRow> = db.all(cql, (shard(gateway), gateway.as_str())).await?;
    db.writing().marks.read(rows)
}

/// The marks of a shard, of which there are [`SHARDS`].
pub(crate) async fn of_shard(db: &Database, shard: i16) -> Result<Marked, StoreError> {
    let cql = "SELECT gateway, start, replica, stamp, toTimestamp(now()) FROM @.mark WHERE shard = ?";
    let rows: Vec<MarkRow> = db.all(cql, (shard,)).await?;
    let marked = db.writing().marks.read(rows)?;
    db.writing().marks.forget_others(shard, &marked);
    Ok(marked)
}

/// Clears marks as they were read.
pub(crate) async fn clear(db: &Database, cleared: &[Mark]) -> Result<(), StoreError> {
    let cql = "DELETE FROM @.mark USING TIMESTAMP ? WHERE shard = ? AND gateway = ? AND start = ? AND replica = ?";
    let statement = db.prepared(cql).await?;
    for some in cleared.chunk_by(|a, b| a.gateway == b.gateway).flat_map(|of_gateway| of_gateway.chunks(BATCH)) {
        let rows: Vec<_> = some
            .iter()
            .map(|mark| {
                let start = CqlTimestamp(mark.start.as_millis());
                (mark.stamp, shard(&mark.gateway), mark.gateway.as_str(), start, mark.replica.as_str())
            })
            .collect();
        db.batch(vec![statement.clone(); rows.len()], rows, None).await?;
    }
    let mut seen = db.writing().marks.seen.lock().unwrap_or_else(PoisonError::into_inner);
    for mark in cleared {
        seen.remove(&((mark.gateway.clone(), mark.start, mark.scope), mark.replica.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarter(number: i64) -> Timestamp {
        Timestamp::clamped(number * WINDOW_MS)
    }

    #[test]
    fn many_windows_of_a_day_are_marked_as_the_day() {
        assert_eq!(
            places([3, 3, 4].map(quarter).into_iter()),
            BTreeSet::from([quarter(3), quarter(4)].map(|start| (start, Scope::Window)))
        );
        let marked = places((90..110).map(quarter));
        let expected: BTreeSet<_> = (90..96).map(|n| (quarter(n), Scope::Window)).chain([(quarter(96), Scope::Day)]).collect();
        assert_eq!(marked, expected);
    }

    #[test]
    fn what_a_mark_is_about_is_read_as_it_was_written() {
        for scope in Scope::ALL {
            assert_eq!(Scope::of(&format!("0a1b{}", scope.suffix())), scope);
        }
    }

    #[test]
    fn a_mark_is_complete_once_it_was_seen_unchanged_for_long_enough() {
        let timing = Timing { settled: Duration::from_millis(30), ..Timing::default() };
        let marks = Marks::new(timing);
        let place = (GatewayId::parse("gw-1").unwrap(), quarter(1), Scope::Window);
        assert!(!marks.is_complete(&place, "a", 1));
        std::thread::sleep(timing.settled);
        assert!(marks.is_complete(&place, "a", 1));
        assert!(!marks.is_complete(&place, "a", 2));
        assert!(!marks.is_complete(&place, "b", 1));
    }
}
