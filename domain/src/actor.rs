//! Who changes something, as the audit trail says it.

use std::fmt;

use crate::id::UserId;

/// Who makes a change. A reference, never a name: what it refers to may be
/// erased, and the trail stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A part of the platform by itself, such as `ingest`.
    System(&'static str),
    /// Whoever has the shell of the machine.
    Operator,
    /// Somebody who has signed in.
    User(UserId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(part) => write!(f, "system:{part}"),
            Self::Operator => f.write_str("operator"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}
