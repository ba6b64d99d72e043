//! A row's worth of a curve.

use std::fmt::Write as _;

use super::scene::short;

/// A small curve from zero to the greatest value, without axes, for a table of a page.
/// `None` leaves a gap. It says nothing to those who do not see it
/// (`aria-hidden`): the figures stand beside it.
#[must_use]
pub fn sparkline(values: &[Option<f64>]) -> String {
    const WIDTH: f64 = 96.0;
    const HEIGHT: f64 = 24.0;
    const MARGIN: f64 = 2.0;
    let max = values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let step = (WIDTH - 2.0 * MARGIN) / values.len().saturating_sub(1).max(1) as f64;
    let scale = if max > 0.0 { (HEIGHT - 2.0 * MARGIN) / max } else { 0.0 };
    let point = |index: usize, value: f64| (MARGIN + index as f64 * step, HEIGHT - MARGIN - value.clamp(0.0, f64::MAX) * scale);
    let mut svg = format!(
        r#"<svg class="chart-spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">"#
    );
    for run in runs(values) {
        let points: Vec<(f64, f64)> = run.iter().map(|(index, value)| point(*index, *value)).collect();
        let line = points.iter().map(|(x, y)| format!("{} {}", short(*x), short(*y))).collect::<Vec<_>>().join("L");
        match points.as_slice() {
            [] => {}
            [(x, y)] => {
                _ = write!(
                    svg,
                    r#"<circle class="chart-spark-dot" fill="currentColor" cx="{}" cy="{}" r="1.5"/>"#,
                    short(*x),
                    short(*y)
                );
            }
            [first, .., last] => {
                let base = HEIGHT - MARGIN;
                _ = write!(
                    svg,
                    r#"<path class="chart-spark-area" fill="currentColor" fill-opacity="0.16" d="M{} {base}L{line}L{} {base}Z"/><path class="chart-spark-line" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" stroke-linecap="round" d="M{line}"/>"#,
                    short(first.0),
                    short(last.0),
                );
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The runs of known values, with their places.
pub(super) fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let known: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value).filter(|v| v.is_finite())?))).collect();
    known.chunk_by(|a, b| a.0 + 1 == b.0).map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_split_the_curve_and_nothing_breaks_it() {
        let svg = sparkline(&[Some(1.0), Some(2.0), None, Some(3.0), Some(f64::NAN)]);
        assert_eq!(svg.matches("chart-spark-line").count(), 1);
        assert_eq!(svg.matches("chart-spark-dot").count(), 1);
        assert!(!svg.contains("NaN"));
        assert!(sparkline(&[]).ends_with("></svg>"));
        assert!(!sparkline(&[Some(0.0), Some(0.0)]).contains("NaN"));
    }
}
