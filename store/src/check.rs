//! Looking for damage: bits that have changed since they were written.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::json;

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

fn damage(file: &Path, found: Vec<(String, String)>) -> Vec<Damage> {
    found.into_iter().map(|(place, problem)| Damage { file: file.to_owned(), place, problem }).collect()
}

fn on_a_cluster() -> StoreError {
    StoreError::Unavailable("a cluster checks its own files: run nodetool verify on its nodes".to_owned())
}

impl ProviderStore {
    /// Looks at what is small and names what is damaged of it: settings, places,
    /// gateways, keys, sensors, people, what is latest of a gateway and the definitions
    /// of tables. `None` on a cluster, which compares checksums of its own whenever it
    /// reads.
    ///
    /// # Errors
    /// When the store cannot be looked at now.
    pub async fn damage_look(&self) -> Result<Option<Vec<Damage>>, StoreError> {
        let Backend::Sqlite(db) = &self.backend else { return Ok(None) };
        let found = db.read(sqlite::check::check_quickly).await?;
        Ok(Some(damage(db.path(), found)))
    }

    /// Takes the rows that differ from their copies for right, as they stand, once
    /// somebody has looked at them, and makes anew what is latest of a gateway where that
    /// is damaged; answers which these were.
    ///
    /// # Errors
    /// When the store cannot be written, and on a cluster.
    pub async fn damage_accept(&self) -> Result<Vec<Damage>, StoreError> {
        let Backend::Sqlite(db) = &self.backend else { return Err(on_a_cluster()) };
        let store = self.clone();
        let found = db.write(move |batch| {
            let found = sqlite::check::accept(batch.connection)?;
            if !found.is_empty() {
                let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
                sqlite::audit::append(batch, store.event("damage.accept", "store", json!({ "places": places })))?;
                batch.config_changed();
                batch.data_changed();
            }
            Ok(found)
        });
        Ok(damage(db.path(), found.await?))
    }

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
                Ok(damage(&file, found).into_iter().chain(logs.into_iter().map(left_out)).collect())
            }
            Backend::Cassandra(_) => Err(on_a_cluster()),
        }
    }
}
