//! Texts that are put together from what a document says: `{path}` stands for what
//! a path finds, with filters behind `|`; what stands in `[ ]` is left out where a
//! path in it finds nothing. A backslash takes the next character as it is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;

use super::path::Selector;
use crate::text::trim;

/// A compiled text; `S` stands for a path.
#[derive(Debug, Clone)]
pub(super) struct Template<S> {
    pieces: Vec<Piece<S>>,
}

#[derive(Debug, Clone)]
enum Piece<S> {
    Plain(String),
    Found(Found<S>),
    Optional(Vec<Piece<S>>),
}

/// What the first of some paths finds that finds anything, filtered.
#[derive(Debug, Clone)]
struct Found<S> {
    paths: Vec<S>,
    filters: Vec<Filter>,
    /// Where what the filters make is kept, if they cost more than to look there.
    kept: Option<usize>,
}

/// What changes a text on its way.
#[derive(Debug, Clone)]
enum Filter {
    /// The first group, else the whole match; nothing where it does not match.
    Match(Regex),
    /// What a table of the mapping says; nothing where it says nothing.
    Map(String),
    /// What a table read from the document says.
    Lookup(String),
    /// Where it is nothing, what a table read from the document says, if that is the
    /// same of everything.
    Only(String),
    /// Nothing where it is this.
    Not(String),
    /// This where it is nothing.
    Default(String),
    Lower,
    /// Zeros before it up to a length.
    Pad(usize),
}

/// Where texts come from: what a path has found, and tables by name.
pub(super) trait Source<'t, S> {
    fn found(&self, path: &S) -> &'t str;
    fn map(&self, table: &str, key: &str) -> Option<&'t str>;
    fn lookup(&self, table: &str, key: &str) -> Option<&'t str>;
    fn only(&self, table: &str) -> Option<&'t str>;
    fn made(&self) -> &Made<'t>;
}

/// What filters have made of texts with these tables: many records of a document share
/// what stands above them, and a regular expression costs as much as a record.
#[derive(Debug, Default)]
pub(super) struct Made<'t> {
    /// By place.
    texts: RefCell<Vec<HashMap<&'t str, &'t str>>>,
}

impl<'t> Made<'t> {
    /// Texts that a place keeps. Those that records share come one after another.
    const MOST: usize = 1_000;

    fn of(&self, place: usize, text: &str) -> Option<&'t str> {
        self.texts.borrow().get(place)?.get(text).copied()
    }

    fn keep(&self, place: usize, text: &'t str, made: &'t str) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() <= place {
            texts.resize_with(place + 1, HashMap::new);
        }
        if let Some(of) = texts.get_mut(place) {
            if of.len() >= Self::MOST {
                of.clear();
            }
            of.insert(text, made);
        }
    }
}

impl Template<Selector> {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner { text, rest: text };
        let pieces = scanner.pieces(false)?;
        Ok(Self { pieces })
    }
}

impl<S> Template<S> {
    /// The same text over other paths.
    pub(super) fn try_map<T, E>(self, each: &mut impl FnMut(S) -> Result<T, E>) -> Result<Template<T>, E> {
        Ok(Template { pieces: convert(self.pieces, each)? })
    }

    /// Gives places to what is worth keeping, from `next` on.
    pub(super) fn place(&mut self, next: &mut usize) {
        place(&mut self.pieces, next);
    }

    /// The tables that its filters name: of the mapping, and of the document.
    pub(super) fn tables(&self) -> (Vec<&str>, Vec<&str>) {
        let mut tables = (Vec::new(), Vec::new());
        collect(&self.pieces, &mut tables);
        tables
    }

    /// The text, trimmed; lent where one piece says all.
    pub(super) fn evaluate<'t>(&'t self, source: &impl Source<'t, S>) -> Cow<'t, str> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(""),
            [Piece::Plain(plain)] => Cow::Borrowed(trim(plain)),
            [Piece::Found(found)] => part(found.text(source), |text| trim(text)),
            pieces => {
                let mut text = String::new();
                for piece in pieces {
                    piece.append(source, &mut text);
                }
                part(Cow::Owned(text), |text| trim(text))
            }
        }
    }
}

fn convert<S, T, E>(pieces: Vec<Piece<S>>, each: &mut impl FnMut(S) -> Result<T, E>) -> Result<Vec<Piece<T>>, E> {
    let mut converted = Vec::with_capacity(pieces.len());
    for piece in pieces {
        converted.push(match piece {
            Piece::Plain(text) => Piece::Plain(text),
            Piece::Optional(pieces) => Piece::Optional(convert(pieces, each)?),
            Piece::Found(Found { paths, filters, kept }) => {
                Piece::Found(Found { paths: paths.into_iter().map(&mut *each).collect::<Result<_, E>>()?, filters, kept })
            }
        });
    }
    Ok(converted)
}

fn place<S>(pieces: &mut [Piece<S>], next: &mut usize) {
    for piece in pieces {
        match piece {
            Piece::Found(found) if found.filters.iter().any(|filter| matches!(filter, Filter::Match(_))) => {
                found.kept = Some(*next);
                *next += 1;
            }
            Piece::Optional(pieces) => place(pieces, next),
            Piece::Plain(_) | Piece::Found(_) => {}
        }
    }
}

fn collect<'t, S>(pieces: &'t [Piece<S>], (maps, lookups): &mut (Vec<&'t str>, Vec<&'t str>)) {
    for piece in pieces {
        match piece {
            Piece::Plain(_) => {}
            Piece::Optional(pieces) => {
                let mut inner = (std::mem::take(maps), std::mem::take(lookups));
                collect(pieces, &mut inner);
                (*maps, *lookups) = inner;
            }
            Piece::Found(found) => {
                for filter in &found.filters {
                    match filter {
                        Filter::Map(table) => maps.push(table),
                        Filter::Lookup(table) | Filter::Only(table) => lookups.push(table),
                        _ => {}
                    }
                }
            }
        }
    }
}

impl<S> Piece<S> {
    /// Adds its text; false where a path in it has found nothing.
    fn append<'t>(&'t self, source: &impl Source<'t, S>, text: &mut String) -> bool {
        match self {
            Self::Plain(plain) => {
                text.push_str(plain);
                true
            }
            Self::Found(found) => {
                let found = found.text(source);
                text.push_str(&found);
                !found.is_empty()
            }
            Self::Optional(pieces) => {
                let before = text.len();
                let all = pieces.iter().all(|piece| piece.append(source, text));
                if !all {
                    text.truncate(before);
                }
                true
            }
        }
    }
}

impl<S> Found<S> {
    fn text<'t>(&'t self, source: &impl Source<'t, S>) -> Cow<'t, str> {
        let found = self.paths.iter().map(|path| trim(source.found(path))).find(|found| !found.is_empty());
        let found = found.unwrap_or_default();
        if let Some(made) = self.kept.and_then(|place| source.made().of(place, found)) {
            return Cow::Borrowed(made);
        }
        let made = self.filters.iter().fold(Cow::Borrowed(found), |found, filter| filter.apply(source, found));
        if let (Some(place), Cow::Borrowed(made)) = (self.kept, &made) {
            source.made().keep(place, found, made);
        }
        made
    }
}

impl Filter {
    fn apply<'t, S>(&'t self, source: &impl Source<'t, S>, text: Cow<'t, str>) -> Cow<'t, str> {
        let said = |entry: Option<&'t str>| Cow::Borrowed(entry.unwrap_or_default());
        match self {
            Self::Match(regex) => part(text, |text| matched(regex, text)),
            Self::Map(table) => said(source.map(table, &text)),
            Self::Lookup(table) => said(source.lookup(table, &text)),
            Self::Only(table) if text.is_empty() => said(source.only(table)),
            Self::Not(unwanted) if text == *unwanted => said(None),
            Self::Default(default) if text.is_empty() => said(Some(default.as_str())),
            Self::Lower => Cow::Owned(text.to_lowercase()),
            Self::Pad(length) if !text.is_empty() => Cow::Owned(format!("{text:0>length$}")),
            Self::Only(_) | Self::Not(_) | Self::Default(_) | Self::Pad(_) => text,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = argument.trim();
        let quoted = || {
            let inside = argument.strip_prefix('\'').and_then(|argument| argument.strip_suffix('\''));
            inside.map(str::to_owned).ok_or_else(|| format!("filter {text:?} wants a text in quotes"))
        };
        match (name, argument) {
            ("match", _) => bounded_regex(&quoted()?).map(Self::Match).map_err(|error| format!("filter {text:?}: {error}")),
            ("map", table) if !table.is_empty() => Ok(Self::Map(table.to_owned())),
            ("lookup", table) if !table.is_empty() => Ok(Self::Lookup(table.to_owned())),
            ("only", table) if !table.is_empty() => Ok(Self::Only(table.to_owned())),
            ("not", _) => quoted().map(Self::Not),
            ("default", _) => quoted().map(Self::Default),
            ("lower", "") => Ok(Self::Lower),
            ("pad", length) => match length.parse() {
                Ok(length) if length <= 64 => Ok(Self::Pad(length)),
                _ => Err(format!("filter {text:?} wants a length of up to 64")),
            },
            _ => Err(format!("filter {text:?} is not known")),
        }
    }
}

/// The first group of a match, else the whole of it; nothing where there is none.
fn matched<'t>(regex: &Regex, text: &'t str) -> &'t str {
    let found = match regex.captures_len() {
        1 => regex.find(text),
        _ => regex.captures(text).and_then(|groups| groups.get(1)),
    };
    found.map_or("", |found| found.as_str())
}

/// A part of a text, copied only where the text is not lent.
fn part<'t>(text: Cow<'t, str>, of: impl FnOnce(&str) -> &str) -> Cow<'t, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(of(text)),
        Cow::Owned(text) => {
            let part = of(&text);
            if part.len() == text.len() { Cow::Owned(text) } else { Cow::Owned(part.to_owned()) }
        }
    }
}

/// A regular expression of bounded size, compiled.
fn bounded_regex(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(1 << 20).build()
}

struct Scanner<'t> {
    text: &'t str,
    rest: &'t str,
}

impl Scanner<'_> {
    fn pieces(&mut self, optional: bool) -> Result<Vec<Piece<Selector>>, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        loop {
            let Some(c) = self.take() else {
                if optional {
                    return Err(format!("text {:?}: a '[' is not closed", self.text));
                }
                break;
            };
            match c {
                '\\' => plain.push(self.take().unwrap_or('\\')),
                '{' => {
                    flush(&mut plain, &mut pieces);
                    pieces.push(self.found()?);
                }
                '[' => {
                    flush(&mut plain, &mut pieces);
                    pieces.push(Piece::Optional(self.pieces(true)?));
                }
                ']' if optional => break,
                c => plain.push(c),
            }
        }
        flush(&mut plain, &mut pieces);
        Ok(pieces)
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    /// What stands in braces.
    fn found(&mut self) -> Result<Piece<Selector>, String> {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        loop {
            let c = self.take().ok_or_else(|| format!("text {:?}: a '{{' is not closed", self.text))?;
            match c {
                '}' if !quoted => break,
                '|' if !quoted => parts.push(String::new()),
                c => {
                    quoted ^= c == '\'';
                    if let Some(part) = parts.last_mut() {
                        part.push(c);
                    }
                }
            }
        }
        let mut parts = parts.iter().map(|part| part.trim());
        let paths = parts.next().unwrap_or_default().split(" or ").map(|path| Selector::parse(path.trim()));
        let paths = paths.collect::<Result<_, _>>()?;
        let filters = parts.map(Filter::parse).collect::<Result<_, _>>()?;
        Ok(Piece::Found(Found { paths, filters, kept: None }))
    }
}

fn flush(plain: &mut String, pieces: &mut Vec<Piece<Selector>>) {
    if !plain.is_empty() {
        pieces.push(Piece::Plain(std::mem::take(plain)));
    }
}

/// A condition on a record: two texts and how they must stand to each other.
#[derive(Debug, Clone)]
pub(super) struct Condition<S> {
    left: Template<S>,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Condition<Selector> {
    /// Reads `State != '0'`, `name() matches '^ch[0-9]$'`, `Unit !matches '^k'`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unreadable = || format!("condition {text:?} is not: path, then =, !=, matches or !matches, then a text in quotes");
        let (head, quoted) = text.split_once('\'').ok_or_else(unreadable)?;
        let wanted = quoted.strip_suffix('\'').ok_or_else(unreadable)?;
        let head = head.trim();
        let regex = || bounded_regex(wanted).map_err(|error| format!("condition {text:?}: {error}"));
        let (path, test) = if let Some(path) = head.strip_suffix("!=") {
            (path, Test::IsNot(wanted.to_owned()))
        } else if let Some(path) = head.strip_suffix('=') {
            (path, Test::Is(wanted.to_owned()))
        } else if let Some(path) = head.strip_suffix("!matches") {
            (path, Test::MatchesNot(regex()?))
        } else if let Some(path) = head.strip_suffix("matches") {
            (path, Test::Matches(regex()?))
        } else {
            return Err(unreadable());
        };
        Ok(Self { left: Template::parse(&format!("{{{}}}", path.trim()))?, test })
    }
}

impl<S> Condition<S> {
    pub(super) fn try_map<T, E>(self, each: &mut impl FnMut(S) -> Result<T, E>) -> Result<Condition<T>, E> {
        Ok(Condition { left: self.left.try_map(each)?, test: self.test })
    }

    pub(super) fn holds<'t>(&'t self, source: &impl Source<'t, S>) -> bool {
        let left = self.left.evaluate(source);
        match &self.test {
            Test::Is(wanted) => left == wanted.as_str(),
            Test::IsNot(unwanted) => left != unwanted.as_str(),
            Test::Matches(regex) => regex.is_match(&left),
            Test::MatchesNot(regex) => !regex.is_match(&left),
        }
    }
}

/// Tables by name.
pub(super) type Tables = HashMap<String, HashMap<String, String>>;

/// What a table says.
pub(super) fn entry<'t>(tables: &'t Tables, table: &str, key: &str) -> Option<&'t str> {
    tables.get(table)?.get(key).map(String::as_str)
}
