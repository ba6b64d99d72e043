//! Local times without a zone: what instant they mean, and which of the two
//! where the clock went back.

use std::collections::HashMap;

use heliograph_domain::{Timestamp, Zone};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset};

use crate::decode::DecodedReading;
use crate::written_time::utc_millis;

/// The readings of a document whose times had no zone. Whose gateway it is, and with
/// it which zone, may stand anywhere in a document: so they get their instants at its
/// end, when [`settle`](Self::settle) also decides those that stand for two.
#[derive(Debug, Default)]
pub(crate) struct LocalTimes {
    written: Vec<Written>,
}

#[derive(Debug)]
struct Written {
    reading: usize,
    local: civil::DateTime,
    /// So many milliseconds after it, on a clock that is not set meanwhile.
    after: Option<i64>,
}

/// A reading whose local time may stand for two instants.
#[derive(Debug)]
struct Seen {
    reading: usize,
    /// What the local clock shows, as if it ran on UTC.
    clock: i64,
    /// The later instant, where there are two.
    second: Option<Timestamp>,
}

impl LocalTimes {
    /// Notes the local time of the reading that will stand at index `reading`, or so
    /// many milliseconds after it; what stands for its instant until it is settled.
    /// `None`: outside the years 0 to 9999, in some zone.
    pub(crate) fn note(&mut self, reading: usize, local: civil::DateTime, after: Option<i64>) -> Option<Timestamp> {
        let clock = utc_millis(local);
        let is_in_every_zone = |millis: i64| [-DAY_MS, DAY_MS].iter().all(|by| Timestamp::from_millis(millis + by).is_ok());
        let there = clock.checked_add(after.unwrap_or(0)).filter(|there| there.abs() < i64::MAX / 2)?;
        let noted = Timestamp::from_millis(there).ok().filter(|_| is_in_every_zone(clock) && is_in_every_zone(there))?;
        self.written.push(Written { reading, local, after });
        Some(noted)
    }

    /// Whether any time was local.
    pub(crate) fn is_used(&self) -> bool {
        !self.written.is_empty()
    }

    /// Gives each reading its instant in a zone: the first of two; a time that the
    /// clock skipped is moved on by what it skipped. Then decides the ambiguous times
    /// by the order of each series within the document, and flags them. Readings rise
    /// in time unless times that are certain show them falling: then rising, a clock
    /// that does not rise has gone back, and what follows is the second pass. Where
    /// the order leaves it open, a document received while the second pass is fresh is
    /// live data of the second pass; else it is the first.
    pub(crate) fn settle(&self, zone: &Zone, readings: &mut [DecodedReading], received: Timestamp) {
        let seen = self.place(zone, readings);
        if seen.iter().all(|seen| seen.second.is_none()) {
            return;
        }
        for mut series in by_series(&seen, readings) {
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

    /// Gives each reading its first instant; what may stand for two.
    fn place(&self, zone: &Zone, readings: &mut [DecodedReading]) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(self.written.len());
        // Most readings of a document share their time with the one before.
        let mut last: Option<(civil::DateTime, Timestamp, Option<Timestamp>)> = None;
        for Written { reading, local, after } in &self.written {
            if last.is_none_or(|(known, ..)| known != *local) {
                last = instants(zone, *local).map(|(first, second)| (*local, first, second));
            }
            let (Some((_, first, second)), Some(of)) = (last, readings.get_mut(*reading)) else { continue };
            match after {
                Some(after) => of.time = first.plus_millis(*after),
                None => {
                    of.time = first;
                    seen.push(Seen { reading: *reading, clock: utc_millis(*local), second });
                }
            }
        }
        seen
    }
}

/// The one or two instants of a local time; `None`: outside the years 0 to 9999.
fn instants(zone: &Zone, local: civil::DateTime) -> Option<(Timestamp, Option<Timestamp>)> {
    let clock = utc_millis(local);
    let at = |offset: Offset| Timestamp::from_millis(clock - i64::from(offset.seconds()) * 1000).ok();
    Some(match zone.to_jiff().to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => (at(offset)?, None),
        AmbiguousOffset::Gap { before, .. } => (at(before)?, None),
        AmbiguousOffset::Fold { before, after } => (at(before)?, Some(at(after)?)),
    })
}

fn by_series<'s>(seen: &'s [Seen], readings: &[DecodedReading]) -> Vec<Vec<&'s Seen>> {
    let mut index = HashMap::new();
    let mut series: Vec<Vec<&Seen>> = Vec::new();
    for seen in seen {
        let Some(reading) = readings.get(seen.reading) else { continue };
        let at = *index.entry((reading.sensor, &reading.metric, &reading.unit)).or_insert(series.len());
        match series.get_mut(at) {
            Some(list) => list.push(seen),
            None => series.push(vec![seen]),
        }
    }
    series
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
