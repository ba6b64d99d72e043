//! Credentials of requests: what stands behind `Authorization:`, and the key in the path
//! `/push/<gateway>/<key>`. Heads of requests are kept where a stream was not taken for
//! one: behind a document, or behind what a proxy says first.

use std::ops::Range;

use super::Span;

/// Names of the header fields that hold credentials end in this (RFC 9110 sections
/// 11.6.2 and 11.7.2).
const FIELD: &[u8] = b"authorization";
const PROXY: &[u8] = b"proxy-";
const PATH: &[u8] = b"/push/";

/// Where such credentials stand.
pub(super) fn requests(bytes: &[u8]) -> Vec<Span> {
    let mut found = apart(places(bytes, FIELD), |name| field(bytes, name));
    found.extend(apart(places(bytes, PATH), |prefix| key_in_path(bytes, prefix)));
    found
}

/// What is found at places, none of them within what was found before: all of it is
/// looked through once.
fn apart(places: impl Iterator<Item = Range<usize>>, find: impl Fn(&Range<usize>) -> Option<Span>) -> Vec<Span> {
    let mut covered = 0;
    let outside = places.filter_map(|place| {
        let found = (place.end > covered).then(|| find(&place)).flatten()?;
        covered = found.range.end;
        Some(found)
    });
    outside.collect()
}

/// Where a word of ASCII stands, whatever its case.
fn places<'a>(bytes: &'a [u8], word: &'static [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    let first = word.first().copied().unwrap_or_default();
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes).filter_map(move |at| {
        let place = at..at + word.len();
        bytes.get(place.clone())?.eq_ignore_ascii_case(word).then_some(place)
    })
}

/// The value of a header field: all of its line and of those that go on with it. Within
/// a line of something else it ends with markup.
fn field(bytes: &[u8], name: &Range<usize>) -> Option<Span> {
    let blanks = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    };
    let colon = name.end + blanks(name.end);
    (bytes.get(colon) == Some(&b':')).then_some(())?;
    let start = colon + 1 + blanks(colon + 1);
    let value = bytes.get(start..)?;
    let length = match begins_line(bytes.get(..name.start)?) {
        true => lines(value),
        false => memchr::memchr3(b'\r', b'\n', b'<', value).unwrap_or(value.len()),
    };
    let holds_elements = memchr::memchr(b'<', value.get(..length)?).is_some();
    (length > 0).then_some(Span { range: start..start + length, holds_elements })
}

/// Whether a name that these bytes stand before is the first of its line, but for
/// `Proxy-`.
fn begins_line(before: &[u8]) -> bool {
    let proxy = before.len().checked_sub(PROXY.len()).and_then(|at| before.split_at_checked(at));
    let before = proxy.filter(|(_, end)| end.eq_ignore_ascii_case(PROXY)).map_or(before, |(before, _)| before);
    before.last().is_none_or(|last| matches!(last, b'\r' | b'\n'))
}

/// How long a line is, with those behind it that begin with white space (RFC 9112
/// section 5.2) and without its end.
fn lines(value: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = value.get(length..).unwrap_or_default();
        length += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let end = value.get(length..).unwrap_or_default();
        let next = match end {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => return length,
        };
        match end.get(next) {
            Some(b' ' | b'\t') => length += next,
            _ => return length,
        }
    }
}

/// What stands behind the gateway in a path. In a request a path ends with white space;
/// elsewhere it may stand in quotes.
fn key_in_path(bytes: &[u8], prefix: &Range<usize>) -> Option<Span> {
    let is_target = prefix.start.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b' ');
    let ends =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>') || (!is_target && matches!(byte, b'"' | b'\''));
    let rest = bytes.get(prefix.end..)?;
    let gateway = rest.iter().position(|byte| *byte == b'/' || ends(byte)).filter(|at| rest.get(*at) == Some(&b'/'))?;
    let key = rest.get(gateway + 1..)?;
    let length = key.iter().position(ends).unwrap_or(key.len());
    let start = prefix.end + gateway + 1;
    (length > 0).then_some(Span { range: start..start + length, holds_elements: false })
}
