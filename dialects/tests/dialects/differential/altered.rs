//! Documents of devices, altered: still well-formed, but with other values in them, and
//! with elements and attributes left out, repeated or elsewhere.

use std::ops::Range;

use prop::sample::Index;
use proptest::prelude::*;
use roxmltree::Document;

/// What is done to a document.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// An element is left out.
    Drop(Index),
    /// A copy of an element is put before another.
    Copy(Index, Index),
    /// An attribute is left out.
    Unset(Index),
    /// An attribute has another value.
    Set(Index, &'static str),
    /// A text is another one.
    Write(Index, &'static str),
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let value = || prop::sample::select(VALUES);
    prop_oneof![
        1 => at().prop_map(Edit::Drop),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Copy(from, to)),
        1 => at().prop_map(Edit::Unset),
        4 => (at(), value()).prop_map(|(at, value)| Edit::Set(at, value)),
        4 => (at(), value()).prop_map(|(at, value)| Edit::Write(at, value)),
    ]
}

/// The document after the edits; those that come to nothing are passed over.
pub(crate) fn altered(text: &str, edits: &[Edit]) -> String {
    edits.iter().fold(text.to_owned(), |text, edit| one(&text, edit).unwrap_or(text))
}

fn one(text: &str, edit: &Edit) -> Option<String> {
    let tree = Document::parse(text).ok()?;
    let inner = || tree.root_element().descendants().skip(1);
    let elements: Vec<_> = inner().filter(|node| node.is_element()).map(|node| node.range()).collect();
    let attributes: Vec<_> = tree.root_element().descendants().flat_map(|node| node.attributes()).collect();
    let texts: Vec<_> = inner().filter(|node| node.is_text()).map(|node| node.range()).collect();
    let of = |all: &[Range<usize>], at: &Index| (!all.is_empty()).then(|| all[at.index(all.len())].clone());
    let attribute = |at: &Index| (!attributes.is_empty()).then(|| &attributes[at.index(attributes.len())]);
    let (range, put) = match edit {
        Edit::Drop(at) => (of(&elements, at)?, ""),
        Edit::Copy(from, to) => {
            let (from, to) = (of(&elements, from)?, of(&elements, to)?.start);
            (to..to, &text[from])
        }
        Edit::Unset(at) => (attribute(at)?.range(), ""),
        Edit::Set(at, value) => (attribute(at)?.range_value(), *value),
        Edit::Write(at, value) => (of(&texts, at)?, *value),
    };
    Some(format!("{}{put}{}", &text[..range.start], &text[range.end..]))
}

/// What means something to one dialect or another.
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-2.5",
    "3e2",
    " 007\n",
    "1,5",
    "10",
    "-3",
    "255",
    "60",
    "0x64",
    "0xfffc18",
    "0x80000000",
    "0xffffffff",
    "0x3292f2c0",
    "0x00000000000000001",
    "65535",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "-2147483648",
    "NULL",
    "null",
    "nan",
    "-999.9",
    "true",
    "1795176000",
    "@1795176000",
    "1795176000s",
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00.5+01:00",
    "2026-11-20 12:00:00",
    "2026-11-20",
    "12:00",
    "2026-11-2T12:00:00Z",
    "2026-11-20T12:00:60Z",
    "UTC",
    "America/Denver",
    "Mars",
    "LOGFILEUPLOAD",
    "STATUS",
    "P",
    "S",
    "V",
    "%",
    "zz",
    "a",
    "W",
    "kWh",
    "W_SF",
    "A_SF",
    "PhVphA",
    "TotWhImp",
    "101",
    "103",
    "203",
    "160",
    "302",
    "a b",
    "A:1:TmpAmb C",
    "A:1:Grid State",
    "A:Pac",
    "inverter",
    "meter",
    "P_AC",
    "E_INT",
    "Power (100 W)",
    "Volume (m m^3)",
    "1e-1  V",
    "Maximum value",
    "data",
    "value",
    "self",
    "related",
    "http://x/UsagePoint/98/MeterReading/1",
    "http://x/ReadingType/7",
    "0.0.2.9.1.2.12.0.0.0.0.0.0.0.0.3.72.0",
];
