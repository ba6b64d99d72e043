//! A provider's colour made into a theme whose texts can be read: every pair
//! below has a contrast of at least 4.5 (WCAG 2.2, 1.4.3).

use heliograph_domain::Colour;

/// The lightest and darkest surfaces that accents are written on.
const LIGHT_SURFACE: [u8; 3] = [0xf4, 0xf6, 0xf5];
const DARK_SURFACE: [u8; 3] = [0x1c, 0x21, 0x24];
const WHITE: [u8; 3] = [0xff; 3];
const BLACK: [u8; 3] = [0; 3];
const ENOUGH: f64 = 4.5;
/// Light letters on dark ground look thinner than they are.
const ENOUGH_ON_DARK: f64 = 6.5;

/// The style sheet of a colour.
pub(crate) fn sheet(colour: &Colour) -> String {
    let accent = colour.rgb();
    let light = readable(accent, LIGHT_SURFACE, BLACK, ENOUGH);
    let dark = readable(accent, DARK_SURFACE, WHITE, ENOUGH_ON_DARK);
    let block = |text: [u8; 3]| format!("--accent:{};--on-accent:{};--accent-text:{};", hex(text), hex(on(text)), hex(text));
    format!(
        ":root{{--brand:{};--on-brand:{};{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n@media print{{:root{{{}}}}}\n",
        hex(accent),
        hex(on(accent)),
        block(light),
        block(dark),
        block(light),
    )
}

/// A sun over its own reflection, in the provider's colour.
pub(crate) fn icon(colour: &Colour) -> String {
    let (back, front) = (hex(colour.rgb()), hex(on(colour.rgb())));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"8\" fill=\"{back}\"/>\
         <path d=\"M8 18a8 8 0 0 1 16 0z\" fill=\"{front}\"/>\
         <path d=\"M7 21.5h18M11 25h10\" stroke=\"{front}\" stroke-width=\"2\" stroke-linecap=\"round\"/></svg>"
    )
}

/// White or near-black, whichever reads better on a colour.
fn on(back: [u8; 3]) -> [u8; 3] {
    if contrast(back, WHITE) >= ENOUGH { WHITE } else { BLACK }
}

/// The colour, moved towards another as little as makes it readable.
fn readable(colour: [u8; 3], surface: [u8; 3], towards: [u8; 3], enough: f64) -> [u8; 3] {
    (0..=20u8)
        .map(|step| mix(colour, towards, f64::from(step) / 20.0))
        .find(|mixed| contrast(*mixed, surface) >= enough)
        .unwrap_or(towards)
}

fn mix(a: [u8; 3], b: [u8; 3], share: f64) -> [u8; 3] {
    std::array::from_fn(|i| {
        let (a, b) = (f64::from(a.get(i).copied().unwrap_or(0)), f64::from(b.get(i).copied().unwrap_or(0)));
        (a + (b - a) * share).round() as u8
    })
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(rgb: [u8; 3]) -> f64 {
    Colour::parse(&hex(rgb)).map_or(0.0, |colour| colour.luminance())
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_gives_a_readable_theme() {
        for colour in ["#000000", "#ffffff", "#ffff00", "#0000ff", "#0f6b57", "#7f7f7f", "#ff0000", "#f2a900"] {
            let rgb = Colour::parse(colour).unwrap().rgb();
            assert!(contrast(rgb, on(rgb)) >= ENOUGH, "{colour}");
            for (surface, towards, enough) in [(LIGHT_SURFACE, BLACK, ENOUGH), (DARK_SURFACE, WHITE, ENOUGH_ON_DARK)] {
                let text = readable(rgb, surface, towards, enough);
                assert!(contrast(text, surface) >= enough, "{colour} on {surface:?}");
                assert!(contrast(text, on(text)) >= ENOUGH, "{colour}");
            }
        }
    }
}
