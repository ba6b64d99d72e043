//! SVG to PNG, with the fonts that come along.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// A chart that cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The scale is not one that makes an image.
    #[error("scale {0} does not lie between 0.1 and 8")]
    Scale(f32),
    /// The drawing is none.
    #[error("read the drawing: {0}")]
    Drawing(String),
    /// The image does not fit into memory, or cannot be written.
    #[error("draw the image: {0}")]
    Image(String),
}

/// Draws an SVG at a multiple of its size. Fonts of the system are not used:
/// the same chart looks the same everywhere.
pub(super) fn render(svg: &str, scale: f32) -> Result<Vec<u8>, ChartError> {
    if !(0.1..=8.0).contains(&scale) {
        return Err(ChartError::Scale(scale));
    }
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    fonts.set_sans_serif_family("Ubuntu");
    let options = Options { fontdb: Arc::new(fonts), font_family: "Ubuntu".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| ChartError::Drawing(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or(ChartError::Scale(scale))?;
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or_else(|| ChartError::Image("it is too large".to_owned()))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| ChartError::Image(error.to_string()))
}
