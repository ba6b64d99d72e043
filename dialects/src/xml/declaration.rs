//! The XML declaration and the DOCTYPE.

use std::borrow::Cow;

use heliograph_domain::RefusalCode;

use super::XmlError;
use super::attributes::{self, Attribute};

/// The declaration at the very beginning of a text, with its delimiters, if
/// there is one.
pub(super) fn of(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"<?xml")?;
    if !rest.first().is_some_and(u8::is_ascii_whitespace) {
        return None;
    }
    let end = memchr::memmem::find(text, b"?>")?;
    text.get(..end + 2)
}

/// Checks the declaration and gives the byte behind it; 0 where there is none.
pub(super) fn check(text: &str) -> Result<usize, XmlError> {
    let Some(declaration) = of(text.as_bytes()) else { return Ok(0) };
    let length = declaration.len();
    let inner = text.get(5..length - 2).unwrap_or_default();
    let mut fields = Vec::new();
    attributes::parse(inner, 5, &mut fields)?;
    let malformed = |what| Err(XmlError::malformed(0, what));
    let mut expected = ["version", "encoding", "standalone"].into_iter();
    for field in &fields {
        if !expected.any(|name| name == field.name) {
            return malformed("the XML declaration has fields out of order or unknown");
        }
        if !is_good(field) {
            return malformed("the XML declaration has a field that cannot be");
        }
    }
    match fields.first() {
        Some(first) if first.name == "version" => Ok(length),
        _ => malformed("the XML declaration has no version"),
    }
}

fn is_good(field: &Attribute<'_>) -> bool {
    let Cow::Borrowed(value) = field.value else { return false };
    match field.name {
        "version" => {
            value.strip_prefix("1.").is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit()))
        }
        "encoding" => {
            let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.bytes().all(name_byte)
        }
        _ => matches!(value, "yes" | "no"),
    }
}

/// Checks `<!DOCTYPE name SYSTEM "…">` or `PUBLIC "…" "…"`. Its external id is
/// accepted and never followed; an internal subset is refused.
pub(super) fn check_doctype(raw: &str) -> Result<(), (RefusalCode, &'static str)> {
    let malformed = Err((RefusalCode::Malformed, "DOCTYPE is not well-formed"));
    let inner = raw.strip_prefix("<!DOCTYPE").and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let mut parts = Parts { rest: inner };
    let Some(name) = parts.word() else { return malformed };
    if super::check_name(name).is_err() {
        return malformed;
    }
    let good = match parts.word() {
        None => true,
        Some("SYSTEM") => parts.literal().is_some(),
        Some("PUBLIC") => parts.literal().is_some_and(is_public_id) && parts.literal().is_some(),
        Some(_) => false,
    };
    match parts.rest.trim_start().chars().next() {
        Some('[') => Err((RefusalCode::Doctype, "DOCTYPE with an internal subset")),
        None if good => Ok(()),
        _ => malformed,
    }
}

/// XML 1.0 section 2.3, `PubidLiteral`.
fn is_public_id(literal: &str) -> bool {
    literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" \r\n-'()+,./:=?;!*#@$_%".contains(&byte))
}

struct Parts<'a> {
    rest: &'a str,
}

impl<'a> Parts<'a> {
    /// The next word, behind white space.
    fn word(&mut self) -> Option<&'a str> {
        let text = self.behind_space()?;
        let end = text.find([' ', '\t', '\r', '\n', '[', '"', '\'']).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        self.rest = rest;
        Some(word)
    }

    /// The next literal, behind white space, without its quotes.
    fn literal(&mut self) -> Option<&'a str> {
        let text = self.behind_space()?;
        let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
        let (literal, rest) = text.get(1..)?.split_once(quote)?;
        self.rest = rest;
        Some(literal)
    }

    fn behind_space(&self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        (text.len() < self.rest.len()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_checked() {
        let good = [
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
            "<?xml version=\"1.1\" encoding='x-y' standalone='yes' ?>",
            "<?xml\nversion='1.0' standalone='no'?>",
        ];
        for text in good {
            assert_eq!(check(text).map_err(|error| error.what), Ok(text.len()), "{text}");
        }
        let bad = [
            "<?xml ?>",
            "<?xml encoding='UTF-8'?>",
            "<?xml version='2.0'?>",
            "<?xml version='1.'?>",
            "<?xml version='1.0' encoding=''?>",
            "<?xml version='1.0' encoding='&#85;TF-8'?>",
            "<?xml version='1.0' standalone='maybe'?>",
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
            "<?xml version='1.0' version='1.0'?>",
            "<?xml version='1.0' more='1'?>",
        ];
        for text in bad {
            assert!(check(text).is_err(), "{text}");
        }
        assert_eq!(check("<?xml-stylesheet href='a'?>").map_err(|error| error.what), Ok(0));
    }

    #[test]
    fn a_doctype_may_have_an_external_id_and_no_subset() {
        let good = [
            "<!DOCTYPE group>",
            "<!DOCTYPE group >",
            "<!DOCTYPE group SYSTEM \"http://127.0.0.1:9/evil.dtd\">",
            "<!DOCTYPE group PUBLIC \"-//ESL/DTD eGauge 1.0//EN\" 'x[y]>z'\n>",
        ];
        for text in good {
            assert_eq!(check_doctype(text), Ok(()), "{text}");
        }
        for text in
            ["<!DOCTYPE a [<!ENTITY b 'c'>]>", "<!DOCTYPE a SYSTEM 'b' []>", "<!DOCTYPE a[]>", "<!DOCTYPE a PUBLIC 'p' 's'[]>"]
        {
            assert_eq!(check_doctype(text).map_err(|error| error.0), Err(RefusalCode::Doctype), "{text}");
        }
        let bad = [
            "<!DOCTYPE>",
            "<!DOCTYPE >",
            "<!DOCTYPEa>",
            "<!doctype a>",
            "<!DOCTYPE 1>",
            "<!DOCTYPE a b>",
            "<!DOCTYPE a SYSTEM>",
            "<!DOCTYPE a SYSTEM b>",
            "<!DOCTYPE a SYSTEM'b'>",
            "<!DOCTYPE a PUBLIC 'p'>",
            "<!DOCTYPE a PUBLIC 'p''s'>",
            "<!DOCTYPE a PUBLIC '{' 's'>",
            "<!DOCTYPE a SYSTEM 'b' c>",
        ];
        for text in bad {
            assert_eq!(check_doctype(text).map_err(|error| error.0), Err(RefusalCode::Malformed), "{text}");
        }
    }
}
