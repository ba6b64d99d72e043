//! Charts, drawn once and shown as SVG in pages and as PNG in mails.
//!
//! A chart is laid out as a list of marks. A [`Palette`] decides how these are
//! coloured: for a page they carry class names only, so that the page's style
//! sheet colours them for light and dark (start from [`CHART_CSS`]); for print
//! they carry colours.
//!
//! | class | what |
//! |---|---|
//! | `chart` | the `svg` element |
//! | `chart-bar` | a bar of energy |
//! | `chart-bar-partial` | the outline of a bar that is incomplete; it is filled with the pattern of `chart-hatch` |
//! | `chart-hatch`, `chart-hatch-ground` | lines and ground of that pattern |
//! | `chart-area`, `chart-line` | the power curve of a day; the area is filled with the gradient of `chart-fade` |
//! | `chart-line-2`, `chart-halo`, `chart-mark-2` | consumption: a line and what sets it off from the curve, marks at bars |
//! | `chart-gap`, `chart-gap-hatch` | the ground and hatching where data is missing |
//! | `chart-grid`, `chart-axis` | lines of the grid, the base line |
//! | `chart-heat`, `chart-heat-zero`, `chart-heat-corner` | a box of a heat map by its opacity, one of zero, the cut corner of one that is incomplete |
//! | `chart-label` | text |
//! | `chart-spark`, `chart-spark-area`, `chart-spark-line`, `chart-spark-dot` | a sparkline; it takes the `color` of `chart-spark` |
//! | `chart-hover` | invisible surfaces that carry the values as tool tips |

mod energy;
mod heat;
mod label;
mod picture;
mod png;
mod scale;
mod scene;
mod sparkline;

use heliograph_domain::{Colour, Step};

pub use energy::energy_chart;
pub use heat::heat_map;
pub use picture::readme_picture;
pub use png::ChartError;
pub use scene::CHART_CSS;
pub use sparkline::sparkline;

use scene::{Mark, Scene};

/// How a chart is coloured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Palette {
    /// By the classes of the page's style sheet.
    Page,
    /// By fixed colours on white.
    Print {
        /// The colour of production.
        accent: Colour,
    },
}

/// What a chart should be like.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartOptions {
    /// Pixels at which it is meant to be shown; text has its size there.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The width of the bars: quarters are drawn as a curve of power.
    pub step: Step,
    /// The colour of production in [`Chart::png`].
    pub accent: Colour,
    /// Begins the ids inside the SVG: give each chart of a page its own.
    pub id: String,
}

impl ChartOptions {
    /// 720 by 280 pixels.
    #[must_use]
    pub fn new(title: impl Into<String>, step: Step) -> Self {
        Self { width: 720, height: 280, title: title.into(), step, accent: Colour::default(), id: "chart".to_owned() }
    }
}

/// A chart, laid out.
#[derive(Debug, Clone)]
pub struct Chart {
    scene: Scene,
    rows: Vec<(String, String)>,
    accent: Colour,
}

impl Chart {
    /// A drawing as its options want it; `rows` say the same in words.
    fn new(options: &ChartOptions, rows: Vec<(String, String)>, description: String, marks: Vec<Mark>) -> Self {
        let ChartOptions { id, title, accent, .. } = options.clone();
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        Self { scene: Scene { id, width, height, title, description, marks }, rows, accent }
    }

    /// As an SVG element, without XML declaration: to stand in a page.
    #[must_use]
    pub fn svg(&self, palette: &Palette) -> String {
        self.scene.svg(palette)
    }

    /// The values as text, in order: a label and what it is then, for a table
    /// beside the picture.
    #[must_use]
    pub fn text_alternative(&self) -> &[(String, String)] {
        &self.rows
    }

    /// What the chart shows, in a sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.scene.description
    }

    /// As a PNG image of `scale` times its size, in print colours.
    ///
    /// # Errors
    /// When the scale is not between 0.1 and 8.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>, ChartError> {
        png::render(&self.svg(&Palette::Print { accent: self.accent.clone() }), scale)
    }
}
