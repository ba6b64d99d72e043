//! The heat map of a month: a column a day, a row an hour of local time.

use std::collections::BTreeMap;

use heliograph_domain::Step;
use jiff::civil::{Date, DateTime};

use super::energy::{POWER_UNITS, text_width};
use super::label;
use super::scale::Axis;
use super::scene::{Anchor, Class, FONT_SIZE, Mark};
use super::{Chart, ChartOptions};
use crate::energy::{BucketFigures, plus};
use crate::format;

/// Draws hours of whole local days, as [`crate::GatewayReport::hours`] holds them:
/// the mean power of production, or of consumption where no production is known.
/// `None` where no power is known at all.
///
/// The stronger the colour the higher the power; an hour of which something is
/// missing has a cut corner. An hour without power is an outlined box, one of which
/// nothing is known though it should be is hatched, and where nothing was expected
/// there is nothing. An hour that the clock has twice is two half boxes, one that
/// it leaves out a dash.
#[must_use]
pub fn heat_map(hours: &[BucketFigures], options: &ChartOptions) -> Option<Chart> {
    let shown = Shown::of(hours)?;
    let drawing = Drawing::new(hours, shown, options);
    let rows = drawing.days.iter().map(|(day, hours)| (day_label(*day), shown.told(hours))).collect();
    Some(Chart::new(options, rows, shown.describe(&drawing.days), drawing.marks()))
}

/// Which power the colours stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Production,
    Consumption,
}

impl Shown {
    fn of(hours: &[BucketFigures]) -> Option<Self> {
        [Self::Production, Self::Consumption].into_iter().find(|shown| hours.iter().any(|hour| shown.watts(hour).is_some()))
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Consumption => "consumption",
        }
    }

    const fn participle(self) -> &'static str {
        match self {
            Self::Production => "produced",
            Self::Consumption => "consumed",
        }
    }

    fn watts(self, hour: &BucketFigures) -> Option<f64> {
        let watts = match self {
            Self::Production => hour.power_w,
            Self::Consumption => hour.consumption_w,
        };
        watts.filter(|watts| watts.is_finite())
    }

    fn energy(self, hours: &[&BucketFigures]) -> Option<f64> {
        let energy = |hour: &&BucketFigures| match self {
            Self::Production => hour.produced,
            Self::Consumption => hour.consumed,
        };
        hours.iter().map(|hour| energy(hour).map(|energy| energy.watt_hours)).fold(None, plus).filter(|wh| wh.is_finite())
    }

    /// The hour with the most, the first of equal ones.
    fn highest<'a>(self, hours: impl Iterator<Item = &'a BucketFigures>) -> Option<(&'a BucketFigures, f64)> {
        let known = hours.filter_map(|hour| Some((hour, self.watts(hour).filter(|watts| *watts > 0.0)?)));
        known.reduce(|best, hour| if hour.1 > best.1 { hour } else { best })
    }

    /// Whether an hour should be known and is not.
    fn is_missing(self, hour: &BucketFigures) -> bool {
        self.watts(hour).is_none() && hour.completeness.is_incomplete()
    }

    /// A day in words.
    fn told(self, hours: &[&BucketFigures]) -> String {
        let energy = self.energy(hours).map(|wh| format!("{} {}", format::energy(wh), self.participle()));
        let highest = self.highest(hours.iter().copied());
        let highest =
            highest.map(|(hour, watts)| format!("highest {} at {}", format::power(watts), hour.local.strftime("%H:%M")));
        let missing = hours.iter().filter(|hour| self.is_missing(hour)).count();
        let missing = (missing > 0).then(|| format!("no data in {}", hours_of(missing)));
        let parts: Vec<String> = [energy, highest, missing].into_iter().flatten().collect();
        if parts.is_empty() { "–".to_owned() } else { parts.join("; ") }
    }

    fn describe(self, days: &[(Date, Vec<&BucketFigures>)]) -> String {
        let mut text = format!("Mean power of {} by hour and day", self.noun());
        if let (Some((first, _)), Some((last, _))) = (days.first(), days.last()) {
            text = format!("{text} from {} to {}", day_label(*first), day_label(*last));
        }
        if let Some((hour, watts)) = self.highest(days.iter().flat_map(|(_, hours)| hours.iter().copied())) {
            text = format!("{text}. Highest hour: {} with {}", hour_label(hour.local), format::power(watts));
        }
        let energies = days.iter().filter_map(|(day, hours)| Some((day, self.energy(hours).filter(|wh| *wh > 0.0)?)));
        if let Some((day, wh)) = energies.reduce(|best, day| if day.1 > best.1 { day } else { best }) {
            text = format!("{text}. Highest day: {} with {} {}", day_label(*day), format::energy(wh), self.participle());
        }
        let missing = days.iter().flat_map(|(_, hours)| hours).filter(|hour| self.is_missing(hour)).count();
        if missing > 0 { format!("{text}. No data in {}.", hours_of(missing)) } else { format!("{text}.") }
    }
}

fn day_label(day: Date) -> String {
    label::bucket(day.to_datetime(jiff::civil::Time::midnight()), Step::Day)
}

fn hours_of(count: usize) -> String {
    format!("{count} {}", if count == 1 { "hour" } else { "hours" })
}

fn hour_label(local: DateTime) -> String {
    local.strftime("%a %-d %b, %H:%M").to_string()
}

/// The days with their hours, in order.
fn by_day(hours: &[BucketFigures]) -> Vec<(Date, Vec<&BucketFigures>)> {
    let days = hours.chunk_by(|a, b| a.local.date() == b.local.date());
    days.filter_map(|day| Some((day.first()?.local.date(), day.iter().collect()))).collect()
}

struct Drawing<'a> {
    shown: Shown,
    days: Vec<(Date, Vec<&'a BucketFigures>)>,
    axis: Axis,
    width: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

const HOURS: i8 = 24;
/// What is left free between boxes.
const SEAM: f64 = 1.0;
/// How many shades the legend shows.
const SHADES: u8 = 8;

impl<'a> Drawing<'a> {
    fn new(hours: &'a [BucketFigures], shown: Shown, options: &ChartOptions) -> Self {
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let max = hours.iter().filter_map(|hour| shown.watts(hour)).fold(0.0, f64::max);
        Self {
            shown,
            days: by_day(hours),
            axis: Axis::new(max, 5, POWER_UNITS),
            width,
            left: 10.0 + text_width("00:00"),
            right: width - 8.0,
            top: 30.0,
            bottom: height - 26.0,
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.hour_labels();
        for (column, (day, hours)) in self.days.iter().enumerate() {
            marks.extend(self.day(column, *day, hours));
        }
        marks.extend(self.day_labels());
        marks.extend(self.legend());
        marks
    }

    fn slot(&self) -> f64 {
        (self.right - self.left).max(0.0) / self.days.len().max(1) as f64
    }

    fn row(&self) -> f64 {
        (self.bottom - self.top).max(0.0) / f64::from(HOURS)
    }

    fn place(&self, column: usize, hour: i8) -> Place {
        Place {
            x: self.left + column as f64 * self.slot() + SEAM / 2.0,
            y: self.top + f64::from(hour) * self.row() + SEAM / 2.0,
            width: (self.slot() - SEAM).max(0.5),
            height: (self.row() - SEAM).max(0.5),
        }
    }

    fn day(&self, column: usize, day: Date, hours: &[&BucketFigures]) -> Vec<Mark> {
        let mut by_hour: BTreeMap<i8, Vec<&BucketFigures>> = BTreeMap::new();
        hours.iter().for_each(|hour| by_hour.entry(hour.local.hour()).or_default().push(hour));
        let mut marks = Vec::new();
        for hour in 0..HOURS {
            let place = self.place(column, hour);
            match by_hour.get(&hour).map(Vec::as_slice) {
                Some(same) => marks.extend(self.same_hour(place, same)),
                None => marks.extend(left_out(place, day.at(hour, 0, 0, 0))),
            }
        }
        marks
    }

    /// The boxes of an hour by the clock: two where it comes twice.
    fn same_hour(&self, place: Place, same: &[&BucketFigures]) -> Vec<Mark> {
        let seams = same.len().saturating_sub(1) as f64 * SEAM;
        let width = ((place.width - seams) / same.len().max(1) as f64).max(0.5);
        let mut marks = Vec::new();
        for (index, hour) in same.iter().enumerate() {
            let part = Place { x: place.x + index as f64 * (width + SEAM), width, ..place };
            let when = if index > 0 { ", again" } else { "" };
            marks.extend(self.hour(part, hour, &format!("{}{when}", hour_label(hour.local))));
        }
        marks
    }

    fn hour(&self, place: Place, hour: &BucketFigures, when: &str) -> Vec<Mark> {
        let Some(watts) = self.shown.watts(hour) else {
            let missing = self.shown.is_missing(hour);
            return if missing { vec![place.rect(Class::Gap, Some(format!("{when}: no data")))] } else { Vec::new() };
        };
        let measured = hour.completeness.ratio().filter(|_| hour.completeness.is_incomplete());
        let measured = measured.map(|ratio| format!(", {} measured", format::percent(ratio)));
        let tip = format!("{when}: {}{}", format::power(watts), measured.as_deref().unwrap_or_default());
        let mut marks = vec![match watts > 0.0 {
            true => place.heat(watts / self.axis.top(), Some(tip)),
            false => place.rect(Class::HeatZero, Some(tip)),
        }];
        marks.extend(measured.map(|_| place.corner()));
        marks
    }

    fn hour_labels(&self) -> Vec<Mark> {
        let every = if self.row() < 8.0 { 6 } else { 3 };
        let label = |hour: i8| Mark::Text {
            at: (self.left - 8.0, self.top + (f64::from(hour) + 0.5) * self.row() + FONT_SIZE * 0.35),
            anchor: Anchor::End,
            text: format!("{hour:02}:00"),
        };
        (0..HOURS).step_by(every).map(label).collect()
    }

    fn day_labels(&self) -> Vec<Mark> {
        let firsts: Vec<BucketFigures> = self.days.iter().filter_map(|(_, hours)| hours.first().copied().cloned()).collect();
        let label = |(place, text): (f64, String)| {
            let half = text_width(&text) / 2.0;
            let x = (self.left + place * self.slot()).min(self.width - half - 1.0).max(half);
            Mark::Text { at: (x, self.bottom + 18.0), anchor: Anchor::Middle, text }
        };
        label::axis(&firsts, Step::Day, self.right - self.left).into_iter().map(label).collect()
    }

    /// From the right: the scale, then what the boxes without a shade mean.
    fn legend(&self) -> Vec<Mark> {
        let mut pen = Pen { x: self.right, marks: Vec::new() };
        pen.text(&format!("{}\u{a0}{}", self.axis.label(self.axis.top()), self.axis.unit));
        for shade in (1..=SHADES).rev() {
            pen.swatch(SHADE_WIDTH, |place| vec![place.heat(f64::from(shade) / f64::from(SHADES), None)]);
        }
        pen.space(2.0);
        pen.swatch(SWATCH_WIDTH, |place| vec![place.rect(Class::HeatZero, None)]);
        pen.space(5.0);
        pen.text("0");
        let hours = || self.days.iter().flat_map(|(_, hours)| hours.iter().copied());
        if hours().any(|hour| self.shown.watts(hour).is_some() && hour.completeness.is_incomplete()) {
            pen.space(10.0);
            pen.text("Incomplete");
            pen.swatch(SWATCH_WIDTH, |place| vec![place.heat(0.5, None), place.corner()]);
        }
        if hours().any(|hour| self.shown.is_missing(hour)) {
            pen.space(10.0);
            pen.text("No data");
            pen.swatch(SWATCH_WIDTH, |place| vec![place.rect(Class::Gap, None)]);
        }
        pen.marks
    }
}

const SHADE_WIDTH: f64 = 9.0;
const SWATCH_WIDTH: f64 = 13.0;

/// Writes a legend from right to left.
struct Pen {
    x: f64,
    marks: Vec<Mark>,
}

impl Pen {
    fn space(&mut self, width: f64) {
        self.x -= width;
    }

    fn text(&mut self, text: &str) {
        self.x -= text_width(text);
        self.marks.push(Mark::Text { at: (self.x, 14.0), anchor: Anchor::Start, text: text.to_owned() });
        self.space(5.0);
    }

    fn swatch(&mut self, width: f64, draw: impl Fn(Place) -> Vec<Mark>) {
        self.x -= width;
        self.marks.extend(draw(Place { x: self.x, y: 4.0, width, height: 12.0 }));
    }
}

/// A dash where the clock leaves an hour out.
fn left_out(place: Place, hour: DateTime) -> [Mark; 2] {
    let (from, middle) = (place.x + place.width * 0.3, place.y + place.height / 2.0);
    let dash = Mark::Line { class: Class::Axis, from: (from, middle), to: (from + place.width * 0.4, middle) };
    [dash, place.rect(Class::Hover, Some(format!("{}: the clock leaves this hour out", hour_label(hour))))]
}

/// Where a box stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Place {
    fn heat(self, share: f64, tip: Option<String>) -> Mark {
        let Self { x, y, width, height } = self;
        Mark::Heat { x, y, width, height, share: share.clamp(0.0, 1.0), tip }
    }

    fn rect(self, class: Class, tip: Option<String>) -> Mark {
        // A border lies half outside of its box.
        let inset = if class == Class::HeatZero { 0.5 } else { 0.0 };
        Mark::Rect {
            class,
            x: self.x + inset,
            y: self.y + inset,
            width: (self.width - 2.0 * inset).max(0.5),
            height: (self.height - 2.0 * inset).max(0.5),
            radius: 0.0,
            tip,
        }
    }

    /// What is cut from the upper right.
    fn corner(self) -> Mark {
        let side = (self.width.min(self.height) * 0.5).min(6.0);
        let (right, top) = (self.x + self.width, self.y);
        let [left, right, top, bottom] = [right - side, right, top, top + side].map(super::scene::short);
        Mark::Path { class: Class::HeatCorner, data: format!("M{left} {top}H{right}V{bottom}Z") }
    }
}
