//! One pass over a document: which elements are records, and what the paths of a
//! mapping find. No tree is built; what is kept is what some path asks for.
//!
//! A path is known from the document's root on, since it begins at a record whose
//! own path is known. So the paths form a trie of steps: at each open element it is
//! known at which nodes of it the element stands, and what ends there belongs to the
//! element from which the path began, so many above.

use super::path::{Selector, Step, Take};
use crate::xml::{Event, Parser, XmlError};

/// No name and no number is longer; what is longer is cut, so that a long text
/// that many records share costs no more than its length.
const LONGEST: usize = 512;

/// Where a path's find lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    path: usize,
    /// How many elements above the record it belongs to; `None`: to the document.
    up: Option<usize>,
}

/// The paths of a mapping, as a trie of their steps.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// The document is the first.
    nodes: Vec<Node>,
    records: Vec<Vec<Step>>,
    sought: Vec<Sought>,
}

/// Where some path leads to.
#[derive(Debug, Clone, Default)]
struct Node {
    next: Vec<(Step, usize)>,
    /// The record that an element here is.
    record: Option<usize>,
    /// The paths that end here.
    sought: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sought {
    node: usize,
    /// How many elements above the one at which it ends it belongs to; `None`: to the
    /// document.
    up: Option<usize>,
    take: Take,
}

/// An element that is a record.
#[derive(Debug)]
pub(super) struct Record {
    /// Which of the mapping's.
    pub(super) rule: usize,
    /// The byte at which it begins.
    pub(super) at: usize,
    /// How many of its kind stand before it in the same element.
    pub(super) before: usize,
    /// The element's number.
    element: u32,
}

/// What a document holds of what was sought.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) records: Vec<Record>,
    /// By number; the document is the first, and its own parent.
    elements: Vec<Element>,
    finds: Vec<Find>,
    texts: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Element {
    parent: u32,
    /// One more than the index of its last find; 0: it has none.
    last: u32,
}

/// What a path found first, as in XPath's `string()`.
#[derive(Debug)]
struct Find {
    path: usize,
    /// As an element's last: the find before it of the same element.
    before: u32,
    start: usize,
    end: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], records: Vec::new(), sought: Vec::new() }
    }
}

impl Paths {
    /// Adds a record's path; its number, the same for the same path.
    pub(super) fn add_record(&mut self, steps: Vec<Step>) -> usize {
        let node = self.node(&steps);
        let known = self.nodes.get(node).and_then(|node| node.record);
        known.unwrap_or_else(|| {
            let record = self.records.len();
            self.records.push(steps);
            if let Some(node) = self.nodes.get_mut(node) {
                node.record = Some(record);
            }
            record
        })
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
        let steps: Vec<Step> = base.iter().take(anchor).chain(&selector.down).cloned().collect();
        let node = self.node(&steps);
        let sought = Sought { node, up: (anchor > 0).then_some(selector.down.len()), take: selector.take.clone() };
        let path = self.sought.iter().position(|known| *known == sought).unwrap_or_else(|| {
            self.sought.push(sought);
            let path = self.sought.len() - 1;
            if let Some(node) = self.nodes.get_mut(node) {
                node.sought.push(path);
            }
            path
        });
        Ok(Slot { path, up: selector.up.filter(|_| anchor > 0) })
    }

    /// The node to which steps lead from the document.
    fn node(&mut self, steps: &[Step]) -> usize {
        let mut at = 0;
        for step in steps {
            let known = |node: &Node| node.next.iter().find(|(known, _)| known == step).map(|(_, next)| *next);
            at = self.nodes.get(at).and_then(known).unwrap_or_else(|| {
                let next = self.nodes.len();
                self.nodes.push(Node::default());
                if let Some(node) = self.nodes.get_mut(at) {
                    node.next.push((step.clone(), next));
                }
                next
            });
        }
        at
    }

    /// Reads a document whose root start tag the parser stands at.
    pub(super) fn capture(&self, parser: &mut Parser<'_>) -> Result<Captured, XmlError> {
        let captured = Captured { elements: vec![Element::default()], ..Captured::default() };
        let mut pass = Pass { paths: self, captured, open: Vec::new(), standing: vec![0], wanted: Vec::new() };
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
        self.found(self.above(record.element, slot.up), slot.path).unwrap_or_default()
    }

    /// What a slot of the document holds.
    pub(super) fn of_document(&self, slot: Slot) -> &str {
        self.found(0, slot.path).unwrap_or_default()
    }

    /// The element so many above one; `None`: the document.
    fn above(&self, element: u32, up: Option<usize>) -> u32 {
        let parent = |element: u32| self.elements.get(element as usize).map_or(0, |element| element.parent);
        up.map_or(0, |up| (0..up).fold(element, |element, _| parent(element)))
    }

    fn found(&self, element: u32, path: usize) -> Option<&str> {
        let mut last = self.elements.get(element as usize)?.last;
        loop {
            let find = self.finds.get((last as usize).checked_sub(1)?)?;
            if find.path == path {
                return self.texts.get(find.start..find.end);
            }
            last = find.before;
        }
    }

    /// Keeps what a path found for an element that has nothing of it yet.
    fn keep(&mut self, element: u32, path: usize, text: std::ops::Range<usize>) {
        let Some(element) = self.elements.get_mut(element as usize) else { return };
        self.finds.push(Find { path, before: element.last, start: text.start, end: text.end });
        element.last = u32::try_from(self.finds.len()).unwrap_or(0);
    }

    /// Keeps a text; where it lies.
    fn write(&mut self, text: &str) -> std::ops::Range<usize> {
        let start = self.texts.len();
        self.texts.push_str(text);
        start..self.texts.len()
    }
}

/// An element that is open.
#[derive(Debug)]
struct Open {
    number: u32,
    /// Where its nodes begin among those of all open elements.
    standing: usize,
    /// Where the paths that want its text begin.
    wanted: usize,
    text: String,
    /// How many records of each kind have begun in it.
    counts: Vec<(usize, usize)>,
}

struct Pass<'m> {
    paths: &'m Paths,
    captured: Captured,
    open: Vec<Open>,
    /// The nodes at which the open elements stand, the innermost's last.
    standing: Vec<usize>,
    /// Where the texts of the open elements go: to which element, by which path.
    wanted: Vec<(u32, usize)>,
}

impl<'m> Pass<'m> {
    fn enter(&mut self, parser: &Parser<'_>) {
        let (parent, from) = self.open.last().map_or((0, 0), |open| (open.number, open.standing));
        let number = u32::try_from(self.captured.elements.len()).unwrap_or(u32::MAX);
        self.captured.elements.push(Element { parent, last: 0 });
        let (name, is_root) = (parser.local_name(), self.open.is_empty());
        let (standing, wanted) = (self.standing.len(), self.wanted.len());
        for place in from..standing {
            for (step, next) in self.node(place).map_or(&[][..], |node| &node.next) {
                if step.matches(name, is_root, |key| parser.attribute(key)) {
                    self.standing.push(*next);
                }
            }
        }
        for place in standing..self.standing.len() {
            let Some(node) = self.node(place) else { continue };
            let before = node.record.map(|rule| self.begin(rule, number, parser.offset()));
            for path in &node.sought {
                self.take(*path, number, before, parser);
            }
        }
        self.open.push(Open { number, standing, wanted, text: String::new(), counts: Vec::new() });
    }

    fn node(&self, place: usize) -> Option<&'m Node> {
        self.standing.get(place).and_then(|node| self.paths.nodes.get(*node))
    }

    /// Notes a record that begins; how many of its kind stand before it.
    fn begin(&mut self, rule: usize, element: u32, at: usize) -> usize {
        let before = self.open.last_mut().map_or(0, |parent| parent.count(rule));
        self.captured.records.push(Record { rule, at, element, before });
        before
    }

    /// Takes what a path asks for that ends at an element; `before`: how many records of
    /// its kind stand before it, if it is one.
    fn take(&mut self, path: usize, number: u32, before: Option<usize>, parser: &Parser<'_>) {
        let Some(sought) = self.paths.sought.get(path) else { return };
        let owner = self.captured.above(number, sought.up);
        // The first of several counts, as in XPath's string().
        if owner != number && self.captured.found(owner, path).is_some() {
            return;
        }
        let text = match &sought.take {
            Take::Text => {
                self.wanted.push((owner, path));
                return;
            }
            Take::Position => {
                let position = before.map_or_else(String::new, |before| (before + 1).to_string());
                Some(self.captured.write(&position))
            }
            Take::Name => Some(self.captured.write(cut(parser.local_name()))),
            Take::Attribute(name) => parser.attribute(name).map(|value| self.captured.write(cut(value))),
            Take::FirstAttribute => parser.attributes().next().map(|(_, value)| self.captured.write(cut(value))),
            Take::FirstAttributeName => parser.attributes().next().map(|(name, _)| self.captured.write(cut(name))),
        };
        if let Some(text) = text {
            self.captured.keep(owner, path, text);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut().filter(|element| element.wanted < self.wanted.len()) {
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
        self.standing.truncate(element.standing);
        if element.wanted == self.wanted.len() {
            return;
        }
        let text = self.captured.write(&element.text);
        for (owner, path) in self.wanted.drain(element.wanted..) {
            // What is the element's own is sought nowhere else.
            let is_nothing = text.is_empty() && owner == element.number;
            if !is_nothing && self.captured.found(owner, path).is_none() {
                self.captured.keep(owner, path, text.clone());
            }
        }
    }
}

impl Open {
    /// Counts a record that begins in it; how many of its kind have before.
    fn count(&mut self, rule: usize) -> usize {
        match self.counts.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, count)) => std::mem::replace(count, *count + 1),
            None => {
                self.counts.push((rule, 1));
                0
            }
        }
    }
}

fn cut(text: &str) -> &str {
    match text.char_indices().find(|(index, c)| index + c.len_utf8() > LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
