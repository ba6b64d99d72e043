//! Hostile documents, made of those that are understood.

use std::ops::Range;

use crate::seeds::{Place, Seed};

/// A seed with something in it again and again.
pub(crate) struct Flood {
    pub(crate) name: String,
    /// What of the seed it takes the place of.
    at: Range<usize>,
    unit: String,
    /// Its end is no XML any more, which shows only once all of it has been read.
    broken: bool,
}

impl Flood {
    /// About so many bytes of it.
    pub(crate) fn bytes(&self, seed: &Seed, bytes: usize) -> Vec<u8> {
        self.made(seed, bytes, self.broken)
    }

    /// The same with a right end.
    pub(crate) fn whole(&self, seed: &Seed, bytes: usize) -> Vec<u8> {
        self.made(seed, bytes, false)
    }

    fn made(&self, seed: &Seed, bytes: usize, broken: bool) -> Vec<u8> {
        let (before, after) = (&seed.text[..self.at.start], &seed.text[self.at.end..]);
        let times = (bytes.saturating_sub(before.len() + after.len()) / self.unit.len()).max(1);
        let flood = self.unit.repeat(times);
        let root_end = after.rfind("</").filter(|_| broken).unwrap_or(0);
        let (after, end) = after.split_at(root_end);
        let fault = if broken { " & " } else { "" };
        [before, &flood, after, fault, end].concat().into_bytes()
    }
}

/// All floods of a seed.
pub(crate) fn of(seed: &Seed) -> Vec<Flood> {
    let whole: Vec<Flood> = seed.places.iter().flat_map(|place| at(place, &seed.text)).collect();
    let broken = whole.iter().filter(|flood| seed.text[flood.at.end..].contains("</")).map(|flood| Flood {
        name: format!("{}, broken at its end", flood.name),
        at: flood.at.clone(),
        unit: flood.unit.clone(),
        broken: true,
    });
    let broken: Vec<Flood> = broken.collect();
    whole.into_iter().chain(broken).collect()
}

fn at(place: &Place, text: &str) -> Vec<Flood> {
    let path = &place.path;
    let flood = |what: &str, at: Range<usize>, unit: String| Flood { name: format!("{path}: {what}"), at, unit, broken: false };
    let mut floods = Vec::new();
    if place.path.contains('/') {
        floods.push(flood("again and again", place.range.clone(), text[place.range.clone()].to_owned()));
        for value in &place.values {
            for (what, unit) in [("digits", "9"), ("references", "&#49;"), ("spaces", " "), ("a byte of two", "ä")] {
                let long = unit.repeat(40_000 / unit.len());
                let element = [&text[place.range.start..value.start], &long, &text[value.end..place.range.end]].concat();
                floods.push(flood(&format!("long values of {what}"), place.range.clone(), element));
            }
        }
    }
    if let Some(inside) = place.inside {
        floods.extend(inner(place.depth).into_iter().map(|(what, unit)| flood(what, inside..inside, unit)));
    }
    floods
}

/// What an element is filled with.
fn inner(depth: usize) -> Vec<(&'static str, String)> {
    let many = |one: fn(usize) -> String| (0..60).map(one).collect::<String>();
    let levels = 32_usize.saturating_sub(depth);
    vec![
        ("attributes", format!("<x{}/>", many(|i| format!(" a{i}=''")))),
        (
            "short attributes",
            format!("<x{}/>", ('A'..='Z').chain('a'..='z').map(|name| format!(" {name}=''")).collect::<String>()),
        ),
        ("namespaces", format!("<x{}/>", many(|i| format!(" xmlns:p{i}='u{i}'")))),
        ("nested elements", format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels))),
        ("empty elements", "<a/>".to_owned()),
        ("comments", "<!---->".to_owned()),
        ("instructions", "<?p?>".to_owned()),
        ("sections", "<![CDATA[1]]>".to_owned()),
        ("empty sections", "<![CDATA[]]>".to_owned()),
        ("character references", "&#49;".to_owned()),
        ("entities", "&lt;".to_owned()),
        ("digits", "9".to_owned()),
        ("numbers", "9 ".to_owned()),
        ("spaces", " ".to_owned()),
        ("line ends", "\r\n".to_owned()),
        ("carriage returns", "\r".to_owned()),
        ("angles", ">".to_owned()),
        ("brackets", "]]".to_owned()),
        ("characters of four bytes", "\u{1F31E}".to_owned()),
        ("what looks like keys", "key='".to_owned()),
        ("what looks like generated keys", "zzzzzzzz-".to_owned()),
        ("secrets", "<psk>1</psk>".to_owned()),
        ("secrets in attributes", "<a pwd='1'/>".to_owned()),
    ]
}

/// Streams that no document need come of.
pub(crate) fn streams(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let fill = |before: &str, unit: &str| format!("{before}{}", unit.repeat(bytes / unit.len())).into_bytes();
    let entities: String = (0..10).map(|i| format!("<!ENTITY e{i} \"&e{};&e{};\">", i + 1, i + 1)).collect();
    vec![
        ("an element in an element without end", fill("", "<a>")),
        ("a tag without end", fill("<push ", "a")),
        ("a tag of attributes without end", fill("<push ", "a='b' ")),
        ("a tag of spaces without end", fill("<push", " ")),
        ("a value without end", fill("<push gateway='", "9")),
        ("an end tag without end", fill("<push></", "p")),
        ("a comment without end", fill("<!--", "-a")),
        ("an instruction without end", fill("<?a ", "? ")),
        ("a section without end", fill("<push><![CDATA[", "]]")),
        ("a text without end", fill("<push>", "9")),
        ("entities that expand", fill(&format!("<!DOCTYPE push [{entities}]><push gateway='&e0;'>"), "&e0;")),
        ("an entity that is declared again and again", fill("<!DOCTYPE push [", "<!ENTITY a 'b'>")),
        ("a DOCTYPE without end", fill("<!DOCTYPE push ", "a")),
        ("undeclared entities", fill("<push gateway='g'>", "&a;")),
        ("spaces", fill("", " ")),
        ("zeros", fill("", "\0")),
        ("comments before a document", fill("", "<!---->")),
        ("comments and zeros", fill("", "<!---->\0")),
        ("comments and marks", fill("", "<!---->\u{FEFF}")),
        ("UTF-16", "<push gateway='g'/>".encode_utf16().flat_map(u16::to_le_bytes).cycle().take(bytes).collect()),
        (
            "bytes that are no UTF-8",
            b"<push>".iter().copied().chain(std::iter::repeat_n(0xFF, bytes)).chain(*b"</push>").collect(),
        ),
        ("too large a document", fill("<push>", "1").into_iter().cycle().take(9 * bytes).collect()),
    ]
}
