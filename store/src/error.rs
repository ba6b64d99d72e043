//! What can go wrong with a store, by what a caller does about it.

use std::path::PathBuf;

/// A failed store call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store's place cannot be used at all: say so and end.
    #[error("store {place}: {problem}")]
    Open {
        /// The folder, file or address.
        place: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The store was written by a newer release than this one reads.
    #[error("store {0} was written by a newer release: upgrade this one")]
    TooNew(PathBuf),
    /// The store cannot take or give anything now; later it may.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// The store will never take this: a value or a size that it has no room for.
    #[error("store refuses this: {0}")]
    Refused(String),
    /// What was named does not exist.
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// What was to be made exists already, or contradicts what does.
    #[error("{0}")]
    Conflict(String),
    /// A gateway names more series than one may have.
    #[error("gateway names more than {0} series")]
    TooManySeries(usize),
    /// The provider has as many gateways as it may.
    #[error("the provider has {0} gateways, as many as it may: retire one, or have its quota raised")]
    TooManyGateways(u32),
    /// A gateway is to stand somewhere from a time on that lies before it was moved or
    /// retired: its history stays as it is.
    #[error("the gateway was somewhere else at that time already: choose a later one")]
    Elsewhere,
    /// An archive cannot be written, read or restored.
    #[error("archive: {0}")]
    Archive(String),
    /// A row does not hold what this release wrote.
    #[error("store is damaged: {0}")]
    Damaged(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound("row"),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::Damaged(error.to_string()),
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation => Self::Conflict(error.to_string()),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged(error.to_string()),
                _ => Self::Unavailable(error.to_string()),
            },
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
