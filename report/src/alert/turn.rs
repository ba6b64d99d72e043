//! From what is found to alerts: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heliograph_domain::{Alert, AlertId, AlertKey, Outcome, Timestamp, Watch, WatchPhase};
use heliograph_store::AlertChange;

use super::AlertFindings;

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertTurn {
    /// What is raised and what is over.
    pub changes: Vec<AlertChange>,
    /// What is watched from now on.
    pub watches: Vec<Watch>,
}

/// Evaluates what was found at `now`, with what was watched before and the alerts that are
/// kept.
pub fn alert_turn(
    watches: Vec<Watch>,
    alerts: &[Alert],
    findings: &AlertFindings,
    now: Timestamp,
    mut new_id: impl FnMut() -> AlertId,
) -> AlertTurn {
    let mut watched: BTreeMap<AlertKey, Watch> = watches.into_iter().map(|watch| (watch.key.clone(), watch)).collect();
    follow(&mut watched, alerts, now);
    let holding: BTreeMap<&AlertKey, _> = findings.holding().collect();
    let keys: BTreeSet<AlertKey> = watched.keys().chain(holding.keys().copied()).cloned().collect();
    let mut changes = Vec::new();
    for key in keys {
        let watch = watched.entry(key.clone()).or_insert_with(|| Watch::new(key.clone(), now));
        match watch.step(now, findings.verdict(&key), key.kind.patience()) {
            Outcome::Nothing => {}
            Outcome::Resolve(alert) => changes.push(AlertChange::End(alert, now)),
            Outcome::Raise => {
                let Some((cause, since)) = holding.get(&key) else { continue };
                let (id, since) = (new_id(), (*since).min(now.plus_millis(-watch.held_ms())));
                watch.raised(id);
                changes.push(AlertChange::Raise(Box::new(Alert::raise(id, key, cause.clone(), since, now))));
            }
        }
    }
    watched.retain(|_, watch| !watch.is_forgettable());
    AlertTurn { changes, watches: watched.into_values().collect() }
}

/// Takes in what people have done since, and what an archive brought: an open alert is
/// watched, and one that somebody resolved is dismissed.
fn follow(watched: &mut BTreeMap<AlertKey, Watch>, alerts: &[Alert], now: Timestamp) {
    let by_id: HashMap<AlertId, &Alert> = alerts.iter().map(|alert| (alert.id, alert)).collect();
    for watch in watched.values_mut() {
        let WatchPhase::Raised(id) = watch.phase() else { continue };
        match by_id.get(&id) {
            Some(alert) if alert.is_open() => {}
            Some(alert) => match alert.resolved.filter(|end| end.by.is_some()) {
                Some(end) => watch.dismissed(end.at),
                None => watch.ended(),
            },
            None => watch.ended(),
        }
    }
    for alert in alerts.iter().filter(|alert| alert.is_open()) {
        let watch = watched.entry(alert.key.clone()).or_insert_with(|| Watch::new(alert.key.clone(), now));
        if !matches!(watch.phase(), WatchPhase::Raised(_)) {
            watch.raised(alert.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{AlertCause, AlertKind, AlertState, UserId, Verdict};
    use uuid::Uuid;

    use super::super::Found;
    use super::*;

    fn saying(key: &AlertKey, verdict: Verdict) -> AlertFindings {
        let cause = (verdict == Verdict::Holds).then(|| (AlertCause::Quarantine { documents: 30 }, Timestamp::clamped(0)));
        AlertFindings { found: HashMap::from([(key.clone(), Found { verdict, cause })]), ..AlertFindings::default() }
    }

    /// A quarantine is watched for ten minutes before it is an alert, and for two hours
    /// before it is none.
    struct Scene {
        key: AlertKey,
        watches: Vec<Watch>,
        alerts: Vec<Alert>,
    }

    impl Scene {
        fn new() -> Self {
            Self { key: AlertKey::provider(AlertKind::Quarantine), watches: Vec::new(), alerts: Vec::new() }
        }

        fn evaluate(&mut self, minute: i64, verdict: Verdict) {
            let now = Timestamp::clamped(minute * 60_000);
            let mut next = self.alerts.len() as u128;
            let new_id = || {
                next += 1;
                AlertId::new(Uuid::from_u128(next))
            };
            let findings = saying(&self.key, verdict);
            let turn = alert_turn(std::mem::take(&mut self.watches), &self.alerts, &findings, now, new_id);
            self.watches = turn.watches;
            for change in turn.changes {
                match change {
                    AlertChange::Raise(alert) => self.alerts.push(*alert),
                    AlertChange::End(id, at) => {
                        self.alerts.iter_mut().filter(|alert| alert.id == id).for_each(|alert| alert.end(at));
                    }
                    AlertChange::Told(..) => panic!("an evaluation tells nobody"),
                }
            }
        }

        fn states(&self) -> Vec<AlertState> {
            self.alerts.iter().map(Alert::state).collect()
        }
    }

    #[test]
    fn an_alert_is_raised_once_and_ends_once() {
        let mut scene = Scene::new();
        for minute in 0..10 {
            scene.evaluate(minute, Verdict::Holds);
            assert_eq!(scene.states(), [], "minute {minute}");
        }
        for minute in 10..60 {
            scene.evaluate(minute, Verdict::Holds);
            assert_eq!(scene.states(), [AlertState::Open]);
        }
        for minute in 60..=200 {
            scene.evaluate(minute, Verdict::Over);
        }
        assert_eq!(scene.states(), [AlertState::Resolved]);
        assert!(scene.watches.is_empty(), "nothing is left to watch");
        let alert = &scene.alerts[0];
        assert_eq!((alert.raised, alert.since), (Timestamp::clamped(600_000), Timestamp::clamped(0)));
    }

    #[test]
    fn what_somebody_resolved_is_not_raised_anew_while_it_holds() {
        let mut scene = Scene::new();
        (0..=20).for_each(|minute| scene.evaluate(minute, Verdict::Holds));
        scene.alerts[0].resolve(UserId::new(Uuid::from_u128(1)), Timestamp::clamped(21 * 60_000)).unwrap();
        (21..=500).for_each(|minute| scene.evaluate(minute, Verdict::Holds));
        assert_eq!(scene.states(), [AlertState::Resolved]);
        (501..=640).for_each(|minute| scene.evaluate(minute, Verdict::Over));
        (641..=660).for_each(|minute| scene.evaluate(minute, Verdict::Holds));
        assert_eq!(scene.states(), [AlertState::Resolved, AlertState::Open]);
    }

    #[test]
    fn an_open_alert_whose_watch_was_lost_still_ends() {
        let mut scene = Scene::new();
        (0..=20).for_each(|minute| scene.evaluate(minute, Verdict::Holds));
        scene.watches.clear();
        scene.evaluate(21, Verdict::Holds);
        assert_eq!(scene.states(), [AlertState::Open], "no second one");
        (22..=200).for_each(|minute| scene.evaluate(minute, Verdict::Over));
        assert_eq!(scene.states(), [AlertState::Resolved]);
    }

    #[test]
    fn what_cannot_be_judged_stays_as_it_is() {
        let mut scene = Scene::new();
        (0..=9).for_each(|minute| scene.evaluate(minute, Verdict::Holds));
        (10..=600).for_each(|minute| scene.evaluate(minute, Verdict::Unjudged));
        assert_eq!(scene.states(), []);
        scene.evaluate(601, Verdict::Holds);
        assert_eq!(scene.states(), [AlertState::Open]);
        (602..=2_000).for_each(|minute| scene.evaluate(minute, Verdict::Unjudged));
        assert_eq!(scene.states(), [AlertState::Open]);
    }
}
