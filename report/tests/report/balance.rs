//! Consumption, money, yields.

use heliograph_domain::{Co2Factors, Kind, Period, ProviderSettings, Quantity, SensorRole, Tariff, TimeWindow, Timestamp};
use heliograph_report::{Scope, customer_summary, location_report};
use jiff::civil;
use rust_decimal::Decimal;

use crate::site::{
    QUARTER, Site, Written, assert_close, at, counter, customer_id, day, location_id, month, power, rising, ticks,
};

fn the_day() -> TimeWindow {
    TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-11T00:00:00Z"))
}

async fn utc_site() -> Site {
    let site = Site::new();
    site.location_at(1, "UTC", None, Some(5.0)).await;
    site.place("gw-1", 1).await;
    site
}

#[tokio::test]
async fn consumption_is_what_was_produced_and_drawn_less_what_was_fed_in_and_charged() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 7.0, move |_| rise));
    let series = [
        steady("inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyImported, 30.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyExported, 20.0),
        steady("bat", SensorRole::Battery, Quantity::EnergyCharged, 15.0),
        steady("bat", SensorRole::Battery, Quantity::EnergyDischarged, 5.0),
        steady("oven", SensorRole::Load, Quantity::EnergyConsumed, 44.0),
    ];
    site.write("gw-1", &series).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_close(figures.consumed.map(|e| e.watt_hours), 96.0 * (100.0 + 30.0 - 20.0 + 5.0 - 15.0));
    assert_close(figures.imported.map(|e| e.watt_hours), 96.0 * 30.0);
    assert_close(figures.exported.map(|e| e.watt_hours), 96.0 * 20.0);
}

#[tokio::test]
async fn what_was_used_on_site_is_told_where_a_grid_meter_says_what_was_fed_in() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 7.0, move |_| rise));
    let inverter = || steady("inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0);
    site.write("gw-1", &[inverter()]).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_eq!((figures.self_consumption, figures.self_sufficiency), (None, None));
    // The meter was there for the second half of the day alone: the first half says nothing.
    let later = ticks(TimeWindow::between(at("2026-06-10T12:00:00Z"), at("2026-06-11T00:00:00Z")), QUARTER);
    let metered = |quantity, rise: f64| counter("grid", SensorRole::Grid, quantity, rising(&later, 7.0, move |_| rise));
    site.write("gw-1", &[metered(Quantity::EnergyImported, 30.0), metered(Quantity::EnergyExported, 20.0)]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert_close(report.figures.self_consumption, 0.8);
    assert_close(report.figures.self_sufficiency, 80.0 / 110.0);
    assert_close(report.figures.produced_wh(), 96.0 * 100.0);
    let location =
        location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), at("2026-07-01T00:00:00Z")).await;
    assert_close(location.unwrap().figures.self_consumption, 0.8);
}

#[tokio::test]
async fn a_silent_meter_leaves_its_quarters_out_of_what_was_used_on_site() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let morning = ticks(TimeWindow::between(the_day().from, at("2026-06-10T12:00:00Z")), QUARTER);
    let (all, half) = (&times[..], &morning[..]);
    let steady = |times: &[Timestamp], sensor, role, quantity, rise: f64| {
        counter(sensor, role, quantity, rising(times, 7.0, move |_| rise))
    };
    let series = [
        steady(all, "inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0),
        steady(half, "grid", SensorRole::Grid, Quantity::EnergyImported, 30.0),
        steady(half, "grid", SensorRole::Grid, Quantity::EnergyExported, 60.0),
    ];
    site.write("gw-1", &series).await;
    let now = at("2026-06-10T23:00:00Z");
    let report = location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
    assert_close(report.figures.self_consumption, 0.4);
    assert_close(report.figures.self_sufficiency, 40.0 / 70.0);
    // What it caught up in the evening is right in sum, and nobody knows when it was.
    let caught_up = |quantity, before: f64, rise: f64| {
        counter("grid", SensorRole::Grid, quantity, vec![(at("2026-06-10T23:50:00Z"), before + 48.0 * rise)])
    };
    let (imported, exported) = (7.0 + 48.0 * 30.0, 7.0 + 48.0 * 60.0);
    let later = [caught_up(Quantity::EnergyImported, imported, 5.0), caught_up(Quantity::EnergyExported, exported, 95.0)];
    site.write("gw-1", &later).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_close(figures.self_consumption, 0.4);
    assert_close(figures.exported.map(|energy| energy.watt_hours), 48.0 * 60.0 + 48.0 * 95.0);
}

#[tokio::test]
async fn a_customers_shares_are_told_site_by_site() {
    let site = metered_site("UTC").await;
    site.location_at(2, "UTC", None, None).await;
    site.place("gw-20", 2).await;
    // A site without a meter, whose inverter sleeps at night.
    let by_day: Vec<Timestamp> = (9..12)
        .flat_map(|day| {
            ticks(
                TimeWindow::between(at(&format!("2026-06-{day:02}T06:00:00Z")), at(&format!("2026-06-{day:02}T18:00:00Z"))),
                QUARTER,
            )
        })
        .collect();
    site.write("gw-20", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&by_day, 0.0, |_| 100.0))]).await;
    site.customer(1).await;
    for gateway in ["gw-1", "gw-20"] {
        site.give(1, gateway, at("2026-01-01T00:00:00Z"), None).await;
    }
    let summary = customer_summary(&site.store, customer_id(1), day(2026, 6, 10), at("2026-07-01T00:00:00Z")).await.unwrap();
    assert_close(summary.totals.self_consumption, 0.8);
    assert_close(summary.totals.self_sufficiency, 80.0 / 110.0);
}

#[tokio::test]
async fn meters_that_contradict_each_other_give_no_share() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 7.0, move |_| rise));
    let series = [
        steady("inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyImported, 0.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyExported, 150.0),
    ];
    site.write("gw-1", &series).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_eq!((figures.self_consumption, figures.self_sufficiency), (None, None));
}

#[tokio::test]
async fn a_grid_meter_with_power_alone_divides_by_sign() {
    let site = utc_site().await;
    let level = |k: usize| if k.is_multiple_of(2) { 400.0 } else { -400.0 };
    let values: Vec<_> = ticks(the_day(), QUARTER).into_iter().enumerate().map(|(k, time)| (time, level(k))).collect();
    site.write("gw-1", &[power("grid", SensorRole::Grid, values)]).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    // Each quarter is two triangles of 7.5 minutes and 400 W.
    let half = 96.0 * 400.0 / 2.0 / 8.0;
    assert_close(figures.imported.map(|e| e.watt_hours), half);
    assert_close(figures.exported.map(|e| e.watt_hours), half);
    assert_close(figures.consumed.map(|e| e.watt_hours), 0.0);
    assert_eq!(figures.produced, None);
}

#[tokio::test]
async fn a_net_counter_gives_import_where_it_rises_and_export_where_it_falls() {
    let site = utc_site().await;
    let values = rising(&ticks(the_day(), QUARTER), 1_000.0, |k| if k < 48 { 50.0 } else { -20.0 });
    let net =
        Written { sensor: "grid", role: SensorRole::Grid, kind: Kind::NetCounter, quantity: Quantity::EnergyImported, values };
    site.write("gw-1", &[net]).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_close(figures.imported.map(|e| e.watt_hours), 48.0 * 50.0);
    assert_close(figures.exported.map(|e| e.watt_hours), 48.0 * 20.0);
}

#[tokio::test]
async fn without_a_grid_meter_load_meters_say_what_is_consumed() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    site.write("gw-1", &[counter("oven", SensorRole::Load, Quantity::EnergyConsumed, rising(&times, 0.0, |_| 44.0))]).await;
    assert_close(site.report("gw-1", day(2026, 6, 10)).await.figures.consumed.map(|e| e.watt_hours), 96.0 * 44.0);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 1.0))]).await;
    assert_close(site.report("gw-1", day(2026, 6, 10)).await.figures.consumed.map(|e| e.watt_hours), 96.0 * 44.0);
}

#[tokio::test]
async fn yield_money_and_co2_follow_from_what_was_produced() {
    let site = utc_site().await;
    let settings = ProviderSettings {
        tariff_per_kwh: Decimal::new(25, 3),
        co2_kg_per_kwh: Decimal::new(40, 2),
        ..ProviderSettings::default()
    };
    site.store.settings_save(settings).await.unwrap();
    let times = ticks(the_day(), QUARTER);
    // 9.6 kWh, 0.24 exactly.
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 100.0))]).await;
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_eq!(figures.revenue, Some(Decimal::new(24, 2)));
    assert_close(figures.co2_kg, 3.84);
    assert_close(figures.specific_yield_kwh_per_kwp, 9.6 / 5.0);
    site.rate("gw-1", "inv", SensorRole::Inverter, 4_000.0).await;
    assert_close(site.report("gw-1", day(2026, 6, 10)).await.figures.specific_yield_kwh_per_kwp, 9.6 / 4.0);
}

/// An inverter of 100 Wh a quarter of an hour, of which 20 Wh are fed in, and 30 Wh drawn.
async fn metered_site(zone: &str) -> Site {
    let site = Site::new();
    site.location_at(1, zone, None, None).await;
    site.place("gw-1", 1).await;
    let times = ticks(TimeWindow::between(at("2026-06-09T00:00:00Z"), at("2026-06-12T00:00:00Z")), QUARTER);
    let steady = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 7.0, move |_| rise));
    let series = [
        steady("inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyImported, 30.0),
        steady("grid", SensorRole::Grid, Quantity::EnergyExported, 20.0),
    ];
    site.write("gw-1", &series).await;
    site
}

#[tokio::test]
async fn co2_follows_the_factor_of_each_quarter_of_an_hour() {
    let site = metered_site("Europe/Madrid").await;
    let avoided = async |lines: &str| {
        let settings = ProviderSettings::default().with_co2(Co2Factors::parse(lines).unwrap());
        site.store.settings_save(settings).await.unwrap();
        let period = Period::range(civil::date(2026, 6, 10), civil::date(2026, 6, 11)).unwrap();
        site.report("gw-1", period).await.figures.co2_kg
    };
    // 9.6 kWh a day.
    assert_close(avoided("0.5").await, 0.5 * (9.6 + 9.6));
    assert_close(avoided("0.5\n0 20:00-08:00").await, 0.5 * (4.8 + 4.8));
    assert_eq!(avoided("0.25 from 2026-06-11").await, None, "half a sum is none");
    assert_close(avoided("0.5\n0.25 from 2026-06-11").await, 0.5 * 9.6 + 0.25 * 9.6);
    // What mails say of all that somebody owns is the same sum.
    site.customer(1).await;
    site.give(1, "gw-1", at("2026-01-01T00:00:00Z"), None).await;
    let period = Period::range(civil::date(2026, 6, 10), civil::date(2026, 6, 11)).unwrap();
    let summary = customer_summary(&site.store, customer_id(1), period, at("2026-07-01T00:00:00Z")).await.unwrap();
    assert_close(summary.totals.co2_kg, 0.5 * 9.6 + 0.25 * 9.6);
}

async fn price(site: &Site, import: &str, feed_in: &str) -> (Option<String>, Option<String>) {
    let settings = ProviderSettings {
        tariff_per_kwh: Decimal::ONE,
        import_tariff: Tariff::parse(import).unwrap(),
        feed_in_tariff: Tariff::parse(feed_in).unwrap(),
        ..ProviderSettings::default()
    };
    site.store.settings_save(settings).await.unwrap();
    let figures = site.report("gw-1", day(2026, 6, 10)).await.figures;
    (figures.revenue.map(|sum| format!("{sum:.2}")), figures.savings.map(|sum| format!("{sum:.2}")))
}

#[tokio::test]
async fn energies_are_priced_by_the_quarter_of_an_hour_in_local_time() {
    let site = metered_site("Asia/Kathmandu").await;
    let money = |revenue: &str, savings: Option<&str>| (Some(revenue.to_owned()), savings.map(ToOwned::to_owned));
    // One price for all that is produced: 9.6 kWh.
    assert_eq!(price(&site, "", "").await, money("9.60", None));
    // 96 quarters of 80 Wh that are used on site; a third of them by night.
    assert_eq!(price(&site, "0.5", "").await, money("9.60", Some("3.84")));
    assert_eq!(price(&site, "0.5\n0.2 22:00-06:00", "").await, money("9.60", Some("3.07")));
    // What is fed in alone: 1.92 kWh, of which a quarter from midnight to six.
    assert_eq!(price(&site, "", "0.1\n0.3 00:00-06:00").await, money("0.29", None));
    assert_eq!(price(&site, "0.5", "-0.1 from 2026-06-10 to 2026-06-10").await, money("-0.19", Some("3.84")));
}

#[tokio::test]
async fn meters_that_step_at_other_times_save_no_more_for_that() {
    let site = utc_site().await;
    let times = ticks(the_day(), QUARTER);
    let each_hour = |k: usize| if k.is_multiple_of(4) { 1_000.0 } else { 0.0 };
    let steady = |quantity, rise: f64| counter("grid", SensorRole::Grid, quantity, rising(&times, 7.0, move |_| rise));
    let inverter = counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, each_hour));
    site.write("gw-1", &[inverter, steady(Quantity::EnergyImported, 30.0), steady(Quantity::EnergyExported, 200.0)]).await;
    // 24 kWh are produced and 19.2 fed in.
    assert_eq!(price(&site, "0.5", "").await.1, Some("2.40".to_owned()));
}

#[tokio::test]
async fn days_earn_as_much_as_their_month_where_a_meter_came_within_it() {
    let site = utc_site().await;
    let june = TimeWindow::between(at("2026-06-01T00:00:00Z"), at("2026-07-01T00:00:00Z"));
    let later = TimeWindow::between(at("2026-06-16T00:00:00Z"), june.end());
    let inverter = counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&ticks(june, QUARTER), 0.0, |_| 100.0));
    let metered =
        |quantity, rise: f64| counter("grid", SensorRole::Grid, quantity, rising(&ticks(later, QUARTER), 7.0, move |_| rise));
    site.write("gw-1", &[inverter, metered(Quantity::EnergyImported, 30.0), metered(Quantity::EnergyExported, 20.0)]).await;
    price(&site, "", "0.1").await;
    let month = site.report("gw-1", month(2026, 6)).await.figures.revenue.unwrap();
    let mut days = Decimal::ZERO;
    for number in 1..=30 {
        days += site.report("gw-1", day(2026, 6, number)).await.figures.revenue.unwrap();
    }
    // 15 days of 9.6 kWh that are produced, 15 of 1.92 that are fed in, to the cent.
    assert_eq!(month, Decimal::new(1728, 2));
    assert!((days - month).abs() <= Decimal::new(15, 2), "{days} and {month}");
}

#[tokio::test]
async fn an_energy_without_a_price_makes_no_sum_up() {
    let site = metered_site("UTC").await;
    assert_eq!(price(&site, "0.5 08:00-20:00", "0.1 from 2026-06-11").await, (None, None));
    // Nothing was produced in the time that has no price.
    let dark = Site::new();
    dark.location_at(1, "UTC", None, None).await;
    dark.place("gw-1", 1).await;
    let times = ticks(the_day(), QUARTER);
    let by_day = |k: usize| if (32..80).contains(&k) { 100.0 } else { 0.0 };
    dark.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, by_day))]).await;
    // Without a meter that tells what is fed in, what is produced earns, and nothing is saved.
    assert_eq!(price(&dark, "0.5", "0.1 08:00-20:00").await, (Some("0.48".to_owned()), None));
}

#[tokio::test]
async fn a_customers_sites_are_priced_each_in_its_own_zone() {
    let site = metered_site("Asia/Kathmandu").await;
    site.location_at(2, "America/New_York", None, None).await;
    site.place("gw-20", 2).await;
    let times = ticks(TimeWindow::between(at("2026-06-09T00:00:00Z"), at("2026-06-13T00:00:00Z")), QUARTER);
    site.write("gw-20", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 100.0))]).await;
    price(&site, "0.5", "0.1\n0.3 00:00-06:00").await;
    site.customer(1).await;
    for gateway in ["gw-1", "gw-20"] {
        site.give(1, gateway, at("2026-01-01T00:00:00Z"), None).await;
    }
    let summary = customer_summary(&site.store, customer_id(1), day(2026, 6, 10), at("2026-07-01T00:00:00Z")).await.unwrap();
    // 0.288 of what is fed in here, and of the 9.6 kWh that are produced there 0.72 + 0.72.
    assert_eq!(summary.totals.revenue, Some(Decimal::new(173, 2)));
    assert_eq!(summary.totals.savings, Some(Decimal::new(384, 2)));
}

#[tokio::test]
async fn a_gateway_has_no_specific_yield_where_others_produce_too_but_its_location_has() {
    let site = utc_site().await;
    site.place("gw-2x", 1).await;
    let times = ticks(the_day(), QUARTER);
    let inverter = counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 100.0));
    site.write("gw-1", std::slice::from_ref(&inverter)).await;
    site.write("gw-2x", std::slice::from_ref(&inverter)).await;
    assert_eq!(site.report("gw-1", day(2026, 6, 10)).await.figures.specific_yield_kwh_per_kwp, None);
    let now = at("2026-07-01T00:00:00Z");
    let all = location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
    assert_close(all.figures.produced_wh(), 2.0 * 9_600.0);
    assert_close(all.figures.specific_yield_kwh_per_kwp, 19.2 / 5.0);
    assert_eq!(all.gateways.len(), 2);
    assert_close(all.gateways.iter().map(|line| line.figures.produced_wh()).sum(), 19_200.0);
}

#[tokio::test]
async fn a_grid_meter_tells_consumption_only_beside_all_that_produces() {
    let site = utc_site().await;
    site.place("gw-2x", 1).await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, role, quantity, rise: f64| counter(sensor, role, quantity, rising(&times, 0.0, move |_| rise));
    let inverter = steady("inv", SensorRole::Inverter, Quantity::EnergyProduced, 100.0);
    let exported = steady("grid", SensorRole::Grid, Quantity::EnergyExported, 150.0);
    let imported = steady("grid", SensorRole::Grid, Quantity::EnergyImported, 10.0);
    site.write("gw-1", &[inverter.clone(), exported, imported]).await;
    site.write("gw-2x", &[inverter]).await;
    let one = site.report("gw-1", day(2026, 6, 10)).await.figures;
    assert_eq!(one.consumed, None, "half of what was fed in came from the other gateway");
    assert_close(one.exported.map(|e| e.watt_hours), 96.0 * 150.0);
    let now = at("2026-07-01T00:00:00Z");
    let all = location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
    assert_close(all.figures.consumed.map(|e| e.watt_hours), 96.0 * (200.0 + 10.0 - 150.0));
}

#[tokio::test]
async fn a_meter_at_one_gateway_stands_for_inverters_at_another_of_the_site() {
    let site = utc_site().await;
    site.place("gw-2x", 1).await;
    let times = ticks(the_day(), QUARTER);
    let steady = |sensor, role, rise: f64| counter(sensor, role, Quantity::EnergyProduced, rising(&times, 0.0, move |_| rise));
    site.write("gw-1", &[steady("inv", SensorRole::Inverter, 100.0)]).await;
    site.write("gw-2x", &[steady("meter", SensorRole::Production, 97.0)]).await;
    let now = at("2026-07-01T00:00:00Z");
    let all = location_report(&site.store, location_id(1), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
    assert_close(all.figures.produced_wh(), 96.0 * 97.0);
}

#[tokio::test]
async fn a_moved_gateway_counts_at_each_location_for_its_time_there() {
    let site = utc_site().await;
    site.location(2, "UTC").await;
    let values = rising(&ticks(the_day(), QUARTER), 0.0, |_| 100.0);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    site.store.gateway_move(&crate::site::gateway("gw-1"), location_id(2), at("2026-06-10T06:00:00Z")).await.unwrap();
    let now = at("2026-07-01T00:00:00Z");
    for (location, quarters) in [(1, 23.0), (2, 72.0)] {
        let report =
            location_report(&site.store, location_id(location), day(2026, 6, 10), &Scope::everything(), now).await.unwrap();
        // Up to the last reading before the move; the quarter across it belongs to nobody.
        assert_close(report.figures.produced_wh(), quarters * 100.0);
    }
}

#[tokio::test]
async fn the_period_before_is_compared_like_with_like() {
    let site = utc_site().await;
    let two_days = TimeWindow::between(at("2026-06-09T00:00:00Z"), at("2026-06-10T12:00:00Z"));
    let values = rising(&ticks(two_days, QUARTER), 0.0, |k| if k < 96 { 100.0 } else { 150.0 });
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    let now = at("2026-06-10T12:00:00Z");
    let scope = Scope::everything();
    let report = heliograph_report::gateway_report(&site.store, &crate::site::gateway("gw-1"), day(2026, 6, 10), &scope, now)
        .await
        .unwrap();
    assert_close(report.previous.as_ref().and_then(|figures| figures.produced_wh()), 9_600.0);
    assert_close(report.previous_to_date.as_ref().and_then(|figures| figures.produced_wh()), 4_800.0);
    assert_close(report.change(), 0.5);
}
