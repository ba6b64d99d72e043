use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

/// Samples of these lags, a quarter of an hour apart.
fn samples(from: &str, lags: impl IntoIterator<Item = i64>) -> ClockSamples {
    let place =
        |(number, lag_ms): (usize, i64)| ClockSample { received: at(from).plus_millis(number as i64 * 15 * MINUTE), lag_ms };
    let mut samples = ClockSamples::default();
    samples.add(lags.into_iter().enumerate().map(place));
    samples
}

fn known(state: ClockState) -> ClockEstimate {
    match state {
        ClockState::Known(estimate) => estimate,
        other => panic!("{other:?}"),
    }
}

fn estimate(lags: impl IntoIterator<Item = i64>) -> ClockEstimate {
    known(samples("2026-06-01T00:00:00Z", lags).judge(&Zone::utc()))
}

#[test]
fn four_samples_say_nothing_and_five_that_agree_do() {
    for few in 0..ClockSamples::NEEDED {
        let state = samples("2026-06-01T00:00:00Z", vec![-HOUR; few]).judge(&Zone::utc());
        assert_eq!(state, ClockState::Unknown { samples: few });
    }
    let found = estimate([-HOUR, -HOUR + 3000, -HOUR + 1000, -HOUR + 2000, -HOUR + 500]);
    assert_eq!((found.ahead_ms, found.within_ms, found.samples), (HOUR, 3000, 5));
    assert_eq!(found.at, at("2026-06-01T01:00:00Z"));
    assert_eq!((found.shape, found.correction().to_string()), (ClockShape::WholeHours(HOUR), "-1h".to_owned()));
}

#[test]
fn offsets_are_named_by_the_zone_of_the_location_then_by_hours() {
    let check = |zone_name: &str, from: &str, ahead_ms: i64, shape: ClockShape| {
        let found = known(samples(from, vec![-ahead_ms; 8]).judge(&zone(zone_name)));
        assert_eq!(found.shape, shape, "{ahead_ms} in {zone_name} at {from}");
    };
    let (winter, summer) = ("2026-01-10T00:00:00Z", "2026-07-10T00:00:00Z");
    for (ahead, shape) in [
        (0, ClockShape::Right),
        (50_000, ClockShape::Right),
        (-9 * MINUTE, ClockShape::Right),
        (3 * MINUTE, ClockShape::Odd),
        (HOUR, ClockShape::LocalAsUtc(HOUR)),
        // What is measured arrives some minutes later.
        (HOUR - 6 * MINUTE, ClockShape::LocalAsUtc(HOUR)),
        (2 * HOUR, ClockShape::OtherSeasonAsUtc(2 * HOUR)),
        (-HOUR, ClockShape::SummerTime(-HOUR)),
        (-HOUR - 5 * MINUTE, ClockShape::SummerTime(-HOUR)),
        (-2 * HOUR, ClockShape::WholeHours(-2 * HOUR)),
        (5 * HOUR, ClockShape::WholeHours(5 * HOUR)),
        (5 * HOUR + 30 * MINUTE - 2000, ClockShape::HalfHours(5 * HOUR + 30 * MINUTE)),
        (-7 * HOUR - 17 * MINUTE, ClockShape::Odd),
        (365 * 24 * HOUR, ClockShape::Odd),
    ] {
        check("Europe/Madrid", winter, ahead, shape);
    }
    check("Europe/Madrid", summer, 2 * HOUR, ClockShape::LocalAsUtc(2 * HOUR));
    check("Europe/Madrid", summer, HOUR, ClockShape::OtherSeasonAsUtc(HOUR));
    check("Europe/Madrid", summer, -2 * HOUR, ClockShape::UtcAsLocal(-2 * HOUR));
    check("Asia/Kathmandu", summer, 5 * HOUR + 45 * MINUTE, ClockShape::LocalAsUtc(5 * HOUR + 45 * MINUTE));
    check("Asia/Kolkata", summer, -5 * HOUR - 30 * MINUTE, ClockShape::UtcAsLocal(-5 * HOUR - 30 * MINUTE));
    check("America/New_York", summer, -4 * HOUR, ClockShape::LocalAsUtc(-4 * HOUR));
    check("UTC", summer, HOUR, ClockShape::WholeHours(HOUR));
}

#[test]
fn local_time_sent_as_utc_is_known_again_when_the_clock_changes() {
    let madrid = zone("Europe/Madrid");
    // Before and after the end of summer time, 2026-10-25T01:00Z.
    let mut all = samples("2026-10-24T20:00:00Z", vec![-2 * HOUR + 2000; 20]);
    let before = known(all.judge(&madrid));
    assert_eq!(before.shape, ClockShape::LocalAsUtc(2 * HOUR));
    assert!(before.shape.follows_seasons(&madrid, before.at));
    let after = samples("2026-10-25T01:00:00Z", vec![-HOUR + 2000; 5]);
    all.add(after.list()[..4].iter().copied());
    assert_eq!(known(all.judge(&madrid)).ahead_ms, 2 * HOUR - 2000, "four of another kind may be glitches");
    all.add(after.list().iter().copied());
    let found = known(all.judge(&madrid));
    assert_eq!((found.shape, found.correction().to_string()), (ClockShape::LocalAsUtc(HOUR), "-1h".to_owned()));
}

#[test]
fn a_clock_that_drifts_is_told_as_it_is_of_late() {
    // 18 s an hour: 0.5 %.
    let found = estimate((0..32).map(|quarter| -quarter * 4500));
    assert!((31 * 4500 - 67_500..=31 * 4500).contains(&found.ahead_ms), "{found:?}");
    assert_eq!(found.shape, ClockShape::Odd);
}

#[test]
fn history_that_follows_leaves_what_was_known_until_nothing_else_is_left() {
    let mut all = samples("2026-06-01T00:00:00Z", vec![-HOUR; 10]);
    // A gateway that catches up, a day behind, an hour further with each document.
    let history = samples("2026-06-01T03:00:00Z", (0..32).map(|number| (40 - number) * HOUR));
    all.add(history.list()[..22].iter().copied());
    assert_eq!(known(all.judge(&Zone::utc())).ahead_ms, HOUR);
    all.add(history.list().iter().copied());
    assert_eq!(all.judge(&Zone::utc()), ClockState::Unsteady { least_ms: 9 * HOUR, most_ms: 23 * HOUR });
}

#[test]
fn samples_are_few_and_in_order_however_they_come() {
    let lags: Vec<i64> = (0..50).collect();
    let all = samples("2026-06-01T00:00:00Z", lags);
    assert_eq!(all.list().len(), ClockSamples::KEPT);
    let mut other = ClockSamples::default();
    for sample in all.list().iter().rev() {
        other.add([*sample]);
        other.add([ClockSample { lag_ms: sample.lag_ms + 5, ..*sample }]);
    }
    assert_eq!(other, all);
}

proptest! {
    /// Of 32 samples in four-blocks each has a live one at least; the others are
    /// history. The least live delay decides.
    #[test]
    fn the_offset_is_found_among_jitter_and_history(
        offset in -365 * 24 * HOUR..365 * 24 * HOUR,
        live in vec((0..100_000i64, 0..4usize, any::<[bool; 4]>()), 8),
        history in vec(10 * MINUTE..400 * 24 * HOUR, 32),
    ) {
        let mut lags = history.iter().map(|late| late - offset).collect::<Vec<_>>();
        for (block, (delay, place, also)) in live.iter().enumerate() {
            for (slot, also) in also.iter().enumerate() {
                if slot == *place || *also {
                    lags[block * 4 + slot] = delay - offset;
                }
            }
        }
        // Five live ones in the latest fifteen.
        for slot in [18, 21, 24, 27, 30] {
            lags[slot] = live[0].0 - offset;
        }
        let found = estimate(lags);
        prop_assert!((offset - 100_000..=offset).contains(&found.ahead_ms), "{found:?}");
    }

    /// Up to four documents whose clock was wild change nothing.
    #[test]
    fn a_few_wild_times_are_passed_over(
        offset in -48 * HOUR..48 * HOUR,
        delays in vec(0..60_000i64, 32),
        wild in vec((0..32usize, 3 * HOUR..9000 * HOUR), 0..=4),
    ) {
        let mut lags: Vec<i64> = delays.iter().map(|delay| delay - offset).collect();
        for (place, ahead) in wild {
            lags[place] -= ahead;
        }
        let found = estimate(lags);
        prop_assert!((offset - 60_000..=offset).contains(&found.ahead_ms), "{found:?}");
    }

    /// However a clock is set, five samples later it is known.
    #[test]
    fn a_step_is_followed_within_five_samples(
        before in -48 * HOUR..48 * HOUR,
        step in prop_oneof![-48 * HOUR..-5 * MINUTE, 5 * MINUTE..48 * HOUR],
        delays in vec(0..60_000i64, 30),
    ) {
        let lags = delays.iter().enumerate().map(|(place, delay)| delay - before - if place >= 25 { step } else { 0 });
        let found = estimate(lags);
        prop_assert!((before + step - 60_000..=before + step).contains(&found.ahead_ms), "{found:?}");
    }

    /// What only catches up never passes for a clock.
    #[test]
    fn history_alone_says_nothing(from in HOUR..9000 * HOUR, steps in vec(3 * MINUTE..9 * HOUR, 32)) {
        let mut lag = from + 32 * 9 * HOUR;
        let lags = steps.iter().map(|step| { lag -= step; lag }).collect::<Vec<_>>();
        let state = samples("2026-06-01T00:00:00Z", lags).judge(&Zone::utc());
        prop_assert!(matches!(state, ClockState::Unsteady { .. }), "{state:?}");
    }

    #[test]
    fn shifts_parse_as_they_print(millis in -36_525 * 24 * HOUR..=36_525 * 24 * HOUR) {
        let shift = ClockShift::from_millis(millis).unwrap();
        prop_assert_eq!(ClockShift::parse(&shift.to_string()).unwrap(), shift, "{}", shift);
    }
}

#[test]
fn corrections_hold_for_what_arrives_from_their_instant_on() {
    let shift = |text: &str| ClockShift::parse(text).unwrap();
    let new = |from: i64, text: &str| ClockCorrection { from: Timestamp::clamped(from), shift: shift(text) };
    let all = ClockCorrections::default().with(new(10, "-1h")).with(new(20, "+30m")).with(new(30, "0s"));
    let found = [9, 10, 19, 20, 29, 30].map(|at| all.at(Timestamp::clamped(at)).to_string());
    assert_eq!(found, ["0s", "-1h", "-1h", "+30m", "+30m", "0s"]);
    // Clocks of those who set them differ, too: the order of setting holds.
    let late = all.with(new(15, "90s"));
    assert_eq!(late.list().iter().map(|of| of.from.as_millis()).collect::<Vec<_>>(), [10, 20, 30]);
    assert_eq!(late.at(Timestamp::clamped(30)), shift("+1m30s"));
    let many = (0..99).fold(ClockCorrections::default(), |all, at| all.with(new(at, "1s")));
    assert_eq!(many.list().len(), ClockCorrections::KEPT);
    for bad in ["", "1", "soon", "1000000h", "1mo", "--1h"] {
        assert!(ClockShift::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_known_is_told_in_words() {
    let told = |lags: Vec<i64>| samples("2026-07-01T00:00:00Z", lags).judge(&zone("Europe/Madrid")).to_string();
    assert_eq!(told(vec![0; 3]), "not known yet: 3 of 5 times that are needed were seen");
    assert_eq!(told(vec![1500, 400, 700, 0, 900]), "right, by 5 times within 2 s, the last of 2026-07-01T01:00:00Z");
    assert_eq!(
        told(vec![3500 - 2 * HOUR; 6]),
        "1h59m56s ahead, as if it sent the local time of its location as UTC, \
         by 6 times within 0 s, the last of 2026-07-01T01:15:00Z"
    );
    assert_eq!(
        told(vec![12 * MINUTE; 5]),
        "12m behind, as if its clock were set wrong, by 5 times within 0 s, the last of 2026-07-01T01:00:00Z"
    );
    assert_eq!(
        told((1..=10).map(|day| day * 24 * HOUR).collect()),
        "not known: what arrives is between +24h and +240h old, as history is"
    );
}
