//! The corpus of the fuzz targets, replayed, and what they hold found true of changed
//! fixtures.

use std::fs;

use heliograph_dialects::Dialect;

use crate::fixtures::{fixtures, root};
use crate::invariants::{decoding, framing, mapping};

/// The files of a target's corpus.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    files
}

#[test]
fn streams_of_the_corpus_are_cut_the_same_however_they_come() {
    for data in corpus("framing") {
        framing(&data);
    }
}

#[test]
fn what_the_corpus_and_all_fixtures_say_may_be_stored() {
    for dialect in Dialect::ALL {
        let name = dialect.as_str();
        let of_fixtures = fixtures(name).into_iter().map(|fixture| fixture.bytes);
        let of_dialect = of_fixtures.chain(corpus(name)).filter(|bytes| decoding(Some(*dialect), bytes)).count();
        assert!(of_dialect > 0, "nothing of {name} in its corpus");
    }
    for fixture in ["hostile", "mapped"].into_iter().flat_map(fixtures) {
        decoding(None, &fixture.bytes);
    }
}

#[test]
fn mappings_of_the_corpus_say_only_what_may_be_stored() {
    for data in corpus("mapping") {
        mapping(&data);
    }
    for fixture in fixtures("mapped") {
        for profile in heliograph_dialects::profiles() {
            let source = heliograph_dialects::profile_source(profile.name()).unwrap();
            mapping(&[source.as_bytes(), &fixture.bytes].join(&0));
        }
    }
}
