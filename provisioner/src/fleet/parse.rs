//! From the fleet file's text to a [`Fleet`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use heliograph_domain::{EmailAddress, ProviderId, UnknownGateways};
use toml_edit::Document;

use super::reader::{FleetError, Problem, Problems, Section};
use super::{Fleet, Limits, Mail, MailLogin, MailTls, Provider, Slot};
use crate::role::Role;

const DEFAULT_IMAGE: &str = "heliograph:dev";
const DEFAULT_NAME: &str = "main";
const DEFAULT_STOP_GRACE_S: u32 = 30;
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(super) fn parse(text: &str) -> Result<Fleet, FleetError> {
    let document = Document::parse(text).map_err(|error| syntax_error(text, &error))?;
    let problems = Problems::new(text);
    let fleet = read_fleet(&Section::root(document.as_table(), &problems));
    problems.into_result()?;
    Ok(fleet)
}

fn syntax_error(text: &str, error: &toml_edit::TomlError) -> FleetError {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let quoted = line.and_then(|line| text.lines().nth(line - 1)).map(str::trim).unwrap_or_default();
    FleetError { problems: vec![Problem { line, message: format!("{} at `{quoted}`", error.message()) }] }
}

/// Reads as much as can be read: what is wrong has been reported and is
/// replaced by a default that is never used.
fn read_fleet(root: &Section<'_>) -> Fleet {
    let name = root.read("fleet", fleet_name).unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let image = root.read("image", image_reference).unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let ingest_address = root.parsed("ingest_address").unwrap_or(ANYWHERE);
    let admin_address = root.parsed("admin_address").unwrap_or(ANYWHERE);
    let behind_proxy = root.boolean("behind_proxy").unwrap_or(false);
    let stop_grace_s = root.integer_in("stop_grace_s", 1..101).unwrap_or(DEFAULT_STOP_GRACE_S);
    let defaults = read_limits(root, &Role::ALL.into_iter().map(|role| (role, Limits::of(role))).collect());
    let providers = root.section("provider").map(|section| read_providers(&section, &defaults)).unwrap_or_default();
    let fleet = Fleet { name, image, ingest_address, admin_address, behind_proxy, stop_grace_s, providers };
    root.report_unknown();
    fleet
}

fn fleet_name(text: &str) -> Result<String, String> {
    ProviderId::parse(text).map(String::from).map_err(|_| format!("{text:?} must be 1 to 31 of a-z, 0-9 and _"))
}

fn image_reference(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:/@".contains(&b));
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not an image reference such as {DEFAULT_IMAGE}")) }
}

fn read_providers(section: &Section<'_>, defaults: &BTreeMap<Role, Limits>) -> BTreeMap<ProviderId, Provider> {
    let mut providers = BTreeMap::new();
    let mut holders: BTreeMap<Slot, String> = BTreeMap::new();
    for (name, entry) in section.children() {
        let id = ProviderId::parse(&name).map_err(|error| section.report(&name, format_args!("has a bad name: {error}"))).ok();
        let provider = read_provider(&entry, defaults);
        if let Some(slot) = provider.as_ref().map(|provider| provider.slot) {
            if let Some(holder) = holders.get(&slot) {
                entry.report("n", format_args!("is {slot}, which `{holder}` holds; ports would clash"));
            } else {
                holders.insert(slot, name);
            }
        }
        providers.extend(id.zip(provider));
    }
    providers
}

fn read_provider(entry: &Section<'_>, defaults: &BTreeMap<Role, Limits>) -> Option<Provider> {
    let slot = entry.require("n", entry.integer_in::<i64>("n", i64::from(Slot::MIN)..i64::from(Slot::MAX) + 1));
    let unknown_gateways =
        entry.read("unknown_gateways", |text| UnknownGateways::parse(text).map_err(|_| one_of(text, &["refused", "adopted"])));
    let public_url = entry.read("public_url", public_url);
    let mail = entry.section("mail").and_then(|section| read_mail(&section));
    let limits = read_limits(entry, defaults);
    entry.report_unknown();
    Some(Provider { slot: Slot::new(slot?)?, unknown_gateways, public_url, mail, limits })
}

fn one_of(text: &str, words: &[&str]) -> String {
    format!("{text:?} is none of {}", words.join(", "))
}

fn public_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || "?#\"<>".contains(c)));
    if good {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(format!("{text:?} is not an address such as https://panel.example.com"))
    }
}

fn read_mail(section: &Section<'_>) -> Option<Mail> {
    let host = section.require("host", section.read("host", host_name));
    let tls = section.read("tls", mail_tls).unwrap_or(MailTls::Required);
    let port = section.integer_in("port", 1..65536).unwrap_or(587);
    let from = section.require("from", section.read("from", sender));
    let username = section.string("username");
    let password_file = section.string("password_file").map(PathBuf::from);
    let login = match (username, password_file) {
        (Some(username), Some(password_file)) => Some(MailLogin { username, password_file }),
        (Some(_), None) => section.require("password_file", None),
        (None, Some(_)) => section.require("username", None),
        (None, None) => None,
    };
    if login.is_some() && tls == MailTls::None {
        section.report("tls", "is \"none\", which would send the password in the clear");
    }
    section.report_unknown();
    Some(Mail { host: host?, port, tls, from: from?, login })
}

fn host_name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a host name or address")) }
}

fn mail_tls(text: &str) -> Result<MailTls, String> {
    let words = MailTls::ALL.map(MailTls::as_str);
    MailTls::ALL.into_iter().find(|tls| tls.as_str() == text).ok_or_else(|| one_of(text, &words))
}

fn sender(text: &str) -> Result<String, String> {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    EmailAddress::parse(address).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn read_limits(parent: &Section<'_>, defaults: &BTreeMap<Role, Limits>) -> BTreeMap<Role, Limits> {
    let mut limits = defaults.clone();
    let Some(section) = parent.section("limits") else {
        return limits;
    };
    for (role, limits) in &mut limits {
        if let Some(of_role) = section.section(role.as_str()) {
            *limits = read_limits_of_role(&of_role, *limits);
        }
    }
    section.report_unknown();
    limits
}

fn read_limits_of_role(section: &Section<'_>, defaults: Limits) -> Limits {
    let limits = Limits {
        memory: section.parsed("memory").unwrap_or(defaults.memory),
        cpus: section.number("cpus").unwrap_or(defaults.cpus),
        pids: section.integer_in("pids", 16..65537).unwrap_or(defaults.pids),
        files: section.integer_in("files", 64..1_048_577).unwrap_or(defaults.files),
    };
    if limits.memory.bytes() < 16 << 20 {
        section.report("memory", format_args!("is {}; a role needs at least 16MiB", limits.memory));
    }
    if !(0.01..=1024.0).contains(&limits.cpus) {
        section.report("cpus", format_args!("is {}; it must be 0.01 to 1024", limits.cpus));
    }
    section.report_unknown();
    limits
}
