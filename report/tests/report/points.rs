//! Points: hardware is replaced, the history goes on.

use heliograph_domain::{
    Actor, ArrayId, Binding, CorrectionId, CorrectionKind, InstalledArray, Kind, MetricName, Point, PointId, Quantity, SensorId,
    SensorRole, SeriesKey, TimeWindow, Timestamp, Unit,
};
use heliograph_report::{EnergySource, LocationReport, Scope, customer_summary, location_report};
use heliograph_store::CorrectionNew;

use crate::site::{
    QUARTER, Site, assert_close, at, counter, customer_id, day, gateway, location_id, month, number, power, rising, ticks,
};

const LATER: &str = "2027-06-01T00:00:00Z";

/// Every quarter of an hour of a stretch of time, its end included.
fn quarters(from: &str, until: &str) -> Vec<Timestamp> {
    ticks(TimeWindow::between(at(from), at(until)), QUARTER)
}

async fn point(site: &Site, id: u32, role: SensorRole) -> PointId {
    let id = PointId::parse(&number(id)).unwrap();
    site.store.point_save(Point { id, location: location_id(1), name: "South roof".into(), role }).await.unwrap();
    id
}

async fn bind(site: &Site, point: PointId, id: &str, sensor: &str, from: &str, until: Option<&str>) {
    let window = TimeWindow { from: at(from), until: until.map(at) };
    let binding = Binding { point, gateway: gateway(id), sensor: SensorId::parse(sensor).unwrap(), window };
    site.store.binding_create(binding).await.unwrap();
}

/// The meter behind gw-1 is swapped on 8 June at noon, gateway and meter are
/// replaced by gw-20 on 16 June at noon. Both gateways are of the same site.
///
/// By hand: until the swap 100 Wh a quarter from the 1st, 7.5 days or 720
/// quarters; the old meter read 30 Wh more than its last push when it was taken
/// out. The new one begins at 7 Wh and was read first a quarter later at 107.
async fn replaced() -> Site {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    site.place("gw-20", 1).await;
    let meter = |values| counter("meter", SensorRole::Production, Quantity::EnergyProduced, values);
    let mut first = rising(&quarters("2026-06-01T00:00:00Z", "2026-06-08T11:45:00Z"), 5_000.0, |_| 100.0);
    first.extend(rising(&quarters("2026-06-08T12:15:00Z", "2026-06-20T00:00:00Z"), 107.0, |_| 100.0));
    site.write("gw-1", &[meter(first)]).await;
    let second = rising(&quarters("2026-06-14T00:00:00Z", "2026-07-01T00:00:00Z"), 900_000.0, |_| 50.0);
    let new = counter("m2", SensorRole::Production, Quantity::EnergyProduced, second);
    site.write("gw-20", &[new]).await;
    let swap = CorrectionNew {
        id: CorrectionId::parse(&number(70)).unwrap(),
        series: SeriesKey {
            gateway: gateway("gw-1"),
            sensor: SensorId::parse("meter").unwrap(),
            metric: MetricName::parse("energy-produced-counter").unwrap(),
            unit: Unit::parse("Wh").unwrap(),
        },
        window: TimeWindow { from: at("2026-06-08T12:00:00Z"), until: None },
        kind: CorrectionKind::MeterSwap { last_old: 5_000.0 + (7.0 * 96.0 + 47.0) * 100.0 + 30.0, first_new: 7.0 },
        reason: "meter 4711 swapped".to_owned(),
    };
    site.store.acting_as(Actor::Operator).correction_create(swap).await.unwrap();
    let roof = point(&site, 61, SensorRole::Production).await;
    bind(&site, roof, "gw-1", "meter", "2020-01-01T00:00:00Z", Some("2026-06-16T12:00:00Z")).await;
    bind(&site, roof, "gw-20", "m2", "2026-06-16T12:00:00Z", None).await;
    site
}

/// To the last push before the swap, up to the swap, since it; then the new one.
const JUNE: [f64; 4] = [(7.0 * 96.0 + 47.0) * 100.0, 30.0, 8.0 * 96.0 * 100.0, 14.5 * 96.0 * 50.0];

async fn june(site: &Site) -> LocationReport {
    location_report(&site.store, location_id(1), month(2026, 6), &Scope::everything(), at(LATER)).await.unwrap()
}

#[tokio::test]
async fn a_swapped_meter_and_a_replaced_gateway_keep_the_history() {
    let site = replaced().await;
    let report = june(&site).await;
    // Between the last push of the old gateway's time and the change a counter
    // says nothing, nor before the first push of the new one's: both are at noon.
    let lost = 100.0;
    assert_close(report.figures.produced_wh(), JUNE.iter().sum::<f64>() - lost);
    assert_eq!(report.figures.produced.unwrap().source, EnergySource::Counter);
    let rows: Vec<_> = report.sensors.iter().map(|sensor| (sensor.name.as_str(), sensor.gateway.as_str())).collect();
    assert_eq!(rows, [("South roof", "gw-20")]);
    let days: f64 = report.buckets.iter().filter_map(|bar| bar.produced).map(|energy| energy.watt_hours).sum();
    assert_close(Some(days), JUNE.iter().sum::<f64>() - lost);
    assert!(report.figures.completeness.ratio().unwrap() > 0.999, "{:?}", report.figures.completeness);
    // Without the swap the new meter would begin at what it stood at.
    site.store.correction_revert(CorrectionId::parse(&number(70)).unwrap()).await.unwrap();
    assert_close(june(&site).await.figures.produced_wh(), JUNE.iter().sum::<f64>() - lost - 30.0 + 7.0);
}

#[tokio::test]
async fn a_point_whose_sensors_differ_in_size_has_no_one_rating_while_both_count() {
    let site = replaced().await;
    site.rate("gw-1", "meter", SensorRole::Production, 5_000.0).await;
    site.rate("gw-20", "m2", SensorRole::Production, 10_000.0).await;
    let rating = async |period| {
        let report = location_report(&site.store, location_id(1), period, &Scope::everything(), at(LATER)).await.unwrap();
        assert_eq!(report.sensors.len(), 1);
        report.sensors[0].rated_w
    };
    assert_eq!(rating(day(2026, 6, 5)).await, Some(5_000.0));
    assert_eq!(rating(day(2026, 6, 20)).await, Some(10_000.0));
    assert_eq!(rating(month(2026, 6)).await, None);
    site.rate("gw-20", "m2", SensorRole::Production, 5_000.0).await;
    assert_eq!(rating(month(2026, 6)).await, Some(5_000.0));
}

#[tokio::test]
async fn without_points_sensors_count_by_their_role() {
    let site = replaced().await;
    site.store.point_remove(PointId::parse(&number(61)).unwrap()).await.unwrap();
    let both = JUNE[0] + JUNE[1] + 11.5 * 96.0 * 100.0 + 17.0 * 96.0 * 50.0;
    assert_close(june(&site).await.figures.produced_wh(), both);
}

#[tokio::test]
async fn a_customer_whose_commission_starts_midway_reads_the_point_from_there() {
    let site = replaced().await;
    site.customer(1).await;
    site.give(1, "gw-1", at("2026-06-10T00:00:00Z"), None).await;
    site.give(1, "gw-20", at("2026-06-10T00:00:00Z"), None).await;
    let summary = customer_summary(&site.store, customer_id(1), month(2026, 6), at(LATER)).await.unwrap();
    let expected = 6.5 * 96.0 * 100.0 - 100.0 + 14.5 * 96.0 * 50.0;
    assert_close(summary.totals.produced_wh(), expected);
    let scope = Scope::of_customer(&site.store, customer_id(1)).await.unwrap();
    let report = location_report(&site.store, location_id(1), month(2026, 6), &scope, at(LATER)).await.unwrap();
    assert_close(report.figures.produced_wh(), expected);
}

#[tokio::test]
async fn a_period_says_the_least_exact_source_of_the_sensors_of_a_point() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    site.place("gw-20", 1).await;
    let times = quarters("2026-06-01T00:00:00Z", "2026-06-03T00:00:00Z");
    let gauge = power("inv", SensorRole::Inverter, times.iter().map(|time| (*time, 400.0)).collect());
    let counting = counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 110.0));
    site.write("gw-1", &[gauge]).await;
    site.write("gw-20", &[counting]).await;
    let roof = point(&site, 61, SensorRole::Inverter).await;
    bind(&site, roof, "gw-1", "inv", "2026-06-01T00:00:00Z", Some("2026-06-02T00:00:00Z")).await;
    bind(&site, roof, "gw-20", "inv", "2026-06-02T00:00:00Z", None).await;
    let report = june(&site).await;
    // The last quarter before the change ends with a reading of the other.
    assert_close(report.figures.produced_wh(), 95.0 * 100.0 + 96.0 * 110.0);
    assert_eq!(report.figures.produced.unwrap().source, EnergySource::Power);
    let second = location_report(&site.store, location_id(1), day(2026, 6, 2), &Scope::everything(), at(LATER)).await.unwrap();
    assert_eq!(second.figures.produced.unwrap().source, EnergySource::Counter);
    assert_eq!(report.figures.peak.map(|peak| peak.watts), Some(400.0));
}

#[tokio::test]
async fn roles_without_a_point_stay_as_they_are_and_what_nobody_bound_counts_nowhere() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    let times = quarters("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z");
    let meter = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 0.0, |_| rise));
    site.write(
        "gw-1",
        &[
            meter("inv-1", SensorRole::Inverter, Quantity::EnergyProduced, 100.0),
            meter("inv-2", SensorRole::Inverter, Quantity::EnergyProduced, 70.0),
            meter("grid", SensorRole::Grid, Quantity::EnergyImported, 30.0),
        ],
    )
    .await;
    let roof = point(&site, 61, SensorRole::Inverter).await;
    bind(&site, roof, "gw-1", "inv-1", "2026-01-01T00:00:00Z", None).await;
    let report = june(&site).await;
    assert_close(report.figures.produced_wh(), 96.0 * 100.0);
    assert_close(report.figures.imported.map(|energy| energy.watt_hours), 96.0 * 30.0);
    assert_close(report.figures.consumed.map(|energy| energy.watt_hours), 96.0 * 130.0);
}

#[tokio::test]
async fn the_yield_is_measured_by_what_was_installed() {
    let site = Site::new();
    site.location_at(1, "UTC", None, Some(99.0)).await;
    site.place("gw-1", 1).await;
    let times = quarters("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z");
    let inverter = counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 100.0));
    assert_eq!(inverter.kind, Kind::Counter);
    site.write("gw-1", &[inverter]).await;
    for (id, kwp, from) in [(81, 4.0, "2020-01-01T00:00:00Z"), (82, 6.0, "2026-06-16T00:00:00Z")] {
        let (id, window) = (ArrayId::parse(&number(id)).unwrap(), TimeWindow { from: at(from), until: None });
        let array = InstalledArray { id, location: location_id(1), kwp, tilt: 30.0, azimuth: 180.0, window };
        site.store.array_save(array).await.unwrap();
    }
    assert_close(june(&site).await.figures.specific_yield_kwh_per_kwp, 30.0 * 9.6 / 7.0);
}
