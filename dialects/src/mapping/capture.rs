//! One pass over a document: which elements are records, and what the paths of a
//! mapping find. No tree is built; what is kept is what some path asks for.
//!
//! A path is known from the document's root on, since it begins at a record whose
//! own path is known. So at each open element it is known which paths lead through
//! it, and what ends there belongs to the element from which the path began.

use std::collections::HashMap;
use std::rc::Rc;

use super::path::{Selector, Step, Take};
use crate::xml::{Event, Parser, XmlError};

/// No name and no number is longer; what is longer is cut, so that a long text
/// that many records share costs no more than its length.
const LONGEST: usize = 512;

/// Where a path's find lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    path: usize,
    /// How many steps from the root the element is to which it belongs; 0: the
    /// document.
    anchor: usize,
}

/// The paths of a mapping.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    records: Vec<Vec<Step>>,
    sought: Vec<Sought>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sought {
    steps: Vec<Step>,
    anchor: usize,
    take: Take,
}

/// An element that is a record.
#[derive(Debug)]
pub(super) struct Record {
    /// Which of the mapping's.
    pub(super) rule: usize,
    /// The byte at which it begins.
    pub(super) at: usize,
    /// The element's number and those of the elements around it, the document first;
    /// shared by all that it is a record of.
    chain: Rc<[u32]>,
    /// How many of its kind stand before it in the same element.
    pub(super) before: usize,
}

/// What a document holds of what was sought.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) records: Vec<Record>,
    found: HashMap<(u32, usize), Box<str>>,
}

impl Paths {
    /// Adds a record's path; its number.
    pub(super) fn add_record(&mut self, steps: Vec<Step>) -> usize {
        self.records.push(steps);
        self.records.len() - 1
    }

    /// Adds a path that begins at a record (`None`: at the document).
    pub(super) fn add(&mut self, record: Option<usize>, selector: &Selector) -> Result<Slot, String> {
        let base = record.and_then(|record| self.records.get(record)).map_or(&[][..], Vec::as_slice);
        let anchor = match selector.up {
            None => 0,
            Some(up) => base
                .len()
                .checked_sub(up)
                .filter(|anchor| *anchor > 0 || base.is_empty())
                .ok_or_else(|| "a path goes up beyond the root".to_owned())?,
        };
        let steps = base.iter().take(anchor).chain(&selector.down).cloned().collect();
        let sought = Sought { steps, anchor, take: selector.take.clone() };
        let path = self.sought.iter().position(|known| *known == sought).unwrap_or_else(|| {
            self.sought.push(sought);
            self.sought.len() - 1
        });
        Ok(Slot { path, anchor })
    }

    /// Reads a document whose root start tag the parser stands at.
    pub(super) fn capture(&self, parser: &mut Parser<'_>) -> Result<Captured, XmlError> {
        let mut pass = Pass { paths: self, captured: Captured::default(), open: Vec::new(), elements: 0 };
        pass.enter(parser);
        while !pass.open.is_empty() {
            match parser.next()? {
                Event::Start => pass.enter(parser),
                Event::Text(text) => pass.text(&text),
                Event::End | Event::Eof => pass.leave(),
            }
        }
        Ok(pass.captured)
    }
}

impl Captured {
    /// What a slot holds for a record; empty where nothing was found.
    pub(super) fn text(&self, record: &Record, slot: Slot) -> &str {
        self.found_at(record.chain.get(slot.anchor).copied().unwrap_or(0), slot)
    }

    /// What a slot of the document holds.
    pub(super) fn of_document(&self, slot: Slot) -> &str {
        self.found_at(0, slot)
    }

    fn found_at(&self, anchor: u32, slot: Slot) -> &str {
        self.found.get(&(anchor, slot.path)).map_or("", AsRef::as_ref)
    }
}

/// An element that is open.
#[derive(Debug, Default)]
struct Open {
    number: u32,
    /// The records and paths that may lead through it.
    records: Vec<usize>,
    sought: Vec<usize>,
    /// Where its text goes.
    text_for: Vec<(u32, usize)>,
    text: String,
    /// How many records of each kind have begun in it.
    counts: HashMap<usize, usize>,
}

struct Pass<'m> {
    paths: &'m Paths,
    captured: Captured,
    open: Vec<Open>,
    elements: u32,
}

impl Pass<'_> {
    fn enter(&mut self, parser: &Parser<'_>) {
        self.elements = self.elements.saturating_add(1);
        let mut element = Open { number: self.elements, ..Open::default() };
        let (depth, name) = (self.open.len(), parser.local_name());
        let leads =
            |steps: &[Step]| steps.get(depth).is_some_and(|step| step.matches(name, depth == 0, |key| parser.attribute(key)));
        match self.open.last() {
            None => {
                element.records = (0..self.paths.records.len()).collect();
                element.sought = (0..self.paths.sought.len()).collect();
            }
            Some(parent) => {
                element.records.clone_from(&parent.records);
                element.sought.clone_from(&parent.sought);
            }
        }
        element.records.retain(|record| self.paths.records.get(*record).is_some_and(|steps| leads(steps)));
        element.sought.retain(|path| self.paths.sought.get(*path).is_some_and(|sought| leads(&sought.steps)));
        self.begin_records(&element, parser.offset());
        self.take(&mut element, parser);
        self.open.push(element);
    }

    fn begin_records(&mut self, element: &Open, at: usize) {
        let depth = self.open.len();
        let mut chain: Option<Rc<[u32]>> = None;
        for rule in &element.records {
            if self.paths.records.get(*rule).is_none_or(|steps| steps.len() != depth + 1) {
                continue;
            }
            let before = self.open.last_mut().map_or(0, |parent| {
                let count = parent.counts.entry(*rule).or_insert(0);
                *count += 1;
                *count - 1
            });
            let around = self.open.iter().map(|open| open.number);
            let chain = chain.get_or_insert_with(|| std::iter::once(0).chain(around).chain([element.number]).collect());
            self.captured.records.push(Record { rule: *rule, at, chain: Rc::clone(chain), before });
        }
    }

    /// Takes what paths that end at an element ask for.
    fn take(&mut self, element: &mut Open, parser: &Parser<'_>) {
        let depth = self.open.len() + 1;
        for path in &element.sought {
            let Some(sought) = self.paths.sought.get(*path).filter(|sought| sought.steps.len() == depth) else { continue };
            let anchor = match sought.anchor {
                0 => 0,
                anchor if anchor == depth => element.number,
                anchor => self.open.get(anchor - 1).map_or(0, |open| open.number),
            };
            let key = (anchor, *path);
            // The first of several counts, as in XPath's string().
            if self.captured.found.contains_key(&key) {
                continue;
            }
            let text = match &sought.take {
                Take::Text => {
                    element.text_for.push(key);
                    continue;
                }
                Take::Position => Some(self.position(element.number, &sought.steps)),
                Take::Name => Some(cut(parser.local_name()).to_owned()),
                Take::Attribute(name) => parser.attribute(name).map(cut).map(str::to_owned),
                Take::FirstAttribute => parser.attributes().next().map(|(_, value)| cut(value).to_owned()),
                Take::FirstAttributeName => parser.attributes().next().map(|(name, _)| cut(name).to_owned()),
            };
            if let Some(text) = text {
                self.captured.found.insert(key, text.into_boxed_str());
            }
        }
    }

    /// The place of an element that has just begun among the records of its kind
    /// beside it, from 1.
    fn position(&self, element: u32, steps: &[Step]) -> String {
        let mut begun = self.captured.records.iter().rev().take_while(|record| record.chain.last() == Some(&element));
        let of_kind = begun.find(|record| self.paths.records.get(record.rule).is_some_and(|path| path.as_slice() == steps));
        of_kind.map_or_else(String::new, |record| (record.before + 1).to_string())
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut().filter(|element| !element.text_for.is_empty()) {
            let room = LONGEST.saturating_sub(element.text.len());
            let part = text
                .char_indices()
                .find(|(index, c)| index + c.len_utf8() > room)
                .map_or(text, |(end, _)| text.get(..end).unwrap_or_default());
            element.text.push_str(part);
        }
    }

    fn leave(&mut self) {
        let Some(element) = self.open.pop() else { return };
        for key in element.text_for {
            self.captured.found.entry(key).or_insert_with(|| element.text.as_str().into());
        }
    }
}

fn cut(text: &str) -> &str {
    match text.char_indices().find(|(index, c)| index + c.len_utf8() > LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
