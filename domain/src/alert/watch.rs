//! Since when something holds: the clock behind an alert.
//!
//! A condition must hold for a while before an alert is raised, without having been over
//! in between, and be over for a while before the alert is resolved. Time that cannot be
//! judged counts for neither: the clock stands still. Between two evaluations it was as
//! the earlier one found it, so that how often is evaluated decides nothing.

use serde::{Deserialize, Serialize};

use super::AlertKey;
use crate::id::AlertId;
use crate::time::Timestamp;

/// What an evaluation finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is so.
    Holds,
    /// It is not.
    Over,
    /// Nobody can say.
    Unjudged,
}

/// For how long something has to hold, and to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before an alert is raised, ms.
    pub raise_ms: i64,
    /// Before it is resolved, ms.
    pub clear_ms: i64,
}

/// Whether there is an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchPhase {
    /// There is none.
    Idle,
    /// This one is open.
    Raised(AlertId),
    /// Somebody said then that it was over, and it has not been since.
    Dismissed(Timestamp),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// An alert is raised.
    Raise,
    /// This one is resolved.
    Resolve(AlertId),
}

/// A condition that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Which.
    pub key: AlertKey,
    /// When it was looked at last, and what was found.
    at: Timestamp,
    verdict: Verdict,
    held_ms: i64,
    over_ms: i64,
    phase: WatchPhase,
}

impl Watch {
    /// What somebody said is over and is not is raised again after this long, ms.
    pub const DISMISSED_MS: i64 = 7 * 86_400_000;
    /// Nothing is known of what happened in a longer time without an evaluation, ms.
    pub const LONGEST_STEP_MS: i64 = 3_600_000;

    /// A condition of which nothing is known.
    #[must_use]
    pub const fn new(key: AlertKey, now: Timestamp) -> Self {
        Self { key, at: now, verdict: Verdict::Unjudged, held_ms: 0, over_ms: 0, phase: WatchPhase::Idle }
    }

    /// Whether there is an alert.
    #[must_use]
    pub const fn phase(&self) -> WatchPhase {
        self.phase
    }

    /// For how long it has held by what was judged, ms.
    #[must_use]
    pub const fn held_ms(&self) -> i64 {
        self.held_ms
    }

    /// Whether it says no more than a new one would.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        self.phase == WatchPhase::Idle && self.verdict != Verdict::Holds && self.held_ms == 0
    }

    /// Takes in what an evaluation finds. After [`Outcome::Raise`] the caller says which
    /// alert it is.
    pub fn step(&mut self, now: Timestamp, found: Verdict, patience: Patience) -> Outcome {
        let passed = now.millis_since(self.at).clamp(0, Self::LONGEST_STEP_MS);
        match self.verdict {
            Verdict::Holds => (self.held_ms, self.over_ms) = (self.held_ms.saturating_add(passed), 0),
            Verdict::Over => (self.held_ms, self.over_ms) = (0, self.over_ms.saturating_add(passed)),
            Verdict::Unjudged => {}
        }
        (self.at, self.verdict) = (now, found);
        let holds = found == Verdict::Holds && self.held_ms >= patience.raise_ms;
        let is_over = found == Verdict::Over && self.over_ms >= patience.clear_ms;
        match self.phase {
            WatchPhase::Idle if holds => Outcome::Raise,
            WatchPhase::Dismissed(at) if holds && now.millis_since(at) >= Self::DISMISSED_MS => Outcome::Raise,
            WatchPhase::Raised(alert) if is_over => {
                self.phase = WatchPhase::Idle;
                Outcome::Resolve(alert)
            }
            WatchPhase::Dismissed(_) if is_over => {
                self.phase = WatchPhase::Idle;
                Outcome::Nothing
            }
            _ => Outcome::Nothing,
        }
    }

    /// Its alert is this one.
    pub const fn raised(&mut self, alert: AlertId) {
        self.phase = WatchPhase::Raised(alert);
        self.over_ms = 0;
    }

    /// Its alert is over by itself, or not there any more.
    pub const fn ended(&mut self) {
        self.phase = WatchPhase::Idle;
    }

    /// Somebody has said that it is over.
    pub const fn dismissed(&mut self, at: Timestamp) {
        self.phase = WatchPhase::Dismissed(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::alert::AlertKind;

    const MINUTE_MS: i64 = 60_000;
    const SLOT_MS: i64 = 10 * MINUTE_MS;

    fn at(millis: i64) -> Timestamp {
        Timestamp::clamped(millis)
    }

    fn watch() -> Watch {
        Watch::new(AlertKey::provider(AlertKind::Quarantine), at(0))
    }

    fn id() -> AlertId {
        AlertId::new(Uuid::from_u128(1))
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Verdict::Holds), Just(Verdict::Over), Just(Verdict::Unjudged)]
    }

    /// Steps and says which alert it is.
    fn step(watch: &mut Watch, now: i64, found: Verdict, patience: Patience) -> Outcome {
        let outcome = watch.step(at(now), found, patience);
        if outcome == Outcome::Raise {
            watch.raised(id());
        }
        outcome
    }

    /// For how long it has held by the last of some evaluations, by brute force: back to
    /// where it was over.
    fn held(evaluations: &[(i64, Verdict)]) -> i64 {
        let mut sum = 0;
        for pair in evaluations.windows(2).rev() {
            let [(from, found), (until, _)] = pair else { unreachable!("pairs") };
            match found {
                Verdict::Holds => sum += until - from,
                Verdict::Over if until > from => break,
                _ => {}
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn nothing_is_raised_before_its_time_and_nothing_flaps(
            steps in vec((0..50_i64, verdict()), 1..80),
            raise in 0..60_i64,
            clear in 0..60_i64,
        ) {
            let patience = Patience { raise_ms: raise * MINUTE_MS, clear_ms: clear * MINUTE_MS };
            let (mut watch, mut now, mut last) = (watch(), 0, None::<i64>);
            let mut seen = Vec::new();
            for (minutes, found) in steps {
                now += minutes * MINUTE_MS;
                seen.push((now, found));
                match step(&mut watch, now, found, patience) {
                    Outcome::Raise => {
                        prop_assert!(held(&seen) >= patience.raise_ms, "{:?}", seen);
                        prop_assert!(last.is_none_or(|resolved| now - resolved >= patience.raise_ms), "{:?}", seen);
                        last = Some(now);
                    }
                    Outcome::Resolve(_) => {
                        prop_assert!(last.is_some_and(|raised| now - raised >= patience.clear_ms), "{:?}", seen);
                        last = Some(now);
                    }
                    Outcome::Nothing => {}
                }
            }
        }

        #[test]
        fn how_often_is_evaluated_decides_nothing(
            slots in vec(verdict(), 1..60),
            raise in 0..6_i64,
            clear in 0..6_i64,
        ) {
            let patience = Patience { raise_ms: raise * SLOT_MS, clear_ms: clear * SLOT_MS };
            let phases = |every: i64| {
                let (mut watch, mut phases) = (watch(), Vec::new());
                for (slot, found) in (0_i64..).zip(&slots) {
                    for part in 0..10 / every {
                        step(&mut watch, slot * SLOT_MS + part * every * MINUTE_MS, *found, patience);
                    }
                    phases.push(watch.phase());
                }
                phases
            };
            let coarse = phases(10);
            for every in [1, 2, 5] {
                prop_assert_eq!(&phases(every), &coarse, "each {} minutes", every);
            }
        }

        #[test]
        fn time_that_cannot_be_judged_is_as_if_it_were_not(
            steps in vec((1..30_i64, verdict()), 1..40),
            pauses in vec(0..600_i64, 40),
        ) {
            let patience = Patience { raise_ms: 40 * MINUTE_MS, clear_ms: 20 * MINUTE_MS };
            let (mut plain, mut paused) = (watch(), watch());
            let (mut now, mut later) = (0, 0);
            for ((minutes, found), pause) in steps.into_iter().zip(pauses) {
                now += minutes * MINUTE_MS;
                later += minutes * MINUTE_MS;
                step(&mut paused, later, Verdict::Unjudged, patience);
                later += pause * MINUTE_MS;
                step(&mut plain, now, found, patience);
                step(&mut paused, later, found, patience);
                prop_assert_eq!(plain.phase(), paused.phase());
            }
        }
    }

    #[test]
    fn what_somebody_said_is_over_comes_back_once_it_was_over_or_after_a_week() {
        let patience = Patience { raise_ms: 0, clear_ms: SLOT_MS };
        let dismissed = || {
            let mut watch = watch();
            assert_eq!(step(&mut watch, 0, Verdict::Holds, patience), Outcome::Raise);
            watch.dismissed(at(MINUTE_MS));
            watch
        };
        let mut still = dismissed();
        for minute in 2..200 {
            assert_eq!(step(&mut still, minute * MINUTE_MS, Verdict::Holds, patience), Outcome::Nothing);
        }
        assert_eq!(step(&mut still, Watch::DISMISSED_MS, Verdict::Holds, patience), Outcome::Nothing);
        assert_eq!(step(&mut still, Watch::DISMISSED_MS + MINUTE_MS, Verdict::Holds, patience), Outcome::Raise);
        let mut over_once = dismissed();
        for minute in [2, 7, 12] {
            assert_eq!(step(&mut over_once, minute * MINUTE_MS, Verdict::Over, patience), Outcome::Nothing);
        }
        assert_eq!(step(&mut over_once, 13 * MINUTE_MS, Verdict::Holds, patience), Outcome::Raise);
    }

    #[test]
    fn a_long_time_without_evaluations_proves_nothing() {
        let patience = Patience { raise_ms: 2 * Watch::LONGEST_STEP_MS, clear_ms: 0 };
        let mut watch = watch();
        step(&mut watch, 0, Verdict::Holds, patience);
        assert_eq!(step(&mut watch, 48 * 3_600_000, Verdict::Holds, patience), Outcome::Nothing);
        assert_eq!(step(&mut watch, 49 * 3_600_000, Verdict::Holds, patience), Outcome::Raise);
    }
}
