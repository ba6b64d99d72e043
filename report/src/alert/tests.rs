use heliograph_domain::{AlertSubject, LocationId, MaintenanceId, MaintenanceSubject, Note, UserId};
use uuid::Uuid;

use super::*;

const MINUTE_MS: i64 = 60_000;

fn minute(minute: i64) -> Timestamp {
    Timestamp::clamped(minute * MINUTE_MS)
}

fn id(name: &str) -> GatewayId {
    GatewayId::parse(name).unwrap()
}

fn record(name: &str, heard: i64) -> GatewayRecord {
    GatewayRecord {
        id: id(name),
        label: None,
        state: GatewayState::Commissioned,
        location: Some(LocationId::new(Uuid::from_u128(1))),
        first_seen: minute(0),
        last_seen: Some(minute(heard)),
        last_address: None,
        documents: 1,
    }
}

/// Gateways that are heard each five minutes.
fn facts(names: &[&str]) -> AlertFacts {
    let each_five = || GatewayFacts { usual_ms: Some(5 * MINUTE_MS), ..GatewayFacts::default() };
    let gateways = names.iter().map(|name| (id(name), each_five())).collect();
    AlertFacts { at: minute(0), gateways, found: HashMap::new() }
}

fn now(at: i64, gateways: Vec<GatewayRecord>) -> Now {
    let settings = AlertSettings::default();
    let intake = Some(Intake { seen: minute(at), gaps: Vec::new() });
    Now { gateways, maintenance: Vec::new(), intake, settings, alerts: Vec::new(), at: minute(at) }
}

fn silent(findings: &AlertFindings, name: &str) -> Verdict {
    findings.verdict(&AlertKey::gateway(AlertKind::Silent, id(name)))
}

#[test]
fn silence_is_longer_than_twice_the_usual_pause_and_an_hour() {
    let facts = facts(&["a"]);
    for (minutes, expected) in [(0, Verdict::Over), (69, Verdict::Over), (70, Verdict::Holds)] {
        let findings = AlertFindings::of(&facts, &now(1_000 + minutes, vec![record("a", 1_000)]), 0);
        assert_eq!(silent(&findings, "a"), expected, "after {minutes} minutes");
    }
    // Of one that has no rhythm yet six hours are waited for.
    for (minutes, expected) in [(359, Verdict::Over), (360, Verdict::Holds)] {
        let findings = AlertFindings::of(&facts, &now(1_000 + minutes, vec![record("new", 1_000)]), 0);
        assert_eq!(silent(&findings, "new"), expected, "after {minutes} minutes");
    }
}

#[test]
fn while_nothing_is_taken_in_nobody_is_silent() {
    let facts = facts(&["a"]);
    let intake = Some(Intake { seen: minute(1_010), gaps: Vec::new() });
    let away = Now { intake, ..now(1_200, vec![record("a", 1_000)]) };
    assert_eq!(silent(&AlertFindings::of(&facts, &away, 0), "a"), Verdict::Unjudged);
    // It was away for three hours of the four, and the rest is not long enough.
    let gap = TimeWindow::between(minute(1_010), minute(1_190));
    let back = |at| Now { intake: Some(Intake { seen: minute(at), gaps: vec![gap] }), ..now(at, vec![record("a", 1_000)]) };
    assert_eq!(silent(&AlertFindings::of(&facts, &back(1_249), 0), "a"), Verdict::Over);
    assert_eq!(silent(&AlertFindings::of(&facts, &back(1_250), 0), "a"), Verdict::Holds);
}

#[test]
fn before_documents_are_known_to_be_taken_in_nobody_is_silent() {
    let facts = facts(&["a"]);
    let never = Now { intake: None, ..now(5_000, vec![record("a", 1_000)]) };
    assert_eq!(silent(&AlertFindings::of(&facts, &never, 0), "a"), Verdict::Unjudged);
    // From the first word on it may be silent for as long as any other time.
    let begun = |at| {
        let intake = Intake { seen: minute(at), ..Intake::begun(minute(5_000)) };
        AlertFindings::of(&facts, &Now { intake: Some(intake), ..now(at, vec![record("a", 1_000)]) }, 0)
    };
    for (at, expected) in [(5_000, Verdict::Over), (5_069, Verdict::Over), (5_070, Verdict::Holds)] {
        assert_eq!(silent(&begun(at), "a"), expected, "at {at}");
    }
}

#[test]
fn what_somebody_works_on_is_not_judged_and_does_not_count() {
    let facts = facts(&["a", "b"]);
    let works = |subject| Maintenance {
        id: MaintenanceId::new(Uuid::from_u128(1)),
        subject,
        window: TimeWindow::between(minute(1_010), minute(1_400)),
        reason: Note::parse("new roof").unwrap(),
        by: UserId::new(Uuid::from_u128(1)),
    };
    let judged = |subject, at| {
        let maintenance = vec![works(subject)];
        let now = Now { maintenance, ..now(at, vec![record("a", 1_000), record("b", 1_000)]) };
        let findings = AlertFindings::of(&facts, &now, 0);
        (silent(&findings, "a"), silent(&findings, "b"))
    };
    let gateway = || MaintenanceSubject::Gateway(id("a"));
    assert_eq!(judged(gateway(), 1_200), (Verdict::Unjudged, Verdict::Holds));
    assert_eq!(judged(gateway(), 1_459), (Verdict::Over, Verdict::Holds));
    assert_eq!(judged(gateway(), 1_460), (Verdict::Holds, Verdict::Holds));
    let location = MaintenanceSubject::Location(LocationId::new(Uuid::from_u128(1)));
    assert_eq!(judged(location, 1_200), (Verdict::Unjudged, Verdict::Unjudged));
}

#[test]
fn many_that_fall_silent_together_are_one_alert() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let facts = facts(&names);
    let fleet = |silent: usize| -> Vec<GatewayRecord> {
        let heard = |at| if at < silent { 1_000 + at as i64 } else { 1_199 };
        names.iter().enumerate().map(|(at, name)| record(name, heard(at))).collect()
    };
    let mass = AlertKey::provider(AlertKind::MassSilence);
    let five = AlertFindings::of(&facts, &now(1_200, fleet(5)), 0);
    assert_eq!((five.verdict(&mass), silent(&five, "a")), (Verdict::Holds, Verdict::Unjudged));
    assert_eq!(five.holding().count(), 1);
    let four = AlertFindings::of(&facts, &now(1_200, fleet(4)), 0);
    assert_eq!((four.verdict(&mass), silent(&four, "a")), (Verdict::Over, Verdict::Holds));
    // Who does not want to know of many hears of each.
    let settings = AlertSettings { off: vec![AlertKind::MassSilence], ..AlertSettings::default() };
    let each = AlertFindings::of(&facts, &Now { settings, ..now(1_200, fleet(5)) }, 0);
    assert_eq!((each.verdict(&mass), silent(&each, "a")), (Verdict::Over, Verdict::Holds));
}

fn open(key: AlertKey, cause: AlertCause, since: i64) -> Alert {
    Alert::raise(heliograph_domain::AlertId::new(Uuid::from_u128(1)), key, cause, minute(since), minute(since + 60))
}

#[test]
fn while_many_are_silent_nobody_is_told_of_each_until_few_are() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let facts = facts(&names);
    let mass = AlertKey::provider(AlertKind::MassSilence);
    let told = || open(mass.clone(), AlertCause::MassSilence { silent: 5, of: 8 }, 1_004);
    // The first ones of eight have been silent since then, the last one since long before.
    let judged = |still: usize, is_open: bool| {
        let heard = |at: usize| match at {
            7 => 100,
            at if at < still => 1_000 + at as i64,
            _ => 1_990,
        };
        let fleet = names.iter().enumerate().map(|(at, name)| record(name, heard(at))).collect();
        let alerts = if is_open { vec![told()] } else { Vec::new() };
        let findings = AlertFindings::of(&facts, &Now { alerts, ..now(2_000, fleet) }, 0);
        (findings.verdict(&mass), silent(&findings, "a"), silent(&findings, "h"))
    };
    assert_eq!(judged(5, true), (Verdict::Holds, Verdict::Unjudged, Verdict::Holds));
    // Fewer than it takes to raise it are still many.
    assert_eq!(judged(3, true), (Verdict::Holds, Verdict::Unjudged, Verdict::Holds));
    assert_eq!(judged(2, true), (Verdict::Over, Verdict::Unjudged, Verdict::Holds));
    assert_eq!(judged(3, false), (Verdict::Over, Verdict::Holds, Verdict::Holds));
    // Who falls silent meanwhile is one of them.
    let mut fleet: Vec<GatewayRecord> = names.iter().map(|name| record(name, 1_000)).collect();
    fleet.push(record("later", 1_500));
    let findings = AlertFindings::of(&facts, &Now { alerts: vec![told()], ..now(2_000, fleet) }, 0);
    assert_eq!(silent(&findings, "later"), Verdict::Unjudged);
}

#[test]
fn who_was_told_of_one_by_one_is_not_told_of_as_many() {
    let names = ["a", "b", "c", "d", "e"];
    let fleet = || names.iter().map(|name| record(name, 1_000)).collect::<Vec<_>>();
    let cause = AlertCause::Silent { heard: minute(1_000), usual_ms: None, allowed_ms: 0 };
    let alerts = vec![open(AlertKey::gateway(AlertKind::Silent, id("a")), cause, 1_000)];
    let findings = AlertFindings::of(&facts(&names), &Now { alerts, ..now(1_200, fleet()) }, 0);
    assert_eq!(findings.verdict(&AlertKey::provider(AlertKind::MassSilence)), Verdict::Over);
    assert_eq!(silent(&findings, "b"), Verdict::Holds);
}

#[test]
fn figures_that_were_read_before_a_mask_lifted_raise_nothing_nor_do_those_of_who_is_gone() {
    let mut facts = facts(&["a"]);
    facts.at = minute(1_000);
    let key = AlertKey::gateway(AlertKind::Incomplete, id("a"));
    facts.found.insert(key.clone(), Found::holds(AlertCause::Incomplete { measured: 0.2, days: 3 }, minute(0)));
    let heard = || vec![record("a", 1_030)];
    let judged = |now: Now| AlertFindings::of(&facts, &now, 0).verdict(&key);
    assert_eq!(judged(now(1_030, heard())), Verdict::Holds);
    let works = |until| Maintenance {
        id: MaintenanceId::new(Uuid::from_u128(1)),
        subject: MaintenanceSubject::Gateway(id("a")),
        window: TimeWindow::between(minute(900), minute(until)),
        reason: Note::parse("new roof").unwrap(),
        by: UserId::new(Uuid::from_u128(1)),
    };
    for (until, expected) in [(1_000, Verdict::Holds), (1_001, Verdict::Unjudged), (1_100, Verdict::Unjudged)] {
        assert_eq!(judged(Now { maintenance: vec![works(until)], ..now(1_030, heard()) }), expected, "until {until}");
    }
    let gap = TimeWindow::between(minute(990), minute(1_010));
    let intake = Some(Intake { seen: minute(1_030), gaps: vec![gap] });
    assert_eq!(judged(Now { intake, ..now(1_030, heard()) }), Verdict::Unjudged);
    let cause = AlertCause::Silent { heard: minute(800), usual_ms: None, allowed_ms: 0 };
    let mut told = open(AlertKey::gateway(AlertKind::Silent, id("a")), cause, 800);
    told.end(minute(1_020));
    assert_eq!(judged(Now { alerts: vec![told], ..now(1_030, heard()) }), Verdict::Unjudged);
    let gone = GatewayRecord { state: GatewayState::Waiting, ..record("a", 1_030) };
    assert_eq!(judged(now(1_030, vec![gone])), Verdict::Over);
    assert_eq!(judged(now(1_030, Vec::new())), Verdict::Over);
}

#[test]
fn of_somebody_silent_nothing_else_is_said() {
    let mut facts = facts(&["a"]);
    let keys = [
        AlertKey::gateway(AlertKind::Incomplete, id("a")),
        AlertKey {
            kind: AlertKind::SensorFault,
            subject: AlertSubject::Sensor(id("a"), heliograph_domain::SensorId::parse("s").unwrap()),
        },
    ];
    for key in &keys {
        let cause = AlertCause::Incomplete { measured: 0.2, days: 3 };
        facts.found.insert(key.clone(), Found::holds(cause, minute(0)));
    }
    for (heard, expected) in [(1_199, Verdict::Holds), (1_000, Verdict::Unjudged)] {
        let findings = AlertFindings::of(&facts, &now(1_200, vec![record("a", heard)]), 0);
        assert_eq!(keys.each_ref().map(|key| findings.verdict(key)), [expected; 2]);
    }
}

#[test]
fn a_quarantine_grows_by_many_and_is_quiet_by_few() {
    let key = AlertKey::provider(AlertKind::Quarantine);
    for (documents, expected) in [
        (0, Verdict::Over),
        (FEW_REFUSED, Verdict::Over),
        (FEW_REFUSED + 1, Verdict::Unjudged),
        (REFUSED - 1, Verdict::Unjudged),
        (REFUSED, Verdict::Holds),
    ] {
        let findings = AlertFindings::of(&facts(&[]), &now(0, Vec::new()), documents);
        assert_eq!(findings.verdict(&key), expected, "{documents}");
    }
}

#[test]
fn kinds_that_are_off_are_not_found() {
    let settings = AlertSettings { off: vec![AlertKind::Silent], ..AlertSettings::default() };
    let now = Now { settings, ..now(1_200, vec![record("a", 1_000)]) };
    assert_eq!(AlertFindings::of(&facts(&["a"]), &now, 0).holding().count(), 0);
}
