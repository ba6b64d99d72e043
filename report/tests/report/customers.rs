//! Summaries for mails.

use heliograph_domain::{Quantity, SensorRole, TimeWindow};
use heliograph_report::{ReportError, customer_summary};
use jiff::civil;

use crate::site::{QUARTER, Site, assert_close, at, counter, customer_id, day, gateway, location_id, month, rising, ticks};

const PRODUCED: Quantity = Quantity::EnergyProduced;

/// Madrid (UTC+2 in June) and Kolkata (UTC+5:30).
async fn two_zones() -> Site {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.location(2, "Asia/Kolkata").await;
    site.place("gw-1", 1).await;
    site.place("gw-2x", 2).await;
    site.customer(1).await;
    let window = TimeWindow::between(at("2026-05-31T00:00:00Z"), at("2026-06-30T22:00:00Z"));
    let times = ticks(window, QUARTER);
    let best = (at("2026-06-16T22:00:00Z"), at("2026-06-17T22:00:00Z"));
    let rise = |k: usize| if (best.0..best.1).contains(&times[k]) { 20.0 } else { 10.0 };
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, PRODUCED, rising(&times, 0.0, rise))]).await;
    site.write("gw-2x", &[counter("inv", SensorRole::Inverter, PRODUCED, rising(&times, 0.0, |_| 1.0))]).await;
    site
}

#[tokio::test]
async fn totals_are_the_sum_of_all_gateways_each_in_its_own_calendar() {
    let site = two_zones().await;
    site.give(1, "gw-1", at("2026-01-01T00:00:00Z"), None).await;
    site.give(1, "gw-2x", at("2026-01-01T00:00:00Z"), None).await;
    let now = at("2026-07-01T06:00:00Z");
    let summary = customer_summary(&site.store, customer_id(1), month(2026, 6), now).await.unwrap();
    // June of Kolkata ends at 18:30Z on the 30th: both have 30 whole days.
    assert_close(summary.totals.produced_wh(), 30.0 * 96.0 * 11.0 + 96.0 * 10.0);
    let lines: f64 = summary.gateways.iter().filter_map(|report| report.figures.produced_wh()).sum();
    assert_close(summary.totals.produced_wh(), lines);
    let bars: f64 = summary.buckets.iter().filter_map(|bar| bar.produced).map(|energy| energy.watt_hours).sum();
    assert_close(summary.totals.produced_wh(), bars);
    assert_eq!(summary.buckets.len(), 30);
    assert_eq!(summary.best_day.map(|(date, _)| date), Some(civil::date(2026, 6, 17)));
    assert_close(summary.best_day.map(|(_, wh)| wh), 96.0 * 21.0);
    assert_eq!(summary.zone.name(), "Europe/Madrid");
}

#[tokio::test]
async fn a_commission_has_its_part_up_to_its_end_and_nothing_once_it_ended() {
    let site = two_zones().await;
    let end = at("2026-06-10T22:00:00Z");
    site.give(1, "gw-1", at("2026-06-05T22:00:00Z"), Some(end)).await;
    let before = customer_summary(&site.store, customer_id(1), month(2026, 6), end.plus_millis(-1)).await.unwrap();
    // The last reading inside is a quarter before the end.
    assert_close(before.totals.produced_wh(), (5.0 * 96.0 - 1.0) * 10.0);
    assert_eq!(before.gateways.len(), 1);
    assert_close(before.totals.produced_wh(), before.gateways[0].figures.produced_wh().unwrap());
    assert_eq!(before.change(), None, "nothing is known of the month before");
    let after = customer_summary(&site.store, customer_id(1), month(2026, 6), end).await.unwrap();
    assert_eq!((after.gateways.len(), after.totals.produced, after.best_day), (0, None, None));
    assert_eq!(after.buckets.len(), 30);
}

/// What a production meter measures with an inverter behind it counts once, and what the
/// inverter gives at another site from then on as well.
#[tokio::test]
async fn a_gateway_that_moves_counts_where_it_stood() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.location(2, "UTC").await;
    site.place("gw-1", 1).await;
    site.place("gw-2x", 1).await;
    site.customer(1).await;
    let times = ticks(TimeWindow::between(at("2026-06-01T00:00:00Z"), at("2026-07-01T00:00:00Z")), QUARTER);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, PRODUCED, rising(&times, 0.0, |_| 100.0))]).await;
    site.write("gw-2x", &[counter("meter", SensorRole::Production, PRODUCED, rising(&times, 0.0, |_| 97.0))]).await;
    let moved = at("2026-06-15T00:00:00Z");
    site.store.gateway_move(&gateway("gw-1"), location_id(2), moved).await.unwrap();
    for id in ["gw-1", "gw-2x"] {
        site.give(1, id, at("2026-01-01T00:00:00Z"), None).await;
    }
    let summary = customer_summary(&site.store, customer_id(1), month(2026, 6), at("2026-07-02T00:00:00Z")).await.unwrap();
    assert_close(summary.totals.produced_wh(), 30.0 * 96.0 * 97.0 + 16.0 * 96.0 * 100.0);
    assert_eq!(summary.gateways.len(), 2, "each has one report");
}

#[tokio::test]
async fn two_customers_share_a_day_without_sharing_energy() {
    let site = two_zones().await;
    site.customer(2).await;
    let handover = at("2026-06-10T10:00:00Z");
    site.give(1, "gw-1", at("2026-01-01T00:00:00Z"), Some(handover)).await;
    site.give(2, "gw-1", handover, None).await;
    let of = async |customer, now| {
        let summary = customer_summary(&site.store, customer_id(customer), day(2026, 6, 10), now).await.unwrap();
        summary.totals.produced_wh().unwrap()
    };
    // The quarter that leads to the reading at the handover belongs to nobody.
    let (one, two) = (of(1, handover.plus_millis(-1)).await, of(2, at("2026-06-11T06:00:00Z")).await);
    assert_close(Some(one), 47.0 * 10.0);
    assert_close(Some(two), 48.0 * 10.0);
}

#[tokio::test]
async fn a_customer_that_does_not_exist_has_no_summary() {
    let site = two_zones().await;
    let now = at("2026-07-01T06:00:00Z");
    let missing = customer_summary(&site.store, customer_id(9), month(2026, 6), now).await;
    assert!(matches!(missing, Err(ReportError::NotFound)));
}
