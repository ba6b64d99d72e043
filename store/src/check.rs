//! Looking for damage: bits that have changed since they were written.

use std::fmt;
use std::path::PathBuf;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The table, and where one row is meant its gateway and time, or its key.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.place, self.problem)
    }
}

impl ProviderStore {
    /// Reads everything and names what is damaged, as far as checksums, second
    /// copies, sums and types tell; docs/operations.md says what none of them does.
    /// A cluster compares checksums of its own whenever it reads.
    ///
    /// # Errors
    /// When the store cannot be opened, and on a cluster.
    pub async fn damage_list(&self) -> Result<Vec<Damage>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let file = db.path().to_owned();
                let found = db.read(|connection| Ok(sqlite::check::check(connection))).await?;
                Ok(found.into_iter().map(|(place, problem)| Damage { file: file.clone(), place, problem }).collect())
            }
            Backend::Cassandra(_) => {
                Err(StoreError::Unavailable("a cluster checks its own files: run nodetool verify on its nodes".to_owned()))
            }
        }
    }
}
