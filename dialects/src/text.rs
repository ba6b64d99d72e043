//! Texts that devices write: without outer white space, and as a message shows them.

use std::borrow::Cow;

use crate::credentials::mask_text;

/// Without the white space that XML knows around it.
pub(crate) fn trim(text: &str) -> &str {
    const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
    // Nearly all texts come without: a look at both ends tells.
    match text.as_bytes() {
        [first, .., last] if *first > b' ' && *last > b' ' => text,
        _ => text.trim_matches(SPACE),
    }
}

/// A text that many readings of a document share, or that should be a name, a number
/// or a time: none of these is longer than this. What is longer is cut and ends in
/// what no number, name or time has, so that it is refused, and costs no more for
/// each reading than a short one.
pub(crate) fn bounded(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 512;
    let text = trim(text);
    match text.char_indices().find(|(index, c)| index + c.len_utf8() > LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}\u{FFFD}", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// A device's text for a message: printable, and not without end.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 48;
    // Masked before it is cut: half a key is still half a secret. Of a long text only
    // what may be shown matters.
    let end = text.char_indices().nth(16 * LONGEST).map_or(text.len(), |(end, _)| end);
    let text = mask_text(text.get(..end).unwrap_or_default());
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_in_part() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert!(shown(&"ä".repeat(1000)).chars().count() < 60);
        let key = "zzzzzzzz-zzzzzzzz-zzzzzzzz-zzzzzzzz";
        assert_eq!(shown(&format!("{} {key}", "a".repeat(40))), format!("\"{} ***\"", "a".repeat(40)));
    }
}
