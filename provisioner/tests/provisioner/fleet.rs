//! What a fleet file may say, and how it is edited.

use heliograph_domain::ProviderId;
use heliograph_provisioner::{EditError, Fleet, FleetFile, FleetFileError, Role, Slot, add, remove};

fn id(text: &str) -> ProviderId {
    ProviderId::parse(text).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    Fleet::parse(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn check_refused(text: &str, expected: &str) {
    let found = problems(text);
    assert!(found.len() == 1 && found[0].contains(expected), "{text}\nfound {found:?}\nexpected {expected}");
}

#[test]
fn the_example_is_a_fleet() {
    let text = include_str!("../../../deploy/fleet.example.toml");
    let fleet = Fleet::parse(text).unwrap();
    assert_eq!(fleet.providers.keys().map(ProviderId::as_str).collect::<Vec<_>>(), ["meridian", "sunrise"]);
}

#[test]
fn an_empty_file_is_an_empty_fleet_with_defaults() {
    let fleet = Fleet::parse("").unwrap();
    assert_eq!((fleet.name.as_str(), fleet.image.as_str(), fleet.providers.len()), ("main", "heliograph:dev", 0));
}

#[test]
fn a_provider_overrides_the_fleet_and_the_fleet_overrides_the_defaults() {
    let fleet = Fleet::parse(
        "[limits.ingest]\nmemory = \"1GiB\"\npids = 100\n[provider.a]\nn = 1\n[provider.a.limits.ingest]\npids = 200\n[provider.b]\nn = 2\n",
    )
    .unwrap();
    let limits = |provider: &str| fleet.providers[&id(provider)].limits[&Role::Ingest];
    assert_eq!((limits("a").memory.to_string().as_str(), limits("a").pids, limits("a").files), ("1GiB", 200, 16_384));
    assert_eq!(limits("b").pids, 100);
    assert_eq!(fleet.providers[&id("a")].limits[&Role::Mailer].memory.to_string(), "256MiB");
}

#[test]
fn ports_follow_n_and_the_ranges_never_meet() {
    let (first, last) = (Slot::new(1).unwrap(), Slot::new(i64::from(Slot::MAX)).unwrap());
    assert_eq!((first.ingest_port(), first.admin_port()), (6001, 8081));
    assert_eq!(last.ingest_port(), 8079);
    assert!(last.ingest_port() < first.admin_port());
    assert_eq!((Slot::new(0), Slot::new(2080), Slot::new(-1), Slot::new(65_537)), (None, None, None, None));
}

#[test]
fn every_bad_entry_is_named_with_its_line() {
    for (text, expected) in [
        ("imag = \"x\"", "line 1: imag is not a setting here; there are fleet, image, "),
        ("image = 7", "line 1: image must be a text in quotes"),
        ("image = \"\"", "image is empty"),
        ("image = \"a b\"", "image is wrong: \"a b\" is not an image reference"),
        ("fleet = \"My Fleet\"", "fleet is wrong"),
        ("ingest_address = \"localhost\"", "ingest_address is wrong"),
        ("behind_proxy = \"yes\"", "behind_proxy must be true or false"),
        ("stop_grace_s = 0", "stop_grace_s is 0; it must be 1 to 100"),
        ("provider = 3", "provider must be a table: [provider]"),
        ("[provider]\nsunrise = 3", "line 2: provider.sunrise must be a table: [provider.sunrise]"),
        ("[provider.Sunrise]\nn = 1", "provider.Sunrise has a bad name"),
        ("[provider.a]", "provider.a.n is missing"),
        ("[provider.a]\nn = \"1\"", "line 2: provider.a.n must be a whole number"),
        ("[provider.a]\nn = 0", "provider.a.n is 0; it must be 1 to 2079"),
        ("[provider.a]\nn = 2080", "provider.a.n is 2080"),
        ("[provider.a]\nn = 9223372036854775807", "provider.a.n is 9223372036854775807"),
        ("[provider.a]\nn = 1\n[provider.b]\nn = 1", "line 4: provider.b.n is 1, which `a` holds; ports would clash"),
        ("[provider.a]\nn = 1\n[provider.a]\nn = 2", "line 3: duplicate key"),
        ("[provider.a]\nn = 1\nport = 6001", "line 3: provider.a.port is not a setting here"),
        ("[provider.a]\nn = 1\nunknown_gateways = \"maybe\"", "\"maybe\" is none of refused, adopted"),
        ("[provider.a]\nn = 1\npublic_url = \"panel.example\"", "public_url is wrong"),
        ("[provider.a]\nn = 1\n[provider.a.mail]\nfrom = \"a@b.example\"", "provider.a.mail.host is missing"),
        ("[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"", "provider.a.mail.from is missing"),
        ("[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"nobody\"", "provider.a.mail.from is wrong"),
        ("[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"A <a@b.example>\"\nport = 0", "port is 0"),
        (
            "[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"",
            "password_file is missing",
        ),
        (
            "[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"a@b.example\"\ntls = \"maybe\"",
            "is none of required, implicit, none",
        ),
        (
            "[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"a@b.example\"\ntls = \"none\"\nusername = \"u\"\npassword_file = \"f\"",
            "would send the password in the clear",
        ),
        ("[limits.panel]\npids = 20", "limits.panel is not a setting here; there are ingest, admin, mailer"),
        ("[limits.admin]\nmemory = \"lots\"", "limits.admin.memory is wrong"),
        ("[limits.admin]\nmemory = \"1MiB\"", "a role needs at least 16MiB"),
        ("[limits.admin]\ncpus = 0", "limits.admin.cpus is 0"),
        ("[limits.admin]\npids = 1", "limits.admin.pids is 1; it must be 16 to 65536"),
        ("[provider.a\nn = 1", "line 1: "),
    ] {
        check_refused(text, expected);
    }
}

#[test]
fn all_problems_come_in_one_go() {
    let found = problems("image = 7\n[provider.a]\nn = 0\nx = 1\n[provider.b]\n[provider.C]\nn = 3\n");
    assert_eq!(found.len(), 5, "{found:#?}");
}

const COMMENTED: &str = "\
# Our fleet.
image   =   \"heliograph:1.0\"  # pinned

# The first customer.
[provider.sunrise]
n = 1   # since 2024

[provider.sunrise.mail]
host = \"relay\"
from = \"a@b.example\"

# The second.
[provider.meridian]
n = 3
";

#[test]
fn adding_takes_the_lowest_free_place_and_keeps_every_byte() {
    let (text, slot) = add(COMMENTED, &id("nova"), None).unwrap();
    assert_eq!(slot.n(), 2);
    assert_eq!(text, format!("{COMMENTED}\n[provider.nova]\nn = 2\n"));
    let (_, slot) = add(&text, &id("vega"), None).unwrap();
    assert_eq!(slot.n(), 4);
}

#[test]
fn adding_to_nothing_makes_a_fleet() {
    for text in ["", "# only a comment\n", "[provider]\n", "provider = {}\n", "provider = { a = { n = 7 } }\n"] {
        let (text, slot) = add(text, &id("nova"), Slot::new(9)).unwrap();
        let fleet = Fleet::parse(&text).unwrap();
        assert_eq!((fleet.providers[&id("nova")].slot, slot.n()), (slot, 9), "{text}");
    }
}

#[test]
fn what_is_held_is_not_given_again() {
    let sunrise = id("sunrise");
    assert_eq!(
        add(COMMENTED, &sunrise, None).unwrap_err(),
        EditError::Exists { id: sunrise.clone(), slot: Slot::new(1).unwrap() }
    );
    let held = add(COMMENTED, &id("nova"), Slot::new(1)).unwrap_err();
    assert_eq!(held, EditError::SlotHeld { slot: Slot::new(1).unwrap(), holder: sunrise });
}

#[test]
fn removing_takes_the_entry_and_leaves_the_others() {
    let text = remove(COMMENTED, &id("sunrise")).unwrap().unwrap();
    assert_eq!(text, "# Our fleet.\nimage   =   \"heliograph:1.0\"  # pinned\n\n# The second.\n[provider.meridian]\nn = 3\n");
    assert_eq!(remove(&text, &id("sunrise")).unwrap(), None);
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    std::fs::write(&path, COMMENTED).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let file = FleetFile::at(&path);
    file.write("image = \"other:1\"\n").unwrap();
    assert_eq!(file.fleet().unwrap().image, "other:1");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no copy is left");
}

#[test]
fn a_missing_file_says_how_it_is_made() {
    let error = FleetFile::at("/nowhere/fleet.toml").fleet().unwrap_err();
    assert!(matches!(error, FleetFileError::Missing { .. }));
    assert!(error.to_string().contains("heliograph provider add"));
}
