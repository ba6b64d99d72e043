//! Texts that devices write: without outer white space, and as a message shows them.

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

/// A device's text for a message: printable, and not without end.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 48;
    // Before it is cut: half a key is still half a secret.
    let text = mask_text(text);
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
