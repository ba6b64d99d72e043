//! The attributes of one tag.

use std::borrow::Cow;
use std::collections::HashSet;

use heliograph_domain::RefusalCode;
use memchr::memchr;

use super::XmlError;
use super::characters::{check_name, is_name_byte, resolve};

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
    let mut cursor = Cursor { text: rest, pos: 0, at };
    while let Some(attribute) = cursor.attribute()? {
        if into.len() == MOST {
            let what = format!("tag has more than {MOST} attributes");
            return Err(XmlError { code: RefusalCode::TooLarge, at, what });
        }
        into.push(attribute);
    }
    match duplicate(into) {
        None => Ok(()),
        Some(name) => Err(XmlError::malformed(at, format!("attribute {} stands twice in a tag", crate::text::shown(name)))),
    }
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

struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn attribute(&mut self) -> Result<Option<Attribute<'a>>, XmlError> {
        let spaces = self.skip_space();
        match self.peek() {
            None => return Ok(None),
            Some(_) if spaces == 0 => return Err(self.malformed("white space is missing before an attribute")),
            Some(_) => {}
        }
        let name = self.name()?;
        self.skip_space();
        self.expect(b'=')?;
        self.skip_space();
        let value = self.value()?;
        let has_prefix = memchr(b':', name.as_bytes()).is_some();
        Ok(Some(Attribute { name, has_prefix, value }))
    }

    fn name(&mut self) -> Result<&'a str, XmlError> {
        let length = self.rest().iter().take_while(|byte| is_name_byte(**byte)).count();
        let name = self.text.get(self.pos..self.pos + length).unwrap_or_default();
        check_name(name).map_err(|what| self.malformed(what))?;
        self.pos += length;
        Ok(name)
    }

    fn value(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let Some(quote @ (b'"' | b'\'')) = self.peek() else {
            return Err(self.malformed("an attribute value must stand in quotes"));
        };
        self.pos += 1;
        let Some(length) = memchr(quote, self.rest()) else { return Err(self.malformed("an attribute value has no end")) };
        let raw = self.text.get(self.pos..self.pos + length).unwrap_or_default();
        let value = normalise(raw).map_err(|what| self.malformed(what))?;
        self.pos += length + 1;
        Ok(value)
    }

    fn expect(&mut self, byte: u8) -> Result<(), XmlError> {
        if self.peek() != Some(byte) {
            return Err(self.malformed("an attribute has no value"));
        }
        self.pos += 1;
        Ok(())
    }

    fn skip_space(&mut self) -> usize {
        let spaces = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.pos += spaces;
        spaces
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.pos..).unwrap_or_default()
    }

    fn malformed(&self, what: impl Into<String>) -> XmlError {
        XmlError::malformed(self.at + self.pos, what)
    }
}

fn normalise(raw: &str) -> Result<Cow<'_, str>, String> {
    let special = |byte: u8| matches!(byte, b'&' | b'<' | b'\t' | b'\n' | b'\r');
    if !raw.bytes().fold(false, |found, byte| found | special(byte)) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(found) = rest.find(|c: char| c.is_ascii() && special(c as u8)) {
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
