//! Whatever the engine holds, one plan leads to what is desired; cut off
//! anywhere, the next one does. Whatever a fleet file says, it is read or refused.

use std::collections::BTreeMap;

use heliograph_domain::ProviderId;
use heliograph_provisioner::{
    Desired, Fleet, FleetFile, ResolvedImage, SecretVersions, add, desired, plan, plan_removal, remove,
};
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

/// What fleet files are made of, and what only looks like it.
fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "image = \"heliograph:1\"\n", "fleet = \"main\"\n", "stop_grace_s = 30\n", "behind_proxy = true\n",
            "ingest_address = \"127.0.0.1\"\n", "admin_address = \"::1\"\n", "[limits.ingest]\n", "memory = \"1GiB\"\n",
            "cpus = 0.5\n", "pids = 100\n", "files = 4096\n", "[provider.a]\n", "[provider.b]\n", "[provider.c.mail]\n",
            "[provider.a.limits.mailer]\n", "n = 1\n", "n = 2\n", "unknown_gateways = \"adopted\"\n",
            "public_url = \"https://a.example/\"\n", "host = \"relay\"\n", "from = \"A <a@b.example>\"\n", "port = 25\n",
            "tls = \"none\"\n", "username = \"u\"\n", "password_file = \"p\"\n", "provider = { d = { n = 7 } }\n", "# said\n", "\n",
        ]).prop_map(str::to_owned),
        1 => "(n|cpus|pids|memory|image|port) = (-?[0-9]{1,20}|[0-9]e[0-9]{1,3}|nan|inf|true|''|\"[^\"\\\\]{0,8}\"|\\[\\]|\\{\\}|1979-05-27)\n",
        1 => "\\PC{0,12}\n?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_fleet_or_says_why_not(pieces in proptest::collection::vec(pieces(), 0..12)) {
        let text = pieces.concat();
        match Fleet::parse(&text) {
            Ok(fleet) => check_written_back(&text, &fleet),
            Err(error) => {
                prop_assert!(!error.problems.is_empty());
                for problem in error.problems {
                    prop_assert!(!problem.message.trim().is_empty(), "{text}");
                    let lines = text.matches('\n').count() + 1;
                    prop_assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem} of {text}");
                }
            }
        }
    }
}

/// A file that is written says the same; so it does where a provider is added and removed.
fn check_written_back(text: &str, fleet: &Fleet) {
    let folder = tempfile::tempdir().unwrap();
    let file = FleetFile::at(folder.path().join("fleet.toml"));
    file.write(text).unwrap();
    assert_eq!(&file.fleet().unwrap(), fleet, "{text}");
    let new = ProviderId::parse("new").unwrap();
    let (with, slot) = add(text, &new, None).unwrap();
    let mut more = file.checked(&with).unwrap();
    assert_eq!(more.providers.remove(&new).unwrap().slot, slot, "{with}");
    assert_eq!(&more, fleet, "{with}");
    let without = remove(&with, &new).unwrap().unwrap();
    assert_eq!(&Fleet::parse(&without).unwrap(), fleet, "{without}");
}
