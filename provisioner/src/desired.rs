//! From the fleet to the objects that the engine should hold, as plain values.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use heliograph_domain::ProviderId;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::fleet::{Fleet, Limits, Mail, Provider};
use crate::host::SecretVersions;
use crate::role::Role;

/// The numeric user and group that everything in the image runs as, and that
/// `/data` belongs to.
pub(crate) const USER: &str = "65532:65532";
const OPS_ADDRESS: &str = "127.0.0.1:9090";
const INGEST_PORT: u16 = 6000;
const ADMIN_PORT: u16 = 80;
const SMTP_PASSWORD: &str = "smtp_password";

/// An image that the engine holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResolvedImage {
    /// The reference in the fleet file.
    pub reference: String,
    /// What it stands for at the moment.
    pub id: String,
}

/// Everything that should be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The fleet's name.
    pub fleet: String,
    /// Each provider's objects, sorted by id.
    pub tenants: Vec<Tenant>,
}

/// The objects of one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// The provider.
    pub provider: ProviderId,
    /// Its network, which no other provider is on.
    pub network: NetworkSpec,
    /// Its volume, with all its data.
    pub volume: VolumeSpec,
    /// Its containers, in the order in which they start.
    pub containers: Vec<ContainerSpec>,
}

/// A bridge network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
    /// Of which fleet.
    pub fleet: String,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
    /// Of which fleet.
    pub fleet: String,
}

/// A container, down to the last option. Its digest is what a running one is
/// recognised by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
    /// Of which fleet.
    pub fleet: String,
    /// What it does.
    pub role: Role,
    /// The image, as the fleet file names it.
    pub image: String,
    /// The image's id; a tag that moved replaces the container.
    pub image_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment. Never a secret: those are files.
    pub env: BTreeMap<String, String>,
    /// Numeric user and group.
    pub user: String,
    /// The network it is on.
    pub network: String,
    /// The volume at `/data`.
    pub volume: String,
    /// Published ports.
    pub ports: Vec<PortSpec>,
    /// Files with secrets, read-only.
    pub secrets: Vec<SecretMount>,
    /// What it may use.
    pub limits: Limits,
    /// What asks it whether it is well.
    pub healthcheck: Vec<String>,
    /// How long it may drain, in seconds.
    pub stop_grace_s: u32,
    /// What it may not do.
    pub hardening: Hardening,
    /// How much of its output is kept.
    pub log: LogRotation,
}

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PortSpec {
    /// Outside.
    pub host: SocketAddr,
    /// Inside.
    pub container: u16,
}

/// A secret's file on the host and inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretMount {
    /// The absolute path on the engine's host.
    pub source: PathBuf,
    /// The path inside.
    pub target: String,
    /// Which file it was when it was mounted (inode and time, nothing of the
    /// content): a changed secret replaces the container.
    pub version: String,
}

/// The restrictions that every container runs under (CIS Docker benchmark,
/// section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hardening {
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Kernel options.
    pub security_opt: Vec<String>,
    /// Memory file systems, by path.
    pub tmpfs: BTreeMap<String, String>,
}

/// How the engine keeps a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogRotation {
    /// The engine's driver.
    pub driver: String,
    /// A file's size.
    pub max_size: String,
    /// How many files.
    pub max_file: String,
}

impl ContainerSpec {
    /// A digest over all of it.
    #[must_use]
    pub fn digest(&self) -> String {
        let bytes = Sha256::digest(self.to_json().as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// As one line of JSON, which is also the form it is kept in on the
    /// container, so that a later plan can say what differs.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps have text keys and numbers are finite, so that this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Works out every object of a fleet.
#[must_use]
pub fn desired(fleet: &Fleet, image: &ResolvedImage, secrets: &SecretVersions) -> Desired {
    let tenants = fleet.providers.iter().map(|(id, provider)| tenant(fleet, id, provider, image, secrets)).collect();
    Desired { fleet: fleet.name.clone(), tenants }
}

fn tenant(fleet: &Fleet, id: &ProviderId, provider: &Provider, image: &ResolvedImage, secrets: &SecretVersions) -> Tenant {
    let name = format!("heliograph_{id}");
    let network = NetworkSpec { name: name.clone(), provider: id.clone(), fleet: fleet.name.clone() };
    let volume = VolumeSpec { name, provider: id.clone(), fleet: fleet.name.clone() };
    let containers = Role::ALL
        .into_iter()
        .map(|role| ContainerSpec {
            name: role.container_name(id),
            provider: id.clone(),
            fleet: fleet.name.clone(),
            role,
            image: image.reference.clone(),
            image_id: image.id.clone(),
            command: command(role, id, provider),
            env: environment(role, fleet, provider),
            user: USER.to_owned(),
            network: network.name.clone(),
            volume: volume.name.clone(),
            ports: ports(role, fleet, provider),
            secrets: secret_mounts(role, provider, secrets),
            limits: provider.limits.get(&role).copied().unwrap_or(Limits::of(role)),
            healthcheck: words(&["/heliograph", "healthcheck", OPS_ADDRESS]),
            stop_grace_s: fleet.stop_grace_s,
            hardening: hardening(),
            log: LogRotation { driver: "json-file".to_owned(), max_size: "10m".to_owned(), max_file: "3".to_owned() },
        })
        .collect();
    Tenant { provider: id.clone(), network, volume, containers }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn command(role: Role, id: &ProviderId, provider: &Provider) -> Vec<String> {
    let mut command = words(&["/heliograph", role.as_str(), "--provider", id.as_str()]);
    match role {
        Role::Ingest => command.extend(words(&["--listen", &format!("0.0.0.0:{INGEST_PORT}")])),
        Role::Admin => command.extend(words(&["--listen", &format!("0.0.0.0:{ADMIN_PORT}")])),
        Role::Mailer => {}
    }
    command.extend(words(&["--ops", OPS_ADDRESS, "--store", "sqlite:/data"]));
    if let (Role::Ingest, Some(policy)) = (role, provider.unknown_gateways) {
        command.extend(words(&["--unknown-gateways", policy.as_str()]));
    }
    command
}

fn environment(role: Role, fleet: &Fleet, provider: &Provider) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if role == Role::Ingest {
        return env;
    }
    if let Some(url) = &provider.public_url {
        env.insert("HELIOGRAPH__ADMIN__PUBLIC_URL".to_owned(), url.clone());
    }
    if role == Role::Admin && fleet.behind_proxy {
        env.insert("HELIOGRAPH__ADMIN__BEHIND_PROXY".to_owned(), "true".to_owned());
    }
    // Links that work are not for a folder.
    if provider.mail.is_none() {
        env.insert("HELIOGRAPH__ADMIN__LINKS_BY_MAIL".to_owned(), "false".to_owned());
    }
    if role == Role::Mailer {
        env.extend(mail_environment(provider.mail.as_ref()));
    }
    env
}

fn mail_environment(mail: Option<&Mail>) -> Vec<(String, String)> {
    let setting = |key: &str, value: &str| (format!("HELIOGRAPH__MAIL__{key}"), value.to_owned());
    let Some(mail) = mail else {
        return vec![setting("FOLDER", "/data/mail")];
    };
    let mut env = vec![
        setting("HOST", &mail.host),
        setting("PORT", &mail.port.to_string()),
        setting("TLS", mail.tls.as_str()),
        setting("FROM", &mail.from),
    ];
    if let Some(login) = &mail.login {
        env.push(setting("USERNAME", &login.username));
        env.push(setting("PASSWORD_FILE", &secret_target(SMTP_PASSWORD)));
    }
    env
}

fn ports(role: Role, fleet: &Fleet, provider: &Provider) -> Vec<PortSpec> {
    let published = |address: IpAddr, host: u16, container| vec![PortSpec { host: SocketAddr::new(address, host), container }];
    match role {
        Role::Ingest => published(fleet.ingest_address, provider.slot.ingest_port(), INGEST_PORT),
        Role::Admin => published(fleet.admin_address, provider.slot.admin_port(), ADMIN_PORT),
        Role::Mailer => Vec::new(),
    }
}

fn secret_target(name: &str) -> String {
    format!("/run/secrets/{name}")
}

fn secret_mounts(role: Role, provider: &Provider, versions: &SecretVersions) -> Vec<SecretMount> {
    let login = provider.mail.as_ref().and_then(|mail| mail.login.as_ref());
    let (Role::Mailer, Some(login)) = (role, login) else {
        return Vec::new();
    };
    let (source, version) = versions.of(&login.password_file);
    vec![SecretMount { source, target: secret_target(SMTP_PASSWORD), version }]
}

fn hardening() -> Hardening {
    Hardening {
        read_only_root: true,
        cap_drop: words(&["ALL"]),
        security_opt: words(&["no-new-privileges:true"]),
        tmpfs: BTreeMap::from([("/tmp".to_owned(), "rw,noexec,nosuid,nodev,size=64m,uid=65532,gid=65532,mode=0700".to_owned())]),
    }
}
