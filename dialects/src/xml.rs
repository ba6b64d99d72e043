//! XML as the dialects see it: events that are well-formed, resolved and aware of
//! namespaces. Nothing else in the product reads XML, and only this file knows
//! the library that does.
//!
//! The library finds the tokens; what it leaves open is checked here: characters,
//! names, attributes and that each stands once, references (only the five
//! predefined entities and characters), namespaces, one root, nothing beside it.

mod attributes;
mod characters;
mod declaration;
mod encoding;
mod namespaces;

use std::borrow::Cow;

use heliograph_domain::RefusalCode;
use memchr::{memchr, memmem};
use quick_xml::events::Event as Token;
use quick_xml::reader::Reader;

use attributes::Attribute;
use characters::{check_characters, check_name, resolve, take_name};
pub(crate) use encoding::{readable_part, text_of};
use namespaces::Namespaces;

/// The far ceiling of open elements, for documents that never passed a framer.
const DEEPEST: usize = 1024;

/// Why a text is not XML that is understood.
#[derive(Debug)]
pub(crate) struct XmlError {
    pub(crate) code: RefusalCode,
    /// Byte of the text.
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl XmlError {
    fn malformed(at: usize, what: impl Into<String>) -> Self {
        Self { code: RefusalCode::Malformed, at, what: what.into() }
    }
}

/// What comes next in a document. An empty element is a start and an end;
/// comments and processing instructions are not seen.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A start tag: see the accessors of [`Parser`].
    Start,
    /// All the text up to the next tag, references resolved, CDATA joined in.
    Text(Cow<'a, str>),
    /// The end of the innermost open element.
    End,
    /// The end of the document; the root has ended.
    Eof,
}

/// Reads one document. The accessors speak of the start tag read last.
pub(crate) struct Parser<'a> {
    text: &'a str,
    /// Where the reader began in the text: behind the XML declaration.
    body: usize,
    reader: Reader<&'a [u8]>,
    attributes: Vec<Attribute<'a>>,
    namespaces: Namespaces<'a>,
    prefix: &'a str,
    local_name: &'a str,
    start: usize,
    depth: usize,
    /// Start tags that may still come.
    elements_left: usize,
    root_seen: bool,
    doctype_seen: bool,
    /// The element at hand is empty: its end comes next.
    end_is_next: bool,
    /// Text may hold a `]]>` that is not the end of CDATA.
    check_cdata_end: bool,
    /// The text has carriage returns somewhere.
    has_returns: bool,
}

impl<'a> Parser<'a> {
    /// Over a whole document.
    pub(crate) fn new(text: &'a str) -> Result<Self, XmlError> {
        check_characters(text)?;
        let body = declaration::check(text)?;
        if text.get(body..).is_some_and(|rest| rest.starts_with('\u{FEFF}')) {
            return Err(XmlError::malformed(body, "byte order mark inside the document"));
        }
        Ok(Self::at(text, body))
    }

    /// Over the beginning of a document whose rest may be anything: for the root's
    /// start tag alone.
    pub(crate) fn over_part(text: &'a str) -> Self {
        Self::at(text, declaration::check(text).unwrap_or(0))
    }

    fn at(text: &'a str, body: usize) -> Self {
        let mut reader = Reader::from_str(text.get(body..).unwrap_or_default());
        reader.config_mut().check_comments = true;
        Self {
            text,
            body,
            reader,
            attributes: Vec::new(),
            namespaces: Namespaces::default(),
            prefix: "",
            local_name: "",
            start: 0,
            depth: 0,
            elements_left: usize::MAX,
            root_seen: false,
            doctype_seen: false,
            end_is_next: false,
            check_cdata_end: memmem::find(text.as_bytes(), b"]]>").is_some(),
            has_returns: memchr(b'\r', text.as_bytes()).is_some(),
        }
    }

    /// Refuses a document with more elements than this from here on: what is kept
    /// of each is larger than the element may be.
    pub(crate) fn limit_elements(&mut self, most: usize) {
        self.elements_left = most;
    }

    /// Reads up to the root's start tag.
    pub(crate) fn root(&mut self) -> Result<Option<()>, XmlError> {
        match self.next()? {
            Event::Start => Ok(Some(())),
            _ => Ok(None),
        }
    }

    /// Reads the next event.
    pub(crate) fn next(&mut self) -> Result<Event<'a>, XmlError> {
        if self.end_is_next {
            self.end_is_next = false;
            return Ok(self.close());
        }
        let mut run: Option<Cow<'a, str>> = None;
        loop {
            if let Some(text) = run.take_if(|_| self.is_at_tag()) {
                return Ok(Event::Text(text));
            }
            let start = self.position();
            let token = self.reader.read_event().map_err(|error| XmlError::malformed(start, error.to_string()))?;
            let raw = self.text.get(start..self.position()).unwrap_or_default();
            match token {
                Token::Start(_) => return self.open(start, inner(raw, 1, 1)),
                Token::Empty(_) => {
                    self.end_is_next = true;
                    return self.open(start, inner(raw, 1, 2));
                }
                Token::End(_) => return Ok(self.close()),
                Token::Eof => return self.end_of_document(start),
                Token::Text(_) => match self.character_data(start, raw)? {
                    // Nearly all runs of text are one piece.
                    Some(text) if run.is_none() && self.is_at_tag() => return Ok(Event::Text(text)),
                    Some(text) => join(&mut run, text),
                    None => {}
                },
                Token::GeneralRef(_) => self.reference(start, raw, &mut run)?,
                Token::CData(_) => self.cdata(start, raw, &mut run)?,
                Token::PI(_) => check_instruction(start, inner(raw, 2, 2))?,
                Token::DocType(_) => self.doctype(start, raw)?,
                Token::Comment(_) => {}
                Token::Decl(_) => return Err(XmlError::malformed(start, "XML declaration inside the document")),
            }
        }
    }

    /// Reads to the end of the element at hand, with all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let depth = self.depth;
        while self.depth >= depth && !matches!(self.next()?, Event::Eof) {}
        Ok(())
    }

    /// Reads to the end of the element at hand and gives its own text; child
    /// elements are skipped.
    pub(crate) fn text_of_element(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.next()? {
                Event::Text(more) if text.is_empty() => text = more,
                Event::Text(more) => text.to_mut().push_str(&more),
                Event::Start => self.skip()?,
                Event::End | Event::Eof => return Ok(text),
            }
        }
    }

    /// Calls `each` at the start tag of every child of the element at hand, and
    /// reads to that element's end. `each` reads its child to the end.
    pub(crate) fn each_child<E: From<XmlError>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        loop {
            match self.next()? {
                Event::Start => each(self)?,
                Event::Text(_) => {}
                Event::End | Event::Eof => return Ok(()),
            }
        }
    }

    /// Whether the element at hand has this local name, without regard to case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.local_name.eq_ignore_ascii_case(name)
    }

    /// Reads what is left, so that all of it is checked.
    pub(crate) fn finish(&mut self) -> Result<(), XmlError> {
        while !matches!(self.next()?, Event::Eof) {}
        Ok(())
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The byte at which the start tag begins.
    pub(crate) fn offset(&self) -> usize {
        self.start
    }

    /// Its name without the prefix.
    pub(crate) fn local_name(&self) -> &'a str {
        self.local_name
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespaces.of_element(self.prefix)
    }

    /// Its attributes without a prefix, in order. Namespace declarations are none.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a str, &str)> {
        let plain = |attribute: &&Attribute<'a>| !attribute.has_prefix && attribute.name != "xmlns";
        self.attributes.iter().filter(plain).map(|attribute| (attribute.name, attribute.value.as_ref()))
    }

    /// One of these attributes.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    fn position(&self) -> usize {
        self.body + usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// Whether a start or end tag comes next, so that a run of text is over.
    fn is_at_tag(&self) -> bool {
        match self.text.as_bytes().get(self.position()..) {
            None | Some([]) => true,
            Some([b'<', next, ..]) => !matches!(next, b'!' | b'?'),
            Some(_) => false,
        }
    }

    fn open(&mut self, start: usize, tag: &'a str) -> Result<Event<'a>, XmlError> {
        if self.depth == 0 && self.root_seen {
            return Err(XmlError::malformed(start, "a second root element"));
        }
        self.root_seen = true;
        let Some(left) = self.elements_left.checked_sub(1) else {
            let what = "the document has more elements than its dialect ever needs".to_owned();
            return Err(XmlError { code: RefusalCode::TooLarge, at: start, what });
        };
        self.elements_left = left;
        self.depth += 1;
        if self.depth > DEEPEST {
            let what = format!("elements are nested deeper than {DEEPEST}");
            return Err(XmlError { code: RefusalCode::TooDeep, at: start, what });
        }
        let (length, has_prefix) = take_name(tag).map_err(|what| XmlError::malformed(start + 1, what))?;
        let (name, rest) = tag.split_at_checked(length).unwrap_or((tag, ""));
        self.start = start;
        (self.prefix, self.local_name) = if has_prefix { split_name(name) } else { ("", name) };
        attributes::parse(rest, start + 1 + length, &mut self.attributes)?;
        let names = self.namespaces.enter(self.depth, self.prefix, &self.attributes);
        names.map_err(|what| XmlError::malformed(start, what))?;
        Ok(Event::Start)
    }

    fn close(&mut self) -> Event<'a> {
        self.namespaces.leave(self.depth);
        self.depth = self.depth.saturating_sub(1);
        Event::End
    }

    fn end_of_document(&self, at: usize) -> Result<Event<'a>, XmlError> {
        match (self.root_seen, self.depth) {
            (true, 0) => Ok(Event::Eof),
            (true, _) => Err(XmlError::malformed(at, "the document ends inside an element")),
            (false, _) => Err(XmlError::malformed(at, "the document has no element")),
        }
    }

    /// A piece of text, or white space outside the root, which is nothing.
    fn character_data(&self, at: usize, raw: &'a str) -> Result<Option<Cow<'a, str>>, XmlError> {
        if self.depth == 0 {
            return match crate::text::trim(raw).is_empty() {
                true => Ok(None),
                false => Err(XmlError::malformed(at, "text outside the root element")),
            };
        }
        if self.check_cdata_end && raw.contains("]]>") {
            return Err(XmlError::malformed(at, "']]>' in text"));
        }
        Ok(Some(self.with_line_ends(raw)))
    }

    fn cdata(&self, at: usize, raw: &'a str, run: &mut Option<Cow<'a, str>>) -> Result<(), XmlError> {
        if self.depth == 0 {
            return Err(XmlError::malformed(at, "CDATA outside the root element"));
        }
        join(run, self.with_line_ends(inner(raw, "<![CDATA[".len(), "]]>".len())));
        Ok(())
    }

    fn reference(&self, at: usize, raw: &'a str, run: &mut Option<Cow<'a, str>>) -> Result<(), XmlError> {
        if self.depth == 0 {
            return Err(XmlError::malformed(at, "reference outside the root element"));
        }
        let resolved = resolve(inner(raw, 1, 1)).map_err(|what| XmlError::malformed(at, what))?;
        run.get_or_insert_default().to_mut().push(resolved);
        Ok(())
    }

    /// Line ends as XML has them: `\r\n` and `\r` are `\n`.
    fn with_line_ends(&self, raw: &'a str) -> Cow<'a, str> {
        match self.has_returns {
            true if raw.contains('\r') => Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n")),
            _ => Cow::Borrowed(raw),
        }
    }

    fn doctype(&mut self, at: usize, raw: &str) -> Result<(), XmlError> {
        if self.root_seen || std::mem::replace(&mut self.doctype_seen, true) {
            return Err(XmlError::malformed(at, "DOCTYPE must stand once, before the root element"));
        }
        declaration::check_doctype(raw).map_err(|(code, what)| XmlError { code, at, what: what.to_owned() })
    }
}

/// Prefix (empty if there is none) and local name.
fn split_name(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// A token without its delimiters.
fn inner(raw: &str, opening: usize, closing: usize) -> &str {
    raw.get(opening..raw.len().saturating_sub(closing)).unwrap_or_default()
}

fn join<'a>(run: &mut Option<Cow<'a, str>>, more: Cow<'a, str>) {
    match run {
        None => *run = Some(more),
        Some(text) => text.to_mut().push_str(&more),
    }
}

fn check_instruction(at: usize, content: &str) -> Result<(), XmlError> {
    let target = content.split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
    check_name(target).map_err(|what| XmlError::malformed(at, what))?;
    if target.eq_ignore_ascii_case("xml") || target.contains(':') {
        return Err(XmlError::malformed(at, "a processing instruction must not have this name"));
    }
    Ok(())
}

/// Where the start tag of the root ends, if the bytes can be read that far.
pub(crate) fn end_of_root_tag(bytes: &[u8]) -> Option<usize> {
    let text = text_of(bytes).ok()?;
    let mut parser = Parser::new(&text).ok()?;
    parser.root().ok()??;
    // A text that had to be recoded has other positions than its bytes.
    matches!(text, Cow::Borrowed(_)).then(|| bytes.len() - text.len() + parser.position())
}
