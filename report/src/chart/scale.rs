//! Axes: round ticks and the unit that suits the greatest value.

/// A vertical axis from zero, in a unit of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// The ticks in the base unit, from 0 to the top.
    pub(super) ticks: Vec<f64>,
    /// What a base value is divided by for its label.
    divisor: f64,
    /// The unit of the labels.
    pub(super) unit: &'static str,
    decimals: usize,
}

impl Axis {
    /// Covers 0 to `max` of a base unit (`Wh` or `W`) with about `count` steps.
    pub(super) fn new(max: f64, count: usize, base: &'static [&'static str; 4]) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1000.0 };
        let power = ((max.log10() / 3.0).floor() as i32).clamp(0, 3);
        let divisor = 1000f64.powi(power);
        let step = nice_step(max / divisor / count.max(1) as f64);
        let steps = (max / divisor / step - 1e-9).ceil().max(1.0) as usize;
        let unit = usize::try_from(power).ok().and_then(|index| base.get(index)).copied().unwrap_or_default();
        let decimals = if step >= 1.0 { usize::from(step.fract() > 1e-9) } else { (-step.log10().floor()) as usize };
        let ticks = (0..=steps).map(|i| i as f64 * step * divisor).collect();
        Self { ticks, divisor, unit, decimals: decimals + usize::from(is_quarter_step(step)) }
    }

    /// The value at the top.
    pub(super) fn top(&self) -> f64 {
        self.ticks.last().copied().unwrap_or(1.0)
    }

    /// What stands beside a tick.
    pub(super) fn label(&self, value: f64) -> String {
        crate::format::grouped(value / self.divisor, self.decimals)
    }
}

/// Whether a step below one is 2.5 times a power of ten, and needs a digit more.
fn is_quarter_step(step: f64) -> bool {
    let mantissa = step / 10f64.powf(step.log10().floor());
    step < 1.0 && (mantissa - 2.5).abs() < 1e-9
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is no less.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    let nice = [1.0, 2.0, 2.5, 5.0].into_iter().find(|nice| mantissa <= nice + 1e-9).unwrap_or(10.0);
    nice * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_greatest_value() {
        const UNITS: &[&str; 4] = &["Wh", "kWh", "MWh", "GWh"];
        for (max, unit, labels) in [
            (7_300.0, "kWh", vec!["0", "2", "4", "6", "8"]),
            (43_000.0, "kWh", vec!["0", "20", "40", "60"]),
            (900.0, "Wh", vec!["0", "250", "500", "750", "1\u{a0}000"]),
            (1_000.0, "kWh", vec!["0.00", "0.25", "0.50", "0.75", "1.00"]),
            (1_900.0, "kWh", vec!["0.0", "0.5", "1.0", "1.5", "2.0"]),
            (9.9e6, "MWh", vec!["0.0", "2.5", "5.0", "7.5", "10.0"]),
        ] {
            let axis = Axis::new(max, 4, UNITS);
            assert_eq!(axis.unit, unit, "{max}");
            assert_eq!(axis.ticks.iter().map(|tick| axis.label(*tick)).collect::<Vec<_>>(), labels, "{max}");
            assert!(axis.top() >= max);
        }
        for max in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Axis::new(max, 4, UNITS).top() > 0.0);
        }
    }
}
