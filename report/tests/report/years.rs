//! The same period a year before.

use heliograph_domain::{Period, PeriodKind, Quantity, SensorRole, TimeWindow, Timestamp};
use heliograph_report::{Scope, YearBefore, gateway_report, location_report};
use jiff::civil;

use crate::site::{Site, assert_close, at, counter, day, gateway, location_id, rising, ticks};

const QUARTER: i64 = 900_000;

/// A counter that rises by as much each quarter of an hour between two instants, in each
/// of some years.
async fn site(years: &[(&str, &str, f64)]) -> Site {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    let mut stands = 0.0;
    for (from, until, rise) in years {
        let values = rising(&ticks(TimeWindow::between(at(from), at(until)), QUARTER), stands, |_| *rise);
        stands = values.last().unwrap().1;
        site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    }
    site
}

/// Of the gateway and of its location, which say the same.
async fn year_before(site: &Site, period: Period, now: Timestamp) -> Option<YearBefore> {
    let scope = Scope::everything();
    let of_gateway = gateway_report(&site.store, &gateway("gw-1"), period, &scope, now).await.unwrap().year_before;
    let of_location = location_report(&site.store, location_id(1), period, &scope, now).await.unwrap().year_before;
    assert_eq!(of_gateway, of_location);
    of_gateway
}

#[tokio::test]
async fn a_day_is_compared_with_the_same_date_a_year_before() {
    let site =
        site(&[("2025-06-10T00:00:00Z", "2025-06-11T00:00:00Z", 100.0), ("2026-06-09T00:00:00Z", "2026-06-11T00:00:00Z", 150.0)])
            .await;
    let over = year_before(&site, day(2026, 6, 10), at("2026-07-01T00:00:00Z")).await.unwrap();
    assert_eq!((over.period, over.to_date), (day(2025, 6, 10), false));
    assert_close(over.figures.produced_wh(), 9_600.0);
    assert_close(over.change, 0.5);
    let running = year_before(&site, day(2026, 6, 10), at("2026-06-10T12:00:00Z")).await.unwrap();
    assert!(running.to_date);
    assert_close(running.figures.produced_wh(), 4_800.0);
    assert!(running.change.is_some_and(|change| change > 0.45), "as much of both days: {:?}", running.change);
}

#[tokio::test]
async fn where_too_little_is_known_there_is_no_comparison() {
    let site =
        site(&[("2025-06-10T00:00:00Z", "2025-06-10T14:00:00Z", 100.0), ("2026-06-10T00:00:00Z", "2026-06-11T00:00:00Z", 150.0)])
            .await;
    let now = at("2026-07-01T00:00:00Z");
    let half = year_before(&site, day(2026, 6, 10), now).await.unwrap();
    assert_eq!(half.change, None);
    assert!(half.figures.completeness.ratio().is_some_and(|ratio| (0.5..0.7).contains(&ratio)), "{half:?}");
    assert_eq!(year_before(&site, day(2026, 6, 12), now).await, None, "nothing is known of it");
    let year = Period::around(PeriodKind::Year, civil::date(2026, 6, 10));
    assert_eq!(year_before(&site, year, now).await, None, "that is the period before");
}

/// A grid meter's counter beside the inverter's, in each of some years.
async fn metered(years: &[(&str, &str)], inverter: &[(&str, &str, f64)]) -> Site {
    let site = site(inverter).await;
    let mut stands = 0.0;
    for (from, until) in years {
        let values = rising(&ticks(TimeWindow::between(at(from), at(until)), QUARTER), stands, |_| 10.0);
        stands = values.last().unwrap().1;
        site.write("gw-1", &[counter("grid", SensorRole::Grid, Quantity::EnergyImported, values)]).await;
    }
    site
}

#[tokio::test]
async fn only_what_produces_decides_whether_enough_is_known() {
    let now = at("2026-07-01T00:00:00Z");
    let this = ("2026-06-09T00:00:00Z", "2026-06-11T00:00:00Z");
    let (whole, half) = ("2025-06-11T00:00:00Z", "2025-06-10T10:48:00Z");
    let begin = "2025-06-10T00:00:00Z";
    let produced = |until| [(begin, until, 100.0), (this.0, this.1, 150.0)];

    let silent_grid = metered(&[("2025-06-09T00:00:00Z", half), this], &produced(whole)).await;
    let compared = year_before(&silent_grid, day(2026, 6, 10), now).await.unwrap();
    assert!(compared.figures.completeness.ratio().is_some_and(|ratio| ratio < YearBefore::ENOUGH), "{compared:?}");
    assert_close(compared.known.ratio(), 1.0);
    assert_close(compared.change, 0.5);

    let early = "2025-06-10T21:00:00Z";
    let silent_inverter = metered(&[("2025-06-09T00:00:00Z", whole), this], &produced(early)).await;
    let unknown = year_before(&silent_inverter, day(2026, 6, 10), now).await.unwrap();
    assert!(unknown.figures.completeness.ratio().is_some_and(|ratio| ratio >= YearBefore::ENOUGH), "{unknown:?}");
    assert_close(unknown.known.ratio(), 0.875);
    assert_eq!(unknown.change, None);

    let gap = [(begin, whole, 100.0), (this.0, "2026-06-10T12:00:00Z", 150.0)];
    let unknown = year_before(&site(&gap).await, day(2026, 6, 10), now).await.unwrap();
    assert_close(unknown.known_now.ratio(), 0.5);
    assert_eq!(unknown.change, None, "half of this day was not measured");
}
