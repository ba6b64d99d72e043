//! When a sensor was expected to be measured, and where it was not.

use heliograph_domain::{Position, Reachability, SensorRole, TimeWindow, Timestamp, WINDOW_MS};

use crate::flow::SensorInput;
use crate::sun::light_windows;

/// An inverter needs some light before it wakes: what it misses this close to
/// sunrise and sunset is not missing.
const TWILIGHT_MS: i64 = 30 * 60_000;
/// A run without coverage is listed as a gap when it is longer than this.
pub(crate) const GAP_MS: u64 = 40 * 60_000;

/// The daylight of a period, to be asked window by window.
#[derive(Debug, Clone)]
pub(crate) struct Light(Option<Vec<TimeWindow>>);

/// When inverters at a position are awake in a time.
pub(crate) fn awake(position: &Position, time: TimeWindow) -> Vec<TimeWindow> {
    let awake =
        |light: TimeWindow| TimeWindow::between(light.from.plus_millis(TWILIGHT_MS), light.end().plus_millis(-TWILIGHT_MS));
    light_windows(position, time).into_iter().map(awake).collect()
}

impl Light {
    /// Of a position over a period; where no position is known, it is always light.
    pub(crate) fn over(position: Option<&Position>, period: TimeWindow) -> Self {
        Self(position.map(|position| awake(position, period)))
    }

    fn covers(&self, start: Timestamp) -> bool {
        let Some(lights) = &self.0 else { return true };
        let next = lights.partition_point(|light| light.from <= start);
        let light = next.checked_sub(1).and_then(|index| lights.get(index));
        light.is_some_and(|light| start.plus_millis(WINDOW_MS) <= light.end())
    }
}

/// When readings of a sensor are expected within a period.
#[derive(Debug)]
pub(crate) struct Expectation<'a> {
    span: Option<TimeWindow>,
    settled_until: Timestamp,
    light: Option<&'a Light>,
}

impl<'a> Expectation<'a> {
    /// `period` is the whole period in UTC.
    pub(crate) fn of(sensor: &SensorInput, period: TimeWindow, now: Timestamp, light: &'a Light) -> Self {
        let since_first = sensor.first().map(|first| TimeWindow::between(first, now));
        let span = since_first.and_then(|span| span.intersect(&period)).and_then(|span| span.intersect(&sensor.visible));
        let light = (sensor.role == SensorRole::Inverter).then_some(light);
        Self { span, settled_until: now.plus_millis(-Reachability::LATE_AFTER_MS), light }
    }

    /// Expected and covered milliseconds of the window that begins at `start`,
    /// of which `covered_ms` are covered.
    pub(crate) fn judge(&self, start: Timestamp, covered_ms: u32) -> (u32, u32) {
        let window = TimeWindow::between(start, start.plus_millis(WINDOW_MS));
        let shared = self.span.and_then(|span| span.intersect(&window));
        let Some(shared) = shared.filter(|_| self.light.is_none_or(|light| light.covers(start))) else { return (0, 0) };
        let expected = u32::try_from(shared.end().millis_since(shared.from)).unwrap_or(0);
        let covered = covered_ms.min(expected);
        if window.end() > self.settled_until { (covered, covered) } else { (expected, covered) }
    }
}

/// What is expected and covered in the windows of a period, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coverage {
    pub(crate) start: Timestamp,
    pub(crate) expected_ms: u32,
    pub(crate) covered_ms: u32,
}

/// The runs of expected windows that are not covered for more than [`GAP_MS`].
/// Times at which nothing is expected, such as nights, do not end a run.
pub(crate) fn gaps(windows: impl Iterator<Item = Coverage>) -> Vec<TimeWindow> {
    let mut gaps = Vec::new();
    let mut run: Option<Run> = None;
    for window in windows.filter(|window| window.expected_ms > 0) {
        let missing = window.expected_ms - window.covered_ms.min(window.expected_ms);
        if window.covered_ms == 0 {
            let run = run.get_or_insert(Run { from: window.start, until: window.start, missing_ms: 0 });
            run.until = window.start.plus_millis(i64::from(window.expected_ms));
            run.missing_ms += u64::from(missing);
            continue;
        }
        // A window that is covered in part ends one run and may begin the next;
        // the missing part belongs to whichever it touches.
        match run.take() {
            Some(mut ended) => {
                if missing > 0 {
                    ended.until = window.start.plus_millis(i64::from(missing));
                    ended.missing_ms += u64::from(missing);
                }
                ended.finish(&mut gaps);
            }
            None if missing > 0 => {
                let from = window.start.plus_millis(i64::from(window.covered_ms));
                let until = window.start.plus_millis(i64::from(window.expected_ms));
                run = Some(Run { from, until, missing_ms: u64::from(missing) });
            }
            None => {}
        }
    }
    if let Some(run) = run {
        run.finish(&mut gaps);
    }
    gaps
}

struct Run {
    from: Timestamp,
    until: Timestamp,
    missing_ms: u64,
}

impl Run {
    fn finish(self, gaps: &mut Vec<TimeWindow>) {
        if self.missing_ms > GAP_MS {
            gaps.push(TimeWindow::between(self.from, self.until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: u32 = 900_000;

    fn at_quarter(number: i64) -> Timestamp {
        Timestamp::clamped(number * WINDOW_MS)
    }

    /// Windows as expected and covered milliseconds; gaps in minutes.
    fn check(windows: &[(u32, u32)], expected: &[(i64, i64)]) {
        let coverage = windows.iter().enumerate().map(|(number, (expected_ms, covered_ms))| Coverage {
            start: at_quarter(i64::try_from(number).unwrap()),
            expected_ms: *expected_ms,
            covered_ms: *covered_ms,
        });
        let got: Vec<(i64, i64)> =
            gaps(coverage).iter().map(|gap| (gap.from.as_millis() / 60_000, gap.end().as_millis() / 60_000)).collect();
        assert_eq!(got, expected, "{windows:?}");
    }

    #[test]
    fn gaps_are_runs_of_more_than_forty_minutes() {
        let (full, none, night) = ((Q, Q), (Q, 0), (0, 0));
        check(&[], &[]);
        check(&[full, none, none, full], &[]);
        check(&[full, none, none, none, full], &[(15, 60)]);
        // Five minutes at the end of one window, ten at the beginning of another.
        check(&[full, (Q, 600_000), none, none, full], &[]);
        check(&[full, (Q, 600_000), none, none, (Q, 300_000), full], &[(25, 70)]);
        check(&[none, none, night, night, none, full], &[(0, 75)]);
        check(&[night, night, night, night], &[]);
        check(&[full, none, none, none], &[(15, 60)]);
        check(&[none, none, none, full, none, none, none], &[(0, 45), (60, 105)]);
    }

    #[test]
    fn light_leaves_half_an_hour_after_sunrise_and_before_sunset() {
        let madrid = Position::new(40.4168, -3.7038).unwrap();
        let day = TimeWindow::between(
            Timestamp::parse_rfc3339("2024-06-21T00:00:00Z").unwrap(),
            Timestamp::parse_rfc3339("2024-06-22T00:00:00Z").unwrap(),
        );
        let light = Light::over(Some(&madrid), day);
        // Sunrise 04:45Z, sunset 19:48Z.
        for (time, expected) in [
            ("03:00", false),
            ("05:00", false),
            ("05:30", true),
            ("12:00", true),
            ("19:00", true),
            ("19:15", false),
            ("22:00", false),
        ] {
            let start = Timestamp::parse_rfc3339(&format!("2024-06-21T{time}:00Z")).unwrap();
            assert_eq!(light.covers(start), expected, "{time}");
        }
        assert!(Light::over(None, day).covers(day.from));
    }
}
