//! The fleet at a glance.

use heliograph_domain::{
    ClockCorrection, ClockSample, ClockShift, GatewayState, Quantity, QuarantineId, Reachability, RefusalCode, SensorRole,
    TimeWindow,
};
use heliograph_report::{FleetFigures, FleetOverview, HeldBack, Need, Scope, fleet_overview, gateway_report};
use heliograph_store::QuarantineNew;

use crate::site::{QUARTER, Site, Written, assert_close, at, counter, customer_id, day, gateway, number, power, rising, ticks};

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

/// An inverter that sent these Wh a quarter, and that power, from midnight until two.
fn inverter(rise: f64) -> [Written; 2] {
    let times = ticks(TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-10T14:00:00Z")), QUARTER);
    [
        counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, |_| rise)),
        power("inv", SensorRole::Inverter, times.iter().map(|time| (*time, rise * 4.0)).collect()),
    ]
}

/// Three neighbours, of which one gives little, and a gateway that is alone.
async fn neighbours() -> Site {
    let site = Site::new();
    site.location_at(1, "UTC", None, Some(30.0)).await;
    site.location_at(2, "UTC", None, Some(7.0)).await;
    for (id, location, rise) in [("gw-1", 1, 1000.0), ("gw-22", 1, 1100.0), ("gw-333", 1, 100.0), ("gw-4444", 2, 500.0)] {
        site.place(id, location).await;
        site.write(id, &inverter(rise)).await;
        if location == 1 {
            site.rate(id, "inv", SensorRole::Inverter, 10_000.0).await;
        }
    }
    site
}

const NOW: &str = "2026-06-10T14:10:00Z";

#[tokio::test]
async fn a_yield_is_that_of_the_gateways_own_report() {
    let site = neighbours().await;
    let fleet = fleet_overview(&site.store, &Scope::everything(), at(NOW)).await.unwrap();
    for (id, kwp) in [("gw-1", 10.0), ("gw-22", 10.0), ("gw-333", 10.0), ("gw-4444", 7.0)] {
        let line = fleet.gateways.iter().find(|line| line.id.as_str() == id).unwrap();
        assert_close(line.yield_today, line.energy_today_wh.unwrap() / 1000.0 / kwp);
        let report = gateway_report(&site.store, &line.id, day(2026, 6, 10), &Scope::everything(), at(NOW)).await.unwrap();
        assert_close(line.yield_today, report.figures.specific_yield_kwh_per_kwp.unwrap());
        assert_eq!(line.completeness, report.figures.completeness, "{id}");
    }
    assert_close(fleet.median_yield, 56.0 * 500.0 / 1000.0 / 7.0);
    let needs: Vec<(Need, Vec<&str>)> =
        fleet.needs().into_iter().map(|(need, lines)| (need, lines.iter().map(|line| line.id.as_str()).collect())).collect();
    assert_eq!(needs, [(Need::LowYield, vec!["gw-333"])]);
    assert_close(fleet.gateways.iter().find(|line| line.need.is_some()).unwrap().yield_share, 0.1);

    site.customer(1).await;
    for id in ["gw-333", "gw-4444"] {
        site.give(1, id, at("2026-01-01T00:00:00Z"), None).await;
    }
    let customer = Scope::of_customer(&site.store, customer_id(1)).await.unwrap();
    let hers = fleet_overview(&site.store, &customer, at(NOW)).await.unwrap();
    let yields: Vec<f64> = hers.gateways.iter().filter_map(|line| line.yield_today).collect();
    assert_eq!(yields.len(), 2);
    assert_close(Some(yields[0]), 0.56);
    assert_close(Some(yields[1]), 4.0);
    assert!(
        hers.needs().is_empty() && hers.gateways.iter().all(|line| line.yield_share.is_none()),
        "nobody else's figures count"
    );
}

#[tokio::test]
async fn figures_may_be_older_than_who_there_is() {
    let site = neighbours().await;
    let figures = FleetFigures::compute(&site.store, &Scope::everything(), at(NOW)).await.unwrap();
    site.store.gateway_rename(&gateway("gw-1"), Some("Barn".to_owned())).await.unwrap();
    site.store.gateway_retire(&gateway("gw-22"), at(NOW)).await.unwrap();
    site.place("gw-55555", 2).await;
    let later = at(NOW).plus_millis(5_000);
    let fleet = FleetOverview::read(&site.store, &figures, later).await.unwrap();
    assert_eq!(fleet.at, at(NOW));
    let line = |id: &str| fleet.gateways.iter().find(|line| line.id.as_str() == id).unwrap();
    assert_eq!(line("gw-1").name, "Barn");
    assert_close(line("gw-1").energy_today_wh, 56_000.0);
    assert_eq!((line("gw-22").state, line("gw-22").location.is_some()), (GatewayState::Retired, false));
    assert_eq!((line("gw-55555").reachability, line("gw-55555").energy_today_wh), (Reachability::Never, None));
    assert_eq!((fleet.totals.online, fleet.totals.never, fleet.totals.retired), (3, 1, 1));
    let counts: Vec<(&str, usize, usize)> =
        fleet.locations.iter().map(|line| (line.location.name.as_str(), line.gateways, line.not_online)).collect();
    assert_eq!(counts, [("Roof 1", 2, 0), ("Roof 2", 2, 1)]);
}

#[tokio::test]
async fn figures_of_a_customer_show_what_is_that_customers() {
    let site = neighbours().await;
    for (customer, id) in [(1, "gw-1"), (2, "gw-22")] {
        site.customer(customer).await;
        site.give(customer, id, at("2026-06-10T12:00:00Z"), None).await;
    }
    let scope = Scope::of_customer(&site.store, customer_id(1)).await.unwrap();
    let figures = FleetFigures::compute(&site.store, &scope, at(NOW)).await.unwrap();
    let fleet = FleetOverview::read(&site.store, &figures, at(NOW)).await.unwrap();
    assert_eq!(fleet.gateways.iter().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["gw-1"]);
    assert_close(fleet.totals.energy_today_wh, 8.0 * 1000.0);
    assert_eq!((fleet.locations.len(), fleet.held_back, figures.scope()), (1, None, &scope));
}

#[tokio::test]
async fn clocks_that_are_wrong_and_documents_that_were_refused_are_told() {
    let site = neighbours().await;
    let sample = |minute: i64| ClockSample { received: at(NOW).plus_millis(minute * 60_000), lag_ms: -3_600_000 };
    site.store.gateway_clock_seen(vec![(gateway("gw-1"), (-10..0).map(sample).collect())]).await.unwrap();
    let refused = |id: u32, minutes: i64, gateway: &str, code: RefusalCode, trusted: bool| QuarantineNew {
        id: QuarantineId::parse(&number(id)).unwrap(),
        received: at(NOW).plus_millis(-minutes * 60_000),
        gateway: Some(gateway.to_owned()),
        address: "192.0.2.1:40000".to_owned(),
        code,
        reason: "no".to_owned(),
        raw: b"<push/>".to_vec(),
        trusted,
    };
    for entry in [
        refused(1, 90, "gw-1", RefusalCode::BadValue, true),
        refused(2, 30, "gw-22", RefusalCode::UnknownGateway, false),
        // A stranger, somebody who claims to be a gateway, and what is long ago.
        refused(3, 1, "gw-77", RefusalCode::UnknownGateway, false),
        refused(4, 2, "gw-1", RefusalCode::BadKey, false),
        refused(5, 8 * 24 * 60, "gw-1", RefusalCode::BadValue, true),
    ] {
        site.store.quarantine_add(entry).await.unwrap();
    }
    let fleet = fleet_overview(&site.store, &Scope::everything(), at(NOW)).await.unwrap();
    let newest = at(NOW).plus_millis(-30 * 60_000);
    assert_eq!(fleet.held_back, Some(HeldBack { documents: 2, more: false, newest }));
    let (need, lines) = fleet.needs().into_iter().next().unwrap();
    assert_eq!((need, lines[0].id.as_str()), (Need::Clock, "gw-1"));
    assert_eq!(lines[0].clock.as_ref().unwrap().ahead_ms, 3_600_000);
    let correction = ClockCorrection { from: at(NOW), shift: ClockShift::parse("-1h").unwrap() };
    site.store.gateway_clock_correct(&gateway("gw-1"), correction).await.unwrap();
    let fleet = fleet_overview(&site.store, &Scope::everything(), at(NOW)).await.unwrap();
    assert!(fleet.gateways.iter().all(|line| line.clock.is_none()), "it is corrected");
}
