//! No name, id or text reaches another provider's data, or the store itself.

use heliograph_domain::{ProviderId, TimeWindow};
use heliograph_store::{Store, StoreError, StoreUrl};

use crate::backend::{document, gateway, minute, on_every_backend, power};

const NASTY: &[&str] = &[
    "'; DROP TABLE frame; --",
    "\" OR 1=1",
    "../../meridian",
    "a/b\\c",
    "$(reboot)",
    "<script>alert(1)</script>",
    "=1+1",
    "%00",
    "\u{1F31E} Dach",
];

#[tokio::test]
async fn providers_share_nothing() {
    on_every_backend(|store| async move {
        let other = store.neighbour();
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        assert!(other.gateway_list().await.unwrap().is_empty());
        let foreign = other.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await;
        assert!(matches!(foreign, Err(StoreError::NotFound("gateway"))));
        other.document_write(power("gw-1", &[(0, 2.0)])).await.unwrap();
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await.unwrap();
        assert_eq!(page.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0]);
    })
    .await;
}

#[tokio::test]
async fn texts_from_outside_are_inert_everywhere() {
    on_every_backend(|store| async move {
        for text in NASTY {
            store.document_write(document(text, text, text, text, &[(minute(0), 1.0)])).await.unwrap();
            let page = store.reading_page(&gateway(text), TimeWindow::ALWAYS, 10).await.unwrap();
            assert_eq!(page.rows.len(), 1, "{text}");
            assert_eq!((page.rows[0].sensor.as_str(), page.rows[0].unit.as_str()), (*text, *text));
            store.gateway_knock(&gateway(text), text, minute(1)).await.unwrap();
            store.gateway_rename(&gateway(text), Some((*text).to_owned())).await.unwrap();
            assert_eq!(store.gateway_fetch(&gateway(text)).await.unwrap().name(), *text);
            assert!(store.lease_take(text, text, minute(0), minute(1)).await.unwrap());
        }
        assert_eq!(store.gateway_list().await.unwrap().len(), NASTY.len());
    })
    .await;
}

#[test]
fn a_place_that_cannot_be_a_store_is_named_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(StoreUrl::sqlite(file.path())).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()) && error.contains("--store"), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn a_store_is_readable_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    let root = Store::open(StoreUrl::sqlite(&place)).unwrap();
    let _store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    let mut seen = 0;
    for path in std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).chain([place]) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen} files");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sunrise.db");
    std::fs::write(&path, "this is not a database, but somebody's letter of some length").unwrap();
    let before = std::fs::read(&path).unwrap();
    let root = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    assert!(root.provider(&ProviderId::parse("sunrise").unwrap()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
