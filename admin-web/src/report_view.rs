//! The parts that report pages have in common: the chart at two widths, the
//! table that says the same, sensors and gaps.

use heliograph_domain::{SensorId, Step, TimeWindow, Zone};
use heliograph_report::chart::{Chart, ChartOptions, Palette, energy_chart, heat_map};
use heliograph_report::{
    BucketFigures, BucketState, InverterYield, LatestValue, LocationReport, Need, SensorFigures, format, inverter_yields,
};

use crate::figures::{UNKNOWN, completeness, duration, known, kwh, source_note};
use crate::form::local_text;
use crate::shell::encode;

/// One chart, drawn for wide and for narrow screens: scaled down, its letters
/// could not be read. The style sheet shows one of them.
pub(crate) struct Charts {
    pub(crate) wide: String,
    pub(crate) narrow: String,
}

impl Charts {
    pub(crate) fn of(buckets: &[BucketFigures], step: Step, title: &str) -> Self {
        let draw = |id: &str, width, height| {
            energy_chart(buckets, &ChartOptions { width, height, id: id.to_owned(), ..ChartOptions::new(title, step) })
        };
        Self {
            wide: draw("chart-wide", 1060, 300).svg(&Palette::Page),
            narrow: draw("chart-narrow", 400, 270).svg(&Palette::Page),
        }
    }
}

/// The hours of a month.
pub(crate) struct HeatMap {
    pub(crate) charts: Charts,
    pub(crate) note: String,
    /// Each day in words.
    pub(crate) days: Vec<(String, String)>,
}

impl HeatMap {
    /// `None` of what is no month, or one in which no power is known.
    pub(crate) fn of(hours: &[BucketFigures], name: &str) -> Option<Self> {
        let draw = |id: &str, width, height| {
            let title = format!("Mean power of {name} by hour and day");
            heat_map(hours, &ChartOptions { width, height, id: id.to_owned(), ..ChartOptions::new(title, Step::Hour) })
        };
        let wide = draw("heat-wide", 1060, 360)?;
        let narrow = draw("heat-narrow", 400, 400)?;
        let svg = |chart: &Chart| chart.svg(&Palette::Page);
        Some(Self {
            charts: Charts { wide: svg(&wide), narrow: svg(&narrow) },
            note: wide.description().to_owned(),
            days: wide.text_alternative().to_vec(),
        })
    }
}

/// One bar of the chart, as a row.
pub(crate) struct BarRow {
    pub(crate) label: String,
    pub(crate) produced: String,
    pub(crate) power: String,
    pub(crate) consumed: String,
    pub(crate) imported: String,
    pub(crate) exported: String,
    pub(crate) completeness: String,
    pub(crate) note: &'static str,
}

/// The rows of the table that says what the chart shows; what is not due is
/// left out.
pub(crate) fn bar_rows(buckets: &[BucketFigures], step: Step) -> Vec<BarRow> {
    let row = |bucket: &BucketFigures| BarRow {
        label: bar_label(bucket, step),
        produced: kwh(bucket.produced),
        power: known(bucket.power_w, format::power),
        consumed: kwh(bucket.consumed),
        imported: kwh(bucket.imported),
        exported: kwh(bucket.exported),
        completeness: completeness(bucket.completeness),
        note: match bucket.state() {
            BucketState::Missing => "no data",
            BucketState::Incomplete => "incomplete",
            BucketState::Complete | BucketState::Idle => "",
        },
    };
    buckets.iter().filter(|bucket| bucket.state() != BucketState::Idle).map(row).collect()
}

fn bar_label(bucket: &BucketFigures, step: Step) -> String {
    let pattern = match step {
        Step::Quarter => "%H:%M",
        Step::Hour => "%a %-d %b, %H:%M",
        Step::Day => "%a, %-d %b %Y",
        Step::Month => "%B %Y",
    };
    bucket.local.strftime(pattern).to_string()
}

/// One sensor's figures.
pub(crate) struct SensorRow {
    pub(crate) name: String,
    /// Where that differs from the name.
    pub(crate) id: String,
    pub(crate) role: &'static str,
    pub(crate) energies: Vec<(&'static str, String, String)>,
    pub(crate) peak: String,
    pub(crate) peak_at: String,
    pub(crate) completeness: String,
    pub(crate) incomplete: bool,
    pub(crate) latest: Vec<LatestRow>,
    pub(crate) latest_at: String,
    /// Where the time of the latest values is kept live.
    pub(crate) live: String,
    pub(crate) passed_over: bool,
}

/// The latest reading of a series.
pub(crate) struct LatestRow {
    pub(crate) metric: String,
    pub(crate) value: String,
    /// Where it is kept live.
    pub(crate) live: String,
}

/// What a live place of a page is called: that of a value, or of the time of all of
/// a sensor's.
pub(crate) fn live_key(sensor: &SensorId, value: Option<&LatestValue>) -> String {
    match value {
        Some(value) => format!("value/{sensor}/{}/{}", value.metric, value.unit.as_str()),
        None => format!("at/{sensor}"),
    }
}

/// When the latest of some readings was.
pub(crate) fn latest_at(values: &[LatestValue], zone: &Zone) -> String {
    let newest = values.iter().map(|value| value.sample.at).max();
    newest.map_or_else(|| UNKNOWN.to_owned(), |at| local_text(at, zone))
}

pub(crate) fn sensor_rows(sensors: &[SensorFigures], zone: &Zone) -> Vec<SensorRow> {
    sensors.iter().map(|sensor| sensor_row(sensor, zone)).collect()
}

fn sensor_row(sensor: &SensorFigures, zone: &Zone) -> SensorRow {
    let id = sensor.id.to_string();
    SensorRow {
        id: if id == sensor.name { String::new() } else { id },
        name: sensor.name.clone(),
        role: sensor.role.as_str(),
        energies: sensor
            .energies
            .iter()
            .map(|(direction, energy)| (direction.label(), kwh(Some(*energy)), source_note(Some(*energy))))
            .collect(),
        peak: known(sensor.peak.map(|peak| peak.watts), format::power),
        peak_at: sensor.peak.map(|peak| local_text(peak.at, zone)).unwrap_or_default(),
        completeness: completeness(sensor.completeness),
        incomplete: sensor.completeness.is_incomplete(),
        latest: sensor
            .latest
            .iter()
            .map(|value| LatestRow {
                metric: value.metric.clone(),
                value: reading(value.sample.value, value.unit.as_str()),
                live: live_key(&sensor.id, Some(value)),
            })
            .collect(),
        latest_at: latest_at(&sensor.latest, zone),
        live: live_key(&sensor.id, None),
        passed_over: !sensor.counted && !sensor.energies.is_empty(),
    }
}

pub(crate) fn reading(value: f64, unit: &str) -> String {
    match unit {
        "W" => format::power(value),
        "Wh" => format::energy(value),
        "" => trimmed(value),
        _ => format!("{}\u{a0}{unit}", trimmed(value)),
    }
}

/// A number with at most three decimals and none that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

/// An inverter beside its neighbours.
pub(crate) struct InverterRow {
    pub(crate) name: String,
    pub(crate) gateway: String,
    pub(crate) path: String,
    pub(crate) energy: String,
    pub(crate) specific_yield: String,
    /// A picture of the yield, with a mark where the neighbours' median is.
    pub(crate) bar: String,
    pub(crate) neighbours: String,
    pub(crate) difference: String,
    /// Whether it gave so much less than so many that somebody should look at it.
    pub(crate) is_low: bool,
    pub(crate) completeness: String,
    pub(crate) incomplete: bool,
}

/// The inverters of a site, the worst first; none where there are not two to compare.
pub(crate) fn inverter_rows(report: &LocationReport) -> Vec<InverterRow> {
    let yields = inverter_yields(&report.sensors);
    let compared = yields.iter().filter(|row| row.difference().is_some()).count();
    if compared < 2 {
        return Vec::new();
    }
    let most = yields.iter().filter_map(|row| row.specific_yield).fold(0.0, f64::max);
    yields.iter().map(|row| inverter_row(row, report, most, compared)).collect()
}

fn inverter_row(row: &InverterYield, report: &LocationReport, most: f64, compared: usize) -> InverterRow {
    let gateway = report.gateways.iter().find(|line| line.id == row.gateway);
    let difference = row.difference();
    InverterRow {
        name: row.name.clone(),
        gateway: gateway.map_or_else(|| row.gateway.to_string(), |line| line.name.clone()),
        path: format!("/gateways/{}", encode(row.gateway.as_str())),
        energy: kwh(row.energy),
        specific_yield: known(row.specific_yield, format::specific_yield),
        bar: row.specific_yield.map(|given| yield_bar(given, row.neighbours, most)).unwrap_or_default(),
        neighbours: known(row.neighbours, format::specific_yield),
        difference: known(difference, format::change),
        // Of two nobody knows which one is wrong; what is missing is told beside it.
        is_low: compared >= Need::NEIGHBOURS
            && !row.completeness.is_incomplete()
            && difference.is_some_and(|difference| difference <= LOW),
        completeness: completeness(row.completeness),
        incomplete: row.completeness.is_incomplete(),
    }
}

/// From here on an inverter gave noticeably less than its neighbours.
const LOW: f64 = -0.1;

/// A bar with a mark, for a cell; the figures stand beside it.
fn yield_bar(given: f64, median: Option<f64>, most: f64) -> String {
    let share = |value: f64| if most > 0.0 { (value / most).clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    let mark =
        median.map(|median| format!(r#"<rect class="yield-median" x="{:.1}" width="2" height="14"/>"#, share(median).min(98.0)));
    format!(
        r#"<svg class="yield" viewBox="0 0 100 14" width="100" height="14" aria-hidden="true"><rect class="yield-bar" y="2" width="{:.1}" height="10" rx="2"/>{}</svg>"#,
        share(given),
        mark.unwrap_or_default()
    )
}

/// A time without data.
pub(crate) struct GapRow {
    pub(crate) from: String,
    pub(crate) until: String,
    pub(crate) duration: String,
}

pub(crate) fn gap_rows(gaps: &[TimeWindow], zone: &Zone) -> Vec<GapRow> {
    let row = |gap: &TimeWindow| GapRow {
        from: local_text(gap.from, zone),
        until: local_text(gap.end(), zone),
        duration: duration(gap.end().millis_since(gap.from)),
    };
    gaps.iter().map(row).collect()
}
