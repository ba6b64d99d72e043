//! The attributes of one tag.

use std::borrow::Cow;
use std::collections::HashSet;

use heliograph_domain::RefusalCode;

use super::XmlError;
use super::characters::{resolve, take_name};

/// The far ceiling of attributes a tag, for documents that never passed a framer.
const MOST: usize = 1024;

/// An attribute, its value normalised (XML 1.0 section 3.3.3, as CDATA).
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    pub(super) has_prefix: bool,
    pub(super) value: Cow<'a, str>,
}

/// Reads what follows the name in a start tag into `into`, whose old content is
/// dropped. `at`: where `rest` stands in the document.
pub(super) fn parse<'a>(rest: &'a str, at: usize, into: &mut Vec<Attribute<'a>>) -> Result<(), XmlError> {
    into.clear();
    let mut pos = 0;
    loop {
        let begin = skip_space(rest.as_bytes(), pos);
        if begin == rest.len() {
            break;
        }
        if begin == pos {
            return Err(XmlError::malformed(at + pos, "white space is missing before an attribute"));
        }
        let (attribute, end) = take(rest, begin).map_err(|what| XmlError::malformed(at + begin, what))?;
        if into.len() == MOST {
            let what = format!("tag has more than {MOST} attributes");
            return Err(XmlError { code: RefusalCode::TooLarge, at, what });
        }
        into.push(attribute);
        pos = end;
    }
    match duplicate(into) {
        None => Ok(()),
        Some(name) => Err(XmlError::malformed(at, format!("attribute {} stands twice in a tag", crate::text::shown(name)))),
    }
}

/// The attribute at `begin`, and where it ends.
fn take(rest: &str, begin: usize) -> Result<(Attribute<'_>, usize), String> {
    let bytes = rest.as_bytes();
    let (length, has_prefix) = take_name(rest.get(begin..).unwrap_or_default())?;
    let name = rest.get(begin..begin + length).unwrap_or_default();
    let equals = skip_space(bytes, begin + length);
    if bytes.get(equals) != Some(&b'=') {
        // Its name may be the rest of a key with a quote in it.
        return Err("an attribute has no value".to_owned());
    }
    let open = skip_space(bytes, equals + 1);
    let Some(quote @ (b'"' | b'\'')) = bytes.get(open) else {
        return Err(format!("the value of attribute {} must stand in quotes", crate::text::shown(name)));
    };
    let (close, special) = value_end(bytes, open + 1, *quote).ok_or("an attribute value has no end")?;
    let raw = rest.get(open + 1..close).unwrap_or_default();
    let value = if special { normalise(raw)? } else { Cow::Borrowed(raw) };
    Ok((Attribute { name, has_prefix, value }, close + 1))
}

/// Where the closing quote stands, and whether there is anything to resolve
/// before it.
fn value_end(bytes: &[u8], from: usize, quote: u8) -> Option<(usize, bool)> {
    let mut special = false;
    let mut pos = from;
    loop {
        pos += bytes.get(pos..)?.iter().position(|byte| STOPS[usize::from(*byte)])?;
        match bytes.get(pos) {
            Some(found) if *found == quote => return Some((pos, special)),
            Some(b'"' | b'\'') => {}
            _ => special = true,
        }
        pos += 1;
    }
}

/// Quotes, and what a value may hold that does not stand for itself.
const STOPS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_special(byte as u8) || matches!(byte as u8, b'"' | b'\'');
        byte += 1;
    }
    table
};

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let mut pos = from;
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(pos) {
        pos += 1;
    }
    pos
}

fn duplicate<'a>(attributes: &[Attribute<'a>]) -> Option<&'a str> {
    if attributes.len() > 12 {
        let mut seen = HashSet::with_capacity(attributes.len());
        return attributes.iter().map(|attribute| attribute.name).find(|name| !seen.insert(*name));
    }
    let mut before = attributes;
    while let Some((last, rest)) = before.split_last() {
        if rest.iter().any(|attribute| attribute.name == last.name) {
            return Some(last.name);
        }
        before = rest;
    }
    None
}

/// What a value may hold that does not stand for itself.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'&' | b'<' | b'\t' | b'\n' | b'\r')
}

fn normalise(raw: &str) -> Result<Cow<'_, str>, String> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(found) = rest.bytes().position(is_special) {
        let (before, after) = rest.split_at_checked(found).unwrap_or((rest, ""));
        value.push_str(before);
        rest = one_special(after, &mut value)?;
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

/// Takes one special character from the front of `text`.
fn one_special<'t>(text: &'t str, value: &mut String) -> Result<&'t str, String> {
    if text.starts_with('<') {
        return Err("'<' inside an attribute value".to_owned());
    }
    let Some(reference) = text.strip_prefix('&') else {
        value.push(' ');
        return Ok(text.strip_prefix("\r\n").or_else(|| text.get(1..)).unwrap_or_default());
    };
    let Some((name, rest)) = reference.split_once(';') else { return Err("'&' without a reference".to_owned()) };
    value.push(resolve(name)?);
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<Vec<(String, String)>, String> {
        let mut into = Vec::new();
        parse(rest, 0, &mut into).map_err(|error| error.what)?;
        Ok(into.into_iter().map(|attribute| (attribute.name.to_owned(), attribute.value.into_owned())).collect())
    }

    #[test]
    fn values_are_normalised() {
        let got = read(" a = '1' b=\"x\t\r\ny&#10;&amp;&#x41;\"\n c='\"' ").unwrap();
        let expected = [("a", "1"), ("b", "x  y\n&A"), ("c", "\"")];
        assert_eq!(got, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let bad = [
            "a='1'",
            " a",
            " a=",
            " a=1",
            " a='1'b='2'",
            " a='1' a='2'",
            " a='<'",
            " a='&lol;'",
            " a='&'",
            " a='1",
            " ='1'",
            " 1a='1'",
            " a:b:c='1'",
            " a='1' /",
            " a='&amp'",
        ];
        for rest in bad {
            assert!(read(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn a_duplicate_is_found_among_many() {
        let many: String = (0..200).map(|i| format!(" a{i}='{i}'")).collect();
        assert_eq!(read(&many).unwrap().len(), 200);
        assert!(read(&format!("{many} a77='x'")).unwrap_err().contains("a77"));
    }

    #[test]
    fn attributes_are_bounded() {
        let many: String = (0..5000).map(|i| format!(" a{i}=''")).collect();
        assert!(read(&many).unwrap_err().contains("1024"));
    }
}
