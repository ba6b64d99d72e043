//! What raises alerts, over days of readings and a clock that the test turns.

use heliograph_domain::{
    AlertCause, AlertId, AlertKind, AlertState, ClockSample, Maintenance, MaintenanceId, MaintenanceSubject, Note, Quantity,
    SensorRole, TimeWindow, Timestamp, UserId, Watch,
};
use heliograph_report::{AlertFacts, AlertFindings, AlertNames, AlertWords, alert_turn};
use uuid::Uuid;

use crate::site::{HOUR, MINUTE, QUARTER, Site, Written, at, counter, gateway, power, rising, ticks};

const DAY: i64 = 24 * HOUR;
const SEVILLE: (f64, f64) = (37.4, -6.0);

/// Evaluates as the mailer does.
struct Evaluation<'a> {
    site: &'a Site,
    watches: Vec<Watch>,
}

impl<'a> Evaluation<'a> {
    const fn of(site: &'a Site) -> Self {
        Self { site, watches: Vec::new() }
    }

    /// The titles of alerts that are open then, by kind.
    async fn at(&mut self, now: Timestamp) -> Vec<String> {
        let store = &self.site.store;
        let facts = AlertFacts::read(store, now).await.unwrap();
        let findings = AlertFindings::read(store, &facts, now).await.unwrap();
        let alerts = store.alert_list().await.unwrap();
        let mut next = u128::try_from(now.as_millis()).unwrap() * 1_000;
        let new_id = || {
            next += 1;
            AlertId::new(Uuid::from_u128(next))
        };
        let turn = alert_turn(std::mem::take(&mut self.watches), &alerts, &findings, now, new_id);
        self.watches.clone_from(&turn.watches);
        store.alert_change(turn.changes, Some(turn.watches), now).await.unwrap();
        let names = AlertNames::read(store).await.unwrap();
        let mut open = store.alert_list().await.unwrap();
        open.retain(|alert| alert.state() != AlertState::Resolved);
        open.sort_by_key(|alert| alert.key.clone());
        open.iter().map(|alert| AlertWords::of(alert, &names, now).title.replace('\u{a0}', " ")).collect()
    }
}

fn days() -> TimeWindow {
    TimeWindow::between(at("2026-06-06T00:00:00Z"), at("2026-06-10T12:00:00Z"))
}

/// An inverter that sends day and night: a counter that rises by as much each quarter.
fn inverter(name: &'static str, within: TimeWindow, rise: f64) -> Written {
    counter(name, SensorRole::Inverter, Quantity::EnergyProduced, rising(&ticks(within, QUARTER), 0.0, |_| rise))
}

#[tokio::test]
async fn far_less_than_neighbours_over_days_is_an_alert_until_it_is_not() {
    let site = Site::new();
    site.taken_in(TimeWindow::between(days().from, days().end().plus_millis(4 * DAY + 2 * HOUR))).await;
    site.location(1, "UTC").await;
    // 24 kWh a day for each kWp are a lot, and easy to count with.
    for (id, rise) in [("gw-1", 250.0), ("gw-2x", 240.0), ("gw-3xx", 260.0), ("gw-4xxx", 100.0), ("gw-5xxxx", 165.0)] {
        site.place(id, 1).await;
        site.write(id, &[inverter("inv", days(), rise)]).await;
        site.rate(id, "inv", SensorRole::Inverter, 1_000.0).await;
    }
    let mut evaluation = Evaluation::of(&site);
    let now = days().end();
    // The fifth one lies in between: no reason to begin, nor to end.
    assert_eq!(evaluation.at(now).await, ["gw-4xxx gave 42 % of what its neighbours gave"]);
    let alert = site.store.alert_list().await.unwrap().remove(0);
    assert_eq!(alert.since, at("2026-06-07T00:00:00Z"));
    let AlertCause::LowYield { given, median, days: 3, inverter: None, .. } = alert.cause else { panic!("{alert:?}") };
    assert!((given - 28.8).abs() < 1e-6 && (median - 69.12).abs() < 1e-6, "{given} {median}");
    // Three days later it gives as much as the others.
    let later = TimeWindow::between(now, now.plus_millis(4 * DAY + 2 * HOUR));
    let going_on = |rise: f64, before: f64| {
        let start = before * (now.millis_since(days().from) / QUARTER) as f64;
        let values = rising(&ticks(later, QUARTER), start, move |_| rise);
        counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)
    };
    for (id, before) in [("gw-1", 250.0), ("gw-2x", 240.0), ("gw-3xx", 260.0), ("gw-4xxx", 100.0), ("gw-5xxxx", 165.0)] {
        site.write(id, &[going_on(250.0, before)]).await;
    }
    assert_eq!(evaluation.at(later.end().plus_millis(-2 * HOUR)).await.len(), 1, "not before it was over for a while");
    assert_eq!(evaluation.at(later.end().plus_millis(-HOUR)).await.len(), 1);
    assert_eq!(evaluation.at(later.end()).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_several_inverters_the_one_that_gives_least_is_named() {
    let site = Site::new();
    site.taken_in(days()).await;
    site.location(1, "UTC").await;
    for (id, rises) in [
        ("gw-1", [250.0, 250.0]),
        ("gw-2x", [250.0, 90.0]),
        ("gw-3xx", [250.0, 250.0]),
        ("gw-4xxx", [250.0, 10.0]),
        ("gw-5xxxx", [50.0, 40.0]),
        ("gw-6xxxxx", [250.0, 250.0]),
        ("gw-7xxxxxx", [250.0, 250.0]),
    ] {
        site.place(id, 1).await;
        site.write(id, &[inverter("inv-a", days(), rises[0]), inverter("inv-b", days(), rises[1])]).await;
        for sensor in ["inv-a", "inv-b"] {
            site.rate(id, sensor, SensorRole::Inverter, 1_000.0).await;
        }
    }
    let titles = Evaluation::of(&site).at(days().end()).await;
    let expected = [
        "inv-b behind gw-2x gave 36 % of what its neighbours gave",
        "inv-b behind gw-4xxx gave 4 % of what its neighbours gave",
        "gw-5xxxx gave 18 % of what its neighbours gave",
    ];
    assert_eq!(titles, expected);
}

#[tokio::test]
async fn where_little_was_measured_nobody_is_compared() {
    let site = Site::new();
    site.taken_in(days()).await;
    site.location(1, "UTC").await;
    for id in ["gw-1", "gw-2x", "gw-3xx", "gw-4xxx"] {
        site.place(id, 1).await;
        // One of them was away for a day, and gave less by power alone.
        let values = ticks(days(), QUARTER).into_iter().filter(|time| {
            id != "gw-4xxx" || !TimeWindow::between(at("2026-06-08T00:00:00Z"), at("2026-06-09T00:00:00Z")).contains(*time)
        });
        site.write(id, &[power("inv", SensorRole::Inverter, values.map(|time| (time, 900.0)).collect())]).await;
        site.rate(id, "inv", SensorRole::Inverter, 1_000.0).await;
    }
    assert_eq!(Evaluation::of(&site).at(days().end()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sensor_that_gives_nothing_is_told_from_a_gateway_that_is_not_heard() {
    let site = Site::new();
    site.taken_in(days()).await;
    site.location(1, "UTC").await;
    let meter = |until: Timestamp| {
        let times = ticks(TimeWindow::between(days().from, until), QUARTER);
        power("meter", SensorRole::Grid, times.into_iter().map(|time| (time, 100.0)).collect())
    };
    let broke = at("2026-06-08T12:00:00Z");
    for (id, until, meter_until) in
        [("gw-1", days().end(), broke), ("gw-2x", broke, broke), ("gw-3xx", days().end(), days().end())]
    {
        site.place(id, 1).await;
        let inverter = inverter("inv", TimeWindow::between(days().from, until), 100.0);
        site.write(id, &[inverter, meter(meter_until)]).await;
    }
    let mut evaluation = Evaluation::of(&site);
    let titles = evaluation.at(days().end()).await;
    assert_eq!(titles, ["gw-2x has been silent for 2 days", "meter behind gw-1 gives nothing"]);
    // Two weeks later it was taken away.
    let going_on = TimeWindow::between(days().end(), days().end().plus_millis(16 * DAY));
    let values = rising(&ticks(going_on, QUARTER), 43_200.0, |_| 100.0);
    for id in ["gw-1", "gw-3xx"] {
        site.write(id, &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values.clone())]).await;
    }
    site.taken_in(TimeWindow::between(going_on.end().plus_millis(-5 * DAY), going_on.end().plus_millis(4 * HOUR))).await;
    for hours in 0..4 {
        evaluation.at(going_on.end().plus_millis(hours * HOUR)).await;
    }
    let open = evaluation.at(going_on.end().plus_millis(4 * HOUR)).await;
    assert!(!open.iter().any(|title| title.contains("meter behind gw-1")), "{open:?}");
}

#[tokio::test]
async fn what_is_missing_on_each_day_is_an_alert_and_a_bad_day_is_none() {
    let site = Site::new();
    site.taken_in(days()).await;
    site.location(1, "UTC").await;
    let meter = |keeps: fn(Timestamp) -> bool| {
        let times = ticks(days(), QUARTER).into_iter().filter(|time| keeps(*time));
        power("meter", SensorRole::Grid, times.map(|time| (time, 100.0)).collect())
    };
    fn in_the_morning(time: Timestamp) -> bool {
        time.as_millis().rem_euclid(DAY) / HOUR < 12
    }
    fn but_for_a_day(time: Timestamp) -> bool {
        !TimeWindow::between(at("2026-06-08T00:00:00Z"), at("2026-06-09T00:00:00Z")).contains(time)
    }
    for (id, keeps) in [("gw-1", in_the_morning as fn(Timestamp) -> bool), ("gw-2x", but_for_a_day), ("gw-3xx", |_| true)] {
        site.place(id, 1).await;
        site.write(id, &[meter(keeps)]).await;
    }
    // What is read each hour never covers a quarter of an hour.
    site.place("gw-4xxx", 1).await;
    let each_hour = ticks(days(), HOUR).into_iter().map(|time| (time, 20.0)).collect();
    site.write("gw-4xxx", &[power("meter", SensorRole::Grid, each_hour)]).await;
    let titles = Evaluation::of(&site).at(days().end()).await;
    assert_eq!(titles, ["Much is missing of what gw-1 measures"]);
}

#[tokio::test]
async fn days_in_which_somebody_worked_or_nothing_was_taken_in_are_not_judged() {
    let in_the_morning = |time: &Timestamp| time.as_millis().rem_euclid(DAY) / HOUR < 12;
    let noon = at("2026-06-08T12:00:00Z");
    for (is_worked_on, is_away, expected) in [(false, false, 1), (true, false, 0), (false, true, 0)] {
        let site = Site::new();
        site.location(1, "UTC").await;
        site.taken_in(TimeWindow::between(days().from, noon)).await;
        let again = if is_away { noon.plus_millis(10 * MINUTE) } else { noon };
        site.taken_in(TimeWindow::between(again, days().end())).await;
        site.place("gw-1", 1).await;
        let times = ticks(days(), QUARTER).into_iter().filter(in_the_morning);
        site.write("gw-1", &[power("meter", SensorRole::Grid, times.map(|time| (time, 100.0)).collect())]).await;
        if is_worked_on {
            let window = Maintenance {
                id: MaintenanceId::new(Uuid::from_u128(1)),
                subject: MaintenanceSubject::Gateway(gateway("gw-1")),
                window: TimeWindow::between(noon, noon.plus_millis(HOUR)),
                reason: Note::parse("new roof").unwrap(),
                by: UserId::new(Uuid::from_u128(1)),
            };
            site.store.maintenance_save(window, noon).await.unwrap();
        }
        let titles = Evaluation::of(&site).at(days().end()).await;
        assert_eq!(titles.len(), expected, "{is_worked_on} {is_away} {titles:?}");
    }
}

#[tokio::test]
async fn a_sensor_that_speaks_rarely_is_not_broken_between_two_words() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.taken_in(days()).await;
    site.place("gw-1", 1).await;
    let spoke = |sensor, from, until| {
        let times = ticks(TimeWindow::between(at(from), at(until)), QUARTER);
        power(sensor, SensorRole::Grid, times.into_iter().map(|time| (time, 100.0)).collect())
    };
    let rare = spoke("rare", "2026-06-07T10:00:00Z", "2026-06-07T12:00:00Z");
    let meter = spoke("meter", "2026-06-06T10:00:00Z", "2026-06-08T12:00:00Z");
    site.write("gw-1", &[inverter("inv", days(), 100.0), rare, meter]).await;
    let mut titles = Evaluation::of(&site).at(days().end()).await;
    titles.retain(|title| title.ends_with("gives nothing"));
    assert_eq!(titles, ["meter behind gw-1 gives nothing"]);
}

#[tokio::test]
async fn inverters_sleep_at_night_and_are_missed_by_day() {
    let site = Site::new();
    site.location_at(1, "Europe/Madrid", Some(SEVILLE), None).await;
    site.taken_in(TimeWindow::between(at("2026-06-09T06:00:00Z"), at("2026-06-11T08:00:00Z"))).await;
    site.place("gw-1", 1).await;
    site.place("gw-2x", 1).await;
    let evening = at("2026-06-10T19:00:00Z");
    let within = TimeWindow::between(at("2026-06-09T06:00:00Z"), evening);
    site.write("gw-1", &[inverter("inv", within, 100.0)]).await;
    // With a meter behind it a gateway is heard at night.
    let metered = ticks(within, QUARTER).into_iter().map(|time| (time, 100.0)).collect();
    site.write("gw-2x", &[inverter("inv", within, 100.0), power("meter", SensorRole::Grid, metered)]).await;
    let heard: Vec<ClockSample> =
        (0..20).map(|at| ClockSample { received: evening.plus_millis((at - 19) * 15 * MINUTE), lag_ms: 1_000 }).collect();
    let seen = ["gw-1", "gw-2x"].map(|id| (gateway(id), heard.clone()));
    site.store.gateway_clock_seen(seen.to_vec()).await.unwrap();
    let mut evaluation = Evaluation::of(&site);
    // Twice a quarter of an hour and an hour are allowed: until 20:30.
    assert_eq!(evaluation.at(at("2026-06-10T20:20:00Z")).await, Vec::<String>::new());
    assert_eq!(evaluation.at(at("2026-06-10T20:40:00Z")).await, ["gw-2x has been silent for 100 minutes"]);
    assert_eq!(evaluation.at(at("2026-06-11T05:00:00Z")).await, ["gw-2x has been silent for 10 hours"]);
    assert_eq!(evaluation.at(at("2026-06-11T08:00:00Z")).await.len(), 2);
    let kinds: Vec<AlertKind> = site.store.alert_list().await.unwrap().iter().map(|alert| alert.key.kind).collect();
    assert_eq!(kinds, [AlertKind::Silent; 2]);
}

#[tokio::test]
async fn where_nobody_knows_when_it_is_night_a_night_is_usual() {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.taken_in(TimeWindow::between(at("2026-06-09T06:00:00Z"), at("2026-06-12T08:00:00Z"))).await;
    let within = TimeWindow::between(at("2026-06-09T06:00:00Z"), at("2026-06-10T19:00:00Z"));
    for id in ["gw-1", "gw-2x", "gw-3xx", "gw-4xxx", "gw-5xxxx", "gw-6xxxxx"] {
        site.place(id, 1).await;
        site.write(id, &[inverter("inv", within, 100.0)]).await;
    }
    let mut evaluation = Evaluation::of(&site);
    assert_eq!(evaluation.at(at("2026-06-11T06:00:00Z")).await, Vec::<String>::new());
    assert_eq!(evaluation.at(at("2026-06-12T08:00:00Z")).await, ["6 of 6 gateways fell silent together"]);
}
