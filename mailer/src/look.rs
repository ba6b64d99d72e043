//! The provider's colour, bent so far that everything stays legible.

use heliograph_domain::Colour;

/// Colours of a mail, as CSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// Behind the provider's name and the button.
    pub(crate) brand: String,
    /// Text on it.
    pub(crate) on_brand: &'static str,
    /// Big figures on white.
    pub(crate) accent: String,
    /// Big figures on the dark card.
    pub(crate) accent_on_dark: String,
}

type Rgb = [u8; 3];

const WHITE: Rgb = [255; 3];
const BLACK: Rgb = [0; 3];
/// The card where a reader prefers dark.
const DARK_CARD: Rgb = [0x1a, 0x20, 0x1e];
/// The least contrast of text (WCAG 2.2, level AA).
const LEGIBLE: f64 = 4.5;

impl Look {
    pub(crate) fn of(colour: &Colour) -> Self {
        let brand = colour.rgb();
        let dark_text = contrast(brand, BLACK) > contrast(brand, WHITE);
        Self {
            brand: hex(brand),
            on_brand: if dark_text { "#000000" } else { "#ffffff" },
            accent: hex(towards(brand, BLACK, WHITE)),
            accent_on_dark: hex(towards(brand, WHITE, DARK_CARD)),
        }
    }
}

/// Mixes a colour with `goal` until it is legible on `ground`.
fn towards(colour: Rgb, goal: Rgb, ground: Rgb) -> Rgb {
    let mix = |share: u16| -> Rgb {
        let part = |from: u8, to: u8| ((u16::from(from) * (20 - share) + u16::from(to) * share) / 20) as u8;
        [part(colour[0], goal[0]), part(colour[1], goal[1]), part(colour[2], goal[2])]
    };
    (0..=20).map(mix).find(|mixed| contrast(*mixed, ground) >= LEGIBLE).unwrap_or(goal)
}

fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(rgb: Rgb) -> f64 {
    Colour::parse(&hex(rgb)).map_or(0.0, |colour| colour.luminance())
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_colour_stays_legible_on_light_and_dark() {
        let parse = |text: &str| Colour::parse(text).unwrap().rgb();
        for colour in ["#000000", "#ffffff", "#ffe600", "#0f6b57", "#c8102e", "#777777", "#00ff00"] {
            let look = Look::of(&Colour::parse(colour).unwrap());
            assert!(contrast(parse(&look.brand), parse(look.on_brand)) >= LEGIBLE, "{colour}");
            assert!(contrast(parse(&look.accent), WHITE) >= LEGIBLE, "{colour}");
            assert!(contrast(parse(&look.accent_on_dark), DARK_CARD) >= LEGIBLE, "{colour}");
        }
        assert_eq!(Look::of(&Colour::default()).accent, "#0f6b57");
    }
}
