//! What a correction would change is what it then changes.

use std::collections::BTreeMap;

use heliograph_domain::{
    Correction, CorrectionId, CorrectionKind, Period, PeriodKind, Quantity, SensorId, SensorRole, SeriesKey, TimeWindow,
    Timestamp, Zone,
};
use heliograph_report::{CorrectionPreview, correction_preview};
use heliograph_store::CorrectionNew;
use jiff::civil::Date;

use crate::site::{HOUR, QUARTER, Site, assert_close, at, close, counter, gateway, number, power, rising, ticks};

const ZONE: &str = "Europe/Madrid";

/// An inverter that gives 40 kWh a day from 1 to 20 June, by a counter that is read so
/// often and by a power gauge.
async fn site(step: i64) -> Site {
    let site = Site::new();
    site.location(1, ZONE).await;
    site.place("gw-1", 1).await;
    let all = TimeWindow::between(at("2026-05-31T22:00:00Z"), at("2026-06-20T22:00:00Z"));
    let rise = 40_000.0 * step as f64 / (24 * HOUR) as f64;
    let values = rising(&ticks(all, step), 1_000.0, |_| rise);
    site.write("gw-1", &[counter("counter", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    let watts = ticks(all, QUARTER).into_iter().map(|time| (time, 1_000.0)).collect();
    site.write("gw-1", &[power("gauge", SensorRole::Inverter, watts)]).await;
    site
}

fn correction(sensor: &str, from: &str, until: Option<&str>, kind: CorrectionKind) -> CorrectionNew {
    let (metric, unit) = if sensor == "gauge" { ("ac-power-gauge", "W") } else { ("energy-produced-counter", "Wh") };
    let series = SeriesKey {
        gateway: gateway("gw-1"),
        sensor: SensorId::parse(sensor).unwrap(),
        metric: heliograph_domain::MetricName::parse(metric).unwrap(),
        unit: heliograph_domain::Unit::parse(unit).unwrap(),
    };
    let window = TimeWindow { from: at(from), until: until.map(at) };
    CorrectionNew { id: CorrectionId::parse(&number(77)).unwrap(), series, window, kind, reason: "test".to_owned() }
}

async fn preview(site: &Site, new: &CorrectionNew) -> CorrectionPreview {
    let CorrectionNew { id, series, window, kind, reason } = new.clone();
    let unmade = Correction { id, series, window, kind, reason, by: String::new(), at: now(), reverted: None };
    correction_preview(&site.store, &unmade, &Zone::parse(ZONE).unwrap(), now()).await.unwrap().unwrap()
}

fn now() -> Timestamp {
    at("2026-06-25T10:00:00Z")
}

/// What the sensor gave in each day of June, Wh.
async fn days(site: &Site, sensor: &str) -> BTreeMap<Date, f64> {
    let mut days = BTreeMap::new();
    for day in Date::constant(2026, 6, 1).series(jiff::ToSpan::days(1)).take(24) {
        let report = site.report("gw-1", Period::around(PeriodKind::Day, day)).await;
        let row = report.sensors.iter().find(|row| row.id.as_str() == sensor);
        let energy = row.and_then(|row| row.main_energy()).map(|(_, energy)| energy.watt_hours);
        days.insert(day, energy.unwrap_or(0.0));
    }
    days
}

/// Whether the days that change and their figures are those of reports afterwards.
async fn check(step: i64, new: CorrectionNew) -> CorrectionPreview {
    let site = site(step).await;
    let sensor = new.series.sensor.as_str().to_owned();
    let shown = preview(&site, &new).await;
    let before = days(&site, &sensor).await;
    site.store.correction_create(new.clone()).await.unwrap();
    let after = days(&site, &sensor).await;
    let told: BTreeMap<Date, (f64, f64)> =
        shown.days.iter().map(|day| (day.day, (day.before.unwrap_or(0.0), day.after.unwrap_or(0.0)))).collect();
    for (day, was) in &before {
        let becomes = after.get(day).copied().unwrap();
        match told.get(day) {
            Some((shown_was, shown_becomes)) => {
                assert!(close(*shown_was, *was) && close(*shown_becomes, becomes), "{new:?} {day}: {was} {becomes} {shown:?}");
            }
            None => assert!(close(becomes, *was), "{new:?} {day}: {was} became {becomes}, which was not shown: {shown:?}"),
        }
    }
    shown
}

#[tokio::test]
async fn what_a_counter_rises_meanwhile_shows_at_its_next_reading() {
    let five_days = correction("counter", "2026-06-05T22:00:00Z", Some("2026-06-10T22:00:00Z"), CorrectionKind::Exclude);
    for step in [QUARTER, 6 * HOUR] {
        let shown = check(step, five_days.clone()).await;
        let after = shown.days.iter().find(|day| day.day == Date::constant(2026, 6, 11)).unwrap();
        assert_close(after.before, 40_000.0);
        assert!(after.after.is_some_and(|after| after > 230_000.0), "{shown:?}");
        let sum = |side: fn(&heliograph_report::CorrectedDay) -> Option<f64>| shown.days.iter().filter_map(side).sum::<f64>();
        assert!((sum(|day| day.before) - sum(|day| day.after)).abs() < 1.0, "nothing vanishes: {shown:?}");
    }
}

#[tokio::test]
async fn what_is_shown_is_what_then_changes() {
    let noon = ("2026-06-09T10:00:00Z", "2026-06-12T10:00:00Z");
    for (sensor, from, until, kind) in [
        ("counter", noon.0, Some(noon.1), CorrectionKind::Scale { factor: 0.5 }),
        ("counter", noon.0, None, CorrectionKind::MeterSwap { last_old: 400_000.0, first_new: 0.0 }),
        ("counter", noon.0, Some(noon.1), CorrectionKind::Shift { millis: HOUR }),
        ("counter", noon.0, None, CorrectionKind::Exclude),
        ("gauge", "2026-06-09T10:00:00Z", Some("2026-06-09T22:00:00Z"), CorrectionKind::Exclude),
        ("gauge", "2026-06-09T22:00:00Z", Some("2026-06-10T22:00:00Z"), CorrectionKind::Exclude),
        ("gauge", noon.0, Some(noon.1), CorrectionKind::Scale { factor: 2.0 }),
    ] {
        let shown = check(QUARTER, correction(sensor, from, until, kind)).await;
        assert!(!shown.days.is_empty(), "{sensor}");
    }
    let daily = correction("counter", "2026-06-09T10:00:00Z", Some("2026-06-12T10:00:00Z"), CorrectionKind::Exclude);
    check(24 * HOUR, daily).await;
}
