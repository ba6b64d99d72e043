//! Namespaces in XML 1.0: which prefix stands for what, where.

use std::collections::{HashMap, HashSet};

use super::attributes::Attribute;
use super::split_name;

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The bindings in scope. Looking one up costs the same however many there are,
/// so that a flood of declarations does not slow a document down.
#[derive(Debug, Default)]
pub(super) struct Namespaces<'a> {
    bindings: Vec<Binding<'a>>,
    /// The innermost binding of each prefix; the default namespace is that of "".
    innermost: HashMap<&'a str, usize>,
}

#[derive(Debug)]
struct Binding<'a> {
    depth: usize,
    prefix: &'a str,
    uri: String,
    shadowed: Option<usize>,
}

impl<'a> Namespaces<'a> {
    /// Enters an element: takes its declarations in and checks that its prefix and
    /// those of its attributes are bound, and that no attribute stands twice under
    /// two prefixes.
    pub(super) fn enter(&mut self, depth: usize, prefix: &str, attributes: &[Attribute<'a>]) -> Result<(), String> {
        let mut prefixed = !prefix.is_empty();
        for attribute in attributes {
            prefixed |= attribute.has_prefix;
            if attribute.has_prefix || attribute.name == "xmlns" {
                self.declare(depth, attribute)?;
            }
        }
        if prefixed { self.check(prefix, attributes) } else { Ok(()) }
    }

    fn declare(&mut self, depth: usize, attribute: &Attribute<'a>) -> Result<(), String> {
        let prefix = match split_name(attribute.name) {
            ("", _) => "",
            ("xmlns", prefix) => prefix,
            _ => return Ok(()),
        };
        check_binding(prefix, &attribute.value)?;
        let shadowed = self.innermost.insert(prefix, self.bindings.len());
        self.bindings.push(Binding { depth, prefix, uri: attribute.value.clone().into_owned(), shadowed });
        Ok(())
    }

    /// Drops what the element at this depth declared.
    pub(super) fn leave(&mut self, depth: usize) {
        while let Some(binding) = self.bindings.pop_if(|binding| binding.depth >= depth) {
            match binding.shadowed {
                Some(outer) => self.innermost.insert(binding.prefix, outer),
                None => self.innermost.remove(binding.prefix),
            };
        }
    }

    /// The namespace of an element with this prefix.
    pub(super) fn of_element(&self, prefix: &str) -> Option<&str> {
        if self.bindings.is_empty() {
            return (prefix == "xml").then_some(XML);
        }
        let bound = self.innermost.get(prefix).and_then(|index| self.bindings.get(*index)).map(|binding| binding.uri.as_str());
        bound.filter(|uri| !uri.is_empty()).or_else(|| (prefix == "xml").then_some(XML))
    }

    fn check(&self, prefix: &str, attributes: &[Attribute<'a>]) -> Result<(), String> {
        self.expect(prefix)?;
        let mut seen = HashSet::new();
        for (prefix, local) in attributes.iter().map(|attribute| split_name(attribute.name)) {
            if !prefix.is_empty() && prefix != "xmlns" {
                self.expect(prefix)?;
                if !seen.insert((self.of_element(prefix), local)) {
                    return Err(format!("attribute {} stands twice in a tag", crate::text::shown(local)));
                }
            }
        }
        Ok(())
    }

    fn expect(&self, prefix: &str) -> Result<(), String> {
        if prefix.is_empty() || self.of_element(prefix).is_some() {
            return Ok(());
        }
        Err(format!("prefix {} is not declared", crate::text::shown(prefix)))
    }
}

fn check_binding(prefix: &str, uri: &str) -> Result<(), String> {
    let allowed = match prefix {
        "xmlns" => false,
        "xml" => uri == XML,
        "" => uri != XML && uri != XMLNS,
        _ => uri != XML && uri != XMLNS && !uri.is_empty(),
    };
    if allowed { Ok(()) } else { Err(format!("prefix {} cannot be declared so", crate::text::shown(prefix))) }
}
