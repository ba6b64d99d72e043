//! Where energies come from, and that nothing counts twice.

use heliograph_domain::{Kind, Quantity, SensorRole, TimeWindow, Timestamp};
use heliograph_report::{Direction, EnergySource};

use crate::site::{MINUTE, QUARTER, Site, Written, assert_close, at, counter, day, month, power, rising, ticks};

const PRODUCED: Quantity = Quantity::EnergyProduced;
const INVERTER: SensorRole = SensorRole::Inverter;

fn the_day() -> TimeWindow {
    TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-11T00:00:00Z"))
}

/// A bell between 6 and 18 h, W.
fn sun(time: Timestamp) -> f64 {
    let hour = time.as_millis().rem_euclid(86_400_000) as f64 / 3_600_000.0;
    if (6.0..=18.0).contains(&hour) { 8_000.0 * ((hour - 6.0) / 12.0 * std::f64::consts::PI).sin() } else { 0.0 }
}

/// The integral of straight lines between readings, Wh.
fn trapezoids(values: &[(Timestamp, f64)]) -> f64 {
    values.windows(2).map(|w| (w[0].1 + w[1].1) / 2.0 * w[1].0.millis_since(w[0].0) as f64 / 3_600_000.0).sum()
}

fn sunny(step: i64) -> Vec<(Timestamp, f64)> {
    ticks(the_day(), step).into_iter().map(|time| (time, sun(time))).collect()
}

async fn utc_site() -> Site {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    site
}

#[tokio::test]
async fn a_counters_rise_is_the_energy() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let rise = |k: usize| (k % 7) as f64 * 10.0;
    site.write("gw-1", &[counter("inv-1", INVERTER, PRODUCED, rising(&times, 4_000_000.0, rise))]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    let produced = report.figures.produced.unwrap();
    assert_close(Some(produced.watt_hours), (0..96).map(rise).sum());
    assert_eq!((produced.source, produced.estimated, produced.flagged), (EnergySource::Counter, false, false));
    assert_eq!(report.figures.peak, None, "a counter is no gauge");
}

#[tokio::test]
async fn power_alone_is_integrated() {
    let site = utc_site().await;
    let values = sunny(5 * MINUTE);
    site.write("gw-1", &[power("inv-1", INVERTER, values.clone())]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    let produced = report.figures.produced.unwrap();
    assert_close(Some(produced.watt_hours), trapezoids(&values));
    assert_eq!(produced.source, EnergySource::Power);
    let peak = report.figures.peak.unwrap();
    assert_close(Some(peak.watts), 8_000.0);
    assert_eq!(peak.at, at("2026-06-10T12:00:00Z"));
}

#[tokio::test]
async fn a_sensor_with_counter_and_power_counts_once_by_its_counter() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let series = [counter("inv-1", INVERTER, PRODUCED, rising(&times, 0.0, |_| 100.0)), power("inv-1", INVERTER, sunny(QUARTER))];
    site.write("gw-1", &series).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert_close(report.figures.produced_wh(), 9_600.0);
    assert_eq!(report.figures.produced.unwrap().source, EnergySource::Counter);
    assert_close(report.figures.peak.map(|peak| peak.watts), 8_000.0);
}

#[tokio::test]
async fn a_counter_without_data_in_the_period_falls_to_interval_energy_then_power() {
    let site = utc_site().await;
    let before = [at("2026-06-01T00:00:00Z"), at("2026-06-01T00:15:00Z")];
    let intervals = ticks(the_day(), QUARTER).into_iter().skip(1).map(|time| (time, 50.0)).collect();
    let interval = Written { sensor: "inv-1", role: INVERTER, kind: Kind::IntervalEnergy, quantity: PRODUCED, values: intervals };
    let series = [
        counter("inv-1", INVERTER, PRODUCED, rising(&before, 0.0, |_| 9.0)),
        interval,
        power("inv-1", INVERTER, sunny(QUARTER)),
        counter("inv-2", INVERTER, PRODUCED, rising(&before, 0.0, |_| 9.0)),
        power("inv-2", INVERTER, sunny(QUARTER)),
    ];
    site.write("gw-1", &series).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    let of = |sensor: &str| report.sensors.iter().find(|s| s.id.as_str() == sensor).unwrap().main_energy().unwrap().1;
    // An interval begins at its stamp; none was sent for the first quarter of the day.
    assert_close(Some(of("inv-1").watt_hours), 95.0 * 50.0);
    assert_eq!(of("inv-1").source, EnergySource::Interval);
    assert_close(Some(of("inv-2").watt_hours), trapezoids(&sunny(QUARTER)));
    assert_eq!(of("inv-2").source, EnergySource::Power);
    assert_eq!(report.figures.produced.unwrap().source, EnergySource::Power, "a sum is as exact as its least exact part");
}

/// 1 kW all the time, quarter by quarter.
fn steady(from: &str, until: &str) -> Vec<(Timestamp, f64)> {
    ticks(TimeWindow::between(at(from), at(until)), QUARTER).into_iter().map(|time| (time, 1_000.0)).collect()
}

/// What a counter shows of it: 250 Wh a quarter.
fn counted(from: &str, until: &str) -> Vec<(Timestamp, f64)> {
    let start = at("2026-06-01T00:00:00Z");
    steady(from, until).into_iter().map(|(time, _)| (time, time.millis_since(start) as f64 / 3_600.0)).collect()
}

async fn days_and_month(site: &Site) -> (Vec<Option<f64>>, Option<f64>) {
    let mut days = Vec::new();
    for number in 9..=12 {
        days.push(site.report("gw-1", day(2026, 6, number)).await.figures.produced_wh());
    }
    (days, site.report("gw-1", month(2026, 6)).await.figures.produced_wh())
}

#[tokio::test]
async fn power_goes_on_where_a_counter_went_silent_for_good_and_days_add_up_to_their_month() {
    let site = utc_site().await;
    let series = [
        counter("inv-1", INVERTER, PRODUCED, counted("2026-06-09T00:00:00Z", "2026-06-10T12:00:00Z")),
        power("inv-1", INVERTER, steady("2026-06-09T00:00:00Z", "2026-06-13T00:00:00Z")),
    ];
    site.write("gw-1", &series).await;
    let (days, all) = days_and_month(&site).await;
    days.iter().for_each(|day| assert_close(*day, 24_000.0));
    assert_close(all, days.into_iter().flatten().sum());
    let report = site.report("gw-1", month(2026, 6)).await;
    assert_eq!(report.figures.produced.unwrap().source, EnergySource::Power, "and the report says so");
}

#[tokio::test]
async fn what_a_counter_catches_up_is_no_other_days_and_days_add_up_to_their_month() {
    let site = utc_site().await;
    let series = [
        counter("inv-1", INVERTER, PRODUCED, counted("2026-06-09T00:00:00Z", "2026-06-10T00:00:00Z")),
        counter("inv-1", INVERTER, PRODUCED, counted("2026-06-12T00:00:00Z", "2026-06-13T00:00:00Z")),
        power("inv-1", INVERTER, steady("2026-06-09T00:00:00Z", "2026-06-13T00:00:00Z")),
    ];
    for series in series {
        site.write("gw-1", &[series]).await;
    }
    let (days, all) = days_and_month(&site).await;
    assert_eq!((days[1], days[2]), (None, None), "days that the counter speaks of later");
    assert_close(days[0], 24_000.0);
    assert_close(days[3], 72_000.0);
    assert_close(all, 96_000.0);
}

#[tokio::test]
async fn production_meters_stand_for_the_inverters_behind_them() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let series = [
        counter("inv-1", INVERTER, PRODUCED, rising(&times, 0.0, |_| 10.0)),
        counter("inv-2", INVERTER, PRODUCED, rising(&times, 0.0, |_| 20.0)),
        counter("meter", SensorRole::Production, PRODUCED, rising(&times, 0.0, |_| 29.0)),
        counter("other", SensorRole::Other, PRODUCED, rising(&times, 0.0, |_| 999.0)),
    ];
    site.write("gw-1", &series[..2]).await;
    assert_close(site.report("gw-1", day(2026, 6, 10)).await.figures.produced_wh(), 96.0 * 30.0);
    site.write("gw-1", &series[2..]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert_close(report.figures.produced_wh(), 96.0 * 29.0);
    let counted: Vec<_> = report.sensors.iter().filter(|s| s.counted).map(|s| s.id.to_string()).collect();
    assert_eq!(counted, ["meter"]);
    let inverter = report.sensors.iter().find(|s| s.id.as_str() == "inv-2").unwrap();
    assert_close(inverter.energy(Direction::Produced).map(|e| e.watt_hours), 96.0 * 20.0);
}

#[tokio::test]
async fn a_reset_counter_goes_on_from_zero() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let mut values = rising(&times, 50_000.0, |_| 100.0);
    for (k, value) in values.iter_mut().enumerate().skip(40) {
        value.1 = (k - 40) as f64 * 100.0;
    }
    site.write("gw-1", &[counter("inv-1", INVERTER, PRODUCED, values)]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    // 39 steps before, none across the reset, 56 after.
    assert_close(report.figures.produced_wh(), 95.0 * 100.0);
}

#[tokio::test]
async fn a_rise_over_a_gap_counts_and_is_marked_and_makes_no_peak() {
    let site = utc_site().await;
    let mut counts = rising(&ticks(the_day(), QUARTER), 0.0, |_| 100.0);
    let mut powers = sunny(QUARTER);
    let in_gap = |time: Timestamp| at("2026-06-10T10:00:00Z") < time && time < at("2026-06-10T14:00:00Z");
    counts.retain(|(time, _)| !in_gap(*time));
    powers.retain(|(time, _)| !in_gap(*time));
    site.write("gw-1", &[counter("inv-1", INVERTER, PRODUCED, counts), power("inv-1", INVERTER, powers)]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    let produced = report.figures.produced.unwrap();
    assert_close(Some(produced.watt_hours), 9_600.0);
    assert!(produced.estimated);
    assert_close(report.figures.peak.map(|peak| peak.watts), sun(at("2026-06-10T10:00:00Z")));
}

#[tokio::test]
async fn what_a_sensor_cannot_deliver_is_left_out_and_flagged() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let mut values = rising(&times, 0.0, |_| 100.0);
    values.iter_mut().skip(48).for_each(|(_, value)| *value += 1e9);
    site.write("gw-1", &[counter("inv-1", INVERTER, PRODUCED, values)]).await;
    let produced = site.report("gw-1", day(2026, 6, 10)).await.figures.produced.unwrap();
    assert_close(Some(produced.watt_hours), 9_500.0);
    assert!(produced.flagged);
}

#[tokio::test]
async fn the_peak_of_several_inverters_is_the_highest_sum_of_their_means() {
    let site = utc_site().await;
    let flat = |watts: f64, spike: usize| {
        let level = move |k: usize| if k == spike { watts * 2.0 } else { watts };
        ticks(the_day(), QUARTER).into_iter().enumerate().map(move |(k, time)| (time, level(k))).collect::<Vec<_>>()
    };
    site.write("gw-1", &[power("inv-1", INVERTER, flat(1_000.0, 40)), power("inv-2", INVERTER, flat(500.0, 60))]).await;
    let peak = site.report("gw-1", day(2026, 6, 10)).await.figures.peak.unwrap();
    // Quarter 39: the first inverter climbs from 1 to 2 kW, 1.5 kW in the mean.
    assert_close(Some(peak.watts), 2_000.0);
    assert_eq!(peak.at, the_day().from.plus_millis(39 * QUARTER));
}
