//! The fixtures that floods grow from, and the places in them.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_dialects::Mapping;
use roxmltree::{Document, Node};

/// Folders of `fixtures/` with documents that are understood.
pub(crate) const FOLDERS: &[&str] = &["native", "senml", "sunspec", "acquisuite", "egauge", "rainforest", "mii", "sma", "mapped"];

/// A document that is understood.
pub(crate) struct Seed {
    pub(crate) name: String,
    pub(crate) text: String,
    /// The provider's own.
    pub(crate) mappings: Vec<Arc<Mapping>>,
    /// One of each path of elements.
    pub(crate) places: Vec<Place>,
}

/// An element.
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) range: Range<usize>,
    /// Elements open within it.
    pub(crate) depth: usize,
    /// Behind its start tag; `None` where it is empty.
    pub(crate) inside: Option<usize>,
    /// The values of its attributes.
    pub(crate) values: Vec<Range<usize>>,
}

pub(crate) fn seeds(folder: &str) -> Vec<Seed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    let mut seen = HashSet::new();
    paths.iter().filter_map(|path| seed(path, &mut seen)).collect()
}

/// `None` where another parser does not read it, or it has no new place.
fn seed(path: &Path, seen: &mut HashSet<String>) -> Option<Seed> {
    let text = fs::read_to_string(path).ok()?;
    let own = fs::read_to_string(path.with_extension("toml")).ok();
    let mappings = own.iter().map(|toml| Arc::new(Mapping::parse(toml).unwrap())).collect();
    let document = Document::parse(&text).ok()?;
    let mut places: Vec<Place> = document.descendants().filter(Node::is_element).map(|node| place(&node, &text)).collect();
    places.retain(|place| seen.insert(format!("{own:?} {} {:?}", place.path, place.inside.is_some())));
    let name = path.file_stem()?.to_string_lossy().into_owned();
    (!places.is_empty()).then(|| Seed { name, text: text.clone(), mappings, places })
}

fn place(node: &Node<'_, '_>, text: &str) -> Place {
    let names: Vec<&str> = node.ancestors().filter(Node::is_element).map(|node| node.tag_name().name()).collect();
    let range = node.range();
    let inside = node.first_child().map(|child| child.range().start);
    // Text that begins with a reference or CDATA has its own ideas of where.
    let inside = inside.filter(|at| text.get(..*at).is_some_and(|before| before.ends_with('>')));
    let values = node.attributes().map(|attribute| attribute.range_value()).collect();
    Place { path: names.into_iter().rev().collect::<Vec<_>>().join("/"), depth: node.ancestors().count(), range, inside, values }
}
