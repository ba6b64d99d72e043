//! A provider's logo: in pieces, as a whole, or not at all.

use heliograph_domain::LogoKind;
use heliograph_store::{Logo, StoreError};

use crate::backend::on_every_backend;

fn picture(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8 ^ seed).collect()
}

#[tokio::test]
async fn a_logo_is_read_as_it_was_saved_and_the_next_one_takes_its_place() {
    on_every_backend(|store| async move {
        assert_eq!(store.logo_find().await.unwrap(), None);
        assert_eq!(store.logo_image().await.unwrap(), None);
        for (seed, bytes, kind) in [(1, 1, LogoKind::Png), (2, Logo::MOST_BYTES, LogoKind::Jpeg), (3, 12 * 1024, LogoKind::Webp)]
        {
            let image = picture(seed, bytes);
            store.logo_save(image.clone(), kind, (320, 80)).await.unwrap();
            let expected = Logo::of(&image, kind, (320, 80));
            assert_eq!(store.logo_find().await.unwrap(), Some(expected.clone()));
            assert!(store.logo_image().await.unwrap() == Some((expected, image)), "{bytes} bytes");
        }
        let entry = store.audit_list(1, 1000).await.unwrap().pop().unwrap();
        let digest = Logo::of(&picture(3, 12 * 1024), LogoKind::Webp, (320, 80)).sha256().to_owned();
        assert_eq!((entry.action.as_str(), entry.object.as_str()), ("logo.save", "logo"));
        assert!(entry.detail.contains(&digest) && entry.detail.len() < 300, "the trail holds the digest alone: {}", entry.detail);
        store.logo_remove().await.unwrap();
        assert_eq!(store.logo_image().await.unwrap(), None);
        assert!(matches!(store.logo_remove().await, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn what_is_empty_or_too_large_is_no_logo() {
    on_every_backend(|store| async move {
        for (image, size) in [
            (Vec::new(), (1, 1)),
            (picture(1, Logo::MOST_BYTES + 1), (1, 1)),
            (picture(1, 9), (Logo::MOST_PIXELS + 1, 1)),
            (picture(1, 9), (1, u32::MAX)),
        ] {
            let refused = store.logo_save(image, LogoKind::Png, size).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        }
        assert_eq!(store.logo_find().await.unwrap(), None);
    })
    .await;
}
