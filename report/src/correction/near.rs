//! Where the readings of a counter lie that are nearest to a time.

use std::collections::BTreeSet;

use heliograph_domain::{RollupRule, SeriesKey, TimeWindow, Timestamp, WINDOW_MS, Zone};
use heliograph_store::{ProviderStore, SeriesRecord, StoreError};
use jiff::{ToSpan as _, civil};

const DAY_MS: i64 = 86_400_000;
/// How many days they are looked for, until enough are found.
const FAR: [i64; 3] = [3, 14, 92];

/// On which side of an instant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// Before it.
    Before(Timestamp),
    /// From it on.
    After(Timestamp),
}

/// The readings next to a time.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Near {
    /// The local days of those that what happens in that time decides about.
    pub(super) days: BTreeSet<civil::Date>,
    /// The quarters of all readings of these days, and of those that decide about them.
    pub(super) windows: Vec<TimeWindow>,
}

impl Near {
    /// Looks in what was rolled up, which is cheaper to read than readings are.
    pub(super) async fn find(
        store: &ProviderStore,
        key: &SeriesKey,
        rule: &RollupRule,
        zone: &Zone,
        side: Side,
    ) -> Result<Self, StoreError> {
        let mut near = Self::default();
        for far in FAR {
            let starts = read(store, key, side, far * DAY_MS).await?;
            let (found, is_enough) = Self::among(&starts, rule.context() + 1, zone, side);
            near = found;
            if is_enough {
                break;
            }
        }
        Ok(near)
    }

    /// Of the quarters with readings, the nearest first; and whether there were enough of
    /// them.
    fn among(starts: &[Timestamp], context: usize, zone: &Zone, side: Side) -> (Self, bool) {
        let days: BTreeSet<civil::Date> = starts.iter().take(context).map(|start| zone.civil(*start).date()).collect();
        let is_within = |start: &Timestamp| match side {
            Side::Before(_) => days.first().is_some_and(|day| *start >= zone.start_of_day(*day)),
            Side::After(_) => days.last().is_some_and(|day| *start < zone.start_of_day(day.saturating_add(1.day()))),
        };
        let enough = starts.iter().take_while(|start| is_within(start)).count() + context;
        let window = |start: &Timestamp| TimeWindow::between(*start, start.plus_millis(WINDOW_MS));
        (Self { days, windows: starts.iter().take(enough).map(window).collect() }, starts.len() >= enough)
    }
}

/// The quarters in which the series has readings, the nearest first.
async fn read(store: &ProviderStore, key: &SeriesKey, side: Side, far_ms: i64) -> Result<Vec<Timestamp>, StoreError> {
    let period = match side {
        Side::Before(edge) => TimeWindow::between(edge.plus_millis(-far_ms), edge),
        Side::After(edge) => TimeWindow::between(edge, edge.plus_millis(far_ms)),
    };
    let is_counter: fn(_, &SeriesRecord) -> bool = |_, series| series.kind.accumulates();
    let all = store.rollup_list_of(&key.gateway, period, is_counter).await?;
    let own = all.into_iter().find(|of| of.sensor == key.sensor && of.series.metric == key.metric && of.series.unit == key.unit);
    let windows = own.map(|of| of.windows).unwrap_or_default();
    // What was passed over as an outlier is a reading too.
    let has_readings = windows.iter().filter(|window| window.rollup.count > 0 || window.rollup.flags.implausible);
    let mut starts: Vec<Timestamp> = has_readings.map(|window| window.start).filter(|start| period.contains(*start)).collect();
    if matches!(side, Side::Before(_)) {
        starts.reverse();
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(hours: &[i64]) -> Vec<Timestamp> {
        hours.iter().map(|hour| Timestamp::clamped(hour * 3_600_000)).collect()
    }

    fn told(hours: &[i64], side: Side) -> (Vec<i8>, usize, bool) {
        let (near, is_enough) = Near::among(&starts(hours), 2, &Zone::utc(), side);
        (near.days.iter().map(|day| day.day()).collect(), near.windows.len(), is_enough)
    }

    #[test]
    fn days_of_the_nearest_readings_come_with_what_decides_about_them() {
        let after = Side::After(Timestamp::clamped(0));
        assert_eq!(told(&[1, 30, 31, 50, 51, 52], after), (vec![1, 2], 5, true));
        assert_eq!(told(&[1, 30, 31, 50], after), (vec![1, 2], 4, false), "one more may lie further away");
        assert_eq!(told(&[], after), (vec![], 0, false));
        let before = Side::Before(Timestamp::clamped(96 * 3_600_000));
        assert_eq!(told(&[95, 50, 49, 30, 20, 10], before), (vec![3, 4], 5, true));
    }
}
