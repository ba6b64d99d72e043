//! Store URLs: which backend, where, and how safe an ack is.

use std::path::{Path, PathBuf};

use heliograph_domain::{ParseError, Secret};

use crate::error::StoreError;

/// How much a finished write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckLevel {
    /// Power loss: the bytes are on the disk.
    #[default]
    PowerLoss,
    /// The end of the process; a power loss may take the last moments.
    ProcessCrash,
}

impl AckLevel {
    /// Reads `power-loss` or `process-crash`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "power-loss" => Some(Self::PowerLoss),
            "process-crash" => Some(Self::ProcessCrash),
            _ => None,
        }
    }

    /// The level's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PowerLoss => "power-loss",
            Self::ProcessCrash => "process-crash",
        }
    }
}

/// Where a store is: `sqlite:DIR`, a folder with a file for each provider, or
/// `cassandra://HOST[:PORT],HOST…/?dc=NAME`, a cluster with a keyspace for each.
/// The user and the password of a cluster are no part of it: it is shown in lists
/// of processes and of settings.
#[derive(Debug, Clone)]
pub struct StoreUrl {
    pub(crate) place: Place,
    pub(crate) ack: AckLevel,
}

/// Where the data is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A folder.
    Sqlite(PathBuf),
    /// A cluster.
    Cassandra(Cluster),
}

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// `host:port` of the nodes that are asked first for all others.
    pub(crate) nodes: Vec<String>,
    /// The data centre whose nodes are used.
    pub(crate) datacenter: String,
    /// Copies of a row in it, for keyspaces that are made.
    pub(crate) replicas: u8,
    /// Certificates (PEM) of which one must have signed a node's; `None`: no TLS.
    pub(crate) ca: Option<PathBuf>,
    /// Who signs in.
    pub(crate) credentials: Option<(String, Secret)>,
}

/// The port of the native protocol.
const PORT: u16 = 9042;
/// Copies of a row where the URL says nothing: one node may be away.
const REPLICAS: u8 = 3;

const SQLITE_OPTIONS: &str = "knows no option but ack";
const CASSANDRA_OPTIONS: &str = "knows the options dc, rf, ack, tls and ca";

impl StoreUrl {
    /// The folder on this machine that the data lies in, if it does.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Sqlite(folder) => Some(folder),
            Place::Cassandra(_) => None,
        }
    }

    /// Parses a URL.
    ///
    /// # Errors
    /// When the scheme, the place or an option is not understood; the message
    /// says what would be.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let parsed = match (text.strip_prefix("sqlite:"), text.strip_prefix("cassandra://")) {
            (Some(rest), _) => Self::parse_sqlite(rest),
            (_, Some(rest)) => Self::parse_cassandra(rest),
            _ => Err("must be sqlite:DIR, such as sqlite:./data, or cassandra://HOST,HOST/?dc=NAME".to_owned()),
        };
        parsed.map_err(|problem| StoreError::Open { place: format!("{:?}", masked(text)), problem })
    }

    fn parse_sqlite(rest: &str) -> Result<Self, String> {
        let (directory, query) = rest.split_once('?').unwrap_or((rest, ""));
        if directory.is_empty() {
            return Err("names no folder, such as sqlite:./data".to_owned());
        }
        let mut url = Self::sqlite(directory);
        for option in options(query) {
            match option {
                ("ack", level) => url.ack = parse_ack(level)?,
                _ => return Err(SQLITE_OPTIONS.to_owned()),
            }
        }
        Ok(url)
    }

    fn parse_cassandra(rest: &str) -> Result<Self, String> {
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.contains('@') {
            return Err("must not hold a password: set store.user and store.password (or store.password_file)".to_owned());
        }
        let nodes = hosts.split(',').map(parse_node).collect::<Result<_, _>>()?;
        let (mut datacenter, mut replicas, mut ack, mut tls, mut ca) = (None, REPLICAS, AckLevel::default(), None, None);
        for option in options(query) {
            match option {
                ("dc", name) => datacenter = Some(parse_datacenter(name)?),
                ("rf", count) => replicas = parse_replicas(count)?,
                ("ack", level) => ack = parse_ack(level)?,
                ("tls", wanted) => tls = Some(parse_switch(wanted)?),
                ("ca", file) if !file.is_empty() => ca = Some(PathBuf::from(file)),
                _ => return Err(CASSANDRA_OPTIONS.to_owned()),
            }
        }
        match (tls, &ca) {
            (Some(true), None) => {
                return Err("needs ca=FILE with tls=on: the certificates (PEM) that nodes must be signed by".to_owned());
            }
            (Some(false), Some(_)) => return Err("names ca although tls=off".to_owned()),
            _ => {}
        }
        let datacenter = datacenter.ok_or("needs dc=NAME, the data centre whose nodes are used (nodetool status names it)")?;
        let cluster = Cluster { nodes, datacenter, replicas, ca, credentials: None };
        Ok(Self { place: Place::Cassandra(cluster), ack })
    }

    /// A folder with the safest acks.
    #[must_use]
    pub fn sqlite(directory: impl Into<PathBuf>) -> Self {
        Self { place: Place::Sqlite(directory.into()), ack: AckLevel::default() }
    }

    /// The same place, signed in to as `user`. A folder takes nobody's name.
    #[must_use]
    pub fn signed_in(mut self, user: impl Into<String>, password: Secret) -> Self {
        if let Place::Cassandra(cluster) = &mut self.place {
            cluster.credentials = Some((user.into(), password));
        }
        self
    }

    /// Whether people sign in to it.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cassandra(_))
    }

    /// How much a finished write survives.
    #[must_use]
    pub const fn ack_level(&self) -> AckLevel {
        self.ack
    }
}

/// The text without what may be a password.
fn masked(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

fn options(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|option| !option.is_empty()).map(|option| option.split_once('=').unwrap_or((option, "")))
}

fn parse_ack(level: &str) -> Result<AckLevel, String> {
    AckLevel::parse(level).ok_or_else(|| "ack must be power-loss or process-crash".to_owned())
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("tls must be on or off".to_owned()),
    }
}

/// A node as `host:port`. An IPv6 address stands in brackets.
fn parse_node(text: &str) -> Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)),
        _ => (text, Some(PORT)),
    };
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    match port {
        Some(port) if plain && (name == host) != name.contains(':') => Ok(format!("{host}:{port}")),
        _ => Err(format!("names {text:?}, which is no host or host:port")),
    }
}

/// A data centre's name goes into the text of a statement.
fn parse_datacenter(name: &str) -> Result<String, String> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if plain { Ok(name.to_owned()) } else { Err("dc must be a name of letters, digits, '.', '-' and '_'".to_owned()) }
}

fn parse_replicas(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|count| (1..=9).contains(count)).ok_or_else(|| "rf must be 1 to 9".to_owned())
}

impl From<ParseError> for StoreError {
    fn from(error: ParseError) -> Self {
        Self::Damaged(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> Cluster {
        match StoreUrl::parse(text).unwrap().place {
            Place::Cassandra(cluster) => cluster,
            Place::Sqlite(folder) => panic!("{} is a folder", folder.display()),
        }
    }

    #[test]
    fn urls_name_a_folder_and_an_ack_level() {
        let url = StoreUrl::parse("sqlite:/data?ack=process-crash").unwrap();
        assert!(matches!(url.place, Place::Sqlite(folder) if folder == Path::new("/data")));
        assert_eq!(url.ack, AckLevel::ProcessCrash);
        assert_eq!(StoreUrl::parse("sqlite:./data").unwrap().ack, AckLevel::PowerLoss);
    }

    #[test]
    fn urls_name_a_cluster() {
        let found = cluster("cassandra://db1,db2:9142,[::1]:1,10.0.0.1/?dc=south-1&rf=2&ca=/etc/ca.pem");
        assert_eq!(found.nodes, ["db1:9042", "db2:9142", "[::1]:1", "10.0.0.1:9042"]);
        assert_eq!((found.datacenter.as_str(), found.replicas), ("south-1", 2));
        assert_eq!(found.ca, Some(PathBuf::from("/etc/ca.pem")));
        let plain = cluster("cassandra://db1?dc=dc1");
        assert_eq!((plain.replicas, plain.ca), (3, None));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in [
            "",
            "sqlite:",
            "postgres://x",
            "sqlite:x?ack=maybe",
            "sqlite:x?color=red",
            "cassandra://",
            "cassandra://db1",
            "cassandra://db1,/?dc=x",
            "cassandra://db1:0/?dc=x",
            "cassandra://db 1/?dc=x",
            "cassandra://::1/?dc=x",
            "cassandra://db1/?dc=x'y",
            "cassandra://db1/?dc=x&rf=0",
            "cassandra://db1/?dc=x&tls=on",
            "cassandra://db1/?dc=x&tls=off&ca=f",
            "cassandra://db1/?dc=x&colour=red",
        ] {
            assert!(StoreUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        let error = StoreUrl::parse("cassandra://ann:hush@db1/?dc=x").unwrap_err().to_string();
        assert!(error.contains("store.password") && !error.contains("hush"), "{error}");
    }
}
