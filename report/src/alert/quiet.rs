//! Silence by a gateway's own rhythm.
//!
//! The rhythm is told from when the last of its documents came: from the pauses between
//! them all but the two longest count, so that an outage of late does not become usual.
//! Of pauses and of silence only the time counts in which it could have been heard: not
//! when nothing was taken in, when somebody worked on it, or, where all behind it are
//! inverters, when it was dark.

use heliograph_domain::{Position, Reachability, TimeWindow, Timestamp};

use crate::expect::awake;

/// Pauses that have to be known before there is a rhythm.
const NEEDED: usize = 8;
/// The longest pauses that do not count.
const PASSED_OVER: usize = 2;
/// Silence is measured back this far: it is long enough to say anything of.
const FURTHEST_MS: i64 = 40 * 86_400_000;
/// However rare a gateway is heard, more is not waited for.
const MOST_ALLOWED_MS: i64 = 4 * 86_400_000;

/// The longest pause that is usual, ms; `None` where too little is known. `heard` is in
/// order.
pub(super) fn usual_pause(heard: &[Timestamp], muted: &[TimeWindow], sleeps_at: Option<&Position>) -> Option<i64> {
    let pause = |pair: &[Timestamp]| match pair {
        [from, until] => quiet_ms(*from, *until, muted, sleeps_at),
        _ => 0,
    };
    let mut pauses: Vec<i64> = heard.windows(2).map(pause).collect();
    pauses.sort_unstable();
    let usual = pauses.len().checked_sub(PASSED_OVER + 1).filter(|_| pauses.len() >= NEEDED)?;
    pauses.get(usual).copied()
}

/// The silence that a gateway is allowed, ms: twice its usual pause, and some grace.
pub(super) fn allowed_ms(usual_ms: Option<i64>, grace_ms: i64) -> i64 {
    let by_rhythm = |usual: i64| (usual.saturating_mul(2) + grace_ms).min(MOST_ALLOWED_MS).max(grace_ms);
    usual_ms.map_or_else(|| Reachability::SILENT_AFTER_MS.max(grace_ms), by_rhythm)
}

/// How much of a time a gateway could have been heard in, ms.
pub(super) fn quiet_ms(from: Timestamp, until: Timestamp, muted: &[TimeWindow], sleeps_at: Option<&Position>) -> i64 {
    let from = from.max(until.plus_millis(-FURTHEST_MS));
    let Some(time) = TimeWindow::ALWAYS.intersect(&TimeWindow::between(from, until)) else { return 0 };
    let light = sleeps_at.map_or_else(|| vec![time], |position| awake(position, time));
    let muted = merged(muted);
    let lasts = |window: &TimeWindow| window.end().millis_since(window.from);
    let heard_in = |light: &TimeWindow| {
        let light = light.intersect(&time)?;
        let lost: i64 = muted.iter().filter_map(|muted| muted.intersect(&light)).map(|lost| lasts(&lost)).sum();
        Some(lasts(&light) - lost)
    };
    light.iter().filter_map(heard_in).sum()
}

/// Windows that do not overlap, of those that may.
fn merged(windows: &[TimeWindow]) -> Vec<TimeWindow> {
    let mut sorted = windows.to_vec();
    sorted.sort_by_key(|window| window.from);
    let mut merged: Vec<TimeWindow> = Vec::new();
    for window in sorted {
        match merged.last_mut().filter(|last| window.from <= last.end()) {
            Some(last) => *last = TimeWindow::between(last.from, last.end().max(window.end())),
            None => merged.push(window),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::parse_rfc3339("2026-06-10T00:00:00Z").unwrap().plus_millis(hour * HOUR_MS)
    }

    fn hours(from: i64, until: i64) -> TimeWindow {
        TimeWindow::between(hour(from), hour(until))
    }

    #[test]
    fn time_in_which_nobody_could_be_heard_counts_once_and_not_as_silence() {
        let quiet = |muted: &[TimeWindow]| quiet_ms(hour(0), hour(10), muted, None) / HOUR_MS;
        assert_eq!(quiet(&[]), 10);
        assert_eq!(quiet(&[hours(-5, 1), hours(9, 20)]), 8);
        assert_eq!(quiet(&[hours(3, 6), hours(2, 4), hours(5, 6)]), 6);
        assert_eq!(quiet(&[TimeWindow { from: hour(4), until: None }]), 4);
        assert_eq!(quiet(&[hours(-1, 11)]), 0);
        assert_eq!(quiet_ms(hour(1), hour(0), &[], None), 0);
        assert_eq!(quiet_ms(hour(0), hour(10_000), &[], None), FURTHEST_MS);
    }

    #[test]
    fn the_night_is_no_silence_of_inverters() {
        let seville = Position::new(37.4, -6.0).unwrap();
        // The sun stands over Seville from about 05:00 to 19:45 UTC.
        let quiet = |from, until| quiet_ms(hour(from), hour(until), &[], Some(&seville));
        assert_eq!(quiet(20, 28), 0);
        assert_eq!(quiet(8, 12), 4 * HOUR_MS);
        let whole_day = quiet(0, 24);
        assert!((12 * HOUR_MS..15 * HOUR_MS).contains(&whole_day), "{whole_day}");
        let from_noon = quiet(12, 12 + 24);
        assert!((from_noon - whole_day).abs() < 60_000, "{from_noon}");
    }

    #[test]
    fn a_rhythm_is_told_from_pauses_but_for_the_longest() {
        let each = |minutes: i64, count: i64| (0..count).map(|at| hour(0).plus_millis(at * minutes * 60_000)).collect::<Vec<_>>();
        assert_eq!(usual_pause(&each(15, 8), &[], None), None, "seven pauses are too few");
        assert_eq!(usual_pause(&each(15, 9), &[], None), Some(15 * 60_000));
        let mut torn = each(15, 20);
        torn.extend([hour(30), hour(50)]);
        assert_eq!(usual_pause(&torn, &[], None), Some(15 * 60_000));
        // Each day at noon.
        assert_eq!(usual_pause(&each(1_440, 12), &[], None), Some(24 * HOUR_MS));
    }

    #[test]
    fn twice_the_usual_pause_and_an_hour_are_allowed() {
        for (usual, expected) in
            [(None, 360), (Some(0), 60), (Some(5), 70), (Some(60), 180), (Some(1_440), 2_940), (Some(9_999), 5_760)]
        {
            let allowed = allowed_ms(usual.map(|minutes: i64| minutes * 60_000), HOUR_MS);
            assert_eq!(allowed / 60_000, expected, "{usual:?}");
        }
    }
}
