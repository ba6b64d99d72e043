//! Charts as SVG, PNG and text.

use heliograph_domain::{Period, PeriodKind, Step, Zone};
use heliograph_report::chart::{Chart, ChartOptions, Palette, energy_chart, readme_picture};
use heliograph_report::{BucketFigures, Completeness, Energy, EnergySource};
use jiff::civil;

fn energy(watt_hours: f64) -> Option<Energy> {
    Some(Energy { watt_hours, source: EnergySource::Counter, estimated: false, flagged: false })
}

/// The bars of a week in Madrid: produced Wh and percent covered; `None` where
/// nothing is known.
fn week(days: [(Option<f64>, u64); 7]) -> Vec<BucketFigures> {
    let period = Period::around(PeriodKind::Week, civil::date(2026, 6, 10));
    let buckets = period.buckets(&Zone::parse("Europe/Madrid").unwrap(), Step::Day);
    let bar = |(bucket, (wh, covered)): (&heliograph_domain::Bucket, (Option<f64>, u64))| BucketFigures {
        window: bucket.window,
        local: bucket.local,
        produced: wh.and_then(energy),
        imported: None,
        exported: None,
        consumed: wh.map(|wh| wh * 0.6).and_then(energy),
        power_w: None,
        consumption_w: None,
        completeness: Completeness { expected_ms: 100, covered_ms: covered },
    };
    buckets.iter().zip(days).map(bar).collect()
}

fn sample(title: &str) -> Chart {
    let days = [
        (Some(21_000.0), 100),
        (Some(24_500.0), 100),
        (Some(9_000.0), 55),
        (None, 0),
        (Some(18_250.0), 100),
        (Some(0.0), 100),
        (Some(30_000.0), 100),
    ];
    energy_chart(&week(days), &ChartOptions { width: 480, height: 240, ..ChartOptions::new(title, Step::Day) })
}

#[test]
fn a_week_is_drawn_as_it_was_agreed() {
    insta::assert_snapshot!(sample("Energy of Roof 1").svg(&Palette::Page).replace("><", ">\n<"));
}

#[test]
fn missing_bars_are_gaps_and_incomplete_ones_are_marked() {
    let svg = sample("Energy").svg(&Palette::Page);
    let count = |class: &str| svg.matches(&format!("class=\"{class}\"")).count();
    // One in the legend each; a day with nothing produced is no gap and no bar.
    assert_eq!(count("chart-bar"), 4 + 1);
    assert_eq!(count("chart-bar-partial"), 1 + 1);
    assert_eq!(count("chart-gap"), 1 + 1);
    assert_eq!(count("chart-hover"), 7);
    assert!(svg.contains("<title>Wed 10 Jun 2026: 9.00\u{a0}kWh produced, 5.40\u{a0}kWh consumed, 55\u{a0}% measured</title>"));
    assert!(svg.contains("<title>Thu 11 Jun 2026: no data</title>"));
    assert!(!svg.contains("style="), "a strict CSP forbids inline styles");
}

#[test]
fn whatever_a_name_holds_the_svg_stays_well_formed() {
    for title in ["<script>alert(1)</script>", "a & b \"c\" 'd'", "\u{0}\u{b}\u{ffff}x", "]]>", "日本 🌞"] {
        for palette in [Palette::Page, Palette::Print { accent: heliograph_domain::Colour::default() }] {
            let svg = sample(title).svg(&palette);
            let document = roxmltree::Document::parse(&svg).unwrap();
            assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
        }
    }
}

#[test]
fn the_text_alternative_says_each_bar() {
    let chart = sample("Energy");
    let rows = chart.text_alternative();
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[3], ("Thu 11 Jun 2026".to_owned(), "no data".to_owned()));
    assert_eq!(rows[6].1, "30.0\u{a0}kWh produced, 18.0\u{a0}kWh consumed");
    let description = chart.description();
    assert!(description.contains("103\u{a0}kWh produced in all; no data in 1 of 7"), "{description}");
}

#[test]
fn the_png_shows_the_same_chart_in_the_accent_colour() {
    let accent = heliograph_domain::Colour::parse("#c01048").unwrap();
    let options = ChartOptions { width: 480, height: 240, accent, ..ChartOptions::new("Energy", Step::Day) };
    let chart = energy_chart(&week([(Some(20_000.0), 100); 7]), &options);
    let png = chart.png(2.0).unwrap();
    let image = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert_eq!((image.width(), image.height()), (960, 480));
    let share = |colour: [u8; 3]| {
        let same = image.pixels().iter().filter(|pixel| [pixel.red(), pixel.green(), pixel.blue()] == colour).count();
        same as f64 / image.pixels().len() as f64
    };
    assert!((0.2..0.7).contains(&share([0xc0, 0x10, 0x48])), "{}", share([0xc0, 0x10, 0x48]));
    // Letters: the axis has labels, so pixels left of the bars are not all white.
    let left = (0..480).flat_map(|y| (0..50).map(move |x| (x, y)));
    assert!(left.filter(|(x, y)| image.pixel(*x, *y).is_some_and(|pixel| pixel.red() < 150)).count() > 100);
    assert!(chart.png(0.0).is_err() && chart.png(f32::NAN).is_err() && chart.png(1e9).is_err());
}

#[test]
fn charts_of_any_shape_are_drawn() {
    for (width, height) in [(0, 0), (1, 1), (120, 60), (390, 240), (4_000, 100)] {
        for kind in PeriodKind::ALL {
            let period = Period::around(*kind, civil::date(2026, 10, 25));
            let step = period.natural_step();
            let buckets = period.buckets(&Zone::parse("Europe/Madrid").unwrap(), step);
            let bars: Vec<BucketFigures> = buckets
                .iter()
                .enumerate()
                .map(|(index, bucket)| BucketFigures {
                    window: bucket.window,
                    local: bucket.local,
                    produced: energy(index as f64 * 1e9 - 5.0),
                    imported: None,
                    exported: None,
                    consumed: None,
                    power_w: Some(index as f64 - 3.0),
                    consumption_w: None,
                    completeness: Completeness::default(),
                })
                .collect();
            for bars in [bars.as_slice(), &[]] {
                let svg = energy_chart(bars, &ChartOptions { width, height, ..ChartOptions::new("x", step) }).svg(&Palette::Page);
                assert!(roxmltree::Document::parse(&svg).is_ok());
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{width}x{height} {kind}");
            }
        }
    }
}

#[test]
fn the_picture_of_the_readme_is_the_one_in_docs() {
    let stored = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/picture.svg")).unwrap();
    let drawn = readme_picture();
    assert!(roxmltree::Document::parse(&drawn).is_ok());
    assert!(
        stored.trim_end() == drawn.trim_end(),
        "draw it again: cargo run -p heliograph-report --example picture > docs/picture.svg"
    );
}
