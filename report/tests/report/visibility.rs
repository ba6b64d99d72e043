//! What a customer sees, and that nothing else shows through.

use heliograph_domain::{Quantity, SensorRole, TimeWindow, Timestamp};
use heliograph_report::export::{Export, Format};
use heliograph_report::{ReportError, Scope, fleet_overview, gateway_report, location_report};

use crate::site::{
    QUARTER, Site, assert_close, at, close, counter, customer_id, day, gateway, location_id, month, power, rising, ticks,
};

const PRODUCED: Quantity = Quantity::EnergyProduced;

/// Loud outside of the commission, quiet inside: what leaks is heard.
async fn site(from: Timestamp, until: Option<Timestamp>) -> Site {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.location(2, "Europe/Madrid").await;
    for (id, location) in [("gw-1", 1), ("gw-2x", 2)] {
        site.place(id, location).await;
    }
    site.customer(1).await;
    site.customer(2).await;
    site.give(1, "gw-1", from, until).await;
    let quiet = TimeWindow { from, until };
    let times = ticks(TimeWindow::between(at("2026-06-01T00:00:00Z"), at("2026-06-20T00:00:00Z")), QUARTER);
    let inside = |time: Timestamp| quiet.contains(time);
    let counts = rising(&times, 0.0, |k| if inside(times[k]) && inside(times[k + 1]) { 10.0 } else { 100_000.0 });
    let powers = times.iter().map(|time| (*time, if inside(*time) { 40.0 } else { 400_000.0 })).collect();
    let early = vec![(at("2026-06-01T00:00:00Z"), 1.0), (at("2026-06-01T00:15:00Z"), 2.0)];
    let series = [
        counter("inv", SensorRole::Inverter, PRODUCED, counts),
        power("inv", SensorRole::Inverter, powers),
        counter("removed", SensorRole::Load, Quantity::EnergyConsumed, early),
    ];
    site.write("gw-1", &series).await;
    site.write("gw-2x", &series).await;
    site
}

async fn scope(site: &Site, customer: u32) -> Scope {
    Scope::of_customer(&site.store, customer_id(customer)).await.unwrap()
}

#[tokio::test]
async fn a_window_that_cuts_a_quarter_lets_nothing_in_from_outside() {
    // 14:07 and 16:37 local time, between readings and inside of quarters.
    let (from, until) = (at("2026-06-10T12:07:00Z"), at("2026-06-12T14:37:00Z"));
    let site = site(from, Some(until)).await;
    let now = at("2026-06-12T14:36:00Z");
    let customer = scope(&site, 1).await;
    // Readings from 12:15 on the 10th to 14:30 on the 12th.
    for (period, quarters) in
        [(day(2026, 6, 10), 39.0), (day(2026, 6, 11), 96.0), (day(2026, 6, 12), 66.0), (month(2026, 6), 201.0)]
    {
        let report = gateway_report(&site.store, &gateway("gw-1"), period, &customer, now).await.unwrap();
        assert_close(report.figures.produced_wh(), quarters * 10.0);
        assert_close(report.figures.peak.map(|peak| peak.watts), 40.0);
        let sum: f64 = report.buckets.iter().filter_map(|bucket| bucket.produced).map(|energy| energy.watt_hours).sum();
        assert_close(Some(sum), quarters * 10.0);
        let loudest = report.buckets.iter().filter_map(|bucket| bucket.power_w).fold(0.0, f64::max);
        assert_close(Some(loudest), 40.0);
        assert_eq!(report.sensors.len(), 1, "a sensor from before does not show");
        assert!(report.sensors[0].latest.is_empty(), "the latest readings are from after the window");
        assert_eq!(report.last_seen, None);
        let hours: Option<f64> =
            report.hours.iter().filter_map(|hour| hour.produced).map(|energy| energy.watt_hours).reduce(|a, b| a + b);
        assert!(hours.is_none_or(|sum| close(sum, quarters * 10.0)), "{hours:?}");
        let export = Export::of_gateway(&report, report.window.end());
        for format in [Format::Csv, Format::Json] {
            let text = String::from_utf8(export.file(format).unwrap()).unwrap();
            assert!(!text.contains("100000") && !text.contains("removed"), "{format:?}");
        }
        assert!(report.window.from >= from && report.window.end() <= until);
    }
    let before = gateway_report(&site.store, &gateway("gw-1"), day(2026, 6, 9), &customer, now).await.unwrap();
    assert_eq!((before.figures.produced, before.window.is_empty(), before.sensors.len()), (None, true, 0));
    assert_eq!(before.figures.completeness.expected_ms, 0);
    // The day after is not compared with the half day that may be seen before it.
    let second = gateway_report(&site.store, &gateway("gw-1"), day(2026, 6, 11), &customer, now).await.unwrap();
    assert_close(second.previous.as_ref().and_then(|figures| figures.produced_wh()), 390.0);
    assert_eq!(second.change(), None);
    let first = gateway_report(&site.store, &gateway("gw-1"), day(2026, 6, 10), &customer, now).await.unwrap();
    assert_eq!((first.previous, first.previous_to_date), (None, None));
    assert_eq!(first.figures.completeness.expected_ms, u64::try_from(at("2026-06-10T22:00:00Z").millis_since(from)).unwrap());
}

#[tokio::test]
async fn a_customer_finds_neither_anothers_gateway_nor_its_location() {
    let site = site(at("2026-06-10T00:00:00Z"), None).await;
    let now = at("2026-06-20T00:10:00Z");
    let (one, two) = (scope(&site, 1).await, scope(&site, 2).await);
    let period = day(2026, 6, 15);
    assert!(gateway_report(&site.store, &gateway("gw-1"), period, &one, now).await.is_ok());
    assert!(location_report(&site.store, location_id(1), period, &one, now).await.is_ok());
    for (scope, id, location) in [(&one, "gw-2x", 2), (&two, "gw-1", 1), (&two, "gw-2x", 2), (&one, "gw-none", 77)] {
        let missing = gateway_report(&site.store, &gateway(id), period, scope, now).await;
        assert!(matches!(missing, Err(ReportError::NotFound)), "{id}");
        let missing = location_report(&site.store, location_id(location), period, scope, now).await;
        assert!(matches!(missing, Err(ReportError::NotFound)), "location {location}");
    }
    let everything = Scope::everything();
    let missing = gateway_report(&site.store, &gateway("gw-none"), period, &everything, now).await;
    assert!(matches!(missing, Err(ReportError::NotFound)));
    assert!(location_report(&site.store, location_id(2), period, &everything, now).await.is_ok());
}

#[tokio::test]
async fn a_commission_that_has_ended_or_not_begun_shows_nothing() {
    let site = site(at("2026-06-10T00:00:00Z"), Some(at("2026-06-12T00:00:00Z"))).await;
    let customer = scope(&site, 1).await;
    for (now, found) in [
        ("2026-06-09T23:59:59Z", false),
        ("2026-06-10T00:00:00Z", true),
        ("2026-06-11T23:59:59Z", true),
        ("2026-06-12T00:00:00Z", false),
    ] {
        let report = gateway_report(&site.store, &gateway("gw-1"), day(2026, 6, 11), &customer, at(now)).await;
        assert_eq!(report.is_ok(), found, "{now}");
        let fleet = fleet_overview(&site.store, &customer, at(now)).await.unwrap();
        assert_eq!(fleet.gateways.len(), usize::from(found), "{now}");
    }
}

#[tokio::test]
async fn a_location_shows_a_customer_its_own_gateways_only() {
    let site = Site::new();
    site.location_at(1, "UTC", None, Some(10.0)).await;
    site.place("gw-1", 1).await;
    site.place("gw-2x", 1).await;
    site.customer(1).await;
    site.give(1, "gw-1", at("2026-01-01T00:00:00Z"), None).await;
    let times = ticks(TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-11T00:00:00Z")), QUARTER);
    for (id, rise) in [("gw-1", 10.0), ("gw-2x", 500.0)] {
        site.write(id, &[counter("inv", SensorRole::Inverter, PRODUCED, rising(&times, 0.0, |_| rise))]).await;
    }
    let now = at("2026-06-11T00:10:00Z");
    let own = location_report(&site.store, location_id(1), day(2026, 6, 10), &scope(&site, 1).await, now).await.unwrap();
    assert_close(own.figures.produced_wh(), 960.0);
    assert_eq!(own.gateways.len(), 1);
    assert_eq!(own.figures.specific_yield_kwh_per_kwp, None, "what is installed includes another's");
    let all = location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
    assert_close(all.figures.produced_wh(), 96.0 * 510.0);
}
