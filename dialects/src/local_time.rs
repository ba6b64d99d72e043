//! Local times without a zone: what instant they mean, and which of the two
//! where the clock went back.

use std::collections::HashMap;

use heliograph_domain::{Timestamp, Zone};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset};

use crate::decode::DecodedReading;
use crate::written_time::utc_millis;

/// The readings of a document whose times had no zone. Each gets an instant at
/// once; [`settle`](Self::settle) then decides, over the whole document, those
/// that stand for two.
#[derive(Debug)]
pub(crate) struct LocalTimes<'z> {
    zone: &'z Zone,
    seen: Vec<Seen>,
    ambiguous: bool,
    /// Some instant was counted from a local time.
    counted: bool,
}

#[derive(Debug)]
struct Seen {
    reading: usize,
    /// What the local clock shows, as if it ran on UTC.
    clock: i64,
    /// The later instant, where there are two.
    second: Option<Timestamp>,
}

impl<'z> LocalTimes<'z> {
    pub(crate) fn new(zone: &'z Zone) -> Self {
        Self { zone, seen: Vec::new(), ambiguous: false, counted: false }
    }

    /// The instant of the reading that will stand at index `reading`; the first
    /// of two. A time that the clock skipped is moved on by what it skipped.
    /// `None`: outside the years 0 to 9999.
    pub(crate) fn instant(&mut self, reading: usize, local: civil::DateTime) -> Option<Timestamp> {
        let (first, second) = self.instants(local)?;
        self.ambiguous |= second.is_some();
        self.seen.push(Seen { reading, clock: utc_millis(local), second });
        Some(first)
    }

    /// The instant so many milliseconds after a local time, on a clock that is not set
    /// meanwhile; of two such times after the first. `None` as above.
    pub(crate) fn after(&mut self, local: civil::DateTime, millis: i64) -> Option<Timestamp> {
        self.counted = true;
        let (first, _) = self.instants(local)?;
        first.as_millis().checked_add(millis).and_then(|millis| Timestamp::from_millis(millis).ok())
    }

    /// The one or two instants of a local time.
    fn instants(&self, local: civil::DateTime) -> Option<(Timestamp, Option<Timestamp>)> {
        let clock = utc_millis(local);
        let at = |offset: Offset| Timestamp::from_millis(clock - i64::from(offset.seconds()) * 1000).ok();
        Some(match self.zone.to_jiff().to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (at(offset)?, None),
            AmbiguousOffset::Gap { before, .. } => (at(before)?, None),
            AmbiguousOffset::Fold { before, after } => (at(before)?, Some(at(after)?)),
        })
    }

    /// Whether any time was local.
    pub(crate) fn is_used(&self) -> bool {
        self.counted || !self.seen.is_empty()
    }

    /// Decides the ambiguous times by the order of each series within the
    /// document, and flags them. Readings rise in time unless times that are
    /// certain show them falling: then rising, a clock that does not rise has
    /// gone back, and what follows is the second pass. Where the order leaves it
    /// open, a document received while the second pass is fresh is live data of
    /// the second pass; else it is the first.
    pub(crate) fn settle(&self, readings: &mut [DecodedReading], received: Timestamp) {
        if !self.ambiguous {
            return;
        }
        for mut series in self.by_series(readings) {
            if falls(&series) {
                series.reverse();
            }
            for fold in folds(&series) {
                let turn = turn_of(fold, received);
                for (place, seen) in fold.iter().enumerate() {
                    let Some(reading) = readings.get_mut(seen.reading) else { continue };
                    reading.ambiguous_time = true;
                    reading.time = seen.second.filter(|_| place >= turn).unwrap_or(reading.time);
                }
            }
        }
    }

    fn by_series(&self, readings: &[DecodedReading]) -> Vec<Vec<&Seen>> {
        let mut index = HashMap::new();
        let mut series: Vec<Vec<&Seen>> = Vec::new();
        for seen in &self.seen {
            let Some(reading) = readings.get(seen.reading) else { continue };
            let at = *index.entry((reading.sensor, &reading.metric, &reading.unit)).or_insert(series.len());
            match series.get_mut(at) {
                Some(list) => list.push(seen),
                None => series.push(vec![seen]),
            }
        }
        series
    }
}

/// Whether a series runs backwards: it falls somewhere between times of which
/// one is certain, and rises nowhere between such.
fn falls(series: &[&Seen]) -> bool {
    let certain = |pair: &&[&Seen]| pair.iter().any(|seen| seen.second.is_none());
    let mut steps = series.windows(2).filter(certain).filter_map(|pair| match pair {
        [a, b] if a.clock != b.clock => Some(a.clock > b.clock),
        _ => None,
    });
    steps.next().is_some_and(|down| down && steps.all(|down| down))
}

/// The runs of neighbours that are ambiguous by the same change of the clock.
fn folds<'s, 'a>(series: &'s [&'a Seen]) -> impl Iterator<Item = &'s [&'a Seen]> {
    let same = |a: &&Seen, b: &&Seen| a.second.is_some() && b.second.is_some() && (a.clock - b.clock).abs() < DAY_MS;
    series.chunk_by(same).filter(|run| run.iter().all(|seen| seen.second.is_some()))
}

/// How many readings of a fold that rises belong to its first pass.
fn turn_of(fold: &[&Seen], received: Timestamp) -> usize {
    let turn = fold.windows(2).position(|pair| matches!(pair, [a, b] if b.clock <= a.clock));
    match turn {
        Some(before) => before + 1,
        None if fold.last().and_then(|seen| seen.second).is_some_and(|second| is_fresh(second, received)) => 0,
        None => fold.len(),
    }
}

/// Whether an instant is the present one: not ahead of the receive time by more
/// than a clock may be wrong, and nearer to it than the first pass can be.
fn is_fresh(second: Timestamp, received: Timestamp) -> bool {
    const MINUTE_MS: i64 = 60_000;
    (-5 * MINUTE_MS..25 * MINUTE_MS).contains(&received.millis_since(second))
}

const DAY_MS: i64 = 86_400_000;
