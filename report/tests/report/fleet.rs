//! The fleet at a glance.

use heliograph_domain::{Quantity, Reachability, SensorRole, TimeWindow};
use heliograph_report::{Scope, fleet_overview};

use crate::site::{QUARTER, Site, assert_close, at, counter, gateway, power, rising, ticks};

#[tokio::test]
async fn the_overview_counts_gateways_and_sums_what_they_produce() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.location(2, "Pacific/Auckland").await;
    for (id, location) in [("gw-1", 1), ("gw-2x", 1), ("gw-3xx", 2), ("gw-4xxx", 1)] {
        site.place(id, location).await;
    }
    let now = at("2026-06-10T14:10:00Z");
    let until = |end: &str| ticks(TimeWindow::between(at("2026-06-09T00:00:00Z"), at(end)), QUARTER);
    let inverter = |end: &str, rise: f64, watts: f64| {
        let times = until(end);
        [
            counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| rise)),
            power("inv", SensorRole::Inverter, times.iter().map(|time| (*time, watts)).collect()),
        ]
    };
    site.write("gw-1", &inverter("2026-06-10T14:00:00Z", 100.0, 400.0)).await;
    site.write("gw-2x", &inverter("2026-06-10T13:00:00Z", 10.0, 40.0)).await;
    site.write("gw-3xx", &inverter("2026-06-10T14:00:00Z", 1.0, 4.0)).await;
    site.store.gateway_knock(&gateway("gw-5xxxx"), "192.0.2.9:1", now).await.unwrap();

    let fleet = fleet_overview(&site.store, &Scope::everything(), now).await.unwrap();
    let line = |id: &str| fleet.gateways.iter().find(|line| line.id.as_str() == id).unwrap();
    assert_eq!(line("gw-1").reachability, Reachability::Online);
    assert_close(line("gw-1").energy_today_wh, 56.0 * 100.0);
    assert_close(line("gw-1").power_now_w, 400.0);
    assert_close(line("gw-1").completeness.ratio(), 1.0);
    assert_eq!(line("gw-1").today_w.len(), 15);
    assert_eq!((line("gw-2x").reachability, line("gw-2x").power_now_w), (Reachability::Late, None));
    // Auckland's day began at 12:00Z.
    assert_close(line("gw-3xx").energy_today_wh, 8.0);
    let energies: Vec<f64> = fleet.locations.iter().filter_map(|line| line.energy_today_wh).collect();
    assert_eq!(energies.len(), 2);
    assert_close(energies.iter().copied().reduce(f64::max), 5_600.0 + 520.0);
    assert_close(energies.iter().copied().reduce(f64::min), 8.0);
    let totals = fleet.totals;
    assert_eq!((totals.online, totals.late, totals.silent, totals.never, totals.waiting), (2, 1, 0, 1, 1));
    assert_close(totals.power_now_w, 404.0);
    assert_close(totals.energy_today_wh, 5_600.0 + 520.0 + 8.0);
}

#[tokio::test]
async fn gateways_that_wait_or_are_retired_count_neither_power_nor_energy() {
    let site = Site::new();
    site.location(1, "UTC").await;
    for id in ["gw-1", "gw-2x"] {
        site.place(id, 1).await;
    }
    let now = at("2026-06-10T14:10:00Z");
    let times = ticks(TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-10T14:00:00Z")), QUARTER);
    let inverter = [
        counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| 100.0)),
        power("inv", SensorRole::Inverter, times.iter().map(|time| (*time, 400.0)).collect()),
    ];
    site.store.gateway_knock(&gateway("gw-3xx"), "192.0.2.9:1", at("2026-06-09T23:00:00Z")).await.unwrap();
    for id in ["gw-1", "gw-2x", "gw-3xx"] {
        site.write(id, &inverter).await;
    }
    site.store.gateway_retire(&gateway("gw-2x"), now).await.unwrap();

    let fleet = fleet_overview(&site.store, &Scope::everything(), now).await.unwrap();
    let waiting = fleet.gateways.iter().find(|line| line.id.as_str() == "gw-3xx").unwrap();
    assert_close(waiting.power_now_w, 400.0);
    assert_eq!((fleet.totals.online, fleet.totals.waiting, fleet.totals.retired), (1, 1, 1));
    assert_close(fleet.totals.power_now_w, 400.0);
    assert_close(fleet.totals.energy_today_wh, 56.0 * 100.0);
}
