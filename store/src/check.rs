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

/// What was found when a file was opened whose log a killed process had left.
fn left_out(log: PathBuf) -> Damage {
    let problem = "what was committed behind a damaged place of this log was left out; remove the copy once that is dealt with";
    Damage { file: log, place: "log".to_owned(), problem: problem.to_owned() }
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
                let beside = file.clone();
                let (found, logs) = db
                    .read(move |connection| Ok((sqlite::check::check(connection), sqlite::log::damaged_copies(&beside))))
                    .await?;
                let logs = logs.map_err(|error| StoreError::Unavailable(format!("files beside it: {error}")))?;
                let found = found.into_iter().map(|(place, problem)| Damage { file: file.clone(), place, problem });
                Ok(found.chain(logs.into_iter().map(left_out)).collect())
            }
            Backend::Cassandra(_) => {
                Err(StoreError::Unavailable("a cluster checks its own files: run nodetool verify on its nodes".to_owned()))
            }
        }
    }
}
