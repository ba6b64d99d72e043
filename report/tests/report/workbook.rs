//! Reads workbooks, by their parts and knowing nothing of what wrote them.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use jiff::ToSpan as _;
use jiff::civil;
use roxmltree::{Document, Node};

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    Nothing,
    Text(String),
    /// A number and the format that it is shown in.
    Number(f64, String),
    Flag(bool),
}

impl Held {
    pub(crate) fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// A number that is shown as a date, taken as one.
    pub(crate) fn time(&self) -> civil::DateTime {
        let Self::Number(days, format) = self else { panic!("no number: {self:?}") };
        assert!(format.starts_with("yyyy-mm-dd"), "{format}");
        let seconds = (days * 86_400.0).round() as i64;
        civil::date(1899, 12, 30).at(0, 0, 0, 0) + seconds.seconds()
    }
}

/// The rows of each sheet, by its name.
pub(crate) type Sheets = BTreeMap<String, Vec<Vec<Held>>>;

pub(crate) fn part(bytes: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn sheets(bytes: &[u8]) -> Sheets {
    let (strings, formats) = (strings(&part(bytes, "xl/sharedStrings.xml")), formats(&part(bytes, "xl/styles.xml")));
    let book = part(bytes, "xl/workbook.xml");
    let book = Document::parse(&book).unwrap();
    let names = all(book.root(), "sheet").map(|sheet| sheet.attribute("name").unwrap().to_owned());
    let read = |(index, name): (usize, String)| {
        let sheet = part(bytes, &format!("xl/worksheets/sheet{}.xml", index + 1));
        let sheet = Document::parse(&sheet).unwrap();
        assert_eq!(all(sheet.root(), "f").count(), 0, "no cell is a formula");
        (name, all(sheet.root(), "row").map(|row| cells(row, &strings, &formats)).collect())
    };
    names.enumerate().map(read).collect()
}

fn all<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |node| node.tag_name().name() == name)
}

fn strings(xml: &str) -> Vec<String> {
    let strings = Document::parse(xml).unwrap();
    let texts = |item: Node<'_, '_>| item.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect();
    strings.descendants().filter(|node| node.tag_name().name() == "si").map(texts).collect()
}

/// The number format of each style.
fn formats(xml: &str) -> Vec<String> {
    let styles = Document::parse(xml).unwrap();
    let own = all(styles.root(), "numFmt")
        .map(|format| (format.attribute("numFmtId").unwrap().to_owned(), format.attribute("formatCode").unwrap().to_owned()));
    let own: BTreeMap<String, String> = own.collect();
    let used = all(styles.root(), "cellXfs").flat_map(|list| list.children().filter(|node| node.tag_name().name() == "xf"));
    let id = |style: Node<'_, '_>| style.attribute("numFmtId").unwrap().to_owned();
    used.map(|style| own.get(&id(style)).cloned().unwrap_or_default()).collect()
}

fn cells(row: Node<'_, '_>, strings: &[String], formats: &[String]) -> Vec<Held> {
    let mut cells = Vec::new();
    for cell in row.children().filter(|node| node.tag_name().name() == "c") {
        let column = column(cell.attribute("r").unwrap());
        cells.resize(column, Held::Nothing);
        let value = cell.children().find(|node| node.tag_name().name() == "v").and_then(|value| value.text()).unwrap_or_default();
        cells.push(match cell.attribute("t") {
            Some("s") => Held::Text(strings[value.parse::<usize>().unwrap()].clone()),
            Some("b") => Held::Flag(value == "1"),
            None => {
                let style = cell.attribute("s").map_or(0, |style| style.parse().unwrap());
                Held::Number(value.parse().unwrap(), formats[style].clone())
            }
            Some(other) => panic!("a cell of kind {other}"),
        });
    }
    cells
}

/// `C7` is in column 2.
fn column(place: &str) -> usize {
    let letters = place.bytes().take_while(u8::is_ascii_uppercase);
    letters.fold(0, |column, letter| column * 26 + usize::from(letter - b'A') + 1) - 1
}
