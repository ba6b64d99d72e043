//! Days as the location's calendar has them.

use heliograph_domain::{Period, PeriodKind, Quantity, SensorRole, TimeWindow, Zone};
use jiff::civil;

use crate::site::{HOUR, QUARTER, Site, assert_close, at, counter, rising, ticks};

async fn check(zone: &str, date: civil::Date, hours: i64) {
    let site = Site::new();
    site.location(1, zone).await;
    site.place("gw-1", 1).await;
    let period = Period::around(PeriodKind::Day, date);
    let local = period.window(&Zone::parse(zone).unwrap());
    assert_eq!(local.end().millis_since(local.from), hours * HOUR, "{zone}");
    let around = TimeWindow::between(local.from.plus_millis(-6 * HOUR), local.end().plus_millis(6 * HOUR));
    let times = ticks(around, QUARTER);
    let rise = |k: usize| 5.0 + (k % 11) as f64;
    let values = rising(&times, 1_000.0, rise);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    let report = site.report("gw-1", period).await;
    let expected: f64 = (24..24 + usize::try_from(hours * 4).unwrap()).map(rise).sum();
    assert_close(report.figures.produced_wh(), expected);
    assert_eq!(report.buckets.len(), usize::try_from(hours * 4).unwrap());
    let sum: f64 = report.buckets.iter().filter_map(|bucket| bucket.produced).map(|energy| energy.watt_hours).sum();
    assert_close(Some(sum), expected);
    assert_eq!(report.figures.completeness.expected_ms, u64::try_from(hours * HOUR).unwrap());
    assert_close(report.figures.completeness.ratio(), 1.0);
}

#[tokio::test]
async fn days_of_23_24_and_25_hours_hold_all_their_quarters() {
    check("Europe/Madrid", civil::date(2026, 3, 29), 23).await;
    check("Europe/Madrid", civil::date(2026, 10, 25), 25).await;
    check("Europe/Madrid", civil::date(2026, 6, 1), 24).await;
}

#[tokio::test]
async fn zones_off_the_hour_begin_their_days_on_a_quarter() {
    check("Asia/Kolkata", civil::date(2026, 6, 1), 24).await;
    check("Asia/Kathmandu", civil::date(2026, 6, 1), 24).await;
    check("America/St_Johns", civil::date(2026, 3, 8), 23).await;
}

#[tokio::test]
async fn the_same_readings_are_other_days_in_another_zone() {
    let site = Site::new();
    let window = TimeWindow::between(at("2026-06-01T00:00:00Z"), at("2026-06-03T00:00:00Z"));
    let values = rising(&ticks(window, QUARTER), 0.0, |k| if k < 96 { 10.0 } else { 1.0 });
    for (index, (zone, expected)) in
        [("UTC", 960.0), ("Pacific/Auckland", 480.0), ("America/Los_Angeles", 28.0 + 680.0)].into_iter().enumerate()
    {
        let (location, id) = (u32::try_from(index).unwrap() + 1, ["gw-1", "gw-2x", "gw-3xx"][index]);
        site.location(location, zone).await;
        site.place(id, location).await;
        site.write(id, &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values.clone())]).await;
        let report = site.report(id, Period::around(PeriodKind::Day, civil::date(2026, 6, 1))).await;
        // Auckland's day began 12 hours earlier, Los Angeles' 7 hours later.
        assert_close(report.figures.produced_wh(), expected);
    }
}
