//! The Docker engine. Reading and changing are two clients: who holds an
//! [`Observer`] cannot change anything.

mod convert;
mod read;
mod write;

use std::fmt;

use bollard::Docker;
use bollard::errors::Error as DockerError;

pub use read::{ContainerHealth, HealthState, Observer};
pub use write::Engine;

/// The engine's default address.
const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// Labels that every object of ours carries.
pub(crate) mod label {
    /// `true` on everything of ours.
    pub(crate) const MANAGED: &str = "heliograph.managed";
    /// The fleet's name.
    pub(crate) const FLEET: &str = "heliograph.fleet";
    /// The provider's id.
    pub(crate) const PROVIDER: &str = "heliograph.provider";
    /// The container's role.
    pub(crate) const ROLE: &str = "heliograph.role";
    /// The digest of the specification.
    pub(crate) const SPEC: &str = "heliograph.spec";
    /// The specification itself, as JSON.
    pub(crate) const SPEC_JSON: &str = "heliograph.spec-json";
}

/// Where an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// From `DOCKER_HOST`, if it is set.
    #[must_use]
    pub fn new(docker_host: Option<&str>) -> Self {
        Self(docker_host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_SOCKET).to_owned())
    }

    /// Whether the engine runs on this host, so that its ports are ours.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.starts_with("unix://")
    }

    fn connect(&self) -> Result<Docker, EngineError> {
        Docker::connect_with_host(&self.0).map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: DockerError) -> EngineError {
        EngineError::Unreachable { endpoint: self.clone(), source: Box::new(source) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the engine did not do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers.
    #[error("no Docker engine answers at {endpoint}; start it, or name another in DOCKER_HOST")]
    Unreachable {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What happened instead.
        source: Box<DockerError>,
    },
    /// It answered with a refusal.
    #[error("cannot {what}: {message}")]
    Refused {
        /// What was asked, such as `start container mailer_sunrise`.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The conversation broke.
    #[error("cannot {what}")]
    Broken {
        /// What was asked.
        what: String,
        /// What happened.
        source: Box<DockerError>,
    },
}

impl EngineError {
    fn new(what: impl Into<String>, error: DockerError) -> Self {
        let what = what.into();
        match error {
            DockerError::DockerResponseServerError { status_code, message } => {
                Self::Refused { what, status: status_code, message }
            }
            other => Self::Broken { what, source: Box::new(other) },
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the engine could not publish a port since something else has it.
    #[must_use]
    pub fn is_port_taken(&self) -> bool {
        let taken = ["address already in use", "port is already allocated", "failed to bind host port"];
        matches!(self, Self::Refused { message, .. } if taken.iter().any(|words| message.contains(words)))
    }
}
