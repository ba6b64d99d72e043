//! Settings: built-in < `heliograph.toml` < `HELIOGRAPH__SECTION__KEY` < flags.
//!
//! Every setting stands in one table. What is not there, or cannot be read, is
//! named; all of it in one run. A secret may come as `key` or, from a file, as
//! `key_file`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use config::{Config, Environment, File, FileFormat, ValueKind};
use heliograph_domain::Secret;

/// A setting as the table describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) default: &'static str,
    pub(crate) secret: bool,
    pub(crate) about: &'static str,
}

const fn setting(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, default, secret: false, about }
}

/// Every setting there is. An empty default: not set.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "store.url",
        "sqlite:./data",
        "where the data is: sqlite:DIR or cassandra://HOST,HOST/?dc=NAME[&rf=3][&ca=FILE], either with ack=power-loss|process-crash",
    ),
    setting("store.user", "", "user name at a Cassandra cluster"),
    Setting { key: "store.password", default: "", secret: true, about: "password at a Cassandra cluster" },
    setting("store.admin_url", "", "the cluster that heliograph store init sets up, as store.url"),
    setting("store.admin_user", "", "its administrator's user name"),
    Setting { key: "store.admin_password", default: "", secret: true, about: "its administrator's password" },
    setting("ops.listen", "", "address of /metrics, /healthz and /readyz"),
    setting("log.format", "auto", "text, json or auto: text on a terminal, else json"),
    setting("log.filter", "info,scylla=warn", "what is logged, such as info,heliograph_ingest=debug"),
    setting("ingest.listen", "0.0.0.0:6000", "address that gateways push to"),
    setting("ingest.tls_listen", "", "address that speaks TLS and nothing else"),
    setting("ingest.tls_certificate", "", "PEM file with the certificate for TLS, on ingest.listen too"),
    setting("ingest.tls_key", "", "PEM file with its private key"),
    setting("ingest.client_certificates", "off", "off, optional or required: certificates of gateways as their credentials"),
    setting("ingest.handshake_seconds", "10", "seconds that a TLS handshake may take"),
    setting("ingest.connections", "12000", "connections at once"),
    setting("ingest.connections_per_address", "5000", "of these, connections from one address"),
    setting("ingest.room_bytes", "134217728", "bytes of large documents on their way, over all connections"),
    setting("ingest.room_bytes_per_address", "33554432", "of these, bytes of documents from one address"),
    setting("ingest.stall_seconds", "60", "seconds without a byte after which a document is cut"),
    setting("ingest.idle_seconds", "600", "seconds after which an idle connection is closed"),
    setting("ingest.minimum_rate", "64", "bytes a second that a document must arrive with, in every minute"),
    setting("ingest.grace_seconds", "20", "seconds that a document may take whatever its rate"),
    setting("ingest.document_bytes", "8388608", "largest document"),
    setting("ingest.depth", "32", "deepest nesting"),
    setting("ingest.attributes", "64", "most attributes of a tag"),
    setting("ingest.tag_bytes", "65536", "longest tag"),
    setting("ingest.in_flight", "32", "documents of a connection that may wait for the store"),
    setting(
        "ingest.store_deadline_ms",
        "2000",
        "milliseconds after which a write that the store has not finished goes to the spool",
    ),
    setting(
        "ingest.gateway_readings_per_second",
        "20000",
        "readings a second of a gateway; who is faster is read slower; 0: any",
    ),
    setting("ingest.readings_per_second", "0", "readings a second of all gateways together; 0: any"),
    setting("ingest.bytes_per_day", "0", "bytes of documents a day of all gateways together; 0: any"),
    setting("ingest.burst_seconds", "10", "seconds' worth of readings that may come at once"),
    setting("ingest.spool_bytes", "1073741824", "bytes that the spool may hold while the store is away; 0: none"),
    setting("ingest.spool_dir", "", "folder of the spool; empty: spool beside the data, or ./spool for a cluster"),
    setting("ingest.drain_seconds", "10", "seconds that a drain may take"),
    setting("admin.listen", "0.0.0.0:8080", "address of the web panel"),
    setting("admin.public_url", "", "address that people type; https makes cookies Secure"),
    setting("admin.links_by_mail", "true", "whether people are sent links; false where mails go to a folder"),
    setting("admin.session_idle_hours", "12", "hours after which an idle session ends"),
    setting("admin.behind_proxy", "false", "whether a proxy in front appends to X-Forwarded-For"),
    setting("mail.from", "", "sender: address or Name <address>"),
    setting("mail.folder", "", "folder that mails are written to instead of being sent"),
    setting("mail.host", "", "mail server"),
    setting("mail.port", "587", "its port"),
    setting("mail.tls", "required", "required (STARTTLS), implicit or none"),
    setting("mail.username", "", "user name at the mail server"),
    Setting { key: "mail.password", default: "", secret: true, about: "password at the mail server" },
    setting("mail.ca", "", "file of certificates (PEM) to trust besides the public ones"),
    setting("mail.hour", "6", "local hour at which summaries are due, 0 to 23"),
];

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(crate) struct SettingsError(Vec<String>);

impl SettingsError {
    pub(crate) fn one(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }
}

/// Where settings are read from, besides flags.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Sources {
    /// Settings file; heliograph.toml in the current folder is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// One setting in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) setting: Setting,
    pub(crate) value: String,
    pub(crate) origin: String,
}

/// Settings in force, and what has been found wrong with them so far.
#[derive(Debug)]
pub(crate) struct Settings {
    in_force: BTreeMap<&'static str, InForce>,
    problems: Vec<String>,
}

impl Settings {
    /// Reads file and environment and lays `flags` over them.
    ///
    /// # Errors
    /// When a file cannot be read or is no TOML.
    pub(crate) fn load(sources: &Sources, flags: &[(&'static str, Option<String>)]) -> Result<Self, SettingsError> {
        Self::load_with(sources, Environment::with_prefix("HELIOGRAPH"), flags)
    }

    fn load_with(
        sources: &Sources,
        environment: Environment,
        flags: &[(&'static str, Option<String>)],
    ) -> Result<Self, SettingsError> {
        let mut settings = Self {
            in_force: SETTINGS
                .iter()
                .map(|setting| {
                    (setting.key, InForce { setting: *setting, value: setting.default.to_owned(), origin: "built in".to_owned() })
                })
                .collect(),
            problems: Vec::new(),
        };
        let file = sources.config.clone().or_else(|| Some(PathBuf::from("heliograph.toml")).filter(|path| path.exists()));
        if let Some(file) = &file {
            let named = |error: &dyn Display| SettingsError::one(format!("{}: {error}", file.display()));
            // What is not UTF-8 would be read as something else, a password for example.
            let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
            let source = File::from_str(&text, FileFormat::Toml);
            let read = Config::builder().add_source(source).build().map_err(|error| named(&error))?;
            settings.lay_over(&read, &file.display().to_string(), "");
        }
        let read = Config::builder()
            .add_source(environment.prefix_separator("__").separator("__"))
            .build()
            .map_err(|error| SettingsError::one(format!("environment: {error}")))?;
        settings.lay_over(&read, "environment", "HELIOGRAPH__");
        for (key, value) in flags {
            if let (Some(value), Some(entry)) = (value, settings.in_force.get_mut(key)) {
                (entry.value, entry.origin) = (value.clone(), "flag".to_owned());
            }
        }
        Ok(settings)
    }

    fn lay_over(&mut self, read: &Config, origin: &str, prefix: &str) {
        let mut leaves = Vec::new();
        flatten(&read.cache, String::new(), &mut leaves);
        for (key, value) in leaves {
            let shown =
                if prefix.is_empty() { key.clone() } else { format!("{prefix}{}", key.to_uppercase().replace('.', "__")) };
            let Some(value) = value else {
                self.problems.push(format!("{shown} ({origin}) must be one value"));
                continue;
            };
            if let Some(entry) = self.in_force.get_mut(key.as_str()) {
                (entry.value, entry.origin) = (value, origin.to_owned());
            } else if let Some(entry) =
                key.strip_suffix("_file").and_then(|key| self.in_force.get_mut(key)).filter(|entry| entry.setting.secret)
            {
                match std::fs::read_to_string(&value) {
                    Ok(text) => {
                        (entry.value, entry.origin) =
                            (text.trim_end_matches(['\n', '\r']).to_owned(), format!("{value}, named by {origin}"));
                    }
                    Err(error) => self.problems.push(format!("{shown} ({origin}): {value}: {error}")),
                }
            } else {
                self.problems.push(format!("{shown} ({origin}) is no setting; heliograph config lists all"));
            }
        }
    }

    /// A setting that has a value, read as `T`; `None` where it is empty or, with
    /// the problem noted, cannot be read.
    pub(crate) fn optional<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let entry = self.in_force.get(key)?;
        if entry.value.is_empty() {
            return None;
        }
        match entry.value.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, &format!("{error}"));
                None
            }
        }
    }

    /// A setting that always has a value. Where it cannot be read the problem is
    /// noted and `fallback` stands in until [`Self::finish`] reports it.
    pub(crate) fn required<T>(&mut self, key: &'static str, fallback: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        if self.in_force.get(key).is_none_or(|entry| entry.value.is_empty()) {
            self.problem(key, "is not set");
            return fallback;
        }
        self.optional(key).unwrap_or(fallback)
    }

    /// A secret, if it is set.
    pub(crate) fn secret(&self, key: &'static str) -> Option<Secret> {
        self.in_force.get(key).filter(|entry| !entry.value.is_empty()).map(|entry| Secret::new(entry.value.clone()))
    }

    /// A setting as it was written.
    pub(crate) fn text(&self, key: &'static str) -> &str {
        self.in_force.get(key).map_or("", |entry| entry.value.as_str())
    }

    /// Notes what is wrong with a setting.
    pub(crate) fn problem(&mut self, key: &'static str, problem: &str) {
        let shown = self.in_force.get(key).map(|entry| {
            let value = if entry.setting.secret { "a secret".to_owned() } else { format!("{:?}", entry.value) };
            format!("{key} = {value} ({}): {problem}", entry.origin)
        });
        self.problems.push(shown.unwrap_or_else(|| format!("{key}: {problem}")));
    }

    /// Everything in force, by key.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &InForce> {
        self.in_force.values()
    }

    /// Reports all problems at once.
    ///
    /// # Errors
    /// When there were any.
    pub(crate) fn finish(&self) -> Result<(), SettingsError> {
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError(self.problems.clone())) }
    }
}

fn flatten(value: &config::Value, key: String, leaves: &mut Vec<(String, Option<String>)>) {
    match &value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(value, inner, leaves);
            }
        }
        ValueKind::Array(_) | ValueKind::Nil => leaves.push((key, None)),
        _ => leaves.push((key, Some(value.to_string()))),
    }
}

/// A path that has to be given as one.
pub(crate) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| Path::new(text).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml_edit::{DocumentMut, Item, Table, value};

    use super::*;

    const NONE: [(String, String); 0] = [];

    fn load(file: &str, flags: &[(&'static str, Option<String>)]) -> Settings {
        try_load(file, NONE, flags).unwrap()
    }

    /// By a file and an environment of its own.
    fn try_load(
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&'static str, Option<String>)],
    ) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heliograph.toml");
        std::fs::write(&path, file).unwrap();
        let environment = Environment::with_prefix("HELIOGRAPH").source(Some(environment.into_iter().collect()));
        Settings::load_with(&Sources { config: Some(path) }, environment, flags)
    }

    /// The settings in force as a file.
    fn written_back(settings: &Settings) -> String {
        let mut file = DocumentMut::new();
        for InForce { setting, value: text, .. } in settings.in_force() {
            let (section, key) = setting.key.split_once('.').unwrap();
            file.entry(section).or_insert(Item::Table(Table::new()))[key] = value(text.as_str());
        }
        file.to_string()
    }

    fn values(settings: &Settings) -> Vec<(&'static str, &str)> {
        settings.in_force().map(|entry| (entry.setting.key, entry.value.as_str())).collect()
    }

    /// Reads settings of several types, so that values are looked at.
    fn read_some(settings: &mut Settings) {
        let _: Option<std::net::SocketAddr> = settings.optional("ingest.listen");
        let _: usize = settings.required("ingest.connections", 0);
        let _: u16 = settings.required("mail.port", 0);
        let _: bool = settings.required("admin.behind_proxy", false);
        let _ = settings.secret("mail.password");
    }

    /// What is accepted reads the same once it is written back; what is not is named, with
    /// where it comes from.
    fn check(loaded: Result<Settings, SettingsError>) {
        let mut settings = match loaded {
            Ok(settings) => settings,
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("heliograph.toml") || said.contains("environment"), "{said}");
                return;
            }
        };
        read_some(&mut settings);
        match settings.finish() {
            Ok(()) => assert_eq!(values(&load(&written_back(&settings), &[])), values(&settings)),
            Err(SettingsError(problems)) => {
                let is_named =
                    |problem: &String| ["heliograph.toml", "environment"].iter().any(|origin| problem.contains(origin));
                assert!(!problems.is_empty() && problems.iter().all(is_named), "{problems:?}");
            }
        }
    }

    fn key() -> impl Strategy<Value = String> {
        let known = proptest::sample::select(SETTINGS).prop_map(|setting| setting.key.to_owned());
        prop_oneof![4 => known, 1 => "[a-z]{1,6}(\\.[a-z_]{1,6}){0,2}", 1 => "mail\\.password_file"]
    }

    /// A line of a file: a setting of any kind, or something else.
    fn line() -> impl Strategy<Value = String> {
        let of = "-?[0-9]{1,19}|[0-9]{1,3}\\.[0-9]{1,3}|[0-9]e[0-9]{1,3}|nan|inf|true|\\[1\\]|\\{a = 1\\}|1979-05-27|'[ -&(-~]{0,12}'|\"\\PC{0,8}\"";
        prop_oneof![
            6 => (key(), of).prop_map(|(key, value)| format!("{key} = {value}\n")),
            1 => "\\[(ingest|mail|[a-z.]{1,6})\\]\n",
            1 => "\\PC{0,12}\n",
        ]
    }

    /// A variable of the environment.
    fn variable() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            4 => key().prop_map(|key| format!("HELIOGRAPH__{}", key.to_uppercase().replace('.', "__"))),
            1 => "HELIOGRAPH(__[A-Za-z_.\\[\\]]{0,8}){0,3}",
        ];
        (name, "\\PC{0,12}|[0-9]{1,6}")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_file_is_accepted_or_says_what_is_wrong(lines in proptest::collection::vec(line(), 0..8)) {
            check(try_load(&lines.concat(), NONE, &[]));
        }

        #[test]
        fn any_environment_is_accepted_or_says_what_is_wrong(variables in proptest::collection::vec(variable(), 0..6)) {
            check(try_load("", variables, &[]));
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_what_is_built_in() {
        let file = "[ingest]\nlisten = \"127.0.0.1:1\"\nconnections = 5\n";
        let mut settings = load(file, &[("ingest.listen", Some("127.0.0.1:2".to_owned()))]);
        assert_eq!(settings.required("ingest.listen", String::new()), "127.0.0.1:2");
        assert_eq!(settings.required("ingest.connections", 0), 5);
        assert_eq!(settings.required("ingest.depth", 0), 32);
        assert!(settings.finish().is_ok());
    }

    #[test]
    fn every_bad_setting_is_named_in_one_run() {
        let mut settings = load("[ingest]\nconnections = \"many\"\ncolour = \"red\"\n[mail]\nport = 99999\n", &[]);
        let _: usize = settings.required("ingest.connections", 0);
        let _: u16 = settings.required("mail.port", 0);
        let problems = settings.finish().unwrap_err().to_string();
        for named in ["ingest.connections", "ingest.colour", "mail.port", "99999"] {
            assert!(problems.contains(named), "{named} in {problems}");
        }
        assert!(!problems.contains('\n'));
    }

    #[test]
    fn a_file_that_is_no_text_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin-1.toml");
        std::fs::write(&path, b"[mail]\npassword = \"caf\xE9\"\n").unwrap();
        let refused = |path: &Path| Settings::load(&Sources { config: Some(path.to_owned()) }, &[]).unwrap_err().to_string();
        let said = refused(&path);
        assert!(said.contains("latin-1.toml") && said.contains("UTF-8"), "{said}");
        let said = refused(&folder.path().join("missing.toml"));
        assert!(said.contains("missing.toml") && said.contains("No such file"), "{said}");
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("password");
        std::fs::write(&secret, "hush\n").unwrap();
        let settings = load(&format!("[mail]\npassword_file = {:?}\n", secret.display().to_string()), &[]);
        assert_eq!(settings.secret("mail.password").unwrap().reveal(), "hush");
        assert!(settings.finish().is_ok());
        let missing = load("[mail]\npassword_file = \"/nowhere/at/all\"\n", &[]);
        assert!(missing.finish().unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
