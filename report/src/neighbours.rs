//! Inverters side by side: what each gave for each kW of its rated power, against the
//! median of its neighbours.

use heliograph_domain::{GatewayId, SensorId, SensorRole};

use crate::energy::{Completeness, Energy, EnergySource};
use crate::site::SensorFigures;

/// An inverter of a site beside the others.
#[derive(Debug, Clone, PartialEq)]
pub struct InverterYield {
    /// Its gateway.
    pub gateway: GatewayId,
    /// What the gateway calls it.
    pub id: SensorId,
    /// What people call it, or its point.
    pub name: String,
    /// What it produced.
    pub energy: Option<Energy>,
    /// kWh for each kW of its rated power, where that is known.
    pub specific_yield: Option<f64>,
    /// The median of its neighbours' yields: of the others that were there for most of
    /// the time and of which nearly all is known. `None` where it was not, or there are none.
    pub neighbours: Option<f64>,
    /// How much of the expected time was measured.
    pub completeness: Completeness,
}

impl InverterYield {
    /// Below this part of what was expected, one without a counter is not compared.
    pub const ENOUGH: f64 = 0.9;

    /// What it gave more than its neighbours' median (−0.1: a tenth less).
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        let (own, median) = self.specific_yield.zip(self.neighbours)?;
        (median > 0.0).then(|| own / median - 1.0)
    }
}

/// The inverters of a report, the one that gave least against its neighbours first; those
/// that are compared with none come last.
#[must_use]
pub fn inverter_yields(sensors: &[SensorFigures]) -> Vec<InverterYield> {
    let inverters = || sensors.iter().filter(|sensor| sensor.role == SensorRole::Inverter);
    let longest = inverters().map(|sensor| sensor.completeness.expected_ms).max().unwrap_or(0);
    // Who was there for a part of the time had a part of the sun.
    let is_comparable = |sensor: &SensorFigures| sensor.completeness.expected_ms * 4 >= longest * 3 && is_told(sensor);
    let yields: Vec<Option<f64>> = inverters().map(|sensor| specific_yield(sensor).filter(|_| is_comparable(sensor))).collect();
    let row = |(index, sensor): (usize, &SensorFigures)| {
        let others = yields.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, given)| *given);
        InverterYield {
            gateway: sensor.gateway.clone(),
            id: sensor.id.clone(),
            name: sensor.name.clone(),
            energy: sensor.main_energy().map(|(_, energy)| energy),
            specific_yield: specific_yield(sensor),
            neighbours: median(others.collect()).filter(|_| is_comparable(sensor)),
            completeness: sensor.completeness,
        }
    };
    let mut rows: Vec<InverterYield> = inverters().enumerate().map(row).collect();
    rows.sort_by(|a, b| {
        let order = |row: &InverterYield| row.difference().unwrap_or(f64::INFINITY);
        order(a).total_cmp(&order(b)).then_with(|| a.name.cmp(&b.name)).then_with(|| a.gateway.cmp(&b.gateway))
    });
    rows
}

/// Whether nearly all that it gave is known: a counter tells later what it rose while
/// nothing was heard, whatever else measures does not.
fn is_told(sensor: &SensorFigures) -> bool {
    let is_counted = sensor.main_energy().is_some_and(|(_, energy)| energy.source == EnergySource::Counter);
    is_counted || sensor.completeness.ratio().is_some_and(|ratio| ratio >= InverterYield::ENOUGH)
}

fn specific_yield(sensor: &SensorFigures) -> Option<f64> {
    let (_, energy) = sensor.main_energy()?;
    let rated_w = sensor.rated_w.filter(|rated_w| *rated_w > 0.0)?;
    Some(energy.watt_hours / rated_w).filter(|given| given.is_finite())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    let lower = values.get((values.len() - 1) / 2).copied()?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Direction;

    fn inverter(name: &str, kwh: f64, rated_kw: Option<f64>, expected_h: u64) -> SensorFigures {
        let expected_ms = expected_h * 3_600_000;
        let energy = Energy { watt_hours: kwh * 1000.0, source: EnergySource::Counter, estimated: false, flagged: false };
        SensorFigures {
            gateway: GatewayId::parse("gw").unwrap(),
            id: SensorId::parse(name).unwrap(),
            name: name.to_owned(),
            role: SensorRole::Inverter,
            rated_w: rated_kw.map(|kw| kw * 1000.0),
            counted: true,
            energies: vec![(Direction::Produced, energy)],
            buckets: Vec::new(),
            peak: None,
            completeness: Completeness { expected_ms, covered_ms: expected_ms },
            gaps: Vec::new(),
            latest: Vec::new(),
        }
    }

    fn told(sensors: &[SensorFigures]) -> Vec<(String, Option<f64>, Option<f64>)> {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        let rows = inverter_yields(sensors).into_iter();
        rows.map(|row| (row.name.clone(), row.neighbours.map(round), row.difference().map(round))).collect()
    }

    #[test]
    fn the_worst_against_the_median_of_the_others_comes_first() {
        let sensors = [
            inverter("a", 40.0, Some(10.0), 12),
            inverter("b", 22.0, Some(5.0), 12),
            inverter("c", 30.0, Some(10.0), 12),
            inverter("d", 42.0, Some(10.0), 12),
        ];
        let expected = [("c", 4.2, -0.286), ("a", 4.2, -0.048), ("d", 4.0, 0.05), ("b", 4.0, 0.1)];
        assert_eq!(told(&sensors), expected.map(|(name, median, less)| (name.to_owned(), Some(median), Some(less))));
    }

    #[test]
    fn what_nobody_measured_makes_no_inverter_low() {
        let silent = |name: &str, kwh, source, covered_h: u64| {
            let sensor = inverter(name, kwh, Some(10.0), 12);
            let completeness = Completeness { covered_ms: covered_h * 3_600_000, ..sensor.completeness };
            let energies = sensor.energies.iter().map(|(way, energy)| (*way, Energy { source, ..*energy })).collect();
            SensorFigures { completeness, energies, ..sensor }
        };
        let (a, b) = (inverter("a", 40.0, Some(10.0), 12), inverter("b", 44.0, Some(10.0), 12));
        let power = silent("silent", 23.0, EnergySource::Power, 7);
        let expected = [("a", Some(4.4), Some(-0.091)), ("b", Some(4.0), Some(0.1)), ("silent", None, None)];
        let expected = expected.map(|(name, median, less)| (name.to_owned(), median, less));
        assert_eq!(told(&[a.clone(), b.clone(), power]), expected);
        let counted = silent("counted", 42.0, EnergySource::Counter, 7);
        assert!(told(&[a, b, counted]).iter().all(|(_, _, difference)| difference.is_some()));
    }

    #[test]
    fn what_was_there_for_a_part_of_the_time_is_no_neighbour() {
        let sensors = [
            inverter("a", 40.0, Some(10.0), 12),
            inverter("new", 10.0, Some(10.0), 4),
            inverter("unrated", 40.0, None, 12),
            inverter("b", 44.0, Some(10.0), 12),
        ];
        let expected =
            [("a", Some(4.4), Some(-0.091)), ("b", Some(4.0), Some(0.1)), ("new", None, None), ("unrated", Some(4.2), None)];
        assert_eq!(told(&sensors), expected.map(|(name, median, less)| (name.to_owned(), median, less)));
        assert_eq!(told(&[inverter("alone", 40.0, Some(10.0), 12)]), [("alone".to_owned(), None, None)]);
        let grid = SensorFigures { role: SensorRole::Grid, ..inverter("grid", 1.0, Some(1.0), 12) };
        assert_eq!(told(&[grid]), []);
        assert_eq!(
            told(&[inverter("a", 1.0, Some(1.0), 12), inverter("b", 0.0, Some(1.0), 12)])[0].0,
            "b",
            "what gave nothing is behind what gave something"
        );
    }
}
