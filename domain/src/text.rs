//! What all parsed texts share: one error, one set of checks; and mail addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not the thing it should be. The message names the thing, the
/// rule and, where it is safe to show, the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct ParseError {
    what: &'static str,
    problem: String,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }

    /// The thing that was expected, such as `gateway id`.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }
}

/// Checks a label that outsiders choose: 1 to `max` characters, no control
/// characters, nothing that is not seen, no white space at either end.
pub(crate) fn check_label(what: &'static str, text: &str, max: usize) -> Result<(), ParseError> {
    if text.is_empty() {
        return Err(ParseError::new(what, "is empty"));
    }
    if text.len() > max && text.chars().count() > max {
        return Err(ParseError::new(what, format!("is longer than {max} characters")));
    }
    if text.chars().any(|c| c.is_control() || is_unsafe_format(c)) {
        return Err(ParseError::new(what, "contains a control character or one that is not seen"));
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(ParseError::new(what, "starts or ends with white space"));
    }
    Ok(())
}

/// Checks what people write on one line or more: 1 to `max` characters, no control
/// characters but ends of lines and tabs, nothing that is not seen.
pub(crate) fn check_prose(what: &'static str, text: &str, max: usize) -> Result<(), ParseError> {
    if text.trim().is_empty() {
        return Err(ParseError::new(what, "is needed"));
    }
    if text.chars().count() > max {
        return Err(ParseError::new(what, format!("is longer than {max} characters")));
    }
    if text.chars().any(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || is_unsafe_format(c)) {
        return Err(ParseError::new(what, "contains a control character or one that is not seen"));
    }
    Ok(())
}

/// Marks that reorder the text around them (Unicode TR 36) or that are not seen:
/// a name that uses them can make a page show something else than what is stored,
/// or look like another name.
fn is_unsafe_format(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// Bytes of strangers as a text that can be shown to people, on a terminal too, and
/// in which everything shows: what is no UTF-8 as its number, control characters and
/// marks that reorder text or are not seen too.
#[must_use]
pub fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                '\r' => {}
                '\0'..='\u{1f}' => text.push_str(&format!("⟨{:02X}⟩", u32::from(letter))),
                '\u{7f}'..='\u{9f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}' => {
                    text.push_str(&format!("⟨U+{:04X}⟩", u32::from(letter)));
                }
                _ => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("⟨{byte:02X}⟩"));
        }
    }
    text
}

/// A mail address, lower-cased in its domain, at most 254 characters (RFC 5321).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses `local@domain`. Accepts internationalised addresses; refuses
    /// white space, control characters, angle brackets, commas and quotes, so
    /// that an address can never be read as two or as a header.
    ///
    /// # Errors
    /// When the text is not one plain address.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        const WHAT: &str = "mail address";
        let text = text.trim();
        check_label(WHAT, text, 254)?;
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err(ParseError::new(WHAT, "has no @"));
        };
        if local.is_empty() || local.len() > 64 || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(ParseError::new(WHAT, "has no valid name before the @"));
        }
        if local.contains(|c: char| c.is_whitespace() || "<>()[],;:\\\"@".contains(c)) {
            return Err(ParseError::new(WHAT, "has a character before the @ that is not allowed"));
        }
        let label_ok = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        if !domain.split('.').all(label_ok) {
            return Err(ParseError::new(WHAT, "has no valid domain after the @"));
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<EmailAddress> for String {
    fn from(email: EmailAddress) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_raw_bytes_shows() {
        assert_eq!(visible(b"<a>\r\n\0\x1b[2J\xff\xc3\xa9</a>"), "<a>\n⟨00⟩⟨1B⟩[2J⟨FF⟩é</a>");
        assert_eq!(visible("a\u{202e}b\u{9b}".as_bytes()), "a⟨U+202E⟩b⟨U+009B⟩");
    }

    #[test]
    fn addresses_are_accepted_or_refused_by_the_table() {
        for good in ["a@b.example", "anna.o'neil+pv@Sun.Example", "用户@例え.example", " a@localhost "] {
            assert!(EmailAddress::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "@b", "a@", "a b@c.d", "a@b\r\nBcc: x@y.z", "a@b,c@d", "<a@b>", "a@b..c", "a@-b.c", "a..b@c.d", "\"a\"@b.c"]
        {
            assert!(EmailAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
