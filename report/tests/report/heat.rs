//! The heat map of a month.

use heliograph_domain::{Period, PeriodKind, Quantity, SensorRole, Step, TimeWindow, Zone};
use heliograph_report::chart::{Chart, ChartOptions, Palette, heat_map};
use heliograph_report::{BucketFigures, Completeness, Energy, EnergySource};
use jiff::civil;

use crate::site::{QUARTER, Site, at, counter, day, month, power, rising, ticks};

fn draw(hours: &[BucketFigures]) -> Chart {
    heat_map(hours, &ChartOptions::new("Power", Step::Hour)).unwrap()
}

fn tips(svg: &str) -> Vec<&str> {
    svg.split("<title>").skip(1).map(|rest| rest.split_once("</title>").unwrap().0).collect()
}

/// Boxes of a class, those of the legend left out.
fn boxes(svg: &str, class: &str) -> usize {
    svg.split('<').filter(|element| element.contains(&format!("class=\"{class}\"")) && !element.ends_with("/>")).count()
}

/// The hours of a June day in Madrid: mean power, and percent covered of what is
/// expected, if anything is.
fn june(hour: impl Fn(i8) -> (Option<f64>, Option<u64>)) -> Vec<BucketFigures> {
    let day = Period::around(PeriodKind::Day, civil::date(2026, 6, 13));
    let zone = Zone::parse("Europe/Madrid").unwrap();
    let bar = |bucket: &heliograph_domain::Bucket| {
        let (watts, covered) = hour(bucket.local.hour());
        BucketFigures {
            window: bucket.window,
            local: bucket.local,
            produced: watts.map(|watt_hours| Energy {
                watt_hours,
                source: EnergySource::Power,
                estimated: false,
                flagged: false,
            }),
            imported: None,
            exported: None,
            consumed: None,
            power_w: watts,
            consumption_w: Some(77.0),
            completeness: covered.map_or_else(Completeness::default, |covered_ms| Completeness { expected_ms: 100, covered_ms }),
        }
    };
    day.buckets(&zone, Step::Hour).iter().map(bar).collect()
}

#[test]
fn unknown_zero_idle_and_incomplete_hours_are_told_apart_without_colour() {
    let hours = june(|hour| match hour {
        0..6 => (None, None),
        6 => (Some(0.0), Some(100)),
        7..10 => (None, Some(0)),
        10 => (Some(900.0), Some(60)),
        _ => (Some(f64::from(hour) * 100.0), Some(100)),
    });
    let svg = draw(&hours).svg(&Palette::Page);
    let tips = tips(&svg);
    assert_eq!(tips.len(), 18, "what was not expected says nothing");
    assert_eq!(tips[0], "Sat 13 Jun, 06:00: 0\u{a0}W");
    assert_eq!(tips[1], "Sat 13 Jun, 07:00: no data");
    assert_eq!(tips[4], "Sat 13 Jun, 10:00: 900\u{a0}W, 60\u{a0}% measured");
    assert_eq!(tips[17], "Sat 13 Jun, 23:00: 2.30\u{a0}kW");
    assert_eq!(boxes(&svg, "chart-heat"), 14);
    assert_eq!(boxes(&svg, "chart-heat-zero"), 1);
    assert_eq!(boxes(&svg, "chart-gap"), 3);
    assert_eq!(svg.matches("chart-heat-corner").count(), 1 + 1, "one, and one in the legend");
    for word in [">Incomplete<", ">No data<", ">0<", ">2.5\u{a0}kW<"] {
        assert!(svg.contains(word), "the legend says {word}");
    }
    assert!(!svg.contains("style="), "a strict CSP forbids inline styles");
}

#[test]
fn the_strongest_shade_is_the_top_of_the_scale() {
    let hours = june(|hour| (Some(if hour == 12 { 1_000.0 } else { 500.0 }), Some(100)));
    let svg = draw(&hours).svg(&Palette::Page);
    let shade = |hour: &str| {
        let before = svg.split(&format!("><title>Sat 13 Jun, {hour}")).next().unwrap();
        let opacity = before.rsplit("fill-opacity=\"").next().unwrap();
        opacity.split_once('"').unwrap().0.parse::<f64>().unwrap()
    };
    assert_eq!((shade("12:00"), shade("11:00")), (1.0, 0.55));
}

#[test]
fn the_text_alternative_names_the_best_hour_and_day() {
    let hours = june(|hour| (Some(f64::from(hour.min(13)) * 100.0), Some(if hour == 20 { 0 } else { 100 })));
    let chart = draw(&hours);
    assert_eq!(
        chart.description(),
        "Mean power of production by hour and day from Sat 13 Jun 2026 to Sat 13 Jun 2026. \
         Highest hour: Sat 13 Jun, 13:00 with 1.30\u{a0}kW. \
         Highest day: Sat 13 Jun 2026 with 22.1\u{a0}kWh produced."
    );
    let row = ("Sat 13 Jun 2026".to_owned(), "22.1\u{a0}kWh produced; highest 1.30\u{a0}kW at 13:00".to_owned());
    assert_eq!(chart.text_alternative(), [row]);
    let missing = draw(&june(|hour| if hour < 5 { (None, Some(0)) } else { (Some(1.0), Some(100)) }));
    assert!(missing.description().ends_with(" No data in 5 hours."), "{}", missing.description());
    assert!(missing.text_alternative()[0].1.ends_with("; no data in 5 hours"));
}

#[test]
fn without_production_consumption_is_shown_and_without_either_nothing() {
    let hours = june(|_| (None, Some(100)));
    assert!(draw(&hours).description().starts_with("Mean power of consumption by hour"));
    assert_eq!(tips(&draw(&hours).svg(&Palette::Page))[0], "Sat 13 Jun, 00:00: 77\u{a0}W");
    let unknown: Vec<BucketFigures> = hours.into_iter().map(|hour| BucketFigures { consumption_w: None, ..hour }).collect();
    assert!(heat_map(&unknown, &ChartOptions::new("Power", Step::Hour)).is_none());
    assert!(heat_map(&[], &ChartOptions::new("Power", Step::Hour)).is_none());
}

#[test]
fn maps_of_any_size_are_well_formed() {
    let odd = [f64::NAN, f64::INFINITY, -5.0, 0.0, 1e300];
    let hours = june(|hour| (odd.get(usize::try_from(hour).unwrap() % 6).copied(), Some(50)));
    for (width, height) in [(0, 0), (1, 1), (120, 60), (400, 400), (1_060, 360)] {
        let title = "<script>\u{0}&\"";
        let chart = heat_map(&hours, &ChartOptions { width, height, ..ChartOptions::new(title, Step::Hour) }).unwrap();
        for palette in [Palette::Page, Palette::Print { accent: heliograph_domain::Colour::default() }] {
            let svg = chart.svg(&palette);
            assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("<script"), "{width}x{height}");
        }
    }
}

/// The heat map of a month through the store, with a constant power.
async fn check_month(zone: &str, year: i16, month_number: i8, hours: usize) -> String {
    let site = Site::new();
    site.location(1, zone).await;
    site.place("gw-1", 1).await;
    let period = month(year, month_number);
    let local = period.window(&Zone::parse(zone).unwrap());
    let times = ticks(TimeWindow::between(local.from.plus_millis(-QUARTER), local.end().plus_millis(QUARTER)), QUARTER);
    site.write("gw-1", &[power("inv", SensorRole::Inverter, times.iter().map(|time| (*time, 1_200.0)).collect())]).await;
    let report = site.report("gw-1", period).await;
    assert_eq!(report.hours.len(), hours, "{zone}");
    assert_eq!(report.hours.first().unwrap().window.from, local.from);
    assert_eq!(report.hours.last().unwrap().window.end(), local.end());
    assert!(report.hours.windows(2).all(|pair| pair[0].window.end() == pair[1].window.from));
    let svg = draw(&report.hours).svg(&Palette::Page);
    assert_eq!(tips(&svg).iter().filter(|tip| tip.ends_with("1.20\u{a0}kW")).count(), hours, "{zone}");
    svg
}

#[tokio::test]
async fn a_month_with_a_day_of_23_hours_leaves_one_out() {
    let svg = check_month("Europe/Madrid", 2026, 3, 31 * 24 - 1).await;
    assert!(svg.contains("<title>Sun 29 Mar, 02:00: the clock leaves this hour out</title>"));
    assert_eq!(svg.matches("leaves this hour out").count(), 1);
    assert!(!svg.contains("02:00, again"));
}

#[tokio::test]
async fn a_month_with_a_day_of_25_hours_shows_one_twice() {
    let svg = check_month("Europe/Madrid", 2026, 10, 31 * 24 + 1).await;
    assert!(svg.contains("<title>Sun 25 Oct, 02:00: 1.20\u{a0}kW</title>"));
    assert!(svg.contains("<title>Sun 25 Oct, 02:00, again: 1.20\u{a0}kW</title>"));
    assert_eq!(svg.matches(", again: ").count(), 1);
    let across = |hour: &str| {
        let before = svg.split(&format!("><title>Sun 25 Oct, {hour}: ")).next().unwrap().rsplit('<').next().unwrap();
        ["x", "width"].map(|name| {
            let value = before.split(&format!(" {name}=\"")).nth(1).unwrap();
            value.split_once('"').unwrap().0.parse::<f64>().unwrap()
        })
    };
    let [whole, first, again] = ["01:00", "02:00", "02:00, again"].map(across);
    assert_eq!(first[0], whole[0]);
    assert!((first[0] + first[1] + 1.0 - again[0]).abs() < 0.02, "{first:?} {again:?}");
    assert!((again[0] + again[1] - whole[0] - whole[1]).abs() < 0.02, "{again:?} {whole:?}");
    assert!(!svg.contains("leaves this hour out"));
}

#[tokio::test]
async fn hours_begin_anew_each_day_where_clocks_change_by_half_an_hour() {
    // A day of 24 hours and a half has a last half hour of its own.
    let svg = check_month("Australia/Lord_Howe", 2026, 4, 30 * 24 + 1).await;
    assert!(svg.contains("<title>Sun 5 Apr, 01:30, again: 1.20\u{a0}kW</title>"), "{:?}", tips(&svg).get(95..125));
    assert!(svg.contains("<title>Mon 6 Apr, 00:00: 1.20\u{a0}kW</title>"));
    check_month("Asia/Kathmandu", 2026, 2, 28 * 24).await;
    check_month("America/St_Johns", 2026, 3, 31 * 24 - 1).await;
}

#[tokio::test]
async fn only_months_have_hours_and_their_energy_is_that_of_the_days() {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.place("gw-1", 1).await;
    let times = ticks(TimeWindow::between(at("2026-10-20T00:00:00Z"), at("2026-10-28T00:00:00Z")), QUARTER);
    let values = rising(&times, 0.0, |k| (k % 9) as f64);
    site.write("gw-1", &[counter("inv", SensorRole::Inverter, Quantity::EnergyProduced, values)]).await;
    assert!(site.report("gw-1", day(2026, 10, 25)).await.hours.is_empty());
    let report = site.report("gw-1", month(2026, 10)).await;
    let sum =
        |bars: &[BucketFigures]| -> f64 { bars.iter().filter_map(|bar| bar.produced).map(|energy| energy.watt_hours).sum() };
    assert!(sum(&report.hours) > 3_000.0);
    assert!((sum(&report.hours) - sum(&report.buckets)).abs() < 1e-6);
}
