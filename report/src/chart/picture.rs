//! The picture of the README: how a reading gets from a roof to a report, with a
//! chart that the product itself has drawn.

use std::fmt::Write as _;

use heliograph_domain::{Colour, Period, PeriodKind, Step, Zone};
use jiff::civil;

use super::scene::{escape, short};
use super::{ChartOptions, Palette, energy_chart};
use crate::energy::{BucketFigures, Completeness, Energy, EnergySource};
use crate::format;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 560.0;
const INK: &str = "#e8f3ef";
const SOFT: &str = "#9fc2b7";
const CARD: &str = "#17443a";
const EDGE: &str = "#2c6656";
const SUN: &str = "#ffc857";

/// A self-contained SVG picture of the platform: gateways push to ingest, ingest
/// writes to a store of each provider, panel and mails report from it.
#[must_use]
pub fn readme_picture() -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="Gateways push XML to ingest, which acknowledges after a durable write; panel and mails report from each provider's own store" font-family="Ubuntu, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif">"#
    );
    let day = sample_day();
    svg.push_str(&ground());
    svg.push_str(&wires());
    svg.push_str(&gateways());
    svg.push_str(&ingest());
    svg.push_str(&silos());
    svg.push_str(&panel(&day));
    svg.push_str(&mail(&day));
    svg.push_str("</svg>\n");
    svg
}

fn ground() -> String {
    let rays: String = (0..12)
        .map(|ray| {
            let angle = f64::from(ray) * 30f64.to_radians();
            let (x, y) = (angle.cos(), angle.sin());
            let point = |radius: f64| format!("{} {}", short(62.0 + x * radius), short(62.0 + y * radius));
            format!("M{}L{}", point(19.0), point(25.0))
        })
        .collect();
    let title = text(104.0, 60.0, 30.0, INK, "Heliograph");
    let line = text(104.0, 84.0, 15.0, SOFT, "From XML on a wire to figures that say how complete they are");
    format!(
        r##"<defs><linearGradient id="ground" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#0b241f"/><stop offset="1" stop-color="#14493d"/></linearGradient></defs><rect width="{WIDTH}" height="{HEIGHT}" rx="20" fill="url(#ground)"/><circle cx="62" cy="62" r="13" fill="{SUN}"/><path d="{rays}" stroke="{SUN}" stroke-width="3" stroke-linecap="round"/>{title}{line}"##
    )
}

/// What connects the parts.
fn wires() -> String {
    let wire = |data: &str| {
        format!(r#"<path d="{data}" fill="none" stroke="{SUN}" stroke-width="2" stroke-dasharray="1 7" stroke-linecap="round"/>"#)
    };
    let arrow = |x: f64, y: f64| {
        let (x, up, down, back) = (short(x), short(y - 5.0), short(y + 5.0), short(x - 8.0));
        format!(
            r#"<path d="M{back} {up}L{x} {}L{back} {down}" fill="none" stroke="{SUN}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/>"#,
            short(y)
        )
    };
    let mut svg = String::new();
    for y in [190.0, 310.0, 430.0] {
        svg.push_str(&wire(&format!("M236 {y}C276 {y} 262 310 304 310")));
    }
    svg.push_str(&wire("M486 300C520 300 516 236 548 236"));
    svg.push_str(&wire("M486 320C520 320 516 392 548 392"));
    svg.push_str(&wire("M676 236C706 236 696 262 726 262"));
    svg.push_str(&wire("M676 392C706 392 696 478 726 478"));
    for (x, y) in [(308.0, 310.0), (552.0, 236.0), (552.0, 392.0), (730.0, 262.0), (730.0, 478.0)] {
        svg.push_str(&arrow(x, y));
    }
    svg
}

fn gateways() -> String {
    let mut svg = text(40.0, 134.0, 13.0, SOFT, "GATEWAYS");
    for (y, id, place) in
        [(148.0, "gw-0001", "School, Madrid"), (268.0, "gw-0002", "Farm, Kolkata"), (388.0, "gw-0003", "Depot, St. John's")]
    {
        svg.push_str(&card(40.0, y, 196.0, 84.0));
        svg.push_str(&module(56.0, y + 22.0));
        svg.push_str(&text(112.0, y + 38.0, 16.0, INK, id));
        svg.push_str(&text(112.0, y + 60.0, 13.0, SOFT, place));
    }
    svg
}

/// A solar module, seen from below the roof's edge.
fn module(x: f64, y: f64) -> String {
    let at = |dx: f64, dy: f64| format!("{} {}", short(x + dx), short(y + dy));
    let frame = format!("M{}L{}L{}L{}Z", at(8.0, 0.0), at(42.0, 0.0), at(34.0, 36.0), at(0.0, 36.0));
    let lines = format!(
        "M{}L{}M{}L{}M{}L{}M{}L{}",
        at(19.3, 0.0),
        at(11.3, 36.0),
        at(30.7, 0.0),
        at(22.7, 36.0),
        at(5.3, 12.0),
        at(39.3, 12.0),
        at(2.7, 24.0),
        at(36.7, 24.0)
    );
    format!(
        r##"<path d="{frame}" fill="#1f6f8b"/><path d="{lines}" stroke="#8fd0e6" stroke-width="1.2"/><path d="{frame}" fill="none" stroke="#cfeaf4" stroke-width="1.6" stroke-linejoin="round"/>"##
    )
}

fn ingest() -> String {
    let code = |y: f64, colour: &str, line: &str| {
        let line = escape(line);
        format!(
            r#"<text x="328" y="{y}" font-family="Hack, ui-monospace, Menlo, Consolas, monospace" font-size="11.5" fill="{colour}">{line}</text>"#
        )
    };
    [
        card(310.0, 204.0, 176.0, 212.0),
        text(328.0, 236.0, 18.0, INK, "ingest"),
        text(328.0, 258.0, 12.5, SOFT, "one document, framed"),
        code(288.0, SOFT, "<push seq=\"17\">"),
        code(306.0, SOFT, "  <sensor …>"),
        code(324.0, SOFT, "</push>"),
        code(354.0, SUN, "<ack seq=\"17\""),
        code(372.0, SUN, "  readings=\"20\"/>"),
        text(328.0, 398.0, 12.5, SOFT, "after the durable write"),
    ]
    .concat()
}

fn silos() -> String {
    let mut svg = text(556.0, 160.0, 13.0, SOFT, "ONE STORE EACH");
    for (y, name) in [(180.0, "sunrise"), (336.0, "meridian")] {
        let (top, bottom) = (y + 14.0, y + 98.0);
        _ = write!(
            svg,
            r#"<path d="M556 {top}V{bottom}A60 14 0 0 0 676 {bottom}V{top}" fill="{CARD}" stroke="{EDGE}" stroke-width="1.5"/><ellipse cx="616" cy="{top}" rx="60" ry="14" fill="{EDGE}"/>"#
        );
        for ring in [y + 42.0, y + 70.0] {
            _ = write!(svg, r#"<path d="M556 {ring}A60 14 0 0 0 676 {ring}" fill="none" stroke="{EDGE}" stroke-width="1.5"/>"#);
        }
        _ = write!(svg, r#"<text x="616" y="{}" text-anchor="middle" font-size="15" fill="{INK}">{name}</text>"#, y + 68.0);
    }
    svg
}

fn panel(day: &[BucketFigures]) -> String {
    let total = day.iter().filter_map(|bucket| bucket.produced).map(|energy| energy.watt_hours).sum();
    let options = ChartOptions {
        width: 400,
        height: 200,
        id: "picture".to_owned(),
        ..ChartOptions::new("A day in the panel", Step::Quarter)
    };
    let chart = energy_chart(day, &options).svg(&Palette::Print { accent: Colour::default() });
    let chart = chart.replacen("<svg ", r#"<svg x="748" y="184" "#, 1);
    let mut svg = r##"<rect x="732" y="104" width="428" height="296" rx="14" fill="#ffffff"/>"##.to_owned();
    let peak = day.iter().filter_map(|bucket| bucket.power_w).fold(0.0, f64::max);
    let tiles = [
        (756.0, "Produced", format::energy(total)),
        (880.0, "Peak", format::power(peak)),
        (990.0, "Complete", format::percent(completeness(day))),
    ];
    for (x, name, value) in tiles {
        svg.push_str(&text(x, 134.0, 12.5, "#5b6b66", name));
        svg.push_str(&text(x, 162.0, 22.0, "#12352d", &value));
    }
    svg + &chart
}

fn mail(day: &[BucketFigures]) -> String {
    let total = day.iter().filter_map(|bucket| bucket.produced).map(|energy| energy.watt_hours).sum();
    let says = format!("{} produced, {} measured", format::energy(total), format::percent(completeness(day)));
    [
        r##"<rect x="732" y="424" width="428" height="104" rx="14" fill="#ffffff"/>"##.to_owned(),
        r##"<rect x="756" y="452" width="66" height="48" rx="6" fill="#dcece6" stroke="#0f6b57" stroke-width="2"/><path d="M758 456L789 480L820 456" fill="none" stroke="#0f6b57" stroke-width="2" stroke-linejoin="round"/>"##.to_owned(),
        text(844.0, 470.0, 17.0, "#12352d", "Your plants on 21 June"),
        text(844.0, 494.0, 14.0, "#5b6b66", &says),
    ]
    .concat()
}

fn completeness(day: &[BucketFigures]) -> f64 {
    day.iter().fold(Completeness::default(), |sum, bucket| sum.sum(bucket.completeness)).ratio().unwrap_or(1.0)
}

fn card(x: f64, y: f64, width: f64, height: f64) -> String {
    format!(
        r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="14" fill="{CARD}" stroke="{EDGE}" stroke-width="1.5"/>"#
    )
}

fn text(x: f64, y: f64, size: f64, colour: &str, text: &str) -> String {
    format!(r#"<text x="{x}" y="{y}" font-size="{size}" fill="{colour}">{}</text>"#, escape(text))
}

/// A made-up day in June with passing clouds and one gap.
fn sample_day() -> Vec<BucketFigures> {
    let zone = Zone::parse("Europe/Madrid").unwrap_or_else(|_| Zone::utc());
    let period = Period::around(PeriodKind::Day, civil::date(2026, 6, 21));
    let buckets = period.buckets(&zone, Step::Quarter);
    buckets.iter().enumerate().map(|(index, bucket)| sample_quarter(index, bucket)).collect()
}

fn sample_quarter(index: usize, bucket: &heliograph_domain::Bucket) -> BucketFigures {
    let sun = ((index as f64 - 27.0) / 60.0 * std::f64::consts::PI).sin().max(0.0);
    let light = (27..=87).contains(&index);
    let cloud = match index {
        60..=69 => [0.82, 0.61, 0.9, 0.55, 0.7, 0.93, 0.66, 0.8, 0.97, 0.9].get(index - 60).copied().unwrap_or(1.0),
        _ => 1.0,
    };
    let gap = (76..80).contains(&index);
    let watts = 46_000.0 * sun.powf(1.25) * cloud;
    let load = 9_000.0 + if (32..72).contains(&index) { 7_000.0 } else { 0.0 } + ((index * 7) % 5) as f64 * 500.0;
    let known = |value: f64| (!gap).then_some(value);
    let energy = |watts: f64| {
        known(watts / 4.0).map(|watt_hours| Energy {
            watt_hours,
            source: EnergySource::Counter,
            estimated: false,
            flagged: false,
        })
    };
    BucketFigures {
        window: bucket.window,
        local: bucket.local,
        produced: if light { energy(watts) } else { None },
        imported: None,
        exported: None,
        consumed: energy(load),
        power_w: known(watts).filter(|_| light),
        consumption_w: known(load),
        completeness: Completeness { expected_ms: 900_000, covered_ms: if gap { 0 } else { 900_000 } },
    }
}
