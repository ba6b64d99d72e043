//! The mappings of a provider.

use heliograph_domain::{MappingName, ProviderMapping};
use heliograph_store::StoreError;

use crate::backend::on_every_backend;

fn name(text: &str) -> MappingName {
    MappingName::parse(text).unwrap()
}

#[tokio::test]
async fn mappings_are_kept_by_name_and_each_change_is_counted_and_audited() {
    on_every_backend(|store| async move {
        let before = store.versions().await.unwrap().config;
        store.mapping_save(name("b"), "root = 'b'".to_owned()).await.unwrap();
        store.mapping_save(name("a 'x' / 1"), "root = 'a'".to_owned()).await.unwrap();
        store.mapping_save(name("b"), "root = 'c'".to_owned()).await.unwrap();
        let listed = store.mapping_list().await.unwrap();
        let short = |mapping: &ProviderMapping| (mapping.name.to_string(), mapping.source.clone(), mapping.revision);
        assert_eq!(
            listed.iter().map(short).collect::<Vec<_>>(),
            [("a 'x' / 1".to_owned(), "root = 'a'".to_owned(), 1), ("b".to_owned(), "root = 'c'".to_owned(), 2)]
        );
        let after = store.versions().await.unwrap().config;
        assert!(after > before);

        store.mapping_remove(name("b")).await.unwrap();
        assert!(matches!(store.mapping_remove(name("b")).await, Err(StoreError::NotFound("mapping"))));
        assert_eq!(store.mapping_list().await.unwrap().len(), 1);
        assert!(store.versions().await.unwrap().config > after);

        let trail = store.audit_list(1, 100).await.unwrap();
        let actions: Vec<_> = trail.iter().map(|entry| (entry.action.as_str(), entry.object.as_str())).collect();
        let saved = |object| ("mapping.save", object);
        assert_eq!(
            actions,
            [saved("mapping:b"), saved("mapping:a 'x' / 1"), saved("mapping:b"), ("mapping.remove", "mapping:b")]
        );
        assert!(trail[0].detail.contains("sha256") && trail[0].detail != trail[2].detail, "{}", trail[0].detail);
    })
    .await;
}

#[tokio::test]
async fn what_a_mapping_and_a_provider_may_have_is_bounded() {
    on_every_backend(|store| async move {
        let largest = "#".repeat(ProviderMapping::BYTES);
        store.mapping_save(name("largest"), largest.clone()).await.unwrap();
        assert_eq!(store.mapping_list().await.unwrap()[0].source, largest);
        let larger = store.mapping_save(name("larger"), format!("{largest}#")).await;
        assert!(matches!(larger, Err(StoreError::Conflict(_))), "{larger:?}");
        for number in 1..ProviderMapping::COUNT {
            store.mapping_save(name(&number.to_string()), String::new()).await.unwrap();
        }
        let more = store.mapping_save(name("one more"), String::new()).await;
        assert!(matches!(more, Err(StoreError::Conflict(_))), "{more:?}");
        store.mapping_save(name("largest"), "smaller".to_owned()).await.unwrap();
        assert_eq!(store.mapping_list().await.unwrap().len(), ProviderMapping::COUNT);
    })
    .await;
}
