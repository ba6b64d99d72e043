//! What was expected of a location, beside what it gave.

use heliograph_domain::{ArrayId, InstalledArray, Quantity, SensorRole, TimeWindow, Timestamp, YieldTargets, Zone};
use heliograph_report::export::{Export, Format};
use heliograph_report::{ExpectedOfAll, ExpectedYield, LocationReport, Scope, customer_summary, location_report};
use serde_json::Value;

use crate::site::{QUARTER, Site, assert_close, at, counter, customer_id, day, location_id, month, number, rising, ticks};

/// A plant in Madrid that gives 1 kWh in each quarter of an hour from the 11th of October
/// to the end of the 30th; expected are 3,100 kWh in October.
async fn site() -> Site {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.place("gw-1", 1).await;
    let days = TimeWindow::between(at("2026-10-10T22:00:00Z"), at("2026-10-30T23:00:00Z"));
    let values = rising(&ticks(days, QUARTER), 0.0, |_| 1_000.0);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    site.store.target_save(YieldTargets::new(location_id(1), [3_100.0; 12], None).unwrap()).await.unwrap();
    site
}

async fn october(site: &Site, now: Timestamp) -> LocationReport {
    location_report(&site.store, location_id(1), month(2026, 10), &Scope::everything(), now).await.unwrap()
}

#[tokio::test]
async fn a_month_under_way_is_compared_by_its_days_since_the_plant_was_commissioned() {
    let site = site().await;
    // The 25th, on which clocks change, is the 15th day of the plant.
    let expected = october(&site, at("2026-10-26T11:00:00Z")).await.expected.unwrap();
    assert_close(Some(expected.whole_wh), 3_100_000.0);
    assert_eq!((expected.days, expected.is_part), (15, true));
    assert_close(Some(expected.due_wh), 1_500_000.0);
    // 14 days of 96 quarters and one of 100.
    assert_close(expected.produced_wh, (14.0 * 96.0 + 100.0) * 1_000.0);
    assert_close(expected.ratio(), 1_444.0 / 1_500.0);
    assert!(expected.known.ratio().is_some_and(|known| known > 0.99), "{expected:?}");
}

#[tokio::test]
async fn where_the_plant_was_silent_it_says_how_much_was_measured() {
    let site = site().await;
    let expected = october(&site, at("2026-11-05T00:00:00Z")).await.expected.unwrap();
    assert_eq!((expected.days, expected.is_part), (21, true), "the days before it was commissioned are none of it");
    assert_close(Some(expected.due_wh), 2_100_000.0);
    let known = expected.known.ratio().unwrap();
    assert!((0.9..0.98).contains(&known), "the last day is missing: {known}");
}

#[tokio::test]
async fn a_day_that_goes_on_is_not_compared() {
    let site = site().await;
    let scope = Scope::everything();
    let report =
        location_report(&site.store, location_id(1), day(2026, 10, 20), &scope, at("2026-10-20T15:00:00Z")).await.unwrap();
    let expected = report.expected.unwrap();
    assert_close(Some(expected.whole_wh), 100_000.0);
    assert_eq!((expected.ratio(), expected.days), (None, 0));
    assert!(report.expected_bars_wh.iter().all(Option::is_none), "targets say nothing of quarters of an hour");
}

#[tokio::test]
async fn what_is_expected_follows_the_arrays() {
    let site = site().await;
    let zone = Zone::parse("Europe/Madrid").unwrap();
    let array = |id: u32, kwp: f64, from: &str| InstalledArray {
        id: ArrayId::parse(&number(id)).unwrap(),
        location: location_id(1),
        kwp,
        tilt: 30.0,
        azimuth: 180.0,
        window: TimeWindow { from: zone.start_of_day(from.parse().unwrap()), until: None },
    };
    site.store.array_save(array(1, 10.0, "2026-10-01")).await.unwrap();
    site.store.array_save(array(2, 10.0, "2026-10-17")).await.unwrap();
    site.store.target_save(YieldTargets::new(location_id(1), [3_100.0; 12], Some(20.0)).unwrap()).await.unwrap();
    let report = october(&site, at("2026-11-05T00:00:00Z")).await;
    assert_close(report.expected.map(|expected| expected.whole_wh), 16.0 * 50_000.0 + 15.0 * 100_000.0);
    let bars: Vec<f64> = report.expected_bars_wh.iter().flatten().copied().collect();
    assert_eq!((bars.len(), bars[15].round(), bars[16].round()), (31, 50_000.0, 100_000.0));
}

#[tokio::test]
async fn files_say_what_was_expected() {
    let site = site().await;
    let now = at("2026-10-26T11:00:00Z");
    let report = october(&site, now).await;
    let export = Export::of_location(&report, now);
    let object: Value = serde_json::from_slice(&export.file(Format::Json).unwrap()).unwrap();
    let figure = |name: &str| object["figures"][name].as_f64();
    assert_eq!(figure("expected_wh"), Some(3_100_000.0));
    assert_eq!((figure("expected_due_days"), figure("expected_due_wh")), (Some(15.0), Some(1_500_000.0)));
    assert_eq!((figure("expected_due_produced_wh"), figure("expected_ratio")), (Some(1_444_000.0), Some(0.9627)));
    assert_eq!(object["bars"][3]["expected_wh"].as_f64(), Some(100_000.0));
    let csv = String::from_utf8(export.file(Format::Csv).unwrap()).unwrap();
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().ends_with(",expected_wh"));
    assert!(lines.next().unwrap().ends_with(",100000.000"));

    site.store.target_remove(location_id(1)).await.unwrap();
    let report = october(&site, now).await;
    assert_eq!((report.expected, report.expected_bars_wh.len()), (None, 0));
    let object: Value = serde_json::from_slice(&Export::of_location(&report, now).file(Format::Json).unwrap()).unwrap();
    assert!(object["figures"]["expected_ratio"].is_null() && object["bars"][3]["expected_wh"].is_null());
}

#[tokio::test]
async fn of_all_that_a_customer_owns_it_is_known_where_each_location_has_one() {
    let site = site().await;
    site.location(2, "Europe/Madrid").await;
    site.place("gw-2", 2).await;
    let times = ticks(TimeWindow::between(at("2026-10-10T22:00:00Z"), at("2026-10-30T23:00:00Z")), QUARTER);
    site.write("gw-2", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 500.0))]).await;
    site.customer(1).await;
    for gateway in ["gw-1", "gw-2"] {
        site.give(1, gateway, at("2026-10-20T22:00:00Z"), None).await;
    }
    let expected = async || {
        customer_summary(&site.store, customer_id(1), month(2026, 10), at("2026-10-29T00:00:00Z")).await.unwrap().expected
    };
    assert_eq!(expected().await, ExpectedOfAll::Unknown);
    site.store.target_save(YieldTargets::new(location_id(2), [1_550.0; 12], None).unwrap()).await.unwrap();
    let ExpectedOfAll::Known(ExpectedYield { due_wh, days, produced_wh, .. }) = expected().await else { panic!("each has one") };
    // From the 21st on, when it became theirs, to the 28th, of both.
    assert_eq!(days, 8);
    assert_close(Some(due_wh), 8.0 * 150_000.0);
    assert!(produced_wh.is_some_and(|wh| (1_150_000.0..1_165_000.0).contains(&wh)), "{produced_wh:?}");
    for location in [1, 2] {
        site.store.target_remove(location_id(location)).await.unwrap();
    }
    assert_eq!(expected().await, ExpectedOfAll::Unset);
}
