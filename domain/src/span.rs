//! Local days and months of a gateway, which may change its zone.

use serde::{Deserialize, Serialize};

use crate::calendar::{Period, PeriodKind};
use crate::rollup::{WINDOW_MS, window_of};
use crate::series::named_set;
use crate::time::{TimeWindow, Timestamp, Zone};

named_set! {
    /// How long a rollup of several windows is.
    SpanStep {
        /// One local day.
        Day = "day",
        /// One calendar month.
        Month = "month",
    }
}

/// A local day or month, or the part of it that a gateway spent in one zone, in
/// whole windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSpan {
    /// Where its first window begins.
    pub start: Timestamp,
    /// Where the first window after it begins.
    pub end: Timestamp,
    /// The zone whose calendar it follows.
    pub zone: Zone,
}

/// In which zone a gateway was when: its windows, each in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneHistory {
    /// From when on, and where; in order, the first from the beginning of time.
    turns: Vec<(Timestamp, Zone)>,
}

impl ZoneHistory {
    /// From the times that a gateway spent in the zones of its locations, which
    /// do not overlap; `elsewhere` is the zone of all other times. The window
    /// in which it moves belongs to where it was at its beginning.
    #[must_use]
    pub fn new(elsewhere: &Zone, placements: &[(TimeWindow, Zone)]) -> Self {
        let mut placements: Vec<_> = placements.iter().filter(|(window, _)| !window.is_empty()).collect();
        placements.sort_by_key(|(window, _)| window.from);
        let mut history = Self { turns: vec![(Timestamp::MIN, elsewhere.clone())] };
        for (window, zone) in placements {
            history.turn(first_window_in(window.from), zone);
            if let Some(until) = window.until {
                history.turn(first_window_in(until), elsewhere);
            }
        }
        history
    }

    fn turn(&mut self, from: Timestamp, zone: &Zone) {
        while self.turns.last().is_some_and(|(last, _)| *last >= from) {
            self.turns.pop();
        }
        if self.turns.last().is_none_or(|(_, last)| last != zone) {
            self.turns.push((from, zone.clone()));
        }
    }

    /// The span that holds the window of an instant.
    #[must_use]
    pub fn span(&self, step: SpanStep, at: Timestamp) -> LocalSpan {
        let at = window_of(at);
        let next = self.turns.partition_point(|(from, _)| *from <= at);
        let from = next.checked_sub(1).and_then(|index| self.turns.get(index)).map_or(Timestamp::MIN, |(from, _)| *from);
        let zone = next.checked_sub(1).and_then(|index| self.turns.get(index)).map_or_else(Zone::utc, |(_, zone)| zone.clone());
        let until = self.turns.get(next).map_or(Timestamp::MAX, |(from, _)| *from);
        let kind = match step {
            SpanStep::Day => PeriodKind::Day,
            SpanStep::Month => PeriodKind::Month,
        };
        let whole = Period::around(kind, zone.civil(at).date()).window(&zone);
        LocalSpan { start: first_window_in(whole.from).max(from), end: first_window_in(whole.end()).min(until), zone }
    }

    /// The spans that share time with a window, in order, without a gap.
    #[must_use]
    pub fn spans(&self, step: SpanStep, window: TimeWindow) -> Vec<LocalSpan> {
        let mut spans = Vec::new();
        let mut at = window.from;
        while at < window.end() {
            let span = self.span(step, at);
            if span.end <= at {
                break;
            }
            at = span.end;
            spans.push(span);
        }
        spans
    }
}

/// The first window that begins at an instant or after it. Of zones in use all
/// days begin with one.
fn first_window_in(at: Timestamp) -> Timestamp {
    let window = window_of(at);
    if window < at { window.plus_millis(WINDOW_MS) } else { window }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn hours(span: &LocalSpan) -> f64 {
        span.end.millis_since(span.start) as f64 / 3_600_000.0
    }

    fn day_of(name: &str, instant: &str) -> LocalSpan {
        ZoneHistory::new(&zone(name), &[]).span(SpanStep::Day, at(instant))
    }

    #[test]
    fn days_at_a_clock_change_have_23_or_25_hours() {
        assert_eq!(hours(&day_of("Europe/Madrid", "2026-03-29T12:00:00Z")), 23.0);
        assert_eq!(hours(&day_of("Europe/Madrid", "2026-10-25T12:00:00Z")), 25.0);
        assert_eq!(hours(&day_of("Australia/Lord_Howe", "2026-04-05T00:00:00Z")), 24.5);
        assert_eq!(hours(&day_of("Asia/Beirut", "2026-03-29T12:00:00Z")), 23.0);
    }

    #[test]
    fn days_begin_at_midnight_of_half_hour_zones() {
        assert_eq!(day_of("Asia/Kolkata", "2026-06-15T00:00:00Z").start, at("2026-06-14T18:30:00Z"));
        assert_eq!(day_of("Asia/Kathmandu", "2026-06-15T00:00:00Z").start, at("2026-06-14T18:15:00Z"));
        assert_eq!(day_of("Pacific/Chatham", "2026-06-15T00:00:00Z").start, at("2026-06-14T11:15:00Z"));
    }

    #[test]
    fn a_day_is_cut_where_a_gateway_moves_to_another_zone() {
        let moved = at("2026-06-15T10:07:00Z");
        let placements = [
            (TimeWindow::between(at("2026-01-01T00:00:00Z"), moved), zone("Europe/Madrid")),
            (TimeWindow { from: moved, until: None }, zone("Asia/Kolkata")),
        ];
        let history = ZoneHistory::new(&Zone::utc(), &placements);
        let before = history.span(SpanStep::Day, at("2026-06-15T10:14:00Z"));
        assert_eq!((before.start, before.end), (at("2026-06-14T22:00:00Z"), at("2026-06-15T10:15:00Z")));
        let after = history.span(SpanStep::Day, at("2026-06-15T10:15:00Z"));
        assert_eq!((after.start, after.end), (at("2026-06-15T10:15:00Z"), at("2026-06-15T18:30:00Z")));
        assert_eq!(history.span(SpanStep::Month, at("2026-06-20T00:00:00Z")).start, at("2026-06-15T10:15:00Z"));
        assert_eq!(history.span(SpanStep::Day, at("2025-06-15T10:15:00Z")).zone, Zone::utc());
    }

    #[test]
    fn a_move_within_a_zone_cuts_nothing() {
        let moved = at("2026-06-15T10:00:00Z");
        let madrid = zone("Europe/Madrid");
        let placements =
            [(TimeWindow::between(Timestamp::MIN, moved), madrid.clone()), (TimeWindow { from: moved, until: None }, madrid)];
        assert_eq!(hours(&ZoneHistory::new(&Zone::utc(), &placements).span(SpanStep::Day, moved)), 24.0);
    }

    proptest! {
        #[test]
        fn days_and_months_tile_time_and_days_lie_within_months(
            cuts in proptest::collection::btree_set(0..400_000i64, 0..6),
            names in proptest::collection::vec(proptest::sample::select(vec!["UTC", "Europe/Madrid", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham"]), 7),
        ) {
            let origin = at("2026-01-01T00:00:00Z");
            let cuts: Vec<Timestamp> = cuts.into_iter().map(|minute| origin.plus_millis(minute * 60_000)).collect();
            let placements: Vec<_> = cuts.windows(2).zip(&names).step_by(2).map(|(pair, name)| (TimeWindow::between(pair[0], pair[1]), zone(name))).collect();
            let history = ZoneHistory::new(&zone(names[6]), &placements);
            let year = TimeWindow::between(origin, at("2026-12-01T00:00:00Z"));
            for step in SpanStep::ALL {
                let spans = history.spans(*step, year);
                prop_assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end));
                prop_assert!(spans.iter().all(|span| window_of(span.start) == span.start));
                prop_assert!(spans.first().unwrap().start <= year.from && year.end() <= spans.last().unwrap().end);
            }
            for day in history.spans(SpanStep::Day, year) {
                let month = history.span(SpanStep::Month, day.start);
                prop_assert!(month.start <= day.start && day.end <= month.end);
                for (window, place) in &placements {
                    if window.contains(day.start) {
                        prop_assert_eq!(&day.zone, place);
                    }
                }
            }
        }
    }
}
