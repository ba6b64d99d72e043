use heliograph_domain::*;
use heliograph_report::chart::*;
use heliograph_report::*;
fn e(wh: f64) -> Option<Energy> {
    Some(Energy { watt_hours: wh, source: EnergySource::Counter, estimated: false, flagged: false })
}
fn full(ms: u64, c: u64) -> Completeness {
    Completeness { expected_ms: ms, covered_ms: c }
}
fn noise(i: usize) -> f64 {
    ((i as f64 * 12.9898).sin() * 43758.5453).fract().abs()
}
fn rows(kind: PeriodKind, cons: bool) -> (Vec<BucketFigures>, Step) {
    let zone = Zone::parse("Europe/Madrid").unwrap();
    let p = Period::around(kind, jiff::civil::date(2026, 10, 25));
    let p = if kind == PeriodKind::Month || kind == PeriodKind::Day {
        Period::around(kind, jiff::civil::date(2026, 10, 12))
    } else {
        p
    };
    let step = p.natural_step();
    let b = p.buckets(&zone, step);
    let n = b.len();
    let r = b
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let mut f = BucketFigures {
                window: b.window,
                local: b.local,
                produced: None,
                imported: None,
                exported: None,
                consumed: None,
                power_w: None,
                consumption_w: None,
                completeness: full(100, 100),
            };
            match step {
                Step::Quarter => {
                    let h = i as f64 / 4.0;
                    let s = ((h - 7.5) / 11.5 * std::f64::consts::PI).sin();
                    let cloud = if (44..60).contains(&i) { 0.55 + 0.4 * noise(i) } else { 1.0 };
                    if (30..76).contains(&i) {
                        f.power_w = Some(42000.0 * s.max(0.0) * cloud);
                        f.produced = e(f.power_w.unwrap() / 4.0);
                    }
                    if cons {
                        f.consumption_w = Some(9000.0 + 6000.0 * noise(i / 3) + if (32..72).contains(&i) { 8000.0 } else { 0.0 });
                    }
                    if (50..56).contains(&i) {
                        f.power_w = None;
                        f.produced = None;
                        f.consumption_w = None;
                        f.completeness = full(100, 0);
                    }
                    if !(30..76).contains(&i) && !cons {
                        f.completeness = full(0, 0);
                    }
                    if i > 80 {
                        f = BucketFigures { produced: None, power_w: None, consumption_w: None, completeness: full(0, 0), ..f };
                    }
                }
                Step::Day => {
                    f.produced = e(90000.0 + 170000.0 * noise(i + 3));
                    if cons {
                        f.consumed = e(110000.0 + 50000.0 * noise(i + 40));
                    }
                    if i == 8 || i == 9 {
                        f.completeness = full(100, 62);
                        f.produced = e(71000.0);
                    }
                    if (14..17).contains(&i) {
                        f.produced = None;
                        f.consumed = None;
                        f.completeness = full(100, 0);
                    }
                    if i > 26 {
                        f.produced = None;
                        f.consumed = None;
                        f.completeness = full(0, 0);
                    }
                }
                Step::Month => {
                    let s = ((i as f64 + 0.5) / 12.0 * std::f64::consts::PI).sin();
                    f.produced = e(2.1e6 + 5.2e6 * s);
                    if cons {
                        f.consumed = e(4.5e6 - 1.2e6 * s);
                    }
                    if i == 0 {
                        f.produced = None;
                        f.consumed = None;
                        f.completeness = full(0, 0);
                    }
                    if i == 1 {
                        f.completeness = full(100, 70);
                    }
                    if i == 10 {
                        f.completeness = full(100, 96);
                    }
                    if i == 11 {
                        f.produced = None;
                        f.consumed = None;
                        f.completeness = full(0, 0);
                    }
                }
                Step::Hour => {
                    f.produced = e(1000.0 * noise(i));
                }
            }
            f
        })
        .collect::<Vec<_>>();
    let _ = n;
    (r, step)
}
fn main() {
    for (name, kind) in
        [("day", PeriodKind::Day), ("week", PeriodKind::Week), ("month", PeriodKind::Month), ("year", PeriodKind::Year)]
    {
        for (w, h) in [(390u32, 240u32), (1000, 300)] {
            for cons in [false, true] {
                let (r, step) = rows(kind, cons);
                let c = energy_chart(&r, &ChartOptions { width: w, height: h, ..ChartOptions::new("x", step) });
                std::fs::write(format!("/tmp/charts/{name}-{w}-{cons}.png"), c.png(if w == 390 { 2.0 } else { 1.5 }).unwrap())
                    .unwrap();
                if w == 1000 {
                    std::fs::write(format!("/tmp/charts/{name}-{cons}.svg"), c.svg(&Palette::Page)).unwrap();
                }
            }
        }
    }
}
