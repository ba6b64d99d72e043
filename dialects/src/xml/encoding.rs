//! From bytes to text. UTF-8 is read whatever is declared among the encodings
//! that devices use, because devices declare ISO-8859-1 and write UTF-8; only
//! bytes that are not UTF-8 are taken for what was declared.

use std::borrow::Cow;

use heliograph_domain::RefusalCode;

use super::{XmlError, declaration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    /// UTF-8, US-ASCII or nothing.
    Utf8,
    /// ISO-8859-1 or windows-1252, which is its superset in practice.
    Latin,
    Other,
}

/// The text of a document, without a byte order mark.
pub(crate) fn text_of(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    if matches!(bytes, [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, ..] | [b'<', 0, ..]) {
        return Err(refused(0, "UTF-16 and UTF-32 are not understood; send UTF-8"));
    }
    let marked = bytes.starts_with(b"\xEF\xBB\xBF");
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let declared = declared(bytes);
    if declared == Declared::Other {
        return Err(refused(0, "the declared encoding is not understood; send UTF-8"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) if declared == Declared::Latin && !marked => Ok(Cow::Owned(bytes.iter().map(|byte| latin(*byte)).collect())),
        Err(error) => Err(refused(error.valid_up_to(), "bytes that are not UTF-8")),
    }
}

/// The front of a document as far as it is text.
pub(crate) fn readable_part(bytes: &[u8]) -> Cow<'_, str> {
    text_of(bytes).unwrap_or_else(|_| {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Cow::Borrowed(bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()))
    })
}

fn declared(bytes: &[u8]) -> Declared {
    let Some(name) = declaration::of(bytes).and_then(encoding_name) else { return Declared::Utf8 };
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    match () {
        () if is(&["UTF-8", "UTF8", "US-ASCII", "ASCII"]) => Declared::Utf8,
        () if is(&["ISO-8859-1", "ISO8859-1", "ISO_8859-1", "latin1", "windows-1252", "cp1252"]) => Declared::Latin,
        () => Declared::Other,
    }
}

/// The quoted text behind `encoding =`. Whether the declaration is well-formed is
/// checked later, on the text.
fn encoding_name(declaration: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(declaration).ok()?;
    let (_, rest) = text.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    rest.get(1..)?.split_once(quote).map(|(name, _)| name)
}

fn refused(at: usize, what: &str) -> XmlError {
    XmlError { code: RefusalCode::Encoding, at, what: what.to_owned() }
}

/// A byte of windows-1252, as the WHATWG encoding standard maps it: the five
/// bytes without a character stay control characters.
fn latin(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘', '’', '“',
        '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{FFFD}'),
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<&str>) {
        let got = text_of(bytes);
        match (got, expected) {
            (Ok(text), Some(expected)) => assert_eq!(text, expected),
            (Err(error), None) => assert_eq!(error.code, RefusalCode::Encoding),
            (got, _) => panic!("{:?}: {got:?}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn bytes_are_text_in_the_encodings_that_devices_use() {
        check("<a>°</a>".as_bytes(), Some("<a>°</a>"));
        check(b"\xEF\xBB\xBF<a/>", Some("<a/>"));
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xB0C \x80</a>";
        check(latin, Some("<?xml version='1.0' encoding='ISO-8859-1'?><a>°C €</a>"));
        let lying = "<?xml version='1.0' encoding = \"windows-1252\"?><a>°C</a>";
        check(lying.as_bytes(), Some(lying));
        let ascii = "<?xml version='1.0' encoding='us-ascii'?><a/>";
        check(ascii.as_bytes(), Some(ascii));
    }

    #[test]
    fn other_encodings_are_refused() {
        check(b"<a>\xB0</a>", None);
        check(b"<?xml version='1.0' encoding='UTF-8'?><a>\xFF</a>", None);
        check(b"<?xml version='1.0' encoding='US-ASCII'?><a>\xB0</a>", None);
        check(b"<?xml version='1.0' encoding='UTF-16'?><a/>", None);
        check(b"<?xml version='1.0' encoding='Shift_JIS'?><a/>", None);
        check(b"\xFF\xFE<\0a\0", None);
        check(b"\xFE\xFF\0<\0a", None);
        check(b"<\0a\0", None);
        check(b"\0<\0a", None);
    }

    #[test]
    fn the_readable_front_survives_a_broken_tail() {
        assert_eq!(readable_part(b"<a seq='1'>\xFF<"), "<a seq='1'>");
        assert_eq!(readable_part(b"\xFF"), "");
    }
}
