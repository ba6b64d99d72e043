//! The corpus of the fuzz targets that talk to a server, replayed.

use std::path::Path;

use crate::invariants::{requests, server, still_serves, unpacking};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    files
}

#[tokio::test]
async fn whatever_the_corpus_asks_is_answered_whole_and_others_are_served() {
    let server = server().await;
    for data in corpus("http") {
        requests(&server, &data).await;
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn packed_bodies_of_the_corpus_are_answered_as_what_they_unpack_to() {
    let server = server().await;
    for data in corpus("unpack") {
        unpacking(&server, &data).await;
    }
    still_serves(&server).await;
}
