//! What of a report stands in a file, and under which name. Names are part of what
//! the product promises: they are added to, and neither change nor go.

use heliograph_domain::{Currency, Period, Step, TimeWindow, Timestamp, Zone};

use super::{Cell, Column, Export, Fact, Owner, RATIO_DECIMALS, Table, W_DECIMALS, WH_DECIMALS, stem};
use crate::energy::{BucketFigures, Completeness, Energy, Figures, Peak};
use crate::flow::Direction;
use crate::gateway::GatewayReport;
use crate::location::{GatewayFigures, LocationReport};
use crate::performance::{Performance, PerformanceKind};
use crate::site::SensorFigures;
use crate::target::ExpectedYield;
use crate::year_before::YearBefore;

impl Export {
    /// What the page of a gateway report shows: bars with the main energy of each
    /// sensor, the hours of a month, sensors, their latest values, gaps. Bars and
    /// hours outside of what the reader may see are left out.
    #[must_use]
    pub fn of_gateway(report: &GatewayReport, made: Timestamp) -> Self {
        let id = report.id.to_string();
        let mut head = vec![fact("report", Cell::text("gateway")), fact("gateway", Cell::text(id.clone()))];
        head.extend([
            fact("name", Cell::text(report.name.clone())),
            fact("state", Cell::text(report.state.as_str())),
            fact("last_heard", Cell::local(report.last_seen)),
            fact("location", report.location.as_ref().map_or(Cell::Unknown, |location| Cell::text(location.name.clone()))),
        ]);
        head.extend(span(&report.period, report.window, report.step, &report.zone, made));
        let mut tables = vec![bars("bars", &report.buckets, report.window, &report.sensors)];
        if !report.hours.is_empty() {
            tables.push(bars("hours", &report.hours, report.window, &[]));
        }
        tables.extend([sensors(&report.sensors), latest_values(&report.sensors), gaps(&report.gaps)]);
        Self {
            stem: stem(&id, "gateway", &report.period),
            figures: figures(
                &report.figures,
                report.performance,
                (report.change(), last_year(report.year_before.as_ref())),
                &report.currency,
            ),
            zone: report.zone.clone(),
            made,
            head,
            tables,
        }
    }

    /// What the page of a location report shows: bars, its gateways, gaps.
    #[must_use]
    pub fn of_location(report: &LocationReport, made: Timestamp) -> Self {
        let location = &report.location;
        let id = location.id.to_string();
        let mut head = vec![fact("report", Cell::text("location")), fact("location_id", Cell::text(id.clone()))];
        head.extend([
            fact("name", Cell::text(location.name.clone())),
            fact("installed_kwp", Cell::number(location.installed_kwp, 3)),
            fact("latitude_deg", Cell::number(location.position.map(|position| position.latitude()), 6)),
            fact("longitude_deg", Cell::number(location.position.map(|position| position.longitude()), 6)),
        ]);
        head.extend(span(&report.period, report.window, report.step, &location.zone, made));
        let mut figures = figures(
            &report.figures,
            report.performance,
            (report.change(), last_year(report.year_before.as_ref())),
            &report.currency,
        );
        figures.extend(expected_facts(report.expected));
        let bars = with_expected(bars("bars", &report.buckets, report.window, &[]), &report.expected_bars_wh);
        Self {
            stem: stem(&location.name, &id, &report.period),
            figures,
            zone: location.zone.clone(),
            made,
            head,
            tables: vec![bars, gateways(&report.gateways), gaps(&report.gaps)],
        }
    }
}

fn fact(name: impl Into<String>, cell: Cell) -> Fact {
    Fact { name: name.into(), cell }
}

/// Of when a report is, and by which clock.
fn span(period: &Period, window: TimeWindow, step: Step, zone: &Zone, made: Timestamp) -> [Fact; 8] {
    [
        fact("zone", Cell::text(zone.name())),
        fact("period", Cell::text(period.kind().as_str())),
        fact("first_day", Cell::Day(period.first())),
        fact("last_day", Cell::Day(period.last())),
        fact("from", Cell::Local(window.from)),
        fact("until", Cell::Local(window.end())),
        fact("bar", Cell::text(step.as_str())),
        fact("made", Cell::Local(made)),
    ]
}

/// What production changed against the same period a year before.
fn last_year(year_before: Option<&YearBefore>) -> Option<f64> {
    year_before.and_then(|before| before.change)
}

/// `changes` are against the period before and against the same one a year before.
fn figures(
    figures: &Figures,
    performance: Option<Performance>,
    changes: (Option<f64>, Option<f64>),
    currency: &Currency,
) -> Vec<Fact> {
    let performance_of =
        |kind: PerformanceKind| performance.filter(|performance| performance.kind == kind).map(|performance| performance.value);
    let energies = [
        (Direction::Produced, figures.produced),
        (Direction::Imported, figures.imported),
        (Direction::Exported, figures.exported),
        (Direction::Consumed, figures.consumed),
    ];
    let mut facts: Vec<Fact> = energies.into_iter().flat_map(|(direction, energy)| energy_facts(direction, energy)).collect();
    facts.extend([
        fact("produced_change_ratio", Cell::number(changes.0, RATIO_DECIMALS)),
        fact("produced_change_year_ratio", Cell::number(changes.1, RATIO_DECIMALS)),
        fact("peak_w", watts(figures.peak.map(|peak| peak.watts))),
        fact("peak_at", peak_at(figures.peak)),
        fact("specific_yield_kwh_per_kwp", Cell::number(figures.specific_yield_kwh_per_kwp, 4)),
        fact("performance_ratio", Cell::number(performance_of(PerformanceKind::Ratio), RATIO_DECIMALS)),
        fact("clear_sky_index", Cell::number(performance_of(PerformanceKind::ClearSkyIndex), RATIO_DECIMALS)),
        fact("performance_covered", performance.map_or(Cell::Unknown, |performance| covered(performance.completeness))),
        fact("self_consumption", Cell::number(figures.self_consumption, RATIO_DECIMALS)),
        fact("self_sufficiency", Cell::number(figures.self_sufficiency, RATIO_DECIMALS)),
        fact("covered", covered(figures.completeness)),
        fact("co2_avoided_kg", Cell::number(figures.co2_kg, 3)),
        fact("revenue", Cell::number(figures.revenue.and_then(|sum| f64::try_from(sum).ok()), 2)),
        fact("savings", Cell::number(figures.savings.and_then(|sum| f64::try_from(sum).ok()), 2)),
        fact("revenue_currency", Cell::text(currency.as_str())),
    ]);
    facts
}

/// What was expected by the targets of the months.
fn expected_facts(expected: Option<ExpectedYield>) -> [Fact; 6] {
    let due = expected.filter(|expected| expected.days > 0);
    let watt_hours = |of: Option<f64>| Cell::number(of, WH_DECIMALS);
    [
        fact("expected_wh", watt_hours(expected.map(|expected| expected.whole_wh))),
        fact("expected_due_days", Cell::number(expected.map(|expected| f64::from(expected.days)), 0)),
        fact("expected_due_wh", watt_hours(due.map(|expected| expected.due_wh))),
        fact("expected_due_produced_wh", watt_hours(due.and_then(|expected| expected.produced_wh))),
        fact("expected_ratio", Cell::number(due.and_then(|expected| expected.ratio()), RATIO_DECIMALS)),
        fact("expected_covered", due.map_or(Cell::Unknown, |expected| covered(expected.known))),
    ]
}

fn energy_facts(direction: Direction, energy: Option<Energy>) -> [Fact; 4] {
    let name = direction.label();
    let flag = |of: fn(Energy) -> bool| energy.map_or(Cell::Unknown, |energy| Cell::Flag(of(energy)));
    [
        fact(format!("{name}_wh"), Cell::energy(energy)),
        fact(format!("{name}_source"), Cell::source(energy)),
        fact(format!("{name}_estimated"), flag(|energy| energy.estimated)),
        fact(format!("{name}_implausible_left_out"), flag(|energy| energy.flagged)),
    ]
}

fn columns<const N: usize>(names: [&str; N]) -> Vec<Column> {
    names.map(|name| Column { name: name.to_owned(), of: None }).into()
}

/// A row a bar. What is not known is empty.
fn bars(name: &'static str, buckets: &[BucketFigures], seen: TimeWindow, sensors: &[SensorFigures]) -> Table {
    let mut columns = columns([
        "start_local",
        "start_utc",
        "produced_wh",
        "produced_source",
        "imported_wh",
        "imported_source",
        "exported_wh",
        "exported_source",
        "consumed_wh",
        "consumed_source",
        "power_w",
        "consumption_w",
        "covered",
        "estimated",
    ]);
    columns.extend(sensors.iter().flat_map(sensor_columns));
    let shown = buckets.iter().enumerate().filter(|(_, bucket)| bucket.window.intersect(&seen).is_some());
    Table { name, columns, rows: shown.map(|(index, bucket)| bar(index, bucket, sensors)).collect() }
}

/// The same with what is expected of each bar.
fn with_expected(mut table: Table, expected_wh: &[Option<f64>]) -> Table {
    table.columns.extend(columns(["expected_wh"]));
    for (index, row) in table.rows.iter_mut().enumerate() {
        row.push(Cell::number(expected_wh.get(index).copied().flatten(), WH_DECIMALS));
    }
    table
}

fn bar(index: usize, bucket: &BucketFigures, sensors: &[SensorFigures]) -> Vec<Cell> {
    let energies = [bucket.produced, bucket.imported, bucket.exported, bucket.consumed];
    let mut cells = vec![Cell::Local(bucket.window.from), Cell::Utc(bucket.window.from)];
    cells.extend(energies.into_iter().flat_map(both));
    cells.extend([watts(bucket.power_w), watts(bucket.consumption_w), covered(bucket.completeness)]);
    cells.push(Cell::Flag(energies.iter().flatten().any(|energy| energy.estimated)));
    cells.extend(sensors.iter().flat_map(|sensor| both(sensor.buckets.get(index).copied().flatten())));
    cells
}

/// The energy that a sensor's role is about, and its source.
fn sensor_columns(sensor: &SensorFigures) -> [Column; 2] {
    let energy = sensor.main_energy().map_or("energy", |(direction, _)| direction.label());
    let owner = Owner { id: sensor.id.to_string(), name: sensor.name.clone() };
    ["wh", "source"].map(|what| Column { name: format!("{energy}_{what}"), of: Some(owner.clone()) })
}

fn both(energy: Option<Energy>) -> [Cell; 2] {
    [Cell::energy(energy), Cell::source(energy)]
}

const DIRECTIONS: [Direction; 6] = [
    Direction::Produced,
    Direction::Imported,
    Direction::Exported,
    Direction::Consumed,
    Direction::Charged,
    Direction::Discharged,
];

fn sensors(sensors: &[SensorFigures]) -> Table {
    let mut columns = columns(["sensor", "name", "role", "counted"]);
    let energies = DIRECTIONS.iter().flat_map(|direction| ["wh", "source"].map(|what| format!("{}_{what}", direction.label())));
    columns.extend(energies.map(|name| Column { name, of: None }));
    columns.extend(self::columns(["estimated", "peak_w", "peak_at", "covered"]));
    Table { name: "sensors", columns, rows: sensors.iter().map(sensor).collect() }
}

fn sensor(sensor: &SensorFigures) -> Vec<Cell> {
    let mut cells = vec![Cell::text(sensor.id.to_string()), Cell::text(sensor.name.clone())];
    cells.extend([Cell::text(sensor.role.as_str()), Cell::Flag(sensor.counted)]);
    cells.extend(DIRECTIONS.iter().flat_map(|direction| both(sensor.energy(*direction))));
    cells.push(Cell::Flag(sensor.energies.iter().any(|(_, energy)| energy.estimated)));
    cells.extend([watts(sensor.peak.map(|peak| peak.watts)), peak_at(sensor.peak), covered(sensor.completeness)]);
    cells
}

fn latest_values(sensors: &[SensorFigures]) -> Table {
    let values = sensors.iter().flat_map(|sensor| sensor.latest.iter().map(move |value| (sensor, value)));
    let row = |(sensor, value): (&SensorFigures, &crate::site::LatestValue)| {
        vec![
            Cell::text(sensor.id.to_string()),
            Cell::text(value.metric.clone()),
            Cell::number(value.sample.value, 3),
            Cell::text(value.unit.as_str()),
            Cell::Local(value.sample.at),
        ]
    };
    let columns = columns(["sensor", "metric", "value", "unit", "at"]);
    Table { name: "latest_values", columns, rows: values.map(row).collect() }
}

fn gaps(gaps: &[TimeWindow]) -> Table {
    let row = |gap: &TimeWindow| {
        let minutes = gap.end().millis_since(gap.from) / 60_000;
        vec![Cell::Local(gap.from), Cell::Local(gap.end()), Cell::number(minutes as f64, 0)]
    };
    Table { name: "gaps", columns: columns(["from", "until", "duration_min"]), rows: gaps.iter().map(row).collect() }
}

fn gateways(gateways: &[GatewayFigures]) -> Table {
    let row = |line: &GatewayFigures| {
        let produced = line.figures.produced;
        let mut cells = vec![Cell::text(line.id.to_string()), Cell::text(line.name.clone()), Cell::text(line.state.as_str())];
        cells.push(Cell::local(line.last_seen));
        cells.extend(both(produced));
        cells.push(Cell::Flag(produced.is_some_and(|energy| energy.estimated)));
        cells.push(covered(line.figures.completeness));
        cells
    };
    let columns = columns(["gateway", "name", "state", "last_heard", "produced_wh", "produced_source", "estimated", "covered"]);
    Table { name: "gateways", columns, rows: gateways.iter().map(row).collect() }
}

fn watts(watts: Option<f64>) -> Cell {
    Cell::number(watts, W_DECIMALS)
}

fn covered(completeness: Completeness) -> Cell {
    Cell::number(completeness.ratio(), RATIO_DECIMALS)
}

fn peak_at(peak: Option<Peak>) -> Cell {
    Cell::local(peak.map(|peak| peak.at))
}
