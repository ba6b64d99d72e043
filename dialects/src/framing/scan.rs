//! The state machine behind the framer. All positions count from the first byte
//! that is not white space or NUL, so that it does not matter when the caller
//! drops those.

use std::ops::Range;

use heliograph_domain::RefusalCode;
use memchr::{memchr, memchr2, memmem};

use super::is_space;
use crate::credentials::mask_text;
use crate::limits::Limits;

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: RefusalCode,
    pub(super) at: usize,
    pub(super) what: String,
}

type Step = Result<Progress, Fault>;

enum Progress {
    /// The state changed; go on from `pos`.
    Onward,
    /// All bytes are used up.
    Starved,
    /// The root element ended; the document ends before `pos`.
    Complete,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first byte of a document.
    #[default]
    Begin,
    /// Between markup.
    Text,
    /// After `<`.
    Markup,
    /// In the name of a start tag.
    Name,
    /// In a start tag, outside quotes.
    Tag,
    /// In an attribute value, up to this quote.
    Value(u8),
    /// After the `/` of an empty element.
    Slash,
    EndTag,
    Comment,
    Cdata,
    Instruction,
    Doctype,
    /// In a literal of a DOCTYPE, up to this quote.
    Literal(u8),
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    /// Where the document begins; later than 0 where the comments before it
    /// belong to the document before.
    start: usize,
    /// How far the bytes are known.
    pos: usize,
    /// The `<` of the markup at hand.
    markup: usize,
    /// Names of the open elements, as ranges of the bytes.
    open: Vec<Range<usize>>,
    /// Quoted values of the tag at hand.
    attributes: usize,
    /// Something only the beginning of a document can have was seen: a byte
    /// order mark, a declaration or a DOCTYPE.
    headed: bool,
    doctype: bool,
}

impl Scan {
    /// Goes on as far as `doc` reaches. `Some`: where the document ends.
    pub(super) fn advance(&mut self, doc: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        loop {
            let progress = match self.state {
                State::Text if !self.open.is_empty() => self.text(doc),
                State::Tag => self.tag(doc, limits)?,
                State::Value(quote) => self.value(doc, limits, quote)?,
                State::Markup => self.markup(doc, limits)?,
                State::Name => self.name(doc, limits)?,
                State::EndTag => self.end_tag(doc, limits)?,
                State::Slash => self.slash(doc, limits)?,
                State::Begin => self.begin(doc)?,
                State::Text => self.outside(doc)?,
                State::Comment => self.comment(doc)?,
                State::Cdata => self.cdata(doc),
                State::Instruction => self.instruction(doc)?,
                State::Doctype => self.doctype(doc, limits)?,
                State::Literal(quote) => self.literal(doc, limits, quote)?,
            };
            match progress {
                Progress::Onward => {}
                Progress::Starved => return Ok(None),
                Progress::Complete => return Ok(Some(self.pos)),
            }
        }
    }

    pub(super) fn document_start(&self) -> usize {
        self.start
    }

    pub(super) fn only_trailers(&self) -> bool {
        self.state == State::Text && self.open.is_empty() && !self.headed
    }

    /// Ready for the next document; keeps what is allocated.
    pub(super) fn restart(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        open.clear();
        *self = Self { open, ..Self::default() };
    }

    fn begin(&mut self, doc: &[u8]) -> Step {
        self.start += tail(doc, self.start).iter().take_while(|byte| is_space(**byte) || **byte == 0).count();
        match doc.get(self.start..).unwrap_or_default() {
            [] | [0xEF] | [0xEF, 0xBB] => return Ok(Progress::Starved),
            [0xFE | 0xFF, ..] => return Err(encoding(self.start)),
            [0xEF, 0xBB, 0xBF, ..] => {
                self.headed = true;
                self.pos = self.start + 3;
            }
            _ => self.pos = self.start,
        }
        self.state = State::Text;
        Ok(Progress::Onward)
    }

    fn text(&mut self, doc: &[u8]) -> Progress {
        match memchr(b'<', tail(doc, self.pos)) {
            Some(found) => self.enter_markup(self.pos + found),
            None => self.starve(doc),
        }
    }

    /// Before the root: only markup and white space.
    fn outside(&mut self, doc: &[u8]) -> Step {
        let rest = tail(doc, self.pos);
        self.pos += rest.iter().take_while(|byte| is_space(**byte)).count();
        match doc.get(self.pos) {
            None => Ok(Progress::Starved),
            Some(b'<') => Ok(self.enter_markup(self.pos)),
            Some(0) if !self.headed => {
                self.start = self.pos + 1;
                self.state = State::Begin;
                Ok(Progress::Onward)
            }
            Some(0xEF) if !self.headed && self.pos > self.start => {
                self.start = self.pos;
                self.state = State::Begin;
                Ok(Progress::Onward)
            }
            Some(0xFE | 0xFF) if self.pos == self.start => Err(encoding(self.pos)),
            Some(byte) => Err(malformed(self.pos, format!("expected '<', found {}", shown(*byte)))),
        }
    }

    fn markup(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let Some(byte) = doc.get(self.markup + 1) else { return Ok(Progress::Starved) };
        self.pos = self.markup + 2;
        match byte {
            b'/' if self.open.is_empty() => return Err(malformed(self.markup, "end tag without a start tag")),
            b'/' => self.state = State::EndTag,
            b'?' => self.state = State::Instruction,
            b'!' => return self.declaration(doc),
            0 if self.open.is_empty() => return Err(encoding(self.markup)),
            byte if starts_name(*byte) => {
                if self.open.len() >= limits.depth {
                    let what = format!("elements are nested deeper than {}", limits.depth);
                    return Err(Fault { code: RefusalCode::TooDeep, at: self.markup, what });
                }
                self.attributes = 0;
                self.state = State::Name;
            }
            byte => return Err(malformed(self.markup + 1, format!("{} after '<'", shown(*byte)))),
        }
        Ok(Progress::Onward)
    }

    /// After `<!`.
    fn declaration(&mut self, doc: &[u8]) -> Step {
        const KINDS: [(&[u8], State); 3] = [(b"--", State::Comment), (b"[CDATA[", State::Cdata), (b"DOCTYPE", State::Doctype)];
        let rest = tail(doc, self.markup + 2);
        let Some((opening, state)) = KINDS.into_iter().find(|(opening, _)| rest.starts_with(opening)) else {
            return match KINDS.iter().any(|(opening, _)| opening.starts_with(rest)) {
                true => Ok(Progress::Starved),
                false => Err(malformed(self.markup, "'<!' begins neither a comment nor CDATA nor DOCTYPE")),
            };
        };
        match state {
            State::Cdata if self.open.is_empty() => return Err(malformed(self.markup, "CDATA outside the root element")),
            State::Doctype if self.doctype || !self.open.is_empty() => {
                return Err(malformed(self.markup, "DOCTYPE must stand once, before the root element"));
            }
            State::Doctype => (self.doctype, self.headed) = (true, true),
            _ => {}
        }
        self.pos = self.markup + 2 + opening.len();
        self.state = state;
        Ok(Progress::Onward)
    }

    fn name(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let within = self.tag_bytes(doc, limits);
        let rest = tail(within, self.pos);
        let Some(length) = rest.iter().position(|byte| !continues_name(*byte)) else { return self.starve_tag(doc, limits) };
        self.pos += length;
        let end = rest.get(length).copied().unwrap_or_default();
        if !is_space(end) && !matches!(end, b'/' | b'>') {
            return Err(malformed(self.pos, format!("{} in the name of a tag", shown(end))));
        }
        self.open.push(self.markup + 1..self.pos);
        self.state = State::Tag;
        Ok(Progress::Onward)
    }

    fn tag(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let within = self.tag_bytes(doc, limits);
        let Some(found) = tail(within, self.pos).iter().position(|byte| matches!(byte, b'"' | b'\'' | b'>' | b'/' | b'<')) else {
            return self.starve_tag(doc, limits);
        };
        let at = self.pos + found;
        self.pos = at + 1;
        match within.get(at) {
            Some(b'>') => self.state = State::Text,
            Some(b'/') => self.state = State::Slash,
            Some(quote @ (b'"' | b'\'')) => self.open_value(within, at, *quote, limits)?,
            _ => return Err(malformed(at, "'<' inside a tag")),
        }
        Ok(Progress::Onward)
    }

    fn open_value(&mut self, within: &[u8], at: usize, quote: u8, limits: &Limits) -> Result<(), Fault> {
        let before = within.get(self.markup..at).unwrap_or_default();
        if before.iter().rev().find(|byte| !is_space(**byte)) != Some(&b'=') {
            return Err(malformed(at, "a quote in a tag without '=' before it"));
        }
        self.attributes += 1;
        if self.attributes > limits.attributes {
            let what = format!("tag has more than {} attributes", limits.attributes);
            return Err(Fault { code: RefusalCode::TooLarge, at, what });
        }
        self.state = State::Value(quote);
        Ok(())
    }

    fn value(&mut self, doc: &[u8], limits: &Limits, quote: u8) -> Step {
        let within = self.tag_bytes(doc, limits);
        let Some(found) = memchr2(quote, b'<', tail(within, self.pos)) else { return self.starve_tag(doc, limits) };
        self.pos += found + 1;
        if within.get(self.pos - 1) == Some(&b'<') {
            return Err(malformed(self.pos - 1, "'<' inside an attribute value"));
        }
        self.state = State::Tag;
        Ok(Progress::Onward)
    }

    fn slash(&mut self, doc: &[u8], limits: &Limits) -> Step {
        match self.tag_bytes(doc, limits).get(self.pos) {
            None => self.starve_tag(doc, limits),
            Some(b'>') => Ok(self.close()),
            Some(_) => Err(malformed(self.pos, "'/' inside a tag")),
        }
    }

    fn end_tag(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let within = self.tag_bytes(doc, limits);
        let Some(found) = memchr2(b'>', b'<', tail(within, self.pos)) else { return self.starve_tag(doc, limits) };
        let at = self.pos + found;
        let name = within.get(self.markup + 2..at).unwrap_or_default();
        let expected = self.open.last().and_then(|range| doc.get(range.clone())).unwrap_or_default();
        let equal = name.strip_prefix(expected).is_some_and(|rest| rest.iter().all(|byte| is_space(*byte)));
        if !equal || within.get(at) == Some(&b'<') {
            let what = format!("end tag </{}> where </{}> was expected", cut(name), cut(expected));
            return Err(malformed(self.markup, what));
        }
        self.pos = at;
        Ok(self.close())
    }

    /// At the `>` of an end tag or of an empty element.
    fn close(&mut self) -> Progress {
        self.pos += 1;
        self.open.pop();
        self.state = State::Text;
        if self.open.is_empty() { Progress::Complete } else { Progress::Onward }
    }

    fn comment(&mut self, doc: &[u8]) -> Step {
        let Some(found) = memmem::find(tail(doc, self.pos), b"--") else { return Ok(self.starve_but(doc, 1)) };
        self.pos += found;
        match doc.get(self.pos + 2) {
            None => Ok(Progress::Starved),
            Some(b'>') => Ok(self.leave(self.pos + 3)),
            Some(_) => Err(malformed(self.pos, "'--' inside a comment")),
        }
    }

    fn cdata(&mut self, doc: &[u8]) -> Progress {
        match memmem::find(tail(doc, self.pos), b"]]>") {
            Some(found) => self.leave(self.pos + found + 3),
            None => self.starve_but(doc, 2),
        }
    }

    fn instruction(&mut self, doc: &[u8]) -> Step {
        let Some(found) = memmem::find(tail(doc, self.pos), b"?>") else { return Ok(self.starve_but(doc, 1)) };
        let target = doc.get(self.markup + 2..self.pos + found).unwrap_or_default();
        if let [b'x', b'm', b'l', space, ..] = target
            && is_space(*space)
        {
            let first = self.open.is_empty() && !self.doctype && (!self.headed || self.only_mark_before());
            if !first {
                return Err(malformed(self.markup, "XML declaration inside a document"));
            }
            if !self.headed {
                self.start = self.markup;
            }
            self.headed = true;
        }
        Ok(self.leave(self.pos + found + 2))
    }

    /// Whether the markup at hand follows a byte order mark at once.
    fn only_mark_before(&self) -> bool {
        self.markup == self.start + 3
    }

    fn doctype(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let within = self.tag_bytes(doc, limits);
        let Some(found) = tail(within, self.pos).iter().position(|byte| matches!(byte, b'"' | b'\'' | b'>' | b'[' | b'<')) else {
            return self.starve_tag(doc, limits);
        };
        let at = self.pos + found;
        self.pos = at + 1;
        match within.get(at) {
            Some(b'>') => self.state = State::Text,
            Some(quote @ (b'"' | b'\'')) => self.state = State::Literal(*quote),
            Some(b'[') => {
                let what = "DOCTYPE with an internal subset".to_owned();
                return Err(Fault { code: RefusalCode::Doctype, at, what });
            }
            _ => return Err(malformed(at, "'<' inside a DOCTYPE")),
        }
        Ok(Progress::Onward)
    }

    fn literal(&mut self, doc: &[u8], limits: &Limits, quote: u8) -> Step {
        let within = self.tag_bytes(doc, limits);
        let Some(found) = memchr(quote, tail(within, self.pos)) else { return self.starve_tag(doc, limits) };
        self.pos += found + 1;
        self.state = State::Doctype;
        Ok(Progress::Onward)
    }

    fn enter_markup(&mut self, at: usize) -> Progress {
        self.markup = at;
        self.pos = at + 1;
        self.state = State::Markup;
        Progress::Onward
    }

    fn leave(&mut self, pos: usize) -> Progress {
        self.pos = pos;
        self.state = State::Text;
        Progress::Onward
    }

    fn starve(&mut self, doc: &[u8]) -> Progress {
        self.starve_but(doc, 0)
    }

    /// Everything is used up but `kept` bytes, with which what is looked for may begin.
    fn starve_but(&mut self, doc: &[u8], kept: usize) -> Progress {
        self.pos = self.pos.max(doc.len().saturating_sub(kept));
        Progress::Starved
    }

    /// The bytes up to the limit of the tag at hand.
    fn tag_bytes<'d>(&self, doc: &'d [u8], limits: &Limits) -> &'d [u8] {
        doc.get(..self.markup.saturating_add(limits.tag_bytes)).unwrap_or(doc)
    }

    fn starve_tag(&mut self, doc: &[u8], limits: &Limits) -> Step {
        let within = self.tag_bytes(doc, limits);
        if within.len() < doc.len() {
            let what = format!("tag is longer than {} bytes", limits.tag_bytes);
            return Err(Fault { code: RefusalCode::TooLarge, at: within.len(), what });
        }
        Ok(self.starve(doc))
    }
}

fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

const fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || byte >= 0x80
}

const fn continues_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

fn malformed(at: usize, what: impl Into<String>) -> Fault {
    Fault { code: RefusalCode::Malformed, at, what: what.into() }
}

fn encoding(at: usize) -> Fault {
    let what = "not UTF-8, US-ASCII, ISO-8859-1 or windows-1252".to_owned();
    Fault { code: RefusalCode::Encoding, at, what }
}

fn shown(byte: u8) -> String {
    match byte {
        0x21..=0x7E => format!("'{}'", char::from(byte)),
        _ => format!("byte 0x{byte:02X}"),
    }
}

/// A name for a message: printable, and not without end.
fn cut(name: &[u8]) -> String {
    // Before it is cut: half a key is still half a secret.
    let shown = mask_text(&name.escape_ascii().to_string());
    match shown.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}
