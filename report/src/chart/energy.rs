//! The chart of a report: a curve of power over a day, bars of energy over
//! anything longer.

use std::fmt::Write as _;

use heliograph_domain::Step;

use super::label;
use super::scale::Axis;
use super::scene::{Anchor, Class, FONT_SIZE, Mark, short};
use super::sparkline::runs;
use super::{Chart, ChartOptions};
use crate::energy::{BucketFigures, BucketState};
use crate::format;

const ENERGY_UNITS: &[&str; 4] = &["Wh", "kWh", "MWh", "GWh"];
pub(super) const POWER_UNITS: &[&str; 4] = &["W", "kW", "MW", "GW"];

/// Draws the bars of a report: production, and consumption over it where that is
/// known; where nothing is produced, consumption or import.
///
/// Quarters become a curve of mean power, anything longer becomes bars of
/// energy. Incomplete bars are hatched; where something was expected and
/// nothing is known there is a hatched ground instead of a zero.
#[must_use]
pub fn energy_chart(buckets: &[BucketFigures], options: &ChartOptions) -> Chart {
    let drawing = Drawing::new(buckets, options);
    let rows = buckets.iter().map(|bucket| (label::bucket(bucket.local, options.step), label::values(bucket, options.step)));
    Chart::new(options, rows.collect(), describe(buckets, options.step), drawing.marks())
}

fn describe(buckets: &[BucketFigures], step: Step) -> String {
    let total = buckets.iter().filter_map(|bucket| bucket.produced).map(|energy| energy.watt_hours).reduce(|a, b| a + b);
    let what = match step {
        Step::Quarter => "Mean power by quarter of an hour",
        Step::Hour => "Energy by hour",
        Step::Day => "Energy by day",
        Step::Month => "Energy by month",
    };
    let span = match (buckets.first(), buckets.last()) {
        (Some(first), Some(last)) => {
            format!(" from {} to {}", label::bucket(first.local, step), label::bucket(last.local, step))
        }
        _ => String::new(),
    };
    let total = total.map_or_else(String::new, |total| format!("; {} produced in all", format::energy(total)));
    let missing = buckets.iter().filter(|bucket| bucket.state() == BucketState::Missing).count();
    let missing = if missing > 0 { format!("; no data in {missing} of {}", buckets.len()) } else { String::new() };
    format!("{what}{span}{total}{missing}.")
}

/// The inner part of a chart and its scales.
struct Drawing<'a> {
    buckets: &'a [BucketFigures],
    step: Step,
    width: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    axis: Axis,
    first: Vec<Option<f64>>,
    first_name: &'static str,
    second: Vec<Option<f64>>,
}

impl<'a> Drawing<'a> {
    fn new(buckets: &'a [BucketFigures], options: &ChartOptions) -> Self {
        let step = options.step;
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let (first, first_name, second) = series(buckets, step);
        let max = first.iter().chain(&second).flatten().copied().fold(0.0, f64::max);
        let units = if step == Step::Quarter { POWER_UNITS } else { ENERGY_UNITS };
        let (top, bottom) = (34.0, height - 26.0);
        let axis = Axis::new(max, ((bottom - top) / 52.0).clamp(2.0, 5.0) as usize, units);
        let widest = axis.ticks.iter().map(|tick| text_width(&axis.label(*tick))).fold(text_width(axis.unit), f64::max);
        let left = 10.0 + widest;
        Self { buckets, step, width, left, right: width - 8.0, top, bottom, axis, first, first_name, second }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.grid();
        marks.extend(self.missing());
        if self.step == Step::Quarter {
            marks.extend(self.curve());
        } else {
            marks.extend(self.bars());
        }
        marks.extend(self.second_line());
        let base = Mark::Line { class: Class::Axis, from: (self.left, self.bottom), to: (self.right, self.bottom) };
        marks.push(base);
        marks.extend(self.time_labels());
        marks.extend(self.legend());
        marks.extend(self.hover());
        marks
    }

    fn slot(&self) -> f64 {
        (self.right - self.left) / self.buckets.len().max(1) as f64
    }

    fn x(&self, index: usize) -> f64 {
        self.left + index as f64 * self.slot()
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (value.max(0.0) / self.axis.top()).min(1.0) * (self.bottom - self.top)
    }

    fn grid(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for tick in &self.axis.ticks {
            let y = self.y(*tick).round();
            if *tick > 0.0 {
                marks.push(Mark::Line { class: Class::Grid, from: (self.left, y), to: (self.right, y) });
            }
            let at = (self.left - 8.0, y + FONT_SIZE * 0.35);
            marks.push(Mark::Text { at, anchor: Anchor::End, text: self.axis.label(*tick) });
        }
        let at = (self.left - 8.0, 14.0);
        marks.push(Mark::Text { at, anchor: Anchor::End, text: self.axis.unit.to_owned() });
        marks
    }

    /// The ground where data is missing, neighbours in one piece.
    fn missing(&self) -> Vec<Mark> {
        let missing: Vec<usize> = self.places(BucketState::Missing);
        let runs = missing.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((*run.first()?, run.len())));
        let ground = |(first, count): (usize, usize)| Mark::Rect {
            class: Class::Gap,
            x: self.x(first),
            y: self.top,
            width: self.slot() * count as f64,
            height: self.bottom - self.top,
            radius: 0.0,
            tip: None,
        };
        runs.map(ground).collect()
    }

    fn places(&self, state: BucketState) -> Vec<usize> {
        self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.state() == state).map(|(index, _)| index).collect()
    }

    fn bars(&self) -> Vec<Mark> {
        let (slot, width) = (self.slot(), self.bar_width());
        let bar = |(index, value): (usize, &Option<f64>)| {
            let value = (*value).filter(|value| *value > 0.0)?;
            let partial = self.buckets.get(index).is_some_and(|bucket| bucket.state() == BucketState::Incomplete);
            let y = self.y(value).min(self.bottom - 1.0);
            Some(Mark::Rect {
                class: if partial { Class::BarPartial } else { Class::Bar },
                x: self.x(index) + (slot - width) / 2.0,
                y,
                width,
                height: self.bottom - y,
                radius: (width / 5.0).min(4.0),
                tip: None,
            })
        };
        self.first.iter().enumerate().filter_map(bar).collect()
    }

    fn bar_width(&self) -> f64 {
        let slot = self.slot();
        (slot - (slot * 0.28).clamp(1.0, 18.0)).clamp(1.0, 48.0)
    }

    fn curve(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for run in runs(&self.first) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let line = self.line(&run);
            let (from, until, base) = (short(self.middle(first.0)), short(self.middle(last.0)), short(self.bottom));
            marks.push(Mark::Path {
                class: Class::Area,
                data: format!("M{from} {base}L{}L{until} {base}Z", line.trim_start_matches('M')),
            });
            marks.push(Mark::Path { class: Class::Line, data: line });
        }
        marks
    }

    fn middle(&self, index: usize) -> f64 {
        self.x(index) + self.slot() / 2.0
    }

    fn line(&self, run: &[(usize, f64)]) -> String {
        let mut line = String::new();
        for (index, value) in run {
            let step = if line.is_empty() { 'M' } else { 'L' };
            _ = write!(line, "{step}{} {}", short(self.middle(*index)), short(self.y(*value)));
        }
        line
    }

    /// Consumption: a line over a curve, a mark at each bar.
    fn second_line(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for run in runs(&self.second) {
            if self.step == Step::Quarter {
                marks.push(Mark::Path { class: Class::Halo, data: self.line(&run) });
                marks.push(Mark::Path { class: Class::Line2, data: self.line(&run) });
            } else {
                marks.extend(run.iter().map(|(index, value)| self.second_mark(*index, *value)));
            }
        }
        marks
    }

    fn second_mark(&self, index: usize, value: f64) -> Mark {
        let width = (self.bar_width() + 4.0).min(self.slot());
        let (x, y) = (self.middle(index) - width / 2.0, self.y(value) - 2.0);
        Mark::Rect { class: Class::Mark2, x, y, width, height: 4.0, radius: 0.0, tip: None }
    }

    /// Invisible surfaces with the values, one a bar.
    fn hover(&self) -> Vec<Mark> {
        let surface = |(index, bucket): (usize, &BucketFigures)| Mark::Rect {
            class: Class::Hover,
            x: self.x(index),
            y: self.top,
            width: self.slot(),
            height: self.bottom - self.top,
            radius: 0.0,
            tip: Some(format!("{}: {}", label::bucket(bucket.local, self.step), label::values(bucket, self.step))),
        };
        self.buckets.iter().enumerate().map(surface).collect()
    }

    fn time_labels(&self) -> Vec<Mark> {
        let room = self.right - self.left;
        let labels = label::axis(self.buckets, self.step, room);
        let label = |(place, text): (f64, String)| {
            let half = text_width(&text) / 2.0;
            let x = (self.left + place * self.slot()).min(self.width - half - 1.0).max(half);
            Mark::Text { at: (x, self.bottom + 18.0), anchor: Anchor::Middle, text }
        };
        labels.into_iter().map(label).collect()
    }

    fn legend(&self) -> Vec<Mark> {
        let mut entries: Vec<(Swatch, &str)> = Vec::new();
        if self.first.iter().any(Option::is_some) {
            entries.push((if self.step == Step::Quarter { Swatch::Line } else { Swatch::Bar }, self.first_name));
        }
        if self.second.iter().any(Option::is_some) {
            entries.push((if self.step == Step::Quarter { Swatch::SecondLine } else { Swatch::SecondMark }, "Consumed"));
        }
        if self.step != Step::Quarter && !self.places(BucketState::Incomplete).is_empty() {
            entries.push((Swatch::Partial, "Incomplete"));
        }
        if !self.places(BucketState::Missing).is_empty() {
            entries.push((Swatch::Gap, "No data"));
        }
        let mut marks = Vec::new();
        let mut x = self.right;
        for (swatch, name) in entries.iter().rev() {
            x -= text_width(name);
            marks.push(Mark::Text { at: (x, 14.0), anchor: Anchor::Start, text: (*name).to_owned() });
            x -= 20.0;
            marks.push(swatch.mark(x));
            x -= 14.0;
        }
        marks
    }
}

/// What stands before a name in the legend.
enum Swatch {
    Bar,
    Line,
    SecondLine,
    SecondMark,
    Partial,
    Gap,
}

impl Swatch {
    fn mark(&self, x: f64) -> Mark {
        let rect = |class| Mark::Rect { class, x, y: 4.0, width: 14.0, height: 11.0, radius: 2.0, tip: None };
        let line = |class| Mark::Line { class, from: (x, 10.0), to: (x + 14.0, 10.0) };
        match self {
            Self::Bar => rect(Class::Bar),
            Self::Line => line(Class::Line),
            Self::SecondLine => line(Class::Line2),
            Self::SecondMark => Mark::Rect { class: Class::Mark2, x, y: 8.0, width: 14.0, height: 4.0, radius: 0.0, tip: None },
            Self::Partial => rect(Class::BarPartial),
            Self::Gap => rect(Class::Gap),
        }
    }
}

/// What is drawn first and what over it, in Wh or W.
fn series(buckets: &[BucketFigures], step: Step) -> (Vec<Option<f64>>, &'static str, Vec<Option<f64>>) {
    let energy = |of: fn(&BucketFigures) -> Option<crate::Energy>| -> Vec<Option<f64>> {
        buckets.iter().map(|bucket| of(bucket).map(|energy| energy.watt_hours)).collect()
    };
    let (produced, consumed) = if step == Step::Quarter {
        (buckets.iter().map(|b| b.power_w).collect(), buckets.iter().map(|b| b.consumption_w).collect())
    } else {
        (energy(|b| b.produced), energy(|b| b.consumed))
    };
    let known = |values: &Vec<Option<f64>>| values.iter().any(Option::is_some);
    if known(&produced) {
        (produced, "Produced", consumed)
    } else if known(&consumed) {
        (consumed, "Consumed", Vec::new())
    } else if step != Step::Quarter && buckets.iter().any(|bucket| bucket.imported.is_some()) {
        (energy(|b| b.imported), "Imported", Vec::new())
    } else {
        (produced, "Produced", Vec::new())
    }
}

/// About how wide a text is, rather more than less: fonts of pages differ.
pub(super) fn text_width(text: &str) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | 't' | 'f' | 'r' | '.' | ',' | ':' | ' ' | '\u{a0}' => 0.34,
        'm' | 'w' | 'M' | 'W' => 0.92,
        'A'..='Z' => 0.7,
        _ => 0.58,
    };
    text.chars().map(em).sum::<f64>() * FONT_SIZE
}
