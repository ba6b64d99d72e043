//! A drawing as a list of marks, and its SVG.

use std::fmt::Write as _;

use super::Palette;

/// Style rules for charts in a page, to be put into its style sheet. The colours
/// come from custom properties, which a page sets for light and dark.
pub const CHART_CSS: &str = "\
.chart{display:block;width:100%;height:auto;font-family:inherit;color:var(--chart-ink,#57635f)}
.chart-bar{fill:var(--chart-accent,#0f6b57)}
.chart-bar-partial{stroke:var(--chart-accent,#0f6b57)}
.chart-hatch{stroke:var(--chart-accent,#0f6b57)}
.chart-hatch-ground{fill:var(--chart-accent-soft,#cfe3dd)}
.chart-fade{stop-color:var(--chart-accent,#0f6b57)}
.chart-line{stroke:var(--chart-accent,#0f6b57)}
.chart-halo{stroke:var(--chart-surface,#fff)}
.chart-line-2{stroke:var(--chart-second,#c2620c)}
.chart-mark-2{fill:var(--chart-second,#c2620c);stroke:var(--chart-surface,#fff)}
.chart-gap{fill:var(--chart-gap,#f0f2f1)}
.chart-gap-hatch{stroke:var(--chart-gap-line,#d3dad7)}
.chart-grid{stroke:var(--chart-grid,#e4e9e7)}
.chart-axis{stroke:var(--chart-axis,#a3aeaa)}
.chart-heat{fill:var(--chart-accent,#0f6b57)}
.chart-heat-zero{stroke:var(--chart-grid,#e4e9e7)}
.chart-heat-corner{fill:var(--chart-surface,#fff);stroke:var(--chart-axis,#a3aeaa)}
.chart-label{fill:var(--chart-ink,#57635f)}
.chart-spark{color:var(--chart-accent,#0f6b57)}
.chart-hover{fill:transparent}
.chart-hover:hover{fill:var(--chart-hover,rgba(120,140,132,.14))}
";

/// What a mark is, by which it is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Bar,
    BarPartial,
    Area,
    Line,
    Halo,
    Line2,
    Mark2,
    Gap,
    Grid,
    Axis,
    HeatZero,
    HeatCorner,
    Hover,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Bar => "chart-bar",
            Self::BarPartial => "chart-bar-partial",
            Self::Area => "chart-area",
            Self::Line => "chart-line",
            Self::Halo => "chart-halo",
            Self::Line2 => "chart-line-2",
            Self::Mark2 => "chart-mark-2",
            Self::Gap => "chart-gap",
            Self::Grid => "chart-grid",
            Self::Axis => "chart-axis",
            Self::HeatZero => "chart-heat-zero",
            Self::HeatCorner => "chart-heat-corner",
            Self::Hover => "chart-hover",
        }
    }
}

/// Where a text stands against its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// One thing drawn.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// A rectangle with its upper corners rounded.
    Rect { class: Class, x: f64, y: f64, width: f64, height: f64, radius: f64, tip: Option<String> },
    /// A box of a heat map, the stronger the greater its share of the scale (0 to 1).
    Heat { x: f64, y: f64, width: f64, height: f64, share: f64, tip: Option<String> },
    /// A path.
    Path { class: Class, data: String },
    /// A line.
    Line { class: Class, from: (f64, f64), to: (f64, f64) },
    /// A text on its base line.
    Text { at: (f64, f64), anchor: Anchor, text: String },
}

/// A drawing.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) id: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) marks: Vec<Mark>,
}

/// Text size in pixels.
pub(super) const FONT_SIZE: f64 = 12.0;

impl Scene {
    pub(super) fn svg(&self, palette: &Palette) -> String {
        let Self { id, width, height, .. } = self;
        let id = escape(id);
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-title {id}-desc""#
        );
        if let Palette::Print { .. } = palette {
            _ = write!(svg, r#" width="{width}" height="{height}" font-family="Ubuntu, Hack, sans-serif""#);
        }
        _ = write!(svg, r#" font-size="{FONT_SIZE}"><title id="{id}-title">{}</title>"#, escape(&self.title));
        _ = write!(svg, r#"<desc id="{id}-desc">{}</desc>"#, escape(&self.description));
        let ink = Ink { palette, id: &id };
        ink.patterns(&mut svg);
        if let Palette::Print { .. } = palette {
            _ = write!(svg, r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##);
        }
        for mark in &self.marks {
            ink.draw(&mut svg, mark);
        }
        svg.push_str("</svg>");
        svg
    }
}

struct Ink<'a> {
    palette: &'a Palette,
    id: &'a str,
}

impl Ink<'_> {
    fn patterns(&self, svg: &mut String) {
        let (hatch, ground, gap, fade) = match self.palette {
            Palette::Page => (
                r#"class="chart-hatch" stroke="currentColor""#.to_owned(),
                r#"class="chart-hatch-ground" fill="none""#.to_owned(),
                r#"class="chart-gap-hatch" stroke="currentColor""#.to_owned(),
                r#"class="chart-fade" stop-color="currentColor""#.to_owned(),
            ),
            Palette::Print { accent } => (
                format!(r#"stroke="{accent}""#),
                format!(r#"fill="{accent}" fill-opacity="0.18""#),
                r##"stroke="#d3dad7""##.to_owned(),
                format!(r#"stop-color="{accent}""#),
            ),
        };
        let id = self.id;
        _ = write!(
            svg,
            r#"<defs><pattern id="{id}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect {ground} width="6" height="6"/><line {hatch} x1="1.5" y1="0" x2="1.5" y2="6" stroke-width="2"/></pattern><pattern id="{id}-gap" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line {gap} x1="1" y1="0" x2="1" y2="7" stroke-width="1"/></pattern><linearGradient id="{id}-fade" x1="0" y1="0" x2="0" y2="1"><stop {fade} offset="0" stop-opacity="0.38"/><stop {fade} offset="1" stop-opacity="0.06"/></linearGradient></defs>"#
        );
    }

    fn draw(&self, svg: &mut String, mark: &Mark) {
        match mark {
            Mark::Rect { class, x, y, width, height, radius, tip } => {
                let shape = rounded_top(*x, *y, *width, *height, *radius);
                self.path(svg, *class, &shape, tip.as_deref());
                if *class == Class::Gap {
                    _ = write!(svg, r#"<path d="{shape}" fill="url(#{}-gap)" pointer-events="none"/>"#, self.id);
                }
            }
            Mark::Heat { x, y, width, height, share, tip } => {
                let fill = match self.palette {
                    Palette::Page => r#"class="chart-heat" fill="currentColor""#.to_owned(),
                    Palette::Print { accent } => format!(r#"fill="{accent}""#),
                };
                let [x, y, width, height] = [*x, *y, *width, *height].map(short);
                // The least shade can still be told from none.
                let shade = short(0.1 + 0.9 * share);
                _ = write!(svg, r#"<rect {fill} fill-opacity="{shade}" x="{x}" y="{y}" width="{width}" height="{height}""#);
                end(svg, "rect", tip.as_deref());
            }
            Mark::Path { class, data } => self.path(svg, *class, data, None),
            Mark::Line { class, from, to } => {
                let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(short);
                _ = write!(svg, r#"<line {} x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#, self.style(*class));
            }
            Mark::Text { at, anchor, text } => {
                let fill = match self.palette {
                    Palette::Page => r#"class="chart-label" fill="currentColor""#,
                    // The font at hand is a light one.
                    Palette::Print { .. } => r##"fill="#4a5652" stroke="#4a5652" stroke-width="0.25""##,
                };
                let (x, y, anchor) = (short(at.0), short(at.1), anchor.name());
                _ = write!(svg, r#"<text {fill} x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#, escape(text));
            }
        }
    }

    fn path(&self, svg: &mut String, class: Class, data: &str, tip: Option<&str>) {
        _ = write!(svg, r#"<path {} d="{data}""#, self.style(class));
        end(svg, "path", tip);
    }

    /// Presentation attributes: geometry for both, colours by the palette. In a
    /// page the style sheet wins over them.
    fn style(&self, class: Class) -> String {
        let geometry = match class {
            Class::Line => r#" fill="none" stroke-width="2" stroke-linejoin="round" stroke-linecap="round""#,
            Class::Line2 => {
                r#" fill="none" stroke-width="2" stroke-linejoin="round" stroke-linecap="round" stroke-dasharray="0.5 4""#
            }
            Class::Halo => {
                r#" fill="none" stroke-width="5" stroke-linejoin="round" stroke-linecap="round" stroke-opacity="0.75""#
            }
            Class::BarPartial => r#" stroke-width="1.25""#,
            Class::Grid | Class::Axis => r#" stroke-width="1" shape-rendering="crispEdges""#,
            Class::Mark2 | Class::HeatZero => r#" stroke-width="1""#,
            Class::HeatCorner => r#" stroke-width="0.75" pointer-events="none""#,
            Class::Bar | Class::Area | Class::Gap | Class::Hover => "",
        };
        let colour = match self.palette {
            Palette::Page => self.page_colour(class),
            Palette::Print { accent } => self.print_colour(class, accent.as_str()),
        };
        format!("{colour}{geometry}")
    }

    fn page_colour(&self, class: Class) -> String {
        let name = class.name();
        let fallback = match class {
            Class::Bar | Class::Mark2 => r#"fill="currentColor""#.to_owned(),
            Class::Area => format!(r#"fill="url(#{}-fade)""#, self.id),
            Class::Halo => r#"stroke="transparent""#.to_owned(),
            Class::BarPartial => format!(r#"fill="url(#{}-hatch)" stroke="currentColor""#, self.id),
            Class::Line | Class::Line2 | Class::Grid | Class::Axis => r#"stroke="currentColor""#.to_owned(),
            Class::Gap | Class::Hover => r#"fill="transparent""#.to_owned(),
            Class::HeatZero => r#"fill="transparent" stroke="currentColor""#.to_owned(),
            Class::HeatCorner => r#"fill="none" stroke="currentColor""#.to_owned(),
        };
        format!(r#"class="{name}" {fallback}"#)
    }

    fn print_colour(&self, class: Class, accent: &str) -> String {
        match class {
            Class::Bar => format!(r#"fill="{accent}""#),
            Class::Area => format!(r#"fill="url(#{}-fade)""#, self.id),
            Class::Halo => r##"stroke="#ffffff""##.to_owned(),
            Class::BarPartial => format!(r#"fill="url(#{}-hatch)" stroke="{accent}""#, self.id),
            Class::Line => format!(r#"stroke="{accent}""#),
            Class::Line2 => r##"stroke="#c2620c""##.to_owned(),
            Class::Mark2 => r##"fill="#c2620c" stroke="#ffffff""##.to_owned(),
            Class::Gap => r##"fill="#f0f2f1""##.to_owned(),
            Class::Grid => r##"stroke="#e4e9e7""##.to_owned(),
            Class::Axis => r##"stroke="#a3aeaa""##.to_owned(),
            Class::HeatZero => r##"fill="none" stroke="#d3dad7""##.to_owned(),
            Class::HeatCorner => r##"fill="#ffffff" stroke="#a3aeaa""##.to_owned(),
            Class::Hover => r#"fill="none""#.to_owned(),
        }
    }
}

/// Ends an element that may carry a tool tip.
fn end(svg: &mut String, element: &str, tip: Option<&str>) {
    match tip {
        Some(tip) => _ = write!(svg, "><title>{}</title></{element}>", escape(tip)),
        None => svg.push_str("/>"),
    }
}

/// A rectangle whose upper corners are rounded.
fn rounded_top(x: f64, y: f64, width: f64, height: f64, radius: f64) -> String {
    let radius = radius.min(width / 2.0).min(height).max(0.0);
    let (left, right, top, bottom) = (short(x), short(x + width), short(y), short(y + height));
    if radius < 0.05 {
        return format!("M{left} {bottom}V{top}H{right}V{bottom}Z");
    }
    let inner_top = short(y + radius);
    let (inner_left, inner_right) = (short(x + radius), short(x + width - radius));
    format!(
        "M{left} {bottom}V{inner_top}Q{left} {top} {inner_left} {top}H{inner_right}Q{right} {top} {right} {inner_top}V{bottom}Z",
    )
}

/// A coordinate with no more digits than can be seen.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text as XML character data or attribute value; characters that XML 1.0 does
/// not allow are left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}
