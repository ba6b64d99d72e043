//! Corrections over readings that stay as they are.

use heliograph_domain::{Correction, CorrectionId, CorrectionKind, Kind, Reverted, SeriesKey, TimeWindow, Timestamp};
use serde_json::json;

use crate::error::StoreError;
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// A correction to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrectionNew {
    /// Its id.
    pub id: CorrectionId,
    /// The series it changes.
    pub series: SeriesKey,
    /// The time it is about.
    pub window: TimeWindow,
    /// What it does.
    pub kind: CorrectionKind,
    /// Why.
    pub reason: String,
}

impl ProviderStore {
    /// Corrections that one series may have, without those that were taken back:
    /// each is looked at for each reading.
    pub const CORRECTIONS_OF_SERIES: usize = 200;

    /// Makes a correction in the name of this handle's holder. Rollups that it
    /// changes are computed anew; readings stay as they are.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such series;
    /// [`StoreError::Conflict`] where it cannot be carried out or gives no reason.
    pub async fn correction_create(&self, new: CorrectionNew) -> Result<Correction, StoreError> {
        let CorrectionNew { id, series, window, kind, reason } = new;
        // The reason is people's own words, which may name somebody: it stands in
        // the correction alone.
        let detail = json!({ "series": series, "window": window, "change": kind });
        let event = self.event("correction.create", format_args!("correction:{id}"), detail);
        let correction = Correction { id, series, window, kind, reason, by: event.actor.clone(), at: event.at, reverted: None };
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::correction::create(batch, &correction).map(|()| correction)).await
            }
            Backend::Cassandra(db) => cassandra::correction::create(db, event, correction).await,
        }
    }

    /// Takes a correction back: it stays on record, but counts no longer.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none; [`StoreError::Conflict`]
    /// where it was taken back already.
    pub async fn correction_revert(&self, id: CorrectionId) -> Result<Correction, StoreError> {
        let event = self.event("correction.revert", format_args!("correction:{id}"), json!({}));
        let reverted = Reverted { by: event.actor.clone(), at: event.at };
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::correction::revert(batch, id, reverted)).await,
            Backend::Cassandra(db) => cassandra::correction::revert(db, event, id, reverted).await,
        }
    }

    /// All corrections, also those that were taken back, in the order in which
    /// they were made.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn correction_list(&self) -> Result<Vec<Correction>, StoreError> {
        let mut corrections = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::correction::list).await?,
            Backend::Cassandra(db) => db.catalog().await?.corrections()?,
        };
        corrections.sort_by_key(|correction| (correction.at, correction.id));
        Ok(corrections)
    }
}

/// Whether a correction of a series of a kind fits beside those that there are, where the
/// windows up to an instant are sealed.
pub(crate) fn check(new: &Correction, kind: Kind, all: &[Correction], sealed: Timestamp) -> Result<(), StoreError> {
    new.check(kind).map_err(|error| StoreError::Conflict(error.to_string()))?;
    if new.kind.moves_readings() && new.window.from < sealed {
        return Err(StoreError::Conflict(format!("figures before {sealed} stay as they are: begin then or later")));
    }
    if all.iter().any(|correction| correction.id == new.id) {
        return Err(StoreError::Conflict("there is a correction of that id".to_owned()));
    }
    let counting = all.iter().filter(|correction| correction.series == new.series && correction.reverted.is_none()).count();
    if counting >= ProviderStore::CORRECTIONS_OF_SERIES {
        let most = ProviderStore::CORRECTIONS_OF_SERIES;
        return Err(StoreError::Conflict(format!("the series has {most} corrections already: take some back, or widen one")));
    }
    Ok(())
}

/// The correction of an id as it is once it was taken back.
pub(crate) fn revert_one(all: &[Correction], id: CorrectionId, reverted: Reverted) -> Result<Correction, StoreError> {
    let found = all.iter().find(|correction| correction.id == id).ok_or(StoreError::NotFound("correction"))?;
    if found.reverted.is_some() {
        return Err(StoreError::Conflict("the correction was taken back already".to_owned()));
    }
    Ok(Correction { reverted: Some(reverted), ..found.clone() })
}
