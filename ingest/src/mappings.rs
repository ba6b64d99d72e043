//! The mappings of a provider, compiled.

use std::sync::Arc;

use heliograph_dialects::Mapping;
use heliograph_domain::ProviderMapping;

/// What the provider has stored, in the order in which it is tried.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    /// Those that compile, with what they were made from.
    compiled: Vec<(String, Arc<Mapping>)>,
    list: Vec<Arc<Mapping>>,
}

impl Mappings {
    /// Compiles what is not among those `before`. Whoever saved a mapping has compiled
    /// it; one that only a later release understands is passed over.
    pub(crate) fn of(stored: Vec<ProviderMapping>, before: Option<&Self>) -> Self {
        let mut compiled = Vec::with_capacity(stored.len());
        for ProviderMapping { name, source, .. } in stored {
            let known = before.and_then(|before| before.compiled.iter().find(|(of, _)| *of == source));
            match known.map_or_else(|| Mapping::parse(&source).map(Arc::new), |(_, mapping)| Ok(Arc::clone(mapping))) {
                Ok(mapping) => compiled.push((source, mapping)),
                Err(error) => tracing::error!(%name, %error, "a mapping does not compile, documents are not read by it"),
            }
        }
        let list = compiled.iter().map(|(_, mapping)| Arc::clone(mapping)).collect();
        Self { compiled, list }
    }

    pub(crate) fn list(&self) -> &[Arc<Mapping>] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{MappingName, Timestamp};

    use super::*;

    fn stored(name: &str, root: &str) -> ProviderMapping {
        let source = format!(
            "name = \"{name}\"\nroot = \"{root}\"\n[[reading]]\neach = \"/{root}/v\"\nsensor = \"s\"\nmetric = \"m\"\nvalue = \"{{.}}\"\n"
        );
        ProviderMapping { name: MappingName::parse(name).unwrap(), source, revision: 1, changed: Timestamp::clamped(0) }
    }

    #[test]
    fn what_has_not_changed_is_not_compiled_again_and_what_does_not_compile_is_passed_over() {
        let broken = ProviderMapping { source: "name = ".to_owned(), ..stored("b", "b") };
        let first = Mappings::of(vec![stored("a", "a"), broken], None);
        assert_eq!(first.list().iter().map(|mapping| mapping.name()).collect::<Vec<_>>(), ["a"]);
        let second = Mappings::of(vec![stored("a", "a"), stored("c", "c")], Some(&first));
        assert!(Arc::ptr_eq(&first.list()[0], &second.list()[0]));
        let third = Mappings::of(vec![stored("a", "other")], Some(&second));
        assert!(!Arc::ptr_eq(&third.list()[0], &second.list()[0]));
    }
}
