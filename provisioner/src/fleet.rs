//! The fleet file: which providers there should be, and how they run.

mod edit;
mod file;
mod parse;
mod reader;
mod size;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use heliograph_domain::{ProviderId, UnknownGateways};
use serde::Serialize;

use crate::role::Role;

pub use edit::{EditError, add, remove};
pub use file::{FleetFile, FleetFileError};
pub use reader::{FleetError, Problem};
pub use size::ByteSize;

/// Everything that `fleet.toml` says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Tells this fleet's objects from another fleet's on the same engine.
    pub name: String,
    /// The image reference that every container is made from.
    pub image: String,
    /// The host address on which gateways are listened to.
    pub ingest_address: IpAddr,
    /// The host address on which panels are served.
    pub admin_address: IpAddr,
    /// Whether a proxy stands before the panels and names the caller.
    pub behind_proxy: bool,
    /// How long a container may take to drain before it is killed, in seconds.
    pub stop_grace_s: u32,
    /// The providers by id.
    pub providers: BTreeMap<ProviderId, Provider>,
}

/// One provider's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Where its host ports lie.
    pub slot: Slot,
    /// What happens to gateways that nobody registered; `None`: the role's default.
    pub unknown_gateways: Option<UnknownGateways>,
    /// The address under which people reach the panel.
    pub public_url: Option<String>,
    /// How mails leave; `None`: they are written to a folder of the volume.
    pub mail: Option<Mail>,
    /// Limits by role.
    pub limits: BTreeMap<Role, Limits>,
}

/// A provider's place in the port ranges: `n` in the fleet file. Within the
/// bounds no gateway port can meet a panel port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slot(u16);

impl Slot {
    /// The lowest `n`.
    pub const MIN: u16 = 1;
    /// The highest `n`: its gateway port, 8079, is the last before the panels'.
    pub const MAX: u16 = 2079;

    /// Checks an `n`; `None` outside 1 to 2079.
    #[must_use]
    pub fn new(n: i64) -> Option<Self> {
        u16::try_from(n).ok().filter(|n| (Self::MIN..=Self::MAX).contains(n)).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub const fn n(self) -> u16 {
        self.0
    }

    /// The host port that gateways push to: 6000 + n.
    #[must_use]
    pub const fn ingest_port(self) -> u16 {
        6000 + self.0
    }

    /// The host port of the panel: 8080 + n.
    #[must_use]
    pub const fn admin_port(self) -> u16 {
        8080 + self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An SMTP relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection must be encrypted.
    pub tls: MailTls,
    /// The sender, as an address or as `Name <address>`.
    pub from: String,
    /// The login and the file that holds its password.
    pub login: Option<MailLogin>,
}

/// How the mailer signs in at the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailLogin {
    /// The user name.
    pub username: String,
    /// The file with the password, on the engine's host; relative to the fleet file.
    pub password_file: PathBuf,
}

/// Whether mail may leave in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// STARTTLS, or no mail.
    Required,
    /// TLS from the first byte, as on port 465.
    Implicit,
    /// In the clear, for a relay on the same host.
    None,
}

impl MailTls {
    /// Every way there is.
    pub const ALL: [Self; 3] = [Self::Required, Self::Implicit, Self::None];

    /// The word in the fleet file and in the mailer's settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Implicit => "implicit",
            Self::None => "none",
        }
    }
}

/// What one container may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Memory; swap is not given on top.
    pub memory: ByteSize,
    /// Processors, in parts of one.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
    /// Open files and sockets.
    pub files: u32,
}

impl Limits {
    /// What a role gets where the fleet file says nothing.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Ingest => Self { memory: ByteSize::mib(512), cpus: 1.0, pids: 512, files: 16_384 },
            Role::Admin => Self { memory: ByteSize::mib(512), cpus: 1.0, pids: 512, files: 4_096 },
            Role::Mailer => Self { memory: ByteSize::mib(256), cpus: 0.5, pids: 256, files: 1_024 },
        }
    }
}

impl Fleet {
    /// Reads a fleet file's text.
    ///
    /// # Errors
    /// With every bad entry, not the first alone.
    pub fn parse(text: &str) -> Result<Self, FleetError> {
        parse::parse(text)
    }

    /// The lowest slot that no provider of this fleet holds.
    #[must_use]
    pub fn free_slot(&self) -> Option<Slot> {
        (Slot::MIN..=Slot::MAX).map(Slot).find(|slot| self.holder(*slot).is_none())
    }

    /// Who holds a slot.
    #[must_use]
    pub fn holder(&self, slot: Slot) -> Option<&ProviderId> {
        self.providers.iter().find(|(_, provider)| provider.slot == slot).map(|(id, _)| id)
    }
}
