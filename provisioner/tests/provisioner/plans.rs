//! Plans as operators see them.

use std::net::SocketAddr;

use heliograph_domain::ProviderId;
use heliograph_provisioner::{
    Desired, Fleet, Foreign, ObjectKind, Paint, Plan, ResolvedImage, SecretVersions, desired, plan, plan_removal,
};

use crate::model::Model;

const TWO: &str = "\
[provider.sunrise]
n = 1
[provider.sunrise.mail]
host = \"smtp.sunrise.example\"
from = \"Sunrise <reports@sunrise.example>\"
username = \"sunrise\"
password_file = \"sunrise.password\"
[provider.meridian]
n = 2
unknown_gateways = \"adopted\"
";

fn fleet(text: &str, image: &str, secret: &str) -> Desired {
    let mut secrets = SecretVersions::default();
    secrets.insert("sunrise.password", "/etc/heliograph/sunrise.password", secret);
    let image = ResolvedImage { reference: "heliograph:dev".to_owned(), id: format!("sha256:{image:0<64}") };
    desired(&Fleet::parse(text).unwrap(), &image, &secrets)
}

fn applied(desired: &Desired) -> Model {
    let mut engine = Model::default();
    engine.apply(&plan(desired, &engine.observe()), usize::MAX).unwrap();
    engine
}

fn json(plan: &Plan) -> String {
    serde_json::to_string_pretty(plan).unwrap()
}

#[test]
fn a_new_fleet_is_made_from_nothing() {
    let plan = plan(&fleet(TWO, "aa", "1"), &Model::default().observe());
    insta::assert_snapshot!("new_fleet", plan);
    insta::assert_snapshot!("new_fleet_json", json(&plan));
}

#[test]
fn a_container_is_described_to_the_last_option() {
    let desired = fleet(TWO, "aa", "1");
    let containers: Vec<_> = desired.tenants.iter().flat_map(|tenant| &tenant.containers).collect();
    insta::assert_snapshot!("containers", serde_json::to_string_pretty(&containers).unwrap());
}

#[test]
fn nothing_to_do_is_said_so() {
    let desired = fleet(TWO, "aa", "1");
    insta::assert_snapshot!("nothing_to_do", plan(&desired, &applied(&desired).observe()));
    let empty = fleet("", "aa", "1");
    insta::assert_snapshot!("empty_fleet", plan(&empty, &Model::default().observe()));
}

#[test]
fn every_change_names_its_cause() {
    let mut engine = applied(&fleet(TWO, "aa", "1"));
    // In the order of their names: admin_panel_meridian, admin_panel_sunrise, …
    engine.damage(0, 0);
    engine.damage(1, 1);
    let changed = TWO.replace("adopted", "refused").replace("smtp.sunrise", "relay.sunrise");
    insta::assert_snapshot!("changed_settings", plan(&fleet(&changed, "aa", "2"), &engine.observe()));
}

#[test]
fn a_moved_tag_replaces_what_runs() {
    let engine = applied(&fleet(TWO, "aa", "1"));
    insta::assert_snapshot!("moved_tag", plan(&fleet(TWO, "bb", "1"), &engine.observe()));
}

#[test]
fn a_provider_that_left_the_file_goes_and_its_data_stays() {
    let engine = applied(&fleet(TWO, "aa", "1"));
    let plan = plan(&fleet("[provider.meridian]\nn = 2\nunknown_gateways = \"adopted\"\n", "aa", "1"), &engine.observe());
    insta::assert_snapshot!("left_the_file", plan);
}

#[test]
fn swapped_places_free_their_ports_first() {
    let engine = applied(&fleet("[provider.a]\nn = 1\n[provider.b]\nn = 2\n", "aa", "1"));
    let swapped = fleet("[provider.a]\nn = 2\n[provider.b]\nn = 1\n", "aa", "1");
    insta::assert_snapshot!("swapped_places", plan(&swapped, &engine.observe()));
}

#[test]
fn removal_shows_whether_data_goes() {
    let engine = applied(&fleet(TWO, "aa", "1"));
    let sunrise = ProviderId::parse("sunrise").unwrap();
    insta::assert_snapshot!("removal", plan_removal("main", &sunrise, &engine.observe(), false));
    insta::assert_snapshot!("removal_with_data", plan_removal("main", &sunrise, &engine.observe(), true));
}

#[test]
fn what_is_not_ours_is_in_the_way_by_name() {
    let mut observed = Model::default().observe();
    let foreign =
        |kind, name: &str, fleet: Option<&str>| Foreign { kind, name: name.to_owned(), fleet: fleet.map(str::to_owned) };
    observed.foreign = vec![
        foreign(ObjectKind::Container, "mailer_sunrise", None),
        foreign(ObjectKind::Network, "heliograph_sunrise", Some("other")),
        foreign(ObjectKind::Container, "postgres", None),
        foreign(ObjectKind::Network, "mailer_sunrise", None),
    ];
    let host = |text: &str| text.parse::<SocketAddr>().unwrap();
    observed.foreign_ports = vec![(host("127.0.0.1:8082"), "nginx".to_owned()), (host("127.0.0.1:9999"), "x".to_owned())];
    let plan = plan(&fleet(TWO, "aa", "1"), &observed);
    assert_eq!(plan.refusals.len(), 3);
    insta::assert_snapshot!("in_the_way", plan.render_remarks(Paint::PLAIN));
}

#[test]
fn colours_change_nothing_but_colours() {
    let plan = plan(&fleet(TWO, "aa", "1"), &Model::default().observe());
    let coloured = plan.render(Paint::COLOURED);
    assert!(coloured.contains("\x1b["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some(start) = rest.find("\x1b[") {
        plain.push_str(&rest[..start]);
        rest = &rest[start..][rest[start..].find('m').unwrap() + 1..];
    }
    plain.push_str(rest);
    assert_eq!(plain, plan.to_string());
}

#[test]
fn no_secret_is_in_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sunrise.password");
    std::fs::write(&file, "hunter2").unwrap();
    let mut secrets = SecretVersions::default();
    secrets.insert("sunrise.password", &file, "17");
    let image = ResolvedImage { reference: "heliograph:dev".to_owned(), id: "sha256:1".to_owned() };
    let desired = desired(&Fleet::parse(TWO).unwrap(), &image, &secrets);
    let all = format!("{desired:?}{}", json(&plan(&desired, &Model::default().observe())));
    assert!(all.contains("PASSWORD_FILE") && !all.contains("hunter2"));
}
