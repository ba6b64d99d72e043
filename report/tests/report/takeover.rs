//! Meters that appear in the middle of a period: nothing of before is lost,
//! nothing counts twice, day reports add up to the month, and no figure claims to
//! be more exact than what is in it.

use heliograph_domain::{
    CorrectionId, CorrectionKind, Kind, MetricName, Quantity, SensorId, SensorRole, SeriesKey, TimeWindow, Timestamp, Unit,
};
use heliograph_report::{EnergySource, Figures, GatewayReport};
use heliograph_store::CorrectionNew;

use crate::site::{QUARTER, Site, Written, assert_close, at, counter, day, gateway, month, number, power, rising, ticks};

const PRODUCED: Quantity = Quantity::EnergyProduced;
const IMPORTED: Quantity = Quantity::EnergyImported;
const INVERTER: SensorRole = SensorRole::Inverter;

/// The readings of all tests lie within 9 to 12 June.
fn from(start: &str) -> Vec<Timestamp> {
    ticks(TimeWindow::between(at(start), at("2026-06-12T00:00:00Z")), QUARTER)
}

fn steady(sensor: &'static str, role: SensorRole, quantity: Quantity, start: &str, rise: f64) -> Written {
    counter(sensor, role, quantity, rising(&from(start), 500.0, move |_| rise))
}

async fn utc_site(series: &[Written]) -> Site {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    site.write("gw-1", series).await;
    site
}

/// The figures of June, after checking that those of its days add up to them.
async fn june(site: &Site) -> Figures {
    let whole = site.report("gw-1", month(2026, 6)).await.figures;
    let (mut produced, mut consumed) = (0.0, 0.0);
    for number in 8..=12 {
        let figures = site.report("gw-1", day(2026, 6, number)).await.figures;
        produced += figures.produced_wh().unwrap_or(0.0);
        consumed += figures.consumed.map_or(0.0, |energy| energy.watt_hours);
    }
    assert_close(Some(whole.produced_wh().unwrap_or(0.0)), produced);
    assert_close(Some(whole.consumed.map_or(0.0, |energy| energy.watt_hours)), consumed);
    whole
}

/// Of each bar that knows what was produced.
fn produced_sources(report: &GatewayReport) -> Vec<EnergySource> {
    report.buckets.iter().filter_map(|bar| bar.produced).map(|energy| energy.source).collect()
}

#[tokio::test]
async fn inverters_count_until_a_production_meter_appears() {
    let site = utc_site(&[
        power("inv", INVERTER, from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect()),
        steady("meter", SensorRole::Production, PRODUCED, "2026-06-10T12:00:00Z", 97.0),
    ])
    .await;
    let figures = june(&site).await;
    assert_close(figures.produced_wh(), 144.0 * 100.0 + 144.0 * 97.0);
    assert_eq!(figures.produced.unwrap().source, EnergySource::Power);
    let report = site.report("gw-1", month(2026, 6)).await;
    assert_eq!(produced_sources(&report), [EnergySource::Power, EnergySource::Power, EnergySource::Counter]);
    let counted: Vec<_> = report.sensors.iter().filter(|sensor| sensor.counted).map(|sensor| sensor.id.as_str()).collect();
    assert_eq!(counted, ["meter"]);
    let produced: Vec<_> = report.buckets.iter().filter_map(|bar| bar.produced).map(|energy| energy.watt_hours).collect();
    assert_eq!(produced.len(), 3);
    assert_close(Some(produced[0]), 96.0 * 100.0);
}

#[tokio::test]
async fn inverters_count_again_once_the_production_meter_has_died() {
    let meter: Vec<_> = from("2026-06-09T00:00:00Z").into_iter().filter(|time| *time <= at("2026-06-10T12:00:00Z")).collect();
    let site = utc_site(&[
        power("inv", INVERTER, from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect()),
        counter("meter", SensorRole::Production, PRODUCED, rising(&meter, 0.0, |_| 97.0)),
    ])
    .await;
    let figures = june(&site).await;
    assert_close(figures.produced_wh(), 144.0 * 97.0 + 144.0 * 100.0);
    let report = site.report("gw-1", day(2026, 6, 9)).await;
    let counted: Vec<_> = report.sensors.iter().filter(|sensor| sensor.counted).map(|sensor| sensor.id.as_str()).collect();
    assert_eq!(counted, ["inv"]);
}

#[tokio::test]
async fn what_counts_of_a_day_does_not_depend_on_whether_the_meter_was_heard_on_it() {
    let silent = |time: &Timestamp| at("2026-06-10T00:00:00Z") <= *time && *time < at("2026-06-11T06:00:00Z");
    let mut counts = rising(&from("2026-06-09T00:00:00Z"), 0.0, |_| 97.0);
    counts.retain(|(time, _)| !silent(time));
    let site = utc_site(&[
        power("inv", INVERTER, from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect()),
        counter("meter", SensorRole::Production, PRODUCED, counts),
    ])
    .await;
    let figures = june(&site).await;
    assert_close(figures.produced_wh(), 288.0 * 97.0);
    let quiet = site.report("gw-1", day(2026, 6, 10)).await;
    assert_eq!(quiet.figures.produced_wh(), None, "the meter makes up for it on the day after");
    let caught_up = site.report("gw-1", day(2026, 6, 11)).await;
    assert_close(caught_up.figures.produced_wh(), 193.0 * 97.0);
}

#[tokio::test]
async fn power_stands_in_from_where_a_counters_last_reading_is_left_out() {
    let mut counts = rising(&from("2026-06-09T00:00:00Z"), 0.0, |_| 97.0);
    counts.retain(|(time, _)| *time <= at("2026-06-10T12:00:00Z"));
    counts.push((at("2026-06-10T12:15:00Z"), 9e9));
    let site = utc_site(&[
        counter("inv", INVERTER, PRODUCED, counts),
        power("inv", INVERTER, from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect()),
    ])
    .await;
    let series = SeriesKey {
        gateway: gateway("gw-1"),
        sensor: SensorId::parse("inv").unwrap(),
        metric: MetricName::parse("energy-produced-counter").unwrap(),
        unit: Unit::parse("Wh").unwrap(),
    };
    let window = TimeWindow::between(at("2026-06-10T12:15:00Z"), at("2026-06-10T12:16:00Z"));
    let (id, reason) = (CorrectionId::parse(&number(77)).unwrap(), "nonsense".to_owned());
    let new = CorrectionNew { id, series, window, kind: CorrectionKind::Exclude, reason };
    site.store.correction_create(new).await.unwrap();
    assert_close(june(&site).await.produced_wh(), 144.0 * 97.0 + 143.0 * 100.0);
}

#[tokio::test]
async fn a_time_that_inverters_missed_before_the_meter_is_missing() {
    let mut values: Vec<_> = from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect();
    values.retain(|(time, _)| *time <= at("2026-06-09T06:00:00Z") || at("2026-06-09T18:00:00Z") <= *time);
    let site = utc_site(&[
        power("inv", INVERTER, values),
        steady("meter", SensorRole::Production, PRODUCED, "2026-06-10T00:00:00Z", 97.0),
    ])
    .await;
    let report = site.report("gw-1", day(2026, 6, 9)).await;
    assert_close(report.figures.completeness.ratio(), 0.5);
    let bars = site.report("gw-1", month(2026, 6)).await.buckets;
    assert_close(bars[8].completeness.ratio(), 0.5);
}

#[tokio::test]
async fn power_counts_until_the_counter_of_the_same_sensor_appears_and_not_in_its_gaps() {
    let mut counts = rising(&from("2026-06-10T12:07:00Z"), 9_000.0, |_| 110.0);
    let kept = counts.last().copied().map(|(_, last)| last - 9_000.0);
    counts.retain(|(time, _)| *time < at("2026-06-11T06:00:00Z") || at("2026-06-11T09:00:00Z") < *time);
    let powers = from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect();
    let site = utc_site(&[counter("inv", INVERTER, PRODUCED, counts), power("inv", INVERTER, powers)]).await;
    let figures = june(&site).await;
    assert_close(figures.produced_wh(), 144.0 * 100.0 + kept.unwrap());
    assert_eq!(figures.produced.unwrap().source, EnergySource::Power);
    let report = site.report("gw-1", month(2026, 6)).await;
    assert_eq!(report.sensors[0].main_energy().unwrap().1.source, EnergySource::Power);
    assert_eq!(produced_sources(&report), [EnergySource::Power, EnergySource::Power, EnergySource::Counter]);
    let last = site.report("gw-1", day(2026, 6, 11)).await;
    assert_eq!(last.figures.produced.unwrap().source, EnergySource::Counter, "the day is the counter's alone");
}

#[tokio::test]
async fn interval_energies_before_a_counter_are_named_and_power_before_both_too() {
    let intervals = from("2026-06-09T12:00:00Z").into_iter().filter(|time| *time < at("2026-06-12T00:00:00Z"));
    let intervals = intervals.map(|time| (time, 50.0)).collect();
    let interval = Written { sensor: "inv", role: INVERTER, kind: Kind::IntervalEnergy, quantity: PRODUCED, values: intervals };
    let counting = steady("inv", INVERTER, PRODUCED, "2026-06-10T12:00:00Z", 97.0);
    let site = utc_site(&[interval.clone(), counting.clone()]).await;
    assert_eq!(june(&site).await.produced.unwrap().source, EnergySource::Interval);
    let powers = from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, 400.0)).collect();
    let site = utc_site(&[interval, counting, power("inv", INVERTER, powers)]).await;
    let figures = june(&site).await;
    assert_close(figures.produced_wh(), 48.0 * 100.0 + 96.0 * 50.0 + 144.0 * 97.0);
    assert_eq!(figures.produced.unwrap().source, EnergySource::Power);
    let report = site.report("gw-1", month(2026, 6)).await;
    assert_eq!(produced_sources(&report), [EnergySource::Power, EnergySource::Interval, EnergySource::Counter]);
}

#[tokio::test]
async fn consumption_is_not_known_before_the_grid_meter() {
    let site = utc_site(&[
        steady("inv", INVERTER, PRODUCED, "2026-06-09T00:00:00Z", 100.0),
        steady("grid", SensorRole::Grid, IMPORTED, "2026-06-10T12:00:00Z", 30.0),
    ])
    .await;
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), 144.0 * 130.0);
    assert_eq!(site.report("gw-1", month(2026, 6)).await.buckets[8].consumed, None);
}

#[tokio::test]
async fn consumption_is_not_known_before_the_inverter_beside_a_grid_meter() {
    let site = utc_site(&[
        steady("inv", INVERTER, PRODUCED, "2026-06-10T12:00:00Z", 100.0),
        steady("grid", SensorRole::Grid, IMPORTED, "2026-06-09T00:00:00Z", 30.0),
    ])
    .await;
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), 144.0 * 130.0);
}

#[tokio::test]
async fn load_meters_say_what_is_consumed_until_a_grid_meter_appears() {
    let site = utc_site(&[
        steady("oven", SensorRole::Load, Quantity::EnergyConsumed, "2026-06-09T00:00:00Z", 44.0),
        steady("grid", SensorRole::Grid, IMPORTED, "2026-06-10T12:00:00Z", 50.0),
    ])
    .await;
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), 144.0 * 44.0 + 144.0 * 50.0);
}

#[tokio::test]
async fn consumption_is_not_known_while_a_grid_meter_without_a_counter_is_silent() {
    let mut values: Vec<_> = from("2026-06-09T00:00:00Z").into_iter().map(|time| (time, -200.0)).collect();
    values.retain(|(time, _)| *time <= at("2026-06-10T18:00:00Z") || at("2026-06-11T06:00:00Z") <= *time);
    let site =
        utc_site(&[steady("inv", INVERTER, PRODUCED, "2026-06-09T00:00:00Z", 100.0), power("grid", SensorRole::Grid, values)])
            .await;
    let figures = june(&site).await;
    assert_close(figures.consumed.map(|energy| energy.watt_hours), (3.0 * 96.0 - 48.0) * 50.0);
}

#[tokio::test]
async fn consumption_is_known_within_the_hourly_intervals_of_a_grid_meter() {
    let values = from("2026-06-09T00:00:00Z").into_iter().step_by(4).filter(|time| *time < at("2026-06-12T00:00:00Z"));
    let values: Vec<_> = values.map(|time| (time, 80.0)).collect();
    let grid = Written { sensor: "grid", role: SensorRole::Grid, kind: Kind::IntervalEnergy, quantity: IMPORTED, values };
    let site = utc_site(&[steady("inv", INVERTER, PRODUCED, "2026-06-09T00:00:00Z", 100.0), grid]).await;
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), 72.0 * 80.0 + 288.0 * 100.0);
}

#[tokio::test]
async fn consumption_is_not_known_while_what_stands_in_for_an_ended_counter_of_the_grid_is_silent() {
    let mut powers: Vec<_> = from("2026-06-10T12:00:00Z").into_iter().map(|time| (time, 120.0)).collect();
    powers.retain(|(time, _)| *time <= at("2026-06-10T18:00:00Z") || at("2026-06-11T06:00:00Z") <= *time);
    let mut ended = steady("grid", SensorRole::Grid, IMPORTED, "2026-06-09T00:00:00Z", 30.0);
    ended.values.retain(|(time, _)| *time <= at("2026-06-10T12:00:00Z"));
    let site = utc_site(&[
        steady("inv", INVERTER, PRODUCED, "2026-06-09T00:00:00Z", 100.0),
        ended,
        power("grid", SensorRole::Grid, powers),
    ])
    .await;
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), (3.0 * 96.0 - 48.0) * 130.0);
}

#[tokio::test]
async fn consumption_is_not_known_between_a_counter_of_the_grid_and_the_power_that_follows_another_day() {
    let powers = from("2026-06-11T00:00:00Z").into_iter().map(|time| (time, 120.0)).collect();
    let mut ended = steady("grid", SensorRole::Grid, IMPORTED, "2026-06-09T00:00:00Z", 30.0);
    ended.values.retain(|(time, _)| *time <= at("2026-06-10T12:00:00Z"));
    let series =
        [steady("inv", INVERTER, PRODUCED, "2026-06-09T00:00:00Z", 100.0), ended, power("grid", SensorRole::Grid, powers)];
    let site = utc_site(&series).await;
    let consumed = site.report("gw-1", day(2026, 6, 10)).await.figures.consumed.unwrap();
    assert_close(Some(consumed.watt_hours), 48.0 * 130.0);
    assert_close(june(&site).await.consumed.map(|energy| energy.watt_hours), (3.0 * 96.0 - 48.0) * 130.0);
}
