//! What a plant gave beside what its light would have given.

use heliograph_domain::{ArrayId, InstalledArray, Kind, Quantity, SensorRole, TimeWindow, Timestamp};
use heliograph_report::{LocationReport, PerformanceKind, Scope, location_report};

use crate::site::{
    MINUTE, QUARTER, Site, Written, assert_close, at, counter, customer_id, day, location_id, number, rising, ticks,
};

const MADRID: (f64, f64) = (40.4168, -3.7038);

fn the_day() -> TimeWindow {
    TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-11T00:00:00Z"))
}

async fn site(position: Option<(f64, f64)>) -> Site {
    let site = Site::new();
    site.location_at(1, "UTC", position, Some(5.0)).await;
    site.place("gw-1", 1).await;
    site
}

async fn array(site: &Site, id: u32, kwp: f64, tilt: f64, from: &str) {
    let (id, window) = (ArrayId::parse(&number(id)).unwrap(), TimeWindow { from: at(from), until: None });
    site.store.array_save(InstalledArray { id, location: location_id(1), kwp, tilt, azimuth: 180.0, window }).await.unwrap();
}

async fn report(site: &Site, scope: &Scope) -> LocationReport {
    location_report(&site.store, location_id(1), day(2026, 6, 10), scope, at("2026-07-01T00:00:00Z")).await.unwrap()
}

fn inverter(times: &[Timestamp], rise: impl Fn(usize) -> f64) -> Written {
    counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(times, 0.0, rise))
}

fn irradiance(sensor: &'static str, values: Vec<(Timestamp, f64)>) -> Written {
    Written { sensor, role: SensorRole::Weather, kind: Kind::Gauge, quantity: Quantity::IrradiancePlane, values }
}

/// Light in W/m² at the k-th quarter: dim at both ends of the day.
fn light(k: usize) -> f64 {
    if (24..72).contains(&k) { 400.0 + 10.0 * k as f64 } else { 8.0 }
}

/// What the inverter gives in it, Wh: a fifth of it in the dim.
fn given(k: usize) -> f64 {
    if (24..72).contains(&k) { 100.0 + 3.0 * k as f64 } else { 20.0 }
}

#[tokio::test]
async fn the_performance_ratio_counts_quarters_of_which_light_and_production_are_known() {
    let site = site(None).await;
    let times = ticks(the_day(), QUARTER);
    // Of the quarters from 10:00 on for an hour no light is known, and two hours from
    // 14:00 on were caught up by the counter, nobody knows when.
    let dark = |k: usize| (40..44).contains(&k);
    let silent = |k: usize| (57..64).contains(&k);
    let fine: Vec<(Timestamp, f64)> = ticks(the_day(), 5 * MINUTE)
        .into_iter()
        .enumerate()
        .filter(|(tick, _)| !dark(tick / 3))
        .map(|(tick, time)| (time, light(tick / 3)))
        .collect();
    let mut produced = inverter(&times, given);
    let mut k = 0;
    produced.values.retain(|_| {
        k += 1;
        !silent(k - 1)
    });
    site.write("gw-1", &[produced, irradiance("sky", fine.clone())]).await;
    let got = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_eq!(got.kind, PerformanceKind::Ratio);
    // By the definition: mean light of each quarter from its three ticks and the next one.
    let mean = |k: usize| (light(k) * 2.0 + f64::midpoint(light(k), light(k + 1))) / 3.0;
    let counts = |k: &usize| mean(*k) >= 20.0 && !dark(*k) && !dark(k + 1) && !(56..64).contains(k);
    let (produced, reference) =
        (0..96).filter(counts).fold((0.0, 0.0), |(wh, sum), k| (wh + given(k), sum + 5.0 * mean(k) / 4.0));
    assert!((got.value / (produced / reference) - 1.0).abs() < 0.002, "{} is not {}", got.value, produced / reference);
    let ratio = got.completeness.ratio().unwrap();
    assert!((0.7..0.95).contains(&ratio), "{ratio}");
}

#[tokio::test]
async fn the_ratio_of_a_steady_day_is_exact_and_several_light_sensors_are_taken_together() {
    let site = site(None).await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, watts: f64| irradiance(sensor, times.iter().map(|time| (*time, watts)).collect());
    site.write("gw-1", &[inverter(&times, |_| 5_000.0 * 0.8 / 4.0 * 0.85), steady("a", 790.0), steady("b", 810.0)]).await;
    let got = report(&site, &Scope::everything()).await;
    assert_close(got.performance.map(|performance| performance.value), 0.85);
    assert_close(got.performance.unwrap().completeness.ratio(), 1.0);
    // The gateway behind which all of it is says the same.
    let gateway = site.report("gw-1", day(2026, 6, 10)).await;
    assert_close(gateway.performance.map(|performance| performance.value), 0.85);
}

#[tokio::test]
async fn an_inverter_that_is_silent_takes_its_quarters_out() {
    let site = site(None).await;
    let times = ticks(the_day(), QUARTER);
    let half = ticks(TimeWindow::between(the_day().from, at("2026-06-10T12:00:00Z")), QUARTER);
    let sky = irradiance("sky", times.iter().map(|time| (*time, 800.0)).collect());
    let other = counter("inv-2", SensorRole::Inverter, Quantity::EnergyProduced, rising(&half, 0.0, |_| 300.0));
    site.write("gw-1", &[inverter(&times, |_| 500.0), other, sky]).await;
    let got = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_close(Some(got.value), 800.0 / (5_000.0 * 0.8 / 4.0));
    assert_close(got.completeness.ratio(), 0.5);
}

#[tokio::test]
async fn without_measured_light_it_is_a_clear_sky_index() {
    let site = site(Some(MADRID)).await;
    let times = ticks(the_day(), QUARTER);
    let write = async |factor: f64| {
        let day = |k: usize| if (20..76).contains(&k) { factor * 100.0 } else { 0.0 };
        site.write("gw-1", &[inverter(&times, day)]).await;
    };
    write(1.0).await;
    assert_eq!(report(&site, &Scope::everything()).await.performance, None, "nothing is known of how modules stand");
    array(&site, 81, 5.0, 30.0, "2020-01-01T00:00:00Z").await;
    let once = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_eq!(once.kind, PerformanceKind::ClearSkyIndex);
    // 5.6 kWh of 5 kWp on a June day of some 8 kWh/m².
    assert!((0.10..0.18).contains(&once.value), "{}", once.value);
    write(2.0).await;
    let twice = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_close(Some(twice.value), 2.0 * once.value);
    // As much again stands there from noon on: the light is the same, what it gives is more.
    array(&site, 82, 5.0, 30.0, "2026-06-10T12:00:00Z").await;
    let more = report(&site, &Scope::everything()).await.performance.unwrap();
    assert!((0.6..0.75).contains(&(more.value / twice.value)), "{} and {}", more.value, twice.value);
}

#[tokio::test]
async fn nights_are_not_missing_whatever_is_heard_in_them() {
    let site = site(Some(MADRID)).await;
    array(&site, 81, 5.0, 30.0, "2020-01-01T00:00:00Z").await;
    let times = ticks(the_day(), QUARTER);
    let produced = rising(&times, 0.0, |k| if (20..76).contains(&k) { 100.0 } else { 0.0 });
    site.write("gw-1", &[counter("meter", SensorRole::Production, Quantity::EnergyProduced, produced)]).await;
    let index = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_eq!((index.kind, index.completeness.ratio()), (PerformanceKind::ClearSkyIndex, Some(1.0)));
    // Nor is the light of a sensor that sleeps, here one that an inverter has.
    let by_day: Vec<(Timestamp, f64)> =
        times.iter().enumerate().filter(|(k, _)| (18..80).contains(k)).map(|(_, time)| (*time, 500.0)).collect();
    let own = Written { role: SensorRole::Inverter, ..irradiance("inv", by_day) };
    site.write("gw-1", &[own]).await;
    let ratio = report(&site, &Scope::everything()).await.performance.unwrap();
    assert_eq!(ratio.kind, PerformanceKind::Ratio);
    assert!(ratio.completeness.ratio() >= Some(0.95), "{:?}", ratio.completeness);
    let gateway = site.report("gw-1", day(2026, 6, 10)).await;
    assert_eq!(gateway.performance.map(|performance| performance.kind), Some(PerformanceKind::Ratio));
}

#[tokio::test]
async fn a_gateway_beside_others_that_produce_is_not_judged() {
    let site = site(None).await;
    site.place("gw-2x", 1).await;
    let times = ticks(the_day(), QUARTER);
    let sky = irradiance("sky", times.iter().map(|time| (*time, 800.0)).collect());
    site.write("gw-1", &[inverter(&times, |_| 500.0), sky]).await;
    site.rate("gw-1", "inv", SensorRole::Inverter, 4_000.0).await;
    assert_close(site.report("gw-1", day(2026, 6, 10)).await.performance.map(|performance| performance.value), 0.5);
    site.write("gw-2x", &[inverter(&times, |_| 500.0)]).await;
    assert_eq!(site.report("gw-1", day(2026, 6, 10)).await.performance, None);
}

#[tokio::test]
async fn whoever_sees_a_part_of_a_location_is_told_no_figure_of_all_of_it() {
    let site = site(None).await;
    site.place("gw-2x", 1).await;
    let times = ticks(the_day(), QUARTER);
    let sky = irradiance("sky", times.iter().map(|time| (*time, 800.0)).collect());
    site.write("gw-1", &[inverter(&times, |_| 500.0), sky]).await;
    site.write("gw-2x", &[inverter(&times, |_| 500.0)]).await;
    assert_close(report(&site, &Scope::everything()).await.performance.map(|performance| performance.value), 1.0);
    site.customer(1).await;
    site.give(1, "gw-1", at("2026-01-01T00:00:00Z"), None).await;
    let scope = Scope::of_customer(&site.store, customer_id(1)).await.unwrap();
    assert_eq!(report(&site, &scope).await.performance, None);
}
