//! What stands as the value of a `key`: of an attribute, behind a colon, or as
//! the text of an element, in documents that may be broken anywhere.

use std::ops::Range;

use super::Span;
use super::element::content;

/// Where values of keys stand before `until`. Ranges may overlap; a key inside
/// what looked like the value of another is found too.
pub(super) fn values(bytes: &[u8], until: usize) -> Vec<Span> {
    let mut found = Vec::new();
    let mut tags = Tags::default();
    let mut ends = Ends { bytes, known: [None; 5] };
    // What an element holds is looked through once.
    let (mut from, mut covered) = (0, 0);
    while let Some(name) = next_name(bytes, from, until) {
        if let Some((start, end)) = value_start(bytes, &name) {
            let end = ends.next(end, start);
            found.push(Span { range: start..end, holds_elements: ends.next(End::Markup, start) < end });
        }
        if tags.stands_in_name(bytes, name.start)
            && let Some(start) = text_start(&mut ends, name.end).filter(|start| *start >= covered)
        {
            let content = content(bytes, start);
            covered = content.end;
            found.push(Span { range: start..content.end, holds_elements: content.has_elements });
        }
        from = name.end;
    }
    found
}

/// The next name that is `key` or ends in it: where these three letters stand.
fn next_name(bytes: &[u8], from: usize, until: usize) -> Option<Range<usize>> {
    let within = bytes.get(from..until)?;
    memchr::memchr3_iter(b'k', b'K', b'&', within).find_map(|at| {
        let start = from + at;
        let end = b"key".iter().try_fold(start, |at, letter| {
            let (found, length) = char_at(bytes, at)?;
            found.eq_ignore_ascii_case(&char::from(*letter)).then_some(at + length)
        })?;
        let goes_on = char_at(bytes, end).is_some_and(|(next, _)| next.is_alphanumeric() || matches!(next, '_' | '-' | '.'));
        (!goes_on).then_some(start..end)
    })
}

/// The character at a byte and its length, with references to characters
/// resolved. A byte that is no UTF-8 is U+FFFD.
fn char_at(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let rest = bytes.get(at..)?;
    let first = *rest.first()?;
    if first == b'&'
        && let Some(found) = reference(rest)
    {
        return Some(found);
    }
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let chunk = rest.get(..4).unwrap_or(rest).utf8_chunks().next()?;
    let found = chunk.valid().chars().next();
    Some(found.map_or((char::REPLACEMENT_CHARACTER, 1), |found| (found, found.len_utf8())))
}

/// `&#101;` or `&#x65;` at the front of `text`.
fn reference(text: &[u8]) -> Option<(char, usize)> {
    let number = text.strip_prefix(b"&#")?;
    let (digits, radix) = match number {
        [b'x' | b'X', digits @ ..] => (digits, 16),
        digits => (digits, 10),
    };
    let mut code = 0_u32;
    for (at, byte) in digits.iter().enumerate() {
        match char::from(*byte).to_digit(radix) {
            Some(digit) => code = code.saturating_mul(radix).saturating_add(digit),
            None if *byte == b';' && at > 0 => return Some((char::from_u32(code)?, text.len() - digits.len() + at + 1)),
            None => return None,
        }
    }
    None
}

/// Where the value behind a name begins and what ends it: behind `=` or `:`, or
/// behind a quote that stands where these are missing.
fn value_start(bytes: &[u8], name: &Range<usize>) -> Option<(usize, End)> {
    let before = name.start.checked_sub(1).and_then(|at| bytes.get(at)).copied();
    let (mut separated, mut at) = behind_separators(bytes, name.end);
    if quote_at(bytes, name.end).is_some() && bytes.get(name.end).copied() == before {
        // A name in quotes of its own, as in JSON.
        let (behind_quote, behind) = behind_separators(bytes, name.end + 1);
        (separated, at) = if behind_quote { (true, behind) } else { (separated, at) };
    }
    let is_whole = !before.is_some_and(|before| before.is_ascii_alphanumeric() || b"_-.".contains(&before));
    match quote_at(bytes, at) {
        Some(quote) if separated || is_whole => Some((at + 1, quote)),
        None if separated => Some((at, End::Bare)),
        _ => None,
    }
}

fn quote_at(bytes: &[u8], at: usize) -> Option<End> {
    match bytes.get(at)? {
        b'\'' => Some(End::Single),
        b'"' => Some(End::Double),
        _ => None,
    }
}

/// Behind white space, `=` and `:`, and whether there was one of the latter.
fn behind_separators(bytes: &[u8], from: usize) -> (bool, usize) {
    let (mut separated, mut at) = (false, from);
    while let Some((found, length)) = char_at(bytes, at) {
        match found {
            '=' | ':' => separated = true,
            _ if is_blank(found) => {}
            _ => break,
        }
        at += length;
    }
    (separated, at)
}

/// White space of any kind, and what is not seen or not a character at all.
fn is_blank(c: char) -> bool {
    let unseen = matches!(c, '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}');
    c.is_whitespace() || c.is_control() || unseen || c == char::REPLACEMENT_CHARACTER
}

/// Where the text of an element begins whose name ends at a byte.
fn text_start(ends: &mut Ends<'_>, name_end: usize) -> Option<usize> {
    let rest = ends.bytes.get(name_end..)?;
    if rest.trim_ascii_start().starts_with(b"/>") {
        return None;
    }
    let behind = ends.next(End::Tag, name_end) + 1;
    (behind <= ends.bytes.len()).then_some(behind)
}

/// Whether a byte stands in the name of a start tag; asked in ascending order.
#[derive(Default)]
struct Tags {
    seen: usize,
    place: Place,
}

#[derive(Default, Clone, Copy)]
enum Place {
    #[default]
    Outside,
    /// Behind `<` and white space.
    Opened,
    Name,
}

impl Tags {
    fn stands_in_name(&mut self, bytes: &[u8], at: usize) -> bool {
        for byte in bytes.get(self.seen..at).unwrap_or_default() {
            self.place = match (self.place, *byte) {
                (_, b'<') => Place::Opened,
                (Place::Opened, byte) if byte.is_ascii_whitespace() => Place::Opened,
                (Place::Opened | Place::Name, byte) if is_name_byte(byte) || b"&#;".contains(&byte) => Place::Name,
                _ => Place::Outside,
            };
        }
        self.seen = at;
        !matches!(self.place, Place::Outside)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte) || !byte.is_ascii()
}

/// What ends a range.
#[derive(Debug, Clone, Copy)]
enum End {
    /// A closing `'`.
    Single,
    /// A closing `"`.
    Double,
    /// White space or `>`.
    Bare,
    /// `>`.
    Tag,
    /// `<`.
    Markup,
}

/// Finds ends, from ascending places. Each is kept until it is passed, so that
/// all of them together cost one pass for each kind.
struct Ends<'a> {
    bytes: &'a [u8],
    known: [Option<usize>; 5],
}

impl Ends<'_> {
    /// The first end of this kind from a byte on, else the end of the bytes.
    fn next(&mut self, end: End, from: usize) -> usize {
        let known = &mut self.known[end as usize];
        match *known {
            Some(at) if at >= from => at,
            _ => *known.insert(find_end(self.bytes, end, from)),
        }
    }
}

fn find_end(bytes: &[u8], end: End, from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = match end {
        End::Single => memchr::memchr_iter(b'\'', rest).find(|at| closes(rest, at + 1)),
        End::Double => memchr::memchr_iter(b'"', rest).find(|at| closes(rest, at + 1)),
        End::Bare => rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>'),
        End::Tag => memchr::memchr(b'>', rest),
        End::Markup => memchr::memchr(b'<', rest),
    };
    from + found.unwrap_or(rest.len())
}

/// Whether a quote before this byte ends a value. A document that is broken has
/// quotes inside values: a quote counts only with the end of a tag, a comment or
/// the bytes behind it, or with white space and the next attribute.
fn closes(bytes: &[u8], behind: usize) -> bool {
    let rest = bytes.get(behind..).unwrap_or_default();
    let next = rest.trim_ascii_start();
    match next {
        [] | [b'>', ..] | [b'/' | b'?'] | [b'/' | b'?', b'>', ..] | [b'<', b'/', ..] => true,
        _ if next.starts_with(b"-->") => true,
        _ => next.len() < rest.len() && is_attribute(next),
    }
}

fn is_attribute(text: &[u8]) -> bool {
    let name = text.iter().take_while(|byte| is_name_byte(**byte)).count();
    let behind = text.get(name..).unwrap_or_default().trim_ascii_start();
    let value = behind.strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
    name > 0 && value.is_some_and(|value| matches!(value, [] | [b'"' | b'\'', ..]))
}
