//! Whatever the engine holds, one plan leads to what is desired; cut off
//! anywhere, the next one does.

use std::collections::BTreeMap;

use heliograph_provisioner::{Desired, Fleet, ResolvedImage, SecretVersions, desired, plan, plan_removal};
use proptest::prelude::*;

use crate::model::Model;

/// Up to five providers of eight names, on places of a small range, so that
/// two fleets often swap them.
fn fleets() -> impl Strategy<Value = Desired> {
    let names = proptest::sample::subsequence(vec!["a", "b", "c", "d", "e", "f", "g", "h"], 0..=5);
    let places = Just((1..=8).collect::<Vec<u16>>()).prop_shuffle();
    let memory = proptest::collection::vec(prop_oneof![Just("256MiB"), Just("512MiB")], 8);
    let image = prop_oneof![Just("sha256:1"), Just("sha256:2")];
    (names, places, memory, image).prop_map(|(names, places, memory, image)| {
        let entry = |((name, n), memory): ((&&str, &u16), &&str)| {
            format!("[provider.{name}]\nn = {n}\n[provider.{name}.limits.admin]\nmemory = \"{memory}\"\n")
        };
        let text: String = names.iter().zip(&places).zip(&memory).map(entry).collect();
        let image = ResolvedImage { reference: "heliograph:dev".to_owned(), id: image.to_owned() };
        desired(&Fleet::parse(&text).unwrap(), &image, &SecretVersions::default())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_reaches_what_is_desired_from_wherever_the_engine_stands(
        before in fleets(),
        after in fleets(),
        damage in proptest::collection::vec((0u8..6, 0usize..15), 0..6),
        cuts in proptest::collection::vec(0usize..20, 0..3),
    ) {
        let mut engine = Model::default();
        engine.apply(&plan(&before, &engine.observe()), usize::MAX).unwrap();
        damage.iter().for_each(|(kind, index)| engine.damage(*kind, *index));
        for cut in cuts {
            engine.apply(&plan(&after, &engine.observe()), cut).unwrap();
        }
        engine.apply(&plan(&after, &engine.observe()), usize::MAX).unwrap();

        let rest = plan(&after, &engine.observe());
        prop_assert!(rest.is_empty(), "{}", rest);
        let running: BTreeMap<_, _> =
            engine.observe().containers.into_iter().map(|c| (c.name, c.spec_digest)).collect();
        let wanted: BTreeMap<_, _> =
            after.tenants.iter().flat_map(|t| &t.containers).map(|spec| (spec.name.clone(), spec.digest())).collect();
        prop_assert_eq!(running, wanted);
    }

    #[test]
    fn what_is_as_it_should_be_is_never_touched(fleet in fleets()) {
        let mut engine = Model::default();
        engine.apply(&plan(&fleet, &engine.observe()), usize::MAX).unwrap();
        let again = plan(&fleet, &engine.observe());
        prop_assert!(again.is_empty());
        prop_assert_eq!(again.unchanged, fleet.tenants.len() * 5);
    }

    #[test]
    fn removing_a_provider_leaves_the_others_alone(fleet in fleets(), delete_data: bool) {
        let mut engine = Model::default();
        engine.apply(&plan(&fleet, &engine.observe()), usize::MAX).unwrap();
        let Some(first) = fleet.tenants.first() else { return Ok(()) };
        engine.apply(&plan_removal("main", &first.provider, &engine.observe(), delete_data), usize::MAX).unwrap();

        let rest = Desired { fleet: fleet.fleet.clone(), tenants: fleet.tenants[1..].to_vec() };
        prop_assert!(plan(&rest, &engine.observe()).is_empty());
        let kept = engine.observe().volumes.iter().any(|volume| volume.provider == first.provider);
        prop_assert_eq!(kept, !delete_data);
    }
}
