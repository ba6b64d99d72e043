//! Numbers as devices write them.

use crate::text::trim;

/// Reads a finite number in the lexical form of `xs:double`: sign, digits with
/// an optional `.`, exponent; white space around it is ignored. `None` for
/// anything else, for NaN, for infinities and for what is too large to be
/// finite. Linear in the length of the text.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let text = trim(text);
    // Only the words `inf`, `infinity` and `nan` would parse without being digits.
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    if !plain {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_xs_double_and_nothing_else() {
        let good: &[(&str, f64)] = &[
            ("1234.5", 1234.5),
            (" \n-0.5\t", -0.5),
            ("+7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0.14e1", 1.4),
            ("1E-3", 0.001),
            ("0012", 12.0),
            ("-0", 0.0),
            ("1e-999", 0.0),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
        ];
        for (text, value) in good {
            assert_eq!(parse_number(text), Some(*value), "{text:?}");
        }
        let bad = [
            "", " ", "NaN", "nan", "INF", "-INF", "inf", "Infinity", "1e999", "-1e999", "1,5", "0x1F", "1_000", "1 2", "12W",
            "--1", "1e", "e5", ".", "+", "1.2.3", "١٢", "NULL", "\u{a0}1",
        ];
        for text in bad {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_of_a_million_digits_is_read() {
        let long = format!("0.{}1", "0".repeat(1_000_000));
        assert_eq!(parse_number(&long), Some(0.0));
        let long = format!("{}e-5000", "1".repeat(5000));
        assert!((parse_number(&long).unwrap() - 1.0 / 9.0).abs() < 1e-12);
        assert_eq!(parse_number(&"9".repeat(1_000_000)), None);
    }
}
