use std::collections::BTreeMap;

use heliograph_domain::{
    GatewayId, Kind, MetricName, Period, PeriodKind, Quantity, Rollup, RollupFlags, SensorId, SensorRole, Step, Timestamp, Unit,
    WINDOW_MS, Zone,
};
use heliograph_store::{SeriesRecord, WindowRollup};
use jiff::civil;
use proptest::prelude::*;

use super::*;
use crate::expect::Light;
use crate::flow::SensorInput;

fn rollup(value: f64, covered_ms: u32, estimated: bool) -> Rollup {
    let flags = RollupFlags { estimated, ..RollupFlags::default() };
    Rollup {
        count: 1,
        min: -value,
        max: value,
        first: 0.0,
        last: 0.0,
        covered_ms,
        positive: value,
        negative: -value / 2.0,
        increase: value,
        flags,
    }
}

fn sensor(index: usize, role: SensorRole, kind: Kind, quantity: Quantity, windows: Vec<WindowRollup>) -> SensorInput {
    let series = SeriesRecord {
        metric: MetricName::parse("m").unwrap(),
        unit: Unit::parse(if kind == Kind::Gauge { "W" } else { "Wh" }).unwrap(),
        kind,
        quantity,
        latest: None,
        heard: None,
        first: windows.first().map(|window| window.start),
    };
    SensorInput {
        gateway: GatewayId::parse("gw").unwrap(),
        id: SensorId::parse(&format!("s{index}")).unwrap(),
        name: format!("s{index}"),
        role,
        rated_w: None,
        visible: TimeWindow::ALWAYS,
        series: vec![(series, windows)],
        parts: Vec::new(),
    }
}

const KINDS: [(SensorRole, Kind, Quantity); 8] = [
    (SensorRole::Inverter, Kind::Counter, Quantity::EnergyProduced),
    (SensorRole::Inverter, Kind::Gauge, Quantity::AcPower),
    (SensorRole::Production, Kind::DayCounter, Quantity::EnergyProduced),
    (SensorRole::Grid, Kind::NetCounter, Quantity::EnergyImported),
    (SensorRole::Grid, Kind::Gauge, Quantity::AcPower),
    (SensorRole::Load, Kind::IntervalEnergy, Quantity::EnergyConsumed),
    (SensorRole::Battery, Kind::Gauge, Quantity::AcPower),
    (SensorRole::Weather, Kind::Gauge, Quantity::IrradiancePlane),
];

/// By number of the quarter: value, covered milliseconds, whether estimated.
type Windows = BTreeMap<i64, (f64, u32, bool)>;
/// A place in [`KINDS`] and the windows of the series.
type Any = (usize, Windows);

/// Some windows around a week in October 2026, in which clocks change.
fn any_sensor() -> impl Strategy<Value = Any> {
    let window = (0.0..5_000.0f64, prop_oneof![Just(900_000u32), 0..900_000u32], any::<bool>());
    (0..KINDS.len(), proptest::collection::btree_map(0..900i64, window, 0..120))
}

fn inputs(sensors: &[Any], origin: Timestamp) -> Vec<SensorInput> {
    let windows = |values: &Windows| {
        let window = |(number, (value, covered, estimated)): (&i64, &(f64, u32, bool))| WindowRollup {
            start: origin.plus_millis(number * WINDOW_MS),
            rollup: rollup(*value, *covered, *estimated),
        };
        values.iter().map(window).collect()
    };
    let input = |(index, (kind, values)): (usize, &Any)| {
        let (role, kind, quantity) = KINDS[*kind];
        sensor(index, role, kind, quantity, windows(values))
    };
    sensors.iter().enumerate().map(input).collect()
}

fn sums(totals: &Totals) -> [Option<f64>; 4] {
    [totals.produced, totals.imported, totals.exported, totals.consumed].map(|energy| energy.map(|energy| energy.watt_hours))
}

fn nearly(a: [Option<f64>; 4], b: [Option<f64>; 4]) -> bool {
    a.iter().zip(&b).all(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-6,
        (a, b) => a.is_none() && b.is_none(),
    })
}

fn added(a: [Option<f64>; 4], b: [Option<f64>; 4]) -> [Option<f64>; 4] {
    std::array::from_fn(|i| match (a[i], b[i]) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bars_of_any_width_add_up_to_the_period(
        sensors in proptest::collection::vec(any_sensor(), 0..6),
        zone in prop_oneof![Just("UTC"), Just("Europe/Madrid"), Just("Asia/Kathmandu"), Just("America/St_Johns")],
        kind in proptest::sample::select(PeriodKind::ALL),
        now_hours in 0..240i64,
    ) {
        let zone = Zone::parse(zone).unwrap();
        let period = Period::around(kind, civil::date(2026, 10, 25));
        let origin = Timestamp::parse_rfc3339("2026-10-18T00:00:00Z").unwrap();
        let inputs = inputs(&sensors, origin);
        let window = period.window(&zone);
        let light = Light::over(None, window);
        let frame = Frame { period: window, now: origin.plus_millis(now_hours * 3_600_000), light: &light, whole: true };
        let books: Vec<SensorBook<'_>> = inputs.iter().map(|input| SensorBook::new(input, frame)).collect();
        let ledger = Ledger::of_site(&books, frame);
        let whole = ledger.totals(window);
        for step in Step::ALL {
            let bars: Vec<Totals> = period.buckets(&zone, *step).iter().map(|bucket| ledger.totals(bucket.window)).collect();
            let energy = bars.iter().map(sums).fold([None; 4], added);
            prop_assert!(nearly(energy, sums(&whole)), "{step}: {energy:?} is not {:?}", sums(&whole));
            let completeness = bars.iter().fold(Completeness::default(), |sum, bar| sum.sum(bar.completeness));
            prop_assert_eq!(completeness, whole.completeness);
            let peak = bars.iter().filter_map(|bar| bar.peak).reduce(higher);
            prop_assert_eq!(peak, whole.peak);
        }
        prop_assert!(whole.completeness.covered_ms <= whole.completeness.expected_ms);
        prop_assert!(ledger.gaps().windows(2).all(|pair| pair[0].end() <= pair[1].from));
    }

    #[test]
    fn the_books_of_two_sites_add_up(a in any_sensor(), b in any_sensor(), shift in -3..3i64) {
        let day = Period::around(PeriodKind::Day, civil::date(2026, 10, 19)).window(&Zone::utc());
        let other = TimeWindow::between(day.from.plus_millis(shift * 3_600_000), day.end().plus_millis(shift * 3_600_000));
        let light = Light::over(None, day);
        let book = |sensor: &Any, period: TimeWindow| {
            let inputs = inputs(std::slice::from_ref(sensor), Timestamp::parse_rfc3339("2026-10-18T00:00:00Z").unwrap());
            let frame = Frame { period, now: Timestamp::MAX, light: &light, whole: true };
            let books: Vec<SensorBook<'_>> = inputs.iter().map(|input| SensorBook::new(input, frame)).collect();
            Ledger::of_site(&books, frame)
        };
        let (first, second) = (book(&a, day), book(&b, other));
        let mut both = first.clone();
        both.add(&second);
        let expected = added(sums(&first.totals(TimeWindow::ALWAYS)), sums(&second.totals(TimeWindow::ALWAYS)));
        prop_assert!(nearly(sums(&both.totals(TimeWindow::ALWAYS)), expected));
    }
}
