//! What the engine holds, as plain values.

use std::fmt;
use std::net::SocketAddr;

use heliograph_domain::ProviderId;
use serde::Serialize;

/// Everything about a fleet that the engine holds, and what stands in its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// This fleet's containers.
    pub containers: Vec<ObservedContainer>,
    /// This fleet's networks.
    pub networks: Vec<ObservedNetwork>,
    /// This fleet's volumes.
    pub volumes: Vec<ObservedVolume>,
    /// Every object of the engine that is not this fleet's, by kind and name.
    pub foreign: Vec<Foreign>,
    /// Host ports that containers outside this fleet publish, and their names.
    pub foreign_ports: Vec<(SocketAddr, String)>,
}

/// A container with this fleet's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
    /// Whether it runs.
    pub state: RunState,
    /// The digest of the specification that it was made from.
    pub spec_digest: String,
    /// The specification itself, as JSON.
    pub spec_json: String,
    /// The host ports that it publishes now.
    pub ports: Vec<u16>,
    /// The networks that it is on, by the engine's id.
    pub networks: Vec<String>,
}

/// A network with this fleet's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
}

/// A volume with this fleet's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedVolume {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub provider: ProviderId,
}

/// An object that is not ours and is never touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The other fleet that it belongs to, if any.
    pub fleet: Option<String>,
}

/// The kinds of objects that the engine holds for a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A container.
    Container,
}

impl ObjectKind {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Runs.
    Running,
    /// Ended and about to be started again by the engine.
    Restarting,
    /// Held by somebody.
    Paused,
    /// Ended.
    Exited,
    /// Half removed; only removing it again helps.
    Dead,
}

impl RunState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
