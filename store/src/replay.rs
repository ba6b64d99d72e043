//! Documents that were refused when they came, written after all: as if they had
//! been taken then.

use std::collections::BTreeMap;

use heliograph_domain::Timestamp;

use crate::document::DocumentWrite;
use crate::error::StoreError;
use crate::quarantine::{QuarantineNew, QuarantineRow};
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// What writing one value of a document would do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Index into [`DocumentWrite::series`].
    pub series: usize,
    /// When it was measured.
    pub time: Timestamp,
    /// What was measured.
    pub value: f64,
    /// What is stored there now.
    pub was: Was,
}

/// What is stored under the key of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Was {
    /// Nothing.
    Nothing,
    /// The same.
    Same,
    /// Another value, which it would replace.
    Other(f64),
    /// Another value of a later push, which stays.
    Later(f64),
}

impl Was {
    pub(crate) fn of(value: f64, stored: Option<f64>, stays: bool) -> Self {
        match stored {
            None => Self::Nothing,
            Some(stored) if stored.to_bits() == value.to_bits() => Self::Same,
            Some(stored) if stays => Self::Later(stored),
            Some(stored) => Self::Other(stored),
        }
    }
}

/// The values of a document by instant and series, the last of equal keys only.
pub(crate) fn distinct(document: &DocumentWrite) -> BTreeMap<Timestamp, BTreeMap<usize, f64>> {
    let mut values: BTreeMap<Timestamp, BTreeMap<usize, f64>> = BTreeMap::new();
    for value in &document.values {
        values.entry(value.time).or_default().insert(value.series, value.value);
    }
    values
}

impl ProviderStore {
    /// Writes a document that is in the quarantine, and takes the entry out; where
    /// the document says that part of it is still refused
    /// ([`DocumentWrite::quarantine`]), the entry stays with that code and reason.
    ///
    /// Done again it changes nothing, so that nothing is lost or doubled where it is
    /// cut short. Of equal keys, what was pushed later than the document stays. A
    /// backend may know only that its gateway has pushed something since; so
    /// documents of one gateway are replayed from the newest to the oldest.
    ///
    /// # Errors
    /// As [`Self::document_write`]; then the entry is there as it was.
    pub async fn document_replay(&self, document: DocumentWrite, row: &QuarantineRow) -> Result<(), StoreError> {
        let left = document.quarantine.clone().map(|left| {
            let entry = QuarantineNew { code: left.code, reason: left.reason, ..row.entry.clone() };
            QuarantineRow { entry, bytes: row.bytes }
        });
        let document = DocumentWrite { quarantine: None, ..document };
        match &self.backend {
            Backend::Sqlite(db) => {
                let (id, code) = (row.entry.id, row.entry.code);
                db.write(move |batch| sqlite::replay::write(batch, &document, id, code, left.map(|left| left.entry))).await
            }
            Backend::Cassandra(db) => {
                Box::pin(cassandra::document::write_again(db, &document, self.clock.now())).await?;
                match left {
                    Some(left) => db.quarantine_revise(&left).await,
                    None => db.quarantine_remove(row).await,
                }
            }
        }
    }

    /// What [`Self::document_replay`] would do to each value, in the order of time;
    /// of equal keys in the document the last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn document_preview(&self, document: &DocumentWrite) -> Result<Vec<Difference>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let document = document.clone();
                db.read(move |connection| sqlite::replay::preview(connection, &document)).await
            }
            Backend::Cassandra(db) => cassandra::replay::preview(db, document).await,
        }
    }
}
