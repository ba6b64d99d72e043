//! The three containers that every provider has.

use std::fmt;

use heliograph_domain::ProviderId;
use serde::Serialize;

/// What a container does for its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes documents from gateways.
    Ingest,
    /// Serves the panel.
    Admin,
    /// Sends mails.
    Mailer,
}

impl Role {
    /// Every role, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Admin, Self::Mailer];

    /// The role's word on the command line, in labels and in the fleet file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Admin => "admin",
            Self::Mailer => "mailer",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The name of this role's container.
    #[must_use]
    pub fn container_name(self, provider: &ProviderId) -> String {
        let prefix = match self {
            Self::Ingest => "remote_server",
            Self::Admin => "admin_panel",
            Self::Mailer => "mailer",
        };
        format!("{prefix}_{provider}")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
